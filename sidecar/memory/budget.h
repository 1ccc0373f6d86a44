/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much memory all zones together may have. At a memory cgroup's limit an allocation is no error
 * but the end: the kernel kills udplaned, and with it everybody's fast path. So what would go
 * beyond the limit is refused before it is tried.
 *
 * - Ordinary pages: the least memory.max (v2) or memory.limit_in_bytes (v1) on the way up, less
 *   what the rest of udplaned needs; without one, half of the machine's memory. What the kernel
 *   holds for claimed sockets counts, too.
 *
 * - Hugepages: the hugetlb cgroup's limit, and what is free; there the kernel refuses by itself.
 *
 * - Both together: the key memory_max.
 *
 * A session (an attached process) may have 4 MiB, or half of what it and nobody have. Control
 * thread only.
 */
#ifndef SIDECAR_MEMORY_BUDGET_H
#define SIDECAR_MEMORY_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct memory_budget {
	uint64_t max;		      /* bytes; UINT64_MAX: no limit */
	uint64_t small_max, huge_max; /* of these in ordinary pages and in hugepages */
	uint64_t small, huge;	      /* in use */
	char limit[96];		      /* what small_max comes from, for people */
};

/* configured: bytes, 0: as the cgroup says. root: "/sys/fs/cgroup"; self: "/proc/self/cgroup". */
void budget_init(struct memory_budget *b, uint64_t configured, const char *root, const char *self);

/* Bytes that may still be had. */
uint64_t budget_left(const struct memory_budget *b, bool huge);

/* b NULL: always. owner: bytes of the session that it is for, counted here; NULL: nobody's. 0 or
 * -EDQUOT, with text for people: what is used, what there is, and what to do. */
int budget_take(struct memory_budget *b, uint64_t *owner, size_t len, bool huge, char *text,
		size_t text_len);
void budget_give(struct memory_budget *b, uint64_t *owner, size_t len, bool huge);

#ifdef __cplusplus
}
#endif

#endif
