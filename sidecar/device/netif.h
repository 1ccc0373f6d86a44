/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts about a network interface of this network namespace, read once. Called by the control
 * thread.
 */
#ifndef SIDECAR_DEVICE_NETIF_H
#define SIDECAR_DEVICE_NETIF_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>

#include "include/base/error.h"
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct netif {
	char name[IFNAMSIZ];
	int ifindex;
	uint8_t mac[6];
	uint32_t mtu;	    /* bytes of an IP packet */
	uint32_t queue_cnt; /* hardware RX queues, at least 1 */
	int numa_node;	    /* -1 if unknown */
	char driver[32];    /* "" if unknown */
	/* frames may come directly from a socket of this host or of its hypervisor, before
	 * checksums have been computed */
	bool is_virtual;
	int udp_segmentation; /* private: 1 + place of the feature; 0: not known */
};

/* Reads the facts of interface `name`, or of the default route's interface if name is "". Returns
 * 0, or -errno with `error` set: -ENODEV if there is no such interface or no default route,
 * -EOPNOTSUPP if it is not an Ethernet device. */
int netif_read(struct netif *netif, const char *name, struct error *error);

/* Returns the current number of hardware RX queues, at least 1. It can change while the interface
 * is up (ethtool -L). */
uint32_t netif_read_queue_cnt(const struct netif *netif);

/* How the interface sends; all of it can change while it is up. */
struct netif_tx {
	uint32_t queue_cnt; /* hardware TX queues, at least 1; 0 if nothing could be read */
	/* takes packets that are to be cut into UDP datagrams (tx-udp-segmentation, which Linux
	 * turns off in a veth whose peer has native XDP) */
	bool cuts_udp;
	bool no_qdisc; /* packets go to the driver at once */
};

void netif_read_tx(struct netif *netif, struct netif_tx *tx);

/* Reads netif->mac again, as it may change while the interface is up. Returns 0 or -errno. */
int netif_read_mac(struct netif *netif);

#ifdef __cplusplus
}
#endif

#endif
