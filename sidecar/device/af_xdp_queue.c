/* SPDX-License-Identifier: Apache-2.0 */
/* The packet path of the AF_XDP device: device_queue_ops over the rings of AF_XDP sockets. */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <udplane/clock.h>

#include "sidecar/device/af_xdp_internal.h"

/* longer than a run of the receive soft interrupt should take (net.core.netdev_budget frames) */
#define SETTLE_NS 1000000ull
/* If a stall lasted longer than this, frames diverted before it are dropped to keep the order.
 * After a shorter one they are delivered late, so that a worker that only waited for its core loses
 * nothing. */
#define STALE_NS 200000000ull
/* A kick that does not stop early takes at least so many frames: the kernel's TX_BATCH_SIZE. */
#define KICK_BUDGET 32u

static struct af_xdp_queue *to_queue(struct device_queue *q)
{
	return (struct af_xdp_queue *)q;
}

/* Makes room for cnt frames on the free stack and returns the place to write them. Overflowing the
 * stack means that a frame was given back twice or never belonged to this worker: our own invariant
 * is broken. */
static uint32_t *push(struct af_xdp_queue *q, uint32_t cnt)
{
	uint32_t *at = q->free + q->free_cnt;

	if (__builtin_expect(cnt > q->own_cnt - q->free_cnt, 0))
		abort();
	q->free_cnt += cnt;
	return at;
}

/* --- receive --- */

/* Gives the kernel free frames to receive into. Returns false if there was nothing to give or no
 * room. */
static bool refill(struct af_xdp_queue *q, struct af_xdp_hw *hw)
{
	uint32_t lack = hw->target - hw->filled, idx;

	/* Give whole batches while there are enough frames. Give the last frames one by one as they
	 * come back: without them nothing is received. */
	if (lack > AF_XDP_REFILL)
		lack = AF_XDP_REFILL;
	if (lack > q->free_cnt)
		lack = q->free_cnt;
	if (!lack || !xsk_ring_prod__reserve(&hw->fill, lack, &idx))
		return false;
	q->free_cnt -= lack;
	for (uint32_t i = 0; i < lack; i++)
		*xsk_ring_prod__fill_addr(&hw->fill, idx + i) = (uint64_t)q->free[q->free_cnt + i]
								<< q->frame_shift;
	xsk_ring_prod__submit(&hw->fill, lack);
	hw->filled += lack;
	if (xsk_ring_prod__needs_wakeup(&hw->fill))
		recvfrom(hw->fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
	return true;
}

void af_xdp_queue_reset(struct af_xdp_queue *q)
{
	for (uint32_t i = 0; i < q->own_cnt; i++)
		q->free[i] = q->own_first + q->own_cnt - 1 - i; /* lowest on top */
	q->free_cnt = q->own_cnt;
	for (uint32_t i = 0; i < q->hw_cnt; i++) {
		q->hw[i]->filled = 0;
		q->hw[i]->tx_out = 0;
	}
}

void af_xdp_queue_prime(struct af_xdp_queue *q)
{
	for (uint32_t i = 0; i < q->hw_cnt; i++)
		while (refill(q, q->hw[i]))
			;
}

/* Waits while the ring holds datagrams newer than some that the kernel has not delivered to its
 * sockets yet (enum xdp_state). That takes the rest of one run of the kernel's receive soft
 * interrupt. A run on this core ends before the worker runs, except for what was left to
 * ksoftirqd. */
static void settle(struct af_xdp_hw *hw)
{
	uint64_t end = clock_now_ns() + SETTLE_NS;

	while (__atomic_load_n(hw->state, __ATOMIC_ACQUIRE) > XDP_STATE_ENGAGING) {
		if (clock_now_ns() > end) {
			af_xdp_swap_state(hw, XDP_STATE_RESUMING, XDP_STATE_ENGAGED);
			af_xdp_swap_state(hw, XDP_STATE_SETTLING, XDP_STATE_ENGAGED);
			return;
		}
		sched_yield();
	}
}

/* Answers the program's question whether the worker runs (enum xdp_state). */
static void answer(struct af_xdp_hw *hw)
{
	__u64 asked = __atomic_load_n(hw->asked_ns, __ATOMIC_RELAXED);

	if (__builtin_expect(asked == hw->answered, 1))
		return;
	hw->answered = asked;
	__atomic_store_n(hw->answered_ns, asked, __ATOMIC_RELAXED);
}

/* Called after the kernel took over because the worker did not run. n: frames received that were
 * diverted before that. Returns the flags for them. */
static uint32_t after_stall(struct af_xdp_queue *q, struct af_xdp_hw *hw, uint32_t n)
{
	if (n)
		return clock_now_ns() - hw->answered > STALE_NS ? DEVICE_FRAME_STALE : 0;
	if (af_xdp_swap_state(hw, XDP_STATE_STALLED, XDP_STATE_ENGAGING))
		q->base.resumed = true;
	return 0;
}

static uint32_t receive(struct af_xdp_queue *q, struct af_xdp_hw *hw, struct device_frame *out,
			uint32_t max)
{
	uint32_t idx, n = xsk_ring_cons__peek(&hw->rx, max, &idx), flags = 0;
	__u32 state = __atomic_load_n(hw->state, __ATOMIC_ACQUIRE);

	answer(hw);
	if (__builtin_expect(state == XDP_STATE_STALLED, 0))
		flags = after_stall(q, hw, n);
	if (n) {
		if (__builtin_expect(state > XDP_STATE_ENGAGING, 0))
			settle(hw);
		for (uint32_t i = 0; i < n; i++) {
			const struct xdp_desc *d = xsk_ring_cons__rx_desc(&hw->rx, idx + i);

			out[i].frame = (uint32_t)(d->addr >> q->frame_shift);
			out[i].off = (uint16_t)(d->addr & (q->frame_size - 1));
			out[i].len = (uint16_t)d->len;
			out[i].flags = flags;
		}
		xsk_ring_cons__release(&hw->rx, n);
		hw->filled -= n;
	}
	if (hw->target - hw->filled >= AF_XDP_REFILL || (!n && hw->filled < hw->target))
		refill(q, hw);
	return n;
}

static uint32_t rx_burst(struct device_queue *dq, struct device_frame *out, uint32_t max)
{
	struct af_xdp_queue *q = to_queue(dq);
	uint32_t n = 0;

	if (q->hw_cnt == 1)
		return receive(q, q->hw[0], out, max);
	for (uint32_t i = 0, at = q->next; i < q->hw_cnt && n < max; i++) {
		n += receive(q, q->hw[at], out + n, max - n);
		at = at + 1 < q->hw_cnt ? at + 1 : 0;
	}
	q->next = q->next + 1 < q->hw_cnt ? q->next + 1 : 0;
	return n;
}

/* --- send --- */

/* A worker sends all its frames on its first hardware queue, so that it has one ring to fill and
 * needs one kick. */

static void reap(struct af_xdp_queue *q, struct af_xdp_hw *hw)
{
	uint32_t idx, n = hw->tx_out ? xsk_ring_cons__peek(&hw->comp, AF_XDP_RING, &idx) : 0;
	uint32_t *at;

	if (!n)
		return;
	at = push(q, n);
	for (uint32_t i = 0; i < n; i++)
		at[i] = (uint32_t)(*xsk_ring_cons__comp_addr(&hw->comp, idx + i) >> q->frame_shift);
	xsk_ring_cons__release(&hw->comp, n);
	hw->tx_out -= n;
	__atomic_store_n(&q->tx_done, q->tx_done + n, __ATOMIC_RELAXED);
}

static uint32_t tx_burst(struct device_queue *dq, const struct device_frame *in, uint32_t cnt)
{
	struct af_xdp_queue *q = to_queue(dq);
	struct af_xdp_hw *hw = q->hw[0];
	uint32_t idx, n, used = 0;

	reap(q, hw);
	n = AF_XDP_RING - hw->tx_out; /* so that the completion ring never overflows */
	if (n > cnt)
		n = cnt;
	if (!n || !xsk_ring_prod__reserve(&hw->tx, n, &idx))
		return 0;
	for (uint32_t i = 0; i < n; i++) {
		struct xdp_desc *d;

		/* The kernel would skip such a descriptor and never give its frame back. */
		if (__builtin_expect(
			    in[i].len < 14 || in[i].off + (uint32_t)in[i].len > q->frame_size, 0)) {
			*push(q, 1) = in[i].frame;
			__atomic_store_n(&q->tx_invalid, q->tx_invalid + 1, __ATOMIC_RELAXED);
			continue;
		}
		d = xsk_ring_prod__tx_desc(&hw->tx, idx + used++);
		d->addr = ((uint64_t)in[i].frame << q->frame_shift) + in[i].off;
		d->len = in[i].len;
		d->options = 0;
	}
	hw->tx.cached_prod -= n - used;
	xsk_ring_prod__submit(&hw->tx, used);
	hw->tx_out += used;
	return n;
}

/* Returns the number of frames that the kernel has not taken from the TX ring yet. */
static uint32_t tx_queued(const struct af_xdp_hw *hw)
{
	return *hw->tx.producer - __atomic_load_n(hw->tx.consumer, __ATOMIC_ACQUIRE);
}

/* A kick sends up to its budget and then returns EAGAIN. After ENOBUFS, EBUSY, or EAGAIN without
 * progress the device is behind, and the next round tries again. Raising the budget
 * (XDP_MAX_TX_SKB_BUDGET, Linux 6.18) gained about 1 % on veth with 64-byte frames, less than runs
 * differ. */
uint32_t af_xdp_tx_flush(struct device_queue *dq)
{
	struct af_xdp_queue *q = to_queue(dq);
	struct af_xdp_hw *hw = q->hw[0];
	uint32_t before, now;

	if (!hw->tx_out)
		return 0;
	now = tx_queued(hw);
	do {
		before = now;
		if (!before || !xsk_ring_prod__needs_wakeup(&hw->tx))
			return 0;
		if (!sendto(hw->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) || errno != EAGAIN)
			return 0;
		now = tx_queued(hw);
	} while (before - now >= KICK_BUDGET);
	return 0;
}

bool af_xdp_tx_pending(struct device_queue *dq)
{
	struct af_xdp_queue *q = to_queue(dq);
	struct af_xdp_hw *hw = q->hw[0];

	if (!hw->tx_out)
		return false;
	/* In copy mode the kernel has its own copy of a frame once it has taken it; with zero copy
	 * the device still reads our frames. */
	if (!q->zerocopy)
		return tx_queued(hw) != 0;
	reap(q, hw);
	return hw->tx_out != 0;
}

/* --- who receives --- */

/* (Frames have no VLAN tag: the program passes those that do.) */
static uint64_t receiver(const uint8_t *packet, const struct device_frame *f)
{
	bool v6 = packet[12] == 0x86;
	struct xdp_receiver r;
	uint32_t source, ports;

	if (f->off < sizeof(r))
		return 0;
	memcpy(&r, packet - sizeof(r), sizeof(r));
	memcpy(&source, packet + (v6 ? 34 : 26), sizeof(source));
	memcpy(&ports, packet + (v6 ? 54 : 34), sizeof(ports));
	return r.ports_be == ports && r.source == (source ^ XDP_RECEIVER_MAGIC) ? r.cookie : 0;
}

/* --- frames --- */

static uint32_t frames_get(struct device_queue *dq, uint32_t *frames, uint32_t cnt)
{
	struct af_xdp_queue *q = to_queue(dq);

	if (q->free_cnt < cnt)
		reap(q, q->hw[0]);
	if (cnt > q->free_cnt)
		cnt = q->free_cnt;
	q->free_cnt -= cnt;
	memcpy(frames, q->free + q->free_cnt, cnt * sizeof(*frames));
	return cnt;
}

static void frames_put(struct device_queue *dq, const uint32_t *frames, uint32_t cnt)
{
	struct af_xdp_queue *q = to_queue(dq);

	memcpy(push(q, cnt), frames, cnt * sizeof(*frames));
}

static uint32_t frames_free(struct device_queue *dq)
{
	struct af_xdp_queue *q = to_queue(dq);
	uint32_t n = q->free_cnt;

	for (uint32_t i = 0; i < q->hw_cnt; i++)
		n += q->hw[i]->filled + q->hw[i]->tx_out;
	return n;
}

/* --- sleep --- */

static uint32_t wait_fds(struct device_queue *dq, int *fds, uint32_t max)
{
	struct af_xdp_queue *q = to_queue(dq);
	uint32_t n = q->hw_cnt < max ? q->hw_cnt : max;

	for (uint32_t i = 0; i < n; i++)
		fds[i] = q->hw[i]->fd;
	return n;
}

/* The descriptor is readable whenever the RX ring holds something, so nothing needs to be armed. A
 * driver that waits for frames to receive into must be told that there are some. */
static int arm(struct device_queue *dq)
{
	struct af_xdp_queue *q = to_queue(dq);

	for (uint32_t i = 0; i < q->hw_cnt; i++)
		if (xsk_ring_prod__needs_wakeup(&q->hw[i]->fill))
			recvfrom(q->hw[i]->fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
	return 0;
}

static void disarm(struct device_queue *dq)
{
	(void)dq;
}

/* --- engagement: enum xdp_state --- */

static void engage(struct device_queue *dq)
{
	struct af_xdp_queue *q = to_queue(dq);

	for (uint32_t i = 0; i < q->hw_cnt; i++)
		af_xdp_swap_state(q->hw[i], XDP_STATE_IDLE, XDP_STATE_ENGAGING);
}

static void leave(struct device_queue *dq)
{
	struct af_xdp_queue *q = to_queue(dq);

	for (uint32_t i = 0; i < q->hw_cnt; i++)
		if (!af_xdp_swap_state(q->hw[i], XDP_STATE_ENGAGED, XDP_STATE_LEAVING))
			af_xdp_swap_state(q->hw[i], XDP_STATE_RESUMING, XDP_STATE_LEAVING);
}

static bool disengage(struct device_queue *dq)
{
	struct af_xdp_queue *q = to_queue(dq);

	for (uint32_t i = 0; i < q->hw_cnt; i++)
		if (!af_xdp_swap_state(q->hw[i], XDP_STATE_LEAVING, XDP_STATE_IDLE) &&
		    !af_xdp_swap_state(q->hw[i], XDP_STATE_ENGAGING, XDP_STATE_IDLE))
			return false;
	return true;
}

static uint64_t left_to_kernel(struct device_queue *dq)
{
	struct af_xdp_queue *q = to_queue(dq);
	uint64_t n = 0;

	for (uint32_t i = 0; i < q->hw_cnt; i++)
		n += __atomic_load_n(q->hw[i]->idle, __ATOMIC_RELAXED);
	return n;
}

const struct device_queue_ops af_xdp_queue_ops = {
	.rx_burst = rx_burst,
	.tx_burst = tx_burst,
	.tx_flush = af_xdp_tx_flush,
	.frames_get = frames_get,
	.frames_put = frames_put,
	.frames_free = frames_free,
	.wait_fds = wait_fds,
	.arm = arm,
	.disarm = disarm,
	.engage = engage,
	.leave = leave,
	.disengage = disengage,
	.left_to_kernel = left_to_kernel,
	.tx_pending = af_xdp_tx_pending,
	.receiver = receiver,
	.tx_super = af_xdp_tx_super,
};
