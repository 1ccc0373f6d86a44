/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RX rings are cut from the rest of the channel first, then from segments of 2 MiB. Two sizes only, so what is given back fits what is
 * asked for next: a client that opens and closes sockets for ever uses what it used at its peak.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "sidecar/control/internal.h"

static uint32_t line_up(uint32_t n)
{
	return (n + UDPLANE_LINE - 1) / UDPLANE_LINE * UDPLANE_LINE;
}

void rings_init(struct ring_pool *p, struct memzone *channel, uint32_t used, uint32_t worker_cnt, uint32_t big)
{
	memset(p, 0, sizeof(*p));
	p->seg[0] = channel;
	p->seg_cnt = 1;
	p->used = line_up(used);
	p->worker_cnt = worker_cnt;
	p->cls[0].size = big;
	p->cls[1].size = big < CONTROL_SMALL_RING ? big : CONTROL_SMALL_RING;
	for (int i = 0; i < 2; i++)
		p->cls[i].len = line_up(sizeof(struct udplane_rx_ring) + p->cls[i].size * sizeof(struct udplane_rx_desc));
}

void rings_free(struct ring_pool *p)
{
	for (uint32_t i = 1; i < p->seg_cnt; i++) {
		memzone_destroy(p->seg[i]);
		free(p->seg[i]);
	}
	free(p->cls[0].free);
	free(p->cls[1].free);
	memset(p, 0, sizeof(*p));
}

static int add_segment(struct ring_pool *p, enum memzone_pages pages, int node, uint32_t need)
{
	char text[UDPLANE_TEXT_LEN];
	struct memzone *z;
	int err;

	if (p->seg_cnt == CONTROL_SEGMENTS)
		return -ENOSPC;
	z = calloc(1, sizeof(*z));
	if (!z)
		return -ENOMEM;
	err = memzone_create(z, "udplane-rings", need > MEMZONE_HUGE_SIZE ? need : MEMZONE_HUGE_SIZE, pages, node, text, sizeof(text));
	if (err) {
		free(z);
		return err;
	}
	p->seg[p->seg_cnt++] = z;
	p->used = 0;
	return 0;
}

static int cut(struct ring_pool *p, enum memzone_pages pages, int node, uint32_t len, struct ring_place *place, int *segment_fd)
{
	int err;

	if (p->used + (uint64_t)len > p->seg[p->seg_cnt - 1]->len) {
		err = add_segment(p, pages, node, len);
		if (err)
			return err;
		*segment_fd = p->seg[p->seg_cnt - 1]->fd;
	}
	place->segment = p->seg_cnt - 1;
	place->off = p->used;
	p->used += len;
	return 0;
}

int rings_get(struct ring_pool *p, enum memzone_pages pages, int node, struct ring_place *place, uint32_t *cls, int *segment_fd)
{
	uint32_t want = p->rings < CONTROL_BIG_RINGS ? 0 : 1;
	struct ring_class *k = &p->cls[want];
	uint32_t len = k->len * p->worker_cnt;
	int err = 0;

	*segment_fd = -1;
	if (k->free_cnt)
		*place = k->free[--k->free_cnt];
	else
		err = cut(p, pages, node, len, place, segment_fd);
	if (err)
		return err;
	*cls = want;
	p->rings++;
	for (uint32_t i = 0; i < p->worker_cnt; i++)
		foreign_zero(rings_at(p, *place, *cls, i), sizeof(struct udplane_rx_ring));
	return 0;
}

void rings_put(struct ring_pool *p, struct ring_place place, uint32_t cls)
{
	struct ring_class *k = &p->cls[cls];

	p->rings--;
	if (k->free_cnt == k->free_room) {
		uint32_t room = k->free_room ? 2 * k->free_room : 16;
		struct ring_place *f = realloc(k->free, room * sizeof(*f));

		if (!f)
			return; /* the ring is lost to this client until it leaves; nothing else is */
		k->free = f;
		k->free_room = room;
	}
	k->free[k->free_cnt++] = place;
}

struct foreign rings_at(const struct ring_pool *p, struct ring_place place, uint32_t cls, uint32_t worker)
{
	return foreign_at(foreign_of(p->seg[place.segment]->addr), place.off + (size_t)worker * p->cls[cls].len);
}
