/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets of the program: from socket(2) and the start of the process to the last close(2). */
#include "client/preload/adopt.h"
#include "client/claim.h"
#include "client/close.h"
#include "client/context.h"
#include "client/detach.h"
#include "client/fault.h"
#include "client/init.h"
#include "client/lend.h"
#include "client/life.h"
#include "client/lock.h"
#include "client/option.h"
#include "client/own.h"
#include "client/preload/instance.h"
#include "client/preload/process.h"
#include "client/share.h"
#include "client/shim.h"
#include "client/sock.h"
#include "client/table.h"
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <udplane/abi.h>
#include <udplane/clock.h>
#include <unistd.h>

static void forked(void)
{
	process_is_ours_now();
	instances_forked();
}

static const struct shim ops = {
	.update = instance_update,
	.may_claim = instance_may_claim,
	.claimed = instance_claimed,
	.closing = instance_closing,
	.closed = instance_closed,
	.forked = forked,
};

static void start(void)
{
	int err = errno;

	context_init();
	context.shim = &ops;
	/* a program that knows the library has the fast path by it */
	if (dlsym(RTLD_DEFAULT, "udplane_socket"))
		context.disabled = true;
	process_is_ours_now();
	errno = err;
}

bool shim_works(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	if (!process_is_known())
		pthread_once(&once, start);
	return !context.disabled;
}

/* Returns a socket that is not in the table yet. */
static struct sock *make(int fd, int domain)
{
	struct sock *s = sock_create(fd, fd, domain);

	if (!s)
		return NULL;
	s->ep = -1;
	s->rx.shim.on = true;
	s->rx.shim.links = 1;
	s->life.lazy = true;
	return s;
}

static void insert(struct sock *s)
{
	static bool handled;

	if (!__atomic_exchange_n(&handled, true, __ATOMIC_RELAXED))
		fault_handle();
	if (table_get(s->fd))
		sock_forget(s->fd); /* the program has closed it without our knowledge */
	if (!s->cookie || table_insert(s))
		sock_unref(s);
}

void shim_adopt_new(int fd, int domain, int type, int protocol)
{
	struct sock *s;
	int err = errno;

	if (domain != AF_INET && domain != AF_INET6)
		return;
	if ((type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) != SOCK_DGRAM ||
	    (protocol && protocol != IPPROTO_UDP) || !shim_works() || !process_is_ours())
		return;
	s = make(fd, domain);
	if (s) {
		s->rx.nonblock = type & SOCK_NONBLOCK;
		insert(s);
	}
	errno = err;
}

static int option(int fd, int name)
{
	int v = -1;
	socklen_t len = sizeof(v);

	return real_getsockopt(fd, SOL_SOCKET, name, &v, &len) ? -1 : v;
}

/* Whoever made it may have set options. They are compared with those of a new socket. */
static void look_at_options(struct sock *s)
{
	int fd = real_socket(s->domain, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sock fresh = {.kfd = fd};
	const char *set = "an option";

	if (fd >= 0) {
		s->life.options = options_read(&fresh);
		set = options_changed(s);
		options_forget(s);
		real_close(fd);
	}
	if (set)
		claim_later(s, LATE_KERNEL, UDPLANE_REASON_OPTION, set);
}

void shim_adopt_inherited(int fd)
{
	int domain, err = errno;
	struct sock *s;

	if (table_get(fd) || !shim_works() || !process_is_ours())
		return;
	domain = option(fd, SO_DOMAIN);
	if ((domain == AF_INET || domain == AF_INET6) && option(fd, SO_PROTOCOL) == IPPROTO_UDP &&
	    (s = make(fd, domain)) != NULL) {
		sock_read_flags(s);
		sock_read_names(s);
		__atomic_store_n(&s->life.retry_ns, s->life.bound ? 0 : UINT64_MAX,
				 __ATOMIC_RELAXED);
		look_at_options(s);
		insert(s);
	}
	errno = err;
}

/* --- duplicates and ends --- */

/* The kernel socket is then reached by a descriptor that stays, whichever the program closes. */
static void keep_kernel_fd(struct sock *s)
{
	int fd;

	if (s->rx.shim.kfd_own)
		return;
	fd = real_fcntl(s->kfd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return;
	s->kfd = own_move(fd);
	s->rx.shim.kfd_own = true;
}

static void link_socket(struct sock *s, int to)
{
	bool linked = false;

	if (sock_take_both(s)) {
		keep_kernel_fd(s);
		if (!s->closed && s->rx.shim.kfd_own && table_add(to, s) == 0) {
			s->rx.shim.links++;
			linked = true;
		}
		sock_drop_both(s);
	}
	if (!linked)
		claim_later(s, LATE_KERNEL, UDPLANE_REASON_DESCRIPTORS,
			    "it was duplicated, and the shim could not follow");
}

void shim_link(int fd, int to)
{
	struct sock *s;
	int err = errno;

	if (fd == to || !process_is_ours())
		return;
	s = sock_get(fd);
	if (s) {
		link_socket(s, to);
		sock_unref(s);
	} else {
		instance_link(fd, to);
	}
	errno = err;
}

void shim_forget(int fd)
{
	int err = errno;

	if (!process_is_ours())
		return;
	if (table_get(fd))
		sock_forget(fd);
	instance_forget(fd);
	errno = err;
}

bool shim_knows(int fd)
{
	return table_get(fd) || instance_known(fd);
}

bool shim_hides(int fd)
{
	int err = errno;
	bool hides = fd >= own_lowest() && own_is(fd);

	errno = err;
	return hides;
}

/* --- messages --- */

static void each_fd(const struct msghdr *msg, void (*fn)(int fd))
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR((struct msghdr *)msg, c)) {
		size_t cnt;

		if (c->cmsg_len < CMSG_LEN(0))
			return;
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		cnt = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < cnt; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			fn(fd);
		}
	}
}

void shim_fds_received(struct msghdr *msg)
{
	each_fd(msg, shim_adopt_inherited);
}

static void instance_leaves(int fd)
{
	struct instance *in = instance_get(fd);
	int err = errno;

	if (!in)
		return;
	instance_pass(in, 0);
	instance_put(in);
	errno = err;
}

static void leaves(int fd)
{
	struct sock *s = sock_get(fd);
	struct ctl_state st;
	int err = errno;

	instance_leaves(fd);
	if (!s)
		return;
	ctl_lock(&st);
	claim_release(s, CLAIM_KERNEL, UDPLANE_REASON_PROCESSES,
		      "it was passed to another process (SCM_RIGHTS)");
	ctl_unlock(&st);
	sock_unref(s);
	errno = err;
}

void shim_fds_sent(const struct msghdr *msg)
{
	each_fd(msg, leaves);
}

/* --- ports of processes that have ended --- */

#define BIND_PAUSE_NS  2000000ull
#define BIND_TRIES_NS  100000000ull   /* of pauses */
#define BIND_BUDGET_NS 10000000000ull /* in this time; for programs that try port after port */

bool shim_bind_again(int fd)
{
	static uint64_t since_ns, paused_ns; /* atomic; what two threads lose by a race is a try */
	uint64_t now = clock_now_ns();
	struct sock *s = sock_get(fd);

	if (!s)
		return false;
	maintain(s, false, true);
	sock_unref(s);
	if (!__atomic_load_n(&context.att, __ATOMIC_RELAXED))
		return false;
	if (now - __atomic_load_n(&since_ns, __ATOMIC_RELAXED) > BIND_BUDGET_NS) {
		__atomic_store_n(&since_ns, now, __ATOMIC_RELAXED);
		__atomic_store_n(&paused_ns, 0, __ATOMIC_RELAXED);
	}
	if (__atomic_fetch_add(&paused_ns, BIND_PAUSE_NS, __ATOMIC_RELAXED) >= BIND_TRIES_NS)
		return false;
	nanosleep(&(struct timespec){.tv_nsec = BIND_PAUSE_NS}, NULL);
	return true;
}

static void leave(struct sock *s, void *arg)
{
	(void)arg;
	claim_release(s, CLAIM_KERNEL, UDPLANE_REASON_OPTION,
		      "the program uses io_uring, which does not see what is in a ring");
	lend_bar(s);
}

void shim_leave_all(void)
{
	struct ctl_state st;
	int err = errno;

	if (shim_works() && process_is_ours()) {
		ctl_lock(&st);
		context.disabled = true;
		context_set_reason(UDPLANE_REASON_OPTION, "the program uses io_uring");
		table_each(leave, NULL);
		ctl_unlock(&st);
	}
	errno = err;
}

#define EXIT_PATIENCE_NS 100000000ull

static void release(struct sock *s, void *until)
{
	if (!s->att || clock_now_ns() >= *(uint64_t *)until)
		return;
	if (s->rx.lent)
		share_give_back(s);
	claim_release(s, CLAIM_CLOSE, UDPLANE_REASON_NONE, "");
}

/* So that the ports of a program that ends are free at once, as in Linux. */
static void __attribute__((destructor)) release_all(void)
{
	uint64_t until = clock_now_ns() + EXIT_PATIENCE_NS;
	struct ctl_state st;
	struct timespec ts;

	if (!context.shim || !context.att || !process_is_ours())
		return;
	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec++;
	if (!ctl_lock_until(&st, &ts))
		return;
	context.disabled = true;
	table_each(release, &until);
	ctl_unlock(&st);
}

/* --- the start --- */

#define INHERITED_MAX 1024 /* descriptors that are looked at when a program starts */

static void __attribute__((constructor)) adopt_all_inherited(void)
{
	static struct pollfd p[INHERITED_MAX];

	if (!shim_works())
		return;
	for (int i = 0; i < INHERITED_MAX; i++)
		p[i] = (struct pollfd){i, 0, 0};
	if (real_poll(p, INHERITED_MAX, 0) < 0)
		return;
	for (int i = 0; i < INHERITED_MAX; i++)
		if (!(p[i].revents & POLLNVAL))
			shim_adopt_inherited(i);
}
