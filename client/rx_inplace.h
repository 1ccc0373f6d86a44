/* SPDX-License-Identifier: Apache-2.0 */
/* Packets handed out in place. Under rx.lock. */
#ifndef UDPLANE_CLIENT_RX_INPLACE_H
#define UDPLANE_CLIENT_RX_INPLACE_H

#include "client/public.h"
#include "client/sock.h"
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Receives up to cnt datagrams from the kernel socket into private buffers, without waiting.
 * Returns how many, or -errno. */
int rx_kernel_pkts(struct sock *s, struct udplane_pkt *pkts, uint32_t cnt);
void rx_saved_pkt(struct pktbuf *b, struct udplane_pkt *p);
void rx_ring_pkt(struct attach *a, uint32_t lane, const struct udplane_rx_desc *d,
		 struct udplane_pkt *p);

#ifdef __cplusplus
}
#endif

#endif
