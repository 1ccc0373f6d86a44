/* SPDX-License-Identifier: Apache-2.0 */
/* The packet path: frames by index outside, mbufs inside. An mbuf's buffer is always the same
 * frame, so one is found from the other by a shift or by a table. Drivers clear RTE_MBUF_F_EXTERNAL
 * when receiving; nothing here attaches or clones mbufs, so nothing needs it. */
#include <rte_mempool.h>
#include <string.h>

#include "sidecar/device/dpdk/dpdk.h"

#define TAP_BURST     32 /* packets of the TAP that are sent per round */
#define RX_LOOKS      (DPDK_RING_RX / DEVICE_BURST)
#define CHECKSUM_GOOD (RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD)
#define CHECKSUM_MASK (RTE_MBUF_F_RX_IP_CKSUM_MASK | RTE_MBUF_F_RX_L4_CKSUM_MASK)

static struct dpdk_queue *to_queue(struct device_queue *q)
{
	return (struct dpdk_queue *)q;
}

static uint32_t frame_of(const struct dpdk_queue *q, const struct rte_mbuf *m)
{
	return (uint32_t)(((const uint8_t *)m->buf_addr - q->zone) >> q->frame_shift);
}

static bool removed(const struct dpdk_queue *q)
{
	return __builtin_expect(__atomic_load_n(q->removed, __ATOMIC_RELAXED), 0);
}

/* --- receive --- */

static void copy_segments(uint8_t *to, const struct rte_mbuf *m)
{
	for (; m; m = m->next) {
		memcpy(to, rte_pktmbuf_mtod(m, const void *), m->data_len);
		to += m->data_len;
	}
}

/* Copies a packet that is in several buffers into one frame. If it is too long for that, passes it
 * to the kernel. Returns the frame's mbuf or NULL. */
static struct rte_mbuf *join(struct dpdk_queue *q, struct rte_mbuf *m)
{
	struct rte_mbuf *one = NULL;
	uint8_t *slot;

	if (m->pkt_len > q->frame_size - RTE_PKTMBUF_HEADROOM) {
		slot = q->lane ? tap_lane_reserve(q->lane, m->pkt_len) : NULL;
		if (slot)
			copy_segments(slot, m);
		udplane_count(slot ? &q->n.rx_jumbo : &q->n.rx_no_frame, 1);
	} else if (dpdk_stack_get(q->stack, &one, 1)) {
		one->data_off = RTE_PKTMBUF_HEADROOM;
		copy_segments(rte_pktmbuf_mtod(one, uint8_t *), m);
		one->data_len = (uint16_t)m->pkt_len;
		one->ol_flags = m->ol_flags;
		udplane_count(&q->n.rx_joined, 1);
	} else {
		udplane_count(&q->n.rx_no_frame, 1);
	}
	rte_pktmbuf_free(m);
	return one;
}

static inline uint32_t take(struct dpdk_queue *q, struct rte_mbuf **m, uint32_t got,
			    struct device_frame *out)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < got; i++) {
		struct rte_mbuf *p = m[i];

		if (i + 4 < got)
			__builtin_prefetch(m[i + 4]);
		if (__builtin_expect(p->nb_segs != 1, 0) && !(p = join(q, p)))
			continue;
		out[n].frame = frame_of(q, p);
		out[n].off = p->data_off;
		out[n].len = p->data_len;
		out[n++].flags =
			(p->ol_flags & CHECKSUM_MASK) == CHECKSUM_GOOD ? DEVICE_FRAME_VERIFIED : 0;
	}
	return n;
}

/* Do not return 0 only because every packet of the burst was too long for a frame and was passed
 * on: the worker would sleep with packets still queued, and a packet that is there when it arms
 * raises no interrupt. So continue until as many packets were taken as the queue holds. */
static uint32_t rx_burst(struct device_queue *dq, struct device_frame *out, uint32_t max)
{
	struct dpdk_queue *q = to_queue(dq);
	struct rte_mbuf *m[DEVICE_BURST];
	uint32_t n = 0, got, looks = RX_LOOKS;

	do {
		got = removed(q) ? 0 : rte_eth_rx_burst(q->port, q->id, m, (uint16_t)max);
		n = take(q, m, got, out);
	} while (__builtin_expect(got && !n, 0) && --looks);
	if (!n)
		return 0;
	udplane_count(&q->n.rx, n);
	q->n.out += n;
	return n;
}

/* --- send --- */

static void fill_mbuf(struct rte_mbuf *m, uint32_t off, uint32_t len)
{
	m->data_off = (uint16_t)off;
	m->data_len = (uint16_t)len;
	m->pkt_len = len;
	m->nb_segs = 1;
	m->next = NULL;
	m->ol_flags = 0;
}

/* A frame that no driver could send is taken, dropped and counted. */
static bool sendable(const struct dpdk_queue *q, const struct device_frame *f)
{
	return f->len >= 14 && (uint32_t)f->off + f->len <= q->frame_size;
}

static uint32_t refuse(struct dpdk_queue *q, const struct device_frame *in, uint32_t cnt)
{
	for (uint32_t i = 0; i < cnt; i++)
		dpdk_stack_put(q->stack, &q->mbuf[in[i].frame], 1);
	udplane_count(&q->n.tx_invalid, cnt);
	q->n.out -= cnt;
	return cnt;
}

static uint32_t tx_burst(struct device_queue *dq, const struct device_frame *in, uint32_t cnt)
{
	struct dpdk_queue *q = to_queue(dq);
	struct rte_mbuf *m[DEVICE_BURST];
	uint32_t n;

	if (cnt > DEVICE_BURST)
		cnt = DEVICE_BURST;
	if (removed(q))
		return refuse(q, in, cnt);
	if (cnt && !sendable(q, &in[0]))
		return refuse(q, in, 1);
	for (n = 0; n < cnt && sendable(q, &in[n]); n++) {
		m[n] = q->mbuf[in[n].frame];
		fill_mbuf(m[n], in[n].off, in[n].len);
	}
	n = rte_eth_tx_burst(q->port, q->id, m, (uint16_t)n);
	udplane_count(&q->n.tx, n);
	q->n.out -= n;
	return n;
}

/* Makes a chain of frames of a packet of the TAP. Returns NULL if there are not enough frames. */
static struct rte_mbuf *chain(struct dpdk_queue *q, const uint8_t *p, uint32_t len)
{
	uint32_t room = q->frame_size - RTE_PKTMBUF_HEADROOM, n = (len + room - 1) / room;
	struct rte_mbuf *m[1 + UINT16_MAX / 1024];

	if (n > RTE_DIM(m) || q->stack == NULL)
		return NULL;
	for (uint32_t got = 0; got < n; got++)
		if (!dpdk_stack_get(q->stack, &m[got], 1)) {
			dpdk_stack_put(q->stack, m, got);
			return NULL;
		}
	for (uint32_t i = 0; i < n; i++) {
		uint32_t part = RTE_MIN(room, len - i * room);

		fill_mbuf(m[i], RTE_PKTMBUF_HEADROOM, part);
		memcpy(rte_pktmbuf_mtod(m[i], void *), p + i * room, part);
		m[i]->next = i + 1 < n ? m[i + 1] : NULL;
	}
	m[0]->nb_segs = (uint16_t)n;
	m[0]->pkt_len = len;
	return m[0];
}

/* Returns how many packets it took, including dropped ones. */
static uint32_t send_tap(struct dpdk_queue *q)
{
	const uint8_t *p;
	uint32_t len, n = 0;

	for (uint32_t i = 0; i < TAP_BURST; i++) {
		if (!q->tap_mbuf) {
			p = tap_lane_peek(q->lane, &len);
			if (!p)
				return n;
			if (len > q->frame_size - RTE_PKTMBUF_HEADROOM && !q->tx_chains) {
				udplane_count(&q->n.tx_invalid, 1);
				tap_lane_done(q->lane);
				n++;
				continue;
			}
			q->tap_mbuf = chain(q, p, len);
			if (!q->tap_mbuf)
				return n; /* the packet waits until frames come back */
			tap_lane_done(q->lane);
		}
		if (!rte_eth_tx_burst(q->port, q->id, &q->tap_mbuf, 1))
			return n;
		q->tap_mbuf = NULL;
		n++;
		udplane_count(&q->n.tap_tx, 1);
	}
	return n;
}

/* The NIC needs no flush; the TAP's two rings do. */
static uint32_t tx_flush(struct device_queue *dq)
{
	struct dpdk_queue *q = to_queue(dq);

	if (!q->lane)
		return 0;
	tap_lane_flush(q->lane);
	return q->takes_tap && !removed(q) ? send_tap(q) : 0;
}

static bool tx_pending(struct device_queue *dq)
{
	struct dpdk_queue *q = to_queue(dq);
	uint32_t len;

	return q->tap_mbuf || (q->takes_tap && tap_lane_peek(q->lane, &len));
}

/* --- frames --- */

static uint32_t frames_get(struct device_queue *dq, uint32_t *frames, uint32_t cnt)
{
	struct dpdk_queue *q = to_queue(dq);
	struct rte_mbuf *m[DEVICE_BURST];
	uint32_t n;

	if (cnt > DEVICE_BURST)
		cnt = DEVICE_BURST;
	n = dpdk_stack_get(q->stack, m, cnt);
	if (n < cnt) { /* includes sent frames that the driver has not returned yet */
		rte_eth_tx_done_cleanup(q->port, q->id, 0);
		n += dpdk_stack_get(q->stack, m + n, cnt - n);
	}
	for (uint32_t i = 0; i < n; i++)
		frames[i] = frame_of(q, m[i]);
	q->n.out += n;
	return n;
}

static void frames_put(struct device_queue *dq, const uint32_t *frames, uint32_t cnt)
{
	struct dpdk_queue *q = to_queue(dq);
	struct rte_mbuf *m[DEVICE_BURST];

	q->n.out -= cnt;
	while (cnt) {
		uint32_t n = cnt < DEVICE_BURST ? cnt : DEVICE_BURST;

		for (uint32_t i = 0; i < n; i++)
			m[i] = q->mbuf[frames[i]];
		dpdk_stack_put(q->stack, m, n);
		frames += n;
		cnt -= n;
	}
}

static uint32_t frames_free(struct device_queue *dq)
{
	struct dpdk_queue *q = to_queue(dq);

	return q->own_cnt - (uint32_t)q->n.out;
}

/* Passes a packet to the kernel by the TAP; published by the round's tx_flush. */
static void pass(struct device_queue *dq, const struct device_frame *f, uint32_t cnt)
{
	struct dpdk_queue *q = to_queue(dq);
	uint32_t frame[DEVICE_BURST], full = 0;

	for (uint32_t i = 0; i < cnt; i++) {
		uint8_t *slot = q->lane ? tap_lane_reserve(q->lane, f[i].len) : NULL;

		if (slot)
			memcpy(slot, q->zone + ((size_t)f[i].frame << q->frame_shift) + f[i].off,
			       f[i].len);
		else
			full++;
		frame[i] = f[i].frame;
	}
	udplane_count(&q->n.passed, cnt - full);
	udplane_count(&q->n.passed_full, full);
	frames_put(dq, frame, cnt);
}

static void engage(struct device_queue *dq)
{
	(void)dq; /* no one else serves a NIC that we drive */
}

const struct device_queue_ops dpdk_queue_ops = {
	.rx_burst = rx_burst,
	.tx_burst = tx_burst,
	.tx_flush = tx_flush,
	.frames_get = frames_get,
	.frames_put = frames_put,
	.frames_free = frames_free,
	.wait_fds = dpdk_wait_fds,
	.arm = dpdk_arm,
	.disarm = dpdk_disarm,
	.engage = engage,
	.tx_pending = tx_pending,
	.pass = pass,
};
