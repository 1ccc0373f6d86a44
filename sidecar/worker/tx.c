/* SPDX-License-Identifier: Apache-2.0 */
/* Sends one burst of one client. Descriptors are copied, then checked; headers come from the flow
 * cache or the route table. A datagram that the fast path cannot send goes to the control thread as
 * an event. */
#include "sidecar/base/probe.h"
#include "sidecar/worker/internal.h"
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <udplane/clock.h>

#define UDP_IP4_LEN 28u /* IPv4 and UDP header, bytes */
#define UDP_IP6_LEN 48u
#define ETH_LEN	    14u
/* Payload of a super-packet. Linux cuts frames of less than 64 KiB only (GSO_LEGACY_MAX_SIZE). */
#define SUPER_BYTES (65535u - PACKET_HDR_LEN6)
/* Descriptors of a burst where runs are sent as one: some super-packets, so that runs of several
 * calls of a client are cut less often. */
#define SUPER_BURST 256u

static uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

bool worker_tx_push(struct worker *w)
{
	uint32_t n;

	if (!w->tx_staged)
		return true;
	n = w->ops->tx_burst(w->queue, w->tx_stage, w->tx_staged);
	w->tx_staged -= n;
	memmove(w->tx_stage, w->tx_stage + n, w->tx_staged * sizeof(w->tx_stage[0]));
	return w->tx_staged == 0;
}

/* What a datagram asks for besides its destination: flags to src4_be of its descriptor. */
static uint64_t asked_of(const struct udplane_tx_desc *d)
{
	uint64_t asked;

	memcpy(&asked, (const uint8_t *)d + offsetof(struct udplane_tx_desc, flags), sizeof(asked));
	return asked;
}

static uint32_t flow_slot(const uint8_t *dst, uint64_t sock_asked)
{
	uint64_t a, b;

	memcpy(&a, dst, 8);
	memcpy(&b, dst + 8, 8);
	a = (a ^ (b * 0x9e3779b97f4a7c15ull) ^ sock_asked) * 0xff51afd7ed558ccdull;
	return (uint32_t)(a >> 40) & (WORKER_FLOWS - 1);
}

/* Linux's automatic flow label is a hash of the flow as well (net/ipv6: ip6_make_flowlabel). */
static uint32_t flow_label(const uint8_t *dst, uint32_t sock)
{
	return (flow_slot(dst, sock) * 2654435761u) >> 12;
}

static uint8_t family_of(const struct udplane_tx_desc *d)
{
	return d->flags & UDPLANE_TX_IPV6 ? AF_INET6 : AF_INET;
}

/* Does the datagram bring an IPv6 source in front of its payload? */
static bool has_src6(const struct udplane_tx_desc *d)
{
	return (d->flags & (UDPLANE_TX_SOURCE | UDPLANE_TX_IPV6)) ==
	       (UDPLANE_TX_SOURCE | UDPLANE_TX_IPV6);
}

/* Looks up the way of a datagram. asked: the source that it asks for, or NULL. Returns the source,
 * or NULL if the fast path cannot reach the destination from there. */
static const uint8_t *flow_route(const struct worker *w, const struct udplane_tx_desc *d,
				 const uint8_t *asked, struct route_hop *hop)
{
	const struct worker_source *src = &w->source[d->sock];
	const uint8_t *own = src->addr.family ? src->addr.addr : NULL;
	static const uint8_t none[16];

	if (!w->route || src->slow || (own && src->addr.family != family_of(d)))
		return NULL;
	/* Linux knows what other address a socket may send from, and which is the default. */
	if (asked && (own ? memcmp(asked, own, 16) : !memcmp(asked, none, 16)))
		return NULL;
	if (d->flags & UDPLANE_TX_TTL && !d->ttl)
		return NULL;
	own = asked ? asked : own;
	if (route_lookup(w->route, family_of(d), d->dst, own, hop) != ROUTE_FAST)
		return NULL;
	return own ? own : hop->src;
}

static void flow_fill(const struct worker *w, struct worker_flow *f,
		      const struct udplane_tx_desc *d, const uint8_t *src,
		      const struct route_hop *hop)
{
	struct packet_flow pf = {.family = family_of(d),
				 .tos = d->flags & UDPLANE_TX_TOS ? d->tos : 0,
				 .df = !f->no_df,
				 .no_checksum = d->flags & UDPLANE_TX_NO_CHECKSUM,
				 .src_port_be = w->source[d->sock].addr.port_be};

	memcpy(pf.src_mac, w->queue->dev->mac, 6);
	memcpy(pf.dst_mac, hop->dst_mac, 6);
	memcpy(pf.src.bytes, src, 16);
	pf.ttl = d->flags & UDPLANE_TX_TTL ? d->ttl
		 : hop->hop_limit	   ? hop->hop_limit
		 : pf.family == AF_INET	   ? w->opt.ttl4
					   : w->opt.hop_limit6;
	if (pf.family == AF_INET6 && !(d->flags & UDPLANE_TX_NO_LABEL))
		pf.flow_label = flow_label(d->dst, d->sock);
	packet_template_init(&f->tmpl, &pf);
}

/* Fills the cache entry. src6: the source that the datagram asks for, if it is IPv6. Returns false
 * if the fast path cannot reach the destination. */
static bool flow_resolve(struct worker *w, struct worker_flow *f, const struct udplane_tx_desc *d,
			 const uint8_t *src6)
{
	uint8_t src4[16] = {0};
	const uint8_t *src;
	struct route_hop hop;

	f->generation = 0;
	memcpy(src4, &d->src4_be, 4);
	src = flow_route(w, d, src6 ? src6 : d->flags & UDPLANE_TX_SOURCE ? src4 : NULL, &hop);
	if (!src)
		return false;
	f->no_df = w->source[d->sock].no_df || d->flags & UDPLANE_TX_NO_DF;
	flow_fill(w, f, d, src, &hop);
	memcpy(f->dst, d->dst, 16);
	if (src6)
		memcpy(f->src6, src6, 16);
	f->sock = d->sock;
	f->neigh = hop.neigh;
	f->mtu = (uint16_t)min_u32(hop.mtu, w->opt.frame_size - w->queue->dev->tx_headroom -
						    ETH_LEN); /* what no frame holds is slow */
	/* the MTU of the NIC may be less than that of the TAP, which the routes use */
	if (w->ops->pass)
		f->mtu = (uint16_t)min_u32(f->mtu, w->queue->dev->mtu);
	f->asked = asked_of(d);
	f->generation = w->flow_generation;
	w->has_flows[d->sock] = 1;
	return true;
}

static struct worker_flow *flow_find(struct worker *w, const struct udplane_tx_desc *d,
				     const uint8_t *src6)
{
	uint64_t asked = asked_of(d);
	struct worker_flow *f = &w->flow[flow_slot(d->dst, asked ^ d->sock)];

	if (f->generation == w->flow_generation && f->sock == d->sock && f->asked == asked &&
	    !memcmp(f->dst, d->dst, 16) && (!src6 || !memcmp(f->src6, src6, 16)))
		return f;
	return flow_resolve(w, f, d, src6) ? f : NULL;
}

/* Copies one descriptor, reading each word once. */
static struct udplane_tx_desc read_desc(const struct worker_lane *lane, uint32_t slot)
{
	union {
		uint64_t word[4];
		struct udplane_tx_desc d;
	} u;

	for (uint32_t i = 0; i < 4; i++)
		u.word[i] =
			foreign_load64(lane->tx_desc, slot * sizeof(u.d) + i * sizeof(u.word[0]));
	if (!(u.d.flags & UDPLANE_TX_IPV6))
		memset(u.d.dst + 4, 0, 12); /* so that whole addresses can be compared */
	return u.d;
}

/* TX_CLOSED: the socket is not, or not any more, the client's. */
enum tx_result { TX_FAST, TX_SLOW, TX_INVALID, TX_CLOSED, TX_STALL };

/* src6: as for flow_resolve(). */
static enum tx_result slow(struct worker *w, const struct udplane_tx_desc *d, const uint8_t *src6,
			   struct foreign payload)
{
	struct worker_event *ev = worker_event_reserve(w, w->flushing ? 0 : WORKER_EVENTS_FLUSH);

	if (!ev)
		/* the event ring is full: the client's TX ring waits, nothing is lost */
		return TX_STALL;
	ev->type = WORKER_EVENT_SLOW;
	ev->sock = d->sock;
	ev->channel_id = w->socket[d->sock].lane->id;
	ev->serial = w->socket[d->sock].lane->serial;
	ev->dst = (struct udplane_addr){.port_be = d->dst_port_be,
					.family = d->flags & UDPLANE_TX_IPV6 ? AF_INET6 : AF_INET};
	memcpy(ev->dst.addr, d->dst, 16);
	ev->asked = (struct udplane_tx_asked){.flags = d->flags, .tos = d->tos, .ttl = d->ttl};
	memcpy(ev->asked.src, src6 ? src6 : (const uint8_t *)&d->src4_be, src6 ? 16 : 4);
	ev->len = d->len;
	foreign_copy(ev->payload, payload, d->len);
	worker_event_submit(w);
	return TX_SLOW;
}

/* Returns TX_FAST if the datagram is the client's to send. */
static enum tx_result check(const struct worker *w, const struct worker_lane *lane,
			    const struct udplane_tx_desc *d)
{
	uint32_t before = has_src6(d) ? 16 : 0; /* bytes in front of the payload */

	if (d->sock >= w->opt.socket_max || d->len + before > lane->tx_slot_size ||
	    (d->flags & ~UDPLANE_TX_FLAGS))
		return TX_INVALID;
	if (w->socket[d->sock].lane != lane)
		return w->socket[d->sock].lane ? TX_INVALID : TX_CLOSED;
	return TX_FAST;
}

static bool fits(const struct worker_flow *f, const struct udplane_tx_desc *d)
{
	return d->len + (d->flags & UDPLANE_TX_IPV6 ? UDP_IP6_LEN : UDP_IP4_LEN) <= f->mtu;
}

static enum tx_result send_one(struct worker *w, struct worker_lane *lane,
			       const struct udplane_tx_desc *d, struct foreign payload,
			       uint32_t frame)
{
	uint32_t before = has_src6(d) ? 16 : 0; /* bytes in front of the payload */
	uint8_t src6[16];
	enum tx_result may = check(w, lane, d);
	struct worker_flow *f;
	struct packet_endpoint to;
	struct device_frame *out;

	if (may != TX_FAST)
		return may;
	if (before) {
		foreign_copy(src6, payload, 16);
		payload = foreign_at(payload, 16);
	}
	f = flow_find(w, d, before ? src6 : NULL);
	if (!f || !d->dst_port_be || !fits(f, d))
		return slow(w, d, before ? src6 : NULL, payload);
	memcpy(to.addr.bytes, d->dst, 16);
	to.port_be = d->dst_port_be;
	out = &w->tx_stage[w->tx_staged++];
	out->frame = frame;
	out->off = (uint16_t)w->queue->dev->tx_headroom;
	out->len = (uint16_t)packet_build(
		w->opt.frames + (size_t)frame * w->opt.frame_size + out->off, &f->tmpl, &to,
		foreign_payload(payload), d->len, f->no_df ? ++w->ip_id : 0);
	route_table_mark_used(w->route, f->neigh);
	return TX_FAST;
}

static void count_tx(struct worker *w, const struct udplane_tx_desc *d, enum tx_result r)
{
	uint64_t *s = w->socket[d->sock].counter;

	if (r == TX_FAST) {
		udplane_count(&s[UDPLANE_SOCKET_TX_SENT], 1);
		udplane_count(&s[UDPLANE_SOCKET_TX_BYTES], d->len);
		udplane_count(&w->counter[UDPLANE_WORKER_TX_SENT], 1);
		udplane_count(&w->counter[UDPLANE_WORKER_TX_BYTES], d->len);
	} else {
		udplane_count(&s[UDPLANE_SOCKET_TX_SLOW], 1);
		udplane_count(&w->counter[UDPLANE_WORKER_TX_SLOW], 1);
	}
}

/* --- super-packets --- */

static struct foreign payload_at(const struct worker_lane *lane, uint32_t i)
{
	uint32_t slot = udplane_ring_slot(&lane->tx, lane->tx.idx + i);

	return foreign_at(lane->tx_payload, (size_t)slot * lane->tx_slot_size);
}

/* A run of datagrams in the TX ring that can go as one packet: alike in all but their payloads, and
 * as long as the first, only the last may be shorter. */
struct run {
	uint32_t at, cnt; /* entries from the ring's next one on */
	uint16_t last_len;
	uint8_t src6[16]; /* of all, if they ask for one */
};

static bool alike(const struct udplane_tx_desc *a, const struct udplane_tx_desc *b)
{
	return b->sock == a->sock && b->dst_port_be == a->dst_port_be && b->len &&
	       b->len <= a->len && asked_of(b) == asked_of(a) && !memcmp(b->dst, a->dst, 16);
}

/* Finds the run that begins with d. max: entries that may belong to it, at least 1. */
static void run_find(const struct worker_lane *lane, const struct udplane_tx_desc *d, uint32_t max,
		     struct run *r)
{
	r->cnt = 1;
	r->last_len = d->len;
	if (!d->len || d->flags & UDPLANE_TX_NO_CHECKSUM)
		return;
	max = min_u32(max, SUPER_BYTES / d->len);
	if (has_src6(d))
		foreign_copy(r->src6, payload_at(lane, r->at), 16);
	while (r->cnt < max && r->last_len == d->len) {
		uint32_t slot = udplane_ring_slot(&lane->tx, lane->tx.idx + r->at + r->cnt);
		struct udplane_tx_desc next = read_desc(lane, slot);
		uint8_t src6[16];

		if (!alike(d, &next))
			return;
		if (has_src6(d)) {
			foreign_copy(src6, payload_at(lane, r->at + r->cnt), 16);
			if (memcmp(src6, r->src6, 16))
				return;
		}
		r->last_len = next.len;
		r->cnt++;
	}
}

/* Short payloads are copied together, which is cheaper than an iovec for each. */
static void run_gather(const struct worker_lane *lane, const struct udplane_tx_desc *d,
		       const struct run *r, struct worker_super *s)
{
	struct iovec *to = &s->packet.iov[2];
	uint8_t *end = s->payload;

	for (uint32_t i = 0; i < r->cnt; i++) {
		uint32_t len = i + 1 < r->cnt ? d->len : r->last_len;
		struct foreign from = foreign_at(payload_at(lane, r->at + i), has_src6(d) ? 16 : 0);

		if (d->len <= WORKER_SUPER_SHORT) {
			foreign_copy(end, from, len);
			end += len;
		} else {
			*to++ = foreign_iovec(from, len);
		}
	}
	if (end > s->payload)
		*to++ = (struct iovec){s->payload, (size_t)(end - s->payload)};
	s->packet.iov_cnt = (uint32_t)(to - s->packet.iov);
}

static void count_run(struct worker *w, const struct udplane_tx_desc *d, const struct run *r)
{
	uint64_t *s = w->socket[d->sock].counter;
	uint64_t bytes = (uint64_t)(r->cnt - 1) * d->len + r->last_len;

	udplane_count(&s[UDPLANE_SOCKET_TX_SENT], r->cnt);
	udplane_count(&s[UDPLANE_SOCKET_TX_BYTES], bytes);
	udplane_count(&w->counter[UDPLANE_WORKER_TX_SENT], r->cnt);
	udplane_count(&w->counter[UDPLANE_WORKER_TX_BYTES], bytes);
	udplane_count(&w->counter[UDPLANE_WORKER_TX_SUPERS], 1);
	udplane_count(&w->counter[UDPLANE_WORKER_TX_SUPER_DATAGRAMS], r->cnt);
}

/* Makes the super-packet of a run and sends it behind what has been staged. Returns false if its
 * datagrams must go one by one. */
static bool run_submit(struct worker *w, const struct worker_lane *lane,
		       const struct udplane_tx_desc *d, const struct run *r, struct worker_flow *f)
{
	uint32_t len = (r->cnt - 1) * d->len + r->last_len;
	struct device_super *p = &w->super->packet;
	struct packet_endpoint to = {.port_be = d->dst_port_be};
	int err;

	memcpy(to.addr.bytes, d->dst, 16);
	p->cnt = r->cnt;
	p->seg_len = d->len;
	p->hdr_len = (uint16_t)packet_build_super(p->hdr, &f->tmpl, &to, (uint16_t)len,
						  f->no_df ? (uint16_t)(w->ip_id + 1) : 0);
	p->iov[1] = (struct iovec){p->hdr, p->hdr_len};
	run_gather(lane, d, r, w->super);
	err = w->ops->tx_super(w->queue, p);
	if (err && err != -EAGAIN)
		udplane_count(&w->counter[UDPLANE_WORKER_TX_SUPER_REFUSED], 1);
	if (err)
		return false;
	if (f->no_df)
		w->ip_id = (uint16_t)(w->ip_id + r->cnt);
	route_table_mark_used(w->route, f->neigh);
	return true;
}

/* Sends the run that begins with d, entry `at`, if there is one. Returns the number of its
 * datagrams; 0 if d must go alone. *supers becomes 0 if a super-packet could not be sent. */
static uint32_t send_run(struct worker *w, struct worker_lane *lane,
			 const struct udplane_tx_desc *d, uint32_t at, uint32_t max,
			 uint32_t *supers)
{
	struct run r = {.at = at};
	struct worker_flow *f;

	run_find(lane, d, min_u32(max, *supers), &r);
	if (r.cnt < udplane_load32(&w->queue->super_min) || check(w, lane, d) != TX_FAST)
		return 0;
	f = flow_find(w, d, has_src6(d) ? r.src6 : NULL);
	if (!f || !d->dst_port_be || !fits(f, d))
		return 0;
	if (!worker_tx_push(w) || !run_submit(w, lane, d, &r, f)) {
		*supers = 0;
		return 0;
	}
	count_run(w, d, &r);
	return r.cnt;
}

/* Returns the number of datagrams that a super-packet may have, 0 if there are none. */
static uint32_t supers_now(const struct worker *w)
{
	return w->super ? udplane_load32(&w->queue->supers) : 0;
}

/* Copies a frame that was just built for those who capture. */
static void capture(struct worker *w, const struct udplane_tx_desc *d, uint64_t *now)
{
	struct packet_info info = {.src_port_be = w->source[d->sock].addr.port_be,
				   .dst_port_be = d->dst_port_be};
	struct worker_captured c = {.frame = &w->tx_stage[w->tx_staged - 1],
				    .info = &info,
				    .sock = d->sock,
				    .flags = UDPLANE_CAPTURE_SENT};

	if (!*now)
		*now = clock_real_ns();
	worker_capture_frame(w, *now, &c);
}

/* captured: somebody captures. It is a constant in each of the two callers, so that a datagram
 * costs no test of it. */
static inline __attribute__((always_inline)) uint32_t
send_burst(struct worker *w, struct worker_lane *lane, const bool captured)
{
	uint64_t now = 0;
	uint32_t frame[WORKER_TX_BURST], frames, used = 0, done, step, supers;
	uint32_t n = udplane_ring_avail(&lane->tx, 1);

	if (n == UDPLANE_RING_CORRUPT) {
		worker_corrupt(w, lane);
		return 0;
	}
	if (!n || !worker_tx_push(w))
		return 0;
	supers = captured ? 0 : supers_now(w); /* each datagram is captured as a frame */
	n = min_u32(n, supers ? SUPER_BURST : WORKER_TX_BURST);
	frames = w->ops->frames_get(w->queue, frame, min_u32(n, WORKER_TX_BURST));
	for (done = 0; done < n; done += step) {
		uint32_t slot = udplane_ring_slot(&lane->tx, lane->tx.idx + done);
		struct udplane_tx_desc d = read_desc(lane, slot);
		enum tx_result r;

		step = supers ? send_run(w, lane, &d, done, n - done, &supers) : 0;
		if (step)
			continue;
		step = 1;
		if (used == frames)
			break; /* no free frame: the TX ring waits until the device returns some */
		r = send_one(w, lane, &d,
			     foreign_at(lane->tx_payload, (size_t)slot * lane->tx_slot_size),
			     frame[used]);
		if (r == TX_STALL)
			break;
		if (r == TX_INVALID || r == TX_CLOSED) {
			PROBE2(tx_drop, w->opt.id, UDPLANE_WORKER_TX_DROP_INVALID);
			udplane_count(&w->counter[UDPLANE_WORKER_TX_DROP_INVALID], 1);
		}
		if (r == TX_CLOSED)
			continue;
		if (r == TX_INVALID) {
			worker_corrupt(w, lane);
			done++;
			break;
		}
		used += r == TX_FAST;
		if (captured && r == TX_FAST)
			capture(w, &d, &now);
		count_tx(w, &d, r);
	}
	w->stalled |= done < n && !lane->expelled;
	if (used < frames)
		w->ops->frames_put(w->queue, frame + used, frames - used);
	udplane_count(&w->counter[UDPLANE_WORKER_TX_TAKEN], done);
	if (captured)
		worker_capture_publish(w);
	worker_tx_push(w);
	if (done)
		udplane_ring_consume(&lane->tx, done);
	return done;
}

uint32_t worker_tx(struct worker *w, struct worker_lane *lane)
{
	if (__builtin_expect(w->capture != NULL, 0))
		return send_burst(w, lane, true);
	return send_burst(w, lane, false);
}
