/* SPDX-License-Identifier: Apache-2.0 */
/* Frames that come back from clients: by the return ring, or all at once when the client has gone.
 */
#include "sidecar/worker/internal.h"

uint32_t worker_returns(struct worker *w, struct worker_lane *lane)
{
	uint32_t put[DEVICE_BURST];
	uint32_t n = udplane_ring_avail(&lane->ret, 1);

	if (n == UDPLANE_RING_CORRUPT) {
		worker_corrupt(w, lane);
		return 0;
	}
	if (n > DEVICE_BURST)
		n = DEVICE_BURST;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t f = foreign_load32(lane->ret_frame,
					    udplane_ring_slot(&lane->ret, lane->ret.idx + i) *
						    sizeof(uint32_t));

		if (f >= w->opt.frame_cnt || w->owner[f] != lane->id + 1) {
			worker_corrupt(w, lane); /* not a frame, not his, or given back twice */
			n = i;
			break;
		}
		w->owner[f] = 0;
		put[i] = f;
	}
	if (!n)
		return 0;
	udplane_ring_consume(&lane->ret, n);
	lane->held -= n;
	w->held -= n;
	w->returned += n;
	w->ops->frames_put(w->queue, put, n);
	return n;
}

void worker_reclaim(struct worker *w, struct worker_lane *lane)
{
	uint32_t put[DEVICE_BURST], n = 0;

	for (uint32_t f = 0; f < w->opt.frame_cnt && lane->held; f++) {
		if (w->owner[f] != lane->id + 1)
			continue;
		w->owner[f] = 0;
		lane->held--;
		w->held--;
		put[n++] = f;
		if (n == DEVICE_BURST) {
			w->ops->frames_put(w->queue, put, n);
			n = 0;
		}
	}
	if (n)
		w->ops->frames_put(w->queue, put, n);
}
