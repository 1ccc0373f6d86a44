/* SPDX-License-Identifier: Apache-2.0 */
/* See lend.h. */
#include "client/lend.h"
#include "client/base.h"
#include "client/claim.h"
#include "client/context.h"
#include "client/holders.h"
#include "client/lend_memory.h"
#include "client/lock.h"
#include "client/own.h"
#include "client/queue.h"
#include "client/raw.h"
#include "client/ready.h"
#include "client/shim.h"
#include "client/sock.h"
#include "client/table.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <time.h>
#include <udplane/clock.h>
#include <unistd.h>

/* How long a process waits for another to give a socket back. Who does not answer in this time
 * (stopped, or busy with something else) gives it back as soon as it can. */
#define LEND_WAIT_NS  100000000ull
#define LEND_PAUSE_NS 200000ull

static uint32_t place(const struct sock *s)
{
	return (uint32_t)(s->cookie % LEND_ASKS);
}

/* --- asking --- */

static void ask(const struct sock *s)
{
	struct lend_memory *m = context.share.memory;
	uint64_t one = 1;

	__atomic_fetch_add(&m->ask[place(s)], 1, __ATOMIC_SEQ_CST);
	if (own_is(s->life.bell) && write(s->life.bell, &one, sizeof(one)) < 0)
		context_log(2, "socket %d: its bell cannot be rung", s->fd);
}

static void ask_one(struct sock *s, void *unused)
{
	(void)unused;
	if (__atomic_load_n(&s->rx.shared, __ATOMIC_RELAXED))
		ask(s);
}

void lend_lost(void)
{
	struct share *f = &context.share;

	f->lost = true;
	if (!f->memory || __atomic_exchange_n(&f->memory->lost, 1, __ATOMIC_SEQ_CST))
		return;
	table_each(ask_one, NULL);
}

/* Takes a share of the right to claim s, so that nobody has it alone. Asks for it first, and waits
 * if wait is set. */
static bool take_part(struct sock *s, bool wait)
{
	struct timespec pause = {.tv_nsec = LEND_PAUSE_NS};
	uint64_t until = clock_now_ns() + LEND_WAIT_NS;

	if (holders_lock(s, HOLDERS_CLAIM, F_RDLCK))
		return true;
	if (errno != EAGAIN) {
		lend_lost();
		return true;
	}
	if (!wait)
		return false;
	ask(s);
	do {
		nanosleep(&pause, NULL);
		if (holders_lock(s, HOLDERS_CLAIM, F_RDLCK))
			return true;
	} while (clock_now_ns() < until);
	context_log(1, "socket %d: the process that reads it does not give it back", s->fd);
	return false;
}

static void leave_part(struct sock *s)
{
	if (!s->life.holds)
		holders_lock(s, HOLDERS_CLAIM, F_UNLCK);
}

/* What the last reader has left unread. Waits have to look at more than the kernel then. */
static void adopt(struct sock *s)
{
	if (!sock_insist_rx(s))
		return;
	queue_adopt(s);
	if (s->rx.queue) {
		context.shim->claimed(s);
		rx_update_readiness(s);
	}
	lock_drop(&s->rx.lock);
}

void lend_announce(struct sock *s)
{
	struct lend_memory *m = context.share.memory;
	bool done = true;

	if (!m || !s->cookie || __atomic_load_n(&m->lost, __ATOMIC_RELAXED)) {
		/* nothing is lent */
	} else if (!holders_lock(s, HOLDERS_READ, F_RDLCK)) {
		lend_lost();
	} else if (take_part(s, !s->life.asked)) {
		adopt(s);
		leave_part(s);
		if (!s->kernel_only && !context.disabled) {
			s->life.claim_wait_ns = 0;
			sock_retry_at(s, 0);
		}
	} else {
		done = false; /* what it will give back is found by a later call */
	}
	s->life.asked = !done;
	__atomic_store_n(&s->rx.reader, done, __ATOMIC_RELAXED);
}

static void lend_hold(struct sock *s)
{
	if (context.share.memory && s->life.holds++ == 0)
		take_part(s, true);
}

static void lend_unhold(struct sock *s)
{
	if (context.share.memory && --s->life.holds == 0)
		holders_lock(s, HOLDERS_CLAIM, F_UNLCK);
}

void lend_bar(struct sock *s)
{
	struct lend_memory *m = context.share.memory;

	if (!m)
		return;
	__atomic_store_n(&m->barred[place(s)], 1, __ATOMIC_SEQ_CST);
	if (!s->rx.shared)
		return;
	lend_hold(s);
	lend_unhold(s);
}

/* --- lending --- */

static bool is_free(const struct sock *s)
{
	const struct lend_memory *m = context.share.memory;

	return !__atomic_load_n(&m->lost, __ATOMIC_SEQ_CST) &&
	       !__atomic_load_n(&m->barred[place(s)], __ATOMIC_SEQ_CST) &&
	       !holders_others(s, HOLDERS_READ);
}

/* --- the thread that waits for bells --- */

static void (*guard_asked)(void); /* under the control lock */

static void *guard(void *unused)
{
	struct epoll_event ev;
	struct ctl_state st;

	while (epoll_wait(context.share.bells, &ev, 1, -1) >= 0 || errno == EINTR) {
		ctl_lock(&st);
		guard_asked();
		ctl_unlock(&st);
	}
	return unused; /* the program has closed its descriptor: nothing more is lent */
}

/* The thread inherits that signals are blocked. */
static bool guard_runs(void (*asked)(void))
{
	struct share *f = &context.share;
	pthread_t thread;

	guard_asked = asked;
	if (f->guarded)
		return own_is(f->bells);
	f->bells = own_take(epoll_create1(EPOLL_CLOEXEC));
	if (f->bells < 0)
		return false;
	if (pthread_create(&thread, NULL, guard, NULL)) {
		own_close(&f->bells);
		return false;
	}
	pthread_detach(thread);
	f->guarded = true;
	return true;
}

void lend_forked(void)
{
	struct share *f = &context.share;

	if (f->guarded)
		own_close(&f->bells);
	f->guarded = false;
}

bool lend_may(const struct sock *s)
{
	const struct share *f = &context.share;

	return s->rx.shim.on && s->rx.reader && f->memory && !f->lost && !f->all && s->cookie &&
	       !s->life.holds && own_is(s->life.bell) && is_free(s);
}

bool lend_take(struct sock *s, void (*asked)(void))
{
	struct epoll_event ev = {.events = EPOLLIN};
	struct share *f = &context.share;

	s->life.ask_seen = __atomic_load_n(&f->memory->ask[place(s)], __ATOMIC_SEQ_CST);
	if (!guard_runs(asked) || !holders_lock(s, HOLDERS_CLAIM, F_WRLCK))
		return false;
	if (!is_free(s) || epoll_ctl(f->bells, EPOLL_CTL_ADD, s->life.bell, &ev)) {
		holders_lock(s, HOLDERS_CLAIM, F_UNLCK);
		return false;
	}
	return true;
}

void lend_drop(struct sock *s)
{
	uint64_t rung;

	epoll_ctl(context.share.bells, EPOLL_CTL_DEL, s->life.bell, NULL);
	if (own_is(s->life.bell) && raw_read(s->life.bell, &rung, sizeof(rung)) > 0)
		context_log(2, "socket %d: given back to other processes", s->fd);
	holders_lock(s, HOLDERS_CLAIM, F_UNLCK);
}

bool lend_asked(const struct sock *s)
{
	uint64_t rung;

	/* It may ring for what had been asked for before. */
	if (own_is(s->life.bell) && raw_read(s->life.bell, &rung, sizeof(rung)) < 0)
		rung = 0;
	return __atomic_load_n(&context.share.memory->ask[place(s)], __ATOMIC_SEQ_CST) !=
	       s->life.ask_seen;
}

void lend_end(struct sock *s, bool give)
{
	if (likely(!s->rx.lent))
		return;
	__atomic_store_n(&s->rx.lent, false, __ATOMIC_RELAXED);
	__atomic_store_n(&s->rx.shared, true, __ATOMIC_RELAXED);
	if (give && s->rx.saved)
		saved_to_queue(s, true);
	lend_drop(s);
}

/* --- without the control lock --- */

void lend_reads(struct sock *s)
{
	struct ctl_state st;

	ctl_lock(&st);
	if (lend_is_new(s))
		lend_announce(s);
	ctl_unlock(&st);
}

bool lend_change_begin(struct sock *s)
{
	struct ctl_state st;
	bool hold;

	ctl_lock(&st);
	hold = s->rx.shared;
	if (hold)
		lend_hold(s);
	ctl_unlock(&st);
	return hold;
}

void lend_changed(struct sock *s, bool held)
{
	struct ctl_state st;

	if (likely(!held))
		return;
	ctl_lock(&st);
	lend_unhold(s);
	ctl_unlock(&st);
}
