/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `udplane-injector patch`: manifests in, manifests out with the sidecar in every pod that asks for
 * it, for pipelines that want no admission at all. JSON and YAML, each as it came; a text in which
 * something is injected loses its comments and its layout. Pure.
 */
#ifndef UDPLANE_DEPLOY_INJECTOR_MANIFEST_H
#define UDPLANE_DEPLOY_INJECTOR_MANIFEST_H

#include "deploy/injector/injection.h"

#ifdef __cplusplus
extern "C" {
#endif

struct manifest_counts {
	unsigned int pods;     /* pods and pod templates seen */
	unsigned int injected; /* of them */
};

/*
 * Returns the patched text, to be freed, or NULL with `err` naming the manifest and what is wrong.
 * `notes` and `counts` are added to. Knows Pod, PodTemplate, the workloads of core, apps and batch,
 * and List; everything else goes through as it is.
 */
char *manifest_patch(const struct injection *injection, const char *name, const char *text,
		     size_t len, struct manifest_counts *counts, struct config_warnings *notes,
		     struct error *err);

#ifdef __cplusplus
}
#endif

#endif
