/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for datagrams: spinning, then sleeping. */
#include "client/wait.h"
#include "client/attach.h"
#include "client/base.h"
#include "client/context.h"
#include "client/detach.h"
#include "client/lock.h"
#include "client/raw.h"
#include "client/ready.h"
#include "client/restart.h"
#include "client/rxq.h"
#include "client/sock.h"
#include "client/visit.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <time.h>
#include <udplane/clock.h>
#include <udplane/ring.h>

/* --- spinning --- */

/* Returns true if a spinning thread must yield: there are fewer CPUs than workers, this thread
 * and one more. */
static bool rx_must_yield(struct sock *s)
{
	cpu_set_t set;

	if (context.yield >= 0)
		return context.yield;
	if (s->rx.waits++ % 4096 == 0)
		s->rx.yield = sched_getaffinity(0, sizeof(set), &set) ||
			      (uint32_t)CPU_COUNT(&set) < s->att->worker_cnt + 2;
	return s->rx.yield;
}

static bool rx_any(struct sock *s)
{
	for (uint32_t i = 0; i < s->rx.rxq_cnt; i++)
		if (rx_avail(s, &s->rx.rxq[i], 1))
			return true;
	return false;
}

static bool rx_kernel_look_due(struct sock *s, uint64_t now, uint64_t every_ns)
{
	if (!s->rx.kernel_hot && now - s->rx.looked_ns < every_ns)
		return false;
	s->rx.looked_ns = now;
	return true;
}

bool rx_would_spin(const struct sock *s)
{
	return s->rx.rxq_cnt && context.spin_ns && attach_awake(s->att);
}

/* Returns true if something has arrived or the kernel socket is due; false if it has spun long
 * enough. */
static bool rx_spin(struct sock *s, struct rx_wait *w)
{
	bool yield = rx_must_yield(s);

	if (!s->rx.shim.on) /* whose rings are armed only for a thread that sleeps */
		rx_disarm(s);
	for (uint32_t i = 1;; i++) {
		if (rx_any(s))
			return true;
		if (lock_wanted(&s->rx.lock))
			return false;
		if (yield)
			sched_yield();
		else
			udplane_pause();
		if (yield || i % 16 == 0) {
			uint64_t now = clock_now_ns();

			if (now >= w->spin_end_ns || attach_news(s->att))
				return false;
			if (rx_kernel_look_due(s, now, RX_SPIN_KERNEL_NS))
				return true;
		}
	}
}

/* --- sleeping --- */

enum handlers { HANDLERS_RESTART = 1, HANDLERS_END = 2, HANDLERS_BOTH = 3 };

/* Returns which kinds of handlers the process has: recv(2) continues after one with SA_RESTART,
 * and ends after others. */
static uint32_t handlers_look(uint64_t now)
{
	struct sigaction sa;
	uint32_t kinds = 0;

	for (int i = 1; i < NSIG; i++) {
		if (i == SIGSEGV || i == SIGBUS || i == SIGFPE || i == SIGILL || i == SIGABRT ||
		    i == SIGTRAP || i == SIGSYS)
			/* crash reporters have handlers for these; they are not sent from
			 * outside */
			continue;
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

/* ppoll(2) ends after any handler. If all handlers have SA_RESTART, the caller continues; if
 * none has, it ends; if there are both kinds, the kernel decides (restart.c). A timed receive
 * ends after any handler, as in Linux. If the second kind has only just been installed, the
 * result is EINTR, which a program with both kinds must expect. */
static int rx_poll_fd(struct pollfd *p, uint64_t now, uint64_t left, bool timed)
{
	struct timespec ts = {(time_t)(left / 1000000000u), (long)(left % 1000000000u)};
	int n = -ENOSYS;

	if (!timed && handlers_known(now) == HANDLERS_BOTH)
		n = restart_poll(p, left);
	if (n != -ENOSYS)
		return n;
	/* the thread may be cancelled here, or a handler may jump out of it */
	n = ppoll(p, 1, &ts, NULL);
	if (n < 0)
		n = -errno;
	return n == -EINTR && !timed && handlers_look(now) == HANDLERS_RESTART ? -ERESTART : n;
}

/* The thread itself holds no lock, except perhaps in a call that this one, in a handler, has
 * interrupted. */
static void rx_lock_again(struct sock *s)
{
	while (!sock_take_rx(s))
		sched_yield();
}

/* After shutdown() the descriptor stays readable, and only a call that would wait returns 0. */
static bool sock_is_shut(const struct sock *s)
{
	return raw_poll(s->kfd, POLLRDHUP) & (POLLRDHUP | POLLHUP);
}

static int rx_sleep(struct sock *s, struct rx_wait *w)
{
	struct pollfd p = {.fd = s->ep, .events = POLLIN};
	uint64_t now = clock_now_ns(), left = UINT64_MAX;
	struct visit v;
	bool capped = false;
	int n, flags, err = 0;

	if (rx_settle(s) || (s->rx.error_queue && rx_hide_error(s)))
		return 0;
	flags = fcntl(s->kfd,
		      F_GETFL); /* another process that shares the socket may have changed it */
	if (flags >= 0 && (flags & O_NONBLOCK))
		return -EAGAIN;
	if (w->deadline_ns) {
		if (now >= w->deadline_ns)
			return -EAGAIN;
		left = w->deadline_ns - now;
	}
	if (!s->att && __atomic_load_n(&s->life.retry_ns, __ATOMIC_RELAXED) != UINT64_MAX &&
	    left > ATTACH_RETRY_MAX_NS) {
		left = ATTACH_RETRY_MAX_NS; /* to check whether udplaned has come back */
		capped = true;
	}
	if (left > RX_SLEEP_MAX_NS) {
		left = RX_SLEEP_MAX_NS;
		capped = true;
	}
	visit_begin(s, &v, true);
	visit_sleeps(&v);
	rx_show_kernel(s);
	__atomic_fetch_add(&s->rx.shim.sleepers, 1, __ATOMIC_SEQ_CST);
	lock_drop(&s->rx.lock);
	n = rx_poll_fd(&p, now, left, w->deadline_ns != 0);
	__atomic_fetch_sub(&s->rx.shim.sleepers, 1, __ATOMIC_RELAXED);
	if (n == -EINTR)
		err = -EINTR;
	if (n == 0 && !capped)
		err = -EAGAIN;
	rx_lock_again(s);
	if (visit_lasts(&v) && s->att)
		attach_look(s->att, clock_now_ns());
	if (visit_lasts(&v) && !s->closed && sock_news(s)) {
		lock_drop(&s->rx.lock);
		maintain(s, true, false);
		rx_lock_again(s);
	}
	if (visit_lasts(&v) && !s->closed &&
	    !(n > 0 &&
	      /* POLLNVAL: the program called close(2) instead of udplane_close() */
	      (p.revents & POLLNVAL))) {
		w->hup = n > 0 && sock_is_shut(s);
		visit_end(&v);
		return err;
	}
	lock_drop(&s->rx.lock);
	visit_end(&v);
	return -EBADF;
}

int rx_wait(struct sock *s, struct rx_wait *w)
{
	if (!w->begun) {
		uint64_t timeo = __atomic_load_n(&s->rx.rcvtimeo_ns, __ATOMIC_RELAXED),
			 now = clock_now_ns();

		if (timeo == RCVTIMEO_NO_WAIT)
			return -EAGAIN;
		w->begun = true;
		if (timeo)
			w->deadline_ns = now + timeo;
		if (rx_would_spin(s)) {
			w->spin_end_ns = now + context.spin_ns;
			if (rx_kernel_look_due(s, now, RX_SPIN_KERNEL_EARLY_NS))
				return 0;
		}
	}
	if (w->spin_end_ns && s->rx.rxq_cnt && rx_spin(s, w))
		return 0;
	w->spin_end_ns = 0;
	return rx_sleep(s, w);
}
