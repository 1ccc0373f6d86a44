/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPU and memory: what the pod's containers have, and what annotations udplane.io/cpu and
 * udplane.io/memory ask for: a quantity, or REQUEST/LIMIT. Pure.
 */
#ifndef UDPLANE_DEPLOY_INJECTOR_RESOURCES_H
#define UDPLANE_DEPLOY_INJECTOR_RESOURCES_H

#include <stdbool.h>

#include <cjson/cJSON.h>

#ifdef __cplusplus
extern "C" {
#endif

#define QUANTITY_SIZE 32 /* with the NUL: longer than any that an annotation may have */

enum resource_kind {
	RESOURCE_CPU,
	RESOURCE_MEMORY,
};

/* Request and limit of the sidecar; "" for none. */
struct share {
	char request[QUANTITY_SIZE], limit[QUANTITY_SIZE];
};

/* Returns what is wrong with an annotation's value, or NULL. */
const char *resources_wrong(enum resource_kind kind, const char *value);

/*
 * Splits a good value of an annotation. One quantity of memory is request and limit; one of CPU is
 * the request, and also the limit if `guaranteed`. In a Guaranteed pod the request is the limit.
 */
void resources_split(enum resource_kind kind, const char *value, bool guaranteed,
		     struct share *share);

/* Returns true if the pod is in QoS class Guaranteed by its containers, other than our own. */
bool resources_guaranteed(const cJSON *pod);

/* Returns true if the pod has CPU or memory as a whole (spec.resources). */
bool resources_of_pod(const cJSON *pod);

#ifdef __cplusplus
}
#endif

#endif
