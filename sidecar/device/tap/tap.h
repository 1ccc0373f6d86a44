/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TAP that takes the place of a NIC which the kernel no longer has. It has the NIC's MAC, MTU,
 * addresses and routes, so sockets bind, netlink reports and neighbours resolve as before, at the
 * speed of a TAP.
 *
 *     worker w: tap_lane_pass, tap_lane_flush --ring--> TAP thread --write--> kernel
 *     worker 0: tap_lane_peek, tap_lane_done <--ring--- TAP thread <--read--- kernel
 *
 * Packets are copied into the slots of the rings, so the only system call of a worker is the signal
 * to a sleeping TAP thread. The TAP is persistent: when udplaned dies, the TAP keeps its addresses
 * and loses its carrier, and the next udplaned takes it over. The thread also sets the TAP's
 * carrier to the NIC's link, and removes the TAP if the NIC is removed.
 *
 * Limits: no offloads (each packet is one system call of the TAP thread). A full ring drops packets
 * to the kernel; packets from the kernel wait in the TAP's own queue.
 */
#ifndef SIDECAR_DEVICE_TAP_TAP_H
#define SIDECAR_DEVICE_TAP_TAP_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <udplane/ring.h>

#include "include/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TAP_ADDRS  16
#define TAP_ROUTES 32
#define TAP_SLOTS  1024 /* slots of each ring, like the kernel's own txqueuelen */

/* Prefixes, as rtnetlink takes them: no struct udplane_addr. */
struct tap_addr {
	uint8_t family, prefix_len;
	uint8_t addr[16];
};

struct tap_route { /* prefix_len 0 for the default route */
	uint8_t family, prefix_len;
	bool has_gateway;
	uint8_t dst[16], gateway[16];
	uint32_t metric; /* 0 if the kernel chooses */
};

/* What the TAP should look like. */
struct tap_config {
	char name[IFNAMSIZ];
	uint8_t mac[6];
	uint32_t mtu; /* 0 if not given */
	struct tap_addr addr[TAP_ADDRS];
	uint32_t addr_cnt;
	struct tap_route route[TAP_ROUTES];
	uint32_t route_cnt;
	char origin[96]; /* where this comes from, for people */
};

/* One ring of packets. */
struct tap_ring {
	struct udplane_ring_head *head;
	uint8_t *slots;
	uint32_t slot_size;
};

/* A worker's rings to and from the TAP thread. */
struct tap_lane {
	struct udplane_ring to, from; /* the worker's ends: it produces `to` and consumes `from` */
	struct tap_ring to_ring, from_ring;
	uint32_t staged; /* packets that were passed but not flushed */
	int thread_fd;	 /* eventfd that wakes the TAP thread; shared by the lanes */
	int worker_fd;	 /* eventfd that wakes the worker */
};

struct tap;

struct tap_link { /* called by the TAP thread */
	/* returns the NIC's link; called at the start, when event_fd is readable, and every half
	 * second */
	bool (*up)(void *arg);
	bool (*gone)(
		void *arg); /* returns true if the NIC was removed; the TAP is then removed, too */
	int event_fd;
	void *arg;
};

struct tap_counts { /* written by the TAP thread */
	uint64_t to_kernel, from_kernel, to_kernel_failed;
	/* dropped, since the TAP was given a larger MTU than the NIC's */
	uint64_t from_kernel_long;
};

/* Makes the TAP, or takes over the TAP of a udplaned that died. Returns 0, or -errno with `error`
 * set. */
int tap_open(struct tap **t, const struct tap_config *cfg, struct error *error);
/* Makes the lanes and starts the thread. */
int tap_start(struct tap *t, uint32_t lane_cnt, const struct tap_link *link, struct error *error);
/* Ends the thread. The interface stays, without carrier. */
void tap_close(struct tap *t);
const char *tap_name(const struct tap *t);
int tap_ifindex(const struct tap *t);
struct tap_lane *tap_lane(struct tap *t, uint32_t i);
void tap_counts(const struct tap *t, struct tap_counts *out);

/* ---- tap_setup.c: addresses, MTU, routes, MAC by netlink ---- */
int tap_setup(int ifindex, const struct tap_config *cfg, struct error *error);

/* ---- tap_source.c: where the configuration comes from; pure but for the files ---- */
/* Reads the lines "key value..." that deploy/bind-vfio has saved: name, mac, mtu, address A/N,
 * route DST|default [via G] [metric M]. A line that is none of these, or does not fit, is skipped
 * with a warning in the log, since the host has given the device away already. Returns 0; -ENOENT
 * if there is no such file; or another error of fopen(3), with `error` set. */
int tap_source_saved(const char *path, struct tap_config *out, struct error *error);
/* Reads the annotation k8s.v1.cni.cncf.io/network-status in a downward-API file: the entry whose
 * device-info names the PCI address `pci`, otherwise the entry whose mac is `mac`. Returns 0;
 * -ENOENT if there is none; or -EINVAL with `error` set. */
int tap_source_annotation(const char *path, const char *pci, const uint8_t mac[6],
			  struct tap_config *out, struct error *error);
/* Read lists in the form of the keys `address` and `gateway`: "192.0.2.5/24,2001:db8::5/64". */
int tap_source_addresses(const char *list, struct tap_config *out, struct error *error);
int tap_source_gateways(const char *list, struct tap_config *out, struct error *error);
bool tap_parse_mac(const char *s, uint8_t mac[6]);

/* ---- the worker's side ---- */

/* Copies a packet's parts into the ring. Returns false if there is no room. The packet is not
 * visible before the flush. */
static inline uint8_t *tap_lane_reserve(struct tap_lane *l, uint32_t len)
{
	uint8_t *slot;

	if (len + 4 > l->to_ring.slot_size || udplane_ring_free(&l->to, l->staged + 1) <= l->staged)
		return NULL;
	slot = l->to_ring.slots +
	       (size_t)udplane_ring_slot(&l->to, l->to.idx + l->staged) * l->to_ring.slot_size;
	*(uint32_t *)slot = len;
	l->staged++;
	return slot + 4;
}

/* Publishes the packets that were passed, and wakes the thread if it sleeps. */
void tap_lane_flush(struct tap_lane *l);

/* Returns the oldest packet from the kernel, or NULL. */
static inline const uint8_t *tap_lane_peek(struct tap_lane *l, uint32_t *len)
{
	const uint8_t *slot;

	if (udplane_ring_avail(&l->from, 1) == 0)
		return NULL;
	slot = l->from_ring.slots +
	       (size_t)udplane_ring_slot(&l->from, l->from.idx) * l->from_ring.slot_size;
	*len = *(const uint32_t *)slot;
	return slot + 4;
}

static inline void tap_lane_done(struct tap_lane *l)
{
	udplane_ring_consume(&l->from, 1);
}

#ifdef __cplusplus
}
#endif

#endif
