/* SPDX-License-Identifier: Apache-2.0 */
/* What the control thread writes into the stats zone. */
#include "sidecar/control/host.h"
#include "sidecar/control/internal.h"
#include <stdio.h>
#include <string.h>
#include <udplane/clock.h>

static void copy_client(struct control *c, const struct sock *k)
{
	struct udplane_socket_zone *z = stats_socket(&c->stats, k->id);
	struct foreign r = rings_at(&k->session->rings, k->place, k->cls, 0);

	udplane_store64(&z->client[0],
			foreign_load64(r, offsetof(struct udplane_rx_ring, kernel_rx)));
	udplane_store64(&z->client[1],
			foreign_load64(r, offsetof(struct udplane_rx_ring, kernel_tx)));
	udplane_store64(&z->client[2],
			foreign_load64(r, offsetof(struct udplane_rx_ring, kernel_tx_full)));
	udplane_store64(&z->client[3],
			foreign_load64(r, offsetof(struct udplane_rx_ring, engages)));
}

static uint64_t memory_of(const struct memzone *z, bool huge)
{
	return z->addr && !z->hollow && (z->page_size == MEMZONE_HUGE_SIZE) == huge ? z->len : 0;
}

static uint64_t memory(const struct control *c, bool huge)
{
	uint64_t n = memory_of(&c->frames, huge) + memory_of(&c->stats.zone, huge);
	struct session *s;

	TAILQ_FOREACH(s, &c->all, link)
		for (uint32_t i = 0; i < s->rings.seg_cnt; i++)
			n += memory_of(s->rings.seg[i], huge);
	return n;
}

static void refresh_info(struct control *c)
{
	char text[STATS_INFO_SIZE];

	if (c->dev && c->dev->ops->info && c->dev->ops->info(c->dev, text, sizeof(text)))
		stats_set_info(&c->stats, text);
}

void refresh_counters(struct control *c)
{
	uint64_t dev[UDPLANE_DEVICE_COUNTER_CNT] = {0}, host[UDPLANE_HOST_COUNTER_CNT];
	struct keeper_counts slow;
	struct sock *k;

	if (c->dev)
		c->dev->ops->counters(c->dev, dev);
	slow = keeper_counted(&c->keeper);
	stats_count(&c->stats, UDPLANE_CONTROL_SLOW_SENT, slow.sent);
	stats_count(&c->stats, UDPLANE_CONTROL_SLOW_FAILED, slow.failed);
	for (uint32_t i = 0; i < c->worker_cnt; i++) {
		dev[UDPLANE_DEVICE_FRAMES_CLIENTS] += worker_frames_held(c->worker[i]);
		dev[UDPLANE_DEVICE_FRAMES_FREE] += worker_frames_free(c->worker[i]);
	}
	dev[UDPLANE_DEVICE_FRAMES_TOTAL] = c->dev ? c->cfg->frames : 0;
	for (int i = 0; i < UDPLANE_DEVICE_COUNTER_CNT; i++)
		udplane_store64(&c->stats.z->device_counter[i], dev[i]);
	for (uint32_t at = 0; (k = sock_next(c, &at)) != NULL;)
		if (!k->refused)
			copy_client(c, k);
	udplane_store64(&c->stats.z->hugepage_bytes, memory(c, true));
	udplane_store64(&c->stats.z->page_bytes, memory(c, false));
	refresh_info(c);
	host_read(c->stats.z->ifname, host);
	for (int i = 0; i < UDPLANE_HOST_COUNTER_CNT; i++)
		udplane_store64(&c->stats.z->host_counter[i], host[i]);
	recent_publish(c);
	udplane_store64(&c->stats.z->refresh_ns, clock_now_ns());
}

void refresh_socket(struct control *c, const struct sock *k, uint32_t reason, const char *text)
{
	struct udplane_socket_zone *z = stats_socket(&c->stats, k->id);

	udplane_seq_begin(&z->seq);
	z->state = k->state;
	z->reason = reason;
	z->channel_id = k->session->id;
	z->pid = k->session->pid;
	z->flags = (k->claim.reuseport ? UDPLANE_SOCKET_F_REUSEPORT : 0) |
		   (k->claim.dual_stack ? UDPLANE_SOCKET_F_DUAL_STACK : 0);
	z->local = k->claim.local;
	z->peer = k->claim.peer;
	z->cookie = k->claim.cookie;
	memcpy(z->comm, k->session->comm, sizeof(z->comm));
	snprintf(z->text, sizeof(z->text), "%s", text);
	if (k->fd < 0) { /* else sock_apply_tx() writes them */
		udplane_store32(&z->tx_reason, UDPLANE_REASON_NONE);
		z->tx_text[0] = 0;
	}
	udplane_seq_end(&z->seq);
}
