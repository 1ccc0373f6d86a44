/* SPDX-License-Identifier: Apache-2.0 */
/* Receiving under the shim. A descriptor that is not in the table costs one load. */
#include "client/base.h"
#include "client/preload/adopt.h"
#include "client/preload/call.h"
#include "client/sock.h"
#include "client/table.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <udplane/udplane.h>

#include "client/preload/entry.h"

ENTRY ssize_t recvfrom(int fd, void *buf, size_t len, int flags, struct sockaddr *from,
		       socklen_t *from_len)
{
	ssize_t n;

	if (table_get(fd)) {
		n = udplane_recvfrom(fd, buf, len, flags, from, from_len);
		if (!is_gone(fd, n))
			return n;
	}
	return real_recvfrom(fd, buf, len, flags, from, from_len);
}

ENTRY ssize_t recv(int fd, void *buf, size_t len, int flags)
{
	ssize_t n;

	if (table_get(fd)) {
		n = udplane_recvfrom(fd, buf, len, flags, NULL, NULL);
		if (!is_gone(fd, n))
			return n;
	}
	return real_recv(fd, buf, len, flags);
}

ENTRY ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
	ssize_t n;

	if (table_get(fd)) {
		n = udplane_recvmsg(fd, msg, flags);
		if (!is_gone(fd, n))
			return n;
	}
	n = real_recvmsg(fd, msg, flags);
	if (n >= 0 && msg->msg_controllen && msg->msg_control)
		shim_fds_received(msg);
	return n;
}

ENTRY int recvmmsg(int fd, struct mmsghdr *vec, unsigned int cnt, int flags,
		   struct timespec *timeout)
{
	int n;

	if (table_get(fd)) {
		n = udplane_recvmmsg(fd, vec, cnt, flags, timeout);
		if (!is_gone(fd, n))
			return n;
	}
	n = real_recvmmsg(fd, vec, cnt, flags, timeout);
	for (int i = 0; i < n; i++)
		if (vec[i].msg_hdr.msg_controllen && vec[i].msg_hdr.msg_control)
			shim_fds_received(&vec[i].msg_hdr);
	return n;
}

/* An empty buffer takes no datagram here, other than in recv(2). */
ENTRY ssize_t read(int fd, void *buf, size_t len)
{
	ssize_t n;

	if (table_get(fd) && len) {
		n = udplane_recvfrom(fd, buf, len, 0, NULL, NULL);
		if (!is_gone(fd, n))
			return n;
	}
	return real_read(fd, buf, len);
}

ENTRY ssize_t readv(int fd, const struct iovec *iov, int cnt)
{
	ssize_t n;

	if (table_get(fd) && iov_is_plain(iov, cnt)) {
		struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)cnt};

		n = udplane_recvmsg(fd, &msg, 0);
		if (!is_gone(fd, n))
			return n;
	}
	return real_readv(fd, iov, cnt);
}

/* --- what _FORTIFY_SOURCE makes of them --- */

static void check(size_t len, size_t room)
{
	if (len > room)
		abort();
}

ENTRY ssize_t __recv_chk(int fd, void *buf, size_t len, size_t room, int flags);
ENTRY ssize_t __recv_chk(int fd, void *buf, size_t len, size_t room, int flags)
{
	check(len, room);
	return recv(fd, buf, len, flags);
}

ENTRY ssize_t __recvfrom_chk(int fd, void *buf, size_t len, size_t room, int flags,
			     struct sockaddr *from, socklen_t *from_len);
ENTRY ssize_t __recvfrom_chk(int fd, void *buf, size_t len, size_t room, int flags,
			     struct sockaddr *from, socklen_t *from_len)
{
	check(len, room);
	return recvfrom(fd, buf, len, flags, from, from_len);
}

ENTRY ssize_t __read_chk(int fd, void *buf, size_t len, size_t room);
ENTRY ssize_t __read_chk(int fd, void *buf, size_t len, size_t room)
{
	check(len, room);
	return read(fd, buf, len);
}
