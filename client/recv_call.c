/* SPDX-License-Identifier: Apache-2.0 */
/* The calls that receive. What they have in common: recv.c. */
#include "client/base.h"
#include "client/fault.h"
#include "client/lock.h"
#include "client/public.h"
#include "client/ready.h"
#include "client/recv.h"
#include "client/sock.h"
#include "client/table.h"
#include <errno.h>
#include <limits.h>
#include <sys/socket.h>
#include <time.h>
#include <udplane/clock.h>

static void rx_keep_error(int fd, int err)
{
	struct sock *s = sock_lock_rx(fd);

	if (!s)
		return; /* closed, or interrupted: the error is lost, as in Linux */
	s->rx.error = err;
	rx_update_readiness(s);
	lock_drop(&s->rx.lock);
}

/* Returns 0 or -errno, which is returned after the datagram is taken, as in Linux. */
static int read_name_len(const socklen_t *from, socklen_t *len)
{
	if (!fault_copy(len, from, sizeof(*len)))
		return -EFAULT;
	return (int)*len < 0 ? -EINVAL : 0;
}

ssize_t udplane_recvfrom(int fd, void *buf, size_t len, int flags, struct sockaddr *from,
			 socklen_t *fromlen)
{
	struct iovec iov = {.iov_base = buf, .iov_len = len < INT_MAX ? len : INT_MAX};
	socklen_t room = 0;
	int bad = from ? read_name_len(fromlen, &room) : 0;
	struct mmsghdr m = {.msg_hdr = {.msg_name = bad ? NULL : from,
					.msg_namelen = bad ? 0 : room,
					.msg_iov = &iov,
					.msg_iovlen = 1}};
	struct rx_sink sink = {.vec = &m, .cnt = 1, .flags = flags & NOT_COMPAT};
	int n;

	n = rx_call(fd, &sink);
	if (n < 0 || bad)
		return set_errno(n < 0 ? n : bad);
	if (from && !fault_copy(fromlen, &m.msg_hdr.msg_namelen, sizeof(*fromlen)))
		return set_errno(-EFAULT);
	return (ssize_t)m.msg_len;
}

ssize_t udplane_recv(int fd, void *buf, size_t len, int flags)
{
	return udplane_recvfrom(fd, buf, len, flags, NULL, NULL);
}

ssize_t udplane_recvmsg(int fd, struct msghdr *msg, int flags)
{
	struct mmsghdr m;
	struct rx_sink sink = {.vec = &m, .cnt = 1, .flags = flags};
	int n;

	if (unlikely(!fault_copy(&m.msg_hdr, msg, sizeof(*msg))))
		return set_errno(table_get(fd) ? -EFAULT : -EBADF);
	n = rx_call(fd, &sink);
	if (n < 0)
		return set_errno(n);
	if (unlikely(!fault_copy(msg, &m.msg_hdr, sizeof(*msg))))
		return set_errno(-EFAULT);
	return (ssize_t)m.msg_len;
}

/* recvmmsg(2) for no datagrams still reports an error of the socket. */
static int rx_none(int fd, int flags)
{
	socklen_t len = sizeof(int);
	int err = 0;

	if (flags & MSG_ERRQUEUE)
		return table_get(fd) ? 0 : set_errno(-EBADF);
	if (udplane_getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		return -1;
	return set_errno(-err);
}

/* As in Linux, the timeout is checked only after each datagram (here: after up to 8 that were
 * there at once), and an error after the first datagram is reported by the next call. */
int udplane_recvmmsg(int fd, struct mmsghdr *vec, unsigned int cnt, int flags,
		     struct timespec *timeout)
{
	uint64_t end = 0, now = 0;
	struct rx_sink sink;
	uint32_t done = 0;
	int n = 0;

	if (unlikely(cnt && pointer_is_bad(vec)))
		return set_errno(table_get(fd) ? -EFAULT : -EBADF);
	if (timeout) {
		if (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec >= 1000000000)
			return set_errno(-EINVAL);
		now = clock_now_ns();
		end = (uint64_t)timeout->tv_sec > UINT64_MAX / 4000000000u
			      ? UINT64_MAX / 2
			      : (uint64_t)timeout->tv_sec * 1000000000u +
					(uint64_t)timeout->tv_nsec;
		end += now;
	}
	while (done < cnt) {
		uint32_t chunk = cnt - done < 1024 ? cnt - done : 1024;

		if (timeout && chunk > (done ? 8u : 1u))
			chunk = done ? 8 : 1;
		sink = (struct rx_sink){.vec = vec + done, .cnt = chunk, .flags = flags};
		n = rx_call(fd, &sink);
		flags = sink.flags;
		if (n < 0)
			break;
		done += (uint32_t)n;
		if (flags & MSG_WAITFORONE)
			flags |= MSG_DONTWAIT;
		if (n < (int)chunk && (flags & MSG_DONTWAIT))
			break;
		if (timeout && (now = clock_now_ns()) >= end)
			break;
	}
	if (timeout) {
		end = end > now ? end - now : 0;
		timeout->tv_sec = (time_t)(end / 1000000000u);
		timeout->tv_nsec = (long)(end % 1000000000u);
	}
	if (!cnt)
		return rx_none(fd, flags);
	if (!done)
		return set_errno(n);
	if (n < 0 && n != -EAGAIN && n != -EINTR && n != -EBADF)
		rx_keep_error(fd, n);
	return (int)done;
}
