/* SPDX-License-Identifier: Apache-2.0 */
/* See waitset.h. */
#include "client/preload/waitset.h"
#include "client/attach.h"
#include "client/context.h"
#include "client/detach.h"
#include "client/life.h"
#include "client/lock.h"
#include "client/preload/clock.h"
#include "client/preload/instance.h"
#include "client/preload/spin.h"
#include "client/ready.h"
#include "client/table.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void waitset_init(struct waitset *set)
{
	set->w = set->few;
	set->cnt = 0;
	set->room = WAITSET_FEW;
}

static bool grow(struct waitset *set)
{
	struct waited *more = malloc(2 * set->room * sizeof(*more));

	if (!more)
		return false;
	memcpy(more, set->w, set->cnt * sizeof(*more));
	if (set->w != set->few)
		free(set->w);
	set->w = more;
	set->room *= 2;
	return true;
}

void waitset_add(struct waitset *set, int fd, uint32_t index)
{
	struct waited w = {.fd = fd, .index = index};

	w.s = sock_get(fd);
	if (!w.s)
		w.in = instance_get(fd);
	if (!w.s && !w.in)
		return;
	if (set->cnt < set->room || grow(set)) {
		set->w[set->cnt++] = w;
		return;
	}
	if (w.s)
		sock_unref(w.s);
	else
		instance_put(w.in);
}

void waitset_end(struct waitset *set)
{
	for (uint32_t i = 0; i < set->cnt; i++) {
		if (set->w[i].s)
			sock_unref(set->w[i].s);
		else
			instance_put(set->w[i].in);
	}
	if (set->w != set->few)
		free(set->w);
}

static bool has_rings(struct sock *s)
{
	return __atomic_load_n(&s->att, __ATOMIC_SEQ_CST) || s->rx.saved || s->rx.queue ||
	       s->rx.error;
}

/* Claims what is due. Returns true if rings have to be looked at. */
static bool maintain_all(struct waitset *set)
{
	bool rings = false;

	for (uint32_t i = 0; i < set->cnt; i++) {
		struct waited *w = &set->w[i];

		if (w->s) {
			sock_want(w->s);
			rings |= has_rings(w->s);
		} else {
			instance_maintain(w->in, 0);
			rings |= __atomic_load_n(&w->in->active, __ATOMIC_SEQ_CST);
		}
	}
	return rings;
}

bool waited_ready(struct waited *w)
{
	uint64_t mark = 0;
	bool any = false;

	if (!w->s)
		return __atomic_load_n(&w->in->active, __ATOMIC_RELAXED) &&
		       instance_ready(w->in, &mark, 0);
	if (sock_take_rx(w->s)) {
		any = !w->s->closed && table_get(w->fd) == w->s && sock_any(w->s);
		lock_drop(&w->s->rx.lock);
	}
	return any;
}

static bool any_ready(struct waitset *set)
{
	for (uint32_t i = 0; i < set->cnt; i++)
		if (waited_ready(&set->w[i]))
			return true;
	return false;
}

static bool would_spin(struct waitset *set)
{
	bool awake = false;

	if (!context.spin_ns || set->cnt > WAITSET_FEW)
		return false;
	for (uint32_t i = 0; i < set->cnt && !awake; i++) {
		struct sock *s = set->w[i].s;

		if (!s) {
			awake = instance_would_spin(set->w[i].in);
		} else if (sock_take_rx(s)) {
			awake = s->rx.rxq_cnt && attach_awake(s->att);
			lock_drop(&s->rx.lock);
		}
	}
	return awake;
}

static bool spun(struct waitset *set, uint64_t limit, const struct waitset_calls *calls, void *wait)
{
	struct spin spin;

	if (!would_spin(set))
		return false;
	spin_begin(&spin, limit);
	while (spin_more(&spin))
		if (any_ready(set) || (spin_look_due(&spin) && calls->look(wait) > 0))
			return true;
	return false;
}

int waitset_wait(struct waitset *set, uint64_t limit, const struct waitset_calls *calls, void *wait)
{
	bool spin = true;
	int n, err;

	for (;;) {
		bool rings = maintain_all(set);

		n = calls->look(wait);
		if (n || !limit || (limit != NO_LIMIT && clock_now_ns() >= limit))
			return n;
		if (rings && spin && spun(set, limit, calls, wait))
			continue;
		spin = false;
		if (calls->nap(wait, rings) == 0)
			continue;
		err = errno;
		n = err == EINTR ? calls->look(wait) : 0;
		if (n > 0)
			return n;
		errno = err;
		return -1;
	}
}

uint64_t waitset_plain_begin(struct waitset *set)
{
	uint64_t most = NO_LIMIT;

	for (uint32_t i = 0; i < set->cnt; i++) {
		struct waited *w = &set->w[i];

		__atomic_fetch_add(w->s ? &w->s->rx.shim.plain : &w->in->plain, 1,
				   __ATOMIC_SEQ_CST);
		if (w->s ? __atomic_load_n(&w->s->life.retry_ns, __ATOMIC_RELAXED) != UINT64_MAX
			 : !TAILQ_EMPTY(&w->in->all) || !TAILQ_EMPTY(&w->in->nested))
			most = SHIM_SLEEP_NS;
	}
	if (__atomic_load_n(&context.claiming, __ATOMIC_SEQ_CST))
		most = SHIM_SLEEP_CLAIM_NS;
	for (uint32_t i = 0; i < set->cnt; i++) {
		struct waited *w = &set->w[i];

		if (w->s ? has_rings(w->s) : __atomic_load_n(&w->in->active, __ATOMIC_SEQ_CST))
			most = 0;
	}
	return most;
}

void waitset_plain_end(struct waitset *set)
{
	for (uint32_t i = 0; i < set->cnt; i++)
		__atomic_fetch_sub(set->w[i].s ? &set->w[i].s->rx.shim.plain : &set->w[i].in->plain,
				   1, __ATOMIC_RELEASE);
}

/* Makes ep of s exact. Returns false if something is there. */
static bool settle(struct waited *w)
{
	struct sock *s = w->s;
	bool ready;

	if (!sock_take_rx(s))
		return lock_mine(&s->rx.lock);
	s->rx.kernel_run = 0; /* the kernel has just been found empty */
	ready = !s->closed && table_get(w->fd) == s && rx_settle(s);
	lock_drop(&s->rx.lock);
	return !ready;
}

bool waitset_sleep_begin(struct waitset *set, uint64_t *most)
{
	bool settled = true;

	set->blind = false;
	for (uint32_t i = 0; i < set->cnt; i++) {
		struct waited *w = &set->w[i];

		if (w->s) {
			__atomic_fetch_add(&w->s->rx.shim.sleepers, 1, __ATOMIC_SEQ_CST);
			settled &= settle(w);
		} else {
			set->blind |= !instance_make_w(w->in, 0);
			instance_sleep_begin(w->in);
			settled &= instance_settle(w->in, 0);
		}
	}
	*most = set->blind ? SHIM_CLAIM_RETRY_NS : SHIM_SLEEP_NS;
	if (__atomic_load_n(&context.claiming, __ATOMIC_SEQ_CST))
		*most = SHIM_SLEEP_CLAIM_NS;
	return settled;
}

void waitset_sleep_end(struct waitset *set)
{
	int err = errno; /* of the sleep */

	for (uint32_t i = 0; i < set->cnt; i++) {
		struct waited *w = &set->w[i];

		if (w->s) {
			__atomic_fetch_sub(&w->s->rx.shim.sleepers, 1, __ATOMIC_RELAXED);
		} else {
			instance_sleep_end(w->in);
			instance_woken(w->in, 0);
			if (set->blind)
				instance_heat(w->in, 0);
		}
	}
	errno = err;
}

int waited_fd(const struct waited *w)
{
	return w->s ? w->s->ep : w->in->w;
}
