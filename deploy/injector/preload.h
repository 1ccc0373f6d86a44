/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Annotation udplane.io/preload: which containers it selects, and their variable LD_PRELOAD. Its
 * value is a comma-separated list of container names, or "*" for all of the pod's own containers,
 * init containers included. Pure.
 */
#ifndef UDPLANE_DEPLOY_INJECTOR_PRELOAD_H
#define UDPLANE_DEPLOY_INJECTOR_PRELOAD_H

#include <stdbool.h>
#include <stddef.h>

#include <cjson/cJSON.h>

#include "include/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PRELOAD_ANNOTATION "udplane.io/preload"

/* The longest value, in bytes: as many names of 63 characters as the webhook takes containers. Each
 * container is looked up in it several times. */
#define PRELOAD_VALUE_MAX 16384

/*
 * Checks the annotation's value for a pod. Returns 0, or -EINVAL with an `err` that names the
 * value, the bad item or container, and what is allowed.
 */
int preload_check(const cJSON *pod, const char *value, struct error *err);

/* Returns true if `value` selects the container. value: may be NULL, which selects none. */
bool preload_selects(const char *value, const cJSON *container);

/* Returns true if an init container has a name of our own: udplane, udplane-metrics. */
bool preload_is_sidecar(const cJSON *container);

/* Returns the name of the first container that `value` selects and in which LD_PRELOAD lacks our
 * library, or NULL if there is none. The name belongs to `pod`. */
const char *preload_missing(const cJSON *pod, const char *value);

/* Returns the bytes of LD_PRELOAD in all containers that `value` selects. */
size_t preload_lists_len(const cJSON *pod, const char *value);

/* Returns the container's last variable of a name, which is the one that counts, or NULL. Sets
 * *index to its place in the container's "env". */
const cJSON *preload_variable(const cJSON *container, const char *name, unsigned int *index);

/* Returns true if `list`, a value of LD_PRELOAD, has the file in any folder. A list is separated by
 * colons or spaces. */
bool preload_lists(const char *list, const char *file);

#ifdef __cplusplus
}
#endif

#endif
