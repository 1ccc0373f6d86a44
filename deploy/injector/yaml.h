/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Manifests in YAML, read into cJSON and written by libyaml. The text that is written means the
 * same as the text that was read, plus what a callback adds. Values, quotes, tags, anchors and the
 * order of keys stay. Comments, blank lines, the layout of maps and lists and the indentation are
 * lost.
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

/* Returns the first document, which the caller deletes, or NULL with `err` set. */
cJSON *yaml_parse(const char *name, const char *text, size_t len, struct error *err);

/*
 * Calls `patch` for each document of a stream and passes the document as JSON, with null for each
 * alias. The callback may add members to objects, replace them by others
 * (cJSON_ReplaceItemInObject), and insert items into arrays, but nothing else.
 *
 * Returns the whole stream, which the caller frees. Returns NULL with `err` set if the text is not
 * YAML; if the callback returned non-zero, then with the error that it set; or if a document uses
 * aliases and has `marker` in one of its strings, since an addition could then appear in two
 * places.
 */
char *yaml_patch(const char *name, const char *text, size_t len, const char *marker,
		 int (*patch)(void *arg, cJSON *document, struct error *err), void *arg,
		 struct error *err);

#ifdef __cplusplus
}
#endif

#endif
