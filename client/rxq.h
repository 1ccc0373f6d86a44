/* SPDX-License-Identifier: Apache-2.0 */
/* The library's end of RX rings and return rings. Under rx.lock. */
#ifndef UDPLANE_CLIENT_RXQ_H
#define UDPLANE_CLIENT_RXQ_H

#include "client/sock.h"
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Datagrams in a ring, at least as far as min(want, all). */
static inline uint32_t rx_avail(struct sock *s, struct rxq *q, uint32_t want)
{
	uint32_t n = udplane_ring_avail(&q->ring, want);

	if (likely(n != UDPLANE_RING_CORRUPT))
		return n;
	control_distrust(&s->att->control);
	return 0;
}
/* Descriptor i from the ring's index on. False: it makes no sense; skip it. */
static inline bool rx_load(const struct sock *s, const struct rxq *q, uint32_t i,
			   struct udplane_rx_desc *d)
{
	*d = q->desc[udplane_ring_slot(&q->ring, q->ring.idx + i)];
	return d->frame < s->att->frame_cnt && (uint32_t)d->offset + d->len <= s->att->frame_size &&
	       d->offset >= (d->flags & UDPLANE_RX_IPV6 ? 48 : 28);
}
static inline const uint8_t *rx_payload(const struct attach *a, const struct udplane_rx_desc *d)
{
	return a->frames.addr + ((size_t)d->frame << a->frame_shift) + d->offset;
}
/* Asks for the payload of descriptor i, which the worker's core has in its cache. */
static inline void rx_prefetch(const struct sock *s, const struct rxq *q, uint32_t i)
{
	__builtin_prefetch(
		rx_payload(s->att, &q->desc[udplane_ring_slot(&q->ring, q->ring.idx + i)]));
}
void rx_source(const struct attach *a, const struct udplane_rx_desc *d, struct udplane_peer *peer);
/* Gives cnt ring entries back. */
void rx_taken(struct sock *s, struct rxq *q, uint32_t cnt);
/* False: not now, since this thread is returning some, in a call that a handler has interrupted. */
bool rx_flush_back(struct attach *a, struct rxq *q, uint32_t lane);
bool attach_return(struct attach *a, uint32_t lane, const uint32_t *frames, uint32_t cnt);
/* Empties a ring that goes away, into s->rx.saved if save. Both locks held. */
void rx_drain(struct sock *s, uint32_t lane, bool save);
/* There is room: rx_room_back() said so. */
static inline void rx_back(struct sock *s, struct rxq *q, uint32_t frame)
{
	if (likely(frame < s->att->frame_cnt))
		q->back[q->back_cnt++] = frame;
}

/* How many of n datagrams may be taken now, so that their frames can be put down. None are returned
 * from within: a fault in the application's buffer, from which its handler jumps, must find them
 * either in the ring or here. */
static inline uint32_t rx_room_back(struct sock *s, struct rxq *q, uint32_t n)
{
	uint32_t lane = (uint32_t)(q - s->rx.rxq), room = RX_BACK - q->back_cnt;

	if (n <= room)
		return n;
	if (!rx_flush_back(s->att, q, lane))
		return room;
	return n < RX_BACK ? n : RX_BACK;
}

#ifdef __cplusplus
}
#endif

#endif
