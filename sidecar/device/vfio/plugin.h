/* SPDX-License-Identifier: Apache-2.0 */
/* What libudplane-dpdk.so exports to udplaned. The two are built together and cannot be mixed:
 * sizes and version must agree. */
#ifndef SIDECAR_DEVICE_VFIO_PLUGIN_H
#define SIDECAR_DEVICE_VFIO_PLUGIN_H

#include <stddef.h>

#include "sidecar/config/config.h"
#include "sidecar/device/device.h"

#define VFIO_PLUGIN_FILE   "libudplane-dpdk.so"
#define VFIO_PLUGIN_SYMBOL "udplane_dpdk_plugin"

struct vfio_plugin {
	const char *version; /* UDPLANE_VERSION */
	size_t config_size, device_size, ops_size;
	const struct device_ops *ops;
};

#define VFIO_PLUGIN_SIZES                             \
	sizeof(struct config), sizeof(struct device), \
		sizeof(struct device_ops) + sizeof(struct device_queue_ops)

#endif
