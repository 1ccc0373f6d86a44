/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `udplane-injector patch`: adds the sidecar to each pod of a manifest that asks for it. Meant for
 * pipelines without an admission plugin. JSON stays JSON and YAML stays YAML, but a text in which
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
	unsigned int injected; /* those of them in which something was injected */
};

/*
 * Patches Pod, PodTemplate, the workloads of core, apps and batch, those of Argo, Agones,
 * OpenKruise and Knative, and List. Leaves every other kind as it is, with a note if it mentions
 * udplane. Returns the patched text, which the caller frees, or NULL with an `err` that names the
 * manifest and what is wrong. Adds to *notes and *counts.
 *
 * name: the text's name in messages
 * text: manifests of `len` bytes
 * paths: where else pod templates are, such as "spec.template", NULL at the end; may be NULL
 */
char *manifest_patch(const struct injection *injection, const char *name, const char *text,
		     size_t len, const char *const *paths, struct manifest_counts *counts,
		     struct config_warnings *notes, struct error *err);

#ifdef __cplusplus
}
#endif

#endif
