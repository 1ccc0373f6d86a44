/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/environment/rules_xt.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/x_tables.h>
#include <linux/netfilter/xt_mark.h>
#include <linux/netfilter/xt_tcpudp.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD 32 /* header of an embedded match or target: size, name, revision */

/* ---- matches ---- */

static void add_ports(struct rules *r, uint8_t off, const uint16_t range[2], bool invert)
{
	struct rules_test t = {.space = RULES_UDP,
			       .off = off,
			       .len = 2,
			       .op = invert ? RULES_OUT : RULES_IN,
			       .mask = {0xff, 0xff}};
	uint16_t lo = htons(range[0]), hi = htons(range[1]);

	if (range[0] == 0 && range[1] == UINT16_MAX && !invert)
		return;
	memcpy(t.lo, &lo, 2);
	memcpy(t.hi, &hi, 2);
	rules_add_test(r, &t);
}

static void match_udp(struct rules *r, const void *data, uint32_t len)
{
	struct xt_udp u;

	if (len < sizeof(u)) {
		rules_perhaps(r, false);
		return;
	}
	memcpy(&u, data, sizeof(u));
	add_ports(r, 0, u.spts, u.invflags & XT_UDP_INV_SRCPT);
	add_ports(r, 2, u.dpts, u.invflags & XT_UDP_INV_DSTPT);
}

static void match_mark(struct rules *r, const void *data, uint32_t len)
{
	struct rules_test t = {.space = RULES_META, .off = RULES_META_MARK, .len = 4};
	struct xt_mark_mtinfo1 m;

	if (len < 9) {
		rules_perhaps(r, false);
		return;
	}
	memset(&m, 0, sizeof(m));
	memcpy(&m, data, len < sizeof(m) ? len : sizeof(m));
	t.op = m.invert ? RULES_NE : RULES_EQ;
	memcpy(t.mask, &m.mask, 4);
	memcpy(t.lo, &m.mark, 4);
	rules_add_test(r, &t);
}

void rules_xt_match(struct rules *r, const char *name, uint32_t rev, const void *data, uint32_t len)
{
	static const char *const stateless[] = {
		"multiport", "addrtype", "owner",  "iprange", "length", "pkttype",
		"mac",	     "tos",	 "dscp",   "ttl",     "hl",	"set",
		"physdev",   "cgroup",	 "policy", "cpu",     "u32",	"string"};
	const struct rules_test never = {.op = RULES_NEVER};

	if (!strcmp(name, "comment"))
		return;
	if (!strcmp(name, "udp"))
		match_udp(r, data, len);
	else if (!strcmp(name, "mark") && rev == 1)
		match_mark(r, data, len);
	else if (!strcmp(name, "tcp") || !strcmp(name, "icmp") || !strcmp(name, "icmp6") ||
		 !strcmp(name, "sctp"))
		rules_add_test(r, &never);
	else {
		bool state = true; /* conntrack, limit, recent, and unknown ones */

		for (uint32_t i = 0; i < sizeof(stateless) / sizeof(stateless[0]); i++)
			state &= strcmp(name, stateless[i]) != 0;
		rules_perhaps(r, state);
	}
}

/* ---- targets ---- */

static void dnat(struct rules *r, const char *name, uint32_t rev, const void *data, uint32_t len,
		 uint8_t family)
{
	struct rules_rule *rule = &r->rules[r->rule_cnt - 1];
	struct nf_nat_ipv4_multi_range_compat old;
	struct nf_nat_range range;
	bool redirect = !strcmp(name, "REDIRECT");

	rules_effect(r, RULES_DNAT, name);
	rule->to_host = redirect;
	memset(&range, 0, sizeof(range));
	if (family == NFPROTO_IPV4 && (rev == 0 || redirect)) {
		if (len < sizeof(old))
			return;
		memcpy(&old, data, sizeof(old));
		range.flags = old.range[0].flags;
		range.min_addr.ip = old.range[0].min_ip;
		range.max_addr.ip = old.range[0].max_ip;
		range.min_proto = old.range[0].min;
		range.max_proto = old.range[0].max;
	} else if (len >= sizeof(range)) {
		memcpy(&range, data, sizeof(range));
	} else {
		return;
	}
	if (range.flags & NF_NAT_RANGE_NETMAP)
		return;
	if (!redirect && (range.flags & NF_NAT_RANGE_MAP_IPS) &&
	    !memcmp(&range.min_addr, &range.max_addr, sizeof(range.min_addr))) {
		rule->to_known = true;
		memcpy(rule->to, &range.min_addr, 16);
	}
	if ((range.flags & NF_NAT_RANGE_PROTO_SPECIFIED) &&
	    range.min_proto.all == range.max_proto.all) {
		rule->port_known = true;
		rule->to_port_be = range.min_proto.all;
	}
}

void rules_xt_target(struct rules *r, const char *name, uint32_t rev, const void *data,
		     uint32_t len, uint8_t family)
{
	struct rules_rule *rule = &r->rules[r->rule_cnt - 1];
	uint16_t flags = 0;

	if (!strcmp(name, "LOG") || !strcmp(name, "NFLOG") || !strcmp(name, "TRACE") ||
	    !strcmp(name, "NOTRACK"))
		return;
	if (!strcmp(name, "CT") && len >= 2) {
		memcpy(&flags, data, 2);
		if (flags & 1) /* XT_CT_NOTRACK */
			return;
	}
	if (!strcmp(name, "DNAT") || !strcmp(name, "REDIRECT"))
		dnat(r, name, rev, data, len, family);
	else if (!strcmp(name, "SNAT") || !strcmp(name, "MASQUERADE"))
		rules_effect(r, RULES_SNAT, name);
	else if (!strcmp(name, "NETMAP"))
		rules_effect(r, RULES_DNAT | RULES_SNAT, name);
	else if (!strcmp(name, "MARK"))
		rules_effect(r, RULES_MARK, name);
	else if (!strcmp(name, "REJECT") || !strcmp(name, "DROP") || !strcmp(name, "NFQUEUE")) {
		rules_effect(r, RULES_DROP, name);
		rule->verdict = RULES_STOP;
	} else
		rules_effect(r, RULES_OTHER, name);
}

/* ---- tables of iptables-legacy ---- */

/* Offsets in an entry of either family, in bytes. */
struct layout {
	const char *make;
	uint8_t nfproto, addr_len;
	uint32_t src, dst, smsk, dmsk, iif, oif, iif_mask, oif_mask, proto, flags, inv, target_off,
		next_off, counters, elems;
	uint8_t goto_flag, proto_flag, frag_flag;
};

static const struct layout layouts[2] = {
	{
		.make = "iptables",
		.nfproto = NFPROTO_IPV4,
		.addr_len = 4,
		.src = offsetof(struct ipt_entry, ip.src),
		.dst = offsetof(struct ipt_entry, ip.dst),
		.smsk = offsetof(struct ipt_entry, ip.smsk),
		.dmsk = offsetof(struct ipt_entry, ip.dmsk),
		.iif = offsetof(struct ipt_entry, ip.iniface),
		.oif = offsetof(struct ipt_entry, ip.outiface),
		.iif_mask = offsetof(struct ipt_entry, ip.iniface_mask),
		.oif_mask = offsetof(struct ipt_entry, ip.outiface_mask),
		.proto = offsetof(struct ipt_entry, ip.proto),
		.flags = offsetof(struct ipt_entry, ip.flags),
		.inv = offsetof(struct ipt_entry, ip.invflags),
		.target_off = offsetof(struct ipt_entry, target_offset),
		.next_off = offsetof(struct ipt_entry, next_offset),
		.counters = offsetof(struct ipt_entry, counters),
		.elems = offsetof(struct ipt_entry, elems),
		.goto_flag = IPT_F_GOTO,
		.frag_flag = IPT_F_FRAG,
	},
	{
		.make = "ip6tables",
		.nfproto = NFPROTO_IPV6,
		.addr_len = 16,
		.src = offsetof(struct ip6t_entry, ipv6.src),
		.dst = offsetof(struct ip6t_entry, ipv6.dst),
		.smsk = offsetof(struct ip6t_entry, ipv6.smsk),
		.dmsk = offsetof(struct ip6t_entry, ipv6.dmsk),
		.iif = offsetof(struct ip6t_entry, ipv6.iniface),
		.oif = offsetof(struct ip6t_entry, ipv6.outiface),
		.iif_mask = offsetof(struct ip6t_entry, ipv6.iniface_mask),
		.oif_mask = offsetof(struct ip6t_entry, ipv6.outiface_mask),
		.proto = offsetof(struct ip6t_entry, ipv6.proto),
		.flags = offsetof(struct ip6t_entry, ipv6.flags),
		.inv = offsetof(struct ip6t_entry, ipv6.invflags),
		.target_off = offsetof(struct ip6t_entry, target_offset),
		.next_off = offsetof(struct ip6t_entry, next_offset),
		.counters = offsetof(struct ip6t_entry, counters),
		.elems = offsetof(struct ip6t_entry, elems),
		.goto_flag = IP6T_F_GOTO,
	},
};

static uint16_t u16_at(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, 2);
	return v;
}

static uint32_t u32_at(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return v;
}

/* Returns true if the entry at `off` is complete and has a target. */
static bool is_sound(const struct layout *l, const struct rules_xt_table *t, uint32_t off)
{
	const uint8_t *e = (const uint8_t *)t->entries + off;
	uint32_t target, next;

	if (off > t->size || t->size - off < l->elems)
		return false;
	target = u16_at(e + l->target_off);
	next = u16_at(e + l->next_off);
	return target >= l->elems && next >= target + HEAD && next <= t->size - off &&
	       next % 8 == 0 && u16_at(e + target) >= HEAD && u16_at(e + target) <= next - target;
}

static const char *target_name(const uint8_t *target, char out[32])
{
	memcpy(out, target + 2, 29);
	out[29] = 0;
	return out;
}

static void add_bytes(struct rules *r, uint8_t space, uint8_t off, uint8_t len,
		      const uint8_t *value, const uint8_t *mask, bool invert)
{
	struct rules_test t = {
		.space = space, .off = off, .len = len, .op = invert ? RULES_NE : RULES_EQ};
	static const uint8_t none[16];

	if (!memcmp(mask, none, len) && !invert)
		return;
	for (uint32_t i = 0; i < len; i++) {
		t.mask[i] = mask[i];
		t.lo[i] = value[i] & mask[i];
	}
	rules_add_test(r, &t);
}

static void add_head(struct rules *r, const struct layout *l, const uint8_t *e)
{
	uint8_t flags = e[l->flags], inv = e[l->inv], six = l->addr_len == 16,
		proto = (uint8_t)u16_at(e + l->proto);
	static const uint8_t whole = 0xff;

	add_bytes(r, RULES_NET, six ? 8 : 12, l->addr_len, e + l->src, e + l->smsk,
		  inv & IPT_INV_SRCIP);
	add_bytes(r, RULES_NET, six ? 24 : 16, l->addr_len, e + l->dst, e + l->dmsk,
		  inv & IPT_INV_DSTIP);
	add_bytes(r, RULES_META, RULES_META_IIFNAME, 16, e + l->iif, e + l->iif_mask,
		  inv & IPT_INV_VIA_IN);
	add_bytes(r, RULES_META, RULES_META_OIFNAME, 16, e + l->oif, e + l->oif_mask,
		  inv & IPT_INV_VIA_OUT);
	if (proto)
		add_bytes(r, RULES_META, RULES_META_L4PROTO, 1, &proto, &whole, inv & XT_INV_PROTO);
	if ((flags & l->frag_flag) || (inv & (IPT_INV_TOS | IPT_INV_FRAG)))
		rules_perhaps(r, false);
}

static void add_matches(struct rules *r, const struct layout *l, const uint8_t *e)
{
	uint32_t at = l->elems, end = u16_at(e + l->target_off);
	char name[32];

	while (end - at >= HEAD) {
		uint32_t len = u16_at(e + at);

		if (len < HEAD || len > end - at)
			break;
		rules_xt_match(r, target_name(e + at, name), e[at + HEAD - 1], e + at + HEAD,
			       len - HEAD);
		at += len;
	}
	if (at != end)
		rules_perhaps(r, true);
}

/* Chains by offset. */
struct starts {
	uint32_t *off, *chain;
	uint32_t cnt;
};

static uint32_t chain_at(const struct starts *s, uint32_t off)
{
	for (uint32_t lo = 0, hi = s->cnt; lo < hi;) {
		uint32_t mid = (lo + hi) / 2;

		if (s->off[mid] == off)
			return s->chain[mid];
		if (s->off[mid] < off)
			lo = mid + 1;
		else
			hi = mid;
	}
	return RULES_NONE;
}

static void add_target(struct rules *r, const struct layout *l, const struct starts *s,
		       const uint8_t *e, uint32_t next)
{
	const uint8_t *target = e + u16_at(e + l->target_off);
	uint32_t len = u16_at(target), idx = r->rule_cnt - 1;
	char name[32];
	int32_t verdict;

	if (target_name(target, name)[0]) {
		rules_xt_target(r, name, target[HEAD - 1], target + HEAD, len - HEAD, l->nfproto);
		return;
	}
	verdict = len >= HEAD + 4 ? (int32_t)u32_at(target + HEAD) : -1;
	if (verdict == -NF_ACCEPT - 1) {
		r->rules[idx].verdict = RULES_ACCEPT;
	} else if (verdict == XT_RETURN) {
		r->rules[idx].verdict = RULES_RETURN;
	} else if (verdict >= 0) {
		if ((uint32_t)verdict == next)
			return; /* no target */
		r->rules[idx].verdict = e[l->flags] & l->goto_flag ? RULES_GOTO : RULES_JUMP;
		r->rules[idx].target = chain_at(s, (uint32_t)verdict);
	} else {
		r->rules[idx].verdict = RULES_STOP;
		rules_effect(r, RULES_DROP, "DROP");
	}
}

static uint32_t hook_at(const struct rules_xt_table *t, uint32_t off)
{
	for (uint32_t h = 0; h < 5; h++)
		if ((t->valid_hooks & 1u << h) && t->hook_entry[h] == off)
			return h;
	return RULES_NONE;
}

static bool add_start(struct rules *r, const struct layout *l, const struct rules_xt_table *t,
		      struct starts *s, uint32_t off, const char *name)
{
	static const uint32_t bits[5] = {RULES_PREROUTING, RULES_INPUT, RULES_FORWARD, RULES_OUTPUT,
					 RULES_POSTROUTING};
	static const char *const names[5] = {"PREROUTING", "INPUT", "FORWARD", "OUTPUT",
					     "POSTROUTING"};
	uint32_t hook = hook_at(t, off);
	struct rules_chain *ch;

	ch = rules_add_chain(r, l->make, l->nfproto, t->name,
			     hook == RULES_NONE ? name : names[hook]);
	if (!ch)
		return false;
	if (hook != RULES_NONE) {
		ch->hook = bits[hook];
		ch->nat = !strcmp(t->name, "nat");
	}
	s->off[s->cnt] = off;
	s->chain[s->cnt++] = r->chain_cnt - 1;
	return true;
}

/* Chains begin at the hooks, and after error targets, which carry their names. */
static bool find_starts(struct rules *r, const struct layout *l, const struct rules_xt_table *t,
			struct starts *s)
{
	const uint8_t *all = t->entries;
	char name[XT_FUNCTION_MAXNAMELEN + 1] = "";
	bool begins = false;

	for (uint32_t off = 0, next; off < t->size; off = next) {
		const uint8_t *target;
		char what[32];

		if (!is_sound(l, t, off))
			return false;
		next = off + u16_at(all + off + l->next_off);
		target = all + off + u16_at(all + off + l->target_off);
		if ((begins || hook_at(t, off) != RULES_NONE) && !add_start(r, l, t, s, off, name))
			return false;
		begins = !strcmp(target_name(target, what), "ERROR");
		if (begins && u16_at(target) >= HEAD + XT_FUNCTION_MAXNAMELEN)
			memcpy(name, target + HEAD, XT_FUNCTION_MAXNAMELEN);
	}
	return true;
}

static bool add_entries(struct rules *r, const struct layout *l, const struct rules_xt_table *t,
			const struct starts *s)
{
	const uint8_t *all = t->entries;
	uint32_t chain = RULES_NONE;

	for (uint32_t off = 0, next; off < t->size; off = next) {
		const uint8_t *e = all + off;
		char what[32];

		next = off + u16_at(e + l->next_off);
		if (chain_at(s, off) != RULES_NONE)
			chain = chain_at(s, off);
		if (!strcmp(target_name(e + u16_at(e + l->target_off), what), "ERROR"))
			continue;
		if (chain == RULES_NONE || !rules_add_rule(r, chain))
			return false;
		add_head(r, l, e);
		add_matches(r, l, e);
		add_target(r, l, s, e, next);
	}
	return !r->failed;
}

/* RETURN in a base chain means its policy, which is at the underflow. */
static bool set_policies(struct rules *r, const struct layout *l, const struct rules_xt_table *t,
			 const struct starts *s)
{
	for (uint32_t h = 0; h < 5; h++) {
		const uint8_t *target;
		uint32_t chain;

		if (!(t->valid_hooks & 1u << h))
			continue;
		chain = chain_at(s, t->hook_entry[h]);
		if (chain == RULES_NONE || !is_sound(l, t, t->underflow[h]))
			return false;
		target = (const uint8_t *)t->entries + t->underflow[h];
		target += u16_at(target + l->target_off);
		if (u16_at(target) < HEAD + 4)
			return false;
		r->chains[chain].drop = (int32_t)u32_at(target + HEAD) != -NF_ACCEPT - 1;
	}
	return true;
}

bool rules_xt_add(struct rules *r, uint8_t family, const struct rules_xt_table *t)
{
	const struct layout *l = &layouts[family == AF_INET6];
	uint32_t most = t->size / (l->elems + HEAD) + 1;
	struct starts s = {malloc(most * 4), malloc(most * 4), 0};
	bool ok = s.off && s.chain && find_starts(r, l, t, &s) && add_entries(r, l, t, &s) &&
		  set_policies(r, l, t, &s);

	free(s.off);
	free(s.chain);
	return ok;
}

uint64_t rules_xt_hash(uint8_t family, const struct rules_xt_table *t)
{
	const struct layout *l = &layouts[family == AF_INET6];
	const uint8_t *all = t->entries;
	uint64_t h = 0xcbf29ce484222325ull;

	for (uint32_t off = 0; off < t->size;) {
		uint32_t next =
			is_sound(l, t, off) ? off + u16_at(all + off + l->next_off) : t->size;

		for (uint32_t i = off; i < next; i++)
			if (i - off < l->counters || i - off >= l->elems)
				h = (h ^ all[i]) * 0x100000001b3ull;
		off = next;
	}
	return h;
}
