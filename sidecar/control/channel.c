/* SPDX-License-Identifier: Apache-2.0 */
/* The channel of a client: for each worker a lane (TX ring, return ring, payload slots), then room
 * for RX rings. */
#include "sidecar/base/log.h"
#include "sidecar/control/internal.h"
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static uint32_t line_up(size_t n)
{
	return (uint32_t)((n + UDPLANE_LINE - 1) / UDPLANE_LINE * UDPLANE_LINE);
}

static uint32_t ready_off(const struct udplane_welcome *w)
{
	return line_up(w->tx_payload_off + (size_t)w->tx_slot_cnt * w->tx_slot_size);
}

static void layout(const struct control *c, struct udplane_welcome *w)
{
	w->worker_cnt = c->worker_cnt;
	w->frame_cnt = c->cfg->frames;
	w->frame_size = c->frame_size;
	w->tx_slot_cnt = CONTROL_TX_SLOTS;
	w->tx_slot_size = c->frame_size;
	w->return_cnt = c->cfg->frames;
	w->tx_ring_off = 0;
	w->return_off = line_up(sizeof(struct udplane_tx_ring) +
				w->tx_slot_cnt * sizeof(struct udplane_tx_desc));
	w->tx_payload_off = line_up(w->return_off + sizeof(struct udplane_return_ring) +
				    w->return_cnt * sizeof(uint32_t));
	w->lane_len = line_up(ready_off(w) + sizeof(struct udplane_ready) +
			      ((size_t)c->cfg->max_sockets + 63) / 64 * sizeof(uint64_t));
	w->lane_off = 0;
}

static void lane_init(struct session *s, uint32_t i, const struct udplane_welcome *w)
{
	struct foreign base =
		foreign_at(foreign_of(s->channel.addr), w->lane_off + (size_t)i * w->lane_len);
	struct foreign tx = foreign_at(base, w->tx_ring_off), ret = foreign_at(base, w->return_off);
	struct worker_lane *lane = &s->lane[i];

	lane->id = s->id;
	lane->serial = s->serial;
	udplane_ring_init(&lane->tx, foreign_ring_head(tx), w->tx_slot_cnt, 0);
	udplane_ring_init(&lane->ret, foreign_ring_head(ret), w->return_cnt, 0);
	lane->tx_desc = foreign_at(tx, offsetof(struct udplane_tx_ring, desc));
	lane->ret_frame = foreign_at(ret, offsetof(struct udplane_return_ring, frame));
	lane->tx_payload = foreign_at(base, w->tx_payload_off);
	lane->ready = foreign_at(base, ready_off(w));
	lane->tx_slot_size = w->tx_slot_size;
	lane->doorbell_fd = s->doorbell[i];
}

static int add_lanes(struct control *c, struct session *s, const struct udplane_welcome *w)
{
	for (uint32_t i = 0; i < c->worker_cnt; i++) {
		struct worker_order o = {.op = WORKER_LANE_ADD, .lane = &s->lane[i]};
		int err;

		s->doorbell[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (s->doorbell[i] < 0)
			return -errno;
		lane_init(s, i, w);
		err = worker_call(c->worker[i], &o);
		if (err)
			return err;
	}
	return 0;
}

/* Bytes for the rings of one socket. Most processes have no more, and need no segment then. */
static uint32_t first_rings(const struct control *c)
{
	return c->worker_cnt * line_up(sizeof(struct udplane_rx_ring) +
				       c->cfg->rx_ring_size * sizeof(struct udplane_rx_desc));
}

int channel_create(struct control *c, struct session *s, struct udplane_welcome *out,
		   struct error *error)
{
	uint32_t lanes;
	int err;

	layout(c, out);
	lanes = out->lane_off + c->worker_cnt * out->lane_len;
	s->channel.budget = &c->budget;
	s->channel.owner = &s->memory;
	err = memzone_create(&s->channel, "udplane-channel", lanes + UDPLANE_LINE + first_rings(c),
			     c->pages, c->dev->numa_node, error);
	if (err)
		return err;
	if (error->text[0])
		log_warn("client %d (%s): %s", s->pid, s->comm, error->text);
	for (uint32_t i = 0; i < c->worker_cnt; i++)
		s->doorbell[i] = -1;
	rings_init(&s->rings, &s->channel, lanes, c->worker_cnt, c->cfg->rx_ring_size);
	err = add_lanes(c, s, out);
	if (err) {
		error_set(error, err,
			  "udplaned has no room for another client: %s; raise RLIMIT_NOFILE",
			  strerror(-err));
		channel_destroy(c, s);
		return err;
	}
	out->channel_len = s->channel.len;
	return 0;
}

void channel_destroy(struct control *c, struct session *s)
{
	if (!s->channel.addr)
		return;
	for (uint32_t i = 0; i < c->worker_cnt; i++) {
		struct worker_order o = {.op = WORKER_LANE_REMOVE, .lane = &s->lane[i]};

		if (s->doorbell[i] < 0)
			continue;
		worker_call(c->worker[i], &o);
		close(s->doorbell[i]);
		s->doorbell[i] = -1;
	}
	rings_free(&s->rings);
	memzone_destroy(&s->channel);
}
