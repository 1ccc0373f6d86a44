/* SPDX-License-Identifier: Apache-2.0 */
/* One look at everything that a worker serves. */
#include "sidecar/worker/internal.h"
#include <string.h>

static void report_expelled(struct worker *w, struct worker_channel *ch)
{
	struct worker_event *ev = ch->reported ? NULL : worker_event_reserve(w, 0);

	if (!ev) {
		w->stalled |= !ch->reported; /* again next round */
		return;
	}
	memset(ev, 0, sizeof(*ev));
	ev->type = ch->expelled;
	ev->channel_id = ch->id;
	ev->serial = ch->serial;
	ch->reported = true;
	worker_event_submit(w);
}

uint32_t worker_round(struct worker *w)
{
	uint32_t work = 0, sent = 0;

	w->stalled = false;
	/* before receiving, so that quotas are up to date */
	for (uint32_t i = 0; i < w->channel_cnt; i++)
		if (!w->channel[i]->expelled)
			work += worker_returns(w, w->channel[i]);
	work += worker_rx(w);

	for (uint32_t i = 0; i < w->channel_cnt; i++) {
		struct worker_channel *ch = w->channel[i];

		if (ch->expelled) {
			report_expelled(w, ch);
			continue;
		}
		sent += worker_tx(w, ch);
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
