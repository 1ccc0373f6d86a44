/* SPDX-License-Identifier: Apache-2.0 */
/* The attachment: the library's end of a connection to udplaned, and the zones that it maps. */
#ifndef UDPLANE_CLIENT_ATTACH_H
#define UDPLANE_CLIENT_ATTACH_H

#include "client/base.h"
#include "client/control.h"
#include "client/lock.h"
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <udplane/abi.h>
#include <udplane/ring.h>

#ifdef __cplusplus
extern "C" {
#endif

struct sock;

struct zone {
	uint8_t *addr; /* NULL if not mapped */
	size_t len;
};

/* A private copy of the destinations that the fast path may send to. */
struct prefix_set {
	uint32_t seq; /* odd if not copied yet */
	uint32_t cnt;
	struct udplane_prefix prefix[UDPLANE_MAX_PREFIXES];
};

/* This process's part of one worker: a TX ring, its payload slots and a return ring, in the
 * channel. */
struct lane {
	struct lock tx_lock;
	struct udplane_ring tx; /* producer */
	struct udplane_tx_desc *desc;
	uint8_t *payload;
	uint64_t checked_ticks; /* when the control socket was last checked */
	uint64_t
		/* start of the window in which window_cnt counts sends to a sleeping worker */
		window_ns;
	uint32_t window_cnt;
	uint32_t stall_cons; /* the worker's index when stall_ns was set */
	/* time at which the worker's index last moved while entries were waiting; 0 if none are */
	uint64_t stall_ns;
	/* TX_STALL_NS have passed since: the worker does not run, and sends take the kernel path */
	bool stalled;
	struct prefix_set prefixes;
	/* the application has the slots from tx.idx on, between reserve and submit */
	bool reserved;
	bool reserved_long; /* for longer than TX_FULL_WAIT_NS */
	pthread_t reserved_by;

	struct lock ret_lock __attribute__((aligned(UDPLANE_LINE)));
	struct udplane_ring ret; /* producer */
	uint32_t *frame;

	struct udplane_ready *ready; /* NULL if udplaned has none */
	int doorbell;
	const struct udplane_worker_zone *zone;
} __attribute__((aligned(UDPLANE_LINE)));

/* One connection to one udplaned. Made and ended under the control lock. */
struct attach {
	uint32_t
		refs; /* atomic: the context, claimed sockets, packets that the application holds */
	uint32_t live; /* atomic: 0 once ended: its rings must not be written any more */
	struct control control;
	uint32_t backend, mode, worker_cnt;
	uint32_t minor; /* of udplaned's ABI */
	uint32_t socket_max;
	struct sock **by_id; /* [socket_max] of the shim; atomic, may be out of date */
	uint32_t id_end;     /* atomic: behind the last entry in use */
	uint32_t frame_cnt, frame_size, frame_shift;
	uint32_t tx_slot_size, tx_slot_shift;
	const struct udplane_stats_zone *stats;
	struct zone stats_zone, frames, channel;
	struct zone *segment; /* [segment_cnt] */
	uint32_t segment_cnt;
	uint64_t checked_ns; /* atomic */
	/* Datagrams received through the kernel, by all sockets. Approximate, atomic. */
	uint64_t rx_window_ns, rx_rang_ns;
	uint32_t rx_window_cnt;
	uint64_t
		resend_until_ns; /* control lock: deadline for tx_resend(), once udplaned is dead */
	char text[UDPLANE_TEXT_LEN];
	struct lane lane[]; /* [worker_cnt] */
} __attribute__((aligned(UDPLANE_LINE)));

/* Closes a connection whose HELLO has not been answered. Under the control lock. */
void hello_forget(void);
/* Attaches if it is time to. Sets context.att, or the reason and the time of the next attempt.
 * Under the control lock. */
void attach_try(void);
void attach_put(struct attach *a);
void attach_put_many(struct attach *a, uint32_t cnt);
void attach_close_fds(struct attach *a);
/* Maps the whole of a memfd, which must have at least len bytes. Returns 0 or -errno. */
int zone_map(struct zone *z, int fd, uint64_t len, int prot, int flags);
/* Checks the control socket, at most every DEATH_CHECK_NS; sets control.attn if there is
 * something to read. Any thread. */
void attach_look(struct attach *a, uint64_t now);
bool attach_awake(const struct attach *a); /* returns true if any worker is awake */
/* Returns true if every worker is engaged, so that what the kernel delivers is not from their
 * queues. */
bool attach_engaged(const struct attach *a);
static inline bool attach_news(const struct attach *a)
{
	return __atomic_load_n(&a->control.attn, __ATOMIC_RELAXED) ||
	       udplane_load32(&a->stats->state) > UDPLANE_STATE_RUNNING;
}
bool lane_ring_doorbell(struct attach *a, struct lane *l); /* returns true if it was rung */

#ifdef __cplusplus
}
#endif

#endif
