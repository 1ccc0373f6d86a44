/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is a pod any business of ours, and are its annotations right? The same conditions, checks, order
 * and texts as the chart's policies (templates/_helpers.tpl, _cel.tpl); tests/e2e compares both.
 * Pure. A pod is an object with metadata and spec: a Pod, or a workload's pod template.
 */
#ifndef UDPLANE_DEPLOY_INJECTOR_CHECK_H
#define UDPLANE_DEPLOY_INJECTOR_CHECK_H

#include <stdbool.h>

#include "deploy/injector/injection.h"

#ifdef __cplusplus
extern "C" {
#endif

/* It has an annotation of ours, has not opted out, and is no mirror of a static pod. */
bool check_concerned(const cJSON *pod);

/* The CONDITION_ bits of a pod; *resource becomes the device-plugin resource that it gets, "" for
 * none. */
unsigned int check_conditions(const struct injection *injection, const cJSON *pod,
			      const char **resource);

/* Returns 0, or -EINVAL with `err` set: what, where, and what is allowed. */
int check_pod(const struct injection *injection, const cJSON *pod, struct error *err);

/* Adds notes about what has no effect. `update`: the pod exists already. */
void check_notes(const cJSON *pod, bool update, struct config_warnings *notes);

#ifdef __cplusplus
}
#endif

#endif
