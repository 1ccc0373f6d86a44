/* SPDX-License-Identifier: Apache-2.0 */
#include "include/preflight/preflight.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "include/preflight/pci_address.h"

#define HUGE_SIZE (2u << 20)
/* Bytes that may be locked in addition to the need. With ordinary pages EAL maps up to 76 MiB more
 * for DMA than it needs; the rest is a reserve. */
#define LOCK_SPARE	  (96ull << 20)
#define MIB		  (1ull << 20)
#define CAP_NET_ADMIN_BIT 12
#define CAP_IPC_LOCK_BIT  14
#define MEMBERS_SHOWN	  4

struct run {
	struct preflight *p;
	const struct preflight_options *o;
	const char *root;
	const char *dev;  /* NULL if no device is given */
	int group;	  /* IOMMU group; -1 if none */
	bool unprotected; /* there is no IOMMU */
	char driver[64];
	char address[PCI_ADDRESS_SIZE];
};

static void say(struct run *r, const char *name, enum preflight_verdict v, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static void add(struct preflight *p, const char *name, enum preflight_verdict v, const char *fmt,
		va_list ap) __attribute__((format(printf, 4, 0)));

static void add(struct preflight *p, const char *name, enum preflight_verdict v, const char *fmt,
		va_list ap)
{
	struct preflight_check *k = &p->check[p->cnt];

	if (p->cnt == PREFLIGHT_MAX)
		return;
	p->cnt++;
	snprintf(k->name, sizeof(k->name), "%s", name);
	k->verdict = v;
	vsnprintf(k->text, sizeof(k->text), fmt, ap);
}

void preflight_add(struct preflight *p, const char *name, enum preflight_verdict v, const char *fmt,
		   ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(p, name, v, fmt, ap);
	va_end(ap);
}

static void say(struct run *r, const char *name, enum preflight_verdict v, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(r->p, name, v, fmt, ap);
	va_end(ap);
}

const char *preflight_verdict_name(enum preflight_verdict v)
{
	return v == PREFLIGHT_OK ? "ok" : v == PREFLIGHT_WARN ? "warn" : "bad";
}

enum preflight_verdict preflight_worst(const struct preflight *p)
{
	enum preflight_verdict worst = PREFLIGHT_OK;

	for (uint32_t i = 0; i < p->cnt; i++)
		if (p->check[i].verdict > worst)
			worst = p->check[i].verdict;
	return worst;
}

/* --- small reads --- */

static void path_of(const struct run *r, char out[PATH_MAX], const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void path_of(const struct run *r, char out[PATH_MAX], const char *fmt, ...)
{
	int n = snprintf(out, PATH_MAX, "%s", r->root);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(out + n, PATH_MAX - (size_t)n, fmt, ap);
	va_end(ap);
}

/* Copies the last component of a symbolic link's target to `out`, or "" if `path` is not a link. */
static void link_name(const char *path, char *out, size_t size)
{
	char target[PATH_MAX];
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	const char *slash;

	target[n > 0 ? n : 0] = 0;
	slash = strrchr(target, '/');
	snprintf(out, size, "%.*s", (int)size - 1, slash ? slash + 1 : target);
}

static bool read_line(const char *path, char *out, size_t size)
{
	FILE *f = fopen(path, "re");
	bool ok = f && fgets(out, (int)size, f);

	if (f)
		fclose(f);
	if (!ok)
		out[0] = 0;
	out[strcspn(out, "\n")] = 0;
	return ok;
}

static long read_number(const char *path, long fallback)
{
	char line[64], *end;
	long v;

	if (!read_line(path, line, sizeof(line)))
		return fallback;
	v = strtol(line, &end, 0);
	return end == line ? fallback : v;
}

static void driver_of(const struct run *r, const char *dev, char *out, size_t size)
{
	char path[PATH_MAX];

	path_of(r, path, "/sys/bus/pci/devices/%s/driver", dev);
	link_name(path, out, size);
}

/* --- the checks --- */

/* Returns true if the device is a PCI address. Completes BB:SS.F, as udplaned does. */
static bool is_address(struct run *r)
{
	if (!pci_address_parse(r->dev, r->address))
		return false;
	r->dev = r->address;
	return true;
}

static bool check_exists(struct run *r)
{
	char path[PATH_MAX];
	bool valid = is_address(r);

	path_of(r, path, "/sys/bus/pci/devices/%s", r->dev);
	if (valid && !access(path, F_OK)) {
		say(r, "device", PREFLIGHT_OK, "%s is there", r->dev);
		return true;
	}
	say(r, "device", PREFLIGHT_BAD,
	    "there is no PCI device %s: `lspci -D` lists them; allowed: DOMAIN:BUS:SLOT.FUNCTION "
	    "such as 0000:03:02.1",
	    r->dev);
	return false;
}

/* Returns true if the vendor's DPDK driver works together with this kernel driver. */
static bool is_bifurcated(const char *driver)
{
	return !strcmp(driver, "mlx5_core") || !strcmp(driver, "mlx4_core") ||
	       !strcmp(driver, "mana");
}

/* Such a driver shares the NIC through the kernel's verbs, and needs no IOMMU, group or VFIO. */
static void check_verbs(struct run *r)
{
	char path[PATH_MAX];

	say(r, "driver", PREFLIGHT_OK, "%s; DPDK's driver works beside it", r->driver);
	path_of(r, path, "/dev/infiniband");
	if (!access(path, F_OK))
		say(r, "verbs", PREFLIGHT_OK, "/dev/infiniband is there");
	else
		say(r, "verbs", PREFLIGHT_BAD,
		    "there is no /dev/infiniband: load ib_uverbs and the NIC driver's RDMA module "
		    "(mlx5_ib) on the host, and give the container the device nodes in "
		    "/dev/infiniband");
}

static void check_driver(struct run *r)
{
	if (!strcmp(r->driver, "vfio-pci"))
		say(r, "driver", PREFLIGHT_OK, "%s", r->driver);
	else if (!r->driver[0])
		say(r, "driver", PREFLIGHT_BAD,
		    "%s has no driver: bind it with `deploy/bind-vfio %s` on the host", r->dev,
		    r->dev);
	else if (!strcmp(r->driver, "igb_uio") || !strcmp(r->driver, "uio_pci_generic"))
		say(r, "driver", PREFLIGHT_WARN,
		    "%s: no IOMMU protects memory from the device; prefer `deploy/bind-vfio %s`",
		    r->driver, r->dev);
	else
		say(r, "driver", PREFLIGHT_BAD,
		    "the kernel driver %s is bound to %s: bind it to vfio-pci with "
		    "`deploy/bind-vfio %s` "
		    "on the host; its interface then leaves the kernel",
		    r->driver, r->dev, r->dev);
}

static void check_iommu(struct run *r)
{
	char path[PATH_MAX], name[32];
	bool unsafe, unable;

	path_of(r, path, "/sys/bus/pci/devices/%s/iommu_group", r->dev);
	link_name(path, name, sizeof(name));
	r->group = name[0] ? atoi(name) : -1;
	path_of(r, path, "/dev/vfio/noiommu-%d", r->group);
	r->unprotected = r->group < 0 || !access(path, F_OK);
	path_of(r, path, "/sys/module/vfio");
	unable = !access(path, F_OK);
	path_of(r, path, "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode");
	unable = unable && access(path, F_OK);
	read_line(path, name, sizeof(name));
	unsafe = name[0] == 'Y' || name[0] == '1';
	if (!r->unprotected)
		say(r, "iommu", PREFLIGHT_OK, "group %d%s", r->group,
		    r->o->noiommu ? "; there is an IOMMU, so vfio_noiommu changes nothing" : "");
	else if (r->o->noiommu && unsafe)
		say(r, "iommu", PREFLIGHT_WARN,
		    "none, and vfio_noiommu is on: %s can read and write all memory of "
		    "this machine",
		    r->dev);
	else if (r->o->noiommu && unable)
		say(r, "iommu", PREFLIGHT_BAD,
		    "none, and vfio_noiommu needs CONFIG_VFIO_NOIOMMU, which this kernel does not "
		    "have (Debian's kernels do not): use another kernel, or enable the IOMMU");
	else if (r->o->noiommu)
		say(r, "iommu", PREFLIGHT_BAD,
		    "none, and the host does not allow vfio_noiommu: run there `modprobe vfio "
		    "enable_unsafe_noiommu_mode=1`");
	else
		say(r, "iommu", PREFLIGHT_BAD,
		    "none: enable VT-d or AMD-Vi in the firmware and boot with intel_iommu=on "
		    "(Intel) or iommu=pt; a virtual machine needs a virtual "
		    "IOMMU; or accept the risk with vfio_noiommu=on");
}

/* Every device in the group must be ours or without a driver, since the IOMMU cannot tell the
 * members of a group apart. */
static void check_group(struct run *r)
{
	char path[PATH_MAX], others[160] = "", driver[64];
	struct dirent *e;
	int bad = 0, all = 0;
	DIR *d;

	path_of(r, path, "/sys/bus/pci/devices/%s/iommu_group/devices", r->dev);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.' || !strcmp(e->d_name, r->dev))
			continue;
		all++;
		driver_of(r, e->d_name, driver, sizeof(driver));
		if (!driver[0] || !strcmp(driver, "vfio-pci") || !strcmp(driver, "pcieport") ||
		    !strcmp(driver, "pci-stub"))
			continue;
		if (bad++ < MEMBERS_SHOWN)
			snprintf(others + strlen(others), sizeof(others) - strlen(others),
				 " %.16s (%.16s)", e->d_name, driver);
	}
	if (d)
		closedir(d);
	if (bad)
		say(r, "group", PREFLIGHT_BAD,
		    "other devices of group %d have kernel drivers:%s; bind them to vfio-pci too, "
		    "or use another slot",
		    r->group, others);
	else
		say(r, "group", PREFLIGHT_OK,
		    "%d other device%s in the group, none with a kernel driver", all,
		    all == 1 ? "" : "s");
}

static void check_node(struct run *r, const char *what, const char *name)
{
	char path[PATH_MAX];
	int fd;

	path_of(r, path, "/dev/vfio/%s", name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd >= 0) {
		close(fd);
		say(r, what, PREFLIGHT_OK, "/dev/vfio/%s can be opened", name);
		return;
	}
	say(r, what, PREFLIGHT_BAD, "/dev/vfio/%s: %s; %s", name, strerror(errno),
	    errno == ENOENT ? "load vfio-pci on the host, and give the container /dev/vfio (a "
			      "device plugin does, or privileged)"
	    : errno == EBUSY
		    ? "another process uses the device: stop it"
		    : "the container needs the device and permission to read and write it");
}

static void check_nodes(struct run *r)
{
	char name[32];

	if (r->group < 0)
		return;
	check_node(r, "vfio", "vfio");
	snprintf(name, sizeof(name), r->unprotected ? "noiommu-%d" : "%d", r->group);
	check_node(r, "vfio_group", name);
}

static uint64_t capabilities(const struct run *r)
{
	char path[PATH_MAX], line[128];
	uint64_t caps = 0;
	FILE *f;

	path_of(r, path, "/proc/self/status");
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "CapEff:", 7))
			caps = strtoull(line + 7, NULL, 16);
	if (f)
		fclose(f);
	return caps;
}

static void check_memlock(struct run *r, uint64_t caps)
{
	struct rlimit lim = {RLIM_INFINITY, RLIM_INFINITY};
	uint64_t need =
		(2 * r->o->hugepage_bytes + r->o->dpdk_bytes + LOCK_SPARE + MIB - 1) & ~(MIB - 1);

	getrlimit(RLIMIT_MEMLOCK, &lim);
	if (caps >> CAP_IPC_LOCK_BIT & 1)
		say(r, "memlock", PREFLIGHT_OK, "CAP_IPC_LOCK: no limit applies");
	else if (lim.rlim_max == RLIM_INFINITY || lim.rlim_max >= need)
		say(r, "memlock", PREFLIGHT_OK, "RLIMIT_MEMLOCK is high enough");
	else
		say(r, "memlock", PREFLIGHT_BAD,
		    "RLIMIT_MEMLOCK is %llu KiB, and memory for DMA is locked: add CAP_IPC_LOCK, "
		    "or raise the limit to %llu MiB",
		    (unsigned long long)lim.rlim_max >> 10, (unsigned long long)(need / MIB));
}

static void check_tap(struct run *r, uint64_t caps)
{
	char path[PATH_MAX];
	int fd;

	path_of(r, path, "/dev/net/tun");
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		say(r, "tap", PREFLIGHT_BAD,
		    "/dev/net/tun: %s; load the module tun, and give the container the device",
		    strerror(errno));
	else if (!(caps >> CAP_NET_ADMIN_BIT & 1))
		say(r, "tap", PREFLIGHT_BAD,
		    "no CAP_NET_ADMIN, which the TAP for the kernel's traffic needs: add it to the "
		    "container's securityContext.capabilities");
	else
		say(r, "tap", PREFLIGHT_OK, "/dev/net/tun and CAP_NET_ADMIN");
	if (fd >= 0)
		close(fd);
}

/* Reports all NUMA nodes in one line: "node0 64 free of 64, node1 ...". */
static void check_hugepages(struct run *r)
{
	char path[PATH_MAX], list[120] = "";
	long free_pages = 0,
	     want = (long)((r->o->hugepage_bytes + r->o->dpdk_bytes + HUGE_SIZE - 1) / HUGE_SIZE);
	struct dirent *e;
	DIR *d;

	path_of(r, path, "/sys/devices/system/node");
	d = opendir(path);
	while (d && (e = readdir(d))) {
		long total, left;

		if (strncmp(e->d_name, "node", 4) || e->d_name[4] < '0' || e->d_name[4] > '9')
			continue;
		path_of(r, path,
			"/sys/devices/system/node/%.32s/hugepages/hugepages-2048kB/nr_hugepages",
			e->d_name);
		total = read_number(path, 0);
		path_of(r, path,
			"/sys/devices/system/node/%.32s/hugepages/hugepages-2048kB/free_hugepages",
			e->d_name);
		left = read_number(path, 0);
		free_pages += left;
		snprintf(list + strlen(list), sizeof(list) - strlen(list),
			 "%s%.12s: %ld free of %ld", list[0] ? ", " : "", e->d_name, left, total);
	}
	if (d)
		closedir(d);
	if (free_pages >= want && free_pages > 0)
		say(r, "hugepages", PREFLIGHT_OK, "%s (2 MiB)", list);
	else
		say(r, "hugepages", r->o->hugepages_required ? PREFLIGHT_BAD : PREFLIGHT_WARN,
		    "%s, and %ld of 2 MiB are needed: sysctl vm.nr_hugepages=%ld on the host%s",
		    list[0] ? list : "none", want ? want : 1, want ? want * 2 : 64,
		    r->o->hugepages_required
			    ? ""
			    : "; without them ordinary pages are used, which is slower");
}

static void check_cpuset(struct run *r)
{
	char path[PATH_MAX], cpus[128] = "";
	cpu_set_t allowed;
	long node = -1;

	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return;
	if (r->dev) {
		path_of(r, path, "/sys/bus/pci/devices/%s/numa_node", r->dev);
		node = read_number(path, -1);
		path_of(r, path, "/sys/bus/pci/devices/%s/local_cpulist", r->dev);
		read_line(path, cpus, sizeof(cpus));
	}
	for (char *at = cpus, *item; node >= 0 && (item = strsep(&at, ",")) && *item;) {
		long a = strtol(item, &item, 10), b = *item == '-' ? strtol(item + 1, NULL, 10) : a;

		for (; a <= b && a < CPU_SETSIZE; a++)
			if (CPU_ISSET((size_t)a, &allowed)) {
				say(r, "cpuset", PREFLIGHT_OK,
				    "%d CPUs, some on the device's NUMA node %ld",
				    CPU_COUNT(&allowed), node);
				return;
			}
	}
	if (node >= 0)
		say(r, "cpuset", PREFLIGHT_WARN,
		    "no CPU of the device's NUMA node %ld is allowed here, which costs speed: add "
		    "some to the cpuset",
		    node);
	else
		say(r, "cpuset", CPU_COUNT(&allowed) > 1 ? PREFLIGHT_OK : PREFLIGHT_WARN,
		    "%d CPU%s allowed%s", CPU_COUNT(&allowed), CPU_COUNT(&allowed) == 1 ? "" : "s",
		    CPU_COUNT(&allowed) > 1
			    ? ""
			    : ": a worker and its clients share it; give the pod two CPUs");
}

static void check_device(struct run *r)
{
	if (!check_exists(r))
		return;
	driver_of(r, r->dev, r->driver, sizeof(r->driver));
	if (is_bifurcated(r->driver)) {
		check_verbs(r);
		return;
	}
	check_iommu(r);
	check_driver(r);
	if (r->group >= 0)
		check_group(r);
	/* While a kernel driver holds the device, the VFIO device nodes cannot exist yet. Reporting
	 * that would only hide the cause. */
	if (!strcmp(r->driver, "vfio-pci"))
		check_nodes(r);
}

void preflight_run(struct preflight *p, const struct preflight_options *o)
{
	struct run r = {.p = p, .o = o, .root = o->root ? o->root : "", .group = -1};
	uint64_t caps = capabilities(&r);

	p->cnt = 0;
	r.dev = o->device && o->device[0] ? o->device : NULL;
	if (r.dev)
		check_device(&r);
	check_memlock(&r, caps);
	check_tap(&r, caps);
	check_hugepages(&r);
	check_cpuset(&r);
}

void preflight_memory(struct preflight *p, const struct preflight_options *o)
{
	struct run r = {.p = p, .o = o, .root = o->root ? o->root : "", .group = -1};

	check_hugepages(&r);
	check_cpuset(&r);
}
