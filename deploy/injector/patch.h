/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the JSON Patch that injects into a pod, and applies it. Pure. */
#ifndef UDPLANE_DEPLOY_INJECTOR_PATCH_H
#define UDPLANE_DEPLOY_INJECTOR_PATCH_H

#include "deploy/injector/injection.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The operations for a pod that check_pod() has let through, as a JSON array, to be deleted; empty
 * for a pod that has everything already. NULL only for out of memory.
 */
cJSON *patch_make(const struct injection *injection, const cJSON *pod);

/*
 * Applies what patch_make() makes ("add" only). Items of `pod` stay where they are in memory, and
 * new ones are copies. Returns 0, -EINVAL for a path that does not exist, or -ENOMEM; `pod` is then
 * half patched.
 */
int patch_apply(cJSON *pod, const cJSON *patch);

#ifdef __cplusplus
}
#endif

#endif
