/* SPDX-License-Identifier: Apache-2.0 */
/* Epoll instances of the program: what rings have for them, and the way to sleep and back. */
#include "client/attach.h"
#include "client/context.h"
#include "client/detach.h"
#include "client/lend.h"
#include "client/life.h"
#include "client/lock.h"
#include "client/preload/instance.h"
#include "client/preload/marks.h"
#include "client/queue.h"
#include "client/ready.h"
#include "client/rxq.h"
#include "client/sock.h"
#include "client/table.h"
#include <sys/epoll.h>
#include <udplane/clock.h>

#define BATCH 32

bool sock_any(struct sock *s)
{
	if (s->rx.saved || s->rx.error || (s->rx.queue && queue_next_len(s) >= 0))
		return true;
	for (uint32_t i = 0; i < s->rx.rxq_cnt; i++)
		if (rx_avail(s, &s->rx.rxq[i], 1))
			return true;
	return false;
}

/* Changes with each arrival by a ring, and when rings are saved or dropped. rx.lock held. */
static uint64_t arrived(struct sock *s)
{
	uint64_t mark = (uintptr_t)s->rx.saved_end ^ (uintptr_t)s->rx.rxq << 8 ^
			(uint64_t)(uint32_t)s->rx.error << 40;

	for (uint32_t i = 0; i < s->rx.rxq_cnt; i++)
		mark += rx_produced(s, &s->rx.rxq[i]);
	return mark;
}

/* Returns true if it is to be reported now; *mark is for w->seen. A socket that another thread is
 * busy with is not: that thread's call is about to end, and the settling waits for it. */
static bool watch_due(struct watch *w, uint64_t *mark)
{
	bool any;

	if (!wants_input(w) || !lock_try(&w->s->rx.lock))
		return false;
	any = sock_any(w->s);
	*mark = any && (w->events & EPOLLET) ? arrived(w->s) : 0;
	lock_drop(&w->s->rx.lock);
	return any && (!(w->events & EPOLLET) || *mark != w->seen);
}

bool instance_ready(struct instance *in, uint64_t *mark, int depth)
{
	struct instance *inner;
	struct watch *w;
	bool ready = false;

	instance_collect(in, 0);
	if (!TAILQ_EMPTY(&in->hot) && lock_insist(&in->lock)) {
		TAILQ_FOREACH(w, &in->hot, in_hot) {
			uint64_t seen;

			if (!watch_due(w, &seen))
				continue;
			ready = true;
			*mark += seen ^ (uintptr_t)w;
		}
		lock_drop(&in->lock);
	}
	for (uint32_t i = 0; (inner = nested_next(in, &i, depth, true)) != NULL;) {
		ready |= instance_ready(inner, mark, depth + 1);
		instance_put(inner);
	}
	return ready;
}

/* --- reports --- */

/* Adds one event, to the kernel's event of the same registration if there is one. Returns false if
 * there is no room. */
static bool add_event(struct epoll_event *ev, int kernel, int *cnt, int max, const struct watch *w)
{
	uint32_t events = w->events & (EPOLLIN | EPOLLRDNORM);

	for (int i = 0; i < kernel; i++) {
		if (ev[i].data.u64 == w->data.u64) {
			ev[i].events |= events;
			return true;
		}
	}
	if (*cnt == max)
		return false;
	ev[*cnt].events = events;
	ev[*cnt].data = w->data;
	++*cnt;
	return true;
}

/* As the kernel's EPOLLONESHOT does, but that errors would still be reported once: they are taken
 * out by instance_filter(). */
static void disarm(struct watch *w, int ep)
{
	struct epoll_event ev = {.events = EPOLLONESHOT, .data = w->data};

	w->armed = false;
	/* Its number may be another file's, if a duplicate keeps it open. */
	if (!w->s || table_get(w->fd) == w->s)
		real_epoll_ctl(ep, EPOLL_CTL_MOD, w->fd, &ev);
}

/* What inner has arrived at is mark. The watches are searched for again, as the instance's lock
 * was not held meanwhile. */
static void report_inner(struct instance *in, const struct instance *inner, uint64_t mark, int ep,
			 struct epoll_event *ev, int *cnt, int max)
{
	struct watch *w;

	if (!lock_insist(&in->lock))
		return;
	TAILQ_FOREACH(w, &in->nested, in_instance) {
		if (w->inner != inner || !wants_input(w) ||
		    ((w->events & EPOLLET) && mark == w->seen))
			continue;
		if (!add_event(ev, *cnt, cnt, max, w))
			break;
		w->seen = mark;
		if (w->events & EPOLLONESHOT)
			disarm(w, ep);
	}
	lock_drop(&in->lock);
}

/* Makes a socket cold that has nothing, so that it is not looked at each time, if that costs
 * nothing. The instance's lock held. */
static bool cool_early(struct watch *w)
{
	struct sock *s = w->s;
	bool cold;

	if (!wants_input(w) || !lock_try(&s->rx.lock))
		return false;
	cold = !sock_any(s) && marks_cool(w);
	if (cold)
		s->rx.shim.hot = false;
	lock_drop(&s->rx.lock);
	return cold;
}

int instance_report(struct instance *in, int ep, struct epoll_event *ev, int have, int max)
{
	int cnt = have;
	struct watch *w, *next, *last;
	struct instance *inner;

	for (uint32_t i = 0; (inner = nested_next(in, &i, 0, true)) != NULL;) {
		uint64_t mark = 0;

		if (instance_ready(inner, &mark, 1))
			report_inner(in, inner, mark, ep, ev, &cnt, max);
		instance_put(inner);
	}
	instance_collect(in, 0);
	if (TAILQ_EMPTY(&in->hot) || !lock_insist(&in->lock))
		return cnt;
	last = TAILQ_LAST(&in->hot, watch_list);
	for (w = TAILQ_FIRST(&in->hot); w; w = next) {
		uint64_t mark = 0;

		next = w == last ? NULL : TAILQ_NEXT(w, in_hot);
		if (!watch_due(w, &mark)) {
			if (in->group >= 0 && cool_early(w)) {
				w->hot = false;
				TAILQ_REMOVE(&in->hot, w, in_hot);
			}
			continue;
		}
		if (!add_event(ev, have, &cnt, max, w))
			break;
		w->seen = mark;
		if (w->events & EPOLLONESHOT)
			disarm(w, ep);
		/* behind the others, so that a small max starves none */
		TAILQ_REMOVE(&in->hot, w, in_hot);
		TAILQ_INSERT_TAIL(&in->hot, w, in_hot);
	}
	lock_drop(&in->lock);
	return cnt;
}

int instance_filter(struct instance *in, int ep, struct epoll_event *ev, int have)
{
	int n = 0;

	if (have <= 0 || !__atomic_load_n(&in->oneshot_cnt, __ATOMIC_RELAXED) ||
	    !lock_insist(&in->lock))
		return have;
	for (int i = 0; i < have; i++) {
		struct watch *w = oneshot_find(in, ev[i].data.u64);

		/* a ring's event has been reported for it since */
		if (w && !w->armed)
			continue;
		/* The program may have armed it anew since the kernel reported this, so the
		 * kernel is told again. */
		if (w)
			disarm(w, ep);
		ev[n++] = ev[i];
	}
	lock_drop(&in->lock);
	return n;
}

/* --- sleep --- */

/* Makes a socket cold. Returns false if it has something to report, or another thread is busy with
 * it. rx.lock is tried. */
static bool cool(struct watch *w)
{
	struct sock *s = w->s;
	bool cold = true;

	if (!lock_try(&s->rx.lock))
		return false;
	s->rx.kernel_run = 0; /* the kernel has just been found empty */
	/* Looked at anew: another thread may have taken the edge of what is there. */
	if (!sock_any(s)) {
		cold = marks_cool(w) || !rx_settle(s);
	} else if ((w->events & EPOLLET) && arrived(s) == w->seen) {
		/* the program leaves datagrams in the ring: the next one is an edge all the same */
		rx_arm_edge(s);
		cold = arrived(s) == w->seen;
	} else {
		cold = false;
	}
	if (cold)
		s->rx.shim.hot = false;
	lock_drop(&s->rx.lock);
	return cold;
}

bool instance_settle(struct instance *in, int depth)
{
	struct instance *inner;
	struct watch *w, *next;
	bool settled = !instance_collect(in, 1);

	if (!TAILQ_EMPTY(&in->hot)) {
		if (!lock_insist(&in->lock))
			return true;
		for (w = TAILQ_FIRST(&in->hot); w; w = next) {
			next = TAILQ_NEXT(w, in_hot);
			if (wants_input(w) && !cool(w)) {
				/* a call that this one, in a handler, has interrupted: it cannot
				 * end */
				settled &= lock_mine(&w->s->rx.lock);
				continue;
			}
			w->hot = false;
			TAILQ_REMOVE(&in->hot, w, in_hot);
		}
		lock_drop(&in->lock);
	}
	for (uint32_t i = 0; (inner = nested_next(in, &i, depth, true)) != NULL;) {
		settled &= instance_settle(inner, depth + 1);
		instance_put(inner);
	}
	return !instance_missed(in) && settled;
}

/* Receives find it from what is nested in it: slept_on(). */
void instance_sleep_begin(struct instance *in)
{
	__atomic_fetch_add(&in->sleepers, 1, __ATOMIC_SEQ_CST);
	if (in->group < 0)
		return;
	if (!lock_insist(&in->lock)) {
		marks_note_sleeper(in);
		return;
	}
	marks_note(in);
	lock_drop(&in->lock);
}

void instance_sleep_end(struct instance *in)
{
	__atomic_fetch_sub(&in->sleepers, 1, __ATOMIC_RELAXED);
	if (in->group < 0 || !lock_insist(&in->lock))
		return;
	marks_note(in);
	lock_drop(&in->lock);
}

/* A token, or the end of udplaned, has come. */
static void sock_woken(struct sock *s)
{
	bool news = false;

	if (!sock_take_rx(s))
		return;
	if (!s->closed && s->rx.shim.on) {
		s->rx.shim.hot = false; /* so that it becomes hot everywhere */
		instance_update(s);
		if (s->att)
			attach_look(s->att, clock_now_ns());
		news = sock_news(s);
		if (news)
			sock_ref(s);
	}
	lock_drop(&s->rx.lock);
	if (!news)
		return;
	maintain(s, true, false);
	sock_unref(s);
}

void instance_woken(struct instance *in, int depth)
{
	struct instance *inner;
	struct epoll_event ev[BATCH];
	int got;

	do {
		got = in->w >= 0 ? real_epoll_wait(in->w, ev, BATCH, 0) : 0;
		for (int i = 0; i < got; i++)
			if (ev[i].data.ptr)
				sock_woken(ev[i].data.ptr);
	} while (got == BATCH);
	for (uint32_t i = 0; (inner = nested_next(in, &i, depth, false)) != NULL;) {
		instance_woken(inner, depth + 1);
		instance_put(inner);
	}
}

/* --- maintenance --- */

void sock_want(struct sock *s)
{
	bool news = false, is_new = false;

	if (!sock_take_rx(s))
		return;
	if (!s->closed) {
		s->life.lazy = false;
		s->rx.shim.wanted = true;
		is_new = lend_is_new(s);
		news = is_new || sock_news(s);
	}
	if (news)
		sock_ref(s);
	lock_drop(&s->rx.lock);
	if (!news)
		return;
	if (is_new)
		lend_reads(s);
	maintain(s, true, false);
	sock_unref(s);
}

/* Returns up to BATCH sockets, from the *i-th on, of which it has to be told that this process
 * waits for them; with a reference to each. */
static uint32_t new_ones(struct instance *in, struct sock **s, uint32_t *i)
{
	struct watch *w;
	uint32_t n = 0, at = 0;

	if (!lock_insist(&in->lock))
		return 0;
	TAILQ_FOREACH(w, &in->all, in_instance) {
		if (at++ < *i || w->gone || !lend_is_new(w->s))
			continue;
		s[n] = sock_get(w->fd);
		n += s[n] != NULL;
		if (n == BATCH)
			break;
	}
	lock_drop(&in->lock);
	*i = at;
	return n;
}

static void instance_announce(struct instance *in)
{
	struct sock *s[BATCH];
	uint32_t i = 0, n;

	do {
		n = new_ones(in, s, &i);
		for (uint32_t j = 0; j < n; j++) {
			lend_reads(s[j]);
			sock_unref(s[j]);
		}
	} while (n == BATCH);
}

/* Returns how many sockets are due, with a reference to each. *next becomes the time at which the
 * first of the others is, if that is sooner. */
static uint32_t due(struct instance *in, struct sock **s, uint64_t *next)
{
	uint64_t now = clock_coarse_ns();
	struct watch *w;
	uint32_t n = 0;

	if (!lock_insist(&in->lock))
		return 0;
	TAILQ_FOREACH(w, &in->all, in_instance) {
		uint64_t at = __atomic_load_n(&w->s->life.retry_ns, __ATOMIC_RELAXED);

		if (__atomic_load_n(&w->s->att, __ATOMIC_RELAXED) || at == UINT64_MAX)
			continue;
		if (n == BATCH || now < at) {
			*next = at < *next ? at : *next;
			continue;
		}
		s[n] = sock_get(w->fd);
		n += s[n] != NULL;
	}
	lock_drop(&in->lock);
	return n;
}

void instance_maintain(struct instance *in, int depth)
{
	uint64_t now = clock_coarse_ns(), soon = now + SHIM_CLAIM_RETRY_NS, next;
	struct instance *inner;
	struct sock *s[BATCH];
	uint32_t n, rounds = 0;

	if (now >= __atomic_load_n(&in->maintain_ns, __ATOMIC_RELAXED)) {
		next = now + SHIM_SLEEP_NS;
		instance_announce(in);
		do {
			n = due(in, s, &next);
			if (n) /* they may have to be tried again */
				next = soon;
			for (uint32_t i = 0; i < n; i++) {
				maintain(s[i], true, false);
				sock_unref(s[i]);
			}
		} while (n == BATCH && ++rounds < 1024);
		__atomic_store_n(&in->maintain_ns, next > soon ? next : soon, __ATOMIC_RELAXED);
	}
	for (uint32_t i = 0; (inner = nested_next(in, &i, depth, false)) != NULL;) {
		instance_maintain(inner, depth + 1);
		instance_put(inner);
	}
}

bool instance_would_spin(struct instance *in)
{
	struct watch *w;
	bool awake = false;
	uint32_t n = 0;

	if (context.spin_ns && in->group >= 0)
		return marks_awake(in);
	if (!context.spin_ns || TAILQ_EMPTY(&in->hot) || !lock_insist(&in->lock))
		return false;
	TAILQ_FOREACH(w, &in->hot, in_hot) {
		if (++n > BATCH) {
			awake = false; /* a look at so many takes as long as a sleep */
			break;
		}
		if (awake || !lock_try(&w->s->rx.lock))
			continue;
		awake = w->s->rx.rxq_cnt && attach_awake(w->s->att);
		lock_drop(&w->s->rx.lock);
	}
	lock_drop(&in->lock);
	return awake;
}
