/* SPDX-License-Identifier: Apache-2.0 */
/* Multicast groups: what the files above mcast.c need of them. */
#include "sidecar/control/internal.h"

void groups_mark(struct control *c, uint16_t port_be)
{
	struct mcast_group *g;

	if (!c->mcast.cnt || (port_be && !c->mcast.on_port[port_be]))
		return;
	TAILQ_FOREACH(g, &c->mcast.groups, link)
		g->again |= !port_be || g->set.group.port_be == port_be;
	work_at(c, 0);
}

void groups_decided(const struct control *c, const struct udplane_addr *group, struct decision *d)
{
	struct mcast_group *g;

	TAILQ_FOREACH(g, &c->mcast.groups, link) {
		if (g->set.group.port_be != group->port_be ||
		    !udplane_addr_same_ip(&g->set.group, group))
			continue;
		*d = g->d;
		return;
	}
	decide(d, UDPLANE_REASON_NOT_LOCAL,
	       "it is bound to a multicast group that it has not joined on udplaned's interface");
}
