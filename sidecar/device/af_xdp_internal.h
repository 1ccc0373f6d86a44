/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the AF_XDP device: its state, shared by af_xdp.c (life cycle), af_xdp_bind.c (sockets
 * and program), af_xdp_queue.c (the packet path), af_xdp_super.c (super-packets) and af_xdp_check.c
 * (checks what may prevent AF_XDP, and explains it to the user).
 *
 *            UMEM = the frames zone, one for all queues
 *   worker 0: free stack -- hw queue 0, hw queue W, ...        (hw queue i belongs to worker i % W)
 *   worker 1: free stack -- hw queue 1, ...
 *
 * A hardware queue is one xsk with its own four rings. The frames in them always belong to the
 * queue's worker.
 */
#ifndef SIDECAR_DEVICE_AF_XDP_INTERNAL_H
#define SIDECAR_DEVICE_AF_XDP_INTERNAL_H

#include <xdp/xsk.h>

#include "include/base/error.h"
#include "sidecar/config/config.h"
#include "sidecar/device/device.h"
#include "sidecar/device/netif.h"
#include "sidecar/device/xdp/udplane_xdp.h"
#include "sidecar/device/xdp_claims.h"

#define AF_XDP_RING 2048u /* RX, TX and completion descriptors of a hardware queue */
/* Twice as many as the fill ring ever holds, because one filled to its size stopped recycling
 * frames (kernel 6.18). */
#define AF_XDP_FILL_RING 4096u
/* Frames that a hardware queue keeps for receiving, if the worker has enough. They are more than
 * the RX ring holds, so that a slow worker shows as a full ring and not as a lack of frames. */
#define AF_XDP_FILL_TARGET (AF_XDP_RING + 256u)
/* frames moved into the fill ring at a time, for which the index is published once */
#define AF_XDP_REFILL 64u

/* Used by the worker that owns it, from attach to close. */
struct af_xdp_hw {
	struct xsk_ring_cons rx, comp;
	struct xsk_ring_prod fill, tx;
	struct xsk_socket *xsk;
	int fd;
	uint32_t id;	       /* hardware queue number */
	uint32_t filled;       /* frames in the fill ring, in the kernel, in the RX ring */
	uint32_t target;       /* wanted value of filled */
	uint32_t tx_out;       /* frames in the TX ring, in the kernel, in the completion ring */
	__u32 *state;	       /* enum xdp_state; atomic */
	const __u64 *asked_ns; /* in struct xdp_queue: the program asks whether the worker runs */
	__u64 *answered_ns;    /* in struct xdp_queue: the worker's answer */
	__u64 answered;	       /* the last question that the worker answered */
	const __u64 *idle;     /* the program's XDP_COUNT_IDLE for this queue */
};

struct af_xdp_queue {
	struct device_queue base;
	uint32_t free_cnt;
	uint32_t *free; /* stack of the worker's free frames */
	uint32_t frame_shift, frame_size;
	uint32_t hw_cnt, next; /* next: hardware queue to read first */
	struct af_xdp_hw **hw;
	bool zerocopy;
	uint32_t own_first, own_cnt; /* this worker's frames */
	uint64_t tx_done;	     /* written by the worker, read by the control thread */
	uint64_t tx_invalid;	     /* likewise; frames refused before the kernel saw them */
	int super_fd[2];	     /* packet sockets: enum af_xdp_super; -1 if there is none */
	uint32_t super_way;	     /* atomic: which of them is in use */
	uint32_t super_refused;	     /* super-packets refused in a row */
} __attribute__((aligned(UDPLANE_LINE)));

/* The ways of a super-packet. */
enum af_xdp_super {
	AF_XDP_SUPER_CUT,   /* Linux cuts it if the device does not take it whole */
	AF_XDP_SUPER_WHOLE, /* past the qdisc: the device takes it whole or not at all */
	AF_XDP_SUPER_CNT
};

/* The ways of attaching, from best to worst. */
enum af_xdp_way { AF_XDP_WAY_ZEROCOPY, AF_XDP_WAY_COPY, AF_XDP_WAY_GENERIC, AF_XDP_WAY_CNT };

/* Changes the queue's state from `from` to `to`. Returns false if it was not `from`. */
static inline bool af_xdp_swap_state(struct af_xdp_hw *hw, __u32 from, __u32 to)
{
	return __atomic_compare_exchange_n(hw->state, &from, to, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_RELAXED);
}

struct udplane_xdp;

struct af_xdp {
	struct device base;
	struct netif netif;
	enum config_xdp_mode mode;
	uint32_t claim_max;

	/* the claims to divert; claims.shared and the maps' descriptors change with the loaded
	 * program */
	struct xdp_claims claims;
	struct udplane_xdp *prog; /* skeleton: program and maps */
	/* the same program for generic mode, on the same maps; NULL if it cannot be needed */
	struct udplane_xdp *twin;
	enum af_xdp_way way;
	bool frags;	  /* the program accepts frames of several buffers */
	int link_fd;	  /* -1 if no program is attached; the kernel then receives everything */
	uint32_t prog_id; /* of the program that was attached */
	uint32_t looks;	  /* number of calls of facts() */
	bool tx_gso;	  /* super-packets are wanted */
	/* looks until super-packets are tried again in spite of what was refused, and that number
	 * at the next time */
	uint32_t super_wait, super_pause;

	struct device_memory mem;
	struct xsk_umem *umem;
	uint32_t hw_cnt;
	struct af_xdp_hw *hw;
	uint32_t worker_cnt;
	struct af_xdp_queue *queue; /* [worker_cnt] */
};

/* af_xdp_bind.c: binds every hardware queue and attaches the program, in the best way that works.
 * Fills base.text and base.why. Returns 0, or -errno with `error` set. */
int af_xdp_bind(struct af_xdp *dev, struct error *error);
/* Detaches the program. After it returns the kernel receives every further packet. */
void af_xdp_unlink(struct af_xdp *dev);
/* Attaches the program again after it was detached. generic: use generic mode from now on. Returns
 * 0, or -errno with `error` set. */
int af_xdp_relink(struct af_xdp *dev, bool generic, struct error *error);
/* Returns true if the program is still attached where af_xdp_bind or af_xdp_relink attached it, or
 * if that cannot be determined. */
bool af_xdp_is_linked(const struct af_xdp *dev);
/* Frees sockets and UMEM. */
void af_xdp_unbind(struct af_xdp *dev);
/* Loads the program and writes the claims into its maps. generic: load it for generic mode, in
 * which its counters are atomic. Returns 0, or -errno with `error` set. */
int af_xdp_load(struct af_xdp *dev, bool generic, struct error *error);
/* Unloads the program and its twin, if any. The claims are kept. */
void af_xdp_unload(struct af_xdp *dev);

/* Writes base.mac to the program. */
void af_xdp_write_mac(struct af_xdp *dev);

/* af_xdp_check.c. The checks return 0; or -errno with `error` set if something is missing, and a
 * retry would not help. */
int af_xdp_check_permission(struct error *error);
int af_xdp_check_kernel(struct error *error);
/* Fails with -EBUSY if another XDP program is attached to the interface. If its owner has just
 * died, waits up to 500 ms for it to go. */
int af_xdp_check_other(const struct netif *netif, struct error *error);
/* The same without waiting. */
int af_xdp_name_other(const struct netif *netif, struct error *error);
/* Raises RLIMIT_MEMLOCK if it is below 2 * len bytes, as far as permissions allow. */
void af_xdp_raise_memlock(size_t len);
/* Explains in `error` why binding an AF_XDP socket failed with err (-errno) for a frames zone of
 * len bytes. Returns err. */
int af_xdp_explain_bind(int err, size_t len, struct error *error);

/* af_xdp_super.c: super-packets, by a packet socket for each worker. */
/* Makes them possible where the device can. Called at the end of af_xdp_bind(). */
void af_xdp_super_open(struct af_xdp *dev);
void af_xdp_super_close(struct af_xdp *dev);
/* Looks whether the device still takes super-packets, or does again. Control thread, once in a
 * while. */
void af_xdp_super_look(struct af_xdp *dev);
/* device_queue_ops.tx_super */
int af_xdp_tx_super(struct device_queue *dq, struct device_super *s);

/* af_xdp_queue.c */
/* device_queue_ops.tx_flush and .tx_pending */
uint32_t af_xdp_tx_flush(struct device_queue *dq);
bool af_xdp_tx_pending(struct device_queue *dq);
extern const struct device_queue_ops af_xdp_queue_ops;
/* Marks all frames as free and all rings as empty. */
void af_xdp_queue_reset(struct af_xdp_queue *q);
/* Gives every bound hardware queue its frames, before the first packet and before the worker runs.
 */
void af_xdp_queue_prime(struct af_xdp_queue *q);

#endif
