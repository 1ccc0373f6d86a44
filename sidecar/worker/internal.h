/* SPDX-License-Identifier: Apache-2.0 */
/* Private to sidecar/worker: the worker's state. Every field is the worker thread's (or the borrower's, see mailbox.c) unless it says
 * otherwise. */
#ifndef SIDECAR_WORKER_INTERNAL_H
#define SIDECAR_WORKER_INTERNAL_H

#include <pthread.h>
#include "sidecar/worker/worker.h"

#define WORKER_TX_BURST 32    /* as many frames as the kernel sends per kick of an xsk (docs/measurements.md) */
#define WORKER_EVENTS 128     /* entries of the event ring, */
#define WORKER_EVENTS_FLUSH 32 /* and of these left free in a round, so that a flush gets on beside a flood of slow datagrams */
#define WORKER_CHANNELS 1024  /* attached clients, at most */
#define WORKER_FLOWS 1024     /* entries of the flow cache, a power of two: 128 KiB, fits L2 */
#define WORKER_MAX_FDS 96     /* device descriptors in epoll */
/* What an event of its epoll is; anything else is a client's doorbell. */
#define WORKER_EVENT_STOP UINT64_MAX
#define WORKER_EVENT_DEVICE (UINT64_MAX - 1)

/* A claimed socket, receiving side. One line, so that a datagram costs one miss here however many sockets there are. */
struct worker_socket {
	struct udplane_ring rx;
	struct foreign desc;            /* struct udplane_rx_desc[] */
	struct worker_channel *channel; /* NULL: not in use */
	uint64_t *counter;              /* struct udplane_socket_counters.counter of this worker */
	uint32_t staged;                /* descriptors written in this burst, not published yet */
	uint32_t staged_bytes;
	uint32_t epoch;                 /* worker.epoch when it last got something */
	int wake_fd;
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct worker_socket) == 64, "one cache line");

/* Destination cache: (socket, destination) -> headers. Direct-mapped; a collision only costs a new look-up. */
struct worker_flow {
	uint8_t dst[16];
	uint32_t sock;
	uint32_t neigh;
	uint64_t generation; /* of the route table; 0: empty */
	uint16_t mtu;
	uint8_t family;
	bool no_df;
	uint8_t pad[64 - 16 - 8 - 8 - 4];
	struct packet_template tmpl;
};

/* The destination address found local last. */
struct worker_local {
	uint8_t addr[16];
	uint64_t generation; /* as worker_flow's */
	uint8_t family;
};

enum worker_run { WORKER_RUNNING, WORKER_ASLEEP, WORKER_BORROWED };

struct worker {
	struct worker_options opt;
	struct device_queue *queue;
	const struct device_queue_ops *ops;
	struct udplane_worker_zone *zone;
	uint64_t *counter; /* zone->counter */

	struct port_table *ports;
	struct worker_socket *socket; /* [socket_max] */
	struct worker_source *source; /* [socket_max] */
	uint16_t *owner;              /* [frame_cnt]: 0 ours, else channel id + 1 */
	uint32_t held;                /* frames in all clients' hands */
	uint32_t capacity;            /* frames that clients may hold together */
	uint32_t epoch;               /* counts engagements: see UDPLANE_RX_SWITCHED */
	uint32_t *served;             /* [socket_max]: sockets that got something in this epoch, */
	uint32_t served_cnt;          /* each once: */
	uint32_t *served_epoch;       /* [socket_max]: epoch in which it was listed */
	bool flushing;                /* carrying out WORKER_SOCKET_FLUSH */
	uint8_t *wakes_slow;              /* [socket_max]: signals in a row that took more of our time than this: */
	uint64_t wake_limit_ns;
	uint64_t wakes_measured_until_ns; /* a wake-up was slow: until then each is measured */
	bool stalled;                 /* this round left work that nobody will ring a bell for: no sleep */
	uint64_t returned;            /* frames that clients have given back, */
	uint64_t returned_seen;       /* as of: */
	uint64_t stuck_ns;            /* since when none has come back while clients hold some; 0: that is not so */

	struct worker_channel *channel[WORKER_CHANNELS];
	uint32_t channel_cnt;

	const struct route_table *route;
	struct worker_flow *flow; /* [WORKER_FLOWS] */
	uint16_t ip_id;           /* of the last datagram without DF: fragments of two must not meet */
	struct worker_local local;
	uint8_t *has_flows;       /* [socket_max]: `flow` may hold something of that socket */
	uint64_t flow_generation; /* changes with the route table */

	struct device_frame tx_stage[WORKER_TX_BURST]; /* built, not taken by the device yet */
	uint32_t tx_staged;

	/* events: worker produces, control thread consumes */
	struct udplane_ring_head event_head;
	struct udplane_ring event_prod, event_cons;
	uint8_t *events;
	uint32_t event_len; /* bytes of one */
	int event_fd;       /* eventfd, ours alone */

	/* orders */
	struct worker_order *order; /* atomic: the control thread sets, the worker clears */
	uint32_t order_waiter;      /* atomic: 1: the control thread sleeps until the order is done */
	uint32_t run;               /* atomic: enum worker_run */
	uint32_t stop;              /* atomic */
	int stop_fd, done_fd;       /* eventfds */
	int epoll_fd;

	uint32_t gauge_held, gauge_free; /* atomic: as of the last round, for the control thread */
	uint64_t left_ns; /* since when the device knows that we are about to leave; 0: it does not */
	bool engaged;     /* claimed datagrams come to us */
	uint64_t linger_ns;  /* until then it spins longer, and sleeps engaged: traffic comes in bursts */
	uint64_t woke_ns;    /* when it woke, */
	uint64_t rx_seen;    /* and frames received when it lay down */
	uint64_t left_seen;  /* datagrams left to the kernel, */
	uint64_t left_since; /* and when: as of the last disengagement */
	pthread_t thread;
};

/* Do several sockets share a key by flow? */
static inline bool worker_has_groups(const struct worker *w)
{
	return port_table_groups(w->ports) != 0;
}
/* rx.c: one burst. Returns frames received. */
uint32_t worker_rx(struct worker *w);
/* rx.c: CPU time that a signal to a client may take, by what one costs on this machine. */
uint64_t worker_wake_limit(void);
/* rx.c: takes returned frames of one channel back. */
uint32_t worker_returns(struct worker *w, struct worker_channel *ch);
/* rx.c: have the clients taken everything that was delivered since the engagement? */
bool worker_rx_all_read(struct worker *w);
void worker_reclaim(struct worker *w, struct worker_channel *ch);
/* tx.c: one burst from one channel; returns descriptors taken. */
uint32_t worker_tx(struct worker *w, struct worker_channel *ch);
/* tx.c: hands staged frames to the device. True when none is left. */
bool worker_tx_push(struct worker *w);
/* worker.c */
void worker_corrupt(struct worker *w, struct worker_channel *ch);
/* The next free event, NULL if there are not more than `spare` of them. */
struct worker_event *worker_event_reserve(struct worker *w, uint32_t spare);
void worker_event_submit(struct worker *w);
uint32_t worker_round(struct worker *w);
/* sleep.c: what comes from now on is newer than what the kernel's sockets hold. */
void worker_new_epoch(struct worker *w);
/* sleep.c: claimed datagrams come to us. */
void worker_engage(struct worker *w);
/* sleep.c: the kernel had taken over while we did not run; claimed datagrams come to us again. */
void worker_resume(struct worker *w);
/* sleep.c: nothing has been done since then; is it time to sleep? Asked again in each round. */
bool worker_idle_enough(struct worker *w, uint64_t since);
/* sleep.c: asleep until there is reason to poll again, or to disengage. Returns at once if something has come. */
void worker_sleep(struct worker *w);
/* mailbox.c */
bool worker_orders(struct worker *w); /* carries out what is posted; true if there was something */

#endif
