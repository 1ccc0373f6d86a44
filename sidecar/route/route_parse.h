/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to sidecar/route: converts one rtnetlink message into one struct. Makes no system calls.
 * Checks every length against nlmsg_len, which route_next_message has checked.
 *
 * Each route_parse function returns 0; -ENOMSG if the message is well formed but of no interest
 * (fdb and proxy entries, other families, multicast routing); or -EBADMSG. The result is zeroed
 * first, including padding, so that memcmp shows whether something changed.
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

/* Returns the first message of the *len bytes at *buf and advances both past it, or returns NULL if
 * there is no whole message. Unlike mnl_nlmsg_ok of libmnl 1.0.4, handles lengths above 2^31
 * correctly. */
const struct nlmsghdr *route_next_message(const void **buf, uint32_t *len);

struct route_link {
	int ifindex;
	/* AF_UNSPEC for the link itself, otherwise a protocol's or a bridge's view of it */
	uint8_t family;
	bool has_conf6; /* mtu6 and hop_limit6 are valid */
	uint8_t hop_limit6;
	uint8_t mac[6];
	bool has_master;
	char name[16];
	uint32_t flags;	  /* IFF_* */
	uint32_t changed; /* the flags that changed; all ones if unknown */
	uint32_t mtu, mtu6;
};
int route_parse_link(const struct nlmsghdr *nlh, struct route_link *out);

int route_parse_addr(const struct nlmsghdr *nlh, struct route_addr *out);

/* *expires_ms: milliseconds until the route expires; 0 if it does not. */
int route_parse_route(const struct nlmsghdr *nlh, struct route_route *out, uint32_t *expires_ms);

int route_parse_rule(const struct nlmsghdr *nlh, struct route_rule *out);

int route_parse_neigh(const struct nlmsghdr *nlh, struct route_neigh *out);

#ifdef __cplusplus
}
#endif

#endif
