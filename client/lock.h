/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks that know their owner: a signal handler may find one held by the call that it has
 * interrupted, or left behind by a jump.
 *
 * The library's locks, in the order in which they are taken:
 *
 *   control lock    control messages, attach, detach, claim, release. May be held for a second.
 *                   Never taken under another lock.
 *   sock.rx.lock    s->rx, everything that receiving needs; while it is held, the sock is not
 *                   closed
 *   sock.tx.lock    s->tx, everything that sending needs; likewise
 *   lane.tx_lock    TX ring;  lane.ret_lock  return ring;  context.table_lock, context.buf_lock,
 *                                                          context.info_lock
 *
 * A call locks one side of one socket. Before a system call that may block it enters itself in
 * sock.visitor[] (visit.h) and drops the lock. The memory of a sock is never returned to the
 * system, so a thread that finds a stale pointer in the table may lock it and look.
 *
 * Signals: send and receive calls may run in a handler that has interrupted any call of this
 * library, and a handler may leave a call by siglongjmp(3). So no lock is waited for without a
 * limit: lock_take() refuses if the thread holds the lock already, or cannot have it in good time
 * (its holder may wait for what an interrupted call holds), and the datagram takes the kernel path.
 * A lock that a jump has left behind is recognised by its owner. Under the control lock signals are
 * blocked. Threads are cancelled where they wait, as visitors, and hold no lock there; all other
 * system calls are no cancellation points (raw_*).
 */
#ifndef UDPLANE_CLIENT_LOCK_H
#define UDPLANE_CLIENT_LOCK_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Identifies the calling thread; never 0. It is the register in which both C libraries keep a
 * pointer to the thread's own data. A thread-local variable would cost a call in a library that
 * was loaded by dlopen(3). */
static inline uintptr_t thread_id(void)
{
#if defined(__x86_64__)
	uintptr_t id;

	__asm__("mov %%fs:0, %0" : "=r"(id));
	return id;
#elif defined(__aarch64__)
	return (uintptr_t)__builtin_thread_pointer();
#else
	return (uintptr_t)pthread_self();
#endif
}

/* Taking it costs one locked instruction, dropping it a plain store. It is held for well under a
 * microsecond, except by a spinning receiver, which drops it when it sees waiters. */
struct lock {
	uintptr_t owner; /* thread_id(); 0: free */
	uintptr_t frame; /* stack frame of the function that took it */
	uint32_t waiters;
};

enum lock_result {
	/* Not taken: this thread holds it in a call that a handler has interrupted, or another
	 * thread has held it for too long. */
	LOCK_BUSY,
	LOCK_TAKEN,
	/* Taken over from a call of this thread that was ended by a jump out of a handler. */
	LOCK_STOLEN,
};

enum lock_result lock_wait(struct lock *l, uintptr_t frame);
/* Returns true if the call of this thread that noted a stack frame has been left by a jump.
 * Returns false if it may be a call that is interrupted now. frame: that of the caller. */
bool frame_is_gone(uintptr_t noted, uintptr_t frame);

static inline bool lock_try(struct lock *l)
{
	uintptr_t none = 0;

	if (!__atomic_compare_exchange_n(&l->owner, &none, thread_id(), false, __ATOMIC_ACQUIRE,
					 __ATOMIC_RELAXED))
		return false;
	l->frame = (uintptr_t)__builtin_frame_address(0);
	return true;
}
static inline enum lock_result lock_take(struct lock *l)
{
	return __builtin_expect(lock_try(l), 1)
		       ? LOCK_TAKEN
		       : lock_wait(l, (uintptr_t)__builtin_frame_address(0));
}
static inline void lock_drop(struct lock *l)
{
	__atomic_store_n(&l->owner, 0, __ATOMIC_RELEASE);
}
/* Returns true if this thread holds it, in this call or in one that a handler has interrupted. */
static inline bool lock_mine(const struct lock *l)
{
	return __atomic_load_n(&l->owner, __ATOMIC_RELAXED) == thread_id();
}
static inline bool lock_wanted(const struct lock *l)
{
	return __atomic_load_n(&l->waiters, __ATOMIC_RELAXED) != 0;
}

/* For rare work that must be done. Returns false only if this thread holds the lock in a call
 * that is interrupted, or another thread has held it for seconds. */
bool lock_insist(struct lock *l);

/* --- the control lock --- */

/* While the control lock is held, this thread's signals are blocked, but for those of faults, and
 * its cancellation is put off. */
struct ctl_state {
	sigset_t mask;
	int cancel;
};

void ctl_lock(struct ctl_state *st);
bool ctl_trylock(struct ctl_state *st);
/* Returns false if the lock could not be taken before until (CLOCK_REALTIME). */
bool ctl_lock_until(struct ctl_state *st, const struct timespec *until);
void ctl_unlock(const struct ctl_state *st);
bool ctl_mine(void); /* returns true if this thread holds it */
/* In a forked child: makes it free, whoever held it. Returns true if this thread did; its
 * signals then stay blocked until ctl_end(). */
bool ctl_forked(void);
void ctl_end(const struct ctl_state *st);

#ifdef __cplusplus
}
#endif

#endif
