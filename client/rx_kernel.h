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

/* After a look at the kernel socket that brought cnt datagrams of asked, or -errno. */
void rx_kernel_looked(struct sock *s, int cnt, uint32_t asked, int flags);
/* A datagram marked UDPLANE_RX_SWITCHED is next: may it be taken? emptied: the kernel socket was
 * found empty in this call. */
bool rx_switch(struct sock *s, bool emptied);
/* Must the kernel socket be looked at before the rings? */
static inline bool rx_kernel_due(const struct sock *s)
{
	return s->rx.peeked == PEEKED_KERNEL ||
	       (s->rx.ring_run >= RX_KERNEL_EVERY && s->rx.peeked != PEEKED_RING);
}

#ifdef __cplusplus
}
#endif

#endif
