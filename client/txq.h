/* SPDX-License-Identifier: Apache-2.0 */
/* The library's end of TX rings. Under tx.lock. */
#ifndef UDPLANE_CLIENT_TXQ_H
#define UDPLANE_CLIENT_TXQ_H

#include "client/name.h"
#include "client/sock.h"
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* May cnt datagrams go through the ring now? The lane, locked; or NULL. tx.lock held. */
struct lane *tx_open(struct sock *s, uint32_t cnt);
/* Room for up to want entries; waits a little for the first. 0: none. */
uint32_t tx_room(struct sock *s, struct lane *l, uint32_t want, int flags);
bool tx_alive(const struct sock *s); /* does udplaned still take what s sends? s has a lane */
/* Entry i behind the last published: payload is in its slot. */
void tx_fill(struct sock *s, struct lane *l, uint32_t i, const struct dest *d, uint32_t len);
/* Publishes cnt entries and rings the doorbell if need be; the lane stays locked. */
void tx_publish(struct sock *s, struct lane *l, uint32_t cnt);
/* A connected socket with an error to report: the kernel's call does. tx.lock held. */
bool tx_error_pending(struct sock *s);
static inline uint8_t *tx_slot(const struct attach *a, const struct lane *l, uint32_t i)
{
	return l->payload + ((size_t)udplane_ring_slot(&l->tx, l->tx.idx + i) << a->tx_slot_shift);
}
static inline uint32_t tx_max_len(const struct attach *a, const struct dest *d)
{
	uint32_t mtu = udplane_load32(&a->stats->mtu), header = d->ipv6 ? 48 : 28;
	uint32_t max = mtu > header ? mtu - header : 0;

	return max < a->tx_slot_size ? max : a->tx_slot_size;
}
void tx_count_kernel(struct sock *s, uint32_t cnt); /* tx.lock held */
/* Gives up what is reserved, if anything. Not locked in a forked child. */
void tx_cancel_reserved(struct sock *s);

#ifdef __cplusplus
}
#endif

#endif
