/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that a client can write while we look at it: its rings, descriptors, payload slots and
 * reports.
 *
 * A value there may change between two reads. So each is read once, by one explicit load into a
 * local, then checked, then used. What we write there is built in private memory and then stored,
 * and never read back. To prevent accidents, such memory is passed as struct foreign, which is not
 * a pointer: `*f`, `f->frame` and `memcpy(to, f, n)` do not compile.
 *
 * Offsets are in bytes. Loads and stores are aligned to their size, relaxed, and whole: the
 * compiler never tears, repeats or omits them. The indices of ring.h order them. Any thread.
 */
#ifndef SIDECAR_MEMORY_FOREIGN_H
#define SIDECAR_MEMORY_FOREIGN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>
#include <udplane/abi.h>

struct foreign {
	uintptr_t addr; /* only the functions below make a pointer of it */
};

/* Returns the memory at p, which clients can write, as a struct foreign. */
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

/* Sets bits in *(f + off). A full barrier. */
static inline void foreign_set64(struct foreign f, size_t off, uint64_t bits)
{
	__atomic_fetch_or((uint64_t *)(f.addr + off), bits, __ATOMIC_SEQ_CST);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* Copies len bytes out and reads each once. The copy is private: later changes of the original do
 * not affect it. */
static inline void foreign_copy(void *to, struct foreign f, size_t len)
{
	memcpy(to, (const void *)f.addr, len);
	__asm__ volatile("" ::
				 /* makes the copy here: later uses must not read the original */
			 : "memory");
}

/* Stores len bytes, which must be private memory. They are not read back. */
static inline void foreign_put(struct foreign f, const void *from, size_t len)
{
	memcpy((void *)f.addr, from, len);
}

static inline void foreign_zero(struct foreign f, size_t len)
{
	memset((void *)f.addr, 0, len);
}

/* Returns the control words of a ring at f. For udplane_ring_init only; ring.h reads them through a
 * pointer to volatile. */
static inline volatile struct udplane_ring_head *foreign_ring_head(struct foreign f)
{
	return (volatile struct udplane_ring_head *)f.addr;
}

/* Returns a payload. For packet_build only, which copies and sums in one pass: it sends exactly the
 * bytes that it has summed, and no byte affects what it does. */
static inline const void *foreign_payload(struct foreign f)
{
	return (const void *)f.addr;
}

/* Returns a payload for a system call that sends it. The kernel copies each byte once, and sums
 * what it has copied. */
static inline struct iovec foreign_iovec(struct foreign f, size_t len)
{
	return (struct iovec){(void *)f.addr, len};
}

#endif
