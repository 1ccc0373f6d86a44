/* SPDX-License-Identifier: Apache-2.0 */
/* Sending under the shim. A descriptor that is not in the table costs one load. */
#include "client/base.h"
#include "client/preload/adopt.h"
#include "client/preload/call.h"
#include "client/sock.h"
#include "client/table.h"
#include <errno.h>
#include <limits.h>
#include <udplane/udplane.h>

#include "client/preload/entry.h"

ENTRY ssize_t sendto(int fd, const void *buf, size_t len, int flags, const struct sockaddr *to,
		     socklen_t to_len)
{
	ssize_t n;

	if (table_get(fd)) {
		n = udplane_sendto(fd, buf, len, flags, to, to_len);
		if (!is_gone(fd, n))
			return n;
	}
	return real_sendto(fd, buf, len, flags, to, to_len);
}

ENTRY ssize_t send(int fd, const void *buf, size_t len, int flags)
{
	ssize_t n;

	if (table_get(fd)) {
		n = udplane_sendto(fd, buf, len, flags, NULL, 0);
		if (!is_gone(fd, n))
			return n;
	}
	return real_send(fd, buf, len, flags);
}

ENTRY ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	ssize_t n;

	if (table_get(fd)) {
		n = udplane_sendmsg(fd, msg, flags);
		if (!is_gone(fd, n))
			return n;
	} else if (!pointer_is_bad(msg) && msg->msg_controllen &&
		   !pointer_is_bad(msg->msg_control)) {
		shim_fds_sent(msg);
	}
	return real_sendmsg(fd, msg, flags);
}

ENTRY int sendmmsg(int fd, struct mmsghdr *vec, unsigned int cnt, int flags)
{
	int n;

	if (table_get(fd)) {
		n = udplane_sendmmsg(fd, vec, cnt, flags);
		if (!is_gone(fd, n))
			return n;
	} else if (!pointer_is_bad(vec)) {
		for (unsigned int i = 0; i < cnt && i < IOV_MAX; i++)
			if (vec[i].msg_hdr.msg_controllen &&
			    !pointer_is_bad(vec[i].msg_hdr.msg_control))
				shim_fds_sent(&vec[i].msg_hdr);
	}
	return real_sendmmsg(fd, vec, cnt, flags);
}

/* An empty buffer sends an empty datagram here, but not in writev(2). */
ENTRY ssize_t write(int fd, const void *buf, size_t len)
{
	ssize_t n;

	if (table_get(fd)) {
		n = udplane_sendto(fd, buf, len, 0, NULL, 0);
		if (!is_gone(fd, n))
			return n;
	}
	return real_write(fd, buf, len);
}

ENTRY ssize_t writev(int fd, const struct iovec *iov, int cnt)
{
	ssize_t n;

	if (table_get(fd) && iov_is_plain(iov, cnt)) {
		struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)cnt};

		n = udplane_sendmsg(fd, &msg, 0);
		if (!is_gone(fd, n))
			return n;
	}
	return real_writev(fd, iov, cnt);
}
