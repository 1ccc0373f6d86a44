/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract between udplaned and the processes that are attached to it: layouts of shared memory
 * and messages on the control socket. It consists of fixed-width integers and offsets only, so that
 * both sides may be built by different compilers, in different containers, at different times.
 *
 *   zone      created by  mapped by clients  holds
 *   frames    udplaned    read-only          packet buffers: the UMEM or DPDK pool. Descriptors
 *                                            name them by index.
 *   channel   udplaned    read-write         for one process: a lane per worker (TX ring, payload
 *                                            slots, return ring), and RX rings
 *   segment   udplaned    read-write         more RX rings for the same process, 2 MiB each,
 *                                            created as sockets are claimed
 *   stats     udplaned    read-only          identity, health, all counters, the workers' sleep
 *                                            flags
 *   capture   udplaned    read-write         for one operator (udplanectl): a ring per worker with
 *                                            copies of what it received and sent
 *
 * All zones are memfds sealed against shrinking and growing. Frames and stats are also sealed
 * against writing by anyone but udplaned.
 *
 * Writers: each 128-byte line below has one writer, which its comment names. udplaned trusts
 * nothing that a client can write. A client trusts udplaned, which is privileged over it anyway.
 *
 * Versions: udplaned refuses a different major version in UDPLANE_MSG_WELCOME (status
 * -EPROTONOSUPPORT, with a text). A minor version only adds fields at the end of messages and
 * zones; readers use the sizes that the messages give.
 *
 * Addresses and ports named _be are in network byte order, everything else is in host byte order.
 */
#ifndef UDPLANE_ABI_H
#define UDPLANE_ABI_H

#include <stddef.h>
#include <stdint.h>
#include <udplane/addr.h>

#define UDPLANE_ABI_MAGIC 0x31656e616c706475ull /* "udplane1", little endian */
#define UDPLANE_ABI_MAJOR 1
#define UDPLANE_ABI_MINOR 3

#define UDPLANE_LINE	     128 /* two cache lines: adjacent-line prefetch pairs them on x86 */
#define UDPLANE_MAX_WORKERS  16
#define UDPLANE_MAX_PREFIXES 64	 /* in udplane_stats_zone.prefix */
#define UDPLANE_TEXT_LEN     160 /* reasons for people, NUL-terminated */

#ifdef __cplusplus
#define UDPLANE_STATIC_ASSERT(c, m) static_assert(c, m)
#else
#define UDPLANE_STATIC_ASSERT(c, m) _Static_assert(c, m)
#endif

/* --- rings --- */

/* The control words of a ring. Its entries follow at offset sizeof(struct udplane_ring_head); their
 * number is a power of two. Indices run through all of 2^32; entry i is at i & (size - 1). The size
 * comes from messages and is never read from shared memory. */
struct udplane_ring_head {
	/* producer's line */
	uint32_t prod_idx; /* entries written in total */
	uint32_t signals;  /* RX rings, since 1.3: signals for arms by UDPLANE_ARM_LIST */
	uint8_t pad0[UDPLANE_LINE - 8];
	/* consumer's line */
	uint32_t cons_idx; /* entries taken in total */
	/* 1: the consumer may sleep; the producer exchanges 0 and signals (ring.h). RX rings, since
	 * 1.3: UDPLANE_ARM_LIST + group, see struct udplane_ready */
	uint32_t armed;
	uint8_t pad1[UDPLANE_LINE - 8];
};
UDPLANE_STATIC_ASSERT(sizeof(struct udplane_ring_head) == 256, "ring head");
UDPLANE_STATIC_ASSERT(offsetof(struct udplane_ring_head, cons_idx) == 128, "consumer's line");

/* RX descriptor, from a worker to a client. The headers stay in the frame in front of the payload
 * and do not contain options. UDP is at offset - 8, IPv4 at offset - 28, IPv6 at offset - 48. */
struct udplane_rx_desc {
	uint32_t frame;	  /* index in the frames zone */
	uint16_t offset;  /* of the payload from the frame's start, bytes */
	uint16_t len;	  /* of the payload, bytes */
	uint32_t src4_be; /* IPv4 source address; an IPv6 one is read from the frame */
	uint16_t src_port_be;
	uint16_t flags; /* UDPLANE_RX_* */
};
UDPLANE_STATIC_ASSERT(sizeof(struct udplane_rx_desc) == 16, "four to a cache line");

#define UDPLANE_RX_IPV6 0x0001 /* an IPv6 datagram, otherwise IPv4 */
/* The first datagram since the worker engaged: empty the kernel socket before taking this one. */
#define UDPLANE_RX_SWITCHED 0x0002
/* Since 1.2: struct udplane_rx_front stands in the frame, right in front of the Ethernet header. */
#define UDPLANE_RX_STAMPED 0x0004

/* What the worker notes of a datagram, for sockets that ask for it by SO_TIMESTAMP, SO_TIMESTAMPNS,
 * SO_TIMESTAMPING or SO_RXQ_OVFL. It ends where the Ethernet header begins: 42 bytes in front of an
 * IPv4 payload, 62 in front of an IPv6 payload. It may not be aligned. */
struct udplane_rx_front {
	uint64_t time_ns; /* CLOCK_REALTIME at which the worker found it; one for each burst */
	uint64_t drops;	  /* the socket's rx_drop_* on this worker before it, since the claim */
};
UDPLANE_STATIC_ASSERT(sizeof(struct udplane_rx_front) == 16, "fits in any headroom");

/* TX descriptor, from a client to a worker. The payload is in the payload slot with the number of
 * the ring entry, so a client cannot name memory. The destination is not a struct udplane_addr,
 * which would not fit into half a cache line. */
struct udplane_tx_desc {
	uint32_t sock; /* id from CLAIMED; must belong to this channel */
	uint16_t len;  /* of the payload, bytes */
	uint16_t dst_port_be;
	uint16_t flags; /* UDPLANE_TX_* */
	/* Since 1.2, each valid with its flag: */
	uint8_t tos;	  /* or traffic class */
	uint8_t ttl;	  /* or hop limit */
	uint32_t src4_be; /* IPv4 source address */
	uint8_t dst[16];  /* as in struct udplane_addr */
};
UDPLANE_STATIC_ASSERT(sizeof(struct udplane_tx_desc) == 32, "two to a cache line");
UDPLANE_STATIC_ASSERT(offsetof(struct udplane_tx_desc, flags) == 8, "flags to source are one word");

#define UDPLANE_TX_IPV6 0x0001
/* Since 1.2: what options of the socket and control data of the datagram ask for. A client sets
 * them only if udplaned's minor version is 2 or more; a client of 1.2 says of each datagram what it
 * asks for, so that a change of an option concerns no earlier datagram. */
#define UDPLANE_TX_TOS	       0x0002
#define UDPLANE_TX_TTL	       0x0004
#define UDPLANE_TX_NO_DF       0x0008 /* IPv4: routers may fragment it */
#define UDPLANE_TX_NO_CHECKSUM 0x0010 /* the UDP checksum is 0 */
#define UDPLANE_TX_NO_LABEL    0x0020 /* IPv6: the flow label is 0 */
/* Another source address than the socket's: src4_be; or for IPv6 the first 16 bytes of the payload
 * slot, and the payload follows. */
#define UDPLANE_TX_SOURCE 0x0040
#define UDPLANE_TX_FLAGS  0x007f /* others are invalid */

/* RX ring of one (socket, worker): head, then the line on which the client reports, then
 * descriptors. */
struct udplane_rx_ring {
	struct udplane_ring_head head;
	/* client's line: shown in stats as "client says", used for nothing else */
	uint64_t kernel_rx;	 /* datagrams received through the kernel socket */
	uint64_t kernel_tx;	 /* datagrams that the library sent through the kernel socket */
	uint64_t kernel_tx_full; /* those of kernel_tx for which the TX ring was full */
	uint64_t engages;	 /* doorbells rung to wake the fast path */
	uint8_t pad[UDPLANE_LINE - 32];
	struct udplane_rx_desc desc[];
};
UDPLANE_STATIC_ASSERT(offsetof(struct udplane_rx_ring, desc) == 384, "descriptors start on a line");

/* TX ring and return ring of a lane. */
struct udplane_tx_ring {
	/* client produces, worker consumes; armed is unused, see udplane_worker_zone.awake */
	struct udplane_ring_head head;
	struct udplane_tx_desc desc[];
};

struct udplane_return_ring {
	struct udplane_ring_head head; /* client produces, worker consumes */
	uint32_t frame[];
};

/*
 * Which sockets of a process have got something, for a process that waits for many at once. Since
 * 1.3, in each lane behind the payload slots, on the next line.
 *
 * A socket whose RX ring is armed with UDPLANE_ARM_LIST + group brings no signal while nobody
 * sleeps: the worker exchanges 0 for the arm and sets the socket's bit, and signals only if
 * sleepers[group] is not 0 then. Who is about to sleep sets that word, and looks at the bits after
 * a full barrier.
 */
#define UDPLANE_ARM	     1
#define UDPLANE_ARM_LIST     2
#define UDPLANE_READY_GROUPS 62
struct udplane_ready {
	uint32_t sleepers[UDPLANE_READY_GROUPS]; /* client */
	uint8_t pad[2 * UDPLANE_LINE - 4 * UDPLANE_READY_GROUPS];
	uint64_t bits[]; /* by socket id, for socket_max; the worker sets, the client clears */
};
UDPLANE_STATIC_ASSERT(offsetof(struct udplane_ready, bits) == 256, "bits start on a line");

/* --- messages --- */

/* The control socket is SOCK_SEQPACKET, with one message per packet. A client sends HELLO first,
 * then one request at a time. Each request gets one answer with the same seq. GOODBYE is the only
 * message that udplaned sends without a request (seq 0). */
#define UDPLANE_DEFAULT_SOCKET "/run/udplane/udplane.sock"

enum udplane_msg_type {
	UDPLANE_MSG_HELLO = 1,	 /* client: struct udplane_hello */
	UDPLANE_MSG_WELCOME = 2, /* udplaned: struct udplane_welcome, + descriptors, see there */
	UDPLANE_MSG_CLAIM = 3,	 /* client: struct udplane_claim, + the bound kernel socket */
	UDPLANE_MSG_CLAIMED = 4, /* udplaned: struct udplane_claimed, + wake socket [+ segment] */
	/* client: struct udplane_sock_req: the socket's addresses have changed (connect) */
	UDPLANE_MSG_UPDATE = 5,
	UDPLANE_MSG_RELEASE =
		6, /* client: struct udplane_sock_req: the socket closes, or leaves the fast path */
	UDPLANE_MSG_DONE = 7, /* udplaned: struct udplane_done, the answer to UPDATE and RELEASE */
	UDPLANE_MSG_GOODBYE = 8, /* udplaned exits: RX rings stay readable, TX rings are empty */
	/* client, since 1.2: struct udplane_member; answered by DONE. udplaned looks at the
	 * socket's membership in this group. */
	UDPLANE_MSG_MEMBER = 9,
	/* observer, since 1.3: struct udplane_capture. For root and udplaned's user, in udplaned's
	 * own PID namespace: the operator, not the clients. */
	UDPLANE_MSG_CAPTURE = 10,
	/* udplaned: struct udplane_captured, + the capture zone. The capture ends with the
	 * connection. */
	UDPLANE_MSG_CAPTURED = 11,
};

struct udplane_msg {
	uint16_t type; /* enum udplane_msg_type */
	uint16_t len;  /* of the whole message, bytes */
	uint32_t seq;  /* chosen by the client, not 0; echoed */
};

struct udplane_hello {
	struct udplane_msg msg;
	uint64_t magic;
	uint16_t major, minor;
	uint32_t flags; /* UDPLANE_HELLO_* */
	/* Since 1.1: name of the program, NUL-terminated. Used only if /proc does not tell it,
	 * because the client is in another PID namespace. */
	char comm[16];
};
#define UDPLANE_HELLO_LEN_MIN 24 /* 1.0 */
/* The client wants the stats zone only. Counters are refreshed before the answer. */
#define UDPLANE_HELLO_OBSERVER 0x1

UDPLANE_STATIC_ASSERT(offsetof(struct udplane_hello, comm) == UDPLANE_HELLO_LEN_MIN, "1.0's HELLO");

/* Answer to HELLO. The first of its descriptors is stats. Unless the backend is kernel or the
 * client is an observer, frames, channel and doorbell[worker_cnt] follow in this order. A doorbell
 * is an eventfd; writing 8 bytes wakes that worker. */
struct udplane_welcome {
	struct udplane_msg msg;
	uint64_t magic;
	uint16_t major, minor;
	int32_t status;	    /* 0, or -errno with a text */
	uint64_t stats_len; /* bytes */
	uint64_t frames_len;
	uint64_t channel_len;
	uint32_t backend;    /* enum udplane_backend */
	uint32_t mode;	     /* enum udplane_mode */
	uint32_t worker_cnt; /* lanes */
	uint32_t frame_cnt;
	uint32_t frame_size; /* bytes, a power of two */
	uint32_t lane_len;   /* bytes; lane i of the channel is at lane_off + i * lane_len */
	uint32_t lane_off;
	uint32_t tx_ring_off; /* of struct udplane_tx_ring in the lane */
	uint32_t tx_slot_cnt; /* its entries */
	/* of payload slot 0 in the lane; slot i is i * tx_slot_size bytes further */
	uint32_t tx_payload_off;
	uint32_t tx_slot_size; /* bytes, a power of two */
	uint32_t return_off;   /* of struct udplane_return_ring in the lane */
	uint32_t return_cnt;   /* its entries: one per frame, so it cannot overflow */
	uint32_t channel_id;
	char text[UDPLANE_TEXT_LEN];
};

/* Messages and stats carry this address; see addr.h. */
UDPLANE_STATIC_ASSERT(sizeof(struct udplane_addr) == 24, "address");
UDPLANE_STATIC_ASSERT(offsetof(struct udplane_addr, port_be) == 16, "address");
UDPLANE_STATIC_ASSERT(offsetof(struct udplane_addr, family) == 18, "address");
UDPLANE_STATIC_ASSERT(offsetof(struct udplane_addr, scope_id) == 20, "address");

struct udplane_claim {
	struct udplane_msg msg;
	struct udplane_addr
		local; /* address that the client has bound; refused if the kernel's differs */
};

struct udplane_claimed {
	struct udplane_msg msg;
	/* 0, or -errno if the socket stays on the kernel path, for the reason given */
	int32_t status;
	uint32_t reason;  /* enum udplane_reason */
	uint32_t sock;	  /* id for TX descriptors, UPDATE and RELEASE; index in the stats zone */
	uint32_t segment; /* place of its RX rings: 0 the channel, n the n-th segment sent */
	/* offset in that segment of worker 0's struct udplane_rx_ring; worker i's is i * ring_len
	 * bytes further */
	uint32_t ring_off;
	uint32_t ring_len;    /* bytes */
	uint32_t ring_size;   /* descriptors in each, a power of two */
	uint32_t segment_len; /* bytes; not 0 if a new segment follows the wake socket */
	char text[UDPLANE_TEXT_LEN];
};

struct udplane_sock_req { /* UPDATE, RELEASE */
	struct udplane_msg msg;
	uint32_t sock;
	uint32_t
		reason; /* RELEASE: enum udplane_reason; UDPLANE_REASON_NONE if the socket closes */
	/* RELEASE with a reason: shown by `why` while the client lives */
	char text[UDPLANE_TEXT_LEN];
};

/* Sent when the membership of a claimed socket in a multicast group may have changed, and after the
 * claim for each group that it has joined. udplaned reads the kernel's socket; what it is not told
 * to look at takes the kernel path. */
struct udplane_member {
	struct udplane_msg msg;
	uint32_t sock;
	uint32_t flags;		   /* UDPLANE_MEMBER_* */
	struct udplane_addr group; /* port_be and scope_id are ignored */
};
/* The socket has joined the group by another interface than udplaned's: only the kernel knows what
 * that means for datagrams that come by ours. */
#define UDPLANE_MEMBER_ELSEWHERE 0x1

struct udplane_done {
	struct udplane_msg msg;
	int32_t status; /* 0 or -errno */
	uint32_t reason;
	char text[UDPLANE_TEXT_LEN];
};

/* Asks for copies of the datagrams that the fast path carries. */
struct udplane_capture {
	struct udplane_msg msg;
	uint32_t snap_len; /* bytes of each frame, from its Ethernet header on; at least 1 */
	uint32_t port;	   /* only datagrams from or to it; 0: all, and what is no datagram */
	uint64_t len;	   /* bytes of the zone, roughly */
};

struct udplane_captured {
	struct udplane_msg msg;
	int32_t status;	    /* 0, or -errno with a text */
	uint32_t ring_cnt;  /* one per worker */
	uint64_t len;	    /* of the zone, bytes */
	uint64_t ring_len;  /* bytes; worker i's struct udplane_capture_ring is at i * ring_len */
	uint32_t slot_cnt;  /* records in each, a power of two */
	uint32_t slot_size; /* bytes, a multiple of 64 */
	char text[UDPLANE_TEXT_LEN];
};

/* Ring i of a capture: the worker produces, the observer consumes. What finds no room is counted
 * and left out; the worker waits for nobody, and signals nobody. */
struct udplane_capture_ring {
	struct udplane_ring_head head; /* armed is unused: the observer polls */
	/* worker's line */
	uint64_t seen;	 /* frames that the capture asked for */
	uint64_t missed; /* those of them for which there was no room */
	uint8_t pad[UDPLANE_LINE - 16];
	uint8_t slot[]; /* slot_size bytes each: struct udplane_capture_record, then the frame */
};
UDPLANE_STATIC_ASSERT(offsetof(struct udplane_capture_ring, slot) == 384, "slots start on a line");

#define UDPLANE_CAPTURE_NO_SOCKET UINT32_MAX
#define UDPLANE_CAPTURE_SENT	  0x1 /* by the application; otherwise received */

struct udplane_capture_record {
	uint64_t time_ns;      /* CLOCK_REALTIME; one for each burst */
	uint32_t sock;	       /* row in the stats zone, or UDPLANE_CAPTURE_NO_SOCKET */
	uint32_t len;	       /* of the frame, bytes; at most snap_len of them follow */
	uint16_t captured_len; /* bytes that follow */
	uint16_t flags;	       /* UDPLANE_CAPTURE_* */
	uint16_t copies;       /* sockets that got it, if it went to a multicast group */
	/* enum udplane_worker_counter: RX_DROP_* if it was dropped, RX_PASSED if it was left to the
	 * kernel; otherwise 0 */
	uint16_t reason;
	uint8_t pad[8];
};
UDPLANE_STATIC_ASSERT(sizeof(struct udplane_capture_record) == 32, "the frame is aligned");

#define UDPLANE_MSG_MAX 512 /* bytes; longer packets are refused */
UDPLANE_STATIC_ASSERT(sizeof(struct udplane_welcome) <= UDPLANE_MSG_MAX, "message size");
UDPLANE_STATIC_ASSERT(sizeof(struct udplane_claimed) <= UDPLANE_MSG_MAX, "message size");
UDPLANE_STATIC_ASSERT(sizeof(struct udplane_sock_req) <= UDPLANE_MSG_MAX, "message size");

/* --- stats --- */

enum udplane_backend {
	UDPLANE_BACKEND_KERNEL = 0,
	UDPLANE_BACKEND_AF_XDP = 1,
	UDPLANE_BACKEND_VFIO = 2
};
enum udplane_mode {
	UDPLANE_MODE_BALANCED = 0,
	UDPLANE_MODE_LATENCY = 1,
	UDPLANE_MODE_POWERSAVE = 2
};
enum udplane_state {
	UDPLANE_STATE_STARTING = 0,
	UDPLANE_STATE_RUNNING = 1,
	UDPLANE_STATE_LEAVING = 2,
	UDPLANE_STATE_GONE = 3
};

/* Reasons why a socket or a claim is not accelerated; reasons.h has names and texts. */
enum udplane_reason {
#define UDPLANE_REASON(id, name, help) UDPLANE_REASON_##id,
#include <udplane/reasons.h>
#undef UDPLANE_REASON
	UDPLANE_REASON_CNT
};

/* Counters are 64 bits wide and only grow, unless they are called gauges. counters_*.h defines
 * their names and meanings. */
enum udplane_device_counter {
#define UDPLANE_COUNTER(id, name, help) UDPLANE_DEVICE_##id,
#include <udplane/counters_device.h>
#undef UDPLANE_COUNTER
	UDPLANE_DEVICE_COUNTER_CNT
};
enum udplane_worker_counter {
#define UDPLANE_COUNTER(id, name, help) UDPLANE_WORKER_##id,
#include <udplane/counters_worker.h>
#undef UDPLANE_COUNTER
	UDPLANE_WORKER_COUNTER_CNT
};
enum udplane_socket_counter {
#define UDPLANE_COUNTER(id, name, help) UDPLANE_SOCKET_##id,
#include <udplane/counters_socket.h>
#undef UDPLANE_COUNTER
	UDPLANE_SOCKET_COUNTER_CNT
};
enum udplane_control_counter {
#define UDPLANE_COUNTER(id, name, help) UDPLANE_CONTROL_##id,
#include <udplane/counters_control.h>
#undef UDPLANE_COUNTER
	UDPLANE_CONTROL_COUNTER_CNT
};

/* The kernel's own counters, and those of the last seconds. */
enum udplane_host_counter {
#define UDPLANE_COUNTER(id, name, help) UDPLANE_HOST_##id,
#include <udplane/counters_host.h>
#undef UDPLANE_COUNTER
	UDPLANE_HOST_COUNTER_CNT
};
enum udplane_recent_counter {
#define UDPLANE_COUNTER(id, name, help) UDPLANE_RECENT_##id,
#include <udplane/counters_recent.h>
#undef UDPLANE_COUNTER
	UDPLANE_RECENT_COUNTER_CNT
};

/* One per worker. Written by the worker. */
struct udplane_worker_zone {
	/* 1: it polls its rings; 0: it sleeps, ring its doorbell. Pairs with udplane_fence(). */
	uint32_t awake;
	uint32_t engaged; /* 1: claimed ports are diverted to it; 0: the kernel delivers */
	int32_t cpu;	  /* the CPU that it is pinned to, or -1 */
	uint32_t pad0;
	uint8_t pad1[UDPLANE_LINE - 16];
	uint64_t counter[32];
};
UDPLANE_STATIC_ASSERT(UDPLANE_WORKER_COUNTER_CNT <= 32, "worker counters");
UDPLANE_STATIC_ASSERT(sizeof(struct udplane_worker_zone) == 3 * UDPLANE_LINE, "worker zone");

enum udplane_socket_state {
	UDPLANE_SOCKET_FREE = 0,
	UDPLANE_SOCKET_ACTIVE = 1,  /* its port is diverted */
	UDPLANE_SOCKET_PENDING = 2, /* claimed, but not diverted, for the reason given */
	UDPLANE_SOCKET_KERNEL = 3,  /* permanently on the kernel path, for the reason given */
};

/* One per claimed socket. The control thread writes it under seq, which is odd while it does. */
struct udplane_socket_zone {
	uint32_t seq;
	uint32_t state;	 /* enum udplane_socket_state */
	uint32_t reason; /* enum udplane_reason */
	uint32_t channel_id;
	int32_t pid;	/* of the client, as udplaned's pid namespace sees it */
	uint32_t flags; /* UDPLANE_SOCKET_F_* */
	struct udplane_addr local, peer;
	uint64_t cookie; /* SO_COOKIE */
	/* copied from the client's line: kernel_rx, kernel_tx, kernel_tx_full, engages */
	uint64_t client[4];
	char comm[16];
	char text[UDPLANE_TEXT_LEN];
	/* enum udplane_reason: why it sends by the kernel path although it receives by the fast
	 * path; NONE if it sends by the fast path */
	uint32_t tx_reason;
	char tx_text[UDPLANE_TEXT_LEN];
	uint8_t pad[60];
	uint64_t recent[16]; /* enum udplane_recent_counter, in the last recent_ns; not under seq */
};
UDPLANE_STATIC_ASSERT(UDPLANE_RECENT_COUNTER_CNT <= 16, "recent counters");
UDPLANE_STATIC_ASSERT(sizeof(struct udplane_socket_zone) == 5 * UDPLANE_LINE, "socket zone");
#define UDPLANE_SOCKET_F_REUSEPORT  0x1
#define UDPLANE_SOCKET_F_DUAL_STACK 0x2 /* an IPv6 wildcard that also takes IPv4 */

/* One per (socket, worker). Written by that worker. */
struct udplane_socket_counters {
	uint64_t counter[16];
};
UDPLANE_STATIC_ASSERT(UDPLANE_SOCKET_COUNTER_CNT <= 16, "socket counters");

/* A destination prefix, and whether it is reached through our device as plain unicast. The longest
 * prefix that contains a destination decides. The library itself sends to other destinations
 * through the kernel, so that errors such as ENETUNREACH and EACCES come from the call that caused
 * them. */
struct udplane_prefix {
	uint8_t addr[16]; /* as in struct udplane_addr */
	uint8_t family;	  /* AF_INET or AF_INET6 */
	uint8_t len;	  /* bits */
	uint8_t on_link;  /* 1: its IPv4 broadcast and network addresses are not plain unicast */
	uint8_t slow;	  /* 1: takes the kernel path, being unreachable or not evaluated */
};

/* Start of the stats zone. */
struct udplane_stats_zone {
	uint64_t magic;
	uint16_t major, minor;
	uint32_t state; /* enum udplane_state; written by the control thread */
	uint32_t backend, mode;
	uint32_t worker_cnt, socket_max;
	uint32_t worker_off;   /* of struct udplane_worker_zone[worker_cnt] */
	uint32_t socket_off;   /* of struct udplane_socket_zone[socket_max] */
	uint32_t socket_len;   /* bytes of one */
	uint32_t counters_off; /* of struct udplane_socket_counters[socket_max][worker_cnt] */
	/* of the bitmap of configured ports, 8192 bytes; port p is bit p & 7 of byte p >> 3 */
	uint32_t ports_off;
	uint32_t socket_high; /* entries at and above this index have never been used */
	int32_t pid;
	int32_t ifindex;     /* of the device */
	uint32_t mtu;	     /* of the device, bytes of IP packet */
	uint32_t prefix_seq; /* odd while prefix[] is written */
	uint32_t prefix_cnt;
	uint64_t start_ns;	 /* CLOCK_MONOTONIC */
	uint64_t refresh_ns;	 /* CLOCK_MONOTONIC; last refresh of device and client counters */
	uint64_t hugepage_bytes; /* gauge: bytes of all zones in hugepages */
	uint64_t page_bytes;	 /* gauge: bytes in ordinary pages, for lack of hugepages */
	char version[32];
	char ifname[16];
	char device[64]; /* driver, queues, e.g. "veth, 1 queue, native, copy" */
	char backend_text[UDPLANE_TEXT_LEN]; /* why this backend */
	char mode_text[UDPLANE_TEXT_LEN];    /* attach mode and its reason; fallbacks of memory */
	struct udplane_prefix prefix[UDPLANE_MAX_PREFIXES];
	uint64_t device_counter[48];
	uint64_t control_counter[48];
	uint64_t refused[32]; /* claims refused, by enum udplane_reason */
	/* of the facts about the device, lines "name\tvalue\n" and a NUL; 0 if there are none */
	uint32_t info_off;
	uint32_t info_size; /* bytes available there */
	uint32_t info_seq;  /* odd while the facts are written */
	uint32_t text_seq;  /* odd while device, mode_text and trouble are written */
	/* 1: workers can receive; 0: the kernel receives everything, see trouble */
	uint32_t attached;
	uint32_t trouble_cnt;		/* times that trouble has been set */
	char trouble[UDPLANE_TEXT_LEN]; /* what is wrong with the device now, or "" */
	uint64_t host_counter[16];	/* enum udplane_host_counter */
	uint64_t recent_ns;		/* span of all recent counters; it ends at refresh_ns */
	uint64_t
		recent_device_counter[48]; /* growth of device_counter in that span; 0 for gauges */
	uint64_t recent_host_counter[16];
	/* under prefix_seq: why some destinations take the kernel path */
	char route_note[UDPLANE_TEXT_LEN];
	/* Since 1.2: smallest path MTU of all destinations by our device, IPv4 and IPv6, bytes */
	uint32_t path_mtu[2];
};
UDPLANE_STATIC_ASSERT(UDPLANE_DEVICE_COUNTER_CNT <= 48, "device counters");
UDPLANE_STATIC_ASSERT(UDPLANE_CONTROL_COUNTER_CNT <= 48, "control counters");
UDPLANE_STATIC_ASSERT(UDPLANE_HOST_COUNTER_CNT <= 16, "host counters");
UDPLANE_STATIC_ASSERT(UDPLANE_REASON_CNT <= 32, "reasons");
UDPLANE_STATIC_ASSERT(sizeof(struct udplane_stats_zone) % 8 == 0, "stats zone");
/* of an older minor version, bytes: what follows must not be read there */
#define UDPLANE_STATS_LEN_MIN offsetof(struct udplane_stats_zone, path_mtu)

#endif
