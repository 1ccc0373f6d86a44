/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/route/route_mirror.h"

#include <errno.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "sidecar/route/route_netlink.h"

/* Route notifications to apply between two dumps. Each one searches the list, while a dump reads
 * all of it once; with more of them the dump is cheaper. */
#define MAX_APPLIED 64

#define BIT(kind)		  (1u << (kind))
#define BIT_BOTH(kind4)		  (3u << (kind4))
#define BIT_FAMILY(kind4, family) (1u << ((kind4) + ((family) == AF_INET6)))

#define USABLE (NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE)

static void *item(const struct mirror_list *l, uint32_t i)
{
	return (char *)l->items + (size_t)i * l->size;
}

static int list_add(struct mirror_list *l, const void *what)
{
	if (l->cnt == l->room) {
		uint32_t room = l->room ? 2 * l->room : 16;
		void *items = realloc(l->items, (size_t)room * l->size);

		if (!items)
			return -ENOMEM;
		l->items = items;
		l->room = room;
	}
	memcpy(item(l, l->cnt++), what, l->size);
	return 0;
}

static void list_remove(struct mirror_list *l, uint32_t i)
{
	l->cnt--;
	memmove(item(l, i), item(l, i + 1), (size_t)(l->cnt - i) * l->size);
}

void route_mirror_init(struct route_mirror *m, int ifindex)
{
	memset(m, 0, sizeof(*m));
	m->ifindex = ifindex;
	m->addrs.size = sizeof(struct route_addr);
	m->routes.size = sizeof(struct route_route);
	m->neighs.size = sizeof(struct route_neigh);
	m->rules.size = sizeof(struct route_rule);
	m->sysctl.rp_filter = 1;
	m->dirty = MIRROR_ALL;
	m->expiry_ms = UINT64_MAX;
}

void route_mirror_free(struct route_mirror *m)
{
	free(m->addrs.items);
	free(m->routes.items);
	free(m->neighs.items);
	free(m->rules.items);
	free(m->staged.items);
}

/* Adds an item; if memory is short, marks its kinds to be read again later. */
static void add_or_redo(struct route_mirror *m, struct mirror_list *l, const void *what,
			uint32_t kinds)
{
	if (list_add(l, what)) {
		m->failed = true;
		m->dirty |= kinds;
	}
}

/* --- notifications --- */

static uint32_t link_event(struct route_mirror *m, const struct nlmsghdr *nlh)
{
	struct route_link link;

	if (route_parse_link(nlh, &link)) {
		m->dirty |= MIRROR_ALL;
		return MIRROR_ALL;
	}
	if (link.ifindex == m->ifindex)
		/* read all of it again, as a message may show only one family's part */
		m->dirty |= BIT(MIRROR_LINK);
	if (link.family != AF_UNSPEC)
		/* a bridge port or the IPv6 settings; when they are removed the link stays */
		return BIT(MIRROR_LINK);
	/* Routes and addresses are removed with a link, some of them without a notification. */
	if (nlh->nlmsg_type == RTM_DELLINK ||
	    (link.changed != UINT32_MAX && (link.changed & IFF_UP)))
		m->dirty |= BIT_BOTH(MIRROR_ADDRS4) | BIT_BOTH(MIRROR_ROUTES4);
	return BIT(MIRROR_LINK);
}

static uint32_t addr_event(struct route_mirror *m, const struct nlmsghdr *nlh)
{
	struct route_addr a;
	int err = route_parse_addr(nlh, &a);

	if (err == -ENOMSG)
		return 0;
	if (err) {
		m->dirty |= BIT_BOTH(MIRROR_ADDRS4) | BIT_BOTH(MIRROR_ROUTES4);
		return BIT_BOTH(MIRROR_ADDRS4);
	}
	m->dirty |= BIT_FAMILY(MIRROR_ADDRS4, a.family);
	if (nlh->nlmsg_type == RTM_DELADDR) /* also removes routes that prefer it as source */
		m->dirty |= BIT_FAMILY(MIRROR_ROUTES4, a.family);
	return BIT_FAMILY(MIRROR_ADDRS4, a.family);
}

static uint32_t rule_event(struct route_mirror *m, const struct nlmsghdr *nlh)
{
	struct route_rule rule;
	int err = route_parse_rule(nlh, &rule);
	uint32_t kinds = err ? BIT_BOTH(MIRROR_RULES4) : BIT_FAMILY(MIRROR_RULES4, rule.family);

	if (err == -ENOMSG)
		return 0;
	m->dirty |= kinds;
	return kinds;
}

/* Returns true if the route is to be kept. Of other tables these are only routes that make a source
 * one of our own or a broadcast address, since they matter to source checks. */
static bool is_wanted(struct route_route *r)
{
	r->foreign = r->table != RT_TABLE_LOCAL && r->table != RT_TABLE_MAIN &&
		     r->table != RT_TABLE_DEFAULT;
	return !r->foreign || (r->family == AF_INET && !r->exception &&
			       (r->type == RTN_LOCAL || r->type == RTN_BROADCAST ||
				r->type == RTN_ANYCAST || r->type == RTN_MULTICAST));
}

/* Returns true if the kernel would replace one by the other: it keeps at most one route per table,
 * prefix and metric (and TOS; routes with a TOS are odd). */
static bool same_place(const struct route_route *a, const struct route_route *b)
{
	return a->family == b->family && a->prefix_len == b->prefix_len && a->table == b->table &&
	       a->priority == b->priority && a->exception == b->exception &&
	       !memcmp(a->dst, b->dst, 16);
}

/* Examines the routes in the same place as r. Returns how many there are; *equal: the index of the
 * one equal to r; *other: of a different one; UINT32_MAX if there is none; *odd: whether any of
 * them, or r, is odd. */
static uint32_t search(const struct route_mirror *m, const struct route_route *r, uint32_t *equal,
		       uint32_t *other, bool *odd)
{
	uint32_t i, cnt = 0;

	*equal = *other = UINT32_MAX;
	*odd = r->odd;
	for (i = 0; i < m->routes.cnt; i++) {
		const struct route_route *have = item(&m->routes, i);

		if (!same_place(have, r))
			continue;
		cnt++;
		*odd |= have->odd;
		if (!memcmp(have, r, sizeof(*r)))
			*equal = i;
		else
			*other = i;
	}
	return cnt;
}

/* Applies the message if its effect is certain. Returns false if the routes must be dumped
 * instead. */
static bool apply_route(struct route_mirror *m, const struct nlmsghdr *nlh,
			const struct route_route *r)
{
	uint32_t equal, other, cnt;
	bool odd;

	if (m->applied[r->family == AF_INET6]++ >= MAX_APPLIED)
		return false;
	cnt = search(m, r, &equal, &other, &odd);
	if (odd)
		return false;
	if (nlh->nlmsg_type == RTM_DELROUTE) {
		if (equal == UINT32_MAX)
			return false;
		list_remove(&m->routes, equal);
	} else if (nlh->nlmsg_flags & NLM_F_REPLACE) {
		if (cnt > 1)
			return false;
		if (equal != UINT32_MAX)
			return true;
		if (other != UINT32_MAX)
			list_remove(&m->routes, other);
		add_or_redo(m, &m->routes, r, BIT_FAMILY(MIRROR_ROUTES4, r->family));
	} else if (equal == UINT32_MAX) {
		add_or_redo(m, &m->routes, r, BIT_FAMILY(MIRROR_ROUTES4, r->family));
	}
	m->changes |= ROUTE_CHANGE_TABLE;
	return true;
}

static void note_expiry(struct route_mirror *m, const struct route_route *r, uint32_t expires_ms)
{
	if (r->family == AF_INET6 && !r->exception && expires_ms &&
	    m->now_ms + expires_ms < m->expiry_ms)
		m->expiry_ms = m->now_ms + expires_ms;
}

static uint32_t route_event(struct route_mirror *m, const struct nlmsghdr *nlh)
{
	struct route_route r;
	uint32_t expires_ms;
	int err = route_parse_route(nlh, &r, &expires_ms);
	uint32_t kinds = err ? BIT_BOTH(MIRROR_ROUTES4) : BIT_FAMILY(MIRROR_ROUTES4, r.family);

	if (err == -ENOMSG)
		return 0;
	if (err) {
		m->dirty |= kinds;
		return kinds;
	}
	if (!is_wanted(&r))
		return 0;
	if (r.exception) {
		kinds = BIT_FAMILY(MIRROR_EXCEPTIONS4, r.family);
		m->dirty |= kinds;
		return kinds;
	}
	if (!(m->dirty & kinds) && !apply_route(m, nlh, &r))
		m->dirty |= kinds;
	if (nlh->nlmsg_type == RTM_NEWROUTE)
		note_expiry(m, &r, expires_ms);
	return kinds;
}

static bool is_usable(const struct route_neigh *n)
{
	static const uint8_t zero[6];

	return (n->state & USABLE) && memcmp(n->mac, zero, 6);
}

static uint32_t neigh_event(struct route_mirror *m, const struct nlmsghdr *nlh)
{
	struct route_neigh n, *have;
	int err = route_parse_neigh(nlh, &n);
	uint32_t i;

	if (err == -EBADMSG) {
		m->dirty |= BIT_BOTH(MIRROR_NEIGHS4);
		return BIT_BOTH(MIRROR_NEIGHS4);
	}
	if (err || n.ifindex != m->ifindex)
		return 0;
	for (i = 0; i < m->neighs.cnt; i++) {
		have = item(&m->neighs, i);
		if (have->family == n.family && !memcmp(have->addr, n.addr, 16))
			break;
	}
	if (i < m->neighs.cnt) {
		have = item(&m->neighs, i);
		/* Do not build a new table for each change of state: to workers it only matters
		 * whether the neighbour is usable, and its MAC. */
		if (nlh->nlmsg_type == RTM_DELNEIGH) {
			m->changes |= is_usable(have) ? ROUTE_CHANGE_TABLE : 0;
			list_remove(&m->neighs, i);
		} else {
			if (is_usable(have) &&
			    (!is_usable(&n) || memcmp(have->mac, n.mac, 6) ||
			     ((have->state ^ n.state) & (NUD_PERMANENT | NUD_NOARP))))
				m->changes |= ROUTE_CHANGE_TABLE;
			m->better |= !is_usable(have) && is_usable(&n);
			memcpy(have, &n, sizeof(n));
		}
	} else if (nlh->nlmsg_type == RTM_NEWNEIGH) {
		m->better |= is_usable(&n);
		add_or_redo(m, &m->neighs, &n, BIT_FAMILY(MIRROR_NEIGHS4, n.family));
	}
	return BIT_FAMILY(MIRROR_NEIGHS4, n.family);
}

uint32_t route_mirror_event(struct route_mirror *m, const struct nlmsghdr *nlh)
{
	switch (nlh->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK: return link_event(m, nlh);
	case RTM_NEWADDR:
	case RTM_DELADDR: return addr_event(m, nlh);
	case RTM_NEWRULE:
	case RTM_DELRULE: return rule_event(m, nlh);
	case RTM_NEWROUTE:
	case RTM_DELROUTE: return route_event(m, nlh);
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH: return neigh_event(m, nlh);
	case RTM_NEWNETCONF: m->sysctl_told = true; return 0;
	case RTM_DELNEXTHOP: /* its routes are removed without a notification */
		m->dirty |= BIT_BOTH(MIRROR_ROUTES4);
		return BIT_BOTH(MIRROR_ROUTES4);
	default: return 0;
	}
}

/* --- dumps --- */

static uint8_t kind_family(enum mirror_kind kind)
{
	switch (kind) {
	case MIRROR_ADDRS6:
	case MIRROR_RULES6:
	case MIRROR_ROUTES6:
	case MIRROR_NEIGHS6:
	case MIRROR_EXCEPTIONS6: return AF_INET6;
	default: return AF_INET;
	}
}

static struct mirror_list *kind_list(struct route_mirror *m, enum mirror_kind kind)
{
	switch (kind) {
	case MIRROR_ADDRS4:
	case MIRROR_ADDRS6: return &m->addrs;
	case MIRROR_ROUTES4:
	case MIRROR_ROUTES6:
	case MIRROR_EXCEPTIONS4:
	case MIRROR_EXCEPTIONS6: return &m->routes;
	case MIRROR_NEIGHS4:
	case MIRROR_NEIGHS6: return &m->neighs;
	case MIRROR_RULES4:
	case MIRROR_RULES6: return &m->rules;
	default: return NULL;
	}
}

static bool is_exceptions(enum mirror_kind kind)
{
	return kind == MIRROR_EXCEPTIONS4 || kind == MIRROR_EXCEPTIONS6;
}

/* Returns true if an item of kind's list belongs to kind. */
static bool belongs(enum mirror_kind kind, const void *what)
{
	switch (kind) {
	case MIRROR_ADDRS4:
	case MIRROR_ADDRS6: return ((const struct route_addr *)what)->family == kind_family(kind);
	case MIRROR_NEIGHS4:
	case MIRROR_NEIGHS6: return ((const struct route_neigh *)what)->family == kind_family(kind);
	case MIRROR_RULES4:
	case MIRROR_RULES6: return ((const struct route_rule *)what)->family == kind_family(kind);
	default:
		return ((const struct route_route *)what)->family == kind_family(kind) &&
		       ((const struct route_route *)what)->exception == is_exceptions(kind);
	}
}

void route_mirror_dump_begin(struct route_mirror *m)
{
	m->staged.cnt = 0;
	m->staged_bad = false;
}

static void stage(struct route_mirror *m, enum mirror_kind kind, const void *what)
{
	struct mirror_list *l = kind_list(m, kind);

	if (m->staged.size != l->size) {
		m->staged.room = m->staged.room * m->staged.size / l->size;
		m->staged.size = l->size;
	}
	if (!belongs(kind, what))
		return;
	if (list_add(&m->staged, what)) {
		m->failed = true;
		m->staged_bad = true;
	}
}

static void link_set(struct route_mirror *m, const struct route_link *link)
{
	const uint32_t up = IFF_UP | IFF_RUNNING | IFF_LOWER_UP;
	const struct route_link *old = &m->link;
	bool changed = ((old->flags ^ link->flags) & up) || old->mtu != link->mtu ||
		       memcmp(old->mac, link->mac, 6);

	if (changed)
		m->changes |= ROUTE_CHANGE_LINK;
	if (!changed && old->mtu6 == link->mtu6 && old->hop_limit6 == link->hop_limit6 &&
	    old->has_master == link->has_master &&
	    !memcmp(old->name, link->name, sizeof(link->name)))
		return;
	/* A new MTU or hop limit changes IPv6 routes without a notification (rt6_mtu_change,
	 * ndisc_router_discovery). */
	m->dirty |=
		BIT_BOTH(MIRROR_ADDRS4) | BIT_BOTH(MIRROR_ROUTES4) | BIT_BOTH(MIRROR_EXCEPTIONS4);
	m->changes |= ROUTE_CHANGE_TABLE;
	m->link = *link;
}

void route_mirror_dump_add(struct route_mirror *m, enum mirror_kind kind,
			   const struct nlmsghdr *nlh)
{
	union {
		struct route_link link;
		struct route_addr addr;
		struct route_rule rule;
		struct route_route route;
		struct route_neigh neigh;
	} u;
	uint32_t expires_ms;
	int err = -ENOMSG;

	switch (kind) {
	case MIRROR_LINK:
		if (nlh->nlmsg_type != RTM_NEWLINK)
			return;
		err = route_parse_link(nlh, &u.link);
		if (!err && u.link.ifindex == m->ifindex && u.link.family == AF_UNSPEC)
			link_set(m, &u.link);
		break;
	case MIRROR_ADDRS4:
	case MIRROR_ADDRS6:
		if (nlh->nlmsg_type != RTM_NEWADDR)
			return;
		err = route_parse_addr(nlh, &u.addr);
		if (!err)
			stage(m, kind, &u.addr);
		break;
	case MIRROR_RULES4:
	case MIRROR_RULES6:
		if (nlh->nlmsg_type != RTM_NEWRULE)
			return;
		err = route_parse_rule(nlh, &u.rule);
		if (!err)
			stage(m, kind, &u.rule);
		break;
	case MIRROR_ROUTES4:
	case MIRROR_ROUTES6:
	case MIRROR_EXCEPTIONS4:
	case MIRROR_EXCEPTIONS6:
		if (nlh->nlmsg_type != RTM_NEWROUTE)
			return;
		err = route_parse_route(nlh, &u.route, &expires_ms);
		if (err || !is_wanted(&u.route))
			break;
		stage(m, kind, &u.route);
		note_expiry(m, &u.route, expires_ms);
		break;
	case MIRROR_NEIGHS4:
	case MIRROR_NEIGHS6:
		if (nlh->nlmsg_type != RTM_NEWNEIGH)
			return;
		err = route_parse_neigh(nlh, &u.neigh);
		if (!err && u.neigh.ifindex == m->ifindex)
			stage(m, kind, &u.neigh);
		break;
	case MIRROR_KIND_CNT: break;
	}
	if (err == -EBADMSG)
		m->staged_bad = true;
}

/* Replaces the kind's items in the list by the staged ones. Returns true if something changed. */
static bool list_commit(struct route_mirror *m, enum mirror_kind kind)
{
	struct mirror_list *l = kind_list(m, kind);
	uint32_t i, kept = 0, matched = 0, removed = 0;

	for (i = 0; i < l->cnt; i++) {
		const void *have = item(l, i);

		if (!belongs(kind, have)) {
			if (kept != i)
				memcpy(item(l, kept), have, l->size);
			kept++;
			continue;
		}
		if (removed < m->staged.cnt && !memcmp(have, item(&m->staged, removed), l->size))
			matched++;
		removed++;
	}
	l->cnt = kept;
	for (i = 0; i < m->staged.cnt; i++)
		add_or_redo(m, l, item(&m->staged, i), BIT(kind));
	return matched != removed || removed != m->staged.cnt;
}

void route_mirror_dump_commit(struct route_mirror *m, enum mirror_kind kind)
{
	bool changed = false;

	m->dirty &= ~BIT(kind);
	switch (kind) {
	case MIRROR_LINK:
	case MIRROR_KIND_CNT: break;
	default: changed = list_commit(m, kind);
	}
	if (kind == MIRROR_ROUTES4 || kind == MIRROR_ROUTES6)
		m->applied[kind == MIRROR_ROUTES6] = 0;
	if (!!(m->bad & BIT(kind)) != m->staged_bad)
		changed = true;
	m->bad = m->staged_bad ? m->bad | BIT(kind) : m->bad & ~BIT(kind);
	if (changed)
		m->changes |= ROUTE_CHANGE_TABLE;
}

void route_mirror_gone(struct route_mirror *m)
{
	m->dirty &= ~BIT(MIRROR_LINK);
	if (m->gone)
		return;
	m->gone = true;
	m->changes |= ROUTE_CHANGE_GONE | ROUTE_CHANGE_TABLE;
}

/* --- queries --- */

uint32_t route_mirror_stale(const struct route_mirror *m)
{
	const uint32_t open = m->dirty | m->bad;
	uint32_t kind, stale = 0;

	for (kind = 0; kind < MIRROR_KIND_CNT; kind++)
		if (open & BIT(kind))
			stale |= kind == MIRROR_LINK				   ? 3
				 : kind_family((enum mirror_kind)kind) == AF_INET6 ? 2
										   : 1;
	return stale;
}

void route_mirror_input(const struct route_mirror *m, struct route_input *in)
{
	static const struct route_rule none;
	const uint32_t up = IFF_UP | IFF_RUNNING | IFF_LOWER_UP;
	const uint32_t stale = route_mirror_stale(m);

	memset(in, 0, sizeof(*in));
	in->ifindex = m->ifindex;
	in->mtu = m->link.mtu;
	in->mtu6 = m->link.mtu6;
	in->hop_limit6 = m->link.hop_limit6;
	in->up = !m->gone && (m->link.flags & up) == up;
	in->policy_rules[0] = stale & 1;
	in->policy_rules[1] = stale & 2;
	in->rules = m->rules.items ? m->rules.items : &none;
	in->rule_cnt = m->rules.cnt;
	memcpy(in->ifname, m->link.name, sizeof(in->ifname));
	in->has_master = m->link.has_master;
	in->ttl4 = m->sysctl.ttl4;
	in->rp_filter = m->sysctl.rp_filter;
	in->addrs = m->addrs.items;
	in->addr_cnt = m->addrs.cnt;
	in->routes = m->routes.items;
	in->route_cnt = m->routes.cnt;
	in->neighs = m->neighs.items;
	in->neigh_cnt = m->neighs.cnt;
}

/* Returns true if this is a route by which Linux accepts packets to a single address. A tentative
 * address has no such route yet. */
static bool accepts(const struct route_route *r)
{
	static const uint8_t one[16] = {[15] = 1};

	if (r->table != RT_TABLE_LOCAL || r->type != RTN_LOCAL || r->exception)
		return false;
	if (r->family == AF_INET)
		return r->prefix_len == 32 && r->dst[0] != 127;
	return r->prefix_len == 128 && memcmp(r->dst, one, 16);
}

/* Returns true if a device has the route's destination as an address; a link-local one must be on
 * our device. */
static bool has_address(const struct route_mirror *m, const struct route_route *r)
{
	struct udplane_addr dst;
	bool link_local;
	uint32_t i;

	udplane_addr_set(&dst, r->family, r->dst);
	link_local = udplane_addr_is_link_local(&dst);
	for (i = 0; i < m->addrs.cnt; i++) {
		const struct route_addr *a = item(&m->addrs, i);

		if (a->family == r->family && !memcmp(a->addr, r->dst, 16) &&
		    (!link_local || a->ifindex == m->ifindex))
			return true;
	}
	return false;
}

static int compare_addresses(const void *a, const void *b)
{
	return memcmp(a, b, 16);
}

/* Adds the address if it is not there yet. Returns the new count, even if there was no room. */
static uint32_t add_address(uint8_t (*out)[16], uint32_t cnt, uint32_t max,
			    const uint8_t mapped[16])
{
	for (uint32_t i = 0; i < cnt && i < max; i++)
		if (!memcmp(out[i], mapped, 16))
			return cnt;
	if (cnt < max)
		memcpy(out[cnt], mapped, 16);
	return cnt + 1;
}

uint32_t route_mirror_sources(const struct route_mirror *m, uint8_t (*out)[16], uint32_t max)
{
	uint8_t mapped[16];
	uint32_t cnt = 0;

	for (uint32_t i = 0; i < m->addrs.cnt; i++) {
		const struct route_addr *a = item(&m->addrs, i);

		if (a->family != AF_INET || a->ifindex != m->ifindex)
			continue;
		udplane_addr_to_mapped(mapped, AF_INET, a->addr);
		cnt = add_address(out, cnt, max, mapped);
	}
	for (uint32_t i = 0; i < m->routes.cnt; i++) {
		const struct route_route *r = item(&m->routes, i);

		if (r->family != AF_INET || r->ifindex != m->ifindex || !r->has_prefsrc)
			continue;
		udplane_addr_to_mapped(mapped, AF_INET, r->prefsrc);
		cnt = add_address(out, cnt, max, mapped);
	}
	if (cnt && max)
		qsort(out, cnt < max ? cnt : max, 16, compare_addresses);
	return cnt;
}

uint32_t route_mirror_locals(const struct route_mirror *m, uint8_t (*out)[16], uint32_t max)
{
	struct route_input in;
	uint32_t i, cnt = 0;
	bool first[2];

	route_mirror_input(m, &in);
	first[0] = route_local_first(&in, AF_INET);
	first[1] = route_local_first(&in, AF_INET6);
	for (i = 0; i < m->routes.cnt; i++) {
		const struct route_route *r = item(&m->routes, i);
		uint8_t mapped[16];

		if (!first[r->family == AF_INET6] || !accepts(r) || !has_address(m, r))
			continue;
		udplane_addr_to_mapped(mapped, r->family, r->dst);
		/* the same address may be on two devices */
		cnt = add_address(out, cnt, max, mapped);
	}
	if (cnt && max)
		qsort(out, cnt < max ? cnt : max, 16,
		      compare_addresses); /* dumps may reorder routes */
	return cnt;
}
