/* SPDX-License-Identifier: Apache-2.0 */
/* Which device the configuration means. Pure. */
#ifndef SIDECAR_DEVICE_VFIO_TARGET_H
#define SIDECAR_DEVICE_VFIO_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sidecar/config/config.h"

#ifdef __cplusplus
extern "C" {
#endif

#define VFIO_TARGET_SIZE 256

/*
 * The key `device`, else the first address in the PCIDEVICE_* variable of the key `resource` (of
 * the only such variable, if the key is empty). Writes a PCI address as 0000:03:02.1 with *pci
 * true, or a DPDK virtual device with its arguments. 0; -ENOENT with text if none is given; -EINVAL
 * with text if it cannot be one.
 */
int vfio_target(const struct config *cfg, char out[VFIO_TARGET_SIZE], bool *pci, char *text,
		size_t text_len);

#ifdef __cplusplus
}
#endif

#endif
