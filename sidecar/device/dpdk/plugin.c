/* SPDX-License-Identifier: Apache-2.0 */
/* The one symbol that udplaned looks for when it has loaded this library. */
#include <udplane/udplane.h>

#include "sidecar/device/dpdk/dpdk.h"
#include "sidecar/device/vfio/plugin.h"

__attribute__((visibility("default")))
const struct vfio_plugin udplane_dpdk_plugin = {UDPLANE_VERSION, VFIO_PLUGIN_SIZES, &device_dpdk};
