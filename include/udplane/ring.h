/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Single-producer single-consumer ring in shared memory, with sleep and wake-up between its ends.
 *
 * The control words (struct udplane_ring_head, abi.h) are shared. Everything else is in a private
 * view, struct udplane_ring, of which each end keeps its own. Only prod_idx, cons_idx and armed are
 * read from shared memory, and the range of the peer's index is checked on every read. A peer that
 * writes an impossible value is reported as UDPLANE_RING_CORRUPT; the value is never used.
 *
 * Memory order. The producer fills entries, then stores prod_idx with release; the consumer loads
 * prod_idx with acquire before it reads the entries. The consumer finishes with entries, then
 * stores cons_idx with release; the producer loads cons_idx with acquire before it overwrites them.
 * These are the only pairs. They are correct on weakly ordered machines.
 *
 * Sleep and wake-up (Dekker). The consumer arms (exchanges 1 into `armed`, full barrier), checks
 * the ring once more, and sleeps. The producer publishes, issues a full barrier, and checks
 * `armed`; the side that exchanges the 1 out must send the signal. Either the consumer sees the
 * entry, or the producer sees the arm. Each arm causes at most one signal. A consumer that disarms
 * and finds 0 knows that a signal is on its way.
 *
 * Threads: one at a time per end. Threads of a process take turns under a lock of their own.
 */
#ifndef UDPLANE_RING_H
#define UDPLANE_RING_H

#include <stdbool.h>
#include <stdint.h>
#include <udplane/abi.h>

#define UDPLANE_RING_CORRUPT UINT32_MAX

/* The private view of one end. */
struct udplane_ring {
	volatile struct udplane_ring_head
		*head; /* the peer may write at any time; each word is read once */
	uint32_t size; /* entries, a power of two, at most 2^30 */
	uint32_t idx;  /* own index: next entry to fill or to take */
	uint32_t peer; /* the peer's index when last read */
};

/* Initializes a view. start: first index, 0 except in tests. The creator has zeroed the memory. */
static inline void udplane_ring_init(struct udplane_ring *r,
				     volatile struct udplane_ring_head *head, uint32_t size,
				     uint32_t start)
{
	r->head = head;
	r->size = size;
	r->idx = start;
	r->peer = start;
}

static inline uint32_t udplane_ring_slot(const struct udplane_ring *r, uint32_t idx)
{
	return idx & (r->size - 1);
}

/* Producer: returns the number of entries that may be filled from r->idx on, or
 * UDPLANE_RING_CORRUPT if the consumer's index is impossible. Reads shared memory only if fewer
 * than `want` entries are known to be free. */
static inline uint32_t udplane_ring_free(struct udplane_ring *r, uint32_t want)
{
	uint32_t used = r->idx - r->peer;

	if (r->size - used < want) {
		uint32_t cons = __atomic_load_n(&r->head->cons_idx,
						__ATOMIC_ACQUIRE); /* pairs with ring_consume */

		used = r->idx - cons;
		if (used > r->size)
			return UDPLANE_RING_CORRUPT;
		r->peer = cons;
	}
	return r->size - used;
}

/* Producer: makes the next cnt filled entries visible. */
static inline void udplane_ring_publish(struct udplane_ring *r, uint32_t cnt)
{
	r->idx += cnt;
	__atomic_store_n(&r->head->prod_idx, r->idx, __ATOMIC_RELEASE); /* pairs with ring_avail */
}

/* Consumer: returns the number of entries that may be taken from r->idx on, or UDPLANE_RING_CORRUPT
 * if the producer's index is impossible. Reads shared memory only if fewer than `want` entries are
 * known to be available. */
static inline uint32_t udplane_ring_avail(struct udplane_ring *r, uint32_t want)
{
	uint32_t cnt = r->peer - r->idx;

	if (cnt < want) {
		uint32_t prod = __atomic_load_n(&r->head->prod_idx,
						__ATOMIC_ACQUIRE); /* pairs with ring_publish */

		cnt = prod - r->idx;
		if (cnt > r->size)
			return UDPLANE_RING_CORRUPT;
		r->peer = prod;
	}
	return cnt;
}

/* Consumer: returns the next cnt entries to the producer. */
static inline void udplane_ring_consume(struct udplane_ring *r, uint32_t cnt)
{
	r->idx += cnt;
	__atomic_store_n(&r->head->cons_idx, r->idx, __ATOMIC_RELEASE); /* pairs with ring_free */
}

/* Consumer: requests what `arm` stands for (UDPLANE_ARM, or UDPLANE_ARM_LIST + group) at the next
 * publish. Returns the arm that stood before, or 0. */
static inline uint32_t udplane_ring_arm_as(struct udplane_ring *r, uint32_t arm)
{
	uint32_t was = __atomic_exchange_n(&r->head->armed, arm, __ATOMIC_SEQ_CST);
	/* pairs with udplane_fence and ring_take_arm */

	/* The exchange alone does not order its store before the check of the ring that follows
	 * (C11; on arm64 swpal and ldapr). */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return was;
}

/* Consumer: requests a signal at the next publish. Check the ring again before sleeping. Returns
 * true if the ring was armed already. If it had been armed before and this returns false, the
 * producer has consumed that arm, and its signal has arrived or is on its way. */
static inline bool udplane_ring_arm(struct udplane_ring *r)
{
	return udplane_ring_arm_as(r, UDPLANE_ARM) == UDPLANE_ARM;
}

/* Consumer: cancels the request. Returns false if the producer has consumed the arm; its signal has
 * then arrived or is on its way. */
static inline bool udplane_ring_disarm(struct udplane_ring *r)
{
	uint32_t was = __atomic_exchange_n(&r->head->armed, 0, __ATOMIC_SEQ_CST);

	return was != 0;
}

/* Consumer: returns true while an arm has not been consumed. */
static inline bool udplane_ring_is_armed(const struct udplane_ring *r)
{
	return __atomic_load_n(&r->head->armed, __ATOMIC_RELAXED) != 0;
}

/* Full barrier. The producer needs it between publishing (once for many publishes) and checking a
 * sleeper's flag; a consumer needs it between setting its own sleep flag and the last check of its
 * rings. */
static inline void udplane_fence(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* Producer, after publish and udplane_fence(): takes the arm. Returns it, or 0 if there is nothing
 * to do. A consumer that has taken everything already (it was spinning, and armed afterwards) needs
 * no signal. */
static inline uint32_t udplane_ring_take_arm_as(struct udplane_ring *r)
{
	if (!__atomic_load_n(&r->head->armed, __ATOMIC_RELAXED))
		return 0;
	if (__atomic_load_n(&r->head->cons_idx, __ATOMIC_RELAXED) == r->idx)
		return 0;
	return __atomic_exchange_n(&r->head->armed, 0, __ATOMIC_SEQ_CST); /* pairs with ring_arm */
}

/* The same for rings that are armed by UDPLANE_ARM alone. Returns true if the caller must send a
 * signal, at most once per arm. */
static inline bool udplane_ring_take_arm(struct udplane_ring *r)
{
	return udplane_ring_take_arm_as(r) == UDPLANE_ARM;
}

/* Producer: counts a signal that is about to be sent for an arm by UDPLANE_ARM_LIST. */
static inline void udplane_ring_count_signal(struct udplane_ring *r)
{
	__atomic_fetch_add(&r->head->signals, 1, __ATOMIC_RELEASE);
}

/* Returns a ring's control word, by one load. */
static inline uint32_t udplane_word_load(const volatile uint32_t *w)
{
	return __atomic_load_n(w, __ATOMIC_ACQUIRE);
}

/* For words with one writer that others read at any time: counters, sleep flags, sequences. */
static inline uint32_t udplane_load32(const uint32_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}
static inline void udplane_store32(uint32_t *p, uint32_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
}
static inline uint64_t udplane_load64(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}
/* For the single writer of *p only: a plain addition without a locked instruction. */
static inline void udplane_count(uint64_t *p, uint64_t n)
{
	__atomic_store_n(p, __atomic_load_n(p, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}
static inline void udplane_store64(uint64_t *p, uint64_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELAXED);
}

/* Sequence lock for data with one writer. begin makes the sequence odd, end makes it even. */
static inline void udplane_seq_begin(uint32_t *seq)
{
	__atomic_store_n(seq, __atomic_load_n(seq, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(
		__ATOMIC_SEQ_CST); /* orders the odd number before the data; pairs with seq_retry */
}
static inline void udplane_seq_end(uint32_t *seq)
{
	__atomic_store_n(seq, __atomic_load_n(seq, __ATOMIC_RELAXED) + 1, __ATOMIC_RELEASE);
}
static inline uint32_t udplane_seq_read(const uint32_t *seq)
{
	return __atomic_load_n(seq, __ATOMIC_ACQUIRE);
}
/* Reader, after copying: returns true if the copy is torn and must be repeated. */
static inline bool udplane_seq_retry(const uint32_t *seq, uint32_t seen)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE); /* pairs with seq_begin */
	return (seen & 1) || __atomic_load_n(seq, __ATOMIC_RELAXED) != seen;
}

/* Tells the CPU that this thread spins. */
static inline void udplane_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

#endif
