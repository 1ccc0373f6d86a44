/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker is the thread that owns one device queue and moves packets between it and the rings of
 * the clients.
 *
 *   device --rx_burst--> parse, verify --port table--> RX ring --(armed?)--> wake socket
 *   client's TX ring --check--> route, template --packet_build--> own frame --tx_burst--> device
 *                                  `-- not plain unicast --> event ring --> control thread
 *   client's return ring --ownership check--> free frames
 *
 * A worker shares nothing with other threads on the packet path except SPSC rings. The control
 * thread changes a worker's tables by orders (worker_call), which the worker carries out between
 * two rounds. While the worker sleeps the control thread takes its role and carries them out
 * itself, so a claim wakes no worker. In both cases nothing uses what an order removed once the
 * call has returned.
 *
 * Memory that clients can write (struct foreign) is read once, checked, then used: indices by
 * ring.h, frame numbers against `owner`, socket numbers against `socket[].lane`, lengths against
 * slot size and MTU. A client whose values are impossible is reported by an event and not served
 * any more.
 */
#ifndef SIDECAR_WORKER_WORKER_H
#define SIDECAR_WORKER_WORKER_H

#include "include/base/error.h"
#include "sidecar/device/device.h"
#include "sidecar/memory/foreign.h"
#include "sidecar/packet/packet.h"
#include "sidecar/port/port.h"
#include "sidecar/route/route.h"
#include <stdbool.h>
#include <stdint.h>
#include <udplane/abi.h>
#include <udplane/ring.h>
#include <udplane/tx_control.h>

/* The part of a client's channel that this worker serves (a lane). Allocated by the control thread;
 * the worker's from LANE_ADD until LANE_REMOVE has returned. */
struct worker_lane {
	uint32_t id;
	uint64_t serial; /* of its session, because ids are reused */
	struct udplane_ring tx, ret;
	struct foreign tx_desc;	   /* struct udplane_tx_desc[] */
	struct foreign tx_payload; /* slots of tx_slot_size bytes */
	struct foreign ret_frame;  /* uint32_t[] */
	struct foreign ready;	   /* struct udplane_ready, with room for each socket */
	uint32_t tx_slot_size;	   /* bytes, a power of two */
	int doorbell_fd;
	/* private to the worker */
	uint32_t held;	     /* frames that the client holds */
	uint32_t socket_cnt; /* sockets added and not removed */
	uint32_t expelled;   /* 0 while it is served, else the WORKER_EVENT_* with the reason */
	bool reported;	     /* that event has been submitted */
};

/* Parameters of SOCKET_ADD. Read during the call only. */
struct worker_socket_info {
	struct worker_lane *lane;
	struct foreign ring; /* struct udplane_rx_ring */
	uint32_t ring_size;
	int wake_fd; /* our end of its wake socket: a UNIX stream socket */
	struct udplane_socket_counters *counters;
};

/* The source of what a socket sends; and whether what it receives is stamped. */
struct worker_source {
	struct udplane_addr addr; /* family 0: bound to the wildcard; the port counts */
	bool slow;		  /* everything that it sends takes the kernel path */
	/* IPv4: routers may fragment what it sends. Only for clients older than ABI 1.2, whose
	 * descriptors do not say so. */
	bool no_df;
	bool stamp; /* fill in struct udplane_rx_front */
};

/* Sockets that receive the same multicast group and port, and sources in the filter of one. */
#define WORKER_MEMBERS	      32
#define WORKER_MEMBER_SOURCES 16

/* A socket that gets a copy of each datagram to a multicast group and port. Linux's filter modes:
 * unless `exclude`, it receives from these sources only; otherwise from all others. */
struct worker_member {
	uint32_t sock;
	bool exclude;
	uint32_t source_cnt;
	uint8_t source[WORKER_MEMBER_SOURCES][16]; /* as in struct udplane_addr */
};

struct worker_mcast {
	struct udplane_addr group; /* with the port; scope_id 0 */
	uint32_t member_cnt;
	struct worker_member member[WORKER_MEMBERS];
};

/* A capture's ring in this worker: an observer gets copies of frames. Allocated by the control
 * thread; the worker's from CAPTURE_ADD until CAPTURE_REMOVE has returned. */
struct worker_capture {
	struct udplane_ring ring;
	struct foreign zone; /* struct udplane_capture_ring */
	uint32_t slot_size;  /* bytes; a record, and room for snap_len */
	uint32_t snap_len;   /* bytes */
	uint16_t port_be;    /* 0: everything */
	/* private to the worker */
	uint64_t seen, missed;
	uint32_t staged; /* records of this burst, not published yet */
	struct worker_capture *next;
};

enum worker_op {
	WORKER_LANE_ADD,
	/* Reclaims all frames of the lane. Its sockets must have been removed. */
	WORKER_LANE_REMOVE,
	WORKER_SOCKET_ADD,
	/* The address of the socket has changed. */
	WORKER_SOCKET_SOURCE,
	/* Sends what the client had queued when the order was first posted. Result -EAGAIN: take
	 * events and post it again. -ETIMEDOUT: the device does not send. */
	WORKER_SOCKET_FLUSH,
	/* Cannot fail. Datagrams still queued for the socket are dropped and counted. */
	WORKER_SOCKET_REMOVE,
	WORKER_KEY_INSERT,
	WORKER_KEY_REMOVE,
	/* Sets who receives a multicast group; nobody if member_cnt is 0, which cannot fail. */
	WORKER_MCAST,
	/* Installs a table. The old one is unused once the call has returned. */
	WORKER_ROUTE,
	/* Receives what the device held when the order was posted. */
	WORKER_DRAIN_RX,
	/* Receives until the device is empty and sends what is in the TX rings, for a few
	 * milliseconds at most. */
	WORKER_DRAIN,
	/* The device was detached for a while: datagrams in the kernel's sockets are older than
	 * those that the worker receives from now on. */
	WORKER_SWITCHED,
	WORKER_CAPTURE_ADD,
	WORKER_CAPTURE_REMOVE, /* cannot fail */
};

struct worker_order {
	enum worker_op op;
	uint32_t sock;
	struct worker_lane *lane;
	const struct worker_socket_info *info;
	struct worker_source source;
	struct port_key key;
	uint64_t cookie;		  /* KEY_INSERT: SO_COOKIE, or 0 */
	const struct worker_mcast *mcast; /* read during the call only */
	struct worker_capture *capture;
	const struct route_table *route;
	bool flushing;		   /* FLUSH, set by the worker: flush_end is valid */
	uint32_t flush_end;	   /* FLUSH: index of the TX ring at which the flush ends */
	int result;		   /* 0 or -errno, set by the worker */
	struct worker_order *next; /* carried out by the same call; NULL in the last one */
};

enum worker_event_type {
	WORKER_EVENT_SLOW = 1,	  /* a datagram for the kernel path */
	WORKER_EVENT_CORRUPT,	  /* the client wrote an impossible value into shared memory */
	WORKER_EVENT_SLOW_SIGNAL, /* waking the client takes too long */
};

/* From a worker to the control thread. */
struct worker_event {
	uint32_t type;
	uint32_t sock; /* SLOW: the sending socket */
	uint32_t channel_id;
	uint32_t len;		       /* SLOW: payload bytes */
	uint64_t serial;	       /* of the session */
	struct udplane_addr dst;       /* SLOW; scope_id 0 */
	struct udplane_tx_asked asked; /* SLOW */
	uint8_t payload[];	       /* room for one slot of the TX pool */
};

struct worker_options {
	uint32_t id, worker_cnt;
	struct device_queue *queue;
	struct udplane_worker_zone *zone;
	uint8_t *frames; /* the frames zone */
	uint32_t frame_cnt, frame_size;
	/* of this worker's share, reserved for the device: clients cannot hold them */
	uint32_t frames_reserved;
	uint32_t socket_max;
	uint64_t hash_seed;
	enum packet_checksum_mode checksum;
	enum udplane_mode mode;
	uint64_t spin_ns;	  /* idle time before the worker sleeps */
	uint64_t burst_spin_ns;	  /* the same while traffic comes in bursts; 0: as spin_ns */
	bool yield;		  /* yield the CPU after every round that had little to do */
	int cpu;		  /* CPU to pin the thread to, -1 for none */
	uint8_t ttl4, hop_limit6; /* defaults of the system */
};

struct worker;

/* Creates a worker and starts its thread. Returns 0, or -errno with `error` set. */
int worker_start(struct worker **w, const struct worker_options *opt, struct error *error);
/* Ends the thread and frees the worker. Its lanes must have been removed. */
void worker_stop(struct worker *w);

/* Control thread: has the orders carried out and waits for it. The result of each order is in the
 * order; returns the first that is not 0. Events that are submitted meanwhile stay in the ring. */
int worker_call(struct worker *w, struct worker_order *orders);

/* Control thread: watch it for EPOLLIN, then take events until there are none. */
int worker_event_fd(const struct worker *w);
/* Returns the oldest event, valid until worker_event_done(); or NULL, and the descriptor is armed.
 */
const struct worker_event *worker_event_peek(struct worker *w);
void worker_event_done(struct worker *w);
/* Returns the number of events that wait. */
uint32_t worker_event_cnt(struct worker *w);

/* Any thread: frames that clients hold, and frames that are free or held by the device, at the end
 * of the worker's last round. */
uint64_t worker_frames_held(const struct worker *w);
uint64_t worker_frames_free(const struct worker *w);

#endif
