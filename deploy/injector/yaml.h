/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Manifests in YAML: read into cJSON, and patched as text, so that comments, order, quotes and
 * blank lines stay as they came.
 */
#ifndef UDPLANE_DEPLOY_INJECTOR_YAML_H
#define UDPLANE_DEPLOY_INJECTOR_YAML_H

#include <cjson/cJSON.h>
#include <stddef.h>

#include "deploy/injector/text.h"
#include "sidecar/config/error.h"

#ifdef __cplusplus
extern "C" {
#endif

#define YAML_DEPTH_MAX 200

/* The first document, to be deleted; NULL with `err` set. */
cJSON *yaml_parse(const char *name, const char *text, size_t len, struct config_error *err);

/*
 * Calls `patch` for each document of a stream, with it as JSON. What the callback adds to it (new
 * members, new items of arrays; nothing else) is added to the text at that place, in the style that
 * it finds there. Returns the whole text, to be freed, or NULL with `err` set: by the callback
 * (when it returns non-zero), for what is no YAML, or for a document that mentions `marker` and
 * uses aliases, where an addition could land in two places.
 */
char *yaml_patch(const char *name, const char *text, size_t len, const char *marker,
		 int (*patch)(void *arg, cJSON *document, struct config_error *err), void *arg,
		 struct config_error *err);

/* Appends `item` as block style YAML at a column; the caller has written the indentation before it,
 * and gets a newline at its end. */
void yaml_print(struct text *out, const cJSON *item, size_t column);

#ifdef __cplusplus
}
#endif

#endif
