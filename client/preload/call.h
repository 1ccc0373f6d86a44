/* SPDX-License-Identifier: Apache-2.0 */
/* What the calls that receive and the calls that send have in common. */
#ifndef UDPLANE_PRELOAD_CALL_H
#define UDPLANE_PRELOAD_CALL_H

#include "client/base.h"
#include "client/preload/adopt.h"
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Returns true if n is the library's answer for a socket that was closed meanwhile, or whose
 * descriptor is another file by now, closed and made by calls that were not seen: then the kernel
 * has the answer. */
static inline bool is_gone(int fd, ssize_t n)
{
	if (likely(n >= 0) || (errno != EBADF && errno != ENOTSOCK))
		return false;
	if (errno == ENOTSOCK)
		shim_forget(fd);
	return true;
}

/* Returns true if a datagram is to be taken or sent: there are buffers, and the kernel would not
 * refuse them. */
static inline bool iov_is_plain(const struct iovec *iov, int cnt)
{
	size_t len = 0;

	if (cnt <= 0 || cnt > IOV_MAX || pointer_is_bad(iov))
		return false;
	for (int i = 0; i < cnt; i++) {
		if (iov[i].iov_len > INT_MAX)
			return false;
		len += iov[i].iov_len;
	}
	return len != 0 && len <= INT_MAX;
}

#endif
