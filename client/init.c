/* SPDX-License-Identifier: Apache-2.0 */
/* The library's start and its way through fork(2): environment, handlers. */
#include "client/init.h"
#include "client/attach.h"
#include "client/base.h"
#include "client/context.h"
#include "client/detach.h"
#include "client/dir.h"
#include "client/lock.h"
#include "client/own.h"
#include "client/pktbuf.h"
#include "client/public.h"
#include "client/ready.h"
#include "client/restart.h"
#include "client/share.h"
#include "client/shim.h"
#include "client/sock.h"
#include "client/table.h"
#include "client/txq.h"
#include "client/visitor.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <udplane/abi.h>
#include <unistd.h>

/* --- fork --- */

/* The child gets no half-made socket and no half-sent message. The lock is waited for at most 2
 * s, since a thread may fork in a signal handler that has interrupted the library. Only the
 * holder of the control lock uses these. */
static struct ctl_state fork_state;
static bool fork_table;

static void fork_prepare(void)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 2;
	if (!ctl_lock_until(&fork_state, &until))
		return;
	share_prepare();
	fork_table = lock_take(&context.table_lock);
}

static void fork_parent(void)
{
	struct ctl_state st = fork_state;

	if (!ctl_mine())
		return;
	if (fork_table)
		lock_drop(&context.table_lock);
	share_parent();
	ctl_unlock(&st);
}

/* Rings and epoll instance are the parent's. A new instance takes the place of the inherited one
 * at once, since the application may add the descriptor to an epoll instance of its own before
 * its next call here. */
static void fork_child_sock(struct sock *s)
{
	struct epoll_event ev = {.events = EPOLLIN};
	struct pktbuf *b;
	int ep;

	memset(&s->rx.lock, 0, sizeof(s->rx.lock));
	memset(&s->tx.lock, 0, sizeof(s->tx.lock));
	memset(s->visitor, 0, sizeof(s->visitor));
	__atomic_store_n(&s->life.refs, 1, __ATOMIC_RELAXED);
	if (s->closed)
		return;
	ep = sock_kernel_is(s) && sock_fd_is(s) ? epoll_create1(EPOLL_CLOEXEC) : -1;
	if (ep >= 0) {
		int flags = table_fd_flags(s->ep);

		epoll_ctl(ep, EPOLL_CTL_ADD, s->kfd,
			  &(struct epoll_event){.events = RX_KERNEL_EVENTS});
		if (s->rx.queue && s->rx.queue_fd >= 0)
			epoll_ctl(ep, EPOLL_CTL_ADD, s->rx.queue_fd, &ev);
		dup3(ep, s->ep, flags);
		close(ep);
		if (s->rx.shim.on)
			own_mark(s->ep);
	}
	s->rx.self_signal = false;
	if (s->tx.burst_cnt && s->tx.burst_lane)
		memset(&s->tx.burst_lane->tx_lock, 0, sizeof(s->tx.burst_lane->tx_lock));
	tx_cancel_reserved(s);
	s->tx.lane = NULL;
	own_close(&s->rx.wake_fd);
	s->rx.tokens = 0;
	free(s->rx.rxq);
	s->rx.rxq = NULL;
	s->rx.rxq_cnt = 0;
	if (s->att)
		attach_put(s->att);
	s->att = NULL;
	if (s->life.held)
		attach_put(s->life.held);
	s->life.held = NULL;
	/* a shared one is claimed as soon as no other process has it, even by a send call */
	s->life.lazy = !s->rx.shared;
	s->rx.reader = s->rx.lent = false;
	s->life.asked = false;
	s->life.holds = 0;
	s->rx.shim.wanted = false;
	s->rx.direct = 0;
	s->rx.shim.quiet = false;
	s->rx.shim.sleepers = 0;
	s->rx.shim.plain = 0;
	s->rx.error = 0;
	/* they stay the parent's: there was no memory for a queue */
	while ((b = s->rx.saved) != NULL) {
		s->rx.saved = b->next;
		pktbuf_put(b);
	}
	s->rx.saved_end = &s->rx.saved;
	if (!s->kernel_only && !context.disabled)
		s->life.retry_ns = 0;
}

static void fork_child(void)
{
	struct attach *a = context.att;
	struct ctl_state st = fork_state;
	bool mine = ctl_forked();

	memset(&context.table_lock, 0, sizeof(context.table_lock));
	memset(&context.info_lock, 0, sizeof(context.info_lock));
	memset(&context.buf_lock, 0, sizeof(context.buf_lock));
	if (a)
		__atomic_store_n(&a->live, 0, __ATOMIC_RELAXED);
	table_each_raw(fork_child_sock);
	restart_child();
	if (context.shim)
		context.shim->forked();
	if (mine)
		share_child();
	context.att = NULL;
	hello_forget();
	context.next_attach_ns = 0;
	context.attach_wait_ns = 0;
	if (a) {
		attach_close_fds(a);
		attach_put(a);
	}
	if (mine)
		ctl_end(&st);
}

/* --- init --- */

static void read_environment(void)
{
	const char *path = getenv("UDPLANE_SOCKET"), *spin = getenv("UDPLANE_SPIN_US");
	const char *log = getenv("UDPLANE_LOG"), *off = getenv("UDPLANE_DISABLE"),
		   *yield = getenv("UDPLANE_YIELD");
	const char *root = getenv("UDPLANE_CHROOT");

	path = path && *path ? path : UDPLANE_DEFAULT_SOCKET;
	snprintf(context.path, sizeof(context.path), "%s", path);
	context.spin_ns = 1000ull * (spin && *spin ? strtoul(spin, NULL, 10) : RX_SPIN_DEFAULT_US);
	if (context.spin_ns > 1000000000ull)
		context.spin_ns = 1000000000ull;
	context.yield = yield && *yield ? !!strcmp(yield, "0") : -1;
	context.log = log ? atoi(log) : 0;
	context.disabled = off && *off && strcmp(off, "0");
	context.chroot = root && *root && strcmp(root, "0");
	if (context.disabled) {
		context_set_reason(UDPLANE_REASON_USER, "UDPLANE_DISABLE is set");
	} else if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
		context.disabled = true;
		context_set_reason(UDPLANE_REASON_NO_SIDECAR,
				   "UDPLANE_SOCKET has %zu bytes, and a socket's path %zu at most: "
				   "\"%.60s...\"",
				   strlen(path), sizeof(((struct sockaddr_un *)0)->sun_path) - 1,
				   path);
	}
	if (!context.disabled)
		context_set_reason(UDPLANE_REASON_NO_SIDECAR, "not tried yet");
}

static void init_once(void)
{
	read_environment();
	pthread_atfork(fork_prepare, fork_parent, fork_child);
}

void context_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, init_once);
}

void context_reset(void)
{
	struct ctl_state st;

	context_init();
	ctl_lock(&st);
	if (context.att)
		attach_end(context.att);
	hello_forget();
	dir_forget();
	context.next_attach_ns = 0;
	context.attach_wait_ns = 0;
	read_environment();
	ctl_unlock(&st);
}

const char *udplane_version(void)
{
	return UDPLANE_VERSION;
}
