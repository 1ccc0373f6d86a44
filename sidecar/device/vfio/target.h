/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the device that the configuration names. Pure. */
#ifndef SIDECAR_DEVICE_VFIO_TARGET_H
#define SIDECAR_DEVICE_VFIO_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/base/error.h"
#include "sidecar/config/config.h"

#ifdef __cplusplus
extern "C" {
#endif

#define VFIO_TARGET_SIZE 256

/*
 * Takes the key `device`, or otherwise the first address in the PCIDEVICE_* variable of the key
 * `resource` (of the only such variable, if the key is empty). Writes a PCI address as 0000:03:02.1
 * and sets *pci true, or writes a DPDK virtual device with its arguments. Returns 0; or, with
 * `error` set, -ENOENT if none is given, -EINVAL if it is not a valid name.
 */
int vfio_target(const struct config *cfg, char out[VFIO_TARGET_SIZE], bool *pci,
		struct error *error);

#ifdef __cplusplus
}
#endif

#endif
