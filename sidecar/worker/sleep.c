/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a worker spins and when it sleeps, and who serves its sockets meanwhile: "Engagement, and why order holds" in docs/architecture.md.
 */
#include <sched.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "sidecar/base/clock.h"
#include "sidecar/worker/internal.h"

#define TX_LINGER_NS 10000000ull /* stay awake this long for frames that the device does not send; then it may be down, */
#define TX_LOOK_MS 10            /* and look from time to time: not every device says when there is room again */
#define LEAVE_NS 20000ull        /* longer than a NAPI poll takes from its first frame to the ring, at the least */
#define READ_LOOK_MS 100         /* engaged and asleep: have the clients read everything meanwhile, or gone? Nobody tells us */
/* So many without lying down, at so short intervals on the average, are a burst: to wake us for the next costs little for each of them, and
 * the RX ring takes more of them than a kernel socket does. */
#define BURST_FRAMES 32
#define BURST_GAP_NS 20000ull
#define BURST_LINGER_NS 100000000ull

/* Which socket of a group a flow belongs to, Linux decides by a secret of its own: the flow would change its socket with the path. So where
 * there is a group the fast path is the only one. */
static bool may_disengage(const struct worker *w)
{
	return w->queue->dev->can_disengage && w->opt.mode != UDPLANE_MODE_LATENCY && !worker_has_groups(w);
}

/* frames in so many ns: one burst? Then there may be another soon. */
static void note_burst(struct worker *w, uint64_t frames, uint64_t ns)
{
	if (w->opt.burst_spin_ns && frames >= BURST_FRAMES && ns < frames * BURST_GAP_NS)
		w->linger_ns = clock_now_ns() + BURST_LINGER_NS;
}

void worker_engage(struct worker *w)
{
	if (!w->engaged) {
		if (w->left_since) /* what the kernel got meanwhile, until clients asked for the fast path */
			note_burst(w, w->ops->left_to_kernel(w->queue) - w->left_seen, clock_now_ns() - w->left_since);
		w->left_since = 0;
		w->engaged = true;
		worker_new_epoch(w);
		w->ops->engage(w->queue);
		udplane_store32(&w->zone->engaged, 1);
	}
	udplane_store32(&w->zone->awake, 1);
}

/* From here on clients ring the doorbell, and claimed datagrams take the kernel's way if the mode allows that. A client that has not
 * read everything keeps the fast path engaged: the next datagram wakes us instead of overtaking what it has yet to read. False: one has
 * just come. */
static bool disengage(struct worker *w)
{
	if (may_disengage(w) && clock_now_ns() >= w->linger_ns && worker_rx_all_read(w)) {
		w->engaged = false;
		if (!w->ops->disengage(w->queue)) {
			worker_engage(w);
			return false;
		}
		w->left_seen = w->ops->left_to_kernel(w->queue);
		w->left_since = clock_now_ns();
		udplane_store32(&w->zone->engaged, 0);
	}
	udplane_store32(&w->zone->awake, 0);
	w->ops->arm(w->queue);
	udplane_fence(); /* pairs with the client's, between its publish and its look at `awake` */
	return true;
}

/* Are there frames that the device has yet to take or to send? */
static bool unsent(struct worker *w)
{
	return w->tx_staged || w->ops->tx_pending(w->queue);
}

/* Asleep and engaged, though by now the kernel could deliver. */
static bool may_leave_now(struct worker *w)
{
	return w->engaged && may_disengage(w) && clock_now_ns() >= w->linger_ns && worker_rx_all_read(w);
}

/* Milliseconds for epoll_wait() */
static int how_long(struct worker *w, uint64_t now)
{
	int ms = -1;

	if (w->engaged && may_disengage(w))
		ms = now < w->linger_ns ? (int)((w->linger_ns - now) / 1000000) + 1 : READ_LOOK_MS;
	return unsent(w) && (ms < 0 || ms > TX_LOOK_MS) ? TX_LOOK_MS : ms;
}

/* Returns true if a doorbell rang, or if it is time to disengage. */
static bool wait_events(struct worker *w)
{
	struct epoll_event ev[16];
	uint64_t since = clock_now_ns();
	bool bell = false;
	int timeout = how_long(w, since), n;
	uint32_t asleep;

	__atomic_store_n(&w->run, WORKER_ASLEEP, __ATOMIC_SEQ_CST);
	n = __atomic_load_n(&w->order, __ATOMIC_SEQ_CST) ? 0 : epoll_wait(w->epoll_fd, ev, 16, timeout);
	for (asleep = WORKER_ASLEEP; !__atomic_compare_exchange_n(&w->run, &asleep, WORKER_RUNNING, false, __ATOMIC_SEQ_CST,
								  __ATOMIC_RELAXED);
	     asleep = WORKER_ASLEEP)
		sched_yield(); /* borrowed: orders take microseconds */
	for (int i = 0; i < n; i++)
		bell |= ev[i].data.u64 != WORKER_EVENT_DEVICE && ev[i].data.u64 != WORKER_EVENT_STOP;
	for (int i = 0; i < n; i++)
		if (ev[i].data.u64 == WORKER_EVENT_STOP)
			(void)!read(w->stop_fd, &(uint64_t){0}, 8);
	udplane_count(&w->counter[UDPLANE_WORKER_SLEEPS], 1);
	udplane_count(&w->counter[UDPLANE_WORKER_SLEEP_NS], clock_now_ns() - since);
	udplane_count(&w->counter[UDPLANE_WORKER_DOORBELLS], bell);
	return bell || may_leave_now(w);
}

/* Asleep until there is reason to poll again, or to disengage. */
void worker_sleep(struct worker *w)
{
	bool groups = worker_has_groups(w);

	/* The clock says idle, but it also ran while another thread had our core: look once more, right before. */
	if (worker_round(w) || !disengage(w))
		return;
	w->rx_seen = w->counter[UDPLANE_WORKER_RX_FRAMES];
	while (!__atomic_load_n(&w->stop, __ATOMIC_ACQUIRE)) {
		bool orders = worker_orders(w);

		if (worker_round(w) && !orders)
			break; /* it came while we lay down */
		if (worker_has_groups(w) != groups)
			break;
		if (orders)
			continue;
		if (wait_events(w))
			break;
		/* The device, or an order. A look that finds nothing (the timer of a driver without interrupts, what was the TAP's) is no
		 * reason to spin again. */
		w->ops->disarm(w->queue);
		w->ops->arm(w->queue);
		udplane_fence();
	}
	w->ops->disarm(w->queue);
	worker_engage(w);
	w->woke_ns = clock_now_ns();
}

/* Nothing has been done since then. Is it time to sleep? What was diverted before the device knew that we are about to leave has
 * LEAVE_NS to arrive: what is diverted and not delivered when the kernel takes over would be overtaken. */
bool worker_idle_enough(struct worker *w, uint64_t since)
{
	uint64_t now = clock_now_ns(), idle = now - since, spin = w->opt.spin_ns;

	if (idle + LEAVE_NS < spin)
		return false;
	note_burst(w, w->counter[UDPLANE_WORKER_RX_FRAMES] - w->rx_seen, since - w->woke_ns);
	if (now < w->linger_ns)
		spin = w->opt.burst_spin_ns;
	if (may_disengage(w) && !w->left_ns) {
		w->ops->leave(w->queue);
		w->left_ns = now;
	}
	return idle >= spin && (!w->left_ns || now - w->left_ns >= LEAVE_NS) &&
	       (idle >= TX_LINGER_NS || !unsent(w));
}
