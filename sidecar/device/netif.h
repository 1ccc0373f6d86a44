/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts about a network interface of this network namespace, read once. Control thread.
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
	uint32_t mtu;	    /* bytes of IP packet */
	uint32_t queue_cnt; /* hardware RX queues, at least 1 */
	int numa_node;	    /* -1 unknown */
	char driver[32];    /* "" unknown */
	/* frames may come straight from a socket of this host or of its hypervisor: checksums
	 * not computed yet */
	bool is_virtual;
};

/* name "": the interface of the default route. -errno with `error` set: -ENODEV no such
 * interface or no default route, -EOPNOTSUPP no Ethernet. */
int netif_read(struct netif *netif, const char *name, struct error *error);

/* The hardware RX queues that it has now, at least 1; they can be changed while it is up (ethtool
 * -L). */
uint32_t netif_read_queue_cnt(const struct netif *netif);

/* Reads mac anew: it may change while the interface is up. */
int netif_read_mac(struct netif *netif);

#ifdef __cplusplus
}
#endif

#endif
