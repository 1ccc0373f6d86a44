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
};

/* Reads the facts of interface `name`, or of the default route's interface if name is "". Returns
 * 0, or -errno with `error` set: -ENODEV if there is no such interface or no default route,
 * -EOPNOTSUPP if it is not an Ethernet device. */
int netif_read(struct netif *netif, const char *name, struct error *error);

/* Returns the current number of hardware RX queues, at least 1. It can change while the interface
 * is up (ethtool -L). */
uint32_t netif_read_queue_cnt(const struct netif *netif);

/* Reads netif->mac again, as it may change while the interface is up. Returns 0 or -errno. */
int netif_read_mac(struct netif *netif);

#ifdef __cplusplus
}
#endif

#endif
