/* SPDX-License-Identifier: Apache-2.0 */
/* The table of keys, and where a value came from. Internal to sidecar/config. */
#ifndef UDPLANE_SIDECAR_CONFIG_KEY_H
#define UDPLANE_SIDECAR_CONFIG_KEY_H

#include <stdbool.h>
#include <stddef.h>

#include "sidecar/config/config.h"
#include "sidecar/config/value.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Longest name of a key, and a buffer for its flag or environment variable. */
#define KEY_NAME_MAX  24
#define KEY_NAME_SIZE (KEY_NAME_MAX + 16)

struct key {
	const char *name; /* in JSON; --name and UDPLANE_NAME are derived */
	const char *hint; /* the value in help: LIST, N, a|b */
	const char *initial;
	bool annotated; /* udplane.io/name also sets it */
	const struct value_type *type;
	const void *rule;
	size_t offset, size; /* of the field in struct config */
	const char *help;
};

/* The key at `index`, or NULL past the end: for (i = 0; (key = key_at(i)); i++) */
const struct key *key_at(size_t index);
size_t key_index(const struct key *key);
/* By name, or NULL. */
const struct key *key_find(const char *name);

/* The key that annotation udplane.io/`name` sets, or NULL. */
const struct key *key_find_annotated(const char *name);

/* Make --max-sockets, max-sockets and UDPLANE_MAX_SOCKETS of max_sockets. `out` is KEY_NAME_SIZE
 * bytes long and is returned. */
const char *key_flag(const struct key *key, char *out);
const char *key_annotation(const struct key *key, char *out);
const char *key_environment(const struct key *key, char *out);

void *key_field(const struct key *key, struct config *config);
const void *key_field_const(const struct key *key, const struct config *config);
bool key_equal(const struct key *key, const struct config *a, const struct config *b);

/* The place where a value was read. */
struct origin {
	enum config_source source;
	const char *file;	   /* of JSON or annotations */
	unsigned int line, column; /* of a JSON value */
};

/* Parses `text` into the key's field. Returns 0, or -EINVAL with the whole message in `err`. */
int key_apply(const struct key *key, struct config *config, const struct origin *origin,
	      const char *text, struct error *err);

/* Writes the message "source of key: value: why; allowed: ..." and returns -EINVAL. */
int key_refuse(const struct key *key, const struct origin *origin, const char *text,
	       const char *why, struct error *err);

/* Writes the names of all keys, comma-separated, of those with an annotation only if asked to. */
void key_list(bool annotated_only, char *out, size_t size);

/*
 * The name nearest to `text`, '-' and '_' and letter case being the same, among all keys (or
 * annotated ones); *distance (may be NULL) is the number of letters to change. Never NULL.
 */
const char *key_nearest(const char *text, bool annotated_only, unsigned int *distance);

#ifdef __cplusplus
}
#endif

#endif
