/* SPDX-License-Identifier: Apache-2.0 */
/*
 * epoll under the shim. The program's instance is asked as ever; what its sockets have in rings is
 * added (instance.h). A wait:
 *
 *   1. rings of hot sockets, and the kernel without waiting if they have nothing, or it is due
 *   2. spin, if a worker is awake
 *   3. make the hot sockets cold; if none has anything, sleep in ppoll(2) on the program's instance
 *      and on w, with the program's signal mask; then from 1
 *
 * An instance in which no socket has ever been claimed is waited for in the kernel alone.
 */
#include "client/base.h"
#include "client/context.h"
#include "client/life.h"
#include "client/own.h"
#include "client/preload/adopt.h"
#include "client/preload/clock.h"
#include "client/preload/instance.h"
#include "client/preload/process.h"
#include "client/preload/room.h"
#include "client/preload/spin.h"
#include "client/sock.h"
#include "client/table.h"
#include <errno.h>
#include <limits.h>
#include <udplane/ring.h>

#include "client/preload/entry.h"

#define KERNEL_EVERY 16 /* looks at rings that have something, before the kernel is asked, too */

struct wait {
	struct instance *in;
	int ep;
	struct epoll_event *ev;
	int max;
	uint64_t limit;
	const sigset_t *mask;
	bool fine; /* the limit is finer than a millisecond */
};

/* Returns the number of events that are there, or -1 with errno. kernel: ask the kernel in any
 * case. may_skip: it need not be asked, since the caller will sleep, and then learns of its
 * events. */
static int look(struct wait *w, bool kernel, bool may_skip)
{
	int n = 0;

	/* so that what the kernel has does not take all the room each time */
	if (!kernel && __atomic_load_n(&w->in->kernel_full, __ATOMIC_RELAXED)) {
		__atomic_store_n(&w->in->kernel_full, false, __ATOMIC_RELAXED);
		n = instance_report(w->in, w->ep, w->ev, 0, w->max);
		if (n)
			return n;
	}
	if (!kernel && !__atomic_load_n(&w->in->output_cnt, __ATOMIC_RELAXED) &&
	    __atomic_fetch_add(&w->in->looks, 1, __ATOMIC_RELAXED) % KERNEL_EVERY) {
		n = instance_report(w->in, w->ep, w->ev, 0, w->max);
		if (n || (may_skip && __atomic_load_n(&w->in->kernel_idle, __ATOMIC_RELAXED)))
			return n;
	}
	n = real_epoll_wait(w->ep, w->ev, w->max, 0);
	if (n < 0)
		return n;
	if (!kernel)
		__atomic_store_n(&w->in->kernel_idle, n == 0, __ATOMIC_RELAXED);
	if (n == w->max)
		__atomic_store_n(&w->in->kernel_full, true, __ATOMIC_RELAXED);
	n = instance_filter(w->in, w->ep, w->ev, n);
	return instance_report(w->in, w->ep, w->ev, n, w->max);
}

static bool spun(struct wait *w)
{
	struct spin spin;
	uint64_t mark = 0;

	if (!instance_would_spin(w->in))
		return false;
	spin_begin(&spin, w->limit);
	while (spin_more(&spin)) {
		if ((w->in->group >= 0 || !TAILQ_EMPTY(&w->in->hot)) &&
		    instance_ready(w->in, &mark, 0))
			return true;
		if (spin_look_due(&spin) && real_poll(&(struct pollfd){w->ep, POLLIN, 0}, 1, 0) > 0)
			return true;
	}
	return false;
}

/* Returns 0, or -1 with errno. */
static int nap(struct wait *w)
{
	struct pollfd p[2] = {{w->ep, POLLIN, 0}, {-1, POLLIN, 0}};
	/* Out of descriptors: rings are looked at now and then. */
	bool whole = instance_make_w(w->in, 0);
	struct timespec left;
	int r = 0;

	if (instance_collect(w->in, 0))
		return 0;
	p[1].fd = w->in->w;
	instance_sleep_begin(w->in);
	if (instance_settle(w->in, 0)) {
		left = limit_left(w->limit, whole ? SHIM_SLEEP_NS : SHIM_CLAIM_RETRY_NS);
		r = real_ppoll(p, 2, &left, w->mask);
	}
	instance_sleep_end(w->in);
	if (!whole)
		instance_heat(w->in, 0);
	if (r > 0 && (p[1].revents & POLLNVAL))
		instance_lost_w(w->in);
	else if (r > 0 && p[1].revents)
		instance_woken(w->in, 0);
	return r < 0 ? -1 : 0;
}

/* epoll_pwait(2) until the limit, but at most for most_ns. */
static int kernel_wait(struct wait *w, uint64_t most_ns)
{
	struct pollfd p = {w->ep, POLLIN, 0};
	struct timespec left;
	int n;

	if (w->limit == NO_LIMIT && most_ns == NO_LIMIT)
		return real_epoll_pwait(w->ep, w->ev, w->max, -1, w->mask);
	left = limit_left(w->limit,
			  most_ns < INT_MAX * 1000000ull ? most_ns : INT_MAX * 1000000ull);
	if (!w->fine)
		return real_epoll_pwait(
			w->ep, w->ev, w->max,
			(int)(left.tv_sec * 1000 + (left.tv_nsec + 999999) / 1000000), w->mask);
	n = real_ppoll(&p, 1, &left, w->mask);
	return n < 0 ? n : real_epoll_wait(w->ep, w->ev, w->max, 0);
}

/* Waits in the kernel alone. Returns -2 if it must be waited for once more. A thread that is
 * cancelled here stays counted: no socket of the instance will be claimed. */
static int plain_wait(struct wait *w)
{
	uint64_t most =
		TAILQ_EMPTY(&w->in->all) && TAILQ_EMPTY(&w->in->nested) ? NO_LIMIT : SHIM_SLEEP_NS;
	int n = -2;

	__atomic_fetch_add(&w->in->plain, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&context.claiming, __ATOMIC_SEQ_CST))
		most = SHIM_SLEEP_CLAIM_NS;
	if (!__atomic_load_n(&w->in->active, __ATOMIC_SEQ_CST))
		n = kernel_wait(w, most);
	__atomic_fetch_sub(&w->in->plain, 1, __ATOMIC_RELEASE);
	return n == 0 && (w->limit == NO_LIMIT || clock_now_ns() < w->limit) ? -2 : n;
}

static int wait_for(struct wait *w)
{
	bool kernel = false, spin = true;
	int n;

	for (;;) {
		instance_maintain(w->in, 0);
		if (!__atomic_load_n(&w->in->active, __ATOMIC_SEQ_CST)) {
			if (!w->limit)
				return real_epoll_wait(w->ep, w->ev, w->max, 0);
			n = plain_wait(w);
			if (n != -2)
				return n;
			continue;
		}
		n = look(w, kernel, w->limit != 0);
		kernel = true;
		if (n || !w->limit || (w->limit != NO_LIMIT && clock_now_ns() >= w->limit))
			return n;
		if (spin && spun(w))
			continue;
		spin = false;
		if (nap(w)) {
			int err = errno;

			n = err == EINTR ? look(w, true, false) : 0;
			if (n)
				return n;
			errno = err;
			return -1;
		}
	}
}

/* What the kernel refuses before it looks, and instances that are none of ours, are the
 * kernel's. */
static struct instance *ours(int ep, const struct epoll_event *ev, int max)
{
	struct instance *in;

	if (max <= 0 || pointer_is_bad(ev))
		return NULL;
	in = instance_get(ep);
	if (in)
		__atomic_store_n(&in->unknown, false, __ATOMIC_RELAXED);
	return in;
}

static int wait_and_put(struct instance *in, int ep, struct epoll_event *ev, int max,
			uint64_t limit, const sigset_t *mask, bool fine)
{
	struct wait w = {in, ep, ev, max, limit, mask, fine};
	int n = wait_for(&w);

	instance_put(in);
	return n;
}

ENTRY int epoll_wait(int ep, struct epoll_event *ev, int max, int timeout)
{
	struct instance *in = ours(ep, ev, max);

	if (!in)
		return real_epoll_wait(ep, ev, max, timeout);
	return wait_and_put(in, ep, ev, max, limit_ms(timeout), NULL, false);
}

ENTRY int epoll_pwait(int ep, struct epoll_event *ev, int max, int timeout, const sigset_t *mask)
{
	struct instance *in = pointer_is_bad(mask) && mask ? NULL : ours(ep, ev, max);

	if (!in)
		return real_epoll_pwait(ep, ev, max, timeout, mask);
	return wait_and_put(in, ep, ev, max, limit_ms(timeout), mask, false);
}

ENTRY int epoll_pwait2(int ep, struct epoll_event *ev, int max, const struct timespec *timeout,
		       const sigset_t *mask);
ENTRY int epoll_pwait2(int ep, struct epoll_event *ev, int max, const struct timespec *timeout,
		       const sigset_t *mask)
{
	struct instance *in = NULL;

	if ((!mask || !pointer_is_bad(mask)) &&
	    (!timeout || (!pointer_is_bad(timeout) && timeout->tv_sec >= 0 &&
			  timeout->tv_nsec >= 0 && timeout->tv_nsec < 1000000000)))
		in = ours(ep, ev, max);
	if (!in)
		return real_epoll_pwait2(ep, ev, max, timeout, mask);
	return wait_and_put(in, ep, ev, max, limit_timespec(timeout), mask, true);
}

/* --- making and changing --- */

static void note_new(int fd)
{
	int err = errno;

	if (fd >= 0 && shim_works() && process_is_ours())
		instance_new(fd, false);
	errno = err;
}

ENTRY int epoll_create(int size)
{
	int fd;

	WITH_ROOM(fd, real_epoll_create(size), -1);
	note_new(fd);
	return fd;
}

ENTRY int epoll_create1(int flags)
{
	int fd;

	WITH_ROOM(fd, real_epoll_create1(flags), -1);
	note_new(fd);
	return fd;
}

ENTRY int epoll_ctl(int ep, int op, int fd, struct epoll_event *ev)
{
	struct sock *s = sock_get(fd);
	struct instance *inner = s ? NULL : instance_get(fd), *in;
	int r;

	if (!s && !inner)
		return real_epoll_ctl(ep, op, fd, ev);
	in = instance_get(ep);
	if (!in && shim_works() && op != EPOLL_CTL_DEL) {
		instance_new(ep, true);
		in = instance_get(ep);
	}
	r = in ? instance_ctl(in, ep, op, fd, ev, s, inner) : real_epoll_ctl(ep, op, fd, ev);
	if (r == 0 && s && op != EPOLL_CTL_DEL)
		sock_want(s);
	if (in)
		instance_put(in);
	if (r == 0 && inner) /* marks of the time before the outer one */
		instance_collect(inner, 0);
	if (inner)
		instance_put(inner);
	if (s)
		sock_unref(s);
	return r;
}
