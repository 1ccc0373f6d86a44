/* SPDX-License-Identifier: Apache-2.0 */
/* Starts and stops the environment layer of DPDK (EAL); its log lines go to our log. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/memfd.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "include/preflight/memory_need.h"
#include "sidecar/base/log.h"
#include "sidecar/device/dpdk/dpdk.h"
#include "sidecar/device/vfio/target.h"

#define EAL_ARGS  24
#define EAL_SPARE (76u << 20) /* without hugepages EAL takes at once all that it may ever need */
#define HUGEPAGE  (2u << 20)

/* There is one EAL per process, and one log: this is the first line that it wrote at level error.
 * Lines after it are mostly consequences. */
static char complaint[200];

struct args {
	char *v[EAL_ARGS + 1];
	int cnt;
	char room[2048];
	size_t used;
};

static void add(struct args *a, const char *arg)
{
	size_t len = strlen(arg) + 1;

	if (a->cnt == EAL_ARGS || a->used + len > sizeof(a->room))
		abort(); /* the target is at most 255 bytes long */
	a->v[a->cnt++] = memcpy(a->room + a->used, arg, len);
	a->used += len;
}

static void add2(struct args *a, const char *arg, const char *value)
{
	add(a, arg);
	add(a, value);
}

/* A line may arrive in pieces; EAL prints "SUBSYSTEM: text\n". */
static ssize_t on_log(void *cookie, const char *buf, size_t len)
{
	size_t n = len;

	(void)cookie;
	while (n && (buf[n - 1] == '\n' || buf[n - 1] == ' '))
		n--;
	if (n && !complaint[0] && rte_log_cur_msg_loglevel() <= (int)RTE_LOG_ERR)
		snprintf(complaint, sizeof(complaint), "%.*s", (int)n, buf);
	log_warn("dpdk: %.*s", (int)n, buf);
	return (ssize_t)len;
}

static int catch_log(void)
{
	static FILE *stream; /* EAL keeps the pointer */

	if (!stream)
		stream = fopencookie(NULL, "w", (cookie_io_functions_t){.write = on_log});
	if (!stream)
		return -ENOMEM;
	setvbuf(stream, NULL, _IOLBF, 512);
	return rte_openlog_stream(stream);
}

const char *dpdk_eal_complaint(void)
{
	static char last[sizeof(complaint) + 16];

	last[0] = 0;
	if (complaint[0])
		snprintf(last, sizeof(last), " (DPDK says: %s)", complaint);
	complaint[0] = 0;
	return last;
}

/* e1000e has one vector with MSI-X where its queue interrupt needs MSI (em driver of DPDK 22.11,
 * docs/measurements.md). */
static bool wants_msi(const char *addr)
{
	static const uint16_t em[] = {
		0x10d3, 0x10f6, 0x150c, 0x10ea, 0x10eb, 0x10ef, 0x10f0, 0x1502, 0x1503, 0x153a,
		0x153b, 0x155a, 0x1559, 0x15a0, 0x15a1, 0x15a2, 0x15a3, 0x156f, 0x1570, 0x15b7,
		0x15b8, 0x15b9, 0x15d7, 0x15d8, 0x15e3, 0x15d6, 0x15bd, 0x15be, 0x15bb, 0x15bc};
	char path[160];
	unsigned id = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.64s/device", addr);
	f = fopen(path, "re");
	if (f && fscanf(f, "%x", &id) != 1)
		id = 0;
	if (f)
		fclose(f);
	for (size_t i = 0; i < sizeof(em) / sizeof(em[0]); i++)
		if (em[i] == id)
			return true;
	return false;
}

/* Returns true if this much can be taken in hugepages now. The node's free count says little, since
 * a container has a limit of its own. */
static bool hugepages_for(uint64_t bytes)
{
	uint64_t len = RTE_ALIGN_CEIL(bytes, (uint64_t)HUGEPAGE);
	int fd = memfd_create("udplane-probe", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB);
	bool ok = fd >= 0 && !fallocate(fd, 0, 0, (off_t)len);

	if (fd >= 0)
		close(fd);
	return ok;
}

/* If there are too few hugepages for both the frames zone and DPDK, DPDK uses ordinary pages. The
 * zone is made later, since the device may want larger frames, and takes what is left; so DPDK
 * takes its own memory at once. If hugepages are required, the first that finds none reports it. */
static void add_memory(struct args *a, const struct config *cfg)
{
	uint64_t own = RTE_ALIGN_CEIL(memory_need_dpdk(cfg->frames), (uint64_t)HUGEPAGE);
	uint64_t frames = memory_need_frames(cfg->frames, cfg->frame_size);
	bool huge = cfg->hugepages == CONFIG_HUGEPAGES_AUTO && hugepages_for(frames + own);
	char mib[24];

	if (cfg->hugepages == CONFIG_HUGEPAGES_REQUIRED) {
		add(a, "--in-memory");
		return;
	}
	snprintf(mib, sizeof(mib), "%u", (unsigned)((huge ? own : own + EAL_SPARE) >> 20));
	if (huge) {
		add(a, "--in-memory");
	} else {
		/* cannot be combined with --in-memory in DPDK 22.11, but leaves no file either */
		add(a, "--no-huge");
		add(a, "--no-shconf");
	}
	add2(a, "-m", mib);
}

static void add_lcore(struct args *a, const cpu_set_t *allowed)
{
	char map[32];
	int cpu = 0;

	while (cpu < CPU_SETSIZE - 1 && !CPU_ISSET(cpu, allowed))
		cpu++;
	snprintf(map, sizeof(map), "0@%d", cpu); /* our threads are not lcores of EAL */
	add2(a, "--lcores", map);
}

/* An IOMMU is used if there is one, even if running without is allowed. */
static bool without_iommu(const struct config *cfg, const char *addr)
{
	char path[160], group[PATH_MAX];
	ssize_t n;

	if (!cfg->vfio_noiommu)
		return false;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.64s/iommu_group", addr);
	n = readlink(path, group, sizeof(group) - 1);
	if (n < 0)
		return true;
	group[n] = 0;
	snprintf(path, sizeof(path), "/dev/vfio/noiommu-%.32s",
		 strrchr(group, '/') ? strrchr(group, '/') + 1 : group);
	return !access(path, F_OK);
}

static void make_args(struct args *a, const struct config *cfg, const char *target, bool pci,
		      const cpu_set_t *allowed)
{
	add(a, "udplaned");
	add_lcore(a, allowed);
	add_memory(a, cfg);
	add(a, pci && without_iommu(cfg, target) ? "--iova-mode=pa" : "--iova-mode=va");
	if (!cfg->dpdk_telemetry)
		add(a, "--no-telemetry");
	add2(a, "--log-level", "lib.*:error");
	add2(a, "--log-level", "pmd.*:error");
	add2(a, "--log-level", "bus.*:error");
	if (pci) {
		add2(a, "-a", target);
		if (wants_msi(target))
			add(a, "--vfio-intr=msi");
	} else {
		add(a, "--no-pci");
		add2(a, "--vdev", target);
	}
}

int dpdk_eal_start(const struct config *cfg, const char *target, bool pci, struct error *error)
{
	struct args *a = calloc(1, sizeof(*a)); /* never freed, since EAL keeps pointers into it */
	cpu_set_t before;
	int err;

	if (!a || catch_log()) {
		free(a);
		return error_set(error, -ENOMEM, "out of memory");
	}
	log_init(cfg->log_level); /* this library has a copy of its own */
	log_as_json(cfg->log_format == CONFIG_LOG_JSON);
	if (sched_getaffinity(0, sizeof(before), &before))
		CPU_ZERO(&before);
	make_args(a, cfg, target, pci, &before);
	complaint[0] = 0;
	err = rte_eal_init(a->cnt, a->v) < 0 ? -rte_errno : 0;
	if (CPU_COUNT(&before))
		sched_setaffinity(0, sizeof(before),
				  &before); /* EAL pins the thread that starts it */
	if (err)
		error_set(error, err, "DPDK does not start for %.80s: %s%.200s; %s", target,
			  rte_strerror(-err), dpdk_eal_complaint(),
			  pci ? "udplaned's log has more"
			      : "check the virtual device's name and arguments");
	return err;
}

/* The interrupt thread outlives the clean-up, which frees DPDK's memory, and a virtual device may
 * have left a handle there that the thread reads (DPDK 22.11: a memif server never unregisters its
 * listener). What such a device holds is freed with the process. */
void dpdk_eal_stop(bool pci)
{
	if (pci)
		rte_eal_cleanup();
}
