/* SPDX-License-Identifier: Apache-2.0 */
/* What a look at the kernel socket tells. Under rx.lock. */
#ifndef UDPLANE_CLIENT_RX_KERNEL_H
#define UDPLANE_CLIENT_RX_KERNEL_H

#include "client/base.h"
#include "client/sock.h"
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* To be called after a read of the kernel socket that returned cnt of asked datagrams, or
 * -errno. */
void rx_kernel_looked(struct sock *s, int cnt, uint32_t asked, int flags);
/* Returns true if the next datagram, which is marked UDPLANE_RX_SWITCHED, may be taken. emptied:
 * the kernel socket was found empty in this call. */
bool rx_switch(struct sock *s, bool emptied);
/* Returns true if the kernel socket must be read before the rings. */
static inline bool rx_kernel_due(const struct sock *s)
{
	return s->rx.peeked == PEEKED_KERNEL ||
	       (s->rx.ring_run >= RX_KERNEL_EVERY && s->rx.peeked != PEEKED_RING);
}

#ifdef __cplusplus
}
#endif

#endif
