/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The backend vfio, as far as udplaned has it without DPDK: is a device given, is the machine fit
 * for it, and where is the rest. DPDK is in libudplane-dpdk.so, loaded on demand, so that an
 * installation that only does AF_XDP carries none of it (and starts without its 40 MB). Control
 * thread only.
 */
#ifndef SIDECAR_DEVICE_VFIO_VFIO_H
#define SIDECAR_DEVICE_VFIO_VFIO_H

#include "sidecar/config/config.h"
#include "sidecar/device/device.h"

/* Does the configuration name a device? Else auto does not even try. */
bool vfio_is_given(const struct config *cfg);
/* Checks, loads DPDK, opens. As device_ops.open. Every warning and every fault of the preflight but
 * the first is logged. */
int vfio_open(struct device **dev, const struct config *cfg, char *text, size_t text_len);

#endif
