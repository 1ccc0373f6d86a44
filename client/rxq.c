/* SPDX-License-Identifier: Apache-2.0 */
/* The library's end of RX rings and return rings: datagrams are taken, frames returned, and
 * rings emptied before they are dropped. */
#include "client/rxq.h"
#include "client/attach.h"
#include "client/base.h"
#include "client/cmsg.h"
#include "client/lock.h"
#include "client/pktbuf.h"
#include "client/public.h"
#include "client/sock.h"
#include <string.h>
#include <sys/socket.h>
#include <udplane/abi.h>
#include <udplane/ring.h>

bool attach_return(struct attach *a, uint32_t lane, const uint32_t *frames, uint32_t cnt)
{
	struct lane *l = &a->lane[lane];
	uint32_t free;

	if (!lock_insist(&l->ret_lock))
		return false;
	free = udplane_ring_free(&l->ret, cnt);
	if (likely(free != UDPLANE_RING_CORRUPT && free >= cnt &&
		   __atomic_load_n(&a->live, __ATOMIC_RELAXED))) {
		for (uint32_t i = 0; i < cnt; i++)
			l->frame[udplane_ring_slot(&l->ret, l->ret.idx + i)] = frames[i];
		udplane_ring_publish(&l->ret, cnt);
	}
	lock_drop(&l->ret_lock);
	return true;
}

bool rx_flush_back(struct attach *a, struct rxq *q, uint32_t lane)
{
	if (q->back_cnt && !attach_return(a, lane, q->back, q->back_cnt))
		return false;
	q->back_cnt = 0;
	q->back_sure = 0;
	return true;
}

void rx_taken(struct sock *s, struct rxq *q, uint32_t cnt)
{
	q->back_sure = q->back_cnt;
	q->taken = true;
	s->rx.ring_run += cnt;
	s->rx.peeked = PEEKED_NONE;
	s->rx.peeked_ring = false;
	udplane_ring_consume(&q->ring, cnt);
}

void rx_source(const struct attach *a, const struct udplane_rx_desc *d, struct udplane_addr *peer)
{
	memset(peer, 0, sizeof(*peer));
	peer->port_be = d->src_port_be;
	if (likely(!(d->flags & UDPLANE_RX_IPV6))) {
		peer->family = AF_INET;
		memcpy(peer->addr, &d->src4_be, 4);
		return;
	}
	peer->family = AF_INET6;
	memcpy(peer->addr, rx_payload(a, d) - 40,
	       16); /* IPv6 header at -48, source 8 bytes in it */
	if (udplane_addr_is_link_local(peer))
		peer->scope_id = (uint32_t)a->stats->ifindex;
}

static void rx_save(struct sock *s, const struct rxq *q, const struct udplane_rx_desc *d)
{
	struct pktbuf *b = pktbuf_small(d->len);

	if (!b) {
		rx_count_lost(s);
		return;
	}
	b->len = d->len;
	b->switched = d->flags & UDPLANE_RX_SWITCHED;
	rx_source(s->att, d, &b->peer);
	cmsg_info_of(s, q, d, &b->info);
	memcpy(b->data, rx_payload(s->att, d), d->len);
	*s->rx.saved_end = b;
	s->rx.saved_end = &b->next;
	s->rx.fast_rx++;
}

void rx_drain(struct sock *s, uint32_t lane, bool save)
{
	struct rxq *q = &s->rx.rxq[lane];
	uint32_t n = rx_avail(s, q, q->ring.size);

	for (uint32_t i = 0; i < n; i++) {
		struct udplane_rx_desc d;
		bool good = rx_load(s, q, i, &d);

		if (good && save)
			rx_save(s, q, &d);
		if (q->back_cnt < RX_BACK || rx_flush_back(s->att, q, lane))
			rx_back(s, q, d.frame);
	}
	q->taken |= n > 0;
	s->rx.peeked_ring = false;
	udplane_ring_consume(&q->ring, n);
	rx_flush_back(s->att, q, lane);
}
