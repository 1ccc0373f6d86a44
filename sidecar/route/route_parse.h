/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside sidecar/route: one rtnetlink message into one struct. Pure; believes no length but
 * nlmsg_len, which route_next_message has checked.
 *
 * Each returns 0, -ENOMSG (well formed, but of no interest: fdb and proxy entries, other families,
 * multicast routing) or -EBADMSG. What they fill is zeroed first, padding included, so that memcmp
 * tells whether something changed.
 */
#ifndef SIDECAR_ROUTE_ROUTE_PARSE_H
#define SIDECAR_ROUTE_ROUTE_PARSE_H

#include "sidecar/route/route.h"
#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The first message of the len bytes at *buf, or NULL; moves both behind it. Unlike libmnl 1.0.4's
 * mnl_nlmsg_ok, takes lengths above 2^31 for what they are. */
const struct nlmsghdr *route_next_message(const void **buf, uint32_t *len);

struct route_link {
	int ifindex;
	/* AF_UNSPEC: the link itself; else a protocol's view of it, or a bridge's */
	uint8_t family;
	bool has_conf6; /* mtu6 and hop_limit6 are there */
	uint8_t hop_limit6;
	uint8_t mac[6];
	bool has_master;
	char name[16];
	uint32_t flags;	  /* IFF_* */
	uint32_t changed; /* of them; all ones: unknown */
	uint32_t mtu, mtu6;
};
int route_parse_link(const struct nlmsghdr *nlh, struct route_link *out);

int route_parse_addr(const struct nlmsghdr *nlh, struct route_addr *out);

/* expires_ms: what is left of the route's life; 0: unlimited. */
int route_parse_route(const struct nlmsghdr *nlh, struct route_route *out, uint32_t *expires_ms);

int route_parse_rule(const struct nlmsghdr *nlh, struct route_rule *out);

int route_parse_neigh(const struct nlmsghdr *nlh, struct route_neigh *out);

#ifdef __cplusplus
}
#endif

#endif
