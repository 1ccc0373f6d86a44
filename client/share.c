/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets that several processes have open after fork().
 *
 * In Linux they have one queue, from which any of them may take any datagram at any time, even if
 * another is busy or never reads. Only the kernel's queue can do that. So before a fork every claim
 * is released, and datagrams that the library holds are moved to memory that both processes have
 * (struct shared_queue, with an eventfd that makes their descriptors readable). From then on the
 * socket behaves as in Linux for both, until only one process has it open (the child executes
 * another program or ends, the parent of a daemon ends, or one of them closes it). That one may
 * claim it again.
 */
#include "client/share.h"
#include "client/claim.h"
#include "client/cmsg.h"
#include "client/context.h"
#include "client/holders.h"
#include "client/lock.h"
#include "client/option.h"
#include "client/queue.h"
#include "client/ready.h"
#include "client/send_option.h"
#include "client/sock.h"
#include "client/table.h"
#include "client/visit.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <udplane/abi.h>
#include <udplane/clock.h>
#include <unistd.h>

/* How often to check whether no other process has a socket open: doubles up to the next. */
#define SHARE_RETRY_NS	   10000000ull
#define SHARE_RETRY_MAX_NS 1000000000ull
/* A process with more sockets has one lock for all: the kernel searches a process's locks one by
 * one. */
#define SHARE_SOCKETS 1024

/* --- fork --- */

static void share_count_sock(struct sock *s, void *arg)
{
	(void)s;
	++*(uint32_t *)arg;
}

static void share_prepare_sock(struct sock *s, void *arg)
{
	(void)arg;
	if (!context.share.lost && !holders_add(s))
		context.share.lost = true;
	claim_release(s, CLAIM_SHARED, UDPLANE_REASON_PROCESSES,
		      "several processes have it open since a fork()");
	__atomic_store_n(&s->rx.shared, true, __ATOMIC_RELAXED);
	if (sock_insist_rx(s)) { /* false if the handler that forks has interrupted a receive */
		queue_to_saved(s);
		if (s->rx.saved)
			saved_to_queue(s);
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
		f->lost = true;
	table_each(share_prepare_sock, NULL);
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
		context.share.lost = true;
}

/* The child keeps the pipes of the parent's other children, which have the same sockets. */
void share_child(void)
{
	struct share *f = &context.share;

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
	if (!changed)
		return true;
	snprintf(text, sizeof(text), "%s was set by another process", changed);
	claim_release(s, CLAIM_KERNEL, UDPLANE_REASON_OPTION, text);
	return false;
}

bool share_resume(struct sock *s)
{
	bool alone;

	if (clock_coarse_ns() < s->life.retry_ns)
		return false;
	alone = holders_alone(s);
	if (!sock_insist_rx(s))
		return false;
	alone = alone && !sock_awaited(s);
	if (alone) {
		queue_to_saved(s);
		__atomic_store_n(&s->rx.shared, false, __ATOMIC_RELAXED);
		rx_update_readiness(s);
	}
	lock_drop(&s->rx.lock);
	if (!alone) {
		uint64_t wait = s->life.claim_wait_ns ? 2 * s->life.claim_wait_ns : SHARE_RETRY_NS;

		s->life.claim_wait_ns = wait < SHARE_RETRY_MAX_NS ? wait : SHARE_RETRY_MAX_NS;
		sock_retry_at(s, clock_now_ns() + s->life.claim_wait_ns);
		sock_set_reason(s, UDPLANE_REASON_PROCESSES,
				"several processes have it open since a fork()");
		return false;
	}
	s->life.claim_wait_ns = 0;
	sock_retry_at(s, 0);
	return share_catch_up(s);
}
