/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a JSON object, member by member, with the position of each. Internal to sidecar/config. */
#ifndef UDPLANE_SIDECAR_CONFIG_JSON_H
#define UDPLANE_SIDECAR_CONFIG_JSON_H

#include <stddef.h>

#include "sidecar/config/text.h"

#ifdef __cplusplus
extern "C" {
#endif

enum json_type {
	JSON_STRING,
	JSON_NUMBER,
	JSON_OBJECT,
	JSON_ARRAY,
	JSON_BOOLEAN,
	JSON_NULL,
};

struct json_member {
	const char *name;
	enum json_type type;
	const char *text; /* a string's content, or other values as written (long ones cut) */
	unsigned int line, column; /* of the value, from 1; columns in bytes */
};

/* "a string", "a number", ... */
const char *json_type_name(enum json_type type);

/*
 * Calls `each` for every member in order, until a call returns non-zero, and returns that. `member`
 * is valid during the call only. If the text is not a JSON object, or contains a NUL in any
 * spelling (C strings would be cut there), returns -EINVAL with `err` naming file, line and column;
 * the only other error is -ENOMEM.
 */
int json_each(const char *file, const char *text, size_t len,
	      int (*each)(void *arg, const struct json_member *member), void *arg,
	      struct error *err);

#ifdef __cplusplus
}
#endif

#endif
