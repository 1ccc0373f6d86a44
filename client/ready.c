/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readiness.
 *
 * The descriptor that the application polls is an epoll descriptor over the kernel socket and the
 * wake socket. It is readable exactly if there is something to read, which takes some bookkeeping:
 *
 *   - All rings empty: all are armed and the wake socket is empty. The next datagram of a ring then
 *     brings a byte ("token").
 *   - A ring is not empty and was armed when it was empty (rxq.armed): its token is in the wake
 *     socket or about to be. It stays there until the rings are empty again, whoever takes the
 *     datagrams and how many at a time.
 *   - A ring is not empty and was not armed (a spinner takes the arms back, so that the worker
 *     signals nobody): the library makes itself readable, by watching the kernel socket for
 *     writability, which it has. That costs two system calls, so it is a last resort.
 *
 * The kernel socket also makes the descriptor readable while its error queue holds something, which
 * a receive does not take. So that this does not go on for ever it is watched edge-triggered, and
 * the edge is taken (rx_hide_error) by a receive that finds nothing else: nobody but us waits on
 * this epoll instance itself, and what only polls it does not take edges.
 *
 * Tokens are counted (sock.tokens): one for each arm found taken by the worker. Exactly so many are
 * read when the rings are empty, so that a token of a later arm is never eaten.
 */
#include "client/ready.h"
#include "client/control.h"
#include "client/own.h"
#include "client/queue.h"
#include "client/raw.h"
#include "client/rxq.h"
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
	struct epoll_event ev = {.events = RX_KERNEL_EVENTS | (on ? EPOLLOUT : 0)};

	if (epoll_ctl(s->fd, EPOLL_CTL_MOD, s->kfd, &ev) == 0)
		s->rx.self_signal = on;
}

bool rx_ready(struct sock *s)
{
	if (s->rx.saved || s->rx.error || (s->rx.queue && queue_next_len(s) >= 0))
		return true;
	for (uint32_t i = 0; i < s->rx.rxq_cnt; i++)
		if (s->rx.rxq[i].ring.peer != s->rx.rxq[i].ring.idx)
			return true;
	return false;
}

/* The queue of a fork shows by its eventfd, until anyone takes the last of it. */
static bool queue_only(const struct sock *s)
{
	return s->rx.queue && !s->rx.saved && !s->rx.error;
}

/* Is it certain that fd is readable, or will be at once? */
static bool rx_signalled(const struct sock *s)
{
	if (s->rx.self_signal || s->rx.tokens)
		return true;
	for (uint32_t i = 0; i < s->rx.rxq_cnt; i++)
		if (s->rx.rxq[i].armed && s->rx.rxq[i].ring.peer != s->rx.rxq[i].ring.idx)
			return true;
	return false;
}

/* Arms the rings, all found empty. True: something has come meanwhile. */
static bool rx_arm(struct sock *s)
{
	bool more = false;

	for (uint32_t i = 0; i < s->rx.rxq_cnt; i++) {
		struct rxq *q = &s->rx.rxq[i];
		bool standing;

		if (q->armed && !q->taken)
			continue; /* empty, or something has come and its token with it */
		rx_flush_back(s->att, q, i);
		standing = udplane_ring_arm(&q->ring);
		if (q->armed && !standing)
			s->rx.tokens++;
		q->armed = true;
		q->taken = false;
		if (rx_avail(s, q, 1) == 0)
			continue;
		if (!udplane_ring_disarm(&q->ring)) /* came before the arm: a token is not sure */
			s->rx.tokens++;
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
		} else if (n == 0) { /* the other end is closed, or ours was by the program */
			s->rx.tokens = 0;
			__atomic_store_n(&s->att->control.attn, 1, __ATOMIC_RELAXED);
		} else {
			sched_yield();
		}
	}
}

/* After the edge is taken the kernel socket is looked at again: what came before that must show. */
bool rx_hide_error(struct sock *s)
{
	struct msghdr none = {0};
	struct epoll_event ev[4];

	if (!(raw_poll(s->kfd, 0) & POLLERR))
		return false;
	syscall(SYS_epoll_pwait, s->fd, ev, 4, 0, NULL, 0);
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

void rx_update_readiness(struct sock *s)
{
	bool ready = rx_ready(s);

	if (!ready && s->rx.rxq_cnt)
		ready = rx_arm(s);
	if (ready && !queue_only(s)) {
		if (!rx_signalled(s))
			rx_set_self_signal(s, true);
		return;
	}
	if (s->rx.self_signal)
		rx_set_self_signal(s, false);
	if (s->rx.tokens)
		rx_eat_tokens(s);
}

void rx_disarm(struct sock *s)
{
	for (uint32_t i = 0; i < s->rx.rxq_cnt; i++) {
		struct rxq *q = &s->rx.rxq[i];

		if (q->armed && !udplane_ring_disarm(&q->ring))
			s->rx.tokens++;
		q->armed = false;
	}
}
