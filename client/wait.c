/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readiness and blocking.
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
#include "client/internal.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

void rx_set_self_signal(struct sock *s, bool on)
{
	struct epoll_event ev = {.events = RX_KERNEL_EVENTS | (on ? EPOLLOUT : 0)};

	if (epoll_ctl(s->fd, EPOLL_CTL_MOD, s->kfd, &ev) == 0)
		s->self_signal = on;
}

bool rx_ready(struct sock *s)
{
	if (s->saved || s->rx_error || (s->queue && share_queue_next_len(s) >= 0))
		return true;
	for (uint32_t i = 0; i < s->rxq_cnt; i++)
		if (s->rxq[i].ring.peer != s->rxq[i].ring.idx)
			return true;
	return false;
}

/* The queue of a fork shows by its eventfd, until anyone takes the last of it. */
static bool queue_only(const struct sock *s)
{
	return s->queue && !s->saved && !s->rx_error;
}

/* Is it certain that fd is readable, or will be at once? */
static bool rx_signalled(const struct sock *s)
{
	if (s->self_signal || s->tokens)
		return true;
	for (uint32_t i = 0; i < s->rxq_cnt; i++)
		if (s->rxq[i].armed && s->rxq[i].ring.peer != s->rxq[i].ring.idx)
			return true;
	return false;
}

/* Arms the rings, all found empty. True: something has come meanwhile. */
static bool rx_arm(struct sock *s)
{
	bool more = false;

	for (uint32_t i = 0; i < s->rxq_cnt; i++) {
		struct rxq *q = &s->rxq[i];
		bool standing;

		if (q->armed && !q->taken)
			continue; /* empty, or something has come and its token with it */
		rx_flush_back(s->att, q, i);
		standing = udplane_ring_arm(&q->ring);
		if (q->armed && !standing)
			s->tokens++;
		q->armed = true;
		q->taken = false;
		if (rx_avail(s, q, 1) == 0)
			continue;
		if (!udplane_ring_disarm(&q->ring)) /* came before the arm: a token is not sure */
			s->tokens++;
		q->armed = false;
		more = true;
	}
	return more;
}

/* A token may be a few instructions away: the worker swaps the arm out, then writes. */
static void rx_eat_tokens(struct sock *s)
{
	char buf[64];

	for (int i = 0; s->tokens && i < 32; i++) {
		ssize_t n = own_is(s->wake_fd)
				    ? raw_read(s->wake_fd, buf,
					       s->tokens < sizeof(buf) ? s->tokens : sizeof(buf))
				    : 0;

		if (n > 0) {
			s->tokens -= (uint32_t)n;
		} else if (n == 0) { /* the other end is closed, or ours was by the program */
			s->tokens = 0;
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
	s->rx_error = -errno;
	return true;
}

void rx_show_error(struct sock *s)
{
	rx_set_self_signal(s, s->self_signal);
}

void rx_settle(struct sock *s)
{
	bool ready = rx_ready(s);

	if (!ready && s->rxq_cnt)
		ready = rx_arm(s);
	if (ready && !queue_only(s)) {
		if (!rx_signalled(s))
			rx_set_self_signal(s, true);
		return;
	}
	if (s->self_signal)
		rx_set_self_signal(s, false);
	if (s->tokens)
		rx_eat_tokens(s);
}

/* --- spinning --- */

/* Has the spinner a core to itself? Fewer CPUs than workers, this thread and whoever else: no. */
static bool must_yield(struct sock *s)
{
	cpu_set_t set;

	if (context.yield >= 0)
		return context.yield;
	if (s->waits++ % 4096 == 0)
		s->yield = sched_getaffinity(0, sizeof(set), &set) ||
			   (uint32_t)CPU_COUNT(&set) < s->att->worker_cnt + 2;
	return s->yield;
}

void rx_disarm(struct sock *s)
{
	for (uint32_t i = 0; i < s->rxq_cnt; i++) {
		struct rxq *q = &s->rxq[i];

		if (q->armed && !udplane_ring_disarm(&q->ring))
			s->tokens++;
		q->armed = false;
	}
}

static bool rx_any(struct sock *s)
{
	for (uint32_t i = 0; i < s->rxq_cnt; i++)
		if (rx_avail(s, &s->rxq[i], 1))
			return true;
	return false;
}

static bool kernel_look_due(struct sock *s, uint64_t now, uint64_t every_ns)
{
	if (!s->kernel_hot && now - s->looked_ns < every_ns)
		return false;
	s->looked_ns = now;
	return true;
}

bool rx_would_spin(const struct sock *s)
{
	return s->rxq_cnt && context.spin_ns && attach_awake(s->att);
}

/* True: look again (something has come, or the kernel socket is due); false: spun enough. */
static bool rx_spin(struct sock *s, struct rx_wait *w)
{
	bool yield = must_yield(s);

	rx_disarm(s);
	for (uint32_t i = 1;; i++) {
		if (rx_any(s))
			return true;
		if (lock_wanted(&s->rx_lock))
			return false;
		if (yield)
			sched_yield();
		else
			udplane_pause();
		if (yield || i % 16 == 0) {
			uint64_t now = clock_now_ns();

			if (now >= w->spin_end_ns || attach_news(s->att))
				return false;
			if (kernel_look_due(s, now, RX_SPIN_KERNEL_NS))
				return true;
		}
	}
}

/* --- sleeping --- */

enum handlers { HANDLERS_RESTART = 1, HANDLERS_END = 2, HANDLERS_BOTH = 3 };

/* Of which kinds are the process's handlers: recv(2) goes on after one with SA_RESTART, and ends
 * after others. */
static uint32_t handlers_look(uint64_t now)
{
	struct sigaction sa;
	uint32_t kinds = 0;

	for (int i = 1; i < NSIG; i++) {
		if (i == SIGSEGV || i == SIGBUS || i == SIGFPE || i == SIGILL || i == SIGABRT ||
		    i == SIGTRAP || i == SIGSYS)
			continue; /* of crash reporters; they do not come from outside */
		if (sigaction(i, NULL, &sa) || sa.sa_handler == SIG_DFL || sa.sa_handler == SIG_IGN)
			continue;
		kinds |= sa.sa_flags & SA_RESTART ? HANDLERS_RESTART : HANDLERS_END;
	}
	__atomic_store_n(&context.handlers, kinds, __ATOMIC_RELAXED);
	__atomic_store_n(&context.handlers_ns, now, __ATOMIC_RELAXED);
	return kinds;
}

static uint32_t handlers_known(uint64_t now)
{
	uint64_t then = __atomic_load_n(&context.handlers_ns, __ATOMIC_RELAXED);

	if (!then || now - then > HANDLERS_AGE_NS)
		return handlers_look(now);
	return __atomic_load_n(&context.handlers, __ATOMIC_RELAXED);
}

/*
 * ppoll(2), which ends after any handler. So if all handlers have SA_RESTART, the caller goes on;
 * if none has, it ends; if there are both kinds, the kernel decides (restart.c). A timed receive
 * ends after any handler, as Linux's does. Where both kinds were not there yet a moment ago, EINTR:
 * a program with such a mixture must expect it.
 */
static int rx_poll_fd(struct pollfd *p, uint64_t now, uint64_t left, bool timed)
{
	struct timespec ts = {(time_t)(left / 1000000000u), (long)(left % 1000000000u)};
	int n = -ENOSYS;

	if (!timed && handlers_known(now) == HANDLERS_BOTH)
		n = restart_poll(p, left);
	if (n != -ENOSYS)
		return n;
	n = ppoll(p, 1, &ts, NULL); /* the thread may end here, or a handler jump out of it */
	if (n < 0)
		n = -errno;
	return n == -EINTR && !timed && handlers_look(now) == HANDLERS_RESTART ? -ERESTART : n;
}

/* The thread held no lock of the library a moment ago, but perhaps in a call that this one, a
 * handler's, has interrupted. */
static void rx_lock_again(struct sock *s)
{
	while (!sock_take_rx(s))
		sched_yield();
}

/* After shutdown() the descriptor is readable for good, and only a call that would wait returns 0.
 */
static bool is_shut(const struct sock *s)
{
	return raw_poll(s->kfd, POLLRDHUP) & (POLLRDHUP | POLLHUP);
}

static int rx_sleep(struct sock *s, struct rx_wait *w)
{
	struct pollfd p = {.fd = s->fd, .events = POLLIN};
	uint64_t now = clock_now_ns(), left = UINT64_MAX;
	struct visit v;
	bool capped = false;
	int n, flags, err = 0;

	rx_settle(s);
	if (rx_ready(s) || (s->error_queue && rx_hide_error(s)))
		return 0;
	flags = fcntl(s->kfd,
		      F_GETFL); /* another process may share the socket and have changed it */
	if (flags >= 0 && (flags & O_NONBLOCK))
		return -EAGAIN;
	if (w->deadline_ns) {
		if (now >= w->deadline_ns)
			return -EAGAIN;
		left = w->deadline_ns - now;
	}
	if (!s->att && __atomic_load_n(&s->retry_ns, __ATOMIC_RELAXED) != UINT64_MAX &&
	    left > ATTACH_RETRY_MAX_NS) {
		left = ATTACH_RETRY_MAX_NS; /* has udplaned come (back)? */
		capped = true;
	}
	if (left > RX_SLEEP_MAX_NS) {
		left = RX_SLEEP_MAX_NS;
		capped = true;
	}
	visit_begin(s, &v, true);
	visit_sleeps(&v);
	lock_drop(&s->rx_lock);
	n = rx_poll_fd(&p, now, left, w->deadline_ns != 0);
	if (n == -EINTR)
		err = -EINTR;
	if (n == 0 && !capped)
		err = -EAGAIN;
	rx_lock_again(s);
	if (visit_lasts(&v) && s->att)
		attach_look(s->att, clock_now_ns());
	if (visit_lasts(&v) && !s->closed && sock_news(s)) {
		lock_drop(&s->rx_lock);
		maintain(s, true, false);
		rx_lock_again(s);
	}
	if (visit_lasts(&v) && !s->closed &&
	    !(n > 0 &&
	      (p.revents & POLLNVAL))) { /* the latter: close(2) instead of udplane_close() */
		w->hup = n > 0 && is_shut(s);
		visit_end(&v);
		return err;
	}
	lock_drop(&s->rx_lock);
	visit_end(&v);
	return -EBADF;
}

int rx_wait(struct sock *s, struct rx_wait *w)
{
	if (!w->begun) {
		uint64_t timeo = __atomic_load_n(&s->rcvtimeo_ns, __ATOMIC_RELAXED),
			 now = clock_now_ns();

		if (timeo == RCVTIMEO_NO_WAIT)
			return -EAGAIN;
		w->begun = true;
		if (timeo)
			w->deadline_ns = now + timeo;
		if (rx_would_spin(s)) {
			w->spin_end_ns = now + context.spin_ns;
			if (kernel_look_due(s, now, RX_SPIN_KERNEL_EARLY_NS))
				return 0;
		}
	}
	if (w->spin_end_ns && s->rxq_cnt && rx_spin(s, w))
		return 0;
	w->spin_end_ns = 0;
	return rx_sleep(s, w);
}
