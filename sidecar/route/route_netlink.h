/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mirrors links, addresses, routes, rules and neighbours of this network namespace from rtnetlink
 * (rtnetlink(7)) into struct route_input. Control thread only. Overruns (ENOBUFS) cause a new dump:
 * what is mirrored is right again afterwards.
 *
 * What the kernel does not tell (learnt path MTUs, redirects, the device's IPv6 MTU and hop limit,
 * sysctls) is read once a second. The kernel lists an IPv4 path MTU only when it has looked the
 * destination up since, as it does for the flow's second ICMP message.
 *
 * A storm of changes cannot take the processor: each kind of dump waits, after it took t, for
 * another 19 t, and complete tables are 2.4 us for each route apart. In between, what may be
 * outdated is reported as if there were policy rules, hence slow; nothing outdated is fast for
 * longer than a notification takes. Not mirrored: route_localnet, address labels of
 * ip-addrlabel(8), use_oif_addrs_only (route_source.c answers "no source" where the first would
 * matter, and assumes the kernel's default labels).
 */
#ifndef SIDECAR_ROUTE_ROUTE_NETLINK_H
#define SIDECAR_ROUTE_ROUTE_NETLINK_H

#include "include/base/error.h"
#include "sidecar/route/route.h"
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct route_netlink;

enum route_change {
	ROUTE_CHANGE_TABLE = 1,	  /* build a new table */
	ROUTE_CHANGE_ADDRS = 2,	  /* the set of local addresses changed: tell the device */
	ROUTE_CHANGE_LINK = 4,	  /* our device went up or down, or its MTU or MAC changed */
	ROUTE_CHANGE_GONE = 8,	  /* our device was removed */
	ROUTE_CHANGE_RESYNC = 16, /* an overrun made us read everything again */
};

/* Opens, subscribes, dumps everything. 0 or -errno with `error` set. */
int route_netlink_open(struct route_netlink **nl, int ifindex, struct error *error);
void route_netlink_close(struct route_netlink *nl);
int route_netlink_fd(const struct route_netlink
			     *nl); /* watch for EPOLLIN; an epoll descriptor: socket and timer */
/* Reads what is there without blocking; returns a set of enum route_change, or -errno. */
int route_netlink_process(struct route_netlink *nl);
void route_netlink_input(const struct route_netlink *nl,
			 struct route_input *in); /* valid until the next process */
/* Tells the kernel that the neighbour is in use (NTF_USE), so that it keeps it resolved. False: it
 * needs not be told, the entry does not age (permanent, or without ARP). */
bool route_netlink_use(struct route_netlink *nl, const struct route_neigh *n);
/* The addresses to which this host accepts unicast on our device, for device_ops.set_local: those
 * for which the local table has a route (hence no tentative ones), but loopback ones (127/8, ::1)
 * and link-local ones of other devices. Writes up to max, IPv4 as
 * ::ffff:a.b.c.d; returns how many there are. */
uint32_t route_netlink_locals(const struct route_netlink *nl, uint8_t (*out)[16], uint32_t max);
/* The same for the IPv4 addresses from which a socket that is bound to none may send by our device:
 * the device's own, and those that its routes prefer. 0: Linux would take another device's. */
uint32_t route_netlink_sources(const struct route_netlink *nl, uint8_t (*out)[16], uint32_t max);

#ifdef __cplusplus
}
#endif

#endif
