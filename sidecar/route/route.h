/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides where a datagram for a destination goes. The control thread makes an immutable table from
 * what netlink reports (route_netlink.h), and workers read it. Makes no system calls, except for
 * random numbers while a table is built. Each change makes a new table; a worker swaps pointers
 * between bursts, and after it has acknowledged that, the control thread frees the old table.
 *
 * Only plain cases are fast: a unicast route out of our device, a resolved neighbour, default
 * policy rules, no multipath, no encapsulation, and a destination that is not one of our own
 * addresses. Everything else is slow: Linux decides about it and sends it.
 */
#ifndef SIDECAR_ROUTE_ROUTE_H
#define SIDECAR_ROUTE_ROUTE_H

#include <stdbool.h>
#include <stdint.h>
#include <udplane/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

enum route_verdict {
	ROUTE_FAST = 0,
	ROUTE_SLOW_NO_ROUTE, /* no route, or an unreachable, blackhole or prohibit route */
	ROUTE_SLOW_LOCAL,    /* one of our own addresses, or loopback */
	/* broadcast or network address of a connected prefix, 255.255.255.255 */
	ROUTE_SLOW_BROADCAST,
	ROUTE_SLOW_MULTICAST,
	ROUTE_SLOW_DEVICE,    /* leaves by another device */
	ROUTE_SLOW_NEIGHBOUR, /* next hop not resolved (yet) */
	/* policy rules, multipath, encapsulation, nexthop objects, table other than
	 * main/default/local */
	ROUTE_SLOW_POLICY,
	/* may be subject to packet filters, IPsec policies, ... of the namespace:
	 * sidecar/environment */
	ROUTE_SLOW_RULES,
	ROUTE_SLOW_SOURCE, /* none of our source addresses fits, or the wanted one is not ours */
	ROUTE_VERDICT_CNT
};
/* Returns a name for stats and logs; "unknown" if v is not a verdict. */
const char *route_verdict_name(enum route_verdict v);

struct route_hop {
	uint8_t dst_mac[6];
	uint16_t mtu; /* bytes of an IP packet: the route's MTU, else the device's */
	/* source address: want_src, otherwise the one that Linux would choose; IPv4 in the first
	 * four bytes */
	uint8_t src[16];
	uint32_t neigh; /* index for route_table_mark_used */
	/* hop limit to use if the socket sets none: the route's, else the device's (IPv6) or the
	 * system's (IPv4); 0 if unknown */
	uint8_t hop_limit;
};

struct route_table;

/* Looks up how to reach dst (4 or 16 bytes, by family). want_src: the socket's own address (4 or 16
 * bytes), or NULL or all zero for any. A link-local dst is assumed to be on our device: the caller
 * has compared the socket's scope id. Returns the verdict; fills *hop if that is ROUTE_FAST. The
 * time does not depend on the number of routes and neighbours: a hash probe for each prefix length
 * in use. The caller guarantees that the socket does not use SO_MARK, SO_DONTROUTE,
 * IP_TOS-dependent routes, IPV6_ADDR_PREFERENCES or IP_UNICAST_IF. */
enum route_verdict route_lookup(const struct route_table *t, uint8_t family, const void *dst,
				const void *want_src, struct route_hop *hop);
/* src: 4 or 16 bytes. Returns true if Linux certainly accepts a datagram from src that arrives on
 * our device for one of our addresses (fib_validate_source). Returns false if Linux does not accept
 * it, or must decide itself: own and broadcast addresses of IPv4, with rp_filter sources to which
 * no route leads back, and in both families sources inside route_input.excluded. Cheap without
 * rp_filter and exclusions. */
bool route_source_valid(const struct route_table *t, uint8_t family, const void *src);
/* Returns true if addr (4 or 16 bytes) is one of this host's unicast addresses. */
bool route_is_local(const struct route_table *t, uint8_t family, const void *addr);
/* Called by a worker: marks that a datagram went to this neighbour. A plain store; the control
 * thread collects the marks (route_table_take_used). */
void route_table_mark_used(const struct route_table *t, uint32_t neigh);
uint64_t route_table_generation(const struct route_table *t); /* differs between any two tables */
/* Returns the smallest MTU of all fast destinations of the family, learnt path MTUs included: what
 * is not longer, Linux never refuses as too long. UINT16_MAX if there are none. */
uint16_t route_table_mtu(const struct route_table *t, uint8_t family);
void route_table_destroy(struct route_table *t);

/* --- building, by the control thread (and tests) --- */

/* Addresses here are in netlink's form and not a struct udplane_addr: they have prefix lengths
 * instead of ports, and there may be a million of them. */

struct route_addr { /* an address of this host */
	uint8_t family, prefix_len;
	uint8_t addr[16];
	/* IFA_ADDRESS of a point-to-point address, to which the prefix belongs; if zero, the prefix
	 * belongs to addr */
	uint8_t peer[16];
	uint8_t broadcast[4]; /* IPv4; zero if there is none */
	int ifindex;
	uint8_t scope;	/* RT_SCOPE_* */
	uint32_t flags; /* IFA_F_*: deprecated, tentative, ... */
};
struct route_route {
	uint8_t family, prefix_len, type /* RTN_* */, scope;
	uint8_t dst[16], gateway[16], prefsrc[16];
	bool has_gateway, has_prefsrc;
	/* multipath, encapsulation, nexthop object, source-specific, tos, dead, expired, locked
	 * MTU */
	bool odd;
	/* of a table other than local, main, default; of these only routes that matter to source
	 * checks are kept */
	bool foreign;
	/* an exception to a route for one destination: a learnt path MTU, or a redirect */
	bool exception;
	uint8_t gateway_family; /* RTA_VIA: IPv6 next hop of an IPv4 route */
	int ifindex;
	uint32_t table, priority, mtu, hop_limit;
};
struct route_neigh {
	uint8_t family;
	uint8_t addr[16], mac[6];
	int ifindex;
	uint16_t state; /* NUD_* */
};
/* A policy rule (ip-rule(8)), in the kernel's order. */
struct route_rule {
	uint8_t family;
	uint8_t action; /* FR_ACT_* */
	uint8_t src_len, dst_len;
	uint8_t proto; /* 0 for any */
	bool invert, l3mdev;
	/* uses selectors or actions that we do not evaluate: TOS, user, ports, tunnel, interface
	 * groups, jumps */
	bool other;
	uint8_t src[16], dst[16];
	uint32_t priority, table;
	uint32_t mark, mark_mask;
	/* routes with a prefix of at most this length are skipped; -1 if none are */
	int32_t suppress_len;
	char iif[16], oif[16]; /* "" for any */
};
/* Destinations that must take the kernel path, whatever their route is. */
struct route_excluded {
	uint8_t family, len; /* bits */
	uint8_t addr[16];
};
struct route_input {
	int ifindex;	 /* our device */
	char ifname[16]; /* our device's name; "" if unknown */
	bool has_master; /* our device has a master, possibly a VRF */
	uint32_t mtu;	 /* our device's */
	/* our device's for IPv6 (net.ipv6.conf.DEVICE.mtu; routers may lower it); 0 if the same as
	 * mtu */
	uint32_t mtu6;
	uint8_t hop_limit6; /* our device's for IPv6; 0 if unknown */
	bool up;	    /* our device is up and has a carrier */
	uint8_t ttl4;	    /* net.ipv4.ip_default_ttl; 0 if unknown */
	uint8_t rp_filter;  /* our device's: the maximum of net.ipv4.conf.{all,DEVICE}.rp_filter */
	/* [0] IPv4, [1] IPv6: the rest of this input is not reliable for the family; all its
	 * destinations are slow */
	bool policy_rules[2];
	/* of both families; NULL if there are only the kernel's own three */
	const struct route_rule *rules;
	uint32_t rule_cnt;
	const struct route_addr *addrs;
	uint32_t addr_cnt;
	const struct route_route *routes;
	uint32_t route_cnt;
	const struct route_neigh *neighs;
	uint32_t neigh_cnt;
	const struct route_excluded *excluded;
	uint32_t excluded_cnt;
};
/* Returns true if, despite any policy rules, Linux looks up datagrams that arrive on our device in
 * table local before any other. */
bool route_local_first(const struct route_input *in, uint8_t family);
/* Builds a table; copies what it needs from in. Returns NULL if memory is short or a family or
 * prefix length is invalid. Takes a millisecond per some thousand routes. */
struct route_table *route_table_build(const struct route_input *in);
/* Writes up to max prefixes for udplane_stats_zone.prefix and returns how many. The longest prefix
 * that contains a destination decides. The list is conservative: destinations that it calls fast
 * may still be slow. If it does not fit, destinations that may cause errors become slow together
 * with the prefix around them, and the note says so. */
uint32_t route_table_prefixes(struct route_table *t, struct udplane_prefix *out, uint32_t max);
/* Returns a text for the user that says why some destinations or sources are slow, or "" if there
 * is nothing to report. Valid as long as the table. */
const char *route_table_note(const struct route_table *t);
struct route_origin { /* a prefix of IPv4 sources */
	uint32_t addr_be;
	uint8_t len;
	bool valid; /* as route_source_valid returns it */
};
/* Writes the shortest list of prefixes that says the same as route_source_valid for IPv4: longer
 * prefixes first, those of one length sorted by addr_be; the last one has length 0. Writes up to
 * max and returns how many there are. */
uint32_t route_table_origins(const struct route_table *t, struct route_origin *out, uint32_t max);
/* Collects and clears marks: calls fn for each neighbour used since the last call. */
void route_table_take_used(struct route_table *t,
			   void (*fn)(void *arg, const struct route_neigh *n), void *arg);

#ifdef __cplusplus
}
#endif

#endif
