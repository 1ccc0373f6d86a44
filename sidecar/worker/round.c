/* SPDX-License-Identifier: Apache-2.0 */
/* One look at everything that a worker serves. */
#include "sidecar/worker/internal.h"
#include <string.h>

static void report_expelled(struct worker *w, struct worker_lane *lane)
{
	struct worker_event *ev = lane->reported ? NULL : worker_event_reserve(w, 0);

	if (!ev) {
		w->stalled |= !lane->reported; /* again next round */
		return;
	}
	memset(ev, 0, sizeof(*ev));
	ev->type = lane->expelled;
	ev->channel_id = lane->id;
	ev->serial = lane->serial;
	lane->reported = true;
	worker_event_submit(w);
}

uint32_t worker_round(struct worker *w)
{
	uint32_t work = 0, sent = 0;

	w->stalled = false;
	/* before receiving, so that quotas are up to date */
	for (uint32_t i = 0; i < w->lane_cnt; i++)
		if (!w->lane[i]->expelled)
			work += worker_returns(w, w->lane[i]);
	work += worker_rx(w);

	for (uint32_t i = 0; i < w->lane_cnt; i++) {
		struct worker_lane *lane = w->lane[i];

		if (lane->expelled) {
			report_expelled(w, lane);
			continue;
		}
		sent += worker_tx(w, lane);
	}
	worker_tx_push(w);
	work += w->ops->tx_flush(w->queue);
	udplane_count(&w->counter[UDPLANE_WORKER_LOOPS], 1);
	udplane_store32(&w->gauge_held, w->held);
	udplane_store32(&w->gauge_free, w->ops->frames_free(w->queue));
	return work + sent + w->stalled;
}

uint64_t worker_frames_held(const struct worker *w)
{
	return udplane_load32(&w->gauge_held);
}

uint64_t worker_frames_free(const struct worker *w)
{
	return udplane_load32(&w->gauge_free);
}
