/* SPDX-License-Identifier: Apache-2.0 */
/* poll(2) and ppoll(2) under the shim: rings and the kernel without waiting; then a spin; then a
 * sleep in ppoll(2) on the program's descriptors and on the epoll instances of its sockets. */
#include "client/base.h"
#include "client/preload/adopt.h"
#include "client/preload/clock.h"
#include "client/preload/waitset.h"
#include <errno.h>
#include <stdlib.h>

#include "client/preload/entry.h"

#define INPUT (POLLIN | POLLRDNORM)
#define FEW   128

struct wait {
	struct waitset set;
	struct pollfd *p;
	nfds_t cnt;
	uint64_t limit;
	const sigset_t *mask;
};

static int look(void *wait)
{
	struct wait *w = wait;
	int n = real_poll(w->p, w->cnt, 0);

	for (uint32_t i = 0; n >= 0 && i < w->set.cnt; i++) {
		struct pollfd *p = &w->p[w->set.w[i].index];
		short add = p->events & INPUT;

		if ((p->revents & POLLNVAL) || (p->revents & add) == add ||
		    !waited_ready(&w->set.w[i]))
			continue;
		n += p->revents == 0;
		p->revents |= add;
	}
	return n;
}

static int sleep_in_kernel(struct wait *w)
{
	uint64_t most = waitset_plain_begin(&w->set);
	struct timespec left;
	int r = 0;

	if (most) {
		left = limit_left(w->limit, most);
		r = real_ppoll(w->p, w->cnt,
			       most == NO_LIMIT && w->limit == NO_LIMIT ? NULL : &left, w->mask);
	}
	waitset_plain_end(&w->set);
	return r;
}

/* Those of the program that are waited for, and what the rings make readable. */
static nfds_t gather(const struct wait *w, struct pollfd *all)
{
	nfds_t cnt = 0;

	for (nfds_t i = 0; i < w->cnt; i++)
		if (w->p[i].fd >= 0)
			all[cnt++] = w->p[i];
	for (uint32_t i = 0; i < w->set.cnt; i++)
		if (waited_fd(&w->set.w[i]) >= 0)
			all[cnt++] = (struct pollfd){waited_fd(&w->set.w[i]), POLLIN, 0};
	return cnt;
}

static int sleep_on(struct wait *w, struct pollfd *all, uint64_t most)
{
	struct timespec left = limit_left(w->limit, most);
	int r = real_ppoll(all, gather(w, all), &left, w->mask);

	if (r >= 0 || errno != EINVAL)
		return r;
	/* more than RLIMIT_NOFILE: rings are looked at now and then */
	left = limit_left(w->limit, SHIM_CLAIM_RETRY_NS);
	return real_ppoll(w->p, w->cnt, &left, w->mask);
}

/* Until one of the epoll instances of our sockets is readable, too. */
static int sleep_on_rings(struct wait *w)
{
	struct pollfd few[FEW], *all = few;
	nfds_t cnt = w->cnt + w->set.cnt;
	uint64_t most;
	int r = 0, err;

	if (cnt > FEW)
		all = malloc(cnt * sizeof(*all));
	if (!all)
		return -1;
	if (waitset_sleep_begin(&w->set, &most))
		r = sleep_on(w, all, most);
	waitset_sleep_end(&w->set);
	err = errno;
	if (all != few)
		free(all);
	errno = err; /* which free() may change before glibc 2.33 */
	return r;
}

static int nap(void *wait, bool rings)
{
	return (rings ? sleep_on_rings(wait) : sleep_in_kernel(wait)) < 0 ? -1 : 0;
}

static const struct waitset_calls calls = {look, nap};

static bool any_known(const struct pollfd *p, nfds_t cnt)
{
	if (pointer_is_bad(p))
		return false;
	for (nfds_t i = 0; i < cnt; i++)
		if ((p[i].events & INPUT) && shim_knows(p[i].fd))
			return true;
	return false;
}

static int wait_known(struct pollfd *p, nfds_t cnt, uint64_t limit, const sigset_t *mask)
{
	struct wait w = {.p = p, .cnt = cnt, .limit = limit, .mask = mask};
	int n, err;

	waitset_init(&w.set);
	for (nfds_t i = 0; i < cnt; i++)
		if (p[i].events & INPUT)
			waitset_add(&w.set, p[i].fd, (uint32_t)i);
	n = waitset_wait(&w.set, limit, &calls, &w);
	err = errno;
	waitset_end(&w.set);
	errno = err;
	return n;
}

ENTRY int poll(struct pollfd *p, nfds_t cnt, int timeout)
{
	if (!any_known(p, cnt))
		return real_poll(p, cnt, timeout);
	return wait_known(p, cnt, limit_ms(timeout), NULL);
}

static bool timespec_is_good(const struct timespec *ts)
{
	return !ts || (!pointer_is_bad(ts) && ts->tv_sec >= 0 && ts->tv_nsec >= 0 &&
		       ts->tv_nsec < 1000000000);
}

ENTRY int ppoll(struct pollfd *p, nfds_t cnt, const struct timespec *timeout, const sigset_t *mask)
{
	if (!any_known(p, cnt) || !timespec_is_good(timeout) || (mask && pointer_is_bad(mask)))
		return real_ppoll(p, cnt, timeout, mask);
	return wait_known(p, cnt, limit_timespec(timeout), mask);
}

ENTRY int __poll_chk(struct pollfd *p, nfds_t cnt, int timeout, size_t room);
ENTRY int __poll_chk(struct pollfd *p, nfds_t cnt, int timeout, size_t room)
{
	if (room / sizeof(*p) < cnt)
		abort();
	return poll(p, cnt, timeout);
}

ENTRY int __ppoll_chk(struct pollfd *p, nfds_t cnt, const struct timespec *timeout,
		      const sigset_t *mask, size_t room);
ENTRY int __ppoll_chk(struct pollfd *p, nfds_t cnt, const struct timespec *timeout,
		      const sigset_t *mask, size_t room)
{
	if (room / sizeof(*p) < cnt)
		abort();
	return ppoll(p, cnt, timeout, mask);
}
