/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets that several processes have open after fork().
 *
 * In Linux they have one queue, from which any of them may take any datagram at any time, even if
 * another is busy or never reads. Only the kernel's queue can do that. So before a fork every claim
 * is released, and datagrams that the library holds are moved to memory that both processes have
 * (struct shared_queue, with an eventfd that makes their descriptors readable). From then on the
 * socket behaves as in Linux for both, until only one process has it open (the child executes
 * another program or ends, the parent of a daemon ends, or one of them closes it), or only one
 * reads it (lend.h). That one may claim it.
 */
#include "client/share.h"
#include "client/attach.h"
#include "client/base.h"
#include "client/claim.h"
#include "client/cmsg.h"
#include "client/context.h"
#include "client/holders.h"
#include "client/lend.h"
#include "client/lock.h"
#include "client/option.h"
#include "client/own.h"
#include "client/queue.h"
#include "client/ready.h"
#include "client/send_option.h"
#include "client/sock.h"
#include "client/table.h"
#include "client/visit.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <udplane/abi.h>
#include <udplane/clock.h>
#include <unistd.h>

/* How often to check whether no other process has a socket open: doubles up to the next. */
#define SHARE_RETRY_NS	   10000000ull
#define SHARE_RETRY_MAX_NS 1000000000ull
/* A process with more sockets has one lock for all: the kernel searches a process's locks one by
 * one. */
#define SHARE_SOCKETS 1024
/* A process with more sockets is not lent any: each takes a descriptor more. */
#define SHARE_BELLS 256

#define SHARED_TEXT "several processes have it open since a fork()"

/* --- fork --- */

static void share_count_sock(struct sock *s, void *arg)
{
	(void)s;
	++*(uint32_t *)arg;
}

/* Returns true if this process has received from it, or waited for it, or a thread may be about
 * to. */
static bool share_was_read(struct sock *s)
{
	return s->rx.shim.wanted || s->rx.shim.watch || s->att || s->life.held || s->rx.fast_rx ||
	       __atomic_load_n(&s->rx.kernel_rx, __ATOMIC_RELAXED) ||
	       __atomic_load_n(&s->rx.shim.sleepers, __ATOMIC_RELAXED) ||
	       __atomic_load_n(&s->rx.shim.plain, __ATOMIC_RELAXED) || sock_awaited(s);
}

/* This process has it alone until now. */
static void share_begin(struct sock *s, uint32_t cnt)
{
	if (!s->rx.shim.on)
		return;
	if (!own_is(s->life.bell) && cnt <= SHARE_BELLS)
		s->life.bell = own_take(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	if (s->life.bell < 0)
		lend_bar(s);
	if (!s->rx.reader && share_was_read(s))
		lend_announce(s);
}

static void share_prepare_sock(struct sock *s, void *cnt)
{
	bool lent = s->rx.lent;

	if (!context.share.lost && !holders_add(s))
		lend_lost();
	if (!s->rx.shared && !lent)
		share_begin(s, *(uint32_t *)cnt);
	claim_release(s, CLAIM_SHARED, UDPLANE_REASON_PROCESSES, SHARED_TEXT);
	__atomic_store_n(&s->rx.shared, true, __ATOMIC_RELAXED);
	if (sock_insist_rx(s)) { /* false if the handler that forks has interrupted a receive */
		if (!lent)	 /* else they are where all processes find them */
			queue_to_saved(s);
		if (s->rx.saved)
			saved_to_queue(s, false);
		rx_update_readiness(s);
		lock_drop(&s->rx.lock);
	}
	if (!s->life.options && !s->kernel_only)
		s->life.options = options_read(s);
	s->life.claim_wait_ns = 0;
	if (!s->kernel_only && !context.disabled)
		sock_retry_at(s, clock_now_ns() + SHARE_RETRY_NS);
}

static bool share_child_room(void)
{
	struct share *f = &context.share;
	int *more = realloc(f->child, (f->child_cnt + 1) * sizeof(*more));

	if (more)
		f->child = more;
	return more != NULL;
}

void share_prepare(void)
{
	struct share *f = &context.share;
	uint32_t cnt = 0;

	f->pipe[0] = f->pipe[1] = -1;
	table_each(share_count_sock, &cnt);
	if (!cnt)
		return;
	f->all |= cnt > SHARE_SOCKETS;
	if (!holders_open() || !share_child_room() || pipe2(f->pipe, O_CLOEXEC))
		lend_lost();
	table_each(share_prepare_sock, &cnt);
}

void share_parent(void)
{
	struct share *f = &context.share;

	if (f->pipe[0] < 0)
		return;
	close(f->pipe[1]);
	f->child[f->child_cnt++] = f->pipe[0];
}

static void share_child_sock(struct sock *s)
{
	if (!s->closed && !context.share.lost && !holders_add(s))
		lend_lost();
}

/* The child keeps the pipes of the parent's other children, which have the same sockets. */
void share_child(void)
{
	struct share *f = &context.share;

	lend_forked();
	if (f->pipe[0] < 0)
		return;
	table_each_raw(share_child_sock);
	if (f->lost)
		/* the pipe stays open: the parent counts this process as a holder of all sockets
		 * until it ends */
		return;
	close(f->pipe[0]);
	close(f->pipe[1]);
	f->pipe[0] = f->pipe[1] = -1;
}

/* --- lending --- */

void share_give_back(struct sock *s)
{
	claim_release(s, CLAIM_SHARED, UDPLANE_REASON_PROCESSES, SHARED_TEXT);
	s->life.claim_wait_ns = 0;
	sock_retry_at(s, clock_now_ns() + SHARE_RETRY_NS);
}

static void share_look_sock(struct sock *s, void *unused)
{
	(void)unused;
	if (s->rx.lent && lend_asked(s))
		share_give_back(s);
}

static void share_look(void)
{
	table_each(share_look_sock, NULL);
}

/* --- resume --- */

/* Other processes may have changed what this one remembers of the socket. */
static bool share_catch_up(struct sock *s)
{
	const char *changed = options_changed(s);
	char text[UDPLANE_TEXT_LEN];
	int flags = fcntl(s->kfd, F_GETFL);

	if (flags >= 0 && (flags & O_ASYNC))
		changed = "O_ASYNC";

	sock_read_flags(s);
	send_options_read(s, true);
	sock_read_names(s);
	cmsg_read_options(s);
	if (!s->rx.lent)
		options_forget(s);
	if (!changed)
		return true;
	snprintf(text, sizeof(text), "%s was set by another process", changed);
	claim_release(s, CLAIM_KERNEL, UDPLANE_REASON_OPTION, text);
	return false;
}

/* Returns true if this process may claim it as its only reader. */
static bool share_lend(struct sock *s)
{
	if (!lend_may(s))
		return false;
	if (!context.att)
		attach_try();
	return context.att && lend_take(s, share_look);
}

static void share_not_yet(struct sock *s)
{
	uint64_t wait = s->life.claim_wait_ns ? 2 * s->life.claim_wait_ns : SHARE_RETRY_NS;

	s->life.claim_wait_ns = wait < SHARE_RETRY_MAX_NS ? wait : SHARE_RETRY_MAX_NS;
	sock_retry_at(s, clock_now_ns() + s->life.claim_wait_ns);
	sock_set_reason(s, UDPLANE_REASON_PROCESSES, SHARED_TEXT);
}

/* alone: no other process has it. Otherwise it is lent to this one. */
static bool share_take(struct sock *s, bool alone)
{
	bool taken = false;

	if (!sock_insist_rx(s))
		return false;
	if (!sock_awaited(s)) {
		queue_adopt(s);
		queue_to_saved(s);
		__atomic_store_n(&s->rx.shared, false, __ATOMIC_RELAXED);
		__atomic_store_n(&s->rx.lent, !alone, __ATOMIC_RELAXED);
		rx_update_readiness(s);
		taken = true;
	}
	lock_drop(&s->rx.lock);
	return taken;
}

bool share_resume(struct sock *s)
{
	bool alone, lent;

	if (clock_coarse_ns() < s->life.retry_ns)
		return false;
	alone = holders_alone(s);
	lent = !alone && share_lend(s);
	if ((!alone && !lent) || !share_take(s, alone)) {
		if (lent)
			lend_drop(s);
		share_not_yet(s);
		return false;
	}
	s->life.claim_wait_ns = 0;
	sock_retry_at(s, 0);
	return share_catch_up(s);
}
