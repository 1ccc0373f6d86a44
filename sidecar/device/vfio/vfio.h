/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of the backend vfio that udplaned has without DPDK: whether a device is given, whether
 * the machine is fit for it, and where the rest is. DPDK is in libudplane-dpdk.so and loaded on
 * demand, so that an installation that only uses AF_XDP does not need it (and starts without its 40
 * MB). Control thread only.
 */
#ifndef SIDECAR_DEVICE_VFIO_VFIO_H
#define SIDECAR_DEVICE_VFIO_VFIO_H

#include "include/base/error.h"
#include "sidecar/config/config.h"
#include "sidecar/device/device.h"

/* Returns true if the configuration names a device. Otherwise the backend auto does not try
 * vfio. */
bool vfio_is_given(const struct config *cfg);
/* Checks the machine, loads DPDK and opens the device. Parameters and result as device_ops.open.
 * Logs every warning of the preflight, and every fault but the first. */
int vfio_open(struct device **dev, const struct config *cfg, struct error *error);

#endif
