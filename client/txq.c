/* SPDX-License-Identifier: Apache-2.0 */
/* The library's end of TX rings: whether one may be written to, room in it, entries. */
#include "client/txq.h"
#include "client/attach.h"
#include "client/base.h"
#include "client/control.h"
#include "client/lock.h"
#include "client/pktbuf.h"
#include "client/raw.h"
#include "client/sock.h"
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <udplane/abi.h>
#include <udplane/clock.h>
#include <udplane/ring.h>

void tx_count_kernel(struct sock *s, uint32_t cnt)
{
	s->tx.kernel_tx += cnt;
	if (unlikely(__atomic_load_n(&s->tx.unlocked_tx, __ATOMIC_RELAXED)))
		s->tx.kernel_tx += __atomic_exchange_n(&s->tx.unlocked_tx, 0, __ATOMIC_RELAXED);
	if (s->tx.lane)
		udplane_store64(&s->tx.counters->kernel_tx, s->tx.kernel_tx);
}

bool tx_error_pending(struct sock *s)
{
	uint64_t now;

	if (!s->tx.connected)
		return false;
	now = ticks();
	if (now - s->tx.error_ticks < TX_ERROR_TICKS)
		return false;
	s->tx.error_ticks = now;
	return raw_poll(s->kfd, 0) & POLLERR;
}

/* Returns true if cnt datagrams are worth waking a sleeping worker. Lane locked. */
static bool tx_worth_waking(const struct attach *a, struct lane *l, uint32_t cnt)
{
	uint32_t factor = a->mode == UDPLANE_MODE_POWERSAVE ? POWERSAVE_FACTOR : 1;
	uint64_t now;

	if (a->mode == UDPLANE_MODE_LATENCY || cnt >= TX_ENGAGE_BURST * factor)
		return true;
	if (udplane_load32(&l->zone->engaged))
		/* the kernel path is not shorter: with a NIC of udplaned's own it leads through
		 * the worker */
		return true;
	if (udplane_word_load(&l->tx.head->cons_idx) != l->tx.idx)
		return true; /* the doorbell was rung already: keep the order */
	now = clock_now_ns();
	if (now - l->window_ns > TX_ENGAGE_WINDOW_NS) {
		l->window_ns = now;
		l->window_cnt = 0;
	}
	l->window_cnt += cnt;
	return l->window_cnt >= TX_ENGAGE_CNT * factor;
}

/* Sets l->stalled if the worker has taken nothing for TX_STALL_NS though entries are waiting: it
 * lives, but does not run (SIGSTOP, a frozen control group). */
static void lane_check_stall(struct lane *l, uint64_t now)
{
	uint32_t cons = udplane_word_load(&l->tx.head->cons_idx);

	if (cons == l->tx.idx) {
		l->stall_ns = 0;
	} else if (!l->stall_ns || cons != l->stall_cons) {
		l->stall_cons = cons;
		l->stall_ns = now;
	} else if (now - l->stall_ns > TX_STALL_NS) {
		l->stalled = true;
	}
}

/* Returns true if the worker still takes nothing. Lane locked. */
static bool lane_stalled(struct lane *l)
{
	if (udplane_word_load(&l->tx.head->cons_idx) == l->stall_cons)
		return true;
	l->stalled = false;
	l->stall_ns = 0;
	return false;
}

static void tx_check_worker(struct attach *a, struct sock *s, struct lane *l)
{
	uint64_t now = ticks();

	if (now - l->checked_ticks < DEATH_CHECK_TICKS)
		return;
	l->checked_ticks = now;
	s->tx.test_cancel = true;
	now = clock_now_ns();
	attach_look(a, now);
	lane_check_stall(l, now);
}

/* Returns true once the reserved slots are free. Another thread that writes into them is waited
 * for. If this thread has reserved them, its sends take the kernel path until it submits. Lane
 * locked, except while waiting. */
static bool tx_wait_reserved(struct lane *l)
{
	uint64_t end;

	if (l->reserved_long || pthread_equal(l->reserved_by, pthread_self()))
		return false;
	end = clock_now_ns() + TX_FULL_WAIT_NS;
	while (l->reserved && clock_now_ns() < end) {
		lock_drop(&l->tx_lock);
		sched_yield();
		while (!lock_take(
			/* no interrupted call holds it, since it was held a moment ago */
			&l->tx_lock))
			;
	}
	l->reserved_long = l->reserved;
	return !l->reserved;
}

static bool tx_served(const struct sock *s)
{
	uint32_t state = udplane_load32(&s->tx.zone->state);

	return (state == UDPLANE_SOCKET_ACTIVE || state == UDPLANE_SOCKET_PENDING) &&
	       likely(!udplane_load32(&s->tx.zone->tx_reason));
}

bool tx_alive(const struct sock *s)
{
	return tx_served(s) && !attach_news(s->att) &&
	       __atomic_load_n(&s->att->live, __ATOMIC_RELAXED);
}

struct lane *tx_open(struct sock *s, uint32_t cnt)
{
	struct attach *a = s->att;
	struct lane *l = s->tx.lane;

	if (!l || unlikely(s->tx.more) || unlikely(!tx_served(s) || tx_error_pending(s)))
		return NULL;
	if (unlikely(!lock_take(&l->tx_lock)))
		return NULL;
	tx_check_worker(a, s, l);
	if (unlikely(l->stalled && lane_stalled(l))) {
		lock_drop(&l->tx_lock);
		return NULL;
	}
	if (unlikely(l->reserved) && !tx_wait_reserved(l)) {
		lock_drop(&l->tx_lock);
		return NULL;
	}
	if (likely(!attach_news(a) && __atomic_load_n(&a->live, __ATOMIC_RELAXED)) &&
	    (likely(udplane_load32(&l->zone->awake)) || tx_worth_waking(a, l, cnt)))
		return l;
	lock_drop(&l->tx_lock);
	return NULL;
}

static uint32_t tx_free(struct sock *s, struct lane *l, uint32_t want)
{
	uint32_t n = udplane_ring_free(&l->tx, want);

	if (likely(n != UDPLANE_RING_CORRUPT))
		return n;
	control_distrust(&s->att->control);
	return 0;
}

static void tx_is_full(struct sock *s)
{
	s->tx.kernel_tx_full++;
	udplane_store64(&s->tx.counters->kernel_tx_full, s->tx.kernel_tx_full);
	__atomic_store_n(&s->att->checked_ns, 0,
			 /* at once: this must not overtake what a dead udplaned has left */
			 __ATOMIC_RELAXED);
	attach_look(s->att, clock_now_ns());
}

/* Taking little room at a time would make small batches, so it waits for a quarter of the ring,
 * or what is wanted. */
uint32_t tx_room(struct sock *s, struct lane *l, uint32_t want, int flags)
{
	uint32_t n = tx_free(s, l, want), enough = want < l->tx.size / 4 ? want : l->tx.size / 4;
	uint64_t end;
	bool quick;

	if (likely(n > 0))
		return n < want ? n : want;
	quick = (flags & MSG_DONTWAIT) || __atomic_load_n(&s->rx.nonblock, __ATOMIC_RELAXED);
	end = clock_now_ns() + (quick ? TX_FULL_WAIT_NONBLOCK_NS : TX_FULL_WAIT_NS);
	do {
		sched_yield();
		n = tx_free(s, l, enough);
	} while (n < enough && !attach_news(s->att) && clock_now_ns() < end);
	if (!n)
		tx_is_full(s);
	return n < want ? n : want;
}

bool tx_room_all(struct sock *s, struct lane *l, uint32_t cnt, int flags)
{
	bool quick = (flags & MSG_DONTWAIT) || __atomic_load_n(&s->rx.nonblock, __ATOMIC_RELAXED);
	uint64_t end;

	if (likely(tx_free(s, l, cnt) >= cnt))
		return true;
	if (cnt > l->tx.size)
		return false;
	end = clock_now_ns() + (quick ? TX_FULL_WAIT_NONBLOCK_NS : TX_FULL_WAIT_NS);
	do {
		sched_yield();
		if (tx_free(s, l, cnt) >= cnt)
			return true;
	} while (!attach_news(s->att) && clock_now_ns() < end);
	tx_is_full(s);
	return false;
}

void tx_fill(struct sock *s, struct lane *l, uint32_t i, const struct udplane_addr *d, uint32_t len,
	     const struct tx_options *o)
{
	struct udplane_tx_desc *t = &l->desc[udplane_ring_slot(&l->tx, l->tx.idx + i)];

	t->sock = s->tx.id;
	t->len = (uint16_t)len;
	t->dst_port_be = d->port_be;
	t->flags = (uint16_t)(o->flags | (d->family == AF_INET6 ? UDPLANE_TX_IPV6 : 0));
	t->tos = o->tos;
	t->ttl = o->ttl;
	t->src4_be = o->src4_be;
	memcpy(t->dst, d->addr, 16);
}

void tx_publish(struct sock *s, struct lane *l, uint32_t cnt)
{
	if (!cnt)
		return;
	udplane_ring_publish(&l->tx, cnt);
	s->tx.used = true;
	s->tx.end = l->tx.idx;
	s->tx.fast_tx += cnt;
	/* pairs with the worker's fence, between its `awake` = 0 and its last read of the ring */
	udplane_fence();
	if (unlikely(!udplane_load32(&l->zone->awake)) && lane_ring_doorbell(s->att, l))
		udplane_store64(&s->tx.counters->engages, sock_count_engages(s, 1));
}

void tx_cancel_reserved(struct sock *s)
{
	struct lane *l = s->tx.burst_lane;

	if (l) {
		bool locked = lock_insist(&l->tx_lock);

		l->reserved = false;
		if (locked)
			lock_drop(&l->tx_lock);
		attach_put(s->tx.burst_att);
		s->tx.burst_lane = NULL;
		s->tx.burst_att = NULL;
	} else {
		for (uint32_t i = 0; i < s->tx.burst_cnt; i++)
			pktbuf_put(s->tx.burst_buf[i]);
	}
	s->tx.burst_cnt = 0;
}
