/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protects udplaned from being killed by a client through memory that the client may write. Seals
 * prevent a client from truncating a zone, but nothing prevents fallocate(FALLOC_FL_PUNCH_HOLE) by
 * a process that may map the zone writable (F_SEAL_FUTURE_WRITE would prevent that mapping, too;
 * see memfd_create(2)). The next access then faults a new page in. If the hugepage pool or the
 * memory cgroup has none left, it raises SIGBUS.
 *
 * The handler maps a private page of zeros there. udplaned continues with rings that are empty, and
 * the client has cut itself off.
 */
#ifndef SIDECAR_MEMORY_GUARD_H
#define SIDECAR_MEMORY_GUARD_H

#include <stddef.h>

/* Installs the handler. Call it once, before the first zone is made. Returns 0 or -errno. */
int guard_install(void);
/* Control thread. guard_add returns -ENOSPC if there are too many zones; such a zone works but is
 * not guarded. */
int guard_add(void *addr, size_t len, size_t page_size);
void guard_remove(void *addr);
/* Returns how many pages have been replaced. */
unsigned long guard_hits(void);

#endif
