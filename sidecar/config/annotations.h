/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a downward-API file of annotations: one `key="value"` per line, with the value quoted as by
 * Go's %q. Handles the format, not the keys, so it can also read other annotations of the pod
 * (k8s.v1.cni.cncf.io/network-status).
 */
#ifndef UDPLANE_SIDECAR_CONFIG_ANNOTATIONS_H
#define UDPLANE_SIDECAR_CONFIG_ANNOTATIONS_H

#include <stddef.h>

#include "sidecar/config/text.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ANNOTATION_PREFIX "udplane.io/"

/*
 * Calls `each` for every annotation that starts with `prefix`, in order, with the rest of its key
 * and its unquoted value. Stops at the first call that returns non-zero, and returns that. Lines
 * with other prefixes are not parsed. If a line with the prefix is malformed, or its value contains
 * a NUL, returns -EINVAL with `err` naming `file` and the line; the only other error is -ENOMEM.
 */
int annotations_each(const char *file, const char *text, size_t len, const char *prefix,
		     int (*each)(void *arg, const char *name, const char *value), void *arg,
		     struct error *err);

#ifdef __cplusplus
}
#endif

#endif
