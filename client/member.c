/* SPDX-License-Identifier: Apache-2.0 */
#include "client/member.h"
#include "client/control.h"
#include "client/public.h"
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <udplane/abi.h>

#define MINOR_MEMBER 2 /* udplaned knows UDPLANE_MSG_MEMBER */

/* --- options --- */

static bool read_group_req(struct sock_group *g, const void *value, socklen_t len)
{
	struct group_req req;

	if (len < sizeof(req))
		return false;
	memcpy(&req, value, sizeof(req));
	g->ifindex = req.gr_interface;
	return udplane_addr_from_sockaddr(&g->addr, &req.gr_group, sizeof(req.gr_group));
}

/* All of these begin with the group's address. */
static bool read_mreq4(struct sock_group *g, int name, const void *value, socklen_t len)
{
	struct ip_mreqn req;

	if (len < sizeof(struct in_addr))
		return false;
	udplane_addr_set(&g->addr, AF_INET, value);
	if ((name != IP_ADD_MEMBERSHIP && name != IP_DROP_MEMBERSHIP) || len < sizeof(req))
		return true;
	memcpy(&req, value, sizeof(req));
	g->ifindex = (uint32_t)req.imr_ifindex;
	return true;
}

static bool read_mreq6(struct sock_group *g, const void *value, socklen_t len)
{
	struct ipv6_mreq req;

	if (len < sizeof(req))
		return false;
	memcpy(&req, value, sizeof(req));
	udplane_addr_set(&g->addr, AF_INET6, &req.ipv6mr_multiaddr);
	g->ifindex = req.ipv6mr_interface;
	return true;
}

static bool read_option(struct sock_group *g, int level, int name, const void *value, socklen_t len)
{
	bool read;

	memset(g, 0, sizeof(*g));
	if (name >= MCAST_JOIN_GROUP && name <= MCAST_MSFILTER)
		read = read_group_req(g, value, len);
	else if (level == IPPROTO_IP)
		read = read_mreq4(g, name, value, len);
	else
		read = read_mreq6(g, value, len);
	g->addr.port_be = 0;
	g->addr.scope_id = 0;
	return read && udplane_addr_is_multicast(&g->addr);
}

static bool is_leave(int level, int name)
{
	return name == MCAST_LEAVE_GROUP || (level == IPPROTO_IP && name == IP_DROP_MEMBERSHIP) ||
	       (level == IPPROTO_IPV6 && name == IPV6_DROP_MEMBERSHIP);
}

/* --- what has been joined --- */

static void forget(struct sock *s, const struct sock_group *g)
{
	struct sock_life *l = &s->life;

	for (uint32_t i = 0; i < l->group_cnt; i++)
		if (l->group[i].ifindex == g->ifindex &&
		    udplane_addr_same_ip(&l->group[i].addr, &g->addr))
			l->group[i--] = l->group[--l->group_cnt];
}

static bool remember(struct sock *s, const struct sock_group *g)
{
	struct sock_life *l = &s->life;
	struct sock_group *more;

	forget(s, g);
	more = realloc(l->group, (l->group_cnt + 1) * sizeof(*more));
	if (!more)
		return false;
	l->group = more;
	l->group[l->group_cnt++] = *g;
	return true;
}

static bool is_member(const struct sock *s, const struct udplane_addr *group, uint32_t ifindex)
{
	union {
		struct group_filter f;
		uint8_t space[GROUP_FILTER_SIZE(1)];
	} buf;
	socklen_t len = sizeof(buf);

	memset(&buf, 0, sizeof(buf));
	buf.f.gf_interface = ifindex;
	udplane_addr_to_sockaddr(group, group->family, &buf.f.gf_group);
	return !getsockopt(s->kfd, group->family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6,
			   MCAST_MSFILTER, &buf, &len);
}

/* Has it joined the group by another interface? That matters for IPv6 only, where Linux applies
 * the filter of any interface's membership. */
static bool joined_elsewhere(const struct sock *s, const struct udplane_addr *group)
{
	uint32_t ours = (uint32_t)s->att->stats->ifindex;

	for (uint32_t i = 0; group->family == AF_INET6 && i < s->life.group_cnt; i++) {
		const struct sock_group *g = &s->life.group[i];

		if (!udplane_addr_same_ip(&g->addr, group) || g->ifindex == ours)
			continue;
		if (g->ifindex ? is_member(s, group, g->ifindex) : !is_member(s, group, ours))
			return true;
	}
	return false;
}

static void tell(struct sock *s, const struct udplane_addr *group)
{
	struct udplane_member req = {.msg.type = UDPLANE_MSG_MEMBER, .group = *group};
	struct attach *a = s->att;
	struct control_answer ans;

	if (!a || a->stats->minor < MINOR_MEMBER)
		return;
	req.sock = s->tx.id;
	if (joined_elsewhere(s, group))
		req.flags |= UDPLANE_MEMBER_ELSEWHERE;
	if (!control_request(&a->control, &req, sizeof(req), -1, UDPLANE_MSG_DONE,
			     sizeof(struct udplane_done), &ans))
		control_close_fds(&ans);
}

void member_tell_all(struct sock *s)
{
	for (uint32_t i = 0; i < s->life.group_cnt && s->att; i++)
		tell(s, &s->life.group[i].addr);
}

bool member_was_set(struct sock *s, int level, int name, const void *value, socklen_t len)
{
	struct sock_group g;
	struct ctl_state st;
	bool noted = true;

	if (!read_option(&g, level, name, value, len))
		return true;
	ctl_lock(&st);
	if (is_leave(level, name))
		forget(s, &g);
	else
		noted = remember(s, &g);
	tell(s, &g.addr);
	ctl_unlock(&st);
	return noted;
}
