/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides whether udplane handles a pod, and checks its annotations. The conditions, the checks,
 * their order and their texts are those of the chart's policies (templates/_helpers.tpl, _cel.tpl);
 * tests/e2e compares both.
 *
 * Pure. A pod is an object with metadata and spec, that is, a Pod or a workload's pod template.
 */
#ifndef UDPLANE_DEPLOY_INJECTOR_CHECK_H
#define UDPLANE_DEPLOY_INJECTOR_CHECK_H

#include <stdbool.h>

#include "deploy/injector/injection.h"
#include "deploy/injector/resources.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Returns true if the pod has a udplane.io annotation, has not opted out, does not mirror a
 * static pod. */
bool check_concerned(const cJSON *pod);

/* What the sidecar of a pod gets. The strings belong to the pod or the injection. */
struct wanted {
	unsigned int holds;   /* CONDITION_ bits */
	const char *resource; /* device-plugin resource; "" for none */
	const char *image;    /* "" for the chart's */
	struct share cpu, memory;
};

void check_wanted(const struct injection *injection, const cJSON *pod, struct wanted *wanted);

/* Checks a pod's annotations. Returns 0, or -EINVAL with an `err` that names the annotation, its
 * value, what is wrong with it, and what is allowed. */
int check_pod(const struct injection *injection, const cJSON *pod, struct error *err);

/* Adds a note for each annotation that has no effect, or not yet. old: the pod as it was, or NULL
 * if it is being created. */
void check_notes(const cJSON *pod, const cJSON *old, struct config_warnings *notes);

#ifdef __cplusplus
}
#endif

#endif
