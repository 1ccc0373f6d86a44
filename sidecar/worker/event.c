/* SPDX-License-Identifier: Apache-2.0 */
/* The event ring: what the worker leaves to the control thread. The worker produces, the control
 * thread consumes. */
#include "sidecar/worker/internal.h"
#include <unistd.h>

void worker_corrupt(struct worker *w, struct worker_lane *lane)
{
	if (lane->expelled)
		return;
	udplane_count(&w->counter[UDPLANE_WORKER_CORRUPT], 1);
	lane->expelled = WORKER_EVENT_CORRUPT;
}

struct worker_event *worker_event_reserve(struct worker *w, uint32_t spare)
{
	if (udplane_ring_free(&w->event_prod, spare + 1) <= spare)
		return NULL;
	return (struct worker_event *)(w->events + (size_t)udplane_ring_slot(&w->event_prod,
									     w->event_prod.idx) *
							   w->event_len);
}

void worker_event_submit(struct worker *w)
{
	udplane_ring_publish(&w->event_prod, 1);
	udplane_fence();
	if (udplane_ring_take_arm(&w->event_prod))
		(void)!write(w->event_fd, &(uint64_t){1}, 8);
}

int worker_event_fd(const struct worker *w)
{
	return w->event_fd;
}

const struct worker_event *worker_event_peek(struct worker *w)
{
	uint64_t cnt;

	if (udplane_ring_avail(&w->event_cons, 1) == 0) {
		(void)!read(w->event_fd, &cnt, 8);
		udplane_ring_arm(&w->event_cons);
		if (udplane_ring_avail(&w->event_cons, 1) == 0)
			return NULL;
	}
	return (struct worker_event *)(w->events + (size_t)udplane_ring_slot(&w->event_cons,
									     w->event_cons.idx) *
							   w->event_len);
}

void worker_event_done(struct worker *w)
{
	udplane_ring_consume(&w->event_cons, 1);
}

uint32_t worker_event_cnt(struct worker *w)
{
	return udplane_ring_avail(&w->event_cons, WORKER_EVENTS);
}
