/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker: the thread that owns one device queue and moves packets between it and the clients' rings.
 *
 *   device --rx_burst--> parse, verify --port table--> RX ring of the socket --(armed?)--> wake socket
 *   client's TX ring --check--> route, template --packet_build--> own frame --tx_burst--> device
 *                                   `-- anything not plain --> event ring --> control thread, kernel socket
 *   client's return ring --ownership check--> free frames
 *
 * Everything that it needs is its own; nothing on the packet path is shared with another thread but SPSC rings. The control thread
 * changes a worker's tables by orders (worker_call), which the worker carries out between two rounds; while the worker is asleep the
 * control thread borrows it and carries them out itself, so that claims wake nobody. Either way nobody reads what an order removed
 * once the call has returned.
 *
 * What clients can write (struct foreign) is read once, checked, then used: indices by ring.h, frame numbers against `owner`, socket
 * numbers against `socket[].channel`, lengths against slot and MTU. A client that lies is reported in an event and served no more.
 */
#ifndef SIDECAR_WORKER_WORKER_H
#define SIDECAR_WORKER_WORKER_H

#include <stdbool.h>
#include <stdint.h>
#include <udplane/abi.h>
#include <udplane/ring.h>
#include "sidecar/device/device.h"
#include "sidecar/memory/foreign.h"
#include "sidecar/packet/packet.h"
#include "sidecar/port/port.h"
#include "sidecar/route/route.h"

/* A client's lane. Made by the control thread; the worker's from CHANNEL_ADD until CHANNEL_REMOVE has returned. */
struct worker_channel {
	uint32_t id;
	uint64_t serial; /* of its session: an id is used again */
	struct udplane_ring tx, ret;
	struct foreign tx_desc;    /* struct udplane_tx_desc[] */
	struct foreign tx_payload; /* slots of tx_slot_size bytes */
	struct foreign ret_frame;  /* uint32_t[] */
	uint32_t tx_slot_size; /* bytes, a power of two */
	int doorbell_fd;
	/* worker's own */
	uint32_t held;         /* frames in the client's hands */
	uint32_t socket_cnt;   /* sockets that have been added and not removed */
	uint32_t expelled;     /* 0; or the WORKER_EVENT_* that says why it is not served any more */
	bool reported;         /* the control thread knows of that */
};

/* What SOCKET_ADD needs to know of a claimed socket. Read during the call only. */
struct worker_socket_info {
	struct worker_channel *channel;
	struct foreign ring;                  /* struct udplane_rx_ring */
	uint32_t ring_size;
	int wake_fd;                          /* our end of its wake socket: a UNIX stream socket */
	struct udplane_socket_counters *counters;
};

/* Where a socket sends from. */
struct worker_source {
	uint8_t family;  /* AF_INET or AF_INET6: of addr; 0: wildcard */
	bool slow;       /* all that it sends takes the kernel path */
	uint16_t port_be;
	uint8_t addr[16];
	bool no_df;      /* IPv4: routers may fragment what it sends */
};

enum worker_op {
	WORKER_CHANNEL_ADD,
	WORKER_CHANNEL_REMOVE, /* takes all its frames back; its sockets must have been removed */
	WORKER_SOCKET_ADD,
	WORKER_SOCKET_SOURCE,  /* its address changed */
	WORKER_SOCKET_FLUSH,   /* sends what its client had queued when this order first came; -EAGAIN: take events, order again;
				* -ETIMEDOUT: the device does not send */
	WORKER_SOCKET_REMOVE,  /* cannot fail: what is still queued for it is dropped and counted */
	WORKER_KEY_INSERT,
	WORKER_KEY_REMOVE,
	WORKER_ROUTE,          /* a new table; the old one is free after the call */
	WORKER_DRAIN_RX,       /* receives what the device held when this order came */
	WORKER_DRAIN,          /* receives until the device has nothing, sends what stands in the TX rings; at most some ms */
	WORKER_SWITCHED,       /* what the kernel has for any socket is older than what comes next: the device was detached meanwhile */
};

struct worker_order {
	enum worker_op op;
	uint32_t sock;
	struct worker_channel *channel;
	const struct worker_socket_info *info;
	struct worker_source source;
	struct port_key key;
	const struct route_table *route;
	bool flushing;             /* FLUSH, the worker's: it has begun, and ends at */
	uint32_t flush_end;        /* this index of the TX ring, whatever the client queues meanwhile */
	int result;                /* 0 or -errno, by the worker */
	struct worker_order *next; /* carried out in the same call; NULL: last */
};

enum worker_event_type {
	WORKER_EVENT_SLOW = 1,    /* a datagram for the slow path */
	WORKER_EVENT_CORRUPT,     /* the client wrote what cannot be into shared memory */
	WORKER_EVENT_SLOW_SIGNAL, /* signals to the client take too long */
};

/* Worker -> control thread. */
struct worker_event {
	uint32_t type;
	uint32_t sock;       /* SLOW: sent from this socket */
	uint32_t channel_id;
	uint64_t serial;     /* of the channel */
	uint16_t family;     /* SLOW: of dst */
	uint16_t dst_port_be;
	uint8_t dst[16];
	uint32_t len;        /* SLOW: payload bytes */
	uint8_t payload[];   /* slot size of the pool */
};

struct worker_options {
	uint32_t id, worker_cnt;
	struct device_queue *queue;
	struct udplane_worker_zone *zone;
	uint8_t *frames;          /* the frames zone */
	uint32_t frame_cnt, frame_size;
	uint32_t frames_reserved; /* of this worker's share, kept for the device: never in clients' hands */
	uint32_t socket_max;
	uint64_t hash_seed;
	enum packet_checksum_mode checksum;
	enum udplane_mode mode;
	uint64_t spin_ns;         /* idle time before it sleeps, */
	uint64_t burst_spin_ns;   /* and while traffic comes in bursts; 0: bursts are nothing special */
	bool yield;               /* give the core away at every short round: somebody else needs it */
	int cpu;                  /* pin to; -1: no */
	uint8_t ttl4, hop_limit6; /* the system's defaults */
};

struct worker;

/* Makes it and starts its thread. 0 or -errno with text. */
int worker_start(struct worker **w, const struct worker_options *opt, char *text, size_t text_len);
/* Ends the thread and frees everything; channels must be removed before. */
void worker_stop(struct worker *w);

/* Control thread: has the orders carried out and waits for it; result of each is in the order. Returns the first that is not 0.
 * Events that come meanwhile stay in the ring. */
int worker_call(struct worker *w, struct worker_order *orders);

/* Control thread: watch for EPOLLIN, then take events until there are none. */
int worker_event_fd(const struct worker *w);
/* The oldest event, or NULL and armed again. Valid until worker_event_done. */
const struct worker_event *worker_event_peek(struct worker *w);
void worker_event_done(struct worker *w);
/* How many there are now. */
uint32_t worker_event_cnt(struct worker *w);

/* Any thread: frames in clients' hands, and frames that are free or with the device, as of the worker's last round. */
uint64_t worker_frames_held(const struct worker *w);
uint64_t worker_frames_free(const struct worker *w);

#endif
