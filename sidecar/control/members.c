/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/control/members.h"

#include <string.h>

_Static_assert(CLAIM_SOURCES == WORKER_MEMBER_SOURCES, "a filter fits whole or not at all");

bool members_receives(const struct claim *c, const struct udplane_addr *group)
{
	const struct udplane_addr *local = &c->key.local;

	if (local->port_be != group->port_be || c->peer.family)
		return false;
	if (udplane_addr_is_any(local))
		return local->family == group->family ||
		       (c->dual_stack && group->family == AF_INET);
	return udplane_addr_same_ip(local, group);
}

void members_begin(struct members *r, const struct udplane_addr *group)
{
	memset(r, 0, sizeof(*r));
	r->set.group = *group;
	r->d.reason = UDPLANE_REASON_NONE;
}

static void against(struct members *r, enum udplane_reason why, const char *text)
{
	if (!r->d.reason)
		decide(&r->d, why, "%s", text);
}

static void put(struct members *r, const struct members_socket *s, bool member)
{
	struct worker_member *to = &r->set.member[r->set.member_cnt++];

	to->sock = s->number;
	to->exclude = !member || s->member->exclude;
	to->source_cnt = member ? s->member->source_cnt : 0;
	if (member)
		memcpy(to->source, s->member->source, sizeof(to->source));
	r->any_source |= member && to->exclude && !to->source_cnt;
}

/* What speaks against a multicast group, and not against broadcast. */
static void add_membership(struct members *r, const struct members_socket *s)
{
	if (s->lost)
		against(r, UDPLANE_REASON_TOO_MANY,
			"a socket has joined more groups than udplane keeps");
	if (s->member && s->member->unclear)
		against(r, UDPLANE_REASON_OPTION,
			"a socket has joined the group by another interface, too, or has more "
			"sources in its filter than udplane can hold");
}

void members_add(struct members *r, const struct members_socket *s)
{
	bool multicast = udplane_addr_is_multicast(&r->set.group);
	bool all = r->set.group.family == AF_INET ? s->claim->all4 : s->claim->all6;
	bool member = multicast && s->member && s->member->member;

	r->reuse |= s->claim->reuse;
	if (multicast)
		add_membership(r, s);
	if (multicast && !member && !all)
		return;
	r->joined += multicast ? member : s->claim->broadcast;
	r->any_source |= !multicast;
	if (s->claim->stamp)
		against(r, UDPLANE_REASON_OPTION,
			"a socket wants to know the time or the drops of datagrams that several "
			"may "
			"share");
	if (s->claim->spec_dst && r->set.group.family == AF_INET)
		against(r, UDPLANE_REASON_OPTION,
			"a socket has IP_PKTINFO, and only the kernel knows from which address it "
			"would answer a group's datagrams");
	if (s->judged)
		against(r, s->judged, s->judged_text);
	if (r->set.member_cnt < WORKER_MEMBERS)
		put(r, s, member);
	else
		r->too_many = true;
}

void members_end(struct members *r)
{
	if (r->too_many)
		decide(&r->d, UDPLANE_REASON_TOO_MANY,
		       "more than %d sockets receive the group; udplane copies to no more",
		       WORKER_MEMBERS);
	if (!r->joined)
		against(r, UDPLANE_REASON_NOT_LOCAL,
			udplane_addr_is_multicast(&r->set.group)
				? "no socket that uses udplane has joined the group on udplaned's "
				  "interface"
				: "no socket that uses udplane has SO_BROADCAST");
	if (r->joined < r->set.member_cnt && !r->any_source)
		against(r, UDPLANE_REASON_OPTION,
			"a socket that has not joined the group receives it by IP_MULTICAST_ALL, "
			"and only the kernel knows from which sources");
}
