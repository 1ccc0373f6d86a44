/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network device as the workers see it: queues of frames. Behind it: af_xdp.c, dpdk/.
 *
 *   free frame --(frames_get)--> worker --(tx_burst)--> device --(completion)--> free frame
 *   free frame --(refill, inside rx_burst)--> device --(rx_burst)--> worker, client --(frames_put)--> free frame
 *
 * Frames are named by their index in the frames zone. Each frame is owned by one party at a time; the device keeps the free ones
 * of each worker. Partition: worker w of W owns frames [w * cnt / W, (w + 1) * cnt / W) for ever.
 *
 * Threads: the control thread opens, attaches, closes and reads device counters; a queue is used by one worker alone.
 * No call but open, attach, detach and close allocates or blocks.
 */
#ifndef SIDECAR_DEVICE_DEVICE_H
#define SIDECAR_DEVICE_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <udplane/abi.h>

struct config;

/* Part of a frame that holds a packet, from its Ethernet header. */
struct device_frame {
	uint32_t frame;
	uint16_t off; /* bytes from the frame's start */
	uint16_t len; /* bytes */
	uint32_t flags; /* DEVICE_FRAME_*; not looked at when sending */
};

#define DEVICE_FRAME_VERIFIED 0x1 /* the NIC has found IP and UDP checksums right */
#define DEVICE_FRAME_STALE 0x2    /* came before the worker was stopped: the kernel has long delivered what came after it */
#define DEVICE_BURST 64

struct device_memory { /* the frames zone, mapped writable, alive until close */
	void *addr;
	size_t len;
	size_t page_size;
	uint32_t frame_cnt;
	uint32_t frame_size; /* 2048 or 4096 */
};

/* Which datagrams leave the kernel (AF_XDP only; a NIC of our own gets everything). Mirrors what the port table holds. */
struct device_claim {
	uint8_t family;      /* AF_INET or AF_INET6: of the packets */
	bool any_addr;       /* any local address */
	bool connected;      /* peer and peer_port_be count, too; then any_addr is false */
	uint16_t port_be;
	uint16_t peer_port_be;
	uint8_t addr[16], peer[16];
};

/* How the device fares, beside its counters: for the control thread, which watches over it. */
struct device_facts {
	bool attached;       /* what we have put in front of the kernel is still there */
	bool can_generic;    /* reattach() in generic mode may be tried: native mode was our own choice */
	uint32_t queue_cnt;  /* hardware RX queues that the interface has now */
	uint32_t rx_put;     /* frames that the kernel has put into our RX rings, modulo 2^32 */
	uint32_t tx_taken;   /* frames that the kernel has taken from our TX rings, modulo 2^32 */
	uint32_t tx_waiting; /* frames that wait there */
};

struct device_source { /* a prefix of IPv4 source addresses */
	uint32_t addr_be;
	uint8_t len; /* bits */
	bool valid;
};

struct device;
struct device_queue; /* everything that one worker drives: one or more hardware queues */

struct device_ops {
	const char *name; /* "af_xdp" */
	/* -errno with text for people: what was wrong, the value, what to do. */
	int (*open)(struct device **dev, const struct config *cfg, char *text, size_t text_len);
	/* After open: facts that size the zones. */
	int (*attach)(struct device *dev, const struct device_memory *mem, uint32_t worker_cnt, char *text, size_t text_len);
	/* Stops diverting: the kernel gets every further packet. What is in the queues can still be received. Idempotent. */
	void (*detach)(struct device *dev);
	void (*close)(struct device *dev);

	int (*claim_insert)(struct device *dev, const struct device_claim *c); /* 0, -EEXIST, -ENOSPC, ... */
	int (*claim_remove)(struct device *dev, const struct device_claim *c); /* 0, -ENOENT */
	/* Replaces the set of unicast addresses that are local to this host. addrs: AF_INET6 form, IPv4 as ::ffff:a.b.c.d. */
	int (*set_local)(struct device *dev, const uint8_t (*addrs)[16], uint32_t cnt);
	/* Replaces the set of IPv4 sources that Linux would accept. In order: longer prefixes first, of one length by addr_be as a number;
	 * the last has length 0. What is not valid is for the kernel to judge. -ENOSPC: too many, all are. NULL: the worker asks its route
	 * table. */
	int (*set_sources)(struct device *dev, const struct device_source *s, uint32_t cnt);
	/* Whether to leave datagrams of flows that connection tracking translates to the kernel, at the cost of a look-up each. NULL, or
	 * sees_translation false: it cannot. */
	void (*set_translated)(struct device *dev, bool on);
	/* Fills the device's counters (enum udplane_device_counter, but the frames_ gauges). */
	void (*counters)(struct device *dev, uint64_t *out);

	struct device_queue *(*queue)(struct device *dev, uint32_t worker);
	/* Facts for people, "name\tvalue\n" each, NUL-terminated; returns the length. May be NULL. */
	size_t (*info)(struct device *dev, char *out, size_t size);
	/* NULL: it cannot be got at by others. */
	void (*facts)(struct device *dev, struct device_facts *out);
	/* After detach: diverts again; generic: in generic mode from now on. What the workers get then may be newer than what the kernel has:
	 * they must have been told (WORKER_SWITCHED). 0; or -errno with text, and the kernel gets everything. */
	int (*reattach)(struct device *dev, bool generic, char *text, size_t text_len);
	/* Would open() succeed, as far as can be told without waiting? */
	bool (*ready)(const struct config *cfg);
};

/* The packet path: called by the worker that owns the queue. */
struct device_queue_ops {
	/* Up to max (<= DEVICE_BURST) packets; refills the device from the free frames. */
	uint32_t (*rx_burst)(struct device_queue *q, struct device_frame *out, uint32_t max);
	/* Takes the first n of cnt frames and returns n; the caller keeps the others and tries again. Reaps completions. */
	uint32_t (*tx_burst)(struct device_queue *q, const struct device_frame *in, uint32_t cnt);
	/* Tells the kernel to send what is queued, if it must be told. Called once per round after tx_burst, and while tx_pending. Returns how
	 * many packets of others (the TAP) it took: while there are such, the worker does not sleep. */
	uint32_t (*tx_flush)(struct device_queue *q);
	uint32_t (*frames_get)(struct device_queue *q, uint32_t *frames, uint32_t cnt); /* returns how many */
	void (*frames_put)(struct device_queue *q, const uint32_t *frames, uint32_t cnt);
	uint32_t (*frames_free)(struct device_queue *q); /* gauge: free, or with the device for receiving or sending */
	/* Sleep: wait_fds are to be watched (EPOLLIN, level-triggered) from a worker's epoll; arm before the last rx_burst. */
	uint32_t (*wait_fds)(struct device_queue *q, int *fds, uint32_t max);
	int (*arm)(struct device_queue *q);    /* ask for an event at the next packet; 0 or -errno */
	void (*disarm)(struct device_queue *q);
	/* Claimed datagrams come here; no-op if they do already. A device whose can_disengage is false needs but this one. */
	void (*engage)(struct device_queue *q);
	/* They may go to the kernel soon: from now on the device notes whether something comes. */
	void (*leave)(struct device_queue *q);
	/* Gives them to the kernel, but not if something has come since leave() (or engage(), if nothing had come before). False: so it was;
	 * of several hardware queues some may have changed: engage(). */
	bool (*disengage)(struct device_queue *q);
	/* Counts what the kernel has got since it may be given claimed datagrams. */
	uint64_t (*left_to_kernel)(struct device_queue *q);
	bool (*tx_pending)(struct device_queue *q); /* frames given to the device and not sent yet */
	/* To the kernel: takes the frames over. NULL: the device has sorted out before what is not ours. */
	void (*pass)(struct device_queue *q, const struct device_frame *f, uint32_t cnt);
};

struct device { /* first member of each implementation's struct */
	const struct device_ops *ops;
	char ifname[16];
	int ifindex;
	uint8_t mac[6];
	uint32_t mtu;        /* bytes of IP packet */
	uint32_t queue_cnt;  /* hardware RX queues */
	uint32_t queue_used; /* of them, by all workers together: set by attach */
	int numa_node;       /* -1 unknown */
	uint32_t frame_size; /* the least that suits it; 0: by the MTU */
	uint32_t tx_headroom;/* bytes to leave in front of a frame's packet; 0 for af_xdp */
	bool local_frames;   /* a virtual link of this host (veth): frames may carry partial checksums */
	bool can_disengage;  /* leave(), disengage(), left_to_kernel() work: the kernel can serve while the worker sleeps */
	bool sees_translation; /* set by attach: set_translated() works */
	uint32_t restart;    /* atomic, set by the device: it works again only when opened from the start (a VF reset by its owner) */
	char text[64];       /* e.g. "veth, 1 queue, native, copy" */
	char why[160];       /* why this attach mode and no better one */
};

struct device_queue { /* first member of each implementation's struct */
	const struct device_queue_ops *ops;
	struct device *dev;
	uint32_t worker;
	bool resumed; /* set by rx_burst, cleared by the worker: the kernel had taken over because the worker did not run; what comes now is
		       * newer than what the kernel's sockets hold */
};

extern const struct device_ops device_af_xdp; /* that of a NIC of our own is loaded: vfio/vfio.h */

#endif
