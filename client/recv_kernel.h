/* SPDX-License-Identifier: Apache-2.0 */
/* Receiving from the kernel socket. */
#ifndef UDPLANE_CLIENT_RECV_KERNEL_H
#define UDPLANE_CLIENT_RECV_KERNEL_H

#include "client/base.h"
#include "client/cmsg.h"
#include "client/sock.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

/* recvmmsg(2), or for one datagram the quicker recvmsg(2). Returns how many, or -errno. A
 * cancellation point only if it may wait. */
int kernel_recv(int kfd, struct mmsghdr *vec, uint32_t cnt, int flags, bool may_wait);
/* As kernel_recv(), with control messages as if the kernel had dropped what the fast path has.
 * *error: to be reported by the next call, or 0. */
int sock_kernel_recv(const struct sock *s, struct mmsghdr *vec, uint32_t cnt, int flags,
		     bool may_wait, uint32_t drops, int *error);
/* Returns 0 unless SO_RXQ_OVFL is set. */
static inline uint32_t rx_drops(const struct sock *s)
{
	return unlikely(rx_wants(s) & CMSG_WANT_DROPS) ? cmsg_our_drops(s) : 0;
}

#ifdef __cplusplus
}
#endif

#endif
