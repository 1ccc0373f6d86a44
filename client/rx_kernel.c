/* SPDX-License-Identifier: Apache-2.0 */
/* What follows from a read of the kernel socket: whether to wake the worker, and whether
 * datagrams of the ring may be taken. */
#include "client/rx_kernel.h"
#include "client/attach.h"
#include "client/base.h"
#include "client/cmsg.h"
#include "client/sock.h"
#include <sys/socket.h>
#include <udplane/abi.h>
#include <udplane/clock.h>
#include <udplane/ring.h>

static void rx_ring_doorbells(struct sock *s)
{
	struct attach *a = s->att;
	uint32_t rung = 0;

	for (uint32_t i = 0; i < a->worker_cnt; i++)
		if (!udplane_load32(&a->lane[i].zone->engaged) &&
		    lane_ring_doorbell(a, &a->lane[i]))
			rung++;
	udplane_store64(&s->rx.rxq[0].shared->engages, sock_count_engages(s, rung));
}

/* The kernel has delivered cnt datagrams of a claimed socket. Wakes the workers if that happens
 * often enough. */
static void rx_wake_workers(struct sock *s, uint32_t cnt)
{
	struct attach *a = s->att;
	uint32_t factor = a->mode == UDPLANE_MODE_POWERSAVE ? POWERSAVE_FACTOR : 1, seen;
	uint64_t now = clock_now_ns();

	/* they came by another interface, or were fragments; or the worker is dead */
	if (attach_engaged(a)) {
		attach_look(a, now);
		return;
	}
	if (now - __atomic_load_n(&a->rx_window_ns, __ATOMIC_RELAXED) > RX_ENGAGE_WINDOW_NS) {
		__atomic_store_n(&a->rx_window_ns, now, __ATOMIC_RELAXED);
		__atomic_store_n(&a->rx_window_cnt, 0, __ATOMIC_RELAXED);
	}
	seen = __atomic_add_fetch(&a->rx_window_cnt, cnt, __ATOMIC_RELAXED);
	if (seen < RX_ENGAGE_CNT * factor && s->rx.kernel_run < RX_ENGAGE_RUN * factor &&
	    a->mode != UDPLANE_MODE_LATENCY)
		return;
	if (now - __atomic_load_n(&a->rx_rang_ns, __ATOMIC_RELAXED) < RX_ENGAGE_AGAIN_NS)
		return;
	__atomic_store_n(&a->rx_rang_ns, now, __ATOMIC_RELAXED);
	rx_ring_doorbells(s);
}

void rx_kernel_looked(struct sock *s, int cnt, uint32_t asked, int flags)
{
	s->rx.kernel_hot = cnt > 0;
	if (unlikely(rx_wants(s) & CMSG_WANT_DROPS))
		cmsg_read_drops(s);
	s->rx.ring_run = 0;
	if (cnt > 0 && (flags & MSG_PEEK)) {
		s->rx.peeked = PEEKED_KERNEL;
		return;
	}
	s->rx.peeked = PEEKED_NONE;
	if (cnt > 0) {
		uint64_t all =
			__atomic_add_fetch(&s->rx.kernel_rx, (uint64_t)cnt, __ATOMIC_RELAXED);

		/* there may be more: alternate with the rings */
		s->rx.ring_run = RX_KERNEL_EVERY - 1;
		s->rx.switch_run += (uint32_t)cnt;
		s->rx.kernel_run += (uint32_t)cnt;
		if (s->rx.rxq_cnt) {
			udplane_store64(&s->rx.rxq[0].shared->kernel_rx, all);
			rx_wake_workers(s, (uint32_t)cnt);
		}
	}
	if (cnt < (int)asked)
		s->rx.kernel_run = 0;
	/* Nothing by either path although the worker should be serving: check that it is alive,
	 * at most once per ms. */
	if (cnt <= 0 && s->att)
		attach_look(s->att, clock_now_ns());
}

bool rx_switch(struct sock *s, bool emptied)
{
	if (!emptied && s->rx.switch_run < RX_SWITCH_MAX)
		return false;
	s->rx.switch_run = 0;
	s->rx.switched = true;
	return true;
}
