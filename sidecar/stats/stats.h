/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stats zone (struct udplane_stats_zone, abi.h). It is made once at the start and then written
 * in place. abi.h says who writes what; only this module knows where things are in the zone.
 *
 * Threads: the control thread makes all calls. A worker may write through the pointers that it was
 * given.
 */
#ifndef SIDECAR_STATS_STATS_H
#define SIDECAR_STATS_STATS_H

#include "include/base/error.h"
#include "sidecar/memory/memzone.h"
#include <stddef.h>
#include <stdint.h>
#include <udplane/abi.h>
#include <udplane/ring.h>

#define STATS_INFO_SIZE 16384u /* bytes: enough for more than a hundred counters of a driver */

struct stats {
	struct memzone zone;
	struct udplane_stats_zone *z;
	uint32_t worker_cnt, socket_max;
};

/* Returns 0, or -errno with `error` set. */
int stats_create(struct stats *s, uint32_t worker_cnt, uint32_t socket_max,
		 enum memzone_pages pages, struct error *error);
void stats_destroy(struct stats *s);
/* Sets a smaller number of workers than the zone was made for. Call it before anything is
 * counted. */
void stats_set_workers(struct stats *s, uint32_t worker_cnt);

/* Return the entry of a worker, of a socket, and of a socket's counters for one worker. The numbers
 * are not checked. */
struct udplane_worker_zone *stats_worker(const struct stats *s, uint32_t worker);
struct udplane_socket_zone *stats_socket(const struct stats *s, uint32_t sock);
struct udplane_socket_counters *stats_counters(const struct stats *s, uint32_t sock,
					       uint32_t worker);
/* Publishes the ports to accelerate: port p is bit p & 7 of byte p >> 3. */
void stats_set_ports(struct stats *s, const uint8_t bitmap[8192]);
/* Publishes facts about the device: lines of "name\tvalue\n". */
void stats_set_info(struct stats *s, const char *text);
/* Makes clients that hold a copy read the prefixes, and their sockets' tx_reason, again. */
void stats_touch_prefixes(struct stats *s);
/* Publishes the first UDPLANE_MAX_PREFIXES of cnt prefixes. note: see
 * udplane_stats_zone.route_note. */
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
