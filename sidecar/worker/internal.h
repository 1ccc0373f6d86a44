/* SPDX-License-Identifier: Apache-2.0 */
/* Private to sidecar/worker: the state of a worker. Unless noted otherwise a field belongs to the
 * worker thread, or to the control thread while that has taken its role (mailbox.c). */
#ifndef SIDECAR_WORKER_INTERNAL_H
#define SIDECAR_WORKER_INTERNAL_H

#include "sidecar/port/key_hash.h"
#include "sidecar/worker/worker.h"
#include <pthread.h>

/* the kernel sends 32 frames of an xsk per kick (docs/measurements.md) */
#define WORKER_TX_BURST 32
#define WORKER_EVENTS	128 /* entries of the event ring */
/* Entries that a round leaves free, so that a flush makes progress during a flood of slow
 * datagrams. */
#define WORKER_EVENTS_FLUSH 32
#define WORKER_LANES	    1024 /* attached clients, at most */
#define WORKER_FLOWS	    1024 /* entries of the flow cache, a power of two: 128 KiB, fits L2 */
#define WORKER_MAX_FDS	    96	 /* descriptors of the device in epoll */
/* Tags of epoll events; any other value is a client's doorbell. */
#define WORKER_EVENT_STOP   UINT64_MAX
#define WORKER_EVENT_DEVICE (UINT64_MAX - 1)

/* The receiving side of a claimed socket. One cache line, so that a datagram costs one miss here
 * regardless of the number of sockets. */
struct worker_socket {
	struct udplane_ring rx;
	struct foreign desc;	  /* struct udplane_rx_desc[] */
	struct worker_lane *lane; /* NULL if not in use */
	uint64_t *counter;	  /* of struct udplane_socket_counters, this worker's */
	uint32_t staged;	  /* descriptors of this burst, not published yet */
	uint32_t staged_bytes;
	uint32_t epoch; /* worker.epoch at its last datagram */
	int wake_fd;
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct worker_socket) == 64, "one cache line");

/* Flow cache: (socket, destination, what the datagram asks for) -> headers. Direct-mapped; a
 * collision costs a lookup. dst and asked have the form of the TX descriptor, so that a datagram is
 * compared without a conversion. */
struct worker_flow {
	uint8_t dst[16];
	uint32_t sock;
	uint32_t neigh;
	uint64_t generation; /* of the route table; 0 if empty */
	uint64_t asked;	     /* the descriptor's flags to src4_be */
	uint8_t src6[16];    /* source that the datagram asks for, if it does and is IPv6 */
	uint16_t mtu;
	bool no_df;
	uint8_t pad[64 - 16 - 8 - 8 - 8 - 16 - 3];
	struct packet_template tmpl;
};

/* The local address that was looked up last. */
struct worker_local {
	uint8_t addr[16];    /* has the form of packet_info.dst, for the same reason */
	uint64_t generation; /* as worker_flow's */
	uint8_t family;
};

/* The clients that hold a frame which was delivered to several sockets: one entry for each copy. */
struct worker_copies {
	uint32_t cnt;
	uint16_t owner[WORKER_MEMBERS]; /* channel id + 1 */
};

#define WORKER_OWNER_COPIES UINT16_MAX /* in worker.owner[]: see worker.copies[] */

/* Multicast groups that are diverted. */
struct worker_groups {
	struct key_hash index; /* group and port -> place in at[], plus 1 */
	uint64_t secret[KEY_HASH_SECRETS];
	struct worker_mcast **at; /* [cnt] */
	uint32_t cnt, room;
};

/* A super-packet that is being made. */
#define WORKER_SUPER_SHORT 512u /* datagrams up to this length, bytes, are copied here */
struct worker_super {
	struct device_super packet;
	uint8_t payload[DEVICE_SUPER_MAX * WORKER_SUPER_SHORT];
};

enum worker_run { WORKER_RUNNING, WORKER_ASLEEP, WORKER_BORROWED };

struct worker {
	struct worker_options opt;
	struct device_queue *queue;
	const struct device_queue_ops *ops;
	struct udplane_worker_zone *zone;
	uint64_t *counter; /* zone->counter */

	struct port_table *ports;
	struct worker_groups groups;
	struct worker_socket *socket; /* [socket_max] */
	struct worker_source *source; /* [socket_max] */
	uint64_t *cookie;	      /* [socket_max]: SO_COOKIE of sockets with a key */

	/* frames */
	/* [frame_cnt]: 0 if the worker's or the device's, else channel id + 1, or
	 * WORKER_OWNER_COPIES */
	uint16_t *owner;
	/* [frame_cnt]; NULL until a group has several members */
	struct worker_copies *copies;
	uint32_t held;		/* frames that clients hold */
	uint32_t capacity;	/* frames that clients may hold together */
	uint64_t returned;	/* frames that clients have returned, in total */
	uint64_t returned_seen; /* value of `returned` at the last check for clients that wait */
	uint64_t stuck_ns; /* time of the first check that found no frame returned; 0: none has */

	/* receiving */
	uint32_t epoch;		/* counts engagements, see UDPLANE_RX_SWITCHED */
	uint32_t *served;	/* [socket_max]: sockets that received in this epoch, each once */
	uint32_t served_cnt;	/* entries of `served` */
	uint32_t *served_epoch; /* [socket_max]: epoch in which the socket was added to `served` */
	uint8_t *wakes_slow;	/* [socket_max]: consecutive signals that took over wake_limit_ns */
	uint64_t wake_limit_ns;
	uint64_t wakes_measured_until_ns; /* signals are timed one by one until then */
	struct worker_local local;
	uint32_t stamp_cnt; /* sockets with source.stamp */

	struct worker_lane *lane[WORKER_LANES];
	uint32_t lane_cnt;

	/* sending */
	const struct route_table *route;
	struct worker_flow *flow; /* [WORKER_FLOWS] */
	uint16_t ip_id;		  /* of the last datagram without DF, so that fragments never mix */
	uint8_t *has_flows;	  /* [socket_max]: `flow` may hold entries of the socket */
	uint64_t flow_generation; /* changes with the route table */
	bool flushing;		  /* carrying out WORKER_SOCKET_FLUSH */
	struct device_frame tx_stage[WORKER_TX_BURST]; /* built, not taken by the device yet */
	uint32_t tx_staged;
	struct worker_super *super; /* NULL if the device has none */

	struct worker_capture *capture; /* a list; NULL, unless somebody captures */

	/* events: the worker produces, the control thread consumes */
	struct udplane_ring_head event_head;
	struct udplane_ring event_prod, event_cons;
	uint8_t *events;
	uint32_t event_len; /* bytes of an entry */
	int event_fd;	    /* eventfd, private to udplaned */

	/* orders */
	struct worker_order *order; /* atomic: set by the control thread, cleared by the worker */
	uint32_t order_waiter;	    /* atomic: 1 while the control thread sleeps for the result */
	uint32_t run;		    /* atomic: enum worker_run */
	uint32_t stop;		    /* atomic */
	int stop_fd, done_fd;	    /* eventfds */
	int epoll_fd;

	/* sleeping */
	uint32_t gauge_held, gauge_free; /* atomic: at the end of the last round */
	bool stalled;	    /* this round left work for which no doorbell will ring: do not sleep */
	bool engaged;	    /* claimed datagrams are diverted to this worker */
	uint64_t left_ns;   /* time of the device's leave(); 0 if it has not been called */
	uint64_t linger_ns; /* traffic comes in bursts: spin longer and sleep engaged until then */
	uint64_t woke_ns;   /* time of the last wake-up */
	uint64_t rx_seen;   /* frames received until the last sleep */
	uint64_t left_seen; /* left_to_kernel() at the last disengagement */
	uint64_t left_since; /* time of the last disengagement */
	pthread_t thread;
};

/* Returns true if several sockets share a key by flow. */
static inline bool worker_has_groups(const struct worker *w)
{
	return port_table_groups(w->ports) != 0;
}

/* rx.c */
/* Receives one burst. Returns the number of frames. */
uint32_t worker_rx(struct worker *w);
/* Returns the CPU time that a signal to a client may take, based on what one costs here. */
uint64_t worker_wake_limit(void);
/* Returns true if the clients have taken everything that was delivered in this epoch. */
bool worker_rx_all_read(struct worker *w);
/* Begins an epoch: datagrams from now on are newer than those in the kernel's sockets. */
void worker_new_epoch(struct worker *w);

/* frames.c */
/* Takes returned frames of a lane back. Returns how many. */
uint32_t worker_returns(struct worker *w, struct worker_lane *lane);
/* Takes all frames of a lane back whose client has gone. */
void worker_reclaim(struct worker *w, struct worker_lane *lane);

/* mcast.c */
/* Carries out WORKER_MCAST. Returns 0, or -ENOMEM, and then nothing has changed. */
int worker_mcast_set(struct worker *w, const struct worker_mcast *m);
/* Returns the group of a datagram, or NULL. */
const struct worker_mcast *worker_mcast_find(const struct worker *w,
					     const struct packet_info *info);
/* Returns true if the member wants datagrams of this source. */
bool worker_member_wants(const struct worker_member *m, const struct packet_info *info);
void worker_mcast_free(struct worker *w);

/* capture.c: call these only while w->capture is set */
/* A frame that is captured. */
struct worker_captured {
	const struct device_frame *frame;
	const struct packet_info *info; /* its ports are 0 if the frame is no datagram */
	uint32_t sock;			/* or UDPLANE_CAPTURE_NO_SOCKET */
	uint16_t flags, copies, reason; /* as in struct udplane_capture_record */
};
/* Copies one frame into the ring of each capture that wants it. */
void worker_capture_frame(struct worker *w, uint64_t time_ns, const struct worker_captured *c);
/* Makes visible what was copied. */
void worker_capture_publish(struct worker *w);
void worker_capture_add(struct worker *w, struct worker_capture *c);
void worker_capture_remove(struct worker *w, struct worker_capture *c);

/* tx.c */
/* Sends one burst of a lane. Returns the number of descriptors taken. */
uint32_t worker_tx(struct worker *w, struct worker_lane *lane);
/* Hands staged frames to the device. Returns true when none is left. */
bool worker_tx_push(struct worker *w);

/* event.c */
/* The client has written an impossible value: stop serving it, and report it in the next round. */
void worker_corrupt(struct worker *w, struct worker_lane *lane);
/* Returns the next free event, or NULL unless more than `spare` are free. */
struct worker_event *worker_event_reserve(struct worker *w, uint32_t spare);
void worker_event_submit(struct worker *w);

/* round.c */
/* Serves everything once. Returns the amount of work that was found. */
uint32_t worker_round(struct worker *w);

/* sleep.c */
/* Diverts claimed datagrams to this worker. */
void worker_engage(struct worker *w);
/* Called in each round without work, since: time of the first one. Returns true if it is time to
 * sleep. */
bool worker_idle_enough(struct worker *w, uint64_t since);
/* Sleeps until there is reason to poll again or to disengage. Returns at once if work has come. */
void worker_sleep(struct worker *w);

/* mailbox.c */
/* Carries out posted orders. Returns true if there were any. */
bool worker_orders(struct worker *w);

#endif
