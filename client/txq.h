/* SPDX-License-Identifier: Apache-2.0 */
/* The library's end of TX rings. Under tx.lock. */
#ifndef UDPLANE_CLIENT_TXQ_H
#define UDPLANE_CLIENT_TXQ_H

#include "client/sock.h"
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How a message is to be sent through the ring. */
struct tx_plan {
	struct udplane_addr to;
	uint32_t len; /* bytes of payload, of all segments */
	struct tx_options options;
	uint32_t segments;     /* 0 if it is not to be sent in segments */
	uint16_t segment_size; /* 0 if UDP_SEGMENT is not asked for */
	uint16_t head;	       /* bytes in front of the payload: of src6, or 0 */
	uint8_t src6[16];
};

/* Returns the lane, locked, if cnt datagrams may go through its ring now; else NULL. */
struct lane *tx_open(struct sock *s, uint32_t cnt);
/* Returns the room in the ring, up to want entries. Waits up to TX_FULL_WAIT_NS if there is
 * none. */
uint32_t tx_room(struct sock *s, struct lane *l, uint32_t want, int flags);
/* Returns true if there is room for all of cnt entries. Waits as tx_room(). */
bool tx_room_all(struct sock *s, struct lane *l, uint32_t cnt, int flags);
/* returns true if udplaned still takes what s, which has a lane, sends */
bool tx_alive(const struct sock *s);
/* Fills entry i behind the last published one; its payload is in its slot. */
void tx_fill(struct sock *s, struct lane *l, uint32_t i, const struct udplane_addr *d, uint32_t len,
	     const struct tx_options *o);
/* Publishes cnt entries, and rings the doorbell if the worker sleeps. The lane stays locked. */
void tx_publish(struct sock *s, struct lane *l, uint32_t cnt);
/* Returns true if a connected socket has an error to report, which a send through the kernel
 * does. */
bool tx_error_pending(struct sock *s);
static inline uint8_t *tx_slot(const struct attach *a, const struct lane *l, uint32_t i)
{
	return l->payload + ((size_t)udplane_ring_slot(&l->tx, l->tx.idx + i) << a->tx_slot_shift);
}
/* Returns the place of entry i's payload, and writes what comes before it. */
static inline uint8_t *tx_payload(const struct attach *a, const struct lane *l, uint32_t i,
				  const struct tx_plan *p)
{
	uint8_t *slot = tx_slot(a, l, i);

	if (unlikely(p->head))
		memcpy(slot, p->src6, sizeof(p->src6));
	return slot + p->head;
}
static inline uint32_t tx_max_len(const struct attach *a, const struct udplane_addr *d)
{
	uint32_t mtu = udplane_load32(&a->stats->mtu), header = d->family == AF_INET6 ? 48 : 28;
	uint32_t max = mtu > header ? mtu - header : 0;

	return max < a->tx_slot_size ? max : a->tx_slot_size;
}
void tx_count_kernel(struct sock *s, uint32_t cnt); /* tx.lock held */
/* Gives up what is reserved, if anything. In a forked child it is called without tx.lock. */
void tx_cancel_reserved(struct sock *s);

#ifdef __cplusplus
}
#endif

#endif
