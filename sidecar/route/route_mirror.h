/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to sidecar/route: a copy of the kernel's links, addresses, rules, routes and neighbours,
 * and a record of what must be read again. Makes no system calls; route_netlink.c delivers messages
 * and carries out the dumps.
 *
 * Small changes are taken from the notification itself. Where that would not be exact, the kind is
 * marked dirty and dumped again:
 *   - addresses and rules: always (their order matters, and there are few);
 *   - routes: if one of several is replaced, for multipath, for a message about an unknown route,
 *     and if there are too many messages at once;
 *   - IPv4 routes also when an address or link is removed, because Linux then removes them without
 *     a notification.
 * While something is dirty, its whole family is slow.
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
	struct mirror_list staged;		  /* items of the dump that is in progress */
	/* struct route_rule; those of a family are in the kernel's order */
	struct mirror_list rules;
	struct route_sysctl sysctl;
	/* one of the sysctls may have changed; the caller clears this and reads them again */
	bool sysctl_told;
	bool staged_bad;
	bool failed; /* an allocation has failed since this was last cleared */
	/* 1 << kind for kinds whose last dump had a message that could not be parsed */
	uint32_t bad;
	uint32_t dirty;	  /* 1 << kind for kinds to be read again */
	uint32_t changes; /* enum route_change, collected until the caller clears them */
	/* a new table would make more destinations fast (neighbours), but the last one is not
	 * wrong */
	bool better;
	uint32_t applied[2]; /* route notifications applied since the last dump, by family */
	/* set by the caller before it delivers messages; from any monotonic clock */
	uint64_t now_ms;
	uint64_t expiry_ms; /* when the first IPv6 route expires; UINT64_MAX if none does */
};

/* Starts with nothing known, and everything to be read. ifindex: of our device. */
void route_mirror_init(struct route_mirror *m, int ifindex);
void route_mirror_free(struct route_mirror *m);

/* Processes a notification. Returns the kinds (1 << kind) that it concerns. */
uint32_t route_mirror_event(struct route_mirror *m, const struct nlmsghdr *nlh);

/* A dump: call begin, add for each message, then commit. Calling begin again discards what was
 * added. */
void route_mirror_dump_begin(struct route_mirror *m);
void route_mirror_dump_add(struct route_mirror *m, enum mirror_kind kind,
			   const struct nlmsghdr *nlh);
void route_mirror_dump_commit(struct route_mirror *m, enum mirror_kind kind);
void route_mirror_gone(struct route_mirror *m); /* our device no longer exists */

/* Returns the families (1 for IPv4, 2 for IPv6, or both) about which not everything is known. */
uint32_t route_mirror_stale(const struct route_mirror *m);
/* Fills *in, which points into the mirror and is valid until the mirror changes. */
void route_mirror_input(const struct route_mirror *m, struct route_input *in);
/* As route_netlink_sources() and route_netlink_locals(). */
uint32_t route_mirror_sources(const struct route_mirror *m, uint8_t (*out)[16], uint32_t max);
uint32_t route_mirror_locals(const struct route_mirror *m, uint8_t (*out)[16], uint32_t max);

#ifdef __cplusplus
}
#endif

#endif
