/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mirrors links, addresses, routes, rules and neighbours of this network namespace from rtnetlink
 * (rtnetlink(7)) into struct route_input. Control thread only. Overruns (ENOBUFS) cause a new dump,
 * after which the mirror is correct again.
 *
 * Values whose changes the kernel does not report (learnt path MTUs, redirects, the device's IPv6
 * MTU and hop limit, sysctls) are read once per second. The kernel lists an IPv4 path MTU only
 * after it has looked the destination up again, as it does for the flow's second ICMP message.
 *
 * Many changes at once cannot use up the CPU: after a dump that took a time t, the next dump of
 * that kind waits for another 19 t, and complete tables are at least 2.4 us per route apart. In
 * between, what may be outdated is reported as if there were policy rules, and is therefore slow;
 * outdated entries are fast for no longer than a notification takes. Not mirrored: route_localnet,
 * address labels of ip-addrlabel(8), use_oif_addrs_only (route_source.c answers "no source" where
 * the first would matter, and assumes the kernel's default labels).
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

/* Opens the sockets, subscribes to notifications and dumps everything. Returns 0, or -errno with
 * `error` set; -ENODEV if there is no interface ifindex. */
int route_netlink_open(struct route_netlink **nl, int ifindex, struct error *error);
void route_netlink_close(struct route_netlink *nl);
/* Returns an epoll descriptor (of a socket and a timer) to watch for EPOLLIN. */
int route_netlink_fd(const struct route_netlink *nl);
/* Reads pending notifications without waiting for more, and dumps again what must be read again.
 * Returns a set of enum route_change, or -errno; the changes are then returned by a later call. */
int route_netlink_process(struct route_netlink *nl);
/* Fills *in, which is valid until the next route_netlink_process. */
void route_netlink_input(const struct route_netlink *nl, struct route_input *in);
/* Tells the kernel that the neighbour is in use (NTF_USE), so that it keeps the neighbour resolved.
 * Returns false if that is not needed because the entry does not age (permanent, or without
 * ARP). */
bool route_netlink_use(struct route_netlink *nl, const struct route_neigh *n);
/* Writes the addresses to which this host accepts unicast on our device, for device_ops.set_local:
 * those for which the local table has a route (hence no tentative ones), except loopback addresses
 * (127/8, ::1) and link-local addresses of other devices. Writes up to max, IPv4 as ::ffff:a.b.c.d;
 * returns how many there are. */
uint32_t route_netlink_locals(const struct route_netlink *nl, uint8_t (*out)[16], uint32_t max);
/* The same for the IPv4 addresses from which a socket without a bound address may send by our
 * device: the device's own, and those that its routes prefer. Returns 0 if Linux would use an
 * address of another device. */
uint32_t route_netlink_sources(const struct route_netlink *nl, uint8_t (*out)[16], uint32_t max);

#ifdef __cplusplus
}
#endif

#endif
