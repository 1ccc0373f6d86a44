/* SPDX-License-Identifier: Apache-2.0 */
#include "client/ctl/capture.h"

#include <string.h>

static struct udplane_capture_ring *ring_at(const struct capture_reader *r, uint32_t i)
{
	return (void *)(r->zone + i * r->layout.ring_len);
}

void capture_open(struct capture_reader *r, const struct udplane_captured *layout, void *zone)
{
	memset(r, 0, sizeof(*r));
	r->layout = *layout;
	r->zone = zone;
	for (uint32_t i = 0; i < layout->ring_cnt; i++)
		udplane_ring_init(&r->ring[i], &ring_at(r, i)->head, layout->slot_cnt, 0);
}

/* Gives back what the caller has done with. */
static void give_back(struct capture_reader *r)
{
	for (uint32_t i = 0; i < r->layout.ring_cnt; i++) {
		if (r->taken[i])
			udplane_ring_consume(&r->ring[i], r->taken[i]);
		r->taken[i] = 0;
	}
}

uint32_t capture_look(struct capture_reader *r)
{
	uint32_t all = 0;

	give_back(r);
	for (uint32_t i = 0; i < r->layout.ring_cnt; i++) {
		uint32_t n = udplane_ring_avail(&r->ring[i], r->layout.slot_cnt);

		r->avail[i] = n == UDPLANE_RING_CORRUPT ? 0 : n;
		all += r->avail[i];
	}
	return all;
}

static const struct udplane_capture_record *oldest_of(const struct capture_reader *r, uint32_t i)
{
	uint32_t slot = udplane_ring_slot(&r->ring[i], r->ring[i].idx + r->taken[i]);

	return (const void *)(ring_at(r, i)->slot + (size_t)slot * r->layout.slot_size);
}

bool capture_next(struct capture_reader *r, struct udplane_capture_record *head,
		  const uint8_t **data)
{
	const struct udplane_capture_record *best = NULL;
	uint32_t from = 0, room = r->layout.slot_size - (uint32_t)sizeof(*head);

	give_back(r);
	for (uint32_t i = 0; i < r->layout.ring_cnt; i++) {
		const struct udplane_capture_record *rec;

		if (!r->avail[i])
			continue;
		rec = oldest_of(r, i);
		if (best && rec->time_ns >= best->time_ns)
			continue;
		best = rec;
		from = i;
	}
	if (!best)
		return false;
	r->avail[from]--;
	r->taken[from]++;
	*head = *best;
	if (head->captured_len > room)
		head->captured_len = (uint16_t)room;
	*data = (const uint8_t *)(best + 1);
	return true;
}

void capture_counts(const struct capture_reader *r, uint64_t *seen, uint64_t *missed)
{
	*seen = *missed = 0;
	for (uint32_t i = 0; i < r->layout.ring_cnt; i++) {
		*seen += udplane_load64(&ring_at(r, i)->seen);
		*missed += udplane_load64(&ring_at(r, i)->missed);
	}
}
