/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that a client can write while we look at it: its rings, descriptors, payload slots and
 * reports.
 *
 * A value there may change between two reads, so each is read once, by one explicit load into a
 * local, then checked, then used. What we write is built in private and stored; it is never read
 * back. So that nobody does otherwise by accident, such memory is handed around as struct foreign,
 * which is not a pointer: `*f`, `f->frame` and `memcpy(to, f, n)` do not compile.
 *
 * Offsets are bytes. Loads and stores are aligned to their size, relaxed, and whole (never torn,
 * repeated or left out by the compiler); what orders them are the indices of ring.h. Any thread.
 */
#ifndef SIDECAR_MEMORY_FOREIGN_H
#define SIDECAR_MEMORY_FOREIGN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <udplane/abi.h>

struct foreign {
	uintptr_t addr; /* nobody but the functions below makes a pointer of it */
};

/* The memory at p, which clients can write. */
static inline struct foreign foreign_of(void *p)
{
	return (struct foreign){(uintptr_t)p};
}

static inline struct foreign foreign_at(struct foreign f, size_t off)
{
	return (struct foreign){f.addr + off};
}

static inline uint32_t foreign_load32(struct foreign f, size_t off)
{
	return __atomic_load_n((const uint32_t *)(f.addr + off), __ATOMIC_RELAXED);
}

static inline uint64_t foreign_load64(struct foreign f, size_t off)
{
	return __atomic_load_n((const uint64_t *)(f.addr + off), __ATOMIC_RELAXED);
}

static inline void foreign_store64(struct foreign f, size_t off, uint64_t v)
{
	__atomic_store_n((uint64_t *)(f.addr + off), v, __ATOMIC_RELAXED);
}

/* Copies len bytes out, each read once: the copy is private, whatever becomes of the original. */
static inline void foreign_copy(void *to, struct foreign f, size_t len)
{
	memcpy(to, (const void *)f.addr, len);
	__asm__ volatile("" ::
				 /* the copy is made here: later uses of it may not read the
				  * original */
			 : "memory");
}

static inline void foreign_zero(struct foreign f, size_t len)
{
	memset((void *)f.addr, 0, len);
}

/* The control words of a ring at f, for udplane_ring_init alone: ring.h reads them, through a
 * pointer to volatile. */
static inline volatile struct udplane_ring_head *foreign_ring_head(struct foreign f)
{
	return (volatile struct udplane_ring_head *)f.addr;
}

/* A payload, for packet_build alone, which copies and sums in one pass: what it sends is what it
 * summed, and no byte of it decides anything. */
static inline const void *foreign_payload(struct foreign f)
{
	return (const void *)f.addr;
}

#endif
