/* SPDX-License-Identifier: Apache-2.0 */
/* Makes and applies the JSON Patch that injects the sidecar into a pod. Pure. */
#ifndef UDPLANE_DEPLOY_INJECTOR_PATCH_H
#define UDPLANE_DEPLOY_INJECTOR_PATCH_H

#include "deploy/injector/injection.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Returns the operations for a pod that has passed check_pod(), as a JSON array that the caller
 * deletes. It is empty if the pod has everything already. Returns NULL only if out of memory.
 */
cJSON *patch_make(const struct injection *injection, const cJSON *pod);

/*
 * Applies a patch of patch_make(), which contains only "add". Items of `pod` stay at their place in
 * memory, and new items are copies. Returns 0. Returns -EINVAL for a path that does not exist, or
 * -ENOMEM; `pod` is then patched only in part.
 */
int patch_apply(cJSON *pod, const cJSON *patch);

#ifdef __cplusplus
}
#endif

#endif
