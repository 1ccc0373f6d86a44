/* SPDX-License-Identifier: Apache-2.0 */
/* When a worker spins, when it sleeps, and whether the kernel serves its sockets meanwhile: see
 * "Engagement" in docs/architecture.md. */
#include "sidecar/base/probe.h"
#include "sidecar/worker/internal.h"
#include <sched.h>
#include <sys/epoll.h>
#include <udplane/clock.h>
#include <unistd.h>

/* Stay awake this long for frames that the device does not send. Then the link may be down: sleep,
 * and check every TX_LOOK_MS, because not every device signals room. */
#define TX_LINGER_NS 10000000ull
#define TX_LOOK_MS   10
/* A NAPI poll takes less than this from its first frame to the ring. */
#define LEAVE_NS 20000ull
/* Asleep but engaged: interval of checking whether clients have read everything, or have gone. */
#define READ_LOOK_MS 100
/* At least BURST_FRAMES received without sleeping, at a mean interval below BURST_GAP_NS, are a
 * burst. Waking the worker for the next burst costs little per datagram, and an RX ring holds more
 * of them than a kernel socket. */
#define BURST_FRAMES	32
#define BURST_GAP_NS	20000ull
#define BURST_LINGER_NS 100000000ull

/* Linux chooses the socket of a REUSEPORT group by a secret hash. Unless the device asks Linux, a
 * flow would change its socket whenever it changes the path. With a group the worker then never
 * disengages. */
static bool may_disengage(const struct worker *w)
{
	return w->queue->dev->can_disengage && w->opt.mode != UDPLANE_MODE_LATENCY &&
	       (w->queue->dev->sees_receivers || !worker_has_groups(w));
}

/* Keeps the worker ready for another burst if `frames` received within `ns` were one. */
static void note_burst(struct worker *w, uint64_t frames, uint64_t ns)
{
	if (w->opt.burst_spin_ns && frames >= BURST_FRAMES && ns < frames * BURST_GAP_NS)
		w->linger_ns = clock_now_ns() + BURST_LINGER_NS;
}

void worker_engage(struct worker *w)
{
	if (!w->engaged) {
		if (w->left_since) /* what the kernel received until clients engaged the worker */
			note_burst(w, w->ops->left_to_kernel(w->queue) - w->left_seen,
				   clock_now_ns() - w->left_since);
		w->left_since = 0;
		w->engaged = true;
		worker_new_epoch(w);
		PROBE2(engage, w->opt.id, w->epoch);
		w->ops->engage(w->queue);
		udplane_store32(&w->zone->engaged, 1);
	}
	udplane_store32(&w->zone->awake, 1);
}

/* From now on clients ring the doorbell and, if the mode allows it, claimed datagrams go to the
 * kernel. A client that has not read everything keeps the worker engaged: the next datagram wakes
 * the worker instead of overtaking those that are unread. Returns false if a datagram has just
 * arrived. */
static bool disengage(struct worker *w)
{
	if (may_disengage(w) && clock_now_ns() >= w->linger_ns && worker_rx_all_read(w)) {
		w->engaged = false;
		if (!w->ops->disengage(w->queue)) {
			worker_engage(w);
			return false;
		}
		PROBE2(disengage, w->opt.id, w->epoch);
		w->left_seen = w->ops->left_to_kernel(w->queue);
		w->left_since = clock_now_ns();
		udplane_store32(&w->zone->engaged, 0);
	}
	udplane_store32(&w->zone->awake, 0);
	w->ops->arm(w->queue);
	udplane_fence(); /* pairs with the client's, between its publish and its look at `awake` */
	return true;
}

/* Returns true if the device has frames to take or to send. */
static bool unsent(struct worker *w)
{
	return w->tx_staged || w->ops->tx_pending(w->queue);
}

/* Returns true if the worker sleeps engaged although the kernel could deliver by now. */
static bool may_leave_now(struct worker *w)
{
	return w->engaged && may_disengage(w) && clock_now_ns() >= w->linger_ns &&
	       worker_rx_all_read(w);
}

/* Returns the timeout of epoll_wait() in milliseconds, -1 for none. */
static int how_long(struct worker *w, uint64_t now)
{
	int ms = -1;

	if (w->engaged && may_disengage(w))
		ms = now < w->linger_ns ? (int)((w->linger_ns - now) / 1000000) + 1 : READ_LOOK_MS;
	return unsent(w) && (ms < 0 || ms > TX_LOOK_MS) ? TX_LOOK_MS : ms;
}

/* Returns true if a doorbell rang or it is time to disengage. */
static bool wait_events(struct worker *w)
{
	struct epoll_event ev[16];
	uint64_t since = clock_now_ns();
	bool bell = false;
	int timeout = how_long(w, since), n;
	uint32_t asleep;

	__atomic_store_n(&w->run, WORKER_ASLEEP, __ATOMIC_SEQ_CST);
	n = __atomic_load_n(&w->order, __ATOMIC_SEQ_CST) ? 0
							 : epoll_wait(w->epoll_fd, ev, 16, timeout);
	for (asleep = WORKER_ASLEEP; !__atomic_compare_exchange_n(
		     &w->run, &asleep, WORKER_RUNNING, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	     asleep = WORKER_ASLEEP)
		sched_yield(); /* the control thread carries out orders: microseconds */
	for (int i = 0; i < n; i++)
		bell |= ev[i].data.u64 != WORKER_EVENT_DEVICE &&
			ev[i].data.u64 != WORKER_EVENT_STOP;
	for (int i = 0; i < n; i++)
		if (ev[i].data.u64 == WORKER_EVENT_STOP)
			(void)!read(w->stop_fd, &(uint64_t){0}, 8);
	udplane_count(&w->counter[UDPLANE_WORKER_SLEEPS], 1);
	udplane_count(&w->counter[UDPLANE_WORKER_SLEEP_NS], clock_now_ns() - since);
	udplane_count(&w->counter[UDPLANE_WORKER_DOORBELLS], bell);
	return bell || may_leave_now(w);
}

void worker_sleep(struct worker *w)
{
	bool groups = worker_has_groups(w);

	/* The clock also ran while another thread had this CPU: check once more. */
	if (worker_round(w) || !disengage(w))
		return;
	w->rx_seen = w->counter[UDPLANE_WORKER_RX_FRAMES];
	while (!__atomic_load_n(&w->stop, __ATOMIC_ACQUIRE)) {
		bool orders = worker_orders(w);

		if (worker_round(w) && !orders)
			break; /* it arrived while going to sleep */
		if (worker_has_groups(w) != groups)
			break;
		if (orders)
			continue;
		if (wait_events(w))
			break;
		/* The device or an order. An event without work (the timer of a driver without
		 * interrupts, or a packet for the TAP) is no reason to spin again. */
		w->ops->disarm(w->queue);
		w->ops->arm(w->queue);
		udplane_fence();
	}
	w->ops->disarm(w->queue);
	worker_engage(w);
	w->woke_ns = clock_now_ns();
}

/* Frames diverted before leave() need up to LEAVE_NS to reach the ring. If the worker handed over
 * earlier, the kernel could deliver newer datagrams first. */
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
