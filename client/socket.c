/* SPDX-License-Identifier: Apache-2.0 */
/* Public calls on a socket other than sending, receiving, options and close. */
#include "client/socket.h"
#include "client/attach.h"
#include "client/base.h"
#include "client/claim.h"
#include "client/close.h"
#include "client/context.h"
#include "client/detach.h"
#include "client/init.h"
#include "client/lend.h"
#include "client/life.h"
#include "client/lock.h"
#include "client/option.h"
#include "client/own.h"
#include "client/public.h"
#include "client/raw.h"
#include "client/ready.h"
#include "client/recv.h"
#include "client/sock.h"
#include "client/table.h"
#include <asm/ioctls.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <udplane/abi.h>
#include <udplane/ring.h>
#include <unistd.h>

static int open_fds(int domain, int type, int fds[2])
{
	struct epoll_event ev = {.events = RX_KERNEL_EVENTS};
	int err;

	fds[1] = socket(domain, SOCK_DGRAM | SOCK_CLOEXEC | (type & SOCK_NONBLOCK), IPPROTO_UDP);
	if (fds[1] < 0)
		return -errno;
	fds[1] = own_move(fds[1]);
	fds[0] = epoll_create1(type & SOCK_CLOEXEC ? EPOLL_CLOEXEC : 0);
	if (fds[0] >= 0 && epoll_ctl(fds[0], EPOLL_CTL_ADD, fds[1], &ev) == 0)
		return 0;
	err = errno;
	close(fds[1]);
	if (fds[0] >= 0)
		close(fds[0]);
	return -err;
}

int udplane_socket(int domain, int type, int protocol)
{
	struct sock *s;
	int fds[2] = {-1, -1}, err;

	if (domain != AF_INET && domain != AF_INET6)
		return set_errno(-EAFNOSUPPORT);
	if ((type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) != SOCK_DGRAM ||
	    (protocol && protocol != IPPROTO_UDP))
		return set_errno(-EPROTONOSUPPORT);
	context_init();
	err = open_fds(domain, type, fds);
	if (err)
		return set_errno(err);
	s = sock_create(fds[0], fds[1], domain);
	if (!s) {
		close(fds[0]);
		close(fds[1]);
		return set_errno(-ENOMEM);
	}
	s->rx.nonblock = type & SOCK_NONBLOCK;
	sock_drop_stale(table_get(fds[0]));
	err = table_insert(s);
	if (err) {
		sock_unref(s);
		return set_errno(err);
	}
	return fds[0];
}

/* The socket's addresses have changed: updates its claim, or claims it. */
static void sock_names_changed(struct sock *s)
{
	struct ctl_state st;

	ctl_lock(&st);
	claim_update(s);
	ctl_unlock(&st);
	if (!s->att)
		maintain(s, false, true);
}

int udplane_bind(int fd, const struct sockaddr *addr, socklen_t addrlen)
{
	struct sock *s = sock_get(fd);
	int err = 0;
	bool held;

	if (!s)
		return set_errno(-EBADF);
	held = lend_change(s);
	if (!sock_kernel_is(s))
		err = -EBADF;
	else if (bind(s->kfd, addr, addrlen))
		err = -errno;
	else
		sock_names_changed(s);
	lend_changed(s, held);
	sock_unref(s);
	return set_errno(err);
}

static void sock_leave_fast_path(struct sock *s, uint32_t reason, const char *text)
{
	struct ctl_state st;

	ctl_lock(&st);
	claim_release(s, CLAIM_KERNEL, reason, text);
	ctl_unlock(&st);
}

/* After connect() to AF_UNSPEC Linux goes on refusing all IPv6 addresses but the former peer's
 * (sk_v6_daddr stays), which getpeername() does not show. */
static bool keeps_peer(const struct sock *s, const struct sockaddr *addr)
{
	return s->domain == AF_INET6 && s->tx.connected && addr->sa_family == AF_UNSPEC;
}

int udplane_connect(int fd, const struct sockaddr *addr, socklen_t addrlen)
{
	struct sock *s = sock_get(fd);
	int err = 0;
	bool held;

	if (!s)
		return set_errno(-EBADF);
	held = lend_change(s);
	if (!sock_kernel_is(s)) {
		err = -EBADF;
	} else if (connect(s->kfd, addr, addrlen)) {
		err = -errno;
	} else {
		if (keeps_peer(s, addr))
			sock_leave_fast_path(s, UDPLANE_REASON_OPTION,
					     "a connected IPv6 socket was disconnected: Linux "
					     "goes on refusing other peers");
		sock_names_changed(s);
	}
	lend_changed(s, held);
	sock_unref(s);
	return set_errno(err);
}

int udplane_shutdown(int fd, int how)
{
	struct sock *s = sock_get(fd);
	int err = 0;
	bool held;

	if (!s)
		return set_errno(-EBADF);
	held = lend_change(s);
	if (!sock_kernel_is(s))
		err = -EBADF;
	else if (shutdown(s->kfd, how))
		err = -errno;
	if (!err || err == -ENOTCONN) { /* it has an effect on unconnected ones, too */
		struct ctl_state st;

		ctl_lock(&st);
		claim_release(s, CLAIM_KERNEL, UDPLANE_REASON_SHUTDOWN, "shutdown() was called");
		ctl_unlock(&st);
	}
	lend_changed(s, held);
	sock_unref(s);
	return set_errno(err);
}

int udplane_getsockname(int fd, struct sockaddr *addr, socklen_t *addrlen)
{
	struct sock *s = sock_get(fd);
	int err;

	if (!s)
		return set_errno(-EBADF);
	err = getsockname(s->kfd, addr, addrlen) ? -errno : 0;
	sock_unref(s);
	return set_errno(err);
}

int udplane_getpeername(int fd, struct sockaddr *addr, socklen_t *addrlen)
{
	struct sock *s = sock_get(fd);
	int err;

	if (!s)
		return set_errno(-EBADF);
	err = getpeername(s->kfd, addr, addrlen) ? -errno : 0;
	sock_unref(s);
	return set_errno(err);
}

/* A ring does not send SIGIO for each datagram. */
void sock_flags_changed(struct sock *s)
{
	int flags = fcntl(s->kfd, F_GETFL);

	sock_read_flags(s);
	if (flags >= 0 && (flags & O_ASYNC))
		sock_leave_fast_path(s, UDPLANE_REASON_OPTION,
				     "O_ASYNC was set: only the kernel sends SIGIO");
}

int udplane_fcntl(int fd, int cmd, ...)
{
	struct sock *s = sock_get(fd);
	va_list ap;
	bool held;
	long arg;
	int r;

	va_start(ap, cmd);
	arg = va_arg(ap, long); /* as the C library does it: a number, a pointer, or nothing */
	va_end(ap);
	if (!s)
		return set_errno(-EBADF);
	held = cmd == F_SETFL && lend_change(s);
	errno = 0;
	switch (cmd) {
	case F_GETFL:
	case F_SETFL:
	case F_GETOWN:
	case F_SETOWN:
	case F_GETOWN_EX:
	case F_SETOWN_EX:
	case F_GETSIG:
	case F_SETSIG: r = fcntl(s->kfd, cmd, arg); break;
	case F_GETFD:
	case F_SETFD: r = fcntl(s->fd, cmd, arg); break;
	default: r = -1; errno = EINVAL;
	}
	r = r == -1 && errno ? -errno : r;
	if (cmd == F_SETFL && r >= 0)
		sock_flags_changed(s);
	lend_changed(s, held);
	sock_unref(s);
	return cmd == F_GETOWN ? r
			       : set_errno(r); /* that may be a process group, which is negative */
}

/* The kernel says 0 for no datagram and for an empty one: whether one is there. */
static bool kernel_has_empty(struct sock *s)
{
	return (raw_poll(s->kfd, POLLIN | POLLRDHUP) & (POLLIN | POLLRDHUP)) == POLLIN;
}

/* FIONREAD: stores the length of the next datagram of either path in *(int *)arg. Returns 0 or
 * -errno. */
static int sock_next_len(struct sock *s, void *arg)
{
	int n;

	if (ioctl(s->kfd, FIONREAD, arg)) /* a bad pointer is an error */
		return -errno;
	if (!sock_insist_rx(s))
		return 0;
	n = rx_next_len(s, false);
	if (n < 0) {
		if (ioctl(s->kfd, FIONREAD, arg) == 0 && (*(int *)arg || kernel_has_empty(s)))
			s->rx.peeked = PEEKED_KERNEL;
		else
			n = rx_next_len(s, true);
	}
	rx_update_readiness(s);
	lock_drop(&s->rx.lock);
	if (n >= 0)
		*(int *)arg = n;
	return 0;
}

static bool wants_stamps(unsigned long request)
{
	return request == SIOCGSTAMP_OLD || request == SIOCGSTAMPNS_OLD ||
	       request == SIOCGSTAMP_NEW || request == SIOCGSTAMPNS_NEW;
}

int udplane_ioctl(int fd, unsigned long request, void *arg)
{
	struct sock *s = sock_get(fd);
	bool held;
	int r;

	if (!s)
		return set_errno(-EBADF);
	if (request == FIONREAD && lend_is_new(s))
		lend_reads(s);
	held = (request == FIONBIO || request == FIOASYNC || wants_stamps(request)) &&
	       lend_change(s);
	if (request == FIONREAD && s->rx.rxq_cnt + (s->rx.saved != NULL) + (s->rx.queue != NULL))
		r = sock_next_len(s, arg);
	else
		r = ioctl(s->kfd, request, arg) < 0 ? -errno : 0;
	if (request == FIONBIO || request == FIOASYNC)
		sock_flags_changed(s);
	if (wants_stamps(request))
		sock_leave_fast_path(
			s, UDPLANE_REASON_OPTION,
			"SIOCGSTAMP was asked for: only the kernel keeps the time of the "
			"last datagram");
	lend_changed(s, held);
	sock_unref(s);
	return set_errno(r);
}

int udplane_kernel_fd(int fd)
{
	struct sock *s = sock_get(fd);
	int kfd;

	if (!s)
		return set_errno(-EBADF);
	kfd = s->kfd;
	sock_unref(s);
	return kfd;
}

/* --- status --- */

/* Fills in reason and text: udplaned's for a claimed socket, else the socket's own, else the
 * context's. tx.lock held. */
static void status_explain(const struct sock *s, struct udplane_status *st)
{
	uint32_t reason = s->tx.reason;
	const char *text = s->tx.text;
	char copy[UDPLANE_TEXT_LEN];

	if (s->tx.lane) { /* claimed, but udplaned may still refuse to divert to it */
		uint32_t seq, i = 0;

		do {
			seq = udplane_seq_read(&s->tx.zone->seq);
			st->accelerated =
				udplane_load32(&s->tx.zone->state) == UDPLANE_SOCKET_ACTIVE;
			reason = __atomic_load_n(&s->tx.zone->reason, __ATOMIC_RELAXED);
			memcpy(copy, s->tx.zone->text, sizeof(copy));
		} while (udplane_seq_retry(&s->tx.zone->seq, seq) && i++ < 100);
		copy[sizeof(copy) - 1] = 0;
		text = copy;
	} else if (!reason && !s->kernel_only) {
		bool locked = lock_insist(&context.info_lock);

		reason = context.reason;
		memcpy(copy, context.text, sizeof(copy));
		if (locked)
			lock_drop(&context.info_lock);
		text = copy;
		if (!reason) {
			reason = UDPLANE_REASON_NOT_BOUND;
			text = "the socket is not bound to a port yet";
		}
	}
	snprintf(st->reason, sizeof(st->reason), "%s", reason_name(reason));
	snprintf(st->text, sizeof(st->text), "%s", text);
}

int udplane_get_status(int fd, struct udplane_status *st)
{
	struct udplane_status all = {.size = sizeof(all)};
	struct sock *s = sock_get(fd);
	uint32_t size = st->size;

	if (!s)
		return set_errno(-EBADF);
	if (size < sizeof(st->size) || size > 65536) {
		sock_unref(s);
		return set_errno(-EINVAL);
	}
	maintain(s, false, false); /* so that the status is up to date */
	if (!sock_take_both(s)) {
		sock_unref(s);
		return set_errno(-EAGAIN);
	}
	all.fast_rx = s->rx.fast_rx;
	all.kernel_rx = __atomic_load_n(&s->rx.kernel_rx, __ATOMIC_RELAXED);
	all.fast_tx = s->tx.fast_tx;
	all.kernel_tx = s->tx.kernel_tx + __atomic_load_n(&s->tx.unlocked_tx, __ATOMIC_RELAXED);
	status_explain(s, &all);
	sock_drop_both(s);
	sock_unref(s);
	memcpy(st, &all, size < sizeof(all) ? size : sizeof(all));
	st->size = size;
	return 0;
}
