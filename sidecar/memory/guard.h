/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps a client from killing udplaned through memory that it may write. Seals stop it from
 * truncating a zone, but nothing stops fallocate(FALLOC_FL_PUNCH_HOLE) by who may map it writable
 * (memfd_create(2), F_SEAL_FUTURE_WRITE would stop the mapping, too). The next access then faults a
 * new page in, and if the hugepage pool or the memory cgroup has none left, that is SIGBUS.
 *
 * The handler puts a private page of zeros there: we go on with rings that say nothing, the client
 * has cut itself off.
 */
#ifndef SIDECAR_MEMORY_GUARD_H
#define SIDECAR_MEMORY_GUARD_H

#include <stddef.h>

/* Installs the handler. Once, before the first zone. 0 or -errno. */
int guard_install(void);
/* Control thread. add: -ENOSPC if there are too many zones; such a zone is served, but not guarded.
 */
int guard_add(void *addr, size_t len, size_t page_size);
void guard_remove(void *addr);
/* Pages replaced so far. */
unsigned long guard_hits(void);

#endif
