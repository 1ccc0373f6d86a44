/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One function per source. Each writes its values over those that `config` has already. Texts and
 * arrays are arguments, so nothing here reads a file or the process. All return 0, or -errno with
 * `err` set. Internal to sidecar/config.
 */
#ifndef UDPLANE_SIDECAR_CONFIG_LAYER_H
#define UDPLANE_SIDECAR_CONFIG_LAYER_H

#include <stdbool.h>
#include <stddef.h>

#include "sidecar/config/config.h"
#include "sidecar/config/key.h"

#ifdef __cplusplus
extern "C" {
#endif

int layer_json(struct config *config, const char *file, const char *text, size_t len,
	       struct error *err);

/*
 * An empty variable counts as unset, since manifests leave variables empty. Also collects
 * PCIDEVICE_*, and warns about a variable whose name is almost that of a key.
 */
int layer_environment(struct config *config, char **envp, struct error *err);

/* Returns the value of a variable, or NULL. */
const char *environment_get(char **envp, const char *name);

/* Unknown udplane.io/ keys only cause warnings, since a newer injector may have set them. */
int layer_annotations(struct config *config, const char *file, const char *text, size_t len,
		      struct error *err);

/* Flags that are not keys. */
struct flags_special {
	bool help;
	bool version;
	const char *config; /* path, or NULL */
};

/* Checks the form of all arguments and finds the special ones. Of two equal flags the later one
 * counts. */
int flags_scan(int argc, char **argv, struct flags_special *special, struct error *err);

/* Applies the flags of key `only`, or of every key if it is NULL. */
int layer_flags(struct config *config, int argc, char **argv, const struct key *only,
		struct error *err);

#ifdef __cplusplus
}
#endif

#endif
