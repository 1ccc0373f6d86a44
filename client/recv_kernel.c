/* SPDX-License-Identifier: Apache-2.0 */
/* See recv_kernel.h. */
#include "client/recv_kernel.h"
#include "client/cmsg.h"
#include "client/raw.h"
#include <errno.h>

int kernel_recv(int kfd, struct mmsghdr *vec, uint32_t cnt, int flags, bool may_wait)
{
	ssize_t n;

	if (cnt != 1) {
		n = may_wait ? recvmmsg(kfd, vec, cnt, flags, NULL)
			     : raw_recvmmsg(kfd, vec, cnt, flags);
		return n < 0 ? -errno : (int)n;
	}
	flags &= ~MSG_WAITFORONE;
	n = may_wait ? recvmsg(kfd, &vec->msg_hdr, flags) : raw_recvmsg(kfd, &vec->msg_hdr, flags);
	if (n < 0)
		return -errno;
	vec->msg_len = (unsigned int)n;
	return 1;
}

/* One datagram of the kernel socket, whose SO_RXQ_OVFL is to count our drops, too. */
static int kernel_recv_counted(int kfd, struct mmsghdr *m, int flags, bool may_wait, uint32_t drops)
{
	uint8_t control[CMSG_ROOM] __attribute__((aligned(8)));
	struct mmsghdr one = *m;
	int n;

	one.msg_hdr.msg_control = control;
	one.msg_hdr.msg_controllen = sizeof(control);
	n = kernel_recv(kfd, &one, 1, flags, may_wait);
	if (n != 1)
		return n;
	m->msg_len = one.msg_len;
	m->msg_hdr.msg_namelen = one.msg_hdr.msg_namelen;
	m->msg_hdr.msg_flags = one.msg_hdr.msg_flags;
	cmsg_copy(&m->msg_hdr, m->msg_hdr.msg_controllen, control, one.msg_hdr.msg_controllen,
		  drops);
	return 1;
}

int sock_kernel_recv(const struct sock *s, struct mmsghdr *vec, uint32_t cnt, int flags,
		     bool may_wait, uint32_t drops, int *error)
{
	uint32_t i = 0;
	int n = 0;

	*error = 0;
	if (likely(!drops) || (flags & MSG_ERRQUEUE))
		return kernel_recv(s->kfd, vec, cnt, flags, may_wait);
	while (i < cnt && (n = kernel_recv_counted(s->kfd, &vec[i], flags, may_wait, drops)) == 1) {
		i++;
		if (flags & MSG_WAITFORONE)
			flags |= MSG_DONTWAIT;
	}
	if (!i)
		return n;
	if (n < 0 && n != -EAGAIN && n != -EINTR)
		*error = n;
	return (int)i;
}
