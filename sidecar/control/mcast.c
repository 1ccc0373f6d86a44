/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Multicast groups that claimed sockets have joined, and broadcast addresses on ports where one has
 * SO_BROADCAST (without it, broadcast on a port is too rare to prepare for). A group and port is
 * diverted while all sockets that Linux would give a copy to are claimed; the workers then make the
 * copies. A client names the groups, and the keeper asks the kernel what its socket has joined. A
 * client that does not name a group which its socket has joined harms nobody else: what others
 * receive depends on who has joined by the kernel's word, and on who is bound to the port by the
 * kernel's list.
 */
#include "sidecar/control/internal.h"
#include "sidecar/control/members.h"
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MCAST_GROUPS  4096
#define MCAST_BY_PORT 256
#define MCAST_BY_SOCK 64 /* groups of one socket */
/* Sockets that are looked at for a group. More receive it than udplane copies to. */
#define MCAST_LOOK (2 * WORKER_MEMBERS)

static struct sock *sock_of_item(struct index_item *i)
{
	return (struct sock *)((char *)i - offsetof(struct sock, item));
}

/* Does the kernel route datagrams to groups, or to all, that come by the device to other
 * interfaces? */
static bool forwards(int version, const char *conf, const char *what)
{
	char path[96], value = '0';
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv%d/conf/%s/%s", version, conf, what);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false; /* a kernel that cannot */
	if (read(fd, &value, 1) != 1)
		value = '1';
	close(fd);
	return value != '0';
}

/* The kernel does not tell when it begins to. Returns true if that has changed. */
static bool look_at_forwarding(struct control *c)
{
	const char *dev = c->dev->ifname;
	bool four = forwards(4, dev, "mc_forwarding"), six = forwards(6, dev, "mc_forwarding");
	bool all = forwards(4, dev, "bc_forwarding") || forwards(4, "all", "bc_forwarding");
	bool news = four != c->mcast.forwards4 || six != c->mcast.forwards6 ||
		    all != c->mcast.forwards_broadcast;

	c->mcast.forwards4 = four;
	c->mcast.forwards6 = six;
	c->mcast.forwards_broadcast = all;
	return news;
}

int mcast_open(struct control *c)
{
	look_at_forwarding(c);
	TAILQ_INIT(&c->mcast.groups);
	c->mcast.on_port = calloc(65536, sizeof(*c->mcast.on_port));
	return c->mcast.on_port ? 0 : -ENOMEM;
}

static struct mcast_group *group_find(const struct control *c, const struct udplane_addr *group)
{
	struct mcast_group *g;

	if (!c->mcast.on_port[group->port_be])
		return NULL;
	TAILQ_FOREACH(g, &c->mcast.groups, link)
		if (udplane_addr_equal(&g->set.group, group))
			return g;
	return NULL;
}

static struct mcast_group *group_make(struct control *c, const struct udplane_addr *group)
{
	struct mcast_group *g;

	if (c->mcast.cnt >= MCAST_GROUPS || c->mcast.on_port[group->port_be] >= MCAST_BY_PORT)
		return NULL;
	g = calloc(1, sizeof(*g));
	if (!g)
		return NULL;
	g->set.group = *group;
	TAILQ_INSERT_TAIL(&c->mcast.groups, g, link);
	c->mcast.on_port[group->port_be]++;
	c->mcast.cnt++;
	return g;
}

static void group_free(struct control *c, struct mcast_group *g)
{
	TAILQ_REMOVE(&c->mcast.groups, g, link);
	c->mcast.on_port[g->set.group.port_be]--;
	c->mcast.cnt--;
	free(g);
}

void mcast_close(struct control *c)
{
	while (c->mcast.on_port && !TAILQ_EMPTY(&c->mcast.groups))
		group_free(c, TAILQ_FIRST(&c->mcast.groups));
	free(c->mcast.on_port);
	c->mcast.on_port = NULL;
}

/* ---- what speaks for it, and against ---- */

static const struct claim_member *member_of(const struct sock *k, const struct udplane_addr *group)
{
	for (uint32_t i = 0; i < k->member_cnt; i++)
		if (udplane_addr_same_ip(&k->member[i].group, group))
			return &k->member[i];
	return NULL;
}

static void add_sockets(struct control *c, struct members *r)
{
	const struct udplane_addr *group = &r->set.group;
	struct index_item *i;
	uint32_t cnt = 0;

	LIST_FOREACH(i, &c->index.port[group->port_be].unconnected, by_port) {
		struct sock *k = sock_of_item(i);

		if (!members_receives(&k->claim, group))
			continue;
		if (cnt++ == MCAST_LOOK) {
			r->too_many = true;
			r->joined++; /* perhaps */
			return;
		}
		sock_judge(c, k, false);
		members_add(r, &(struct members_socket){.number = k->id,
							.claim = &k->claim,
							.member = member_of(k, group),
							.lost = k->members_lost,
							.judged = k->verdict.rx,
							.judged_text = k->verdict.rx_text});
	}
}

/* IPv6 drops what is for one interface only, or for nobody. */
static bool is_reserved(const struct udplane_addr *group)
{
	return group->family == AF_INET6 && (group->addr[1] & 0xf) <= 1;
}

/* Reads as a number in network order. */
static uint32_t addr4(const struct udplane_addr *a)
{
	uint32_t v;

	memcpy(&v, a->addr, 4);
	return v;
}

static bool is_broadcast(const struct control *c, const struct udplane_addr *group)
{
	uint32_t i = 0;

	while (i < c->mcast.broadcast_cnt && c->mcast.broadcast_be[i] != addr4(group))
		i++;
	return addr4(group) == UINT32_MAX || i < c->mcast.broadcast_cnt;
}

static bool is_forwarded(const struct control *c, const struct udplane_addr *group)
{
	if (!udplane_addr_is_multicast(group))
		return c->mcast.forwards_broadcast;
	return group->family == AF_INET ? c->mcast.forwards4 : c->mcast.forwards6;
}

static void decide_group(struct control *c, struct members *r, bool exact)
{
	const struct udplane_addr *group = &r->set.group;
	char text[UDPLANE_TEXT_LEN];
	enum udplane_reason why;

	if (r->d.reason)
		return;
	if (!udplane_addr_is_multicast(group) && !is_broadcast(c, group))
		decide(&r->d, UDPLANE_REASON_NOT_LOCAL,
		       "it is no broadcast address of the device's networks any more");
	else if (!c->dev->groups || is_reserved(group))
		decide(&r->d, UDPLANE_REASON_DEVICE,
		       "the device leaves multicast groups to the kernel");
	else if (!port_set_contains(&c->cfg->ports, be16toh(group->port_be)))
		decide(&r->d, UDPLANE_REASON_NOT_ASKED, "the port is not asked for");
	else if (c->environment &&
		 (why = judge_group(environment_world(c->environment), group, text)))
		decide(&r->d, why, "%s", text);
	else if (is_forwarded(c, group))
		decide(&r->d, UDPLANE_REASON_DEVICE,
		       "the kernel routes multicast or broadcast (mc_forwarding, bc_forwarding of "
		       "%s)",
		       c->dev->ifname);
	else if (r->reuse)
		shared_decide_group(c, group, exact, &r->d);
}

/* ---- diverting ---- */

static struct device_claim claim_of(const struct udplane_addr *group)
{
	return (struct device_claim){.local = *group,
				     .broadcast = !udplane_addr_is_multicast(group)};
}

static void stop(struct control *c, struct mcast_group *g)
{
	struct worker_mcast nobody = {.group = g->set.group};
	struct worker_order forget = {.op = WORKER_MCAST, .mcast = &nobody};
	struct worker_order drain = {.op = WORKER_DRAIN_RX, .next = &forget};
	struct device_claim claim;

	if (!g->active)
		return;
	claim = claim_of(&g->set.group);
	c->dev->ops->claim_remove(c->dev, &claim);
	workers_call(c, &drain);
	g->active = false;
}

static bool same_set(const struct worker_mcast *a, const struct worker_mcast *b)
{
	return a->member_cnt == b->member_cnt &&
	       !memcmp(a->member, b->member, a->member_cnt * sizeof(a->member[0]));
}

/* Workers know the members before the device diverts. */
static int divert(struct control *c, struct mcast_group *g, const struct worker_mcast *set)
{
	struct device_claim claim = claim_of(&set->group);
	struct worker_order o = {.op = WORKER_MCAST, .mcast = set};
	int err;

	if (g->active && same_set(&g->set, set))
		return 0;
	err = workers_call(c, &o);
	if (!err && !g->active)
		err = c->dev->ops->claim_insert(c->dev, &claim);
	if (err) {
		stop(c, g);
		o.mcast = &(struct worker_mcast){.group = set->group};
		workers_call(c, &o);
		return err;
	}
	g->set = *set;
	g->active = true;
	return 0;
}

/* Sockets that are bound to the group receive nothing else. */
static void tell_bound(struct control *c, const struct members *r)
{
	const struct udplane_addr *group = &r->set.group;
	struct index_item *i;

	LIST_FOREACH(i, &c->index.port[group->port_be].unconnected, by_port) {
		struct sock *k = sock_of_item(i);

		if (!udplane_addr_is_any(&k->claim.key.local) && members_receives(&k->claim, group))
			sock_apply_rx(c, k, &r->d);
	}
}

/* exact: do not rely on an earlier list of the sockets on the port. */
static void settle(struct control *c, struct mcast_group *g, bool exact)
{
	struct members r;
	int err;

	g->again = false;
	members_begin(&r, &g->set.group);
	add_sockets(c, &r);
	members_end(&r);
	decide_group(c, &r, exact);
	err = r.d.reason ? 0 : divert(c, g, &r.set);
	if (err)
		decide_device_refused(&r.d, err);
	if (r.d.reason)
		stop(c, g);
	g->d = r.d;
	tell_bound(c, &r);
	if (!r.joined)
		group_free(c, g);
}

/* ---- broadcast ---- */

static void make_broadcast(struct control *c, uint32_t addr_be, uint16_t port_be)
{
	struct udplane_addr group = {.family = AF_INET, .port_be = port_be};

	memcpy(group.addr, &addr_be, 4);
	if (!group_find(c, &group))
		group_make(c, &group);
}

/* To be settled. */
static void make_broadcasts(struct control *c, uint16_t port_be)
{
	make_broadcast(c, UINT32_MAX, port_be);
	for (uint32_t i = 0; i < c->mcast.broadcast_cnt; i++)
		make_broadcast(c, c->mcast.broadcast_be[i], port_be);
}

static void add_broadcast(struct mcast *m, uint32_t addr_be)
{
	for (uint32_t i = 0; i < m->broadcast_cnt; i++)
		if (m->broadcast_be[i] == addr_be)
			return;
	if (addr_be && addr_be != UINT32_MAX && m->broadcast_cnt < MCAST_BROADCASTS)
		m->broadcast_be[m->broadcast_cnt++] = addr_be;
}

/* As fib_add_ifaddr(): the one that is configured, and the last of the network. */
static void add_broadcasts_of(struct mcast *m, const struct route_addr *a)
{
	uint32_t addr, configured;

	memcpy(&addr, a->addr, 4);
	memcpy(&configured, a->broadcast, 4);
	add_broadcast(m, configured);
	if (a->prefix_len && a->prefix_len < 31)
		add_broadcast(m, addr | htobe32(UINT32_MAX >> a->prefix_len));
}

/* A port with any has 255.255.255.255. */
static void remake_broadcasts(struct control *c)
{
	struct mcast_group *g;

	TAILQ_FOREACH(g, &c->mcast.groups, link)
		if (g->set.group.family == AF_INET && addr4(&g->set.group) == UINT32_MAX)
			make_broadcasts(c, g->set.group.port_be);
}

void mcast_set_addresses(struct control *c)
{
	struct mcast was = c->mcast, *m = &c->mcast;
	struct route_input in;

	route_netlink_input(c->nl, &in);
	m->broadcast_cnt = 0;
	for (uint32_t i = 0; i < in.addr_cnt; i++)
		if (in.addrs[i].family == AF_INET && in.addrs[i].ifindex == in.ifindex)
			add_broadcasts_of(m, &in.addrs[i]);
	if (!m->on_port || (m->broadcast_cnt == was.broadcast_cnt &&
			    !memcmp(m->broadcast_be, was.broadcast_be,
				    m->broadcast_cnt * sizeof(m->broadcast_be[0]))))
		return;
	remake_broadcasts(c);
	groups_mark(c, 0);
}

/* ---- entry points ---- */

void mcast_port_changed(struct control *c, uint16_t port_be)
{
	struct mcast_group *g, *next;

	if (!c->mcast.on_port || !c->mcast.on_port[port_be])
		return;
	for (g = TAILQ_FIRST(&c->mcast.groups); g; g = next) {
		next = TAILQ_NEXT(g, link);
		if (g->set.group.port_be == port_be)
			settle(c, g, false);
	}
}

void mcast_work(struct control *c)
{
	struct mcast_group *g, *next;

	for (g = TAILQ_FIRST(&c->mcast.groups); g; g = next) {
		next = TAILQ_NEXT(g, link);
		if (g->again)
			settle(c, g, false);
	}
}

void mcast_tick(struct control *c)
{
	if (c->mcast.on_port && look_at_forwarding(c))
		groups_mark(c, 0);
}

static int remember(struct sock *k, const struct claim_member *m)
{
	struct claim_member *more;
	uint32_t i = 0;

	while (i < k->member_cnt && !udplane_addr_same_ip(&k->member[i].group, &m->group))
		i++;
	if (!m->member && !m->unclear) {
		if (i < k->member_cnt)
			k->member[i] = k->member[--k->member_cnt];
		return 0;
	}
	if (i == k->member_cnt) {
		more = i < MCAST_BY_SOCK ? realloc(k->member, (i + 1) * sizeof(*more)) : NULL;
		if (!more)
			return -ENOMEM;
		k->member = more;
		k->member_cnt++;
	}
	k->member[i] = *m;
	return 0;
}

void mcast_member(struct control *c, struct sock *k, const struct claim_member *m)
{
	struct udplane_addr group = m->group;
	struct mcast_group *g;

	if (k->fd < 0 || !udplane_addr_is_multicast(&m->group))
		return;
	if (remember(k, m)) { /* until it is closed */
		if (!k->members_lost) {
			k->members_lost = true;
			mcast_port_changed(c, k->claim.key.local.port_be);
		}
		return;
	}
	group.port_be = k->claim.key.local.port_be;
	g = group_find(c, &group);
	if (!g && m->member && members_receives(&k->claim, &group))
		g = group_make(c, &group);
	if (g)
		settle(c, g, true);
}

/* Its port may have groups that others have joined, and it may have joined groups before. */
void mcast_enter(struct control *c, struct sock *k)
{
	struct udplane_addr all = {.family = AF_INET,
				   .port_be = k->claim.key.local.port_be,
				   .addr = {0xff, 0xff, 0xff, 0xff}};

	for (uint32_t i = 0; i < k->member_cnt; i++) {
		struct udplane_addr group = k->member[i].group;

		group.port_be = k->claim.key.local.port_be;
		if (k->member[i].member && members_receives(&k->claim, &group) &&
		    !group_find(c, &group))
			group_make(c, &group);
	}
	if (k->claim.broadcast && members_receives(&k->claim, &all))
		make_broadcasts(c, all.port_be);
	mcast_port_changed(c, k->claim.key.local.port_be);
}
