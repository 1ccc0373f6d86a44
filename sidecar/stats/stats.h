/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stats zone (struct udplane_stats_zone, abi.h): made once at start, then written in place. Who
 * writes what stands in abi.h; this is the one place that knows where things are in it.
 *
 * Threads: the control thread calls everything but the pointers handed out, which a worker may
 * write for itself.
 */
#ifndef SIDECAR_STATS_STATS_H
#define SIDECAR_STATS_STATS_H

#include "sidecar/memory/memzone.h"
#include <stddef.h>
#include <stdint.h>
#include <udplane/abi.h>
#include <udplane/ring.h>

#define STATS_INFO_SIZE 16384u /* bytes: a hundred counters of a driver and more */

struct stats {
	struct memzone zone;
	struct udplane_stats_zone *z;
	uint32_t worker_cnt, socket_max;
};

/* 0 or -errno with text. */
int stats_create(struct stats *s, uint32_t worker_cnt, uint32_t socket_max,
		 enum memzone_pages pages, char *text, size_t text_len);
void stats_destroy(struct stats *s);
/* Fewer workers than it was made for; before anything is counted. */
void stats_set_workers(struct stats *s, uint32_t worker_cnt);

struct udplane_worker_zone *stats_worker(const struct stats *s, uint32_t worker);
struct udplane_socket_zone *stats_socket(const struct stats *s, uint32_t sock);
struct udplane_socket_counters *stats_counters(const struct stats *s, uint32_t sock,
					       uint32_t worker);
void stats_set_ports(struct stats *s, const uint8_t bitmap[8192]);
/* Facts about the device: lines of "name\tvalue\n". */
void stats_set_info(struct stats *s, const char *text);
/* Clients that hold a copy read the prefixes, and their sockets' tx_reason, again. */
void stats_touch_prefixes(struct stats *s);
/* note: as udplane_stats_zone.route_note. */
void stats_set_prefixes(struct stats *s, const struct udplane_prefix *p, uint32_t cnt,
			const char *note);
static inline void stats_count(struct stats *s, enum udplane_control_counter c, uint64_t n)
{
	udplane_count(&s->z->control_counter[c], n);
}
static inline void stats_gauge_add(struct stats *s, enum udplane_control_counter c, int64_t n)
{
	udplane_count(&s->z->control_counter[c], (uint64_t)n);
}

#endif
