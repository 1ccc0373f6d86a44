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

/* Returns the number of datagrams in a ring: all, or at least want. */
static inline uint32_t rx_avail(struct sock *s, struct rxq *q, uint32_t want)
{
	uint32_t n = udplane_ring_avail(&q->ring, want);

	if (likely(n != UDPLANE_RING_CORRUPT))
		return n;
	control_distrust(&s->att->control);
	return 0;
}
/* Returns the producer's index as it is now; its own if that is impossible. */
static inline uint32_t rx_produced(struct sock *s, struct rxq *q)
{
	return q->ring.idx + rx_avail(s, q, UINT32_MAX);
}
/* Copies descriptor i, counted from the ring's index. Returns false if it is invalid and must be
 * skipped. */
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
/* Prefetches the payload of descriptor i, which is in the cache of the worker's core. */
static inline void rx_prefetch(const struct sock *s, const struct rxq *q, uint32_t i)
{
	__builtin_prefetch(
		rx_payload(s->att, &q->desc[udplane_ring_slot(&q->ring, q->ring.idx + i)]));
}
/* A datagram is lost for want of memory: SO_RXQ_OVFL counts it, as Linux counts its own. */
static inline void rx_count_lost(struct sock *s)
{
	__atomic_fetch_add(&s->rx.past_drops, 1, __ATOMIC_RELAXED);
}
void rx_source(const struct attach *a, const struct udplane_rx_desc *d, struct udplane_addr *peer);
/* Gives cnt entries back to the producer. */
void rx_taken(struct sock *s, struct rxq *q, uint32_t cnt);
/* Returns false if this thread is returning frames in a call that a handler has interrupted: try
 * again later. */
bool rx_flush_back(struct attach *a, struct rxq *q, uint32_t lane);
bool attach_return(struct attach *a, uint32_t lane, const uint32_t *frames, uint32_t cnt);
/* Empties a ring that is about to be dropped; saves its datagrams in s->rx.saved if save. Both
 * locks held. */
void rx_drain(struct sock *s, uint32_t lane, bool save);
/* Notes a frame to be returned. rx_room_back() has made room. */
static inline void rx_back(struct sock *s, struct rxq *q, uint32_t frame)
{
	if (likely(frame < s->att->frame_cnt))
		q->back[q->back_cnt++] = frame;
}

/* Returns how many of n datagrams may be taken now, so that there is room to note their frames.
 * Frames are not returned while datagrams are copied: if a handler jumps out of a fault in the
 * application's buffer, each frame must be either in the ring or in q->back. */
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
