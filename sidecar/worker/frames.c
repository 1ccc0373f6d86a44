/* SPDX-License-Identifier: Apache-2.0 */
/* Frames that come back from clients: by the return ring, or all at once when the client has gone.
 */
#include "sidecar/worker/internal.h"
#include <errno.h>

/* Gives back one of the copies of a frame that several sockets got. Returns how many are left, or
 * -ENOENT if this client has none. */
static int return_copy(struct worker *w, uint32_t frame, const struct worker_lane *lane)
{
	struct worker_copies *c = &w->copies[frame];

	for (uint32_t i = 0; i < c->cnt; i++) {
		if (c->owner[i] != lane->id + 1)
			continue;
		c->owner[i] = c->owner[--c->cnt];
		return (int)c->cnt;
	}
	return -ENOENT;
}

/* Returns true if it is one of the lane's copies. The frame stays with the others. */
static bool returned_copy(struct worker *w, uint32_t frame, struct worker_lane *lane, bool *last)
{
	int left = frame < w->opt.frame_cnt && w->owner[frame] == WORKER_OWNER_COPIES
			   ? return_copy(w, frame, lane)
			   : -ENOENT;

	*last = left == 0;
	return left >= 0;
}

uint32_t worker_returns(struct worker *w, struct worker_lane *lane)
{
	uint32_t put[DEVICE_BURST], put_cnt = 0;
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

		bool last = true;

		if (f >= w->opt.frame_cnt || w->owner[f] != lane->id + 1) {
			if (!returned_copy(w, f, lane, &last)) {
				/* not a frame, not his, or given back twice */
				worker_corrupt(w, lane);
				n = i;
				break;
			}
			if (!last)
				continue;
		}
		w->owner[f] = 0;
		put[put_cnt++] = f;
	}
	if (!n)
		return 0;
	udplane_ring_consume(&lane->ret, n);
	lane->held -= n;
	w->held -= put_cnt;
	w->returned += n;
	if (put_cnt)
		w->ops->frames_put(w->queue, put, put_cnt);
	return n;
}

/* Returns how many copies others hold, or -ENOENT if the lane had none. */
static int reclaim_copies(struct worker *w, uint32_t frame, struct worker_lane *lane)
{
	int left = -ENOENT, n;

	while ((n = return_copy(w, frame, lane)) >= 0) {
		lane->held--;
		left = n;
	}
	return left;
}

void worker_reclaim(struct worker *w, struct worker_lane *lane)
{
	uint32_t put[DEVICE_BURST], n = 0;

	for (uint32_t f = 0; f < w->opt.frame_cnt && lane->held; f++) {
		if (w->owner[f] == WORKER_OWNER_COPIES) {
			int left = reclaim_copies(w, f, lane);

			if (left)
				continue;
		} else if (w->owner[f] == lane->id + 1) {
			lane->held--;
		} else {
			continue;
		}
		w->owner[f] = 0;
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
