/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory shared with clients: sealed memfds on 2 MiB hugepages, or on ordinary pages if there are
 * no hugepages.
 *
 * All pages of a zone are faulted in when it is made. So the charge (hugetlb cgroup) is ours, and
 * no later access can raise SIGBUS. Zones are always sealed against shrinking and growing.
 * memzone_seal_readonly adds F_SEAL_FUTURE_WRITE: no other process can then map the zone writable,
 * while our own mapping stays writable. Control thread only.
 */
#ifndef SIDECAR_MEMORY_MEMZONE_H
#define SIDECAR_MEMORY_MEMZONE_H

#include "include/base/error.h"
#include "sidecar/memory/budget.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEMZONE_HUGE_SIZE (2u << 20)

enum memzone_pages {
	MEMZONE_AUTO = 0, /* hugepages, otherwise ordinary pages */
	MEMZONE_HUGE_ONLY,
	MEMZONE_SMALL_ONLY,
};

struct memzone {
	void *addr; /* NULL if there is none */
	size_t len; /* bytes, a multiple of page_size */
	size_t page_size;
	int fd;
	bool hollow; /* its pages were given back; see memzone_empty */
	/* set by the caller before memzone_create; NULL means that it is not counted */
	struct memory_budget *budget;
	uint64_t *owner; /* counter of the bytes of the session that it is for */
};

/* Makes a zone of len bytes, rounded up to the page size. node: the NUMA node to take it from, or
 * -1 for any. Returns 0, or -errno with `error` set if no zone could be made. If MEMZONE_AUTO
 * used ordinary pages instead, it returns 0, sets page_size accordingly, and error says why there
 * were no hugepages. */
int memzone_create(struct memzone *z, const char *name, size_t len, enum memzone_pages pages,
		   int node, struct error *error);
/* Gives the pages back to the system, even if others have them mapped. The zone stays mapped, for
 * memzone_fill. What others write to it until then takes their memory, not ours. We do not access
 * it before memzone_fill, which makes it all zeros. */
void memzone_empty(struct memzone *z);
/* Returns 0; or -errno with `error` set, and the zone is still empty. */
int memzone_fill(struct memzone *z, struct error *error);
int memzone_seal_readonly(struct memzone *z);
void memzone_destroy(struct memzone *z);

#endif
