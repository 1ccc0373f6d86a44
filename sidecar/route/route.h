/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where does a datagram for this destination go? An immutable table, made by the control thread
 * from what netlink reports (route_netlink.h) and read by workers. Pure: no system calls. Each
 * change makes a new table; a worker swaps pointers between bursts, and its acknowledgement lets
 * the control thread free the old one.
 *
 * Only what is plain is fast: a unicast route out of our device, a resolved neighbour, default
 * policy rules, no multipath, no encapsulation, none of our own addresses. Everything else is slow:
 * Linux sends it and judges.
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
	ROUTE_SLOW_NO_ROUTE, /* none, or unreachable, blackhole, prohibit */
	ROUTE_SLOW_LOCAL,    /* one of our own addresses, or loopback */
	/* broadcast or network address of a connected prefix, 255.255.255.255 */
	ROUTE_SLOW_BROADCAST,
	ROUTE_SLOW_MULTICAST,
	ROUTE_SLOW_DEVICE,    /* leaves by another device */
	ROUTE_SLOW_NEIGHBOUR, /* next hop not resolved (yet) */
	/* policy rules, multipath, encapsulation, nexthop objects, table other than
	 * main/default/local */
	ROUTE_SLOW_POLICY,
	/* packet filters, IPsec policies, ... of the namespace may concern it:
	 * sidecar/environment */
	ROUTE_SLOW_RULES,
	ROUTE_SLOW_SOURCE, /* no source address of ours fits, or the wanted one is not ours */
	ROUTE_VERDICT_CNT
};
const char *route_verdict_name(enum route_verdict v);

struct route_hop {
	uint8_t dst_mac[6];
	uint16_t mtu; /* bytes of IP packet: the route's, else the device's */
	/* source address: want_src, else the one that Linux would choose; IPv4 in the first four
	 * bytes */
	uint8_t src[16];
	uint32_t neigh; /* index for route_table_mark_used */
	/* the route's, else the device's (IPv6) or the system's (IPv4), if the socket has none;
	 * 0: unknown */
	uint8_t hop_limit;
};

struct route_table;

/* family, dst (4 or 16 bytes), want_src: the socket's own address (4 or 16 bytes); NULL or all zero
 * for any. A link-local dst is taken to be on our device: the caller has compared the socket's
 * scope id. On ROUTE_FAST fills *hop. Constant time in the number of routes and neighbours: a hash
 * probe for each prefix length in use. Assumes what only the caller knows: the socket has no
 * SO_MARK, SO_DONTROUTE, IP_TOS-dependent routes, IPV6_ADDR_PREFERENCES or IP_UNICAST_IF of its
 * own. */
enum route_verdict route_lookup(const struct route_table *t, uint8_t family, const void *dst,
				const void *want_src, struct route_hop *hop);
/* src: 4 or 16 bytes. Returns true if Linux certainly accepts a datagram from there that comes in
 * by our device for one of our addresses (fib_validate_source). Returns false if it does not, or
 * must be asked: own and broadcast addresses of IPv4, with rp_filter what no route leads back to,
 * and in both families what is inside route_input.excluded. Cheap without rp_filter and
 * exclusions. */
bool route_source_valid(const struct route_table *t, uint8_t family, const void *src);
/* Is it one of this host's unicast addresses? */
bool route_is_local(const struct route_table *t, uint8_t family, const void *addr);
/* Worker: a datagram went to this neighbour. A plain store; the control thread collects
 * (route_table_take_used). */
void route_table_mark_used(const struct route_table *t, uint32_t neigh);
uint64_t route_table_generation(const struct route_table *t); /* differs between any two tables */
void route_table_destroy(struct route_table *t);

/* --- building, by the control thread (and tests) --- */

/* Addresses here are as netlink has them, and no struct udplane_addr: they have prefix lengths in
 * place of ports, and there may be a million. */

struct route_addr { /* an address of this host */
	uint8_t family, prefix_len;
	uint8_t addr[16];
	/* IFA_ADDRESS of a point-to-point address: the prefix is around it; zero: around addr */
	uint8_t peer[16];
	uint8_t broadcast[4]; /* IPv4; zero: none */
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
	/* of another table than local, main, default: only what matters to source checks is kept */
	bool foreign;
	bool exception; /* to a route, for one destination: path MTU learnt, or a redirect */
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
	uint8_t proto; /* 0: any */
	bool invert, l3mdev;
	/* selects by what is not evaluated: TOS, user, ports, tunnel, interface groups, jumps */
	bool other;
	uint8_t src[16], dst[16];
	uint32_t priority, table;
	uint32_t mark, mark_mask;
	int32_t suppress_len;  /* routes of at most that length are passed over; -1: none */
	char iif[16], oif[16]; /* "": any */
};
/* Destinations that must take the kernel whatever their route is. */
struct route_excluded {
	uint8_t family, len; /* bits */
	uint8_t addr[16];
};
struct route_input {
	int ifindex;	 /* our device */
	char ifname[16]; /* its; "": unknown */
	bool has_master; /* it is enslaved: to a VRF, perhaps */
	uint32_t mtu;	 /* its */
	/* its, for IPv6 (net.ipv6.conf.DEVICE.mtu; routers may lower it); 0: the same */
	uint32_t mtu6;
	uint8_t hop_limit6; /* its, for IPv6; 0: unknown */
	bool up;	    /* its carrier */
	uint8_t ttl4;	    /* net.ipv4.ip_default_ttl; 0: unknown */
	uint8_t rp_filter;  /* that of our device: max of net.ipv4.conf.{all,DEVICE}.rp_filter */
	/* IPv4, IPv6: what else is said about them is not known well enough: all is slow */
	bool policy_rules[2];
	const struct route_rule *rules; /* of both families; NULL: just the kernel's own three */
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
/* Is what comes in by our device looked up in table local before anything else, whatever policy
 * rules there are? */
bool route_local_first(const struct route_input *in, uint8_t family);
/* Copies what it needs. NULL: no memory. A millisecond per some thousand routes. */
struct route_table *route_table_build(const struct route_input *in);
/* Fills up to max prefixes for udplane_stats_zone.prefix; returns how many. The longest that holds
 * a destination decides. Conservative: what they hold may still be slow. What does not fit is slow
 * as far as errors may come from it, and the note says so. */
uint32_t route_table_prefixes(struct route_table *t, struct udplane_prefix *out, uint32_t max);
/* Why some destinations or sources are slow, for people; "": no reason to speak of. Valid as long
 * as the table. */
const char *route_table_note(const struct route_table *t);
struct route_origin { /* a prefix of IPv4 sources */
	uint32_t addr_be;
	uint8_t len;
	bool valid; /* as route_source_valid */
};
/* The prefixes of route_source_valid, as few as tell the same: longer ones first, of one length by
 * addr_be; the last one has length 0. Fills up to max; returns how many there are. */
uint32_t route_table_origins(const struct route_table *t, struct route_origin *out, uint32_t max);
/* Collects and clears marks: calls fn for each neighbour used since the last call. */
void route_table_take_used(struct route_table *t,
			   void (*fn)(void *arg, const struct route_neigh *n), void *arg);

#ifdef __cplusplus
}
#endif

#endif
