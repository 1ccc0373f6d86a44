/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orders from the control thread. One list at a time, carried out between two rounds of the poll
 * loop, or, while the worker sleeps, by the control thread itself under the worker's `run` word:
 *
 *   worker:  run = ASLEEP; barrier; look for an order; epoll_wait; swap ASLEEP -> RUNNING (waits
 *            while BORROWED)
 *   control: order = list; barrier; swap ASLEEP -> BORROWED? carry it out, run = ASLEEP : wait
 *            for the worker
 *
 * So one of the two sees the other, and the state has one owner at a time.
 */
#include "sidecar/worker/internal.h"
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <udplane/clock.h>
#include <unistd.h>

#define DRAIN_IDLE_ROUNDS 3 /* consecutive empty rounds that count as drained */
/* Bounds a drain, so that clients that go on sending cannot delay the exit. */
#define DRAIN_LIMIT_NS 20000000ull
/* Bounds a flush, so that a device that does not send cannot delay a close. */
#define FLUSH_LIMIT_NS 5000000ull
/* Polls before the control thread sleeps: a busy worker answers within one round. */
#define CALL_SPINS 200

static int lane_add(struct worker *w, struct worker_lane *lane)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET,
				 .data.u64 = (uint64_t)(uint32_t)lane->doorbell_fd};

	if (w->lane_cnt == WORKER_LANES)
		return -ENOSPC;
	/* Edge-triggered and never read: a client that empties or fills its own doorbell cannot
	 * block us. */
	if (epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, lane->doorbell_fd, &ev))
		return -errno;
	lane->held = 0;
	lane->socket_cnt = 0;
	lane->expelled = 0;
	lane->reported = false;
	w->lane[w->lane_cnt++] = lane;
	return 0;
}

static int lane_remove(struct worker *w, struct worker_lane *lane)
{
	for (uint32_t i = 0; i < w->lane_cnt; i++) {
		if (w->lane[i] != lane)
			continue;
		/* a socket would point to memory that is about to be freed */
		assert(!lane->socket_cnt);
		w->lane[i] = w->lane[--w->lane_cnt];
		epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, lane->doorbell_fd, NULL);
		worker_reclaim(w, lane);
		udplane_store32(&w->gauge_held, w->held);
		udplane_store32(&w->gauge_free, w->ops->frames_free(w->queue));
		return 0;
	}
	return -ENOENT;
}

/* Drops the flow cache entries of one socket, whose source has changed. The entries of others stay,
 * so that a claim does not cost other senders a lookup per destination. */
static void forget_flows(struct worker *w, uint32_t sock)
{
	if (!w->has_flows[sock])
		return;
	for (uint32_t i = 0; i < WORKER_FLOWS; i++)
		if (w->flow[i].sock == sock)
			w->flow[i].generation = 0;
	w->has_flows[sock] = 0;
}

static void set_source(struct worker *w, uint32_t sock, const struct worker_source *src)
{
	w->stamp_cnt -= w->source[sock].stamp;
	w->source[sock] = *src;
	if (!w->socket[sock].lane)
		w->source[sock].stamp = false;
	w->stamp_cnt += w->source[sock].stamp;
	forget_flows(w, sock);
}

static int socket_add(struct worker *w, const struct worker_order *o)
{
	struct worker_socket *s = &w->socket[o->sock];

	if (s->lane)
		return -EEXIST;
	memset(s, 0, sizeof(*s));
	udplane_ring_init(&s->rx, foreign_ring_head(o->info->ring), o->info->ring_size, 0);
	s->desc = foreign_at(o->info->ring, offsetof(struct udplane_rx_ring, desc));
	s->counter = o->info->counters->counter;
	s->wake_fd = o->info->wake_fd;
	s->epoch = w->epoch -
		   1; /* its first datagram tells the client to empty the kernel socket first */
	w->wakes_slow[o->sock] = 0;
	s->lane = o->info->lane;
	s->lane->socket_cnt++;
	set_source(w, o->sock, &o->source);
	return 0;
}

/* Datagrams that the client had queued before it closed the socket are sent, as Linux would. Those
 * that it queues meanwhile are not waited for. */
static int socket_flush(struct worker *w, struct worker_order *o)
{
	struct worker_lane *lane = w->socket[o->sock].lane;
	uint64_t end = clock_now_ns() + FLUSH_LIMIT_NS;
	uint32_t n;

	if (!lane || lane->expelled)
		return 0;
	if (!o->flushing) {
		n = udplane_ring_avail(&lane->tx, lane->tx.size);
		if (n == UDPLANE_RING_CORRUPT) {
			worker_corrupt(w, lane);
			return 0;
		}
		o->flush_end = lane->tx.idx + n;
		o->flushing = true;
	}
	while (!lane->expelled && (int32_t)(o->flush_end - lane->tx.idx) > 0) {
		if (udplane_ring_free(&w->event_prod, 1) == 0)
			/* only the control thread makes room, and it waits for this order */
			return -EAGAIN;
		if (clock_now_ns() >= end)
			return -ETIMEDOUT;
		if (!worker_tx(w, lane) && !worker_tx_push(w))
			w->ops->tx_flush(w->queue);
	}
	w->ops->tx_flush(w->queue);
	return 0;
}

static int flush(struct worker *w, struct worker_order *o)
{
	int err;

	w->flushing = true;
	err = socket_flush(w, o);
	w->flushing = false;
	return err;
}

static int socket_remove(struct worker *w, uint32_t sock)
{
	struct worker_socket *s = &w->socket[sock];

	if (!s->lane)
		return 0; /* never added here: the claim was refused half-way */
	s->lane->socket_cnt--;
	s->lane = NULL;
	w->stamp_cnt -= w->source[sock].stamp;
	w->source[sock].stamp = false;
	return 0;
}

/* The device cannot hold more than all of the worker's frames: after that many, every frame is
 * newer than the order. */
static uint32_t frames_of(const struct worker *w)
{
	return w->opt.frame_cnt / w->opt.worker_cnt;
}

static void drain_rx(struct worker *w)
{
	for (uint32_t idle = 0, seen = 0; idle < DRAIN_IDLE_ROUNDS && seen < frames_of(w);) {
		uint32_t n = worker_rx(w);

		seen += n;
		idle = n ? 0 : idle + 1;
		if (!n)
			sched_yield();
	}
}

static void drain(struct worker *w)
{
	uint64_t end = clock_now_ns() + DRAIN_LIMIT_NS;

	for (uint32_t idle = 0, seen = 0;
	     idle < DRAIN_IDLE_ROUNDS && seen < frames_of(w) && clock_now_ns() < end;) {
		uint32_t n = worker_round(w);

		seen += n;
		idle = n ? 0 : idle + 1;
		sched_yield();
	}
}

static int carry_out(struct worker *w, struct worker_order *o)
{
	switch (o->op) {
	case WORKER_LANE_ADD: return lane_add(w, o->lane);
	case WORKER_LANE_REMOVE: return lane_remove(w, o->lane);
	case WORKER_SOCKET_ADD: return socket_add(w, o);
	case WORKER_SOCKET_SOURCE: set_source(w, o->sock, &o->source); return 0;
	case WORKER_SOCKET_FLUSH: return flush(w, o);
	case WORKER_SOCKET_REMOVE: return socket_remove(w, o->sock);
	case WORKER_KEY_INSERT:
		w->socket[o->sock].epoch = w->epoch - 1;
		w->cookie[o->sock] = o->cookie;
		return port_table_insert(w->ports, &o->key, o->sock);
	case WORKER_KEY_REMOVE: return port_table_remove(w->ports, &o->key, o->sock);
	case WORKER_MCAST: return worker_mcast_set(w, o->mcast);
	case WORKER_ROUTE:
		w->route = o->route;
		w->flow_generation++;
		return 0;
	case WORKER_DRAIN_RX: drain_rx(w); return 0;
	case WORKER_DRAIN: drain(w); return 0;
	case WORKER_SWITCHED: worker_new_epoch(w); return 0;
	case WORKER_CAPTURE_ADD: worker_capture_add(w, o->capture); return 0;
	case WORKER_CAPTURE_REMOVE: worker_capture_remove(w, o->capture); return 0;
	}
	return -EINVAL;
}

bool worker_orders(struct worker *w)
{
	struct worker_order *list =
		__atomic_load_n(&w->order, __ATOMIC_ACQUIRE); /* pairs with worker_call */

	if (!list)
		return false;
	for (struct worker_order *o = list; o; o = o->next)
		o->result = carry_out(w, o);
	__atomic_store_n(&w->order, NULL, __ATOMIC_SEQ_CST); /* pairs with wait_done */
	if (__atomic_exchange_n(&w->order_waiter, 0, __ATOMIC_SEQ_CST))
		(void)!write(w->done_fd, &(uint64_t){1}, 8);
	return true;
}

static bool order_done(struct worker *w)
{
	return !__atomic_load_n(&w->order, __ATOMIC_ACQUIRE);
}

static bool borrow(struct worker *w)
{
	uint32_t asleep = WORKER_ASLEEP;
	bool groups;

	if (!__atomic_compare_exchange_n(&w->run, &asleep, WORKER_BORROWED, false, __ATOMIC_SEQ_CST,
					 __ATOMIC_SEQ_CST))
		return false;
	groups = worker_has_groups(w);
	worker_orders(w);
	groups = groups != worker_has_groups(w);
	__atomic_store_n(&w->run, WORKER_ASLEEP, __ATOMIC_RELEASE);
	if (groups)
		(void)!write(w->stop_fd, &(uint64_t){1},
			     8); /* it may have to engage or disengage */
	return true;
}

static void wait_done(struct worker *w)
{
	struct pollfd pfd = {.fd = w->done_fd, .events = POLLIN};
	uint64_t cnt;

	for (int i = 0; i < CALL_SPINS; i++) {
		if (order_done(w))
			return;
		sched_yield();
	}
	for (;;) {
		__atomic_store_n(&w->order_waiter, 1, __ATOMIC_SEQ_CST);
		if (order_done(w))
			break;
		poll(&pfd, 1, -1);
		(void)!read(w->done_fd, &cnt, 8);
	}
	if (!__atomic_exchange_n(&w->order_waiter, 0, __ATOMIC_SEQ_CST))
		/* the worker took the flag: its signal has arrived, or stays for the next wait */
		(void)!read(w->done_fd, &cnt, 8);
}

int worker_call(struct worker *w, struct worker_order *orders)
{
	int first = 0;

	__atomic_store_n(&w->order, orders, __ATOMIC_SEQ_CST);
	if (!borrow(w))
		wait_done(w);
	for (struct worker_order *o = orders; o; o = o->next)
		if (o->result && !first)
			first = o->result;
	return first;
}
