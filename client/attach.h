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

struct zone {
	uint8_t *addr; /* NULL: not mapped */
	size_t len;
};

/* Private copy of the destinations that leave by the fast path. */
struct prefix_set {
	uint32_t seq; /* odd: not copied yet */
	uint32_t cnt;
	struct udplane_prefix prefix[UDPLANE_MAX_PREFIXES];
};

/* What a worker and this process share. */
struct lane {
	struct lock tx_lock;
	struct udplane_ring tx; /* producer */
	struct udplane_tx_desc *desc;
	uint8_t *payload;
	uint64_t checked_ticks; /* control socket last looked at */
	uint64_t window_ns;	/* sends while the worker slept: since when, how many */
	uint32_t window_cnt;
	uint32_t stall_cons; /* the worker's index */
	/* since when it has not moved though there is something to take; 0: it has */
	uint64_t stall_ns;
	/* for too long: the worker does not run, and what is sent takes the kernel's way */
	bool stalled;
	struct prefix_set prefixes;
	/* the slots from tx.idx on are in the application's hands, between reserve and submit */
	bool reserved;
	bool reserved_long; /* for longer than is waited for */
	pthread_t reserved_by;

	struct lock ret_lock __attribute__((aligned(UDPLANE_LINE)));
	struct udplane_ring ret; /* producer */
	uint32_t *frame;

	int doorbell;
	const struct udplane_worker_zone *zone;
} __attribute__((aligned(UDPLANE_LINE)));

/* One connection to one udplaned. Made and buried under the control lock. */
struct attach {
	uint32_t
		refs; /* atomic: the context, claimed sockets, packets in the application's hands */
	uint32_t live; /* atomic: 0 once buried: rings are not to be written any more */
	struct control control;
	uint32_t backend, mode, worker_cnt;
	uint32_t frame_cnt, frame_size, frame_shift;
	uint32_t tx_slot_size, tx_slot_shift;
	const struct udplane_stats_zone *stats;
	struct zone stats_zone, frames, channel;
	struct zone *segment; /* [segment_cnt] */
	uint32_t segment_cnt;
	uint64_t checked_ns; /* atomic */
	/* Receptions through the kernel, of all sockets; approximate, atomic. */
	uint64_t rx_window_ns, rx_rang_ns;
	uint32_t rx_window_cnt;
	uint64_t resend_until_ns; /* ctl: once it is dead */
	char text[UDPLANE_TEXT_LEN];
	struct lane lane[]; /* [worker_cnt] */
} __attribute__((aligned(UDPLANE_LINE)));

/* Closes a connection whose HELLO has not been answered. ctl. */
void hello_forget(void);
/* Attaches if that is due. Sets context.att, or the reason why not and when to try again. Under
 * ctl. */
void attach_try(void);
void attach_put(struct attach *a);
void attach_put_many(struct attach *a, uint32_t cnt);
void attach_close_fds(struct attach *a);
/* Maps a memfd that must be at least len long, as a whole. */
int zone_map(struct zone *z, int fd, uint64_t len, int prot, int flags);
/* Rate-limited look at the control socket; sets control.attn if there is news. Any thread. */
void attach_look(struct attach *a, uint64_t now);
bool attach_awake(const struct attach *a); /* any worker */
/* every worker: what the kernel delivers now is not from their queues */
bool attach_engaged(const struct attach *a);
static inline bool attach_news(const struct attach *a)
{
	return __atomic_load_n(&a->control.attn, __ATOMIC_RELAXED) ||
	       udplane_load32(&a->stats->state) > UDPLANE_STATE_RUNNING;
}
bool lane_ring_doorbell(struct attach *a, struct lane *l); /* true: rung */

#ifdef __cplusplus
}
#endif

#endif
