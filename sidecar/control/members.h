/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who receives a multicast group, or a broadcast address, and may udplane deliver it? Pure.
 *
 * Linux gives a copy of each datagram to every socket that is bound to its port, and to no address
 * or the group's, if it is a member of the group on the interface and its filter lets the source
 * pass, or if it is no member, but has IP_MULTICAST_ALL (the default) and the interface has joined
 * the group for others. The interface lets the sources pass that any member wants. udplaned knows
 * the members among its own sockets only. So if there is a socket that receives what others have
 * joined, one of our members must want all sources: then the interface lets all pass, whoever else
 * there is.
 *
 * It gives a copy of each broadcast datagram to every socket that is bound to its port, and to no
 * address or the broadcast address.
 */
#ifndef SIDECAR_CONTROL_MEMBERS_H
#define SIDECAR_CONTROL_MEMBERS_H

#include "sidecar/claim/claim.h"
#include "sidecar/control/decide.h"
#include "sidecar/worker/worker.h"

#ifdef __cplusplus
extern "C" {
#endif

struct members {
	struct worker_mcast set;
	/* members; the rest receives what they have joined. For a broadcast address: sockets with
	 * SO_BROADCAST */
	uint32_t joined;
	bool any_source; /* a member wants all sources */
	bool reuse;	 /* other sockets may be bound to the port, too */
	bool too_many;
	struct decision d; /* the first reason against */
};

/* A socket that is bound to the port, and to no address or the group's. */
struct members_socket {
	uint32_t number;
	const struct claim *claim;
	const struct claim_member *member; /* NULL if nothing is known of a membership */
	bool lost;			   /* it has memberships that are not known */
	enum udplane_reason judged;	   /* why it cannot receive by the fast path, or NONE */
	const char *judged_text;
};

/* Returns true if Linux might give datagrams to this group to a claimed socket. */
bool members_receives(const struct claim *c, const struct udplane_addr *group);
void members_begin(struct members *r, const struct udplane_addr *group);
void members_add(struct members *r, const struct members_socket *s);
/* After the last member: r->d becomes NONE if these sockets can get their copies from udplane. */
void members_end(struct members *r);

#ifdef __cplusplus
}
#endif

#endif
