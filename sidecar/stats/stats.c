/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/stats/stats.h"

#include <stdio.h>
#include <string.h>

static uint32_t line_up(size_t off)
{
	return (uint32_t)((off + UDPLANE_LINE - 1) / UDPLANE_LINE * UDPLANE_LINE);
}

int stats_create(struct stats *s, uint32_t worker_cnt, uint32_t socket_max,
		 enum memzone_pages pages, struct error *error)
{
	uint32_t ports = line_up(sizeof(struct udplane_stats_zone));
	uint32_t workers = ports + 8192;
	uint32_t sockets = line_up(workers + worker_cnt * sizeof(struct udplane_worker_zone));
	uint32_t counters =
		line_up(sockets + (size_t)socket_max * sizeof(struct udplane_socket_zone));
	size_t info =
		counters + (size_t)socket_max * worker_cnt * sizeof(struct udplane_socket_counters);
	size_t len = info + STATS_INFO_SIZE;
	int err = memzone_create(&s->zone, "udplane-stats", len, pages, -1, error);

	if (err)
		return err;
	s->z = s->zone.addr;
	s->worker_cnt = worker_cnt;
	s->socket_max = socket_max;
	s->z->magic = UDPLANE_ABI_MAGIC;
	s->z->major = UDPLANE_ABI_MAJOR;
	s->z->minor = UDPLANE_ABI_MINOR;
	s->z->worker_cnt = worker_cnt;
	s->z->socket_max = socket_max;
	s->z->worker_off = workers;
	s->z->socket_off = sockets;
	s->z->socket_len = sizeof(struct udplane_socket_zone);
	s->z->counters_off = counters;
	s->z->ports_off = ports;
	s->z->info_off = (uint32_t)info;
	s->z->info_size = STATS_INFO_SIZE;
	return memzone_seal_readonly(&s->zone);
}

void stats_destroy(struct stats *s)
{
	memzone_destroy(&s->zone);
	s->z = NULL;
}

void stats_set_workers(struct stats *s, uint32_t worker_cnt)
{
	s->worker_cnt = worker_cnt;
	s->z->worker_cnt = worker_cnt;
}

static void *at(const struct stats *s, size_t off)
{
	return (char *)s->zone.addr + off;
}

struct udplane_worker_zone *stats_worker(const struct stats *s, uint32_t worker)
{
	return (struct udplane_worker_zone *)at(s, s->z->worker_off) + worker;
}

struct udplane_socket_zone *stats_socket(const struct stats *s, uint32_t sock)
{
	return (struct udplane_socket_zone *)at(s, s->z->socket_off) + sock;
}

struct udplane_socket_counters *stats_counters(const struct stats *s, uint32_t sock,
					       uint32_t worker)
{
	return (struct udplane_socket_counters *)at(s, s->z->counters_off) +
	       (size_t)sock * s->worker_cnt + worker;
}

void stats_set_ports(struct stats *s, const uint8_t bitmap[8192])
{
	memcpy(at(s, s->z->ports_off), bitmap, 8192);
}

void stats_set_info(struct stats *s, const char *text)
{
	udplane_seq_begin(&s->z->info_seq);
	snprintf(at(s, s->z->info_off), STATS_INFO_SIZE, "%s", text);
	udplane_seq_end(&s->z->info_seq);
}

/* Changes nothing but the sequence number, so that readers read the prefixes again. */
void stats_touch_prefixes(struct stats *s)
{
	udplane_seq_begin(&s->z->prefix_seq);
	udplane_seq_end(&s->z->prefix_seq);
}

void stats_set_prefixes(struct stats *s, const struct udplane_prefix *p, uint32_t cnt,
			const char *note)
{
	if (cnt > UDPLANE_MAX_PREFIXES)
		cnt = UDPLANE_MAX_PREFIXES;
	udplane_seq_begin(&s->z->prefix_seq);
	memcpy(s->z->prefix, p, cnt * sizeof(*p));
	s->z->prefix_cnt = cnt;
	snprintf(s->z->route_note, sizeof(s->z->route_note), "%s", note);
	udplane_seq_end(&s->z->prefix_seq);
}
