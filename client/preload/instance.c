/* SPDX-License-Identifier: Apache-2.0 */
/* Epoll instances of the program: the records, and their descriptors. Waiting: wait.c. */
#include "client/preload/instance.h"
#include "client/claim.h"
#include "client/context.h"
#include "client/detach.h"
#include "client/life.h"
#include "client/lock.h"
#include "client/own.h"
#include "client/ready.h"
#include "client/rxq.h"
#include "client/sock.h"
#include "client/table.h"
#include "client/visit.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <udplane/abi.h>

/* --- descriptors --- */

static struct lock lock; /* of the lists of free ones */
static struct instance *free_instances;
static struct watch_list free_watches = TAILQ_HEAD_INITIALIZER(free_watches);
static struct instance **chunk[TABLE_CHUNKS];

static struct instance **slot_of(int fd)
{
	struct instance **c;

	if ((uint32_t)fd >= TABLE_CHUNK * TABLE_CHUNKS)
		return NULL;
	c = __atomic_load_n(&chunk[(uint32_t)fd / TABLE_CHUNK], __ATOMIC_ACQUIRE);
	return c ? &c[(uint32_t)fd % TABLE_CHUNK] : NULL;
}

bool instance_known(int fd)
{
	struct instance **slot = slot_of(fd);

	return slot && __atomic_load_n(slot, __ATOMIC_RELAXED);
}

struct instance *instance_get(int fd)
{
	struct instance **slot = slot_of(fd), *in;
	uint32_t refs;

	in = slot ? __atomic_load_n(slot, __ATOMIC_ACQUIRE) : NULL;
	if (!in)
		return NULL;
	refs = __atomic_load_n(&in->refs, __ATOMIC_RELAXED);
	do {
		if (!refs)
			return NULL;
	} while (!__atomic_compare_exchange_n(&in->refs, &refs, refs + 1, true, __ATOMIC_SEQ_CST,
					      __ATOMIC_RELAXED));
	if (__atomic_load_n(slot, __ATOMIC_ACQUIRE) == in)
		return in;
	instance_put(in);
	return NULL;
}

static uint32_t is_oneshot(const struct sock *s, uint32_t events)
{
	return s && (events & EPOLLONESHOT);
}

static uint32_t is_output(const struct sock *s, uint32_t events)
{
	return s && (events & EPOLLOUT) && !(events & EPOLLET);
}

/* Removes a watch from its lists. Both locks held; the inner instance's in place of the
 * socket's. */
static void watch_drop(struct watch *w)
{
	struct watch **at = w->s ? &w->s->rx.shim.watch : &w->inner->outer;

	while (*at && *at != w)
		at = &(*at)->next_of_sock;
	if (*at)
		*at = w->next_of_sock;
	if (w->hot)
		TAILQ_REMOVE(&w->in->hot, w, in_hot);
	w->in->oneshot_cnt -= is_oneshot(w->s, w->events);
	w->in->output_cnt -= is_output(w->s, w->events);
	TAILQ_REMOVE(w->s ? &w->in->all : &w->in->nested, w, in_instance);
	if (!lock_insist(&lock))
		return;
	TAILQ_INSERT_HEAD(&free_watches, w, in_instance);
	lock_drop(&lock);
}

/* The instance has no descriptor any more. A watch goes under both its locks, so its socket's is
 * taken first. */
static void instance_empty(struct instance *in)
{
	for (;;) {
		struct watch *w;
		struct sock *s;

		if (!lock_insist(&in->lock))
			return;
		w = TAILQ_FIRST(&in->nested);
		if (w && (lock_try(&w->inner->lock))) {
			struct instance *inner = w->inner;

			watch_drop(w);
			lock_drop(&inner->lock);
			lock_drop(&in->lock);
			continue;
		}
		w = TAILQ_FIRST(&in->all);
		if (w && lock_try(&w->s->rx.lock)) {
			s = w->s;
			watch_drop(w);
			lock_drop(&s->rx.lock);
		}
		lock_drop(&in->lock);
		if (!w)
			return;
	}
}

void instance_put(struct instance *in)
{
	if (__atomic_sub_fetch(&in->refs, 1, __ATOMIC_SEQ_CST))
		return;
	own_close(&in->w);
	if (!lock_insist(&lock))
		return;
	in->next_free = free_instances;
	free_instances = in;
	lock_drop(&lock);
}

static struct instance *instance_alloc(void)
{
	struct instance *in = NULL;

	if (lock_insist(&lock)) {
		in = free_instances;
		if (in)
			free_instances = in->next_free;
		lock_drop(&lock);
	}
	if (!in)
		in = calloc(1, sizeof(*in));
	return in;
}

static bool slot_make(int fd)
{
	struct instance **c, *none = NULL;
	uint32_t i = (uint32_t)fd / TABLE_CHUNK;

	(void)none;
	if (fd < 0 || i >= TABLE_CHUNKS)
		return false;
	if (slot_of(fd))
		return true;
	if (!lock_insist(&lock))
		return false;
	c = chunk[i];
	if (!c) {
		c = calloc(TABLE_CHUNK, sizeof(*c));
		__atomic_store_n(&chunk[i], c, __ATOMIC_RELEASE);
	}
	lock_drop(&lock);
	return c != NULL;
}

void instance_new(int fd, bool unknown)
{
	struct instance *in, *none = NULL;

	if (!slot_make(fd) || !(in = instance_alloc()))
		return;
	in->links = 1;
	in->w = -1;
	TAILQ_INIT(&in->all);
	TAILQ_INIT(&in->hot);
	TAILQ_INIT(&in->nested);
	in->outer = NULL;
	in->oneshot_cnt = in->output_cnt = in->plain = in->sleepers = in->looks = 0;
	in->active = false;
	in->unknown = unknown;
	in->missed = false;
	in->kernel_idle = false;
	in->maintain_ns = 0;
	__atomic_store_n(&in->refs, 1, __ATOMIC_SEQ_CST);
	if (!__atomic_compare_exchange_n(slot_of(fd), &none, in, false, __ATOMIC_SEQ_CST,
					 __ATOMIC_RELAXED))
		instance_put(in); /* another thread was faster */
}

void instance_link(int fd, int to)
{
	struct instance *in = instance_get(fd);

	if (!in)
		return;
	if (!slot_make(to)) {
		instance_put(in);
		return;
	}
	__atomic_add_fetch(&in->links, 1, __ATOMIC_RELAXED);
	__atomic_store_n(slot_of(to), in, __ATOMIC_RELEASE); /* with the reference */
}

void instance_forget(int fd)
{
	struct instance **slot = slot_of(fd), *in;

	in = slot ? __atomic_exchange_n(slot, NULL, __ATOMIC_SEQ_CST) : NULL;
	if (!in)
		return;
	if (__atomic_sub_fetch(&in->links, 1, __ATOMIC_RELAXED) == 0) {
		for (bool more = true; more;) { /* what it is nested in */
			struct watch *w;
			struct instance *outer;

			if (!lock_insist(&in->lock))
				break;
			w = in->outer;
			outer = w ? w->in : NULL;
			if (w && lock_try(&outer->lock)) {
				watch_drop(w);
				lock_drop(&outer->lock);
			}
			more = w != NULL;
			lock_drop(&in->lock);
		}
		instance_empty(in);
	}
	instance_put(in);
}

/* --- watches --- */

static bool wants_input(const struct watch *w)
{
	return w->armed && (w->events & (EPOLLIN | EPOLLRDNORM));
}

static struct watch *watch_find(struct watch *first, const struct instance *in, int fd)
{
	while (first && (first->in != in || first->fd != fd))
		first = first->next_of_sock;
	return first;
}

/* Makes waits on it, and on what it is in, look at rings. */
static void instance_activate(struct instance *in, int depth)
{
	__atomic_store_n(&in->active, true, __ATOMIC_SEQ_CST);
	for (struct watch *w = in->outer; w && depth < SHIM_DEPTH; w = w->next_of_sock)
		instance_activate(w->in, depth + 1);
}

/* Adds what the watch is on to w. The instance's lock held. */
static void w_add(struct instance *in, const struct watch *w)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.ptr = w->s};
	int fd = w->s ? w->s->ep : w->inner->w;

	if (in->w >= 0 && fd >= 0 && real_epoll_ctl(in->w, EPOLL_CTL_ADD, fd, &ev))
		real_epoll_ctl(in->w, EPOLL_CTL_MOD, fd, &ev);
}

static bool w_make(struct instance *in, int depth)
{
	struct watch *w;

	if (in->w < 0)
		in->w = own_take(real_epoll_create1(EPOLL_CLOEXEC));
	if (in->w < 0)
		return false;
	TAILQ_FOREACH(w, &in->all, in_instance)
		w_add(in, w);
	TAILQ_FOREACH(w, &in->nested, in_instance) {
		if (depth < SHIM_DEPTH && w->inner->w < 0 && lock_try(&w->inner->lock)) {
			w_make(w->inner, depth + 1);
			lock_drop(&w->inner->lock);
		}
		w_add(in, w);
	}
	return true;
}

bool instance_make_w(struct instance *in)
{
	bool made = in->w >= 0;

	if (!made && lock_insist(&in->lock)) {
		made = w_make(in, 0);
		lock_drop(&in->lock);
	}
	return made;
}

void instance_lost_w(struct instance *in)
{
	if (!lock_insist(&in->lock))
		return;
	if (!own_is(in->w))
		in->w = -1;
	lock_drop(&in->lock);
}

static void watch_heat(struct watch *w)
{
	if (w->hot)
		return;
	w->hot = true;
	TAILQ_INSERT_TAIL(&w->in->hot, w, in_hot);
}

static bool slept_on(const struct instance *in, int depth)
{
	if (__atomic_load_n(&in->sleepers, __ATOMIC_SEQ_CST))
		return true;
	for (const struct watch *w = in->outer; w && depth < SHIM_DEPTH; w = w->next_of_sock)
		if (slept_on(w->in, depth + 1))
			return true;
	return false;
}

static bool waited_plainly(const struct instance *in, int depth)
{
	if (__atomic_load_n(&in->plain, __ATOMIC_SEQ_CST) ||
	    __atomic_load_n(&in->unknown, __ATOMIC_RELAXED))
		return true;
	for (const struct watch *w = in->outer; w && depth < SHIM_DEPTH; w = w->next_of_sock)
		if (waited_plainly(w->in, depth + 1))
			return true;
	return false;
}

static void sock_heat(struct sock *s)
{
	s->rx.shim.hot = true;
	for (struct watch *w = s->rx.shim.watch; w; w = w->next_of_sock) {
		if (!lock_insist(&w->in->lock)) {
			__atomic_store_n(&w->in->missed, true, __ATOMIC_SEQ_CST);
			continue;
		}
		watch_heat(w);
		lock_drop(&w->in->lock);
	}
}

bool instance_missed(struct instance *in)
{
	struct watch *w;

	if (!__atomic_load_n(&in->missed, __ATOMIC_SEQ_CST) || !lock_insist(&in->lock))
		return false;
	__atomic_store_n(&in->missed, false, __ATOMIC_SEQ_CST);
	TAILQ_FOREACH(w, &in->all, in_instance)
		watch_heat(w);
	lock_drop(&in->lock);
	return true;
}

/* Wakes one that sleeps on w: the edge anew. */
static void kick(const struct sock *s)
{
	for (struct watch *w = s->rx.shim.watch; w; w = w->next_of_sock) {
		struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.ptr = w->s};

		if (wants_input(w) && !(w->events & EPOLLET) && w->in->w >= 0 && slept_on(w->in, 0))
			real_epoll_ctl(w->in->w, EPOLL_CTL_MOD, s->ep, &ev);
	}
}

/* The order: a thread that goes to sleep counts itself in sleepers, then settles the hot sockets
 * under the instance's lock, each under its rx.lock. So either it sees what this call has left in
 * the ring, or this call sees it in sleepers. */
void instance_update(struct sock *s)
{
	bool slept = __atomic_load_n(&s->rx.shim.sleepers, __ATOMIC_RELAXED);

	if (!s->rx.shim.hot)
		sock_heat(s);
	for (struct watch *w = s->rx.shim.watch; w && !slept; w = w->next_of_sock)
		slept = slept_on(w->in, 0);
	if (slept && rx_settle(s))
		kick(s);
}

bool instance_may_claim(struct sock *s)
{
	bool may = !__atomic_load_n(&s->rx.shim.plain, __ATOMIC_SEQ_CST) && !sock_awaited(s);

	for (struct watch *w = s->rx.shim.watch; w; w = w->next_of_sock) {
		if (!waited_plainly(w->in, 0))
			continue;
		instance_activate(w->in, 0); /* the next wait will not be a plain one */
		may = false;
	}
	return may;
}

void instance_claimed(struct sock *s)
{
	for (struct watch *w = s->rx.shim.watch; w; w = w->next_of_sock) {
		if (!lock_insist(&w->in->lock))
			continue;
		instance_activate(w->in, 0);
		w_add(w->in, w);
		lock_drop(&w->in->lock);
	}
}

void instance_closed(struct sock *s)
{
	struct watch *w;

	while ((w = s->rx.shim.watch) != NULL) {
		struct instance *in = w->in;

		if (!lock_insist(&in->lock))
			break;
		watch_drop(w);
		lock_drop(&in->lock);
	}
	s->rx.shim.watch = NULL;
}

void instances_forked(void)
{
	memset(&lock, 0, sizeof(lock));
	for (uint32_t i = 0; i < TABLE_CHUNKS; i++) {
		for (uint32_t j = 0; chunk[i] && j < TABLE_CHUNK; j++) {
			struct instance *in = chunk[i][j];

			if (!in)
				continue;
			memset(&in->lock, 0, sizeof(in->lock));
			in->refs = in->links;
			in->plain = in->sleepers = 0;
			own_close(&in->w); /* it is the parent's, too: another takes its place */
		}
	}
}

/* --- epoll_ctl --- */

static struct watch *watch_alloc(void)
{
	struct watch *w = NULL;

	if (lock_insist(&lock)) {
		w = TAILQ_FIRST(&free_watches);
		if (w)
			TAILQ_REMOVE(&free_watches, w, in_instance);
		lock_drop(&lock);
	}
	return w ? w : calloc(1, sizeof(*w));
}

static void watch_set(struct watch *w, const struct epoll_event *ev)
{
	struct instance *in = w->in;

	in->oneshot_cnt += is_oneshot(w->s, ev->events) - is_oneshot(w->s, w->events);
	in->output_cnt += is_output(w->s, ev->events) - is_output(w->s, w->events);
	w->events = ev->events;
	w->data = ev->data;
	w->armed = true;
	w->gen++;
	w->seen = UINT64_MAX;
	if (w->s)
		watch_heat(w);
}

static void watch_new(struct instance *in, int fd, const struct epoll_event *ev, struct sock *s,
		      struct instance *inner)
{
	struct watch *w = watch_alloc(), **first = s ? &s->rx.shim.watch : &inner->outer;

	if (!w)
		return;
	memset(w, 0, sizeof(*w));
	w->in = in;
	w->s = s;
	w->inner = inner;
	w->fd = fd;
	w->next_of_sock = *first;
	*first = w;
	if (s)
		TAILQ_INSERT_TAIL(&in->all, w, in_instance);
	else
		TAILQ_INSERT_TAIL(&in->nested, w, in_instance);
	watch_set(w, ev);
	if (s ? s->att || s->rx.saved || s->rx.queue : inner->active)
		instance_activate(in, 0);
	w_add(in, w);
}

/* Two registrations that cannot be told apart by what epoll_wait() returns. */
static bool oneshot_is_ambiguous(const struct instance *in, const struct epoll_event *ev,
				 const struct sock *s)
{
	const struct watch *w;

	TAILQ_FOREACH(w, &in->all, in_instance)
		if (w->s != s && (w->events & EPOLLONESHOT) && w->data.u64 == ev->data.u64)
			return true;
	return false;
}

/* Both locks held. Returns false if the socket cannot be accelerated any more. */
static bool record(struct instance *in, int op, int fd, const struct epoll_event *ev,
		   struct sock *s, struct instance *inner)
{
	struct watch *w = watch_find(s ? s->rx.shim.watch : inner->outer, in, fd);
	bool last = true;

	if (op == EPOLL_CTL_DEL) {
		if (!w)
			return true;
		watch_drop(w);
		for (w = s ? s->rx.shim.watch : inner->outer; w; w = w->next_of_sock)
			last &= w->in != in;
		if (last && in->w >= 0)
			real_epoll_ctl(in->w, EPOLL_CTL_DEL, s ? s->ep : inner->w, NULL);
		return true;
	}
	if (w)
		watch_set(w, ev);
	else
		watch_new(in, fd, ev, s, inner);
	return !s || !(ev->events & EPOLLONESHOT) || !oneshot_is_ambiguous(in, ev, s);
}

int instance_ctl(struct instance *in, int ep, int op, int fd, struct epoll_event *ev,
		 struct sock *s, struct instance *inner)
{
	bool locked = s ? sock_insist_rx(s) : lock_insist(&inner->lock), both, good = false;
	int r;

	both = locked && lock_insist(&in->lock);
	r = real_epoll_ctl(ep, op, fd, ev);
	if (both && r == 0)
		good = record(in, op, fd, ev, s, inner);
	if (both)
		lock_drop(&in->lock);
	if (both && r == 0 && s && op != EPOLL_CTL_DEL) {
		s->rx.shim.hot = false; /* hot in all of its instances */
		instance_update(s);	/* wakes who sleeps, if it is readable */
	}
	if (locked)
		lock_drop(s ? &s->rx.lock : &inner->lock);
	if (r == 0 && s && !good)
		claim_later(s, LATE_KERNEL, UDPLANE_REASON_OPTION,
			    "two EPOLLONESHOT registrations have the same data");
	return r;
}
