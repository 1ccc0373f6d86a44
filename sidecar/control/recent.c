/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each path has carried in the last seconds, so that one look at the stats zone is enough. The
 * counters' growth is published since a time that moves on every RECENT_TICKS seconds, so it
 * covers RECENT_TICKS to twice as many seconds.
 *
 *      base[0]          base[1]
 *   ------|----------------|-----------> now
 *         '------- published ----------'
 *
 * Every RECENT_TICKS: base[0] = base[1], base[1] = now.
 */
#include "sidecar/control/internal.h"
#include <string.h>
#include <udplane/clock.h>

#define RECENT_TICKS 3

static void totals(struct control *c, const struct sock *k, uint64_t *out)
{
	const struct udplane_socket_zone *z = stats_socket(&c->stats, k->id);

	memset(out, 0, UDPLANE_RECENT_COUNTER_CNT * sizeof(*out));
	for (uint32_t w = 0; w < c->worker_cnt; w++) {
		const uint64_t *v = stats_counters(&c->stats, k->id, w)->counter;

		out[UDPLANE_RECENT_RX_FAST] += udplane_load64(&v[UDPLANE_SOCKET_RX_DELIVERED]);
		out[UDPLANE_RECENT_RX_FAST_LOST] +=
			udplane_load64(&v[UDPLANE_SOCKET_RX_DROP_RING_FULL]) +
			udplane_load64(&v[UDPLANE_SOCKET_RX_DROP_QUOTA]);
		out[UDPLANE_RECENT_TX_FAST] += udplane_load64(&v[UDPLANE_SOCKET_TX_SENT]);
		out[UDPLANE_RECENT_TX_SLOW] += udplane_load64(&v[UDPLANE_SOCKET_TX_SLOW]);
	}
	out[UDPLANE_RECENT_RX_KERNEL] = z->client[0];
	out[UDPLANE_RECENT_TX_KERNEL] = z->client[1];
	out[UDPLANE_RECENT_TX_KERNEL_FULL] = z->client[2];
	out[UDPLANE_RECENT_RX_KERNEL_LOST] = k->kernel_drops;
}

static uint64_t grew(uint64_t now, uint64_t before)
{
	return now > before ? now - before : 0; /* a client may write anything */
}

static bool is_gauge(int c)
{
	return c == UDPLANE_DEVICE_FRAMES_TOTAL || c == UDPLANE_DEVICE_FRAMES_FREE ||
	       c == UDPLANE_DEVICE_FRAMES_CLIENTS || c == UDPLANE_DEVICE_LINK_UP;
}

static void publish_socket(struct control *c, struct sock *k, bool move)
{
	uint64_t *out = stats_socket(&c->stats, k->id)->recent,
		 now[UDPLANE_RECENT_COUNTER_CNT] = {0};

	if (!k->refused)
		totals(c, k, now);
	/* the other counters begin with the claim; the kernel has counted since socket() */
	if (!k->recent_begun)
		k->recent[0][UDPLANE_RECENT_RX_KERNEL_LOST] =
			k->recent[1][UDPLANE_RECENT_RX_KERNEL_LOST] =
				now[UDPLANE_RECENT_RX_KERNEL_LOST];
	k->recent_begun = true;
	if (move) {
		memcpy(k->recent[0], k->recent[1], sizeof(now));
		memcpy(k->recent[1], now, sizeof(now));
	}
	for (int i = 0; i < UDPLANE_RECENT_COUNTER_CNT; i++)
		udplane_store64(&out[i], grew(now[i], k->recent[0][i]));
}

static void publish(struct control *c, bool move)
{
	struct udplane_stats_zone *z = c->stats.z;
	struct recent_point *base = c->recent_base;
	struct sock *k;

	if (move) {
		base[0] = base[1];
		base[1].ns = clock_now_ns();
		memcpy(base[1].device, z->device_counter, sizeof(base[1].device));
		memcpy(base[1].host, z->host_counter, sizeof(base[1].host));
	}
	for (int i = 0; i < UDPLANE_DEVICE_COUNTER_CNT; i++)
		udplane_store64(&z->recent_device_counter[i],
				is_gauge(i) ? 0 : grew(z->device_counter[i], base[0].device[i]));
	for (int i = 0; i < UDPLANE_HOST_COUNTER_CNT; i++)
		udplane_store64(&z->recent_host_counter[i],
				grew(z->host_counter[i], base[0].host[i]));
	for (uint32_t at = 0; (k = sock_next(c, &at)) != NULL;)
		publish_socket(c, k, move);
	udplane_store64(&z->recent_ns, clock_now_ns() - base[0].ns);
}

void recent_publish(struct control *c)
{
	publish(c, false);
}

void recent_move(struct control *c)
{
	if (c->ticks % RECENT_TICKS == 0)
		publish(c, true);
}

void recent_restart(struct control *c)
{
	publish(c, true);
	publish(c, true);
}
