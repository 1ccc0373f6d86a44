/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The RX rings of one client: cut from its channel first, then from segments.
 *
 * The memory is shared with the client, so everything here that is about places and sizes lies
 * outside of it. Not thread-safe; the control thread calls.
 */
#ifndef SIDECAR_CONTROL_RINGS_H
#define SIDECAR_CONTROL_RINGS_H

#include "include/base/error.h"
#include "sidecar/memory/foreign.h"
#include "sidecar/memory/memzone.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <udplane/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CONTROL_SEGMENTS  512 /* segments of one client at most: 1 GiB */
#define CONTROL_BIG_RINGS 16  /* sockets of a client that get rings of the configured size */
/* Descriptors of the rings of all further sockets. The kernel's default SO_RCVBUF holds 277 small
 * datagrams. */
#define CONTROL_SMALL_RING 512

struct ring_place {
	uint32_t segment; /* index in ring_pool.seg[]; 0 is the channel */
	uint32_t off;	  /* of worker 0's ring, in bytes; those of the other workers follow */
};

struct ring_class {
	uint32_t size;		      /* descriptors of one ring */
	uint32_t len;		      /* bytes of one ring */
	struct ring_place *free;      /* places that were given back: a heap, the lowest first */
	uint32_t free_cnt, free_room; /* entries in use, and allocated */
};

struct ring_pool {
	struct memzone *seg[CONTROL_SEGMENTS];
	uint32_t in_use[CONTROL_SEGMENTS];	/* rings in each segment */
	uint32_t empty_ticks[CONTROL_SEGMENTS]; /* seconds since the last one was given back */
	uint32_t seg_cnt;
	uint32_t used;	      /* bytes cut from the last segment */
	uint32_t used_before; /* `used` when the last segment was made */
	uint32_t rings;	      /* sockets that have rings */
	uint32_t worker_cnt;
	struct ring_class cls[2]; /* [0] of the configured size, [1] small */
};

/* channel: its first `used` bytes are not for rings. big: descriptors of a ring of class 0. */
void rings_init(struct ring_pool *p, struct memzone *channel, uint32_t used, uint32_t worker_cnt,
		uint32_t big);
/* Destroys all segments, but not the channel. */
void rings_free(struct ring_pool *p);
/* Destroys one segment. No ring may be in use, and none may be taken afterwards. Returns false if
 * no segment was left. */
bool rings_free_some(struct ring_pool *p);
/* Takes a ring for each worker, with zeroed heads; sets *place and *cls. *segment_fd becomes the
 * descriptor of a segment that had to be made, which the pool keeps, otherwise -1. Returns 0, or
 * -errno with `error` set. */
int rings_get(struct ring_pool *p, enum memzone_pages pages, int node, struct ring_place *place,
	      uint32_t *cls, int *segment_fd, struct error *error);
void rings_put(struct ring_pool *p, struct ring_place place, uint32_t cls);
/* Destroys the last segment, if the client could not be told of it. None of its rings may be in
 * use. */
void rings_unmake_segment(struct ring_pool *p);
/* Call once per second: gives back the pages of segments that have been empty for a while. */
void rings_shrink(struct ring_pool *p);
/* The struct udplane_rx_ring of one worker. */
struct foreign rings_at(const struct ring_pool *p, struct ring_place place, uint32_t cls,
			uint32_t worker);

#ifdef __cplusplus
}
#endif

#endif
