/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Shared by the XDP program (udplane.bpf.c) and the AF_XDP device: a block of the program's global
 * data, which is mapped writable into udplaned, and the keys of the program's maps. Compiled by
 * clang -target bpf, as C and as C++.
 *
 * Writers: the XDP program alone writes the counters. enum xdp_state says who writes queue[].state,
 * by compare and swap where another may write at the same time. The control thread writes
 * everything else, by plain aligned stores.
 */
#ifndef SIDECAR_DEVICE_XDP_UDPLANE_XDP_H
#define SIDECAR_DEVICE_XDP_UDPLANE_XDP_H

#include <linux/types.h>

/* Hardware RX queues that can be diverted. Frames of other queues are passed, as NO_QUEUE. */
#define XDP_QUEUES 64
/* Local addresses per family that are compared in line; more are in a hash map. */
#define XDP_LOCAL_FAST	 4
#define XDP_LOCAL_MAX	 1024 /* local addresses of both families */
#define XDP_LINE	 128  /* UDPLANE_LINE */
#define XDP_SOURCE_MAX	 4096 /* IPv4 prefixes that say which sources Linux accepts */
#define XDP_EXCLUDED_MAX 64   /* IPv6 prefixes whose datagrams the kernel receives */
#define XDP_SOURCE_BITS	 4096 /* of the filter in front of them, a power of two */

/* Verdicts. Each frame counts as SEEN and as exactly one of the others. */
enum xdp_count {
	XDP_COUNT_SEEN,
	XDP_COUNT_DIVERTED,
	XDP_COUNT_NOT_IP,
	XDP_COUNT_NOT_UDP,
	XDP_COUNT_FRAGMENT,
	XDP_COUNT_OPTIONS,
	XDP_COUNT_NOT_LOCAL,
	XDP_COUNT_MARTIAN,
	XDP_COUNT_MALFORMED,
	XDP_COUNT_UNCLAIMED,
	XDP_COUNT_IDLE,
	XDP_COUNT_NO_QUEUE,
	XDP_COUNT_STALLED, /* the worker does not run */
	XDP_COUNT_UNFIT,   /* does not fit one frame of the zone */
	XDP_COUNT_PARTIAL, /* may be several datagrams in one (generic mode) */
	/* the source is an address of this host, rp_filter may drop it, or a rule concerns it;
	 * Linux decides */
	XDP_COUNT_SOURCE,
	XDP_COUNT_TRANSLATED,  /* of a flow that connection tracking translates */
	XDP_COUNT_NO_CHECKSUM, /* IPv6 without a UDP checksum: Linux knows which sockets take it */
	XDP_COUNT_CNT,
};

struct xdp_counters {
	__u64 count[32];
} __attribute__((aligned(XDP_LINE)));

/*
 * The state of a queue says who receives its claimed datagrams: the kernel up to STALLED, the
 * worker from ENGAGED on.
 *
 * A datagram that the program passes to the kernel waits with the rest of its NAPI poll (GRO,
 * lists) before it reaches a socket. A diverted one reaches the worker's ring earlier. If the
 * worker engages in the middle of a poll, the ring is therefore ahead of the socket until that poll
 * has ended. The worker does not read the ring while the state is SETTLING or below it in this
 * list:
 *
 *   worker: engages                          IDLE -> ENGAGING
 *   program, at a claimed datagram           ENGAGING -> SETTLING, and starts a timer for this
 *                                            CPU, due at once
 *   the timer, which runs after the poll     SETTLING -> ENGAGED
 *
 * While the state is ENGAGING, all entries of the ring were diverted earlier. A socket that is
 * claimed while the worker is engaged goes through the same steps:
 *
 *   control thread: before it adds claims    ENGAGED and all below -> HELD
 *   program, at a claimed datagram           HELD -> HELD_SEEN
 *   control thread: after it has added them  HELD -> ENGAGING, HELD_SEEN -> RESUMING
 *   program, at a claimed datagram           RESUMING -> SETTLING, as above
 *
 * If no further datagram arrives for a while, the worker goes on by itself: RESUMING, SETTLING ->
 * ENGAGED.
 *
 * In the other direction, datagrams for the kernel must not overtake those that were diverted just
 * before and are on their way to the ring. So the worker announces that it will leave:
 *
 *   worker: nothing has arrived for a while  ENGAGED, RESUMING -> LEAVING
 *   program, at a claimed datagram           LEAVING -> ENGAGED
 *   worker: still nothing, a while later     LEAVING, ENGAGING -> IDLE
 *
 * A worker that does not run (SIGSTOP, a frozen or throttled control group, a debugger) cannot
 * leave. While datagrams arrive, the program checks once per jiffy whether the worker has polled
 * since the last check (asked_ns, answered_ns). If not, it takes the queue away:
 *
 *   program, at a claimed datagram           ENGAGED and all below -> STALLED, if XDP_STALL_NS
 *                                            have passed without an answer
 *   worker: runs again and has emptied       STALLED -> ENGAGING
 *           its ring
 */
enum xdp_state {
	XDP_STATE_UNBOUND, /* no AF_XDP socket is bound to the queue */
	XDP_STATE_IDLE,	   /* bound, but the kernel receives */
	XDP_STATE_STALLED, /* the same, because the worker does not run */
	XDP_STATE_ENGAGED,
	XDP_STATE_LEAVING,
	XDP_STATE_ENGAGING,
	XDP_STATE_SETTLING,
	XDP_STATE_HELD,
	XDP_STATE_HELD_SEEN,
	XDP_STATE_RESUMING,
};

#define XDP_STALL_NS 80000000ull

struct xdp_queue {
	__u32 state; /* enum xdp_state */
	__u32 pad;
	/* CLOCK_MONOTONIC, written by the program. The worker copies it into answered_ns whenever
	 * it polls the queue, so it has polled since if answered_ns is not less. */
	__u64 asked_ns;
	__u64 answered_ns;
	__u64 tick; /* written by the program: jiffies when it last checked */
} __attribute__((aligned(XDP_LINE)));

/* Flags of a port; any match diverts. SLOT4 and SLOT6 claim the address in local4_be[i] or
 * local6[i], which saves a lookup in claims_addr. */
#define XDP_PORT_SLOT4(i) (0x0001 << (i))
#define XDP_PORT_SLOT6(i) (0x0010 << (i))
#define XDP_PORT_WILD4	  0x0100 /* every local IPv4 address */
#define XDP_PORT_WILD6	  0x0200
#define XDP_PORT_ADDR4	  0x0400 /* certain local IPv4 addresses: in claims_addr */
#define XDP_PORT_ADDR6	  0x0800
#define XDP_PORT_CONN4	  0x1000 /* certain local addresses and peers: in claims_conn */
#define XDP_PORT_CONN6	  0x2000
#define XDP_PORT_GROUP4	  0x4000 /* certain multicast groups: in claims_addr, too */
#define XDP_PORT_GROUP6	  0x8000

/* IPv6, or IPv4 as ::ffff:a.b.c.d; network byte order. A key of maps: without a family, so that one
 * map serves both, and nothing in it that does not select. */
struct xdp_addr {
	__u32 word_be[4];
};

struct xdp_addr_key {
	struct xdp_addr addr;
	__u16 port_be;
	__u16 group; /* 1: of frames to the MAC address of a group, or of all; else 0 */
};

struct xdp_conn_key {
	struct xdp_addr addr, peer;
	__u16 port_be, peer_port_be;
};

/* Key of a longest-prefix trie of IPv4 sources. The value is 1 if Linux certainly accepts them on
 * this interface. */
struct xdp_source_key {
	__u32 len; /* bits */
	__u32 addr_be;
};

/* Key of a longest-prefix trie of IPv6 sources that are left to the kernel. */
struct xdp_excluded_key {
	__u32 len; /* bits */
	struct xdp_addr addr;
};

/* Values of xdp_shared.excluded6. */
#define XDP_EXCLUDED_NONE 0
#define XDP_EXCLUDED_SOME 1 /* those in map `excluded6` */
#define XDP_EXCLUDED_ALL  2

/* What the program writes in front of a datagram to a port that sockets share: to which of them
 * Linux would give it. The other fields tell it from what was in the frame before. */
struct xdp_receiver {
	__u64 cookie;	/* SO_COOKIE */
	__u32 ports_be; /* source and destination, as in the UDP header */
	__u32 source;	/* last word of the source address, xor XDP_RECEIVER_MAGIC */
};

#define XDP_RECEIVER_MAGIC 0x77686f3f

/* The bit of an address in source_filter. */
#define XDP_SOURCE_BIT(addr_be) (((__u32)(addr_be)*0x9e3779b1u) >> 20)

struct xdp_shared {
	struct xdp_counters counters[XDP_QUEUES + 1]; /* the last for queues from XDP_QUEUES on */
	struct xdp_queue queue[XDP_QUEUES];
	/* read per frame, rarely written */
	__u64 local6[XDP_LOCAL_FAST][2]; /* network byte order; 0 if unused */
	__u32 local4_be[XDP_LOCAL_FAST]; /* 0 if unused */
	__u32 mac0;			 /* first four bytes of the device's address, as loaded */
	__u16 mac1;			 /* last two */
	__u16 max_len;	  /* bytes of an Ethernet frame that fit a frame of the zone */
	__u32 local_more; /* 1: map `local` holds further addresses */
	/* 1: look up every IPv4 source in map `sources`; 0: only those whose bit is set */
	__u32 source_all;
	/* 1: ask connection tracking about each datagram that would be diverted */
	__u32 translated;
	__u32 excluded6; /* XDP_EXCLUDED_*: IPv6 sources that are left to the kernel */
	__u32 groups;	 /* number of multicast groups in claims_addr */
	__u32 shared;	 /* number of ports whose bit is set in shared_port */
	__u64 source_filter[XDP_SOURCE_BITS / 64];
	__u16 port[65536]; /* XDP_PORT_*; index: port_be as a number */
	/* bit port_be: sockets share the port by SO_REUSEPORT, so Linux is asked who receives */
	__u64 shared_port[65536 / 64];
};

#endif
