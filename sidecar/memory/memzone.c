/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/memory/memzone.h"
#include "sidecar/memory/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <numa.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A usual mmap address (0x7f...) is too large for an IOMMU of 39 bits, and EAL takes 4 to 134 GiB
 * for itself. So zones are placed from here on, so that a NIC can map the same addresses for DMA.
 * It is only a hint. */
#define MEMZONE_HINT_BASE (256ull << 30)

static size_t round_up(size_t len, size_t page)
{
	return (len + page - 1) / page * page;
}

static void *map_near_hint(int fd, size_t len)
{
	static uintptr_t next =
		MEMZONE_HINT_BASE; /* control thread only; a wrong hint costs nothing */
	void *addr = mmap((void *)next, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (addr != MAP_FAILED)
		next += round_up(len, 1ull << 30);
	return addr;
}

static bool is_huge(const struct memzone *z)
{
	return z->page_size == MEMZONE_HUGE_SIZE;
}

/* Allocates all pages. Here a full pool or a cgroup limit is an error; at the first access it would
 * be SIGBUS. */
static int populate(const struct memzone *z)
{
	if (fallocate(z->fd, 0, 0, (off_t)z->len))
		return -errno;
	return madvise(z->addr, z->len, MADV_POPULATE_WRITE) && errno != EINVAL ? -errno : 0;
}

/* Returns 0 or -errno; nothing is left behind on error. */
static int try_create(struct memzone *z, const char *name, size_t len, bool huge, int node)
{
	unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING | (huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0);
	int err;

	z->page_size = huge ? MEMZONE_HUGE_SIZE : (size_t)sysconf(_SC_PAGESIZE);
	z->len = round_up(len, z->page_size);
	z->addr = NULL;
	z->fd = memfd_create(name, flags);
	if (z->fd < 0)
		return -errno;
	if (ftruncate(z->fd, (off_t)z->len))
		goto fail;
	z->addr = map_near_hint(z->fd, z->len);
	if (z->addr == MAP_FAILED)
		goto fail;
	if (node >= 0 && numa_available() >= 0 && numa_max_node() > 0)
		numa_tonode_memory(z->addr, z->len,
				   node); /* kept by the file; fallocate follows it */
	if (populate(z))
		goto fail_map;
	(void)madvise(z->addr, z->len, MADV_DONTFORK);
	if (fcntl(z->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW))
		goto fail_map;
	(void)guard_add(z->addr, z->len,
			z->page_size); /* if the table is full, the zone works without a guard */
	return 0;

fail_map:
	err = -errno;
	munmap(z->addr, z->len);
	goto out;
fail:
	err = -errno;
out:
	close(z->fd);
	z->addr = NULL;
	z->fd = -1;
	return err;
}

/* Makes a zone within the budget. */
static int create_counted(struct memzone *z, const char *name, size_t len, bool huge, int node,
			  struct error *error)
{
	size_t all = round_up(len, huge ? MEMZONE_HUGE_SIZE : (size_t)sysconf(_SC_PAGESIZE));
	int err = budget_take(z->budget, z->owner, all, huge, error);

	if (err)
		return err;
	error->text[0] = 0;
	z->hollow = false;
	err = try_create(z, name, len, huge, node);
	if (err)
		budget_give(z->budget, z->owner, all, huge);
	return err;
}

int memzone_create(struct memzone *z, const char *name, size_t len, enum memzone_pages pages,
		   int node, struct error *error)
{
	struct error why;
	int err;

	error->text[0] = 0;
	if (pages != MEMZONE_SMALL_ONLY) {
		err = create_counted(z, name, len, true, node, &why);
		if (!err)
			return 0;
		error_set(error, err,
			  "no hugepages for the %s zone (%zu x 2 MiB wanted): %s; raise "
			  "vm.nr_hugepages or the pod's "
			  "hugepages-2Mi limit",
			  name, round_up(len, MEMZONE_HUGE_SIZE) / MEMZONE_HUGE_SIZE,
			  why.text[0] ? why.text : strerror(-err));
		if (pages == MEMZONE_HUGE_ONLY)
			return err;
	}
	err = create_counted(z, name, len, false, node, &why);
	if (!err)
		return 0;
	if (why.text[0])
		return error_set(error, err, "no memory: %s", why.text);
	return error_set(error, err,
			 "no memory for the %s zone (%zu bytes): %s; raise the memory limit", name,
			 len, strerror(-err));
}

void memzone_empty(struct memzone *z)
{
	if (z->hollow ||
	    fallocate(z->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)z->len))
		return;
	z->hollow = true;
	budget_give(z->budget, z->owner, z->len, is_huge(z));
}

int memzone_fill(struct memzone *z, struct error *error)
{
	int err;

	if (!z->hollow)
		return 0;
	err = budget_take(z->budget, z->owner, z->len, is_huge(z), error);
	if (err)
		return err;
	/* Drops what the other side has written since. */
	(void)fallocate(z->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)z->len);
	err = populate(z);
	if (!err) {
		z->hollow = false;
		return 0;
	}
	(void)fallocate(z->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)z->len);
	budget_give(z->budget, z->owner, z->len, is_huge(z));
	return error_set(error, err, "no memory for %zu KiB: %s; raise the memory limit",
			 z->len >> 10, strerror(-err));
}

int memzone_seal_readonly(struct memzone *z)
{
	if (fcntl(z->fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL))
		return -errno;
	return 0;
}

void memzone_destroy(struct memzone *z)
{
	if (!z->addr)
		return;
	guard_remove(z->addr);
	munmap(z->addr, z->len);
	close(z->fd);
	if (!z->hollow)
		budget_give(z->budget, z->owner, z->len, is_huge(z));
	z->addr = NULL;
	z->fd = -1;
}
