/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One function a source: each lays its values over what `config` holds already. Texts and arrays
 * are arguments, so nothing here reads a file or the process. All return 0, or -errno with `err`
 * set. Internal to sidecar/config.
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
 * An empty variable is as if unset (manifests leave them so). Also collects PCIDEVICE_*, and warns
 * of a variable whose name is a slip of a key's.
 */
int layer_environment(struct config *config, char **envp, struct error *err);

/* The value of a variable, or NULL. */
const char *environment_get(char **envp, const char *name);

/* Unknown udplane.io/ keys are warnings: they may be a newer injector's. */
int layer_annotations(struct config *config, const char *file, const char *text, size_t len,
		      struct error *err);

/* Flags that are no keys. */
struct flags_special {
	bool help;
	bool version;
	const char *config; /* path, or NULL */
};

/* Checks the form of all arguments and finds the special ones; the later of two equal flags wins.
 */
int flags_scan(int argc, char **argv, struct flags_special *special, struct error *err);

/* Applies the flags of key `only`, or of every key when NULL. */
int layer_flags(struct config *config, int argc, char **argv, const struct key *only,
		struct error *err);

#ifdef __cplusplus
}
#endif

#endif
