/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RX rings are cut from the rest of the channel first, then from segments: of 2 MiB in hugepages,
 * of 128 KiB and more in ordinary pages. There are two sizes only, so a place that was given back
 * fits the next ring. The lowest free place is taken first, so the last segments become empty, and
 * rings_shrink() gives their pages back even while the client has them mapped.
 */
#include "sidecar/control/rings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* the first in ordinary pages; each next is twice as large, up to 2 MiB */
#define SMALL_SEGMENT (128u << 10)
#define EMPTY_TICKS   2 /* seconds that a segment has been empty before its pages go back */
#define UNREAD \
	(1u << 31)	/* mark in empty_ticks: its client has not read all that is in its rings */
#define UNREAD_TICKS 30 /* seconds that an unread segment has been empty before its pages go back */

static uint32_t line_up(uint32_t n)
{
	return (n + UDPLANE_LINE - 1) / UDPLANE_LINE * UDPLANE_LINE;
}

void rings_init(struct ring_pool *p, struct memzone *channel, uint32_t used, uint32_t worker_cnt,
		uint32_t big)
{
	memset(p, 0, sizeof(*p));
	p->seg[0] = channel;
	p->seg_cnt = 1;
	p->used = line_up(used);
	p->worker_cnt = worker_cnt;
	p->cls[0].size = big;
	p->cls[1].size = big < CONTROL_SMALL_RING ? big : CONTROL_SMALL_RING;
	for (int i = 0; i < 2; i++)
		p->cls[i].len = line_up(sizeof(struct udplane_rx_ring) +
					p->cls[i].size * sizeof(struct udplane_rx_desc));
}

bool rings_free_some(struct ring_pool *p)
{
	if (p->seg_cnt < 2)
		return false;
	p->seg_cnt--;
	memzone_destroy(p->seg[p->seg_cnt]);
	free(p->seg[p->seg_cnt]);
	p->seg[p->seg_cnt] = NULL;
	return true;
}

void rings_free(struct ring_pool *p)
{
	while (rings_free_some(p))
		;
	free(p->cls[0].free);
	free(p->cls[1].free);
	memset(p, 0, sizeof(*p));
}

static uint32_t at_least(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

/* A hugepage cannot be split; of ordinary pages only as many as are likely to be used. */
static int make_segment(const struct ring_pool *p, struct memzone *z, enum memzone_pages pages,
			int node, uint32_t need, struct error *error)
{
	uint32_t doubled = p->seg_cnt - 1 < 4 ? p->seg_cnt - 1 : 4;
	int err = -ENOMEM;

	if (pages != MEMZONE_SMALL_ONLY)
		err = memzone_create(z, "udplane-rings", at_least(need, MEMZONE_HUGE_SIZE),
				     MEMZONE_HUGE_ONLY, node, error);
	if (err && pages != MEMZONE_HUGE_ONLY)
		err = memzone_create(z, "udplane-rings", at_least(need, SMALL_SEGMENT << doubled),
				     MEMZONE_SMALL_ONLY, node, error);
	return err;
}

static int add_segment(struct ring_pool *p, enum memzone_pages pages, int node, uint32_t need,
		       struct error *error)
{
	struct memzone *z;
	int err;

	if (p->seg_cnt == CONTROL_SEGMENTS)
		return error_set(error, -ENOSPC, "this process has %u segments of rings already",
				 p->seg_cnt - 1);
	z = calloc(1, sizeof(*z));
	if (!z)
		return error_set(error, -ENOMEM, "out of memory");
	z->budget = p->seg[0]->budget;
	z->owner = p->seg[0]->owner;
	err = make_segment(p, z, pages, node, need, error);
	if (err) {
		free(z);
		return err;
	}
	p->in_use[p->seg_cnt] = p->empty_ticks[p->seg_cnt] = 0;
	p->seg[p->seg_cnt++] = z;
	p->used_before = p->used;
	p->used = 0;
	return 0;
}

static int cut(struct ring_pool *p, enum memzone_pages pages, int node, uint32_t len,
	       struct ring_place *place, int *segment_fd, struct error *error)
{
	int err;

	if (p->used + (uint64_t)len > p->seg[p->seg_cnt - 1]->len) {
		err = add_segment(p, pages, node, len, error);
		if (err)
			return err;
		*segment_fd = p->seg[p->seg_cnt - 1]->fd;
	} else {
		err = memzone_fill(p->seg[p->seg_cnt - 1], error);
		if (err)
			return err;
	}
	place->segment = p->seg_cnt - 1;
	place->off = p->used;
	p->used += len;
	return 0;
}

/* ---- free places: a heap with the lowest on top ---- */

static bool lower(struct ring_place a, struct ring_place b)
{
	return a.segment != b.segment ? a.segment < b.segment : a.off < b.off;
}

static void push_free(struct ring_class *k, struct ring_place place)
{
	uint32_t i = k->free_cnt++;

	for (; i && lower(place, k->free[(i - 1) / 2]); i = (i - 1) / 2)
		k->free[i] = k->free[(i - 1) / 2];
	k->free[i] = place;
}

static void pop_free(struct ring_class *k)
{
	struct ring_place last = k->free[--k->free_cnt];
	uint32_t i = 0, child;

	while ((child = 2 * i + 1) < k->free_cnt) {
		if (child + 1 < k->free_cnt && lower(k->free[child + 1], k->free[child]))
			child++;
		if (!lower(k->free[child], last))
			break;
		k->free[i] = k->free[child];
		i = child;
	}
	k->free[i] = last;
}

int rings_get(struct ring_pool *p, enum memzone_pages pages, int node, struct ring_place *place,
	      uint32_t *cls, int *segment_fd, struct error *error)
{
	uint32_t want = p->rings < CONTROL_BIG_RINGS ? 0 : 1;
	struct ring_class *k = &p->cls[want];
	uint32_t len = k->len * p->worker_cnt;
	int err = 0;

	*segment_fd = -1;
	if (k->free_cnt) {
		*place = k->free[0];
		err = memzone_fill(p->seg[place->segment], error);
		if (!err)
			pop_free(k);
	} else {
		err = cut(p, pages, node, len, place, segment_fd, error);
	}
	if (err)
		return err;
	*cls = want;
	p->rings++;
	p->in_use[place->segment]++;
	p->empty_ticks[place->segment] = 0;
	for (uint32_t i = 0; i < p->worker_cnt; i++)
		foreign_zero(rings_at(p, *place, *cls, i), sizeof(struct udplane_rx_ring));
	return 0;
}

void rings_put(struct ring_pool *p, struct ring_place place, uint32_t cls)
{
	struct ring_class *k = &p->cls[cls];

	p->rings--;
	p->in_use[place.segment]--;
	if (k->free_cnt == k->free_room) {
		uint32_t room = k->free_room ? 2 * k->free_room : 16;
		struct ring_place *f = realloc(k->free, room * sizeof(*f));

		if (!f)
			/* the ring is lost to this client until it leaves; nothing else is */
			return;
		k->free = f;
		k->free_room = room;
	}
	push_free(k, place);
}

void rings_unmake_segment(struct ring_pool *p)
{
	uint32_t last = p->seg_cnt - 1;

	for (int i = 0; i < 2; i++) {
		struct ring_class *k = &p->cls[i];
		uint32_t cnt = k->free_cnt;

		k->free_cnt = 0;
		/* builds the heap again from those that stay, in front of those not visited yet */
		for (uint32_t j = 0; j < cnt; j++)
			if (k->free[j].segment != last)
				push_free(k, k->free[j]);
	}
	memzone_destroy(p->seg[last]);
	free(p->seg[last]);
	p->seg[last] = NULL;
	p->seg_cnt = last;
	p->used = p->used_before;
}

/* Returns true if the client has read everything in this place's rings. */
static bool all_read(const struct ring_pool *p, struct ring_place place, uint32_t cls)
{
	for (uint32_t i = 0; i < p->worker_cnt; i++) {
		struct foreign ring = rings_at(p, place, cls, i);

		if (foreign_load32(ring, offsetof(struct udplane_rx_ring, head.prod_idx)) !=
		    foreign_load32(ring, offsetof(struct udplane_rx_ring, head.cons_idx)))
			return false;
	}
	return true;
}

void rings_shrink(struct ring_pool *p)
{
	bool any = false;

	for (uint32_t i = 1; i < p->seg_cnt; i++) {
		bool empty = !p->in_use[i] && !p->seg[i]->hollow;

		p->empty_ticks[i] = empty ? p->empty_ticks[i] + 1 : 0;
		any |= p->empty_ticks[i] >= EMPTY_TICKS;
	}
	for (uint32_t c = 0; any && c < 2; c++)
		for (uint32_t n = 0; n < p->cls[c].free_cnt; n++) {
			struct ring_place place = p->cls[c].free[n];
			uint32_t *ticks = &p->empty_ticks[place.segment];

			if (*ticks >= EMPTY_TICKS && *ticks < UNREAD_TICKS &&
			    !all_read(p, place, c))
				*ticks |= UNREAD;
		}
	for (uint32_t i = 1; any && i < p->seg_cnt; i++) {
		if (p->empty_ticks[i] >= EMPTY_TICKS && !(p->empty_ticks[i] & UNREAD))
			memzone_empty(p->seg[i]);
		p->empty_ticks[i] &= ~UNREAD;
	}
}

struct foreign rings_at(const struct ring_pool *p, struct ring_place place, uint32_t cls,
			uint32_t worker)
{
	return foreign_at(foreign_of(p->seg[place.segment]->addr),
			  place.off + (size_t)worker * p->cls[cls].len);
}
