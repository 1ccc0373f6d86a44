/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside sidecar/route: what is known of the kernel's links, addresses, rules, routes and
 * neighbours, and what has to be read again. Pure; route_netlink.c brings messages and carries out
 * the dumps.
 *
 * Small changes are taken from the notification itself. Where that would not be exact, the kind is
 * marked dirty, and a dump is the answer:
 *   - addresses and rules: always (their order matters, and there are few);
 *   - routes: replacing among several, multipath, a message about something unknown, too many at
 *     once;
 *   - IPv4 routes also when an address or link goes, for Linux removes them then without a word.
 * While something is dirty the family it concerns is wholly slow.
 */
#ifndef SIDECAR_ROUTE_ROUTE_MIRROR_H
#define SIDECAR_ROUTE_ROUTE_MIRROR_H

#include "sidecar/route/route_parse.h"
#include "sidecar/route/route_sysctl.h"
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum mirror_kind { /* what one dump reads; the IPv6 kind follows the IPv4 one */
		   MIRROR_LINK,
		   MIRROR_ADDRS4,
		   MIRROR_ADDRS6,
		   MIRROR_RULES4,
		   MIRROR_RULES6,
		   MIRROR_ROUTES4,
		   MIRROR_ROUTES6,
		   MIRROR_NEIGHS4,
		   MIRROR_NEIGHS6,
		   MIRROR_EXCEPTIONS4,
		   MIRROR_EXCEPTIONS6,
		   MIRROR_KIND_CNT
};
#define MIRROR_ALL ((1u << MIRROR_KIND_CNT) - 1)

struct mirror_list {
	void *items;
	uint32_t cnt, room;
	uint32_t size; /* of an item, bytes */
};

struct route_mirror {
	int ifindex;
	struct route_link link;
	bool gone;
	struct mirror_list addrs, routes, neighs; /* struct route_addr, route_route, route_neigh */
	struct mirror_list staged;		  /* of the dump under way */
	struct mirror_list rules; /* struct route_rule, of a family in the kernel's order */
	struct route_sysctl sysctl;
	bool sysctl_told; /* one of them has changed; the caller clears it and reads them again */
	bool staged_bad;
	bool failed;	  /* an allocation failed since it was last cleared */
	uint32_t bad;	  /* 1 << kind: the last dump had a message that could not be read */
	uint32_t dirty;	  /* 1 << kind: to be read again */
	uint32_t changes; /* enum route_change, gathered until the caller clears them */
	/* a new table would make more fast (neighbours), but the last one is not wrong */
	bool better;
	uint32_t applied[2]; /* route notifications taken since the last dump, by family */
	uint64_t now_ms;     /* set by the caller before messages are brought; any steady clock */
	uint64_t expiry_ms;  /* when the first IPv6 route runs out; UINT64_MAX: none */
};

void route_mirror_init(struct route_mirror *m, int ifindex);
void route_mirror_free(struct route_mirror *m);

/* Takes a notification. Returns the kinds (1 << kind) that it is about. */
uint32_t route_mirror_event(struct route_mirror *m, const struct nlmsghdr *nlh);

/* A dump: begin, add each message, commit (or begin another one: the first then never was). */
void route_mirror_dump_begin(struct route_mirror *m);
void route_mirror_dump_add(struct route_mirror *m, enum mirror_kind kind,
			   const struct nlmsghdr *nlh);
void route_mirror_dump_commit(struct route_mirror *m, enum mirror_kind kind);
void route_mirror_gone(struct route_mirror *m); /* the kernel does not know our device any more */

/* Families (1 IPv4, 2 IPv6) about which not everything is known. */
uint32_t route_mirror_stale(const struct route_mirror *m);
void route_mirror_input(const struct route_mirror *m, struct route_input *in);
uint32_t route_mirror_sources(const struct route_mirror *m, uint8_t (*out)[16], uint32_t max);
uint32_t route_mirror_locals(const struct route_mirror *m, uint8_t (*out)[16], uint32_t max);

#ifdef __cplusplus
}
#endif

#endif
