/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits the memory of all zones together. At a memory cgroup's limit an allocation does not fail:
 * the kernel kills udplaned, and with it every client's fast path. So a zone that would exceed the
 * limit is refused before it is made.
 *
 * - Ordinary pages: the smallest memory.max (v2) or memory.limit_in_bytes (v1) of the cgroup and
 *   those above it, less what the rest of udplaned needs; without a limit, half of the machine's
 *   memory. What the kernel holds for claimed sockets counts, too.
 *
 * - Hugepages: the hugetlb cgroup's limit, and the free hugepages; beyond these the kernel itself
 *   refuses.
 *
 * - Both together: the key memory_max.
 *
 * A session (an attached process) may have 4 MiB, or half of the sum of what it has and what is
 * free. Control thread only.
 */
#ifndef SIDECAR_MEMORY_BUDGET_H
#define SIDECAR_MEMORY_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

struct memory_budget {
	uint64_t max;		      /* bytes; UINT64_MAX if there is no limit */
	uint64_t small_max, huge_max; /* of these, in ordinary pages and in hugepages */
	uint64_t small, huge;	      /* in use */
	char limit[96];		      /* the source of small_max, for people */
};

/* configured: bytes, or 0 for what the cgroup allows. root: "/sys/fs/cgroup"; self:
 * "/proc/self/cgroup". */
void budget_init(struct memory_budget *b, uint64_t configured, const char *root, const char *self);

/* Returns how many more bytes may be taken. */
uint64_t budget_left(const struct memory_budget *b, bool huge);

/* Takes len bytes, always if b is NULL. owner: counter of the bytes of the session that they are
 * for, or NULL. Returns 0; or -EDQUOT with `error` set: what is used, what the limit is, and
 * what to do. */
int budget_take(struct memory_budget *b, uint64_t *owner, size_t len, bool huge,
		struct error *error);
void budget_give(struct memory_budget *b, uint64_t *owner, size_t len, bool huge);

#ifdef __cplusplus
}
#endif

#endif
