/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Manifests in YAML, read into cJSON and written by libyaml. What is written means the same as what
 * was read, but for what a callback adds: values, quotes, tags, anchors and the order of keys stay;
 * comments, blank lines, the names' and lists' layout and the indentation do not.
 */
#ifndef UDPLANE_DEPLOY_INJECTOR_YAML_H
#define UDPLANE_DEPLOY_INJECTOR_YAML_H

#include <cjson/cJSON.h>
#include <stddef.h>

#include "include/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

#define YAML_DEPTH_MAX 200

/* Returns the first document, to be deleted, or NULL with `err` set. */
cJSON *yaml_parse(const char *name, const char *text, size_t len, struct error *err);

/*
 * Calls `patch` for each document of a stream, with it as JSON: aliases appear as null. The
 * callback may add members to objects, replace them by others (cJSON_ReplaceItemInObject), and
 * insert items into arrays; nothing else. Returns the whole stream, to be freed, or NULL with `err`
 * set: by the callback (when it returns non-zero), for what is no YAML, or for a document that has
 * a string with `marker` in it and uses aliases, where an addition could land in two places.
 */
char *yaml_patch(const char *name, const char *text, size_t len, const char *marker,
		 int (*patch)(void *arg, cJSON *document, struct error *err), void *arg,
		 struct error *err);

#ifdef __cplusplus
}
#endif

#endif
