/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory shared with clients: sealed memfds on 2 MiB hugepages, or on ordinary pages where none are
 * to be had.
 *
 * A zone is faulted in whole when it is made, so that the charge (hugetlb cgroup) is ours and no
 * later access can raise SIGBUS. Sealed against shrinking and growing always; memzone_seal_readonly
 * adds F_SEAL_FUTURE_WRITE, which keeps every other process from mapping it writable while our own
 * mapping stays so. Control thread only.
 */
#ifndef SIDECAR_MEMORY_MEMZONE_H
#define SIDECAR_MEMORY_MEMZONE_H

#include "sidecar/memory/budget.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEMZONE_HUGE_SIZE (2u << 20)

enum memzone_pages {
	MEMZONE_AUTO = 0, /* hugepages, else ordinary pages */
	MEMZONE_HUGE_ONLY,
	MEMZONE_SMALL_ONLY,
};

struct memzone {
	void *addr; /* NULL: none */
	size_t len; /* bytes, a multiple of page_size */
	size_t page_size;
	int fd;
	bool hollow; /* its pages have been given back: see memzone_empty */
	/* set by the caller before memzone_create; NULL: not counted */
	struct memory_budget *budget;
	uint64_t *owner; /* bytes of the session that it is for */
};

/* len is rounded up to the page size. node: NUMA node to take it from, -1 any. 0; or -errno with
 * text (for people) if it could not be made at all. If MEMZONE_AUTO fell back, returns 0 with
 * page_size small and text saying why there were no hugepages. */
int memzone_create(struct memzone *z, const char *name, size_t len, enum memzone_pages pages,
		   int node, char *text, size_t text_len);
/* Gives the pages back, whoever has them mapped; the zone stays where it is, for memzone_fill. What
 * is written meanwhile comes out of the writer's memory, not ours. We do not touch it before
 * memzone_fill, which makes it all zeros. */
void memzone_empty(struct memzone *z);
/* 0; or -errno with text: still empty. */
int memzone_fill(struct memzone *z, char *text, size_t text_len);
int memzone_seal_readonly(struct memzone *z);
void memzone_destroy(struct memzone *z);

#endif
