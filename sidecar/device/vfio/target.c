/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/device/vfio/target.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "include/preflight/pci_address.h"

#define PREFIX "PCIDEVICE_"
#define ALLOWED \
	"a PCI address such as 0000:03:02.1, or a DPDK virtual device such as net_null0,copy=1"

/* net_NAME, with arguments after a comma. */
static bool is_vdev(const char *s)
{
	return !strncmp(s, "net_", 4) && isalnum((unsigned char)s[4]);
}

/* PCIDEVICE_INTEL_COM_SRIOV for intel.com/sriov, as the SR-IOV device plugin names it. */
static bool names_resource(const struct config_pci *p, const char *resource)
{
	const char *at = p->name;

	if (strncmp(at, PREFIX, strlen(PREFIX)))
		return false;
	for (at += strlen(PREFIX); *resource; resource++, at++)
		if (*at !=
		    (isalnum((unsigned char)*resource) ? toupper((unsigned char)*resource) : '_'))
			return false;
	return *at == '=';
}

static size_t name_len(const struct config_pci *p)
{
	return strcspn(p->name, "=");
}

/* PCIDEVICE_X_INFO accompanies PCIDEVICE_X: it is JSON, not an address. */
static bool is_info(const struct config_pci *p)
{
	size_t n = name_len(p);

	return n > 5 && !strncmp(p->name + n - 5, "_INFO", 5);
}

static int from_plugin(const struct config *cfg, char out[VFIO_TARGET_SIZE], struct error *error)
{
	const struct config_pci *hit = NULL;
	char first[64];

	for (uint32_t i = 0; i < cfg->pci_count; i++) {
		const struct config_pci *p = &cfg->pci[i];

		if (is_info(p) || (cfg->resource[0] && !names_resource(p, cfg->resource)))
			continue;
		if (hit)
			return error_set(
				error, -EINVAL,
				"both %.*s and %.*s are set: choose one by the key resource or "
				"annotation udplane.io/resource",
				(int)name_len(hit), hit->name, (int)name_len(p), p->name);
		hit = p;
	}
	if (!hit)
		return error_set(error, -ENOENT,
				 cfg->resource[0]
					 ? "no PCIDEVICE_* variable of resource %.100s: does the "
					   "container request it?"
					 : "no VFIO device is given (key device, or PCIDEVICE_* "
					   "of a device plugin)%s",
				 cfg->resource[0] ? cfg->resource : "");
	snprintf(first, sizeof(first), "%.*s", (int)strcspn(hit->value, ","), hit->value);
	if (pci_address_parse(first, out))
		return 0;
	return error_set(error, -EINVAL, "%.*s: \"%s\" is no PCI address", (int)name_len(hit),
			 hit->name, first);
}

int vfio_target(const struct config *cfg, char out[VFIO_TARGET_SIZE], bool *pci,
		struct error *error)
{
	*pci = true;
	if (!cfg->device[0])
		return from_plugin(cfg, out, error);
	if (pci_address_parse(cfg->device, out))
		return 0;
	*pci = false;
	snprintf(out, VFIO_TARGET_SIZE, "%s", cfg->device);
	if (is_vdev(cfg->device))
		return 0;
	return error_set(error, -EINVAL, "device \"%.100s\"; allowed: " ALLOWED, cfg->device);
}
