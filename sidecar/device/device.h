/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network device as the workers see it: queues of frames. Implemented by af_xdp.c and dpdk/.
 *
 *   free --(frames_get)--> worker --(tx_burst)--> device --(completion)--> free
 *   free --(refill in rx_burst)--> device --(rx_burst)--> worker, client --(frames_put)--> free
 *
 * A frame is named by its index in the frames zone. Each frame has one owner at a time; the device
 * keeps the free frames of each worker. Worker w of W owns the frames from w * cnt / W up to, not
 * including, (w + 1) * cnt / W, permanently.
 *
 * Threads: the control thread opens, attaches, closes and reads device counters. A queue is used by
 * one worker only. Only open, attach, detach and close may allocate or block.
 */
#ifndef SIDECAR_DEVICE_DEVICE_H
#define SIDECAR_DEVICE_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "include/base/error.h"
#include <udplane/abi.h>

struct config;

/* Part of a frame that holds a packet, from its Ethernet header. */
struct device_frame {
	uint32_t frame;
	uint16_t off;	/* bytes from the frame's start */
	uint16_t len;	/* bytes */
	uint32_t flags; /* DEVICE_FRAME_*; ignored when sending */
};

#define DEVICE_FRAME_VERIFIED 0x1 /* the NIC has verified the IP and UDP checksums */
/* received before the worker stalled; the kernel has delivered newer ones since */
#define DEVICE_FRAME_STALE 0x2
#define DEVICE_BURST	   64

/* as Linux's UDP_SEGMENT allows in all versions */
#define DEVICE_SUPER_MAX 64

/* A super-packet: datagrams of one flow as one packet, which is cut on its way. The payloads of all
 * but the last have seg_len bytes, and the last has 1 to seg_len. */
struct device_super {
	uint32_t cnt; /* datagrams, 2 to DEVICE_SUPER_MAX */
	uint16_t seg_len;
	uint16_t hdr_len; /* bytes of hdr: Ethernet, IP and UDP header of the whole */
	uint8_t hdr[64];  /* checksum field: packet_build_super() */
	uint32_t iov_cnt; /* entries of iov */
	/* iov[0] is the device's to set, iov[1] is hdr, and the payloads follow. Clients may change
	 * them meanwhile. */
	struct iovec iov[2 + DEVICE_SUPER_MAX];
};

struct device_memory { /* the frames zone, mapped writable until close */
	void *addr;
	size_t len;
	size_t page_size;
	uint32_t frame_cnt;
	uint32_t frame_size; /* 2048 or 4096 */
};

/* Datagrams to divert from the kernel (AF_XDP only; a NIC bound to vfio-pci delivers everything to
 * us). Mirrors the port table. */
struct device_claim {
	/* 0.0.0.0 or :: for any local address of that family; or a multicast group or broadcast
	 * address, if the device takes groups */
	struct udplane_addr local;
	/* must match as well, and local must be specific; family 0 for any peer */
	struct udplane_addr peer;
	/* SO_COOKIE of the socket if others may have its port, else 0; and whether others do have
	 * it by SO_REUSEPORT. Linux is then asked to which of them it would give a datagram; the
	 * kernel receives what is for one that is not claimed. */
	uint64_t cookie;
	bool shared;
	bool broadcast; /* local is a broadcast address, which is diverted as a group is */
};

/* State of the device, by which the control thread supervises it. */
struct device_facts {
	bool attached;	     /* our XDP program is still attached */
	bool can_generic;    /* reattach() may use generic mode: native mode was our own choice */
	uint32_t queue_cnt;  /* hardware RX queues of the interface now */
	uint32_t rx_put;     /* frames that the kernel has put into our RX rings, modulo 2^32 */
	uint32_t tx_taken;   /* frames that the kernel has taken from our TX rings, modulo 2^32 */
	uint32_t tx_waiting; /* frames that are in our TX rings */
};

struct device_source { /* a prefix of IPv4 source addresses */
	uint32_t addr_be;
	uint8_t len; /* bits */
	bool valid;
};

struct device_prefix6 { /* a prefix of IPv6 addresses; bits after the first len are 0 */
	uint8_t addr[16], len;
};

struct device;
struct device_queue; /* the hardware queues of one worker */

struct device_ops {
	const char *name; /* "af_xdp" */
	/* Returns 0, or -errno with `error` set: what was wrong, the value, what to do. */
	int (*open)(struct device **dev, const struct config *cfg, struct error *error);
	/* Called after open, once the facts in struct device have sized the zones. Binds the queues
	 * and starts diverting. */
	int (*attach)(struct device *dev, const struct device_memory *mem, uint32_t worker_cnt,
		      struct error *error);
	/* Stops diverting: the kernel receives every further packet. Packets that are in the queues
	 * can still be received. Idempotent. */
	void (*detach)(struct device *dev);
	void (*close)(struct device *dev);

	/* claim_insert returns 0, or a negative errno such as -EEXIST or -ENOSPC. claim_remove
	 * returns 0 or -ENOENT. */
	int (*claim_insert)(struct device *dev, const struct device_claim *c);
	int (*claim_remove)(struct device *dev, const struct device_claim *c);
	/* Replaces the set of unicast addresses that are local to this host. addrs: IPv6, and IPv4
	 * as ::ffff:a.b.c.d. */
	int (*set_local)(struct device *dev, const uint8_t (*addrs)[16], uint32_t cnt);
	/* Replaces the set of IPv4 sources that Linux would accept. s: sorted by length, longest
	 * first, then by addr_be as a number; the last entry has length 0. The kernel receives
	 * datagrams from sources that are not valid. Returns -ENOSPC if there are too many entries;
	 * the kernel then receives all of IPv4. NULL if the worker checks sources in its route
	 * table instead. */
	int (*set_sources)(struct device *dev, const struct device_source *s, uint32_t cnt);
	/* Replaces the set of IPv6 prefixes from which the kernel receives, whatever is claimed.
	 * Returns 0, or a negative errno; the kernel then receives all of IPv6. NULL if the worker
	 * checks sources in its route table instead. */
	int (*set_excluded)(struct device *dev, const struct device_prefix6 *p, uint32_t cnt);
	/* on: leave datagrams of flows that connection tracking translates to the kernel, at the
	 * cost of a lookup per datagram. May be called only if sees_translation is true. */
	void (*set_translated)(struct device *dev, bool on);
	/* Fills the device's counters (enum udplane_device_counter, except the gauges of frames).
	 */
	void (*counters)(struct device *dev, uint64_t *out);

	struct device_queue *(*queue)(struct device *dev, uint32_t worker);
	/* Writes facts as lines "name\tvalue\n" and a terminating NUL; returns the length. May be
	 * NULL. */
	size_t (*info)(struct device *dev, char *out, size_t size);
	/* Fills *out. NULL if no other process can interfere with the device. */
	void (*facts)(struct device *dev, struct device_facts *out);
	/* Diverts again after a detach. generic: use generic mode from now on. Workers may then
	 * receive datagrams newer than those the kernel holds, so they must have been told
	 * (WORKER_SWITCHED). Returns 0; or -errno with `error` set, and the kernel receives
	 * everything. */
	int (*reattach)(struct device *dev, bool generic, struct error *error);
	/* Returns true if open() would succeed, as far as can be determined without waiting. */
	bool (*ready)(const struct config *cfg);
};

/* The packet path, called by the worker that owns the queue. */
struct device_queue_ops {
	/* Receives up to max (<= DEVICE_BURST) packets and refills the device from the free frames.
	 */
	uint32_t (*rx_burst)(struct device_queue *q, struct device_frame *out, uint32_t max);
	/* Takes the first n of cnt frames and returns n. The caller keeps the others and retries.
	 * Reaps completions. */
	uint32_t (*tx_burst)(struct device_queue *q, const struct device_frame *in, uint32_t cnt);
	/* Kicks the kernel to send queued frames where it needs a kick. Called once per round after
	 * tx_burst, and while tx_pending. Returns the number of packets that it took from the TAP;
	 * while it takes any, the worker does not sleep. */
	uint32_t (*tx_flush)(struct device_queue *q);
	uint32_t (*frames_get)(struct device_queue *q, uint32_t *frames,
			       uint32_t cnt); /* returns how many */
	void (*frames_put)(struct device_queue *q, const uint32_t *frames, uint32_t cnt);
	/* Gauge: frames that are free or held by the device for receiving or sending. */
	uint32_t (*frames_free)(struct device_queue *q);
	/* Descriptors that the worker's epoll watches while it sleeps (EPOLLIN, level-triggered).
	 */
	uint32_t (*wait_fds)(struct device_queue *q, int *fds, uint32_t max);
	/* Requests an event at the next packet; call it before the last rx_burst. Returns 0 or
	 * -errno. */
	int (*arm)(struct device_queue *q);
	void (*disarm)(struct device_queue *q);

	/* Engagement: whether claimed datagrams go to the worker or to the kernel. The worker calls
	 * engage(); later leave() as a notice; and later still disengage(). A device without
	 * can_disengage needs engage() only. */

	/* Diverts claimed datagrams to the worker from now on. No effect if they are diverted
	 * already. */
	void (*engage)(struct device_queue *q);
	/* Announces that disengage() may follow. From now on the device records whether a claimed
	 * datagram arrives. */
	void (*leave)(struct device_queue *q);
	/* Leaves claimed datagrams to the kernel from now on, and returns true. If one has arrived
	 * since leave() (or since engage(), if none had arrived before leave()), returns false;
	 * some of several hardware queues may have switched, so the caller must call engage(). */
	bool (*disengage)(struct device_queue *q);
	/* Counts the claimed datagrams that the kernel has received while disengaged. */
	uint64_t (*left_to_kernel)(struct device_queue *q);
	/* Returns true while the device holds frames that it has not sent. */
	bool (*tx_pending)(struct device_queue *q);
	/* Passes frames to the kernel and takes ownership of them. NULL if the device filters
	 * unclaimed frames itself (AF_XDP). */
	void (*pass)(struct device_queue *q, const struct device_frame *f, uint32_t cnt);
	/* Returns SO_COOKIE of the socket to which Linux would give a received datagram, if it has
	 * been asked (struct device_claim); else 0. NULL if it never is. */
	uint64_t (*receiver)(const uint8_t *packet, const struct device_frame *f);
	/* Sends a super-packet behind all frames that tx_burst has taken. Returns 0; -EAGAIN if it
	 * cannot now, because of what is in front of it; or another -errno if it was refused. After
	 * an error nothing was sent, and the caller sends frames instead. Called only while supers
	 * is not 0. NULL if the device has none. */
	int (*tx_super)(struct device_queue *q, struct device_super *s);
};

struct device { /* first member of each implementation's struct */
	const struct device_ops *ops;
	char ifname[16];
	int ifindex;
	uint8_t mac[6];
	uint32_t mtu;	       /* bytes of an IP packet */
	uint32_t queue_cnt;    /* hardware RX queues */
	uint32_t queue_used;   /* hardware RX queues that the workers serve; set by attach */
	int numa_node;	       /* -1 if unknown */
	uint32_t frame_size;   /* smallest suitable frame, in bytes; 0 if the MTU decides */
	uint32_t tx_headroom;  /* bytes to leave in front of a packet to send; 0 for AF_XDP */
	bool local_frames;     /* virtual link of this host (veth): checksums may be partial */
	bool can_disengage;    /* leave(), disengage() and left_to_kernel() work */
	bool groups;	       /* claims may name multicast groups */
	bool sees_translation; /* set by attach: set_translated() works */
	bool sees_receivers;   /* set by attach: receiver() works */
	uint32_t restart; /* atomic, set by the device: it must be opened again (a VF was reset) */
	char text[64];	  /* for example "veth, 1 queue, native, copy" */
	char why[160];	  /* why this attach mode and no better one */
};

struct device_queue { /* first member of each implementation's struct */
	const struct device_queue_ops *ops;
	struct device *dev;
	uint32_t worker;
	/* Set by rx_burst, cleared by the worker: the kernel had taken over because the worker had
	 * stalled. Packets from now on are newer than those in the kernel's sockets. */
	bool resumed;
	/* Atomic, set by the device: a super-packet has so many datagrams at most; 0: use none.
	 * Fewer than super_min cost less as frames. */
	uint32_t supers, super_min;
};

extern const struct device_ops device_af_xdp; /* the VFIO device is loaded: vfio/vfio.h */

#endif
