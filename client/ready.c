/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readiness.
 *
 * The descriptor that the application polls is an epoll descriptor over the kernel socket and the
 * wake socket. It is readable exactly if there is something to read. There are three cases:
 *
 *   - All rings are empty: all are armed, and the wake socket is empty. The next datagram in a ring
 *     brings a byte (a token).
 *   - A ring is not empty and was armed when it was empty (rxq.armed): its token is in the wake
 *     socket or about to be. It stays there until the rings are empty again, whichever thread takes
 *     the datagrams, and however many at a time.
 *   - A ring is not empty and was not armed (a spinning thread takes the arms back, so that the
 *     worker sends no signals): the library makes the descriptor readable by watching the kernel
 *     socket for writability, which always holds. That costs two system calls, so it is the last
 *     resort.
 *
 * The kernel socket also makes the descriptor readable while its error queue holds something, which
 * a receive does not take. So it is watched edge-triggered, and a receive that finds nothing else
 * takes the edge (rx_hide_error). Only the library waits on this epoll instance itself, and polling
 * it does not take edges.
 *
 * Tokens are counted (sock.rx.tokens): one for each arm found taken by the worker. Exactly that
 * many are read when the rings are empty, so that a token of a later arm is never read.
 */
#include "client/ready.h"
#include "client/context.h"
#include "client/control.h"
#include "client/own.h"
#include "client/queue.h"
#include "client/raw.h"
#include "client/rxq.h"
#include "client/shim.h"
#include "client/sock.h"
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <udplane/ring.h>
#include <unistd.h>

void rx_set_self_signal(struct sock *s, bool on)
{
	uint32_t kernel = s->rx.shim.quiet ? EPOLLET : RX_KERNEL_EVENTS;
	struct epoll_event ev = {.events = kernel | (on ? EPOLLOUT : 0)};

	if (epoll_ctl(s->ep, EPOLL_CTL_MOD, s->kfd, &ev) == 0)
		s->rx.self_signal = on;
}

void rx_show_kernel(struct sock *s)
{
	if (!s->rx.shim.quiet)
		return;
	s->rx.shim.quiet = false;
	rx_set_self_signal(s, s->rx.self_signal);
}

bool rx_ready(struct sock *s)
{
	if (s->rx.error ||
	    (!unlikely(s->rx.beyond) && (s->rx.saved || (s->rx.queue && queue_next_len(s) >= 0))))
		return true;
	for (uint32_t i = 0; i < s->rx.rxq_cnt; i++)
		if (s->rx.rxq[i].ring.peer != s->rx.rxq[i].ring.idx)
			return true;
	return false;
}

/* The queue of a fork makes fd readable by its eventfd, until some process takes the last of it. */
static bool queue_only(const struct sock *s)
{
	return s->rx.queue && !s->rx.saved && !s->rx.error;
}

/* Returns true if fd is certain to be readable, now or in a moment. */
static bool rx_signalled(const struct sock *s)
{
	if (s->rx.self_signal || s->rx.tokens)
		return true;
	for (uint32_t i = 0; i < s->rx.rxq_cnt; i++)
		if (s->rx.rxq[i].armed && !s->rx.rxq[i].edge && s->rx.rxq[i].arm == UDPLANE_ARM &&
		    s->rx.rxq[i].ring.peer != s->rx.rxq[i].ring.idx)
			return true;
	return false;
}

/* How the rings are to be armed now. */
static uint32_t wanted_arm(const struct sock *s)
{
	return likely(!s->rx.shim.arm) ? UDPLANE_ARM : s->rx.shim.arm;
}

/* An arm has been consumed by the worker. */
static void arm_was_taken(struct sock *s, const struct rxq *q)
{
	if (likely(q->arm == UDPLANE_ARM))
		s->rx.tokens++; /* others: count_signals() */
}

/* Tokens for arms by UDPLANE_ARM_LIST, which not each has. */
static void count_signals(struct sock *s)
{
	for (uint32_t i = 0; i < s->rx.rxq_cnt; i++) {
		struct rxq *q = &s->rx.rxq[i];
		uint32_t n = __atomic_load_n(&q->ring.head->signals, __ATOMIC_ACQUIRE);

		s->rx.tokens += n - q->signals;
		q->signals = n;
	}
}

/* Arms the rings, which were all found empty. Returns true if something has arrived since. */
static bool rx_arm(struct sock *s)
{
	uint32_t arm = wanted_arm(s);
	bool more = false;

	for (uint32_t i = 0; i < s->rx.rxq_cnt; i++) {
		struct rxq *q = &s->rx.rxq[i];
		bool standing;

		if (q->armed && !q->taken && q->arm == arm)
			continue; /* still empty, or a datagram has come and its token with it */
		rx_flush_back(s->att, q, i);
		standing = udplane_ring_arm_as(&q->ring, arm);
		if (q->armed && !standing)
			arm_was_taken(s, q);
		q->arm = arm;
		q->armed = true;
		q->edge = false;
		q->taken = false;
		if (rx_avail(s, q, 1) == 0)
			continue;
		/* it may have come before the arm, and so without a token */
		if (!udplane_ring_disarm(&q->ring))
			arm_was_taken(s, q);
		q->armed = false;
		more = true;
	}
	return more;
}

/* A token may be a few instructions away: the worker swaps the arm out, then writes. */
static void rx_eat_tokens(struct sock *s)
{
	char buf[64];

	for (int i = 0; s->rx.tokens && i < 32; i++) {
		ssize_t n =
			own_is(s->rx.wake_fd)
				? raw_read(s->rx.wake_fd, buf,
					   s->rx.tokens < sizeof(buf) ? s->rx.tokens : sizeof(buf))
				: 0;

		if (n > 0) {
			s->rx.tokens -= (uint32_t)n;
			/* udplaned has closed its end, or the program has closed ours */
		} else if (n == 0) {
			s->rx.tokens = 0;
			__atomic_store_n(&s->att->control.attn, 1, __ATOMIC_RELAXED);
		} else {
			sched_yield();
		}
	}
}

/* After the edge is taken the kernel socket is read again: a datagram that came before must
 * still show. */
bool rx_hide_error(struct sock *s)
{
	struct msghdr none = {0};
	struct epoll_event ev[4];

	if (!(raw_poll(s->kfd, 0) & POLLERR))
		return false;
	syscall(SYS_epoll_pwait, s->ep, ev, 4, 0, NULL, 0);
	if (raw_recvmsg(s->kfd, &none, MSG_PEEK | MSG_DONTWAIT) >= 0) {
		rx_show_error(s);
		return true;
	}
	if (errno == EAGAIN || errno == EINTR)
		return false;
	s->rx.error = -errno;
	return true;
}

void rx_show_error(struct sock *s)
{
	rx_set_self_signal(s, s->rx.self_signal);
}

bool rx_settle(struct sock *s)
{
	bool ready;

	if (unlikely(s->rx.shim.on))
		count_signals(s);
	if (unlikely(s->rx.queue != NULL) && queue_next_len(s) < 0)
		queue_drop(s); /* another process has taken the last of it */
	ready = rx_ready(s);
	if (!ready && s->rx.rxq_cnt)
		ready = rx_arm(s);
	if (ready && !queue_only(s)) {
		if (!rx_signalled(s))
			rx_set_self_signal(s, true);
		return true;
	}
	if (s->rx.self_signal)
		rx_set_self_signal(s, false);
	if (s->rx.tokens)
		rx_eat_tokens(s);
	return ready;
}

void rx_update_readiness(struct sock *s)
{
	if (unlikely(s->rx.shim.on))
		context.shim->update(s);
	else
		rx_settle(s);
}

uint32_t rx_arm_edge(struct sock *s)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < s->rx.rxq_cnt; i++) {
		struct rxq *q = &s->rx.rxq[i];
		bool standing = udplane_ring_arm(&q->ring);

		if (q->armed && !standing)
			arm_was_taken(s, q);
		q->arm = UDPLANE_ARM;
		q->armed = true;
		q->edge = true;
		sum += rx_produced(s, q);
	}
	return sum;
}

void rx_disarm(struct sock *s)
{
	for (uint32_t i = 0; i < s->rx.rxq_cnt; i++) {
		struct rxq *q = &s->rx.rxq[i];

		if (q->armed && !udplane_ring_disarm(&q->ring))
			arm_was_taken(s, q);
		q->armed = false;
		q->edge = false;
	}
}
