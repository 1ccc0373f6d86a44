/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A downward-API file of annotations: one `key="value"` a line, the value quoted as Go's %q does
 * it. Knows the format, not the keys, so that other annotations of the pod
 * (k8s.v1.cni.cncf.io/network-status) can be read by it, too.
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
 * and its value unquoted, until one returns non-zero, which is then returned. Lines of other
 * prefixes are nobody's business and not even parsed. A malformed line with the prefix, or a NUL in
 * its value, is -EINVAL with `err` naming `file` and the line; -ENOMEM is the other error.
 */
int annotations_each(const char *file, const char *text, size_t len, const char *prefix,
		     int (*each)(void *arg, const char *name, const char *value), void *arg,
		     struct error *err);

#ifdef __cplusplus
}
#endif

#endif
