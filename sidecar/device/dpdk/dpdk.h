/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the DPDK device: a NIC that udplaned drives itself, with a TAP for the packets that
 * the kernel must still get.
 *
 *   frames zone == external buffers of one mempool per worker; mbuf headers are private memory
 *   NIC queue w --rx_burst--> worker w --pass--> TAP lane w --> TAP thread --> kernel
 *   NIC queue w <--tx_burst-- worker w <---------- TAP lane 0 <-- TAP thread <-- kernel (worker 0)
 *
 * Files: eal.c starts EAL; pool.c maps frames to mbufs; port.c configures the NIC; queue.c is the
 * packet path; intr.c puts a worker to sleep; event.c handles link changes and removal; device.c is
 * struct device_ops; plugin.c is what udplaned loads.
 *
 * Threads: the control thread opens, attaches, closes and reads counters. Only worker w uses
 * queue[w] and its mempool, so the pool needs no atomic operations, and has ops of its own
 * (pool.c). DPDK's interrupt thread only writes `events`.
 */
#ifndef SIDECAR_DEVICE_DPDK_DPDK_H
#define SIDECAR_DEVICE_DPDK_DPDK_H

#include <pthread.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "include/base/error.h"
#include "sidecar/config/config.h"
#include "sidecar/device/device.h"
#include "sidecar/device/tap/tap.h"

#define DPDK_NAME 64
#define DPDK_RING_RX \
	1024 /* descriptors; with 2 KiB frames they cover 2 MiB, about what stays in L2 */
/* Ethernet header, one VLAN tag, CRC: bytes of a frame that are not in the MTU */
#define DPDK_OVERHEAD 22

struct dpdk_stack; /* a worker's free frames */

/* Counted by the worker, read by the control thread. */
struct dpdk_counts {
	uint64_t rx, tx;	      /* frames given to the worker, and taken from it by the NIC */
	uint64_t rx_jumbo;	      /* longer than a frame; copied to the TAP */
	uint64_t rx_joined;	      /* in several buffers, copied into one frame */
	uint64_t rx_no_frame;	      /* dropped, since no frame was free to copy into */
	uint64_t passed, passed_full; /* passed to the TAP; dropped because its ring was full */
	uint64_t tap_tx, tap_tx_invalid; /* from the TAP to the NIC */
	uint64_t tx_invalid;
	uint64_t out; /* frames that the worker and clients have */
};

struct dpdk_queue {
	struct device_queue base;
	uint16_t port, id;
	struct rte_mempool *pool;
	struct dpdk_stack *stack;
	struct rte_mbuf **mbuf; /* [frame_cnt], by frame index */
	uint8_t *zone;
	uint32_t frame_shift, frame_size, own_first, own_cnt;
	struct tap_lane *lane;	   /* NULL if there is no TAP */
	struct rte_mbuf *tap_mbuf; /* a packet of the TAP for which the NIC had no room */
	bool takes_tap;		   /* worker 0, which sends the TAP's packets */
	bool tx_chains;		   /* the NIC can send a packet that is in several frames */
	const uint32_t *removed;   /* dpdk.removed */
	int intr_fd; /* of the NIC's queue; -1 if it has none: then timer_fd wakes the worker */
	int timer_fd;
	uint32_t timer_us;	/* next wait */
	uint64_t rx_when_armed; /* packets of any kind */
	struct dpdk_counts n;
} __attribute__((aligned(UDPLANE_LINE)));

/* Counted by DPDK's interrupt thread, or when the link is polled. */
struct dpdk_events {
	uint64_t link_changes, removals, resets, errors;
};

struct dpdk {
	struct device base;
	const struct config *cfg;
	uint16_t port;
	bool port_open, started, pci;
	struct rte_eth_dev_info info;
	char target[256]; /* PCI address or vdev with arguments */
	bool rxq_intr, lsc_intr;
	bool mac_refused; /* the NIC kept its own MAC, which is now base.mac */
	/* taken to arm, since a driver may have one mask for all queues (ixgbe) */
	pthread_mutex_t intr_lock;
	bool scatter;
	uint64_t rx_offloads, rss_hf;

	struct device_memory mem;
	bool mem_registered, mem_mapped;
	uint32_t worker_cnt;
	struct dpdk_queue *queue; /* [worker_cnt] */
	struct rte_mbuf **mbuf;	  /* [frame_cnt] */

	struct tap *tap;  /* NULL if there is none (tests) */
	int event_fd;	  /* eventfd for link and removal; watched by the TAP thread */
	uint32_t link_up; /* atomic: as last read, by the TAP thread */
	uint32_t removed; /* atomic: the NIC was removed or reset; it must not be touched */
	struct dpdk_events events;
};

static inline struct dpdk *to_dpdk(struct device *dev)
{
	return (struct dpdk *)dev;
}

/* eal.c */
/* Starts EAL with one device. Call it once per process. The calling thread keeps its CPU affinity.
 * Returns 0, or -errno with `error` set. */
int dpdk_eal_start(const struct config *cfg, const char *target, bool pci, struct error *error);
void dpdk_eal_stop(bool pci);
/* Returns the first error that DPDK has logged since the last call, or "": the end of a message. */
const char *dpdk_eal_complaint(void);

/* pool.c */
/* Registers the zone, maps it for DMA, and makes one mempool per worker over it. Returns 0, or
 * -errno with `error` set. Undone by dpdk_pool_unmap and dpdk_pool_close. */
int dpdk_pool_open(struct dpdk *d, struct error *error);
/* Unmaps the zone from the IOMMU. Call it after the port has stopped, so that nothing writes to the
 * zone, and before the port, and with it the IOMMU, is closed. */
void dpdk_pool_unmap(struct dpdk *d);
/* Call it after the port is closed, which returns the queues' mbufs. */
void dpdk_pool_close(struct dpdk *d);
/* Returns how many bytes from offset `at` of the zone have one physical address: up to the next
 * page, or `end`. Pages are aligned in the zone. */
static inline size_t dpdk_pool_extent(size_t at, size_t end, size_t page_size)
{
	return RTE_MIN(end - at, page_size - at % page_size);
}
/* Worker: free frames. */
uint32_t dpdk_stack_get(struct dpdk_stack *s, struct rte_mbuf **out, uint32_t cnt); /* how many */
void dpdk_stack_put(struct dpdk_stack *s, struct rte_mbuf *const *in, uint32_t cnt);

/* port.c */
/* Finds the port and fills base.*. */
int dpdk_port_open(struct dpdk *d, struct error *error);
/* mtu 0 means unchanged. Call it before the frames zone is made: it sets base.frame_size. */
int dpdk_port_set_mtu(struct dpdk *d, uint32_t mtu, struct error *error);
/* Configures worker_cnt queues and starts the port. Sets the MAC base.mac; if the NIC refuses it,
 * base.mac becomes the NIC's own, and mac_refused true. */
int dpdk_port_start(struct dpdk *d, struct error *error);
/* Returns how many frames a worker must have for rings of the driver's least length; a power of
 * two. Call it after dpdk_port_open. */
uint32_t dpdk_port_least_frames(const struct dpdk *d);
/* Makes the NIC receive all frames, or at least all multicast frames, if the driver can. Call it
 * after a start, and after the driver has recovered. */
void dpdk_port_open_filters(struct dpdk *d);
void dpdk_port_stop(struct dpdk *d);
void dpdk_port_close(struct dpdk *d);
/* Writes lines of "name\tvalue\n" for people, and returns the length. */
size_t dpdk_port_info(struct dpdk *d, char *out, size_t size);

/* intr.c */
int dpdk_intr_open(struct dpdk *d, struct dpdk_queue *q);
void dpdk_intr_close(struct dpdk_queue *q);
uint32_t dpdk_wait_fds(struct device_queue *dq, int *fds, uint32_t max);
int dpdk_arm(struct device_queue *dq);
void dpdk_disarm(struct device_queue *dq);

/* event.c */
int dpdk_event_open(struct dpdk *d);
void dpdk_event_close(struct dpdk *d);
/* TAP thread: reads the link. Returns whether the NIC was removed (not reset). */
bool dpdk_link_up(void *dev);
bool dpdk_is_gone(void *dev);

/* device.c */
extern const struct device_ops device_dpdk;
/* The same as device_dpdk.open. Tests open it without a TAP. */
int dpdk_open(struct device **out, const struct config *cfg, bool with_tap, struct error *error);

/* queue.c */
extern const struct device_queue_ops dpdk_queue_ops;

#endif
