/* SPDX-License-Identifier: Apache-2.0 */
/* Closing a socket. */
#include "client/close.h"
#include "client/base.h"
#include "client/claim.h"
#include "client/context.h"
#include "client/life.h"
#include "client/lock.h"
#include "client/public.h"
#include "client/ready.h"
#include "client/share.h"
#include "client/shim.h"
#include "client/sock.h"
#include "client/table.h"
#include "client/txq.h"
#include "client/visit.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <udplane/abi.h>
#include <udplane/clock.h>

#define CLOSE_WAIT_NS 100000000ull /* for calls of other threads to leave */

/* Removes it from the table. Both locks are held, and dropped. */
static void sock_unlist(struct sock *s)
{
	tx_cancel_reserved(s);
	__atomic_store_n(&s->closed, true, __ATOMIC_RELAXED);
	if (table_get(s->fd) == s)
		__atomic_store_n(table_slot(s->fd), NULL, __ATOMIC_RELEASE);
	if (s->rx.shim.on)
		context.shim->closed(s);
	if (sock_visited(s))
		rx_set_self_signal(s, true); /* wakes those who sleep on it */
	sock_drop_both(s);
}

/* Under the control lock. */
static void end_claim(struct sock *s)
{
	if (s->rx.lent) /* what is unread is the others' */
		share_give_back(s);
	claim_release(s, CLAIM_CLOSE, UDPLANE_REASON_NONE, "");
}

void sock_drop_stale(struct sock *s)
{
	struct ctl_state st;

	if (!s || !sock_take_both(s))
		return;
	s->fd_gone = true;
	sock_unlist(s);
	ctl_lock(&st);
	end_claim(s);
	ctl_unlock(&st);
	sock_unref(s);
}

/* Returns an open socket with both locks taken. Returns NULL if there is none, or sets *late if
 * a call of this thread, interrupted by a handler, holds one of its locks. Another thread may be
 * writing into slots that it has reserved: its submit is waited for up to CLOSE_WAIT_NS, since
 * the thread may have ended. */
static struct sock *lock_to_close(int fd, struct sock **late)
{
	uint64_t until = clock_now_ns() + CLOSE_WAIT_NS;

	for (;;) {
		struct sock *s = table_get(fd);

		if (!s)
			return NULL;
		if (!sock_take_both(s)) {
			*late = s;
			return NULL;
		}
		if (table_get(fd) == s &&
		    (!s->tx.burst_cnt || pthread_equal(s->tx.burst_owner, pthread_self()) ||
		     clock_now_ns() > until))
			return s;
		sock_drop_both(s);
		sched_yield();
	}
}

static struct sock *late_socks; /* atomic: of the shim, and in no table any more */

static void push_late(struct sock *s)
{
	struct sock *first = __atomic_load_n(&late_socks, __ATOMIC_RELAXED);

	do {
		s->life.next_free = first;
	} while (!__atomic_compare_exchange_n(&late_socks, &first, s, true, __ATOMIC_RELEASE,
					      __ATOMIC_RELAXED));
	claim_later(s, LATE_CLOSE, 0, NULL);
}

void socks_close_late(void)
{
	struct sock *s = __atomic_exchange_n(&late_socks, NULL, __ATOMIC_ACQUIRE), *next;

	for (; s; s = next) {
		next = s->life.next_free;
		sock_close_late(s);
	}
}

void sock_close_late(struct sock *s)
{
	if (!sock_take_both(s)) {
		if (s->rx.shim.on)
			push_late(s);
		return;
	}
	if (s->closed) {
		sock_drop_both(s);
		return;
	}
	sock_unlist(s);
	end_claim(s);
	sock_unref(s); /* the table's */
}

/* It is bound, otherwise it cannot have been claimed. */
static void release_closed(struct sock *s)
{
	struct ctl_state st;

	if (!__atomic_load_n(&s->life.bound, __ATOMIC_RELAXED))
		return;
	ctl_lock(&st);
	end_claim(s);
	ctl_unlock(&st);
}

/* Both locks held. */
static void drop_link(struct sock *s, int fd)
{
	__atomic_store_n(table_slot(fd), NULL, __ATOMIC_RELEASE);
	s->rx.shim.links--;
	if (s->fd == fd)
		s->fd = table_find(s);
}

/* A call that a handler has interrupted holds a lock of it, so no other thread changes it. The
 * number may be another socket's in a moment. */
static void forget_late(struct sock *s, int fd)
{
	if (s->rx.shim.links > 1) {
		drop_link(s, fd);
		return;
	}
	__atomic_store_n(table_slot(fd), NULL, __ATOMIC_RELEASE);
	context.shim->closing(s);
	push_late(s);
}

void sock_forget(int fd)
{
	struct sock *late = NULL, *s = lock_to_close(fd, &late);

	if (late)
		forget_late(late, fd);
	if (!s)
		return;
	if (s->rx.shim.links > 1) {
		drop_link(s, fd);
		sock_drop_both(s);
		return;
	}
	sock_unlist(s);
	release_closed(s);
	sock_forget_sleepers(s);
	sock_unref(s);
}

int udplane_close(int fd)
{
	struct sock *late = NULL, *s;
	uint64_t until;

	pthread_testcancel();
	s = lock_to_close(fd, &late);
	if (late)
		claim_later(late, LATE_CLOSE, 0, NULL);
	if (!s)
		return late ? 0 : set_errno(-EBADF);
	sock_unlist(s);
	release_closed(s);
	/* So that the descriptor's number is free on return. The wait is limited, because a
	 * thread may be in a system call that does not end, or have jumped out of it. */
	until = clock_now_ns() + CLOSE_WAIT_NS;
	while (sock_visited(s) && clock_now_ns() < until)
		sched_yield();
	sock_forget_sleepers(s);
	sock_unref(s);
	return 0;
}
