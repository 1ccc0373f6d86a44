/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/device/vfio/vfio.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <udplane/udplane.h>
#include <unistd.h>

#include "include/preflight/memory_need.h"
#include "include/preflight/preflight.h"
#include "sidecar/base/log.h"
#include "sidecar/device/vfio/plugin.h"
#include "sidecar/device/vfio/target.h"

/* Paths relative to the directory of udplaned: as installed, and as Bazel builds. Never a search
 * path, since this process is privileged. */
static const char *const places[] = {"../lib/udplane/" VFIO_PLUGIN_FILE,
				     "device/dpdk/" VFIO_PLUGIN_FILE};

bool vfio_is_given(const struct config *cfg)
{
	char target[VFIO_TARGET_SIZE];
	bool pci;

	return vfio_target(cfg, target, &pci, NULL) != -ENOENT;
}

static int find_plugin(char out[PATH_MAX], struct error *error)
{
	char dir[PATH_MAX - 64];
	ssize_t n = readlink("/proc/self/exe", dir, sizeof(dir) - 1);

	dir[n > 0 ? n : 0] = 0;
	if (strrchr(dir, '/'))
		*strrchr(dir, '/') = 0;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		snprintf(out, PATH_MAX, "%s/%s", dir, places[i]);
		if (!access(out, R_OK))
			return 0;
	}
	return error_set(
		error, -ENOENT,
		"this installation has no VFIO support: there is no %s; install it (the image "
		"with DPDK), or use --backend af_xdp",
		places[0]);
}

static int load(const struct device_ops **ops, struct error *error)
{
	static const struct vfio_plugin ours = {UDPLANE_VERSION, VFIO_PLUGIN_SIZES, NULL};
	const struct vfio_plugin *p;
	char path[PATH_MAX];
	void *lib;
	int err = find_plugin(path, error);

	if (err)
		return err;
	lib = dlopen(path, RTLD_NOW | RTLD_GLOBAL); /* global: DPDK's drivers need its symbols */
	p = lib ? dlsym(lib, VFIO_PLUGIN_SYMBOL) : NULL;
	if (!p)
		return error_set(error, -ELIBACC,
				 "%.200s; install DPDK 22.11's libraries, or use --backend af_xdp",
				 dlerror());
	if (strcmp(p->version, ours.version) || p->config_size != ours.config_size ||
	    p->device_size != ours.device_size || p->ops_size != ours.ops_size)
		return error_set(
			error, -ELIBBAD,
			"%.200s belongs to another udplaned (%.20s; this is %s): install both "
			"from one build",
			path, p->version, UDPLANE_VERSION);
	*ops = p->ops;
	return 0; /* never unloaded, since EAL starts only once in a process */
}

/* The first fault is the error, with its text. */
static int check(const struct config *cfg, const char *target, struct error *error)
{
	struct preflight p;
	int err = 0;

	preflight_run(&p,
		      &(struct preflight_options){
			      .device = target,
			      .hugepage_bytes = memory_need_frames(cfg->frames, cfg->frame_size),
			      .dpdk_bytes = memory_need_dpdk(cfg->frames),
			      .hugepages_required = cfg->hugepages == CONFIG_HUGEPAGES_REQUIRED,
			      .noiommu = cfg->vfio_noiommu == CONFIG_ON});
	for (uint32_t i = 0; i < p.cnt; i++) {
		const struct preflight_check *k = &p.check[i];

		if (k->verdict == PREFLIGHT_OK)
			continue;
		if (k->verdict == PREFLIGHT_BAD && !err) {
			err = error_set(error, -ENODEV, "%s: %s", k->name, k->text);
		} else {
			log_warn("preflight: %s: %s", k->name, k->text);
		}
	}
	return err;
}

int vfio_open(struct device **dev, const struct config *cfg, struct error *error)
{
	const struct device_ops *ops = NULL;
	char target[VFIO_TARGET_SIZE];
	bool pci;
	int err = vfio_target(cfg, target, &pci, error);

	if (!err && pci)
		err = check(cfg, target, error);
	if (!err)
		err = load(&ops, error);
	return err ? err : ops->open(dev, cfg, error);
}
