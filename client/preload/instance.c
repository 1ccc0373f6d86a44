/* SPDX-License-Identifier: Apache-2.0 */
/* Epoll instances of the program: the records, and their descriptors. Waiting: instance_wait.c. */
#include "client/preload/instance.h"
#include "client/claim.h"
#include "client/context.h"
#include "client/detach.h"
#include "client/life.h"
#include "client/lock.h"
#include "client/own.h"
#include "client/preload/marks.h"
#include "client/ready.h"
#include "client/rxq.h"
#include "client/sock.h"
#include "client/table.h"
#include "client/visit.h"
#include <errno.h>
#include <sched.h>
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

bool instance_ref(struct instance *in)
{
	uint32_t refs = __atomic_load_n(&in->refs, __ATOMIC_RELAXED);

	do {
		if (!refs)
			return false;
	} while (!__atomic_compare_exchange_n(&in->refs, &refs, refs + 1, true, __ATOMIC_SEQ_CST,
					      __ATOMIC_RELAXED));
	return true;
}

struct instance *instance_get(int fd)
{
	struct instance **slot = slot_of(fd), *in;

	in = slot ? __atomic_load_n(slot, __ATOMIC_ACQUIRE) : NULL;
	if (!in || !instance_ref(in))
		return NULL;
	if (__atomic_load_n(slot, __ATOMIC_ACQUIRE) == in)
		return in;
	instance_put(in);
	return NULL;
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
	if (w->events & EPOLLONESHOT)
		oneshot_remove(w);
	w->in->output_cnt -= is_output(w->s, w->events);
	TAILQ_REMOVE(w->s ? &w->in->all : &w->in->nested, w, in_instance);
	w->in->sock_cnt -= w->s != NULL;
	if (!lock_insist(&lock))
		return;
	TAILQ_INSERT_HEAD(&free_watches, w, in_instance);
	lock_drop(&lock);
}

/* A watch goes under both its locks; the second is tried, out of order. */
enum dropped { DROPPED, DROP_BUSY, DROP_NEVER };
static enum dropped drop_with(struct watch *w, struct lock *other)
{
	if (!lock_try(other)) /* a call that this one, in a handler, has interrupted cannot end */
		return lock_mine(other) ? DROP_NEVER : DROP_BUSY;
	watch_drop(w);
	lock_drop(other);
	return DROPPED;
}

/* Drops one watch in it or on it. Returns false if there is none. */
static bool drop_any(struct instance *in, enum dropped *how)
{
	struct watch *w;

	*how = DROP_NEVER;
	if (!lock_insist(&in->lock))
		return true;
	if ((w = in->outer) != NULL)
		*how = drop_with(w, &w->in->lock);
	else if ((w = TAILQ_FIRST(&in->nested)) != NULL)
		*how = drop_with(w, &w->inner->lock);
	else if ((w = TAILQ_FIRST(&in->all)) != NULL)
		*how = drop_with(w, &w->s->rx.lock);
	lock_drop(&in->lock);
	return w != NULL;
}

/* The instance has no descriptor any more. Returns false if watches are left. */
static bool instance_empty(struct instance *in)
{
	enum dropped how;

	while (drop_any(in, &how)) {
		if (how == DROP_NEVER)
			return false;
		if (how == DROP_BUSY)
			sched_yield();
	}
	return true;
}

void instance_put(struct instance *in)
{
	if (__atomic_sub_fetch(&in->refs, 1, __ATOMIC_SEQ_CST))
		return;
	/* once more: epoll_ctl() of another thread may have come after the close. If a handler
	 * cannot, the memory is lost. */
	if (!instance_empty(in))
		return;
	own_close(&in->w);
	marks_forget(in);
	if (!lock_insist(&lock))
		return;
	in->next_free = free_instances;
	free_instances = in;
	lock_drop(&lock);
}

/* The lock is not kept, since it comes after the inner one's. */
struct instance *nested_next(struct instance *in, uint32_t *i, int depth, bool armed)
{
	struct instance *found = NULL;
	struct watch *w;
	uint32_t n = 0;

	if (depth >= SHIM_DEPTH || TAILQ_EMPTY(&in->nested) || !lock_insist(&in->lock))
		return NULL;
	TAILQ_FOREACH(w, &in->nested, in_instance) {
		if (n++ < *i || (armed && !wants_input(w)) || !instance_ref(w->inner))
			continue;
		found = w->inner;
		break;
	}
	lock_drop(&in->lock);
	*i = n;
	return found;
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
	struct instance **c;
	uint32_t i = (uint32_t)fd / TABLE_CHUNK;

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

	if (!unknown)
		instance_forget(fd); /* the program has closed it without our knowledge */
	if (!slot_make(fd) || !(in = instance_alloc()))
		return;
	in->links = 1;
	in->w = -1;
	TAILQ_INIT(&in->all);
	TAILQ_INIT(&in->hot);
	TAILQ_INIT(&in->nested);
	in->outer = NULL;
	in->oneshot_cnt = in->output_cnt = in->plain = in->sleepers = in->looks = 0;
	in->sock_cnt = 0;
	in->group = -1;
	in->att = NULL;
	in->active = false;
	in->unknown = unknown;
	in->passed = false;
	in->missed = false;
	in->blind = in->kernel_idle = in->kernel_full = false;
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
	if (__atomic_sub_fetch(&in->links, 1, __ATOMIC_RELAXED) == 0)
		instance_empty(in);
	instance_put(in);
}

/* --- watches --- */

static struct watch *watch_find(struct watch *first, const struct instance *in, int fd)
{
	while (first && (first->in != in || first->fd != fd))
		first = first->next_of_sock;
	return first;
}

/* The outer instances are looked at under the lock of the inner one, and so from the inside
 * outwards. */
static bool lock_outer(struct instance *in, int depth)
{
	return in->outer && depth < SHIM_DEPTH && lock_insist(&in->lock);
}

/* Makes waits on it, and on what it is in, look at rings. */
static void instance_activate(struct instance *in, int depth)
{
	__atomic_store_n(&in->active, true, __ATOMIC_SEQ_CST);
	if (!lock_outer(in, depth))
		return;
	for (struct watch *w = in->outer; w; w = w->next_of_sock)
		instance_activate(w->in, depth + 1);
	lock_drop(&in->lock);
}

/* Adds a socket to w. The instance's lock held. */
static void w_add(struct instance *in, const struct watch *w)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.ptr = w->s};

	if (in->w >= 0 && w->s->ep >= 0 && real_epoll_ctl(in->w, EPOLL_CTL_ADD, w->s->ep, &ev) &&
	    real_epoll_ctl(in->w, EPOLL_CTL_MOD, w->s->ep, &ev))
		in->blind = true;
}

/* The instance's lock held. A nested one has its w by now, if it could be made; it may have been
 * added here before. */
static bool w_make(struct instance *in)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
	struct watch *w;
	bool whole = true;

	if (in->w < 0) {
		in->blind = false;
		in->w = own_take(real_epoll_create1(EPOLL_CLOEXEC));
		TAILQ_FOREACH(w, &in->all, in_instance)
			w_add(in, w);
	}
	TAILQ_FOREACH(w, &in->nested, in_instance)
		if (real_epoll_ctl(in->w, EPOLL_CTL_ADD, w->inner->w, &ev) && errno != EEXIST)
			whole = false;
	return whole && in->w >= 0 && !in->blind;
}

bool instance_make_w(struct instance *in, int depth)
{
	struct instance *inner;
	bool whole = true;

	if (in->w >= 0 && !in->blind && TAILQ_EMPTY(&in->nested))
		return true;
	for (uint32_t i = 0; (inner = nested_next(in, &i, depth, false)) != NULL;) {
		whole &= instance_make_w(inner, depth + 1);
		instance_put(inner);
	}
	if (!lock_insist(&in->lock))
		return false;
	whole &= w_make(in);
	lock_drop(&in->lock);
	return whole;
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

static bool slept_on(struct instance *in, int depth)
{
	bool slept = __atomic_load_n(&in->sleepers, __ATOMIC_SEQ_CST) != 0;

	if (slept || !lock_outer(in, depth))
		return slept;
	for (struct watch *w = in->outer; w && !slept; w = w->next_of_sock)
		slept = slept_on(w->in, depth + 1);
	lock_drop(&in->lock);
	return slept;
}

static bool waited_plainly(struct instance *in, int depth)
{
	bool plainly = __atomic_load_n(&in->plain, __ATOMIC_SEQ_CST) ||
		       __atomic_load_n(&in->unknown, __ATOMIC_RELAXED);

	if (plainly || !lock_outer(in, depth))
		return plainly;
	for (struct watch *w = in->outer; w && !plainly; w = w->next_of_sock)
		plainly = waited_plainly(w->in, depth + 1);
	lock_drop(&in->lock);
	return plainly;
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

void instance_heat_sock(struct sock *s)
{
	s->rx.shim.hot = false;
	sock_heat(s);
}

/* Makes all sockets hot but those that a handler has closed: their watches are dropped, now or
 * with the socket or the instance. */
static void heat_all(struct instance *in)
{
	struct watch *w, *next;

	for (w = TAILQ_FIRST(&in->all); w; w = next) {
		next = TAILQ_NEXT(w, in_instance);
		if (w->gone)
			drop_with(w, &w->s->rx.lock);
		else
			watch_heat(w);
	}
}

bool instance_missed(struct instance *in)
{
	if (!__atomic_load_n(&in->missed, __ATOMIC_SEQ_CST) || !lock_insist(&in->lock))
		return false;
	__atomic_store_n(&in->missed, false, __ATOMIC_SEQ_CST);
	heat_all(in);
	lock_drop(&in->lock);
	return true;
}

void instance_heat(struct instance *in, int depth)
{
	struct instance *inner;

	if (lock_insist(&in->lock)) {
		heat_all(in);
		lock_drop(&in->lock);
	}
	for (uint32_t i = 0; (inner = nested_next(in, &i, depth, false)) != NULL;) {
		instance_heat(inner, depth + 1);
		instance_put(inner);
	}
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

	if (!s->rx.shim.hot) {
		sock_heat(s);
		/* before sleepers is read: who counts itself there then looks at the hot list */
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
	}
	for (struct watch *w = s->rx.shim.watch; w && !slept; w = w->next_of_sock)
		slept = slept_on(w->in, 0);
	if (slept && rx_settle(s))
		kick(s);
}

bool instance_may_claim(struct sock *s)
{
	bool may = !__atomic_load_n(&s->rx.shim.plain, __ATOMIC_SEQ_CST) && !sock_awaited(s);

	/* poll(2) sleeps for other sockets, and does not know the ep that this one is to have */
	if (s->ep < 0 && __atomic_load_n(&s->rx.shim.sleepers, __ATOMIC_SEQ_CST))
		may = false;
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
		instance_activate(w->in, 0);
		if (!lock_insist(&w->in->lock))
			continue;
		w_add(w->in, w);
		marks_add(w->in, s);
		lock_drop(&w->in->lock);
	}
}

void instance_closing(struct sock *s)
{
	for (struct watch *w = s->rx.shim.watch; w; w = w->next_of_sock) {
		w->gone = true;
		__atomic_store_n(&w->in->missed, true, __ATOMIC_SEQ_CST);
	}
}

void instance_closed(struct sock *s)
{
	struct watch *w;

	while ((w = s->rx.shim.watch) != NULL) {
		struct instance *in = w->in;

		if (lock_insist(&in->lock)) {
			watch_drop(w);
			lock_drop(&in->lock);
			continue;
		}
		w->gone = true; /* the call that this one has interrupted drops it */
		s->rx.shim.watch = w->next_of_sock;
		__atomic_store_n(&in->missed, true, __ATOMIC_SEQ_CST);
	}
}

/* --- fork --- */

/* Another thread of the parent may have been changing the lists: they are made anew from the
 * watches of the sockets and of the inner instances, which one store each adds and removes. */
static void watches_unlist(struct watch *first)
{
	for (struct watch *w = first; w; w = w->next_of_sock)
		w->listed = false;
}

static void watches_list(struct watch *first)
{
	for (struct watch *w = first; w; w = w->next_of_sock) {
		struct instance *in = w->in;

		if (w->listed)
			continue;
		w->listed = true;
		w->hot = false;
		if (w->s) {
			TAILQ_INSERT_TAIL(&in->all, w, in_instance);
			in->sock_cnt++;
			watch_heat(w);
		} else {
			TAILQ_INSERT_TAIL(&in->nested, w, in_instance);
		}
		in->output_cnt += is_output(w->s, w->events);
		if (w->events & EPOLLONESHOT)
			oneshot_add(w);
	}
}

static void sock_unlist(struct sock *s)
{
	watches_unlist(s->rx.shim.watch);
}

static void sock_list(struct sock *s)
{
	watches_list(s->rx.shim.watch);
	s->rx.shim.hot = true;
}

static void each_instance(void (*fn)(struct instance *in))
{
	for (uint32_t i = 0; i < TABLE_CHUNKS; i++)
		for (uint32_t j = 0; chunk[i] && j < TABLE_CHUNK; j++)
			if (chunk[i][j])
				fn(chunk[i][j]);
}

static void forked(struct instance *in)
{
	memset(&in->lock, 0, sizeof(in->lock));
	in->refs = in->links;
	in->plain = in->sleepers = 0;
	in->maintain_ns = 0;
	own_close(&in->w); /* it is the parent's, too: another takes its place */
	marks_forget(in);
	in->sock_cnt = 0;
	TAILQ_INIT(&in->all);
	TAILQ_INIT(&in->hot);
	TAILQ_INIT(&in->nested);
	free(in->oneshot);
	in->oneshot = NULL;
	in->oneshot_room = in->oneshot_cnt = in->output_cnt = 0;
	watches_unlist(in->outer);
}

static void outer_list(struct instance *in)
{
	watches_list(in->outer);
}

void instances_forked(void)
{
	memset(&lock, 0, sizeof(lock));
	free_instances = NULL;
	TAILQ_INIT(&free_watches);
	each_instance(forked);
	table_each_raw(sock_unlist);
	table_each_raw(sock_list);
	each_instance(outer_list);
}

/* --- epoll_ctl --- */

#define PASSED "its epoll instance was passed to another process (SCM_RIGHTS)"

/* Returns a socket in it that is not the kernel's yet, with a reference. */
static struct sock *next_fast(struct instance *in)
{
	struct sock *s = NULL;
	struct watch *w;

	if (!lock_insist(&in->lock))
		return NULL;
	TAILQ_FOREACH(w, &in->all, in_instance) {
		if (w->gone || w->s->kernel_only)
			continue;
		s = w->s; /* the table's reference lasts longer than the watch */
		sock_ref(s);
		break;
	}
	lock_drop(&in->lock);
	return s;
}

void instance_pass(struct instance *in, int depth)
{
	struct instance *inner;
	struct ctl_state st;
	struct sock *s;
	bool done = true;

	__atomic_store_n(&in->passed, true, __ATOMIC_RELAXED);
	while (done && (s = next_fast(in)) != NULL) {
		ctl_lock(&st);
		claim_release(s, CLAIM_KERNEL, UDPLANE_REASON_PROCESSES, PASSED);
		done = s->kernel_only; /* if not, in a handler, then later */
		ctl_unlock(&st);
		sock_unref(s);
	}
	for (uint32_t i = 0; (inner = nested_next(in, &i, depth, false)) != NULL;) {
		instance_pass(inner, depth + 1);
		instance_put(inner);
	}
}

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

/* Returns false if there is no memory. */
static bool watch_set(struct watch *w, const struct epoll_event *ev)
{
	struct instance *in = w->in;
	bool moves = ((w->events ^ ev->events) & EPOLLONESHOT) || w->data.u64 != ev->data.u64;

	if (moves && (w->events & EPOLLONESHOT))
		oneshot_remove(w);
	in->output_cnt += is_output(w->s, ev->events) - is_output(w->s, w->events);
	w->events = ev->events;
	w->data = ev->data;
	w->armed = true;
	w->seen = UINT64_MAX;
	if (w->s)
		watch_heat(w);
	return !moves || !(ev->events & EPOLLONESHOT) || oneshot_add(w);
}

static bool watch_new(struct instance *in, int fd, const struct epoll_event *ev, struct sock *s,
		      struct instance *inner)
{
	struct watch *w = watch_alloc(), **first = s ? &s->rx.shim.watch : &inner->outer;

	if (!w)
		return false;
	memset(w, 0, sizeof(*w));
	w->in = in;
	w->s = s;
	w->inner = inner;
	w->fd = fd;
	w->next_of_sock = *first;
	__atomic_store_n(first, w, __ATOMIC_RELEASE);
	if (s) {
		TAILQ_INSERT_TAIL(&in->all, w, in_instance);
		in->sock_cnt++;
		w_add(in, w);
		marks_add(in, s);
	} else {
		TAILQ_INSERT_TAIL(&in->nested, w, in_instance);
		marks_note(inner);
	}
	return watch_set(w, ev);
}

/* Two registrations that cannot be told apart by what epoll_wait() returns. */
static bool oneshot_is_ambiguous(const struct instance *in, const struct epoll_event *ev,
				 const struct sock *s)
{
	const struct watch *w = oneshot_find(in, ev->data.u64);

	for (; w; w = w->next_oneshot)
		if (w->s != s && w->data.u64 == ev->data.u64)
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
	if (!(w ? watch_set(w, ev) : watch_new(in, fd, ev, s, inner)))
		return false;
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
	if (both && r == 0 && op != EPOLL_CTL_DEL &&
	    (s ? s->att || s->rx.saved || s->rx.queue : inner->active))
		instance_activate(in, 0);
	if (both && r == 0 && s && op != EPOLL_CTL_DEL) {
		s->rx.shim.hot = false; /* hot in all of its instances */
		instance_update(s);	/* wakes who sleeps, if it is readable */
	}
	if (locked)
		lock_drop(s ? &s->rx.lock : &inner->lock);
	if (r == 0 && s && __atomic_load_n(&in->passed, __ATOMIC_RELAXED))
		claim_later(s, LATE_KERNEL, UDPLANE_REASON_PROCESSES, PASSED);
	else if (r == 0 && s && !good)
		claim_later(s, LATE_KERNEL, UDPLANE_REASON_OPTION,
			    "two EPOLLONESHOT registrations have the same data, or a signal "
			    "handler called epoll_ctl(2)");
	return r;
}
