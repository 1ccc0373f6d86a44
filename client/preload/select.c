/* SPDX-License-Identifier: Apache-2.0 */
/* select(2) and pselect(2) under the shim, as poll.c. The kernel takes sets of any length, so the
 * epoll instances of the program's sockets are added to a longer copy. */
#include "client/base.h"
#include "client/preload/adopt.h"
#include "client/preload/clock.h"
#include "client/preload/waitset.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/preload/entry.h"

#define WORD	 (8 * sizeof(long))
#define FEW	 2048 /* descriptors in sets on the stack */
#define MANY	 (1 << 20)
#define SET_CNT	 3
#define SET_READ 0

struct wait {
	struct waitset set;
	int cnt;
	fd_set *given[SET_CNT]; /* the program's; NULL if it gave none */
	unsigned long *found;	/* SET_CNT sets of words each, one after the other */
	size_t words;
	uint64_t limit;
	const sigset_t *mask;
};

static size_t words_for(int cnt)
{
	return ((size_t)cnt + WORD - 1) / WORD;
}

static bool is_set(const unsigned long *set, int fd)
{
	return set[(size_t)fd / WORD] >> ((size_t)fd % WORD) & 1;
}

static void put(unsigned long *set, int fd)
{
	set[(size_t)fd / WORD] |= 1ul << ((size_t)fd % WORD);
}

/* Copies the program's sets to room, words for each. Fills sets for select(2). */
static void copy_sets(const struct wait *w, unsigned long *room, size_t words, fd_set **sets)
{
	memset(room, 0, SET_CNT * words * sizeof(*room));
	for (int i = 0; i < SET_CNT; i++) {
		sets[i] = w->given[i] ? (fd_set *)(room + (size_t)i * words) : NULL;
		if (sets[i])
			memcpy(sets[i], w->given[i], words_for(w->cnt) * sizeof(*room));
	}
}

static int look(void *wait)
{
	struct wait *w = wait;
	struct timeval none = {0, 0};
	fd_set *sets[SET_CNT];
	int n;

	copy_sets(w, w->found, w->words, sets);
	n = real_select(w->cnt, sets[0], sets[1], sets[2], &none);
	for (uint32_t i = 0; n >= 0 && i < w->set.cnt; i++) {
		struct waited *of = &w->set.w[i];

		if (is_set(w->found, of->fd) || !waited_ready(of))
			continue;
		put(w->found, of->fd);
		n++;
	}
	return n;
}

/* Sleeps on the program's sets, and on further descriptors that are to be read. Returns 0, or -1
 * with errno. */
static int sleep_on(struct wait *w, uint64_t most, bool rings)
{
	unsigned long few[SET_CNT * FEW / WORD], *room = few;
	fd_set *sets[SET_CNT];
	struct timespec left;
	int cnt = w->cnt, r, err;
	size_t words;

	for (uint32_t i = 0; rings && i < w->set.cnt; i++)
		if (waited_fd(&w->set.w[i]) >= cnt)
			cnt = waited_fd(&w->set.w[i]) + 1;
	words = words_for(cnt);
	if (cnt > FEW)
		room = malloc(SET_CNT * words * sizeof(*room));
	if (!room)
		return -1;
	copy_sets(w, room, words, sets);
	sets[SET_READ] = (fd_set *)room;
	for (uint32_t i = 0; rings && i < w->set.cnt; i++)
		if (waited_fd(&w->set.w[i]) >= 0)
			put(room, waited_fd(&w->set.w[i]));
	left = limit_left(w->limit, most);
	r = real_pselect(cnt, sets[0], sets[1], sets[2],
			 most == NO_LIMIT && w->limit == NO_LIMIT ? NULL : &left, w->mask);
	err = errno;
	if (room != few)
		free(room);
	errno = err; /* which free() may change before glibc 2.33 */
	return r < 0 ? -1 : 0;
}

static int nap(void *wait, bool rings)
{
	struct wait *w = wait;
	uint64_t most;
	int r = 0;

	if (rings) {
		if (waitset_sleep_begin(&w->set, &most))
			r = sleep_on(w, most, true);
		waitset_sleep_end(&w->set);
		return r;
	}
	most = waitset_plain_begin(&w->set);
	if (most)
		r = sleep_on(w, most, false);
	waitset_plain_end(&w->set);
	return r;
}

static const struct waitset_calls calls = {look, nap};

static bool any_known(int cnt, const fd_set *rd)
{
	const unsigned long *set = (const unsigned long *)rd;

	if (pointer_is_bad(rd) || cnt <= 0 || cnt > MANY)
		return false;
	for (size_t i = 0; i < words_for(cnt); i++)
		for (unsigned long left = set[i]; left; left &= left - 1) {
			int fd = (int)(i * WORD) + __builtin_ctzl(left);

			if (fd < cnt && shim_knows(fd))
				return true;
		}
	return false;
}

static int wait_known(int cnt, fd_set *rd, fd_set *wr, fd_set *ex, uint64_t limit,
		      const sigset_t *mask)
{
	unsigned long few[SET_CNT * FEW / WORD];
	struct wait w = {.cnt = cnt,
			 .given = {rd, wr, ex},
			 .found = few,
			 .words = words_for(cnt),
			 .limit = limit,
			 .mask = mask};
	int n = -1, err;

	if (cnt > FEW)
		w.found = malloc(SET_CNT * w.words * sizeof(*w.found));
	if (!w.found)
		return -1;
	waitset_init(&w.set);
	for (int fd = 0; fd < cnt; fd++)
		if (is_set((unsigned long *)rd, fd))
			waitset_add(&w.set, fd, 0);
	n = waitset_wait(&w.set, limit, &calls, &w);
	err = errno;
	for (size_t i = 0; n >= 0 && i < SET_CNT; i++)
		if (w.given[i])
			memcpy(w.given[i], w.found + i * w.words, w.words * sizeof(*w.found));
	waitset_end(&w.set);
	if (w.found != few)
		free(w.found);
	errno = err;
	return n;
}

ENTRY int select(int cnt, fd_set *rd, fd_set *wr, fd_set *ex, struct timeval *timeout)
{
	struct timespec ts;
	uint64_t limit = NO_LIMIT;
	int n;

	if (!any_known(cnt, rd) ||
	    (timeout && (pointer_is_bad(timeout) || timeout->tv_sec < 0 || timeout->tv_usec < 0)))
		return real_select(cnt, rd, wr, ex, timeout);
	if (timeout) {
		ts = (struct timespec){timeout->tv_sec + timeout->tv_usec / 1000000,
				       timeout->tv_usec % 1000000 * 1000};
		limit = limit_timespec(&ts);
	}
	n = wait_known(cnt, rd, wr, ex, limit, NULL);
	if (timeout && limit != NO_LIMIT) { /* as Linux does */
		ts = limit_left(limit, NO_LIMIT);
		*timeout = (struct timeval){ts.tv_sec, ts.tv_nsec / 1000};
	}
	return n;
}

ENTRY int pselect(int cnt, fd_set *rd, fd_set *wr, fd_set *ex, const struct timespec *timeout,
		  const sigset_t *mask)
{
	if (!any_known(cnt, rd) || (mask && pointer_is_bad(mask)) ||
	    (timeout && (pointer_is_bad(timeout) || timeout->tv_sec < 0 || timeout->tv_nsec < 0 ||
			 timeout->tv_nsec >= 1000000000)))
		return real_pselect(cnt, rd, wr, ex, timeout, mask);
	return wait_known(cnt, rd, wr, ex, limit_timespec(timeout), mask);
}
