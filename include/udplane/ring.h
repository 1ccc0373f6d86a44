/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Single-producer single-consumer ring over shared memory, and sleep/wake between its two ends.
 *
 * The control words (struct udplane_ring_head, abi.h) are shared; everything else is in a private view, struct udplane_ring, that
 * each end keeps for itself. Only prod_idx, cons_idx and armed are ever read from shared memory, and the peer's index is checked
 * for range on every read: a peer that writes nonsense is reported as UDPLANE_RING_CORRUPT, never followed.
 *
 * Memory order. The producer fills entries, then stores prod_idx with release; the consumer loads prod_idx with acquire before it
 * reads entries. The consumer is done with entries, then stores cons_idx with release; the producer loads cons_idx with acquire
 * before it overwrites them. These are the only pairs; all are right on weakly ordered machines.
 *
 * Sleep and wake (the Dekker pattern). Consumer: arm (swap 1 into `armed`, full barrier), then look at the ring once more, then
 * sleep. Producer: publish, full barrier, then look at `armed`; whoever swaps the 1 out owes the signal. So either the consumer
 * sees the entry, or the producer sees the arm. Each arm yields at most one signal; a consumer that swaps its own arm out and
 * finds 0 knows that a signal is on its way.
 *
 * Threads: one at a time on each end; several threads of a process take turns under their own lock.
 */
#ifndef UDPLANE_RING_H
#define UDPLANE_RING_H

#include <stdbool.h>
#include <stdint.h>
#include <udplane/abi.h>

#define UDPLANE_RING_CORRUPT UINT32_MAX

/* One end's private view. */
struct udplane_ring {
	volatile struct udplane_ring_head *head; /* the other end writes there at any time: what is read is read once */
	uint32_t size; /* entries, a power of two, at most 2^30 */
	uint32_t idx;  /* own index: next entry to fill or to take */
	uint32_t peer; /* the other end's index when last looked at */
};

/* Both ends start at `start` (0 but in tests). The creator zeroes the memory, or calls this with reset. */
static inline void udplane_ring_init(struct udplane_ring *r, volatile struct udplane_ring_head *head, uint32_t size, uint32_t start)
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

/* Producer: entries that may be filled, at r->idx onward. Looks at shared memory only if fewer than `want` are known to be free.
 * UDPLANE_RING_CORRUPT if the consumer's index is impossible. */
static inline uint32_t udplane_ring_free(struct udplane_ring *r, uint32_t want)
{
	uint32_t used = r->idx - r->peer;

	if (r->size - used < want) {
		uint32_t cons = __atomic_load_n(&r->head->cons_idx, __ATOMIC_ACQUIRE); /* pairs with ring_consume */

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

/* Consumer: entries that may be taken, at r->idx onward. Looks at shared memory only if fewer than `want` are known to be there.
 * UDPLANE_RING_CORRUPT if the producer's index is impossible. */
static inline uint32_t udplane_ring_avail(struct udplane_ring *r, uint32_t want)
{
	uint32_t cnt = r->peer - r->idx;

	if (cnt < want) {
		uint32_t prod = __atomic_load_n(&r->head->prod_idx, __ATOMIC_ACQUIRE); /* pairs with ring_publish */

		cnt = prod - r->idx;
		if (cnt > r->size)
			return UDPLANE_RING_CORRUPT;
		r->peer = prod;
	}
	return cnt;
}

/* Consumer: gives the next cnt entries back. */
static inline void udplane_ring_consume(struct udplane_ring *r, uint32_t cnt)
{
	r->idx += cnt;
	__atomic_store_n(&r->head->cons_idx, r->idx, __ATOMIC_RELEASE); /* pairs with ring_free */
}

/* Consumer: asks for a signal at the next publish. Look at the ring again before sleeping. True: an earlier arm was still standing;
 * if there was one and it was not, its signal has come or is coming. */
static inline bool udplane_ring_arm(struct udplane_ring *r)
{
	bool standing = __atomic_exchange_n(&r->head->armed, 1, __ATOMIC_SEQ_CST) == 1; /* pairs with udplane_fence + ring_take_arm */

	/* The swap alone does not order its store before the look at the ring that follows: C11; arm64's swpal and ldapr. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return standing;
}

/* Consumer: takes the arm back. False: the producer has taken it, its signal has come or is coming. */
static inline bool udplane_ring_disarm(struct udplane_ring *r)
{
	return __atomic_exchange_n(&r->head->armed, 0, __ATOMIC_SEQ_CST) == 1;
}

/* Consumer: is an arm of mine still standing? */
static inline bool udplane_ring_is_armed(const struct udplane_ring *r)
{
	return __atomic_load_n(&r->head->armed, __ATOMIC_RELAXED) == 1;
}

/* Full barrier between a publish and a look at a sleeper's flag (one for many publishes), and between the setting of one's own
 * sleep flag and the last look at the rings. */
static inline void udplane_fence(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* Producer, after publish and udplane_fence: must I signal? True at most once an arm; the caller then signals. A consumer that has
 * taken everything already (it spun, and armed after) needs none. */
static inline bool udplane_ring_take_arm(struct udplane_ring *r)
{
	if (__atomic_load_n(&r->head->armed, __ATOMIC_RELAXED) != 1)
		return false;
	if (__atomic_load_n(&r->head->cons_idx, __ATOMIC_RELAXED) == r->idx)
		return false;
	return __atomic_exchange_n(&r->head->armed, 0, __ATOMIC_SEQ_CST) == 1; /* pairs with ring_arm */
}

/* The current value of a ring's control word: one load. */
static inline uint32_t udplane_word_load(const volatile uint32_t *w)
{
	return __atomic_load_n(w, __ATOMIC_ACQUIRE);
}

/* A word with one writer that others read at any time: counters, sleep flags, sequence numbers. */
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
/* Only the one writer of *p may call these: a plain add, no locked instruction. */
static inline void udplane_count(uint64_t *p, uint64_t n)
{
	__atomic_store_n(p, __atomic_load_n(p, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}
static inline void udplane_store64(uint64_t *p, uint64_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELAXED);
}

/* Sequence lock around data with one writer: begin makes it odd, end even. */
static inline void udplane_seq_begin(uint32_t *seq)
{
	__atomic_store_n(seq, __atomic_load_n(seq, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* data is written after the odd number is seen; pairs with seq_retry */
}
static inline void udplane_seq_end(uint32_t *seq)
{
	__atomic_store_n(seq, __atomic_load_n(seq, __ATOMIC_RELAXED) + 1, __ATOMIC_RELEASE);
}
static inline uint32_t udplane_seq_read(const uint32_t *seq)
{
	return __atomic_load_n(seq, __ATOMIC_ACQUIRE);
}
/* Reader, after copying: true if the copy is torn and must be made again. */
static inline bool udplane_seq_retry(const uint32_t *seq, uint32_t seen)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE); /* pairs with seq_begin */
	return (seen & 1) || __atomic_load_n(seq, __ATOMIC_RELAXED) != seen;
}

/* The CPU is spinning. */
static inline void udplane_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

#endif
