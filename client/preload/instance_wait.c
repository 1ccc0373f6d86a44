/* SPDX-License-Identifier: Apache-2.0 */
/* Epoll instances of the program: what rings have for them, and the way to sleep and back. */
#include "client/attach.h"
#include "client/context.h"
#include "client/detach.h"
#include "client/life.h"
#include "client/lock.h"
#include "client/preload/instance.h"
#include "client/queue.h"
#include "client/ready.h"
#include "client/rxq.h"
#include "client/sock.h"
#include "client/table.h"
#include <sys/epoll.h>
#include <udplane/clock.h>

#define NESTED_MAX 16 /* nested instances in one that are looked at */
#define BATCH	   32

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

static bool wants_input(const struct watch *w)
{
	return w->armed && (w->events & (EPOLLIN | EPOLLRDNORM));
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

static uint32_t nested_of(struct instance *in, struct instance **inner)
{
	struct watch *w;
	uint32_t n = 0;

	if (TAILQ_EMPTY(&in->nested) || !lock_insist(&in->lock))
		return 0;
	TAILQ_FOREACH(w, &in->nested, in_instance)
		if (n < NESTED_MAX && wants_input(w))
			inner[n++] = w->inner;
	lock_drop(&in->lock);
	return n;
}

bool instance_ready(struct instance *in, uint64_t *mark, int depth)
{
	struct instance *inner[NESTED_MAX];
	struct watch *w;
	bool ready = false;
	uint32_t n = depth < SHIM_DEPTH ? nested_of(in, inner) : 0;

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
	for (uint32_t i = 0; i < n; i++)
		ready |= instance_ready(inner[i], mark, depth + 1);
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
	real_epoll_ctl(ep, EPOLL_CTL_MOD, w->fd, &ev);
}

/* Copies are looked at, since the instance's lock is not held meanwhile. */
static void report_nested(struct instance *in, struct epoll_event *ev, int kernel, int *cnt,
			  int max)
{
	struct watch copy[NESTED_MAX], *of[NESTED_MAX], *w;
	uint32_t n = 0;

	if (!lock_insist(&in->lock))
		return;
	TAILQ_FOREACH(w, &in->nested, in_instance) {
		if (n == NESTED_MAX || !wants_input(w))
			continue;
		of[n] = w;
		copy[n++] = *w;
	}
	lock_drop(&in->lock);
	for (uint32_t i = 0; i < n; i++) {
		uint64_t mark = 0;

		if (!instance_ready(copy[i].inner, &mark, 1) ||
		    ((copy[i].events & EPOLLET) && mark == copy[i].seen))
			continue;
		if (!add_event(ev, kernel, cnt, max, &copy[i]))
			return;
		of[i]->seen = mark;
	}
}

int instance_report(struct instance *in, int ep, struct epoll_event *ev, int have, int max)
{
	int cnt = have;
	struct watch *w, *next, *last;

	if (!TAILQ_EMPTY(&in->nested))
		report_nested(in, ev, have, &cnt, max);
	if (TAILQ_EMPTY(&in->hot) || !lock_insist(&in->lock))
		return cnt;
	last = TAILQ_LAST(&in->hot, watch_list);
	for (w = TAILQ_FIRST(&in->hot); w; w = next) {
		uint64_t mark = 0;

		next = w == last ? NULL : TAILQ_NEXT(w, in_hot);
		if (!watch_due(w, &mark))
			continue;
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

static struct watch *find_oneshot(struct instance *in, uint64_t data)
{
	struct watch *w;

	TAILQ_FOREACH(w, &in->all, in_instance)
		if ((w->events & EPOLLONESHOT) && w->data.u64 == data)
			return w;
	return NULL;
}

int instance_filter(struct instance *in, int ep, struct epoll_event *ev, int have)
{
	int n = 0;

	if (have <= 0 || !__atomic_load_n(&in->oneshot_cnt, __ATOMIC_RELAXED) ||
	    !lock_insist(&in->lock))
		return have;
	for (int i = 0; i < have; i++) {
		struct watch *w = find_oneshot(in, ev[i].data.u64);

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
		cold = !rx_settle(s);
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
	struct instance *inner[NESTED_MAX];
	struct watch *w, *next;
	uint32_t n = depth < SHIM_DEPTH ? nested_of(in, inner) : 0;
	bool settled = true;

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
	for (uint32_t i = 0; i < n; i++)
		settled &= instance_settle(inner[i], depth + 1);
	return !instance_missed(in) && settled;
}

void instance_sleep_begin(struct instance *in, int depth)
{
	struct instance *inner[NESTED_MAX];
	uint32_t n = depth < SHIM_DEPTH ? nested_of(in, inner) : 0;

	__atomic_fetch_add(&in->sleepers, 1, __ATOMIC_SEQ_CST);
	for (uint32_t i = 0; i < n; i++)
		instance_sleep_begin(inner[i], depth + 1);
}

void instance_sleep_end(struct instance *in, int depth)
{
	struct instance *inner[NESTED_MAX];
	uint32_t n = depth < SHIM_DEPTH ? nested_of(in, inner) : 0;

	__atomic_fetch_sub(&in->sleepers, 1, __ATOMIC_RELAXED);
	for (uint32_t i = 0; i < n; i++)
		instance_sleep_end(inner[i], depth + 1);
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
	struct instance *inner[NESTED_MAX];
	struct epoll_event ev[BATCH];
	uint32_t n = depth < SHIM_DEPTH ? nested_of(in, inner) : 0;
	int got;

	do {
		got = in->w >= 0 ? real_epoll_wait(in->w, ev, BATCH, 0) : 0;
		for (int i = 0; i < got; i++)
			if (ev[i].data.ptr)
				sock_woken(ev[i].data.ptr);
	} while (got == BATCH);
	for (uint32_t i = 0; i < n; i++)
		instance_woken(inner[i], depth + 1);
}

/* --- maintenance --- */

void sock_want(struct sock *s)
{
	bool news = false;

	if (!sock_take_rx(s))
		return;
	if (!s->closed) {
		s->life.lazy = false;
		news = sock_news(s);
	}
	if (news)
		sock_ref(s);
	lock_drop(&s->rx.lock);
	if (!news)
		return;
	maintain(s, true, false);
	sock_unref(s);
}

/* Returns how many sockets are due, with a reference to each. *unclaimed: some have no claim. */
static uint32_t due(struct instance *in, struct sock **s, bool *unclaimed)
{
	struct watch *w;
	uint32_t n = 0;

	if (!lock_insist(&in->lock))
		return 0;
	TAILQ_FOREACH(w, &in->all, in_instance) {
		uint64_t at = __atomic_load_n(&w->s->life.retry_ns, __ATOMIC_RELAXED);

		if (__atomic_load_n(&w->s->att, __ATOMIC_RELAXED) || at == UINT64_MAX)
			continue;
		*unclaimed = true;
		if (n == BATCH || clock_coarse_ns() < at)
			continue;
		s[n] = sock_get(w->fd);
		n += s[n] != NULL;
	}
	lock_drop(&in->lock);
	return n;
}

uint64_t instance_maintain(struct instance *in, int depth)
{
	struct instance *inner[NESTED_MAX];
	struct sock *s[BATCH];
	uint64_t now = clock_coarse_ns(), sleep = SHIM_SLEEP_NS;
	bool unclaimed = false;
	uint32_t n, rounds = 0;

	if (now >= __atomic_load_n(&in->maintain_ns, __ATOMIC_RELAXED)) {
		do {
			n = due(in, s, &unclaimed);
			for (uint32_t i = 0; i < n; i++) {
				maintain(s[i], true, false);
				sock_unref(s[i]);
			}
		} while (n == BATCH && ++rounds < 1024);
		__atomic_store_n(&in->maintain_ns,
				 now + (unclaimed ? SHIM_CLAIM_RETRY_NS : SHIM_SLEEP_NS),
				 __ATOMIC_RELAXED);
	}
	n = depth < SHIM_DEPTH ? nested_of(in, inner) : 0;
	for (uint32_t i = 0; i < n; i++)
		instance_maintain(inner[i], depth + 1);
	return sleep;
}

bool instance_would_spin(struct instance *in)
{
	struct watch *w;
	bool awake = false;
	uint32_t n = 0;

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
