/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * What the XDP program (udplane.bpf.c) and the AF_XDP device share: one block of the program's
 * global data, mapped writable into udplaned, and the keys of its hash maps. Compiled by clang
 * -target bpf, C and C++.
 *
 * Writers: counters by the XDP program alone; queue[].state as enum xdp_state says, by compare and
 * swap where another may write at the same time; everything else by the control thread. Each other
 * value is a plain aligned store.
 */
#ifndef SIDECAR_DEVICE_XDP_UDPLANE_XDP_H
#define SIDECAR_DEVICE_XDP_UDPLANE_XDP_H

#include <linux/types.h>

/* hardware RX queues that can be diverted; frames on further ones are passed as "no queue" */
#define XDP_QUEUES 64
/* local addresses of each family that are compared in line; more are in a hash map */
#define XDP_LOCAL_FAST	4
#define XDP_LOCAL_MAX	1024 /* local addresses of both families */
#define XDP_LINE	128  /* UDPLANE_LINE */
#define XDP_SOURCE_MAX	4096 /* IPv4 prefixes that tell which sources Linux would accept */
#define XDP_SOURCE_BITS 4096 /* of the filter in front of them, a power of two */

/* Where a frame went. Each frame counts as SEEN and as exactly one of the others. */
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
	XDP_COUNT_UNFIT,   /* does not fit one frame of ours */
	XDP_COUNT_PARTIAL, /* may be several datagrams in one (generic mode) */
	/* the source is an address of this host, or rp_filter may refuse it: Linux judges */
	XDP_COUNT_SOURCE,
	XDP_COUNT_TRANSLATED, /* of a flow that connection tracking translates */
	XDP_COUNT_CNT,
};

struct xdp_counters {
	__u64 count[32];
} __attribute__((aligned(XDP_LINE)));

/*
 * Who gets the claimed datagrams of a queue: up to IDLE the kernel, from ENGAGED on the worker.
 *
 * What the program passes to the kernel waits with others of its NAPI poll (GRO, lists) before it
 * reaches a socket; what it diverts is in the worker's ring sooner. So where the kernel gives way
 * to the worker in the middle of a poll, the ring is ahead of the socket until that poll has ended.
 * From SETTLING on the worker leaves it alone:
 *
 *   worker: engages                          IDLE -> ENGAGING
 *   program, at a claimed datagram           ENGAGING -> SETTLING, and starts a timer for this
 *                                            CPU, due at once
 *   the timer, which runs after the poll     SETTLING -> ENGAGED
 *
 * In ENGAGING, what is in the ring was diverted before. It is the same for a socket whose claim is
 * added while the worker is engaged:
 *
 *   control thread: before claims are added  ENGAGED and all below -> HELD
 *   program, at a claimed datagram           HELD -> HELD_SEEN
 *   control thread: after                    HELD -> ENGAGING, HELD_SEEN -> RESUMING
 *   program, at a claimed datagram           RESUMING -> SETTLING, as above
 *
 * Where that takes too long, as no further datagram comes, the worker goes on: RESUMING, SETTLING
 * -> ENGAGED.
 *
 * And what the kernel gets must not overtake what was diverted just before, on its way to the ring.
 * So the worker gives notice:
 *
 *   worker: nothing has come for a while     ENGAGED, RESUMING -> LEAVING
 *   program, at a claimed datagram           LEAVING -> ENGAGED
 *   worker: still nothing, a while later     LEAVING, ENGAGING -> IDLE
 *
 * A worker that does not run (SIGSTOP, a frozen or throttled control group, a debugger) cannot give
 * way. So the program asks it, once in a tick of the kernel while datagrams come, whether it has
 * polled since (asked_ns, answered_ns), and takes what it has away:
 *
 *   program, at a claimed datagram           ENGAGED and all below -> STALLED, XDP_STALL_NS
 *                                            after a question without an answer
 *   worker: runs again, has emptied its ring STALLED -> ENGAGING
 */
enum xdp_state {
	XDP_STATE_UNBOUND, /* no socket of ours on that queue */
	XDP_STATE_IDLE,	   /* bound, but the kernel delivers */
	XDP_STATE_STALLED, /* the same, without the worker's having asked for it */
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

/* Why a port is of interest; any match diverts. */
/* the address in local4_be[i]: saves the look-up in claims_addr */
#define XDP_PORT_SLOT4(i) (0x0001 << (i))
#define XDP_PORT_SLOT6(i) (0x0010 << (i)) /* the one in local6[i] */
#define XDP_PORT_WILD4	  0x0100	  /* every local IPv4 address */
#define XDP_PORT_WILD6	  0x0200
#define XDP_PORT_ADDR4	  0x0400 /* some local IPv4 addresses: look into claims_addr */
#define XDP_PORT_ADDR6	  0x0800
#define XDP_PORT_CONN4	  0x1000 /* some local address and peer: look into claims_conn */
#define XDP_PORT_CONN6	  0x2000

/* IPv6, or IPv4 as ::ffff:a.b.c.d; network byte order. */
struct xdp_addr {
	__u32 word_be[4];
};

struct xdp_addr_key {
	struct xdp_addr addr;
	__u16 port_be;
	__u16 pad; /* 0 */
};

struct xdp_conn_key {
	struct xdp_addr addr, peer;
	__u16 port_be, peer_port_be;
};

/* A prefix of IPv4 sources: key of a longest-prefix trie whose value is 1 if Linux certainly
 * accepts them on this interface. */
struct xdp_source_key {
	__u32 len; /* bits */
	__u32 addr_be;
};

/* The filter's bit for an address. */
#define XDP_SOURCE_BIT(addr_be) (((__u32)(addr_be)*0x9e3779b1u) >> 20)

struct xdp_shared {
	struct xdp_counters counters[XDP_QUEUES + 1]; /* the last: queues at and above XDP_QUEUES */
	struct xdp_queue queue[XDP_QUEUES];
	/* read for each frame, hardly ever written */
	__u64 local6[XDP_LOCAL_FAST][2]; /* network byte order; unused: 0 */
	__u32 local4_be[XDP_LOCAL_FAST]; /* unused: 0 */
	__u32 mac0;			 /* first four bytes of the device's address, as loaded */
	__u16 mac1;			 /* last two */
	__u16 max_len;			 /* bytes of an Ethernet frame that fit one of ours */
	__u32 local_more;		 /* 1: map `local` holds further addresses */
	/* 1: look every IPv4 source up in map `sources`; else those whose bit is set */
	__u32 source_all;
	/* 1: ask connection tracking whether it translates the flow of what would be diverted */
	__u32 translated;
	__u32 pad[3];
	__u64 source_filter[XDP_SOURCE_BITS / 64];
	__u16 port[65536]; /* XDP_PORT_*; index: port_be as a number */
};

#endif
