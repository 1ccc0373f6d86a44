/* SPDX-License-Identifier: Apache-2.0 */
/* A JSON object, member by member, with the place of each. Internal to sidecar/config. */
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
	const char *text; /* a string's content, anything else as it is written (long ones cut) */
	unsigned int line, column; /* of the value, from 1; columns in bytes */
};

/* "a string", "a number", ... */
const char *json_type_name(enum json_type type);

/*
 * Calls `each` for every member in order until one returns non-zero, which is then returned.
 * `member` lives during the call only. A text that is no JSON object, or that holds a NUL in any
 * spelling (C strings would be cut there), is -EINVAL with `err` naming file, line and column;
 * -ENOMEM is the other error.
 */
int json_each(const char *file, const char *text, size_t len,
	      int (*each)(void *arg, const struct json_member *member), void *arg,
	      struct error *err);

#ifdef __cplusplus
}
#endif

#endif
