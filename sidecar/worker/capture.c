/* SPDX-License-Identifier: Apache-2.0 */
/* Copies frames for observers (udplanectl capture). Nothing here is called while nobody captures.
 * The worker waits for no observer: what finds no room in a ring is counted and left out. */
#include "sidecar/worker/internal.h"
#include <string.h>

static bool wanted(const struct worker_capture *c, const struct packet_info *info)
{
	return !c->port_be || info->src_port_be == c->port_be || info->dst_port_be == c->port_be;
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* The observer can write to the ring at any time: nothing is read back from it. */
static void copy(const struct worker *w, struct worker_capture *c, uint64_t time_ns,
		 const struct worker_captured *f)
{
	const uint8_t *from =
		w->opt.frames + (size_t)f->frame->frame * w->opt.frame_size + f->frame->off;
	struct udplane_capture_record rec = {
		.time_ns = time_ns,
		.sock = f->sock,
		.len = f->frame->len,
		.captured_len = (uint16_t)min_u32(f->frame->len, c->snap_len),
		.flags = f->flags,
		.copies = f->copies,
		.reason = f->reason,
	};
	uint32_t slot = udplane_ring_slot(&c->ring, c->ring.idx + c->staged);
	struct foreign to = foreign_at(c->zone, offsetof(struct udplane_capture_ring, slot) +
							(size_t)slot * c->slot_size);

	foreign_put(to, &rec, sizeof(rec));
	foreign_put(foreign_at(to, sizeof(rec)), from, rec.captured_len);
	c->staged++;
}

void worker_capture_frame(struct worker *w, uint64_t time_ns, const struct worker_captured *f)
{
	for (struct worker_capture *c = w->capture; c; c = c->next) {
		uint32_t free;

		if (!wanted(c, f->info))
			continue;
		c->seen++;
		free = udplane_ring_free(&c->ring, c->staged + 1);
		if (free == UDPLANE_RING_CORRUPT || free <= c->staged)
			c->missed++; /* an observer that writes nonsense gets nothing more */
		else
			copy(w, c, time_ns, f);
	}
}

void worker_capture_publish(struct worker *w)
{
	for (struct worker_capture *c = w->capture; c; c = c->next) {
		udplane_ring_publish(&c->ring, c->staged);
		c->staged = 0;
		foreign_store64(c->zone, offsetof(struct udplane_capture_ring, seen), c->seen);
		foreign_store64(c->zone, offsetof(struct udplane_capture_ring, missed), c->missed);
	}
}

void worker_capture_add(struct worker *w, struct worker_capture *c)
{
	c->seen = c->missed = c->staged = 0;
	c->next = w->capture;
	w->capture = c;
}

void worker_capture_remove(struct worker *w, struct worker_capture *c)
{
	for (struct worker_capture **at = &w->capture; *at; at = &(*at)->next) {
		if (*at != c)
			continue;
		*at = c->next;
		return;
	}
}
