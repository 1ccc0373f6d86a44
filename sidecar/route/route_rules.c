/* SPDX-License-Identifier: Apache-2.0 */
/* Determines what policy rules (ip rule) affect: nothing, certain destinations or sources, or a
 * whole family. */
#include <arpa/inet.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "sidecar/route/route_table.h"

/* Whether a rule matches our datagrams (fib_rule_match). */
enum match {
	MATCH_NEVER,
	MATCH_SOME, /* those whose source or destination it names */
	MATCH_ALL,
	MATCH_DOUBT,
};

/* The datagrams in question: those that sockets send, or those that arrive on our device. Neither
 * has a mark: a socket with SO_MARK takes the kernel path, and so do ports for which netfilter or
 * tc may set one. */
enum direction { SENDING, COMING };

static bool is_own(const struct route_input *in, uint8_t family, const uint8_t *net, uint32_t len)
{
	const struct route_key mask = route_mask(len);
	const struct route_key key = route_key_and(route_key(family, net), mask);
	uint32_t i;

	for (i = 0; i < in->addr_cnt; i++)
		if (in->addrs[i].family == family &&
		    route_key_equal(route_key_and(route_key(family, in->addrs[i].addr), mask), key))
			return true;
	return false;
}

/* Matches by the interfaces of the flow. Datagrams that we send have loopback as input, and our
 * device as output if the socket asks for it. Datagrams that arrive have our device as input. */
static enum match match_interfaces(const struct route_input *in, const struct route_rule *r,
				   enum direction way)
{
	const bool ours = !in->ifname[0] || !strcmp(r->iif, in->ifname);

	if (r->iif[0] && way == SENDING && strcmp(r->iif, "lo"))
		return MATCH_NEVER;
	if (r->iif[0] && way == COMING && !ours)
		return MATCH_NEVER;
	if (!r->oif[0])
		return MATCH_ALL;
	if (way == COMING || (in->ifname[0] && strcmp(r->oif, in->ifname)))
		return MATCH_NEVER;
	return MATCH_DOUBT;
}

static enum match match_addresses(const struct route_input *in, const struct route_rule *r,
				  enum direction way)
{
	const bool own_dst = is_own(in, r->family, r->dst, r->dst_len);

	if (way == COMING)
		return r->dst_len && !own_dst	  ? MATCH_NEVER
		       : r->src_len || r->dst_len ? MATCH_DOUBT
						  : MATCH_ALL;
	if (r->src_len && !is_own(in, r->family, r->src, r->src_len))
		return MATCH_NEVER; /* we send only from addresses of this host */
	return r->src_len || r->dst_len ? MATCH_SOME : MATCH_ALL;
}

static enum match match(const struct route_input *in, const struct route_rule *r,
			enum direction way)
{
	enum match by_interface = match_interfaces(in, r, way);
	enum match by_address = match_addresses(in, r, way), all;

	if (by_interface == MATCH_NEVER || by_address == MATCH_NEVER || (r->mark & r->mark_mask) ||
	    (r->proto && r->proto != IPPROTO_UDP) || (r->l3mdev && !in->has_master))
		all = MATCH_NEVER;
	else if (by_interface == MATCH_DOUBT || by_address == MATCH_DOUBT || r->other || r->l3mdev)
		all = MATCH_DOUBT;
	else
		all = by_address;
	if (!r->invert)
		return all;
	return all == MATCH_NEVER ? MATCH_ALL : all == MATCH_ALL ? MATCH_NEVER : MATCH_DOUBT;
}

static bool asks(const struct route_rule *r, uint32_t table)
{
	return r->action == FR_ACT_TO_TBL && r->table == table;
}

static bool asks_plainly(const struct route_rule *r, uint32_t table)
{
	return asks(r, table) && r->suppress_len < 0;
}

static bool is_local_first(const struct route_input *in, uint8_t family)
{
	uint32_t i;

	for (i = 0; i < in->rule_cnt; i++) {
		const struct route_rule *r = &in->rules[i];
		enum match m;

		if (r->family != family || r->action == FR_ACT_NOP)
			continue;
		m = match(in, r, COMING);
		if (m != MATCH_NEVER)
			return m == MATCH_ALL && asks_plainly(r, RT_TABLE_LOCAL);
	}
	return false;
}

static void blame(struct route_policy *p, const struct route_rule *r)
{
	if (!p->why)
		p->why = r;
}

static void add_table(struct route_policy *p, const struct route_rule *r)
{
	if (r->action != FR_ACT_TO_TBL || r->table == RT_TABLE_LOCAL || r->table == RT_TABLE_MAIN ||
	    r->table == RT_TABLE_DEFAULT)
		return;
	if (p->table_cnt == ROUTE_MAX_SELECTED)
		p->slow = true;
	else
		p->table[p->table_cnt++] = r->table;
}

/* Records the destinations or sources that a rule names. Returns false if there is no room for
 * more, or if an IPv6 rule names only sources. */
static bool select_by(struct route_policy *p, const struct route_rule *r)
{
	const bool by_dst = r->dst_len;
	uint32_t *cnt = by_dst ? &p->dst_cnt : &p->src_cnt;
	struct route_selected *to = by_dst ? p->dst : p->src;

	/* To choose a source, IPv6 first looks the destination up, and may look it up again with
	 * the chosen source. */
	if ((!by_dst && r->family == AF_INET6) || *cnt == ROUTE_MAX_SELECTED)
		return false;
	to += (*cnt)++;
	to->len = by_dst ? r->dst_len : r->src_len;
	memcpy(to->addr, by_dst ? r->dst : r->src, 16);
	return true;
}

struct progress {
	bool local, main;
};

/* Evaluates one rule that may match. Returns false if this rule and those that follow are not
 * evaluated. */
static bool step(struct route_policy *p, struct progress *at, const struct route_rule *r,
		 enum match m)
{
	if (m == MATCH_ALL && asks_plainly(r, RT_TABLE_LOCAL)) {
		at->local = true;
		return true;
	}
	if (!at->local)
		return false;
	if (m != MATCH_ALL && asks_plainly(r, RT_TABLE_MAIN))
		return true; /* main is asked a little earlier than it would be anyway */
	if (m == MATCH_SOME || (m == MATCH_DOUBT && !r->invert && (r->dst_len || r->src_len))) {
		blame(p, r);
		return select_by(p, r);
	}
	if (m != MATCH_ALL)
		return false;
	if (asks(r, RT_TABLE_MAIN)) {
		at->main = r->suppress_len < 0;
		p->min_len = at->main ? 0 : (uint32_t)r->suppress_len + 1;
		return true;
	}
	return false;
}

bool route_local_first(const struct route_input *in, uint8_t family)
{
	return !in->rules || is_local_first(in, family);
}

void route_policy_judge(const struct route_input *in, uint8_t family, struct route_policy *p)
{
	struct progress at = {false, false};
	bool done = false;
	uint32_t i;

	memset(p, 0, sizeof(*p));
	p->slow = in->policy_rules[family == AF_INET6];
	p->fallback = true;
	if (!in->rules || p->slow)
		return;
	p->fallback = false;
	for (i = 0; i < in->rule_cnt; i++) {
		const struct route_rule *r = &in->rules[i];
		enum match m = r->family == family ? match(in, r, SENDING) : MATCH_NEVER;

		if (m == MATCH_NEVER || r->action == FR_ACT_NOP)
			continue;
		add_table(p, r);
		if (at.main && !done) /* for destinations without a route in main */
			p->fallback = m == MATCH_ALL && asks_plainly(r, RT_TABLE_DEFAULT);
		if (at.main || done) {
			done = true; /* of the remaining rules only the tables matter */
			continue;
		}
		done = !step(p, &at, r, m);
		if (done)
			blame(p, r);
	}
	p->slow |= !at.local || (!at.main && !p->min_len);
}

void route_rule_text(const struct route_rule *r, char *text, size_t len)
{
	char from[INET6_ADDRSTRLEN + 4] = "all", to[INET6_ADDRSTRLEN + 8] = "", mark[32] = "",
				     net[INET6_ADDRSTRLEN];

	if (r->src_len)
		snprintf(from, sizeof(from), "%s/%u",
			 inet_ntop(r->family, r->src, net, sizeof(net)), r->src_len);
	if (r->dst_len)
		snprintf(to, sizeof(to), " to %s/%u",
			 inet_ntop(r->family, r->dst, net, sizeof(net)), r->dst_len);
	if (r->mark | r->mark_mask)
		snprintf(mark, sizeof(mark), " fwmark %#x/%#x", r->mark, r->mark_mask);
	snprintf(text, len, "%u:%s from %s%s%s%s%s%s%s lookup %u", r->priority,
		 r->invert ? " not" : "", from, to, mark, r->iif[0] ? " iif " : "", r->iif,
		 r->oif[0] ? " oif " : "", r->oif, r->table);
}
