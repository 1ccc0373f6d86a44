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
	char target[VFIO_TARGET_SIZE], text[UDPLANE_TEXT_LEN];
	bool pci;

	return vfio_target(cfg, target, &pci, text, sizeof(text)) != -ENOENT;
}

static int find_plugin(char out[PATH_MAX], char *text, size_t text_len)
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
	snprintf(text, text_len,
		 "this installation has no VFIO support: there is no %s; install it (the image "
		 "with DPDK), or use --backend af_xdp",
		 places[0]);
	return -ENOENT;
}

static int load(const struct device_ops **ops, char *text, size_t text_len)
{
	static const struct vfio_plugin ours = {UDPLANE_VERSION, VFIO_PLUGIN_SIZES, NULL};
	const struct vfio_plugin *p;
	char path[PATH_MAX];
	void *lib;
	int err = find_plugin(path, text, text_len);

	if (err)
		return err;
	lib = dlopen(path, RTLD_NOW | RTLD_GLOBAL); /* global: DPDK's drivers need its symbols */
	p = lib ? dlsym(lib, VFIO_PLUGIN_SYMBOL) : NULL;
	if (!p) {
		snprintf(text, text_len,
			 "%.200s; install DPDK 22.11's libraries, or use --backend af_xdp",
			 dlerror());
		return -ELIBACC;
	}
	if (strcmp(p->version, ours.version) || p->config_size != ours.config_size ||
	    p->device_size != ours.device_size || p->ops_size != ours.ops_size) {
		snprintf(text, text_len,
			 "%.200s belongs to another udplaned (%.20s; this is %s): install both "
			 "from one build",
			 path, p->version, UDPLANE_VERSION);
		return -ELIBBAD;
	}
	*ops = p->ops;
	return 0; /* never unloaded, since EAL starts only once in a process */
}

/* The first fault is the error, with its text. */
static int check(const struct config *cfg, const char *target, char *text, size_t text_len)
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
			snprintf(text, text_len, "%s: %s", k->name, k->text);
			err = -ENODEV;
		} else {
			log_warn("preflight: %s: %s", k->name, k->text);
		}
	}
	return err;
}

int vfio_open(struct device **dev, const struct config *cfg, char *text, size_t text_len)
{
	const struct device_ops *ops = NULL;
	char target[VFIO_TARGET_SIZE];
	bool pci;
	int err = vfio_target(cfg, target, &pci, text, text_len);

	if (!err && pci)
		err = check(cfg, target, text, text_len);
	if (!err)
		err = load(&ops, text, text_len);
	return err ? err : ops->open(dev, cfg, text, text_len);
}
