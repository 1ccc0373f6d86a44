/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/environment/rules_nft.h"

#include "sidecar/environment/attrs.h"
#include "sidecar/environment/rules_xt.h"
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>

#define NAME	    256 /* NFT_NAME_MAXLEN */
#define SLOTS	    16	/* registers of 4 bytes */
#define DEVICE_NAME 1	/* NFTA_DEVICE_NAME, in all headers since 5.5 */

static const char make[] = "nft";

/* ---- chains ---- */

static uint32_t hook_bit(uint8_t family, uint32_t num)
{
	if (family == NFPROTO_NETDEV)
		return num == 0 ? RULES_INGRESS : num == 1 ? RULES_EGRESS : 0;
	switch (num) {
	case NF_INET_PRE_ROUTING: return RULES_PREROUTING;
	case NF_INET_LOCAL_IN: return RULES_INPUT;
	case NF_INET_FORWARD: return RULES_FORWARD;
	case NF_INET_LOCAL_OUT: return RULES_OUTPUT;
	case NF_INET_POST_ROUTING: return RULES_POSTROUTING;
	case 5: /* NF_INET_INGRESS, 5.10 */ return family == NFPROTO_INET ? RULES_INGRESS : 0;
	default: return 0;
	}
}

/* Returns true if the chain is hooked to devices by name, and ours is not among them. */
static bool hooks_others(const struct attrs *hook, const char *ifname)
{
	const struct nlattr *devs = hook->at[NFTA_HOOK_DEVS], *n;
	char name[32];

	if (hook->at[NFTA_HOOK_DEV] &&
	    !strcmp(attrs_string(hook->at[NFTA_HOOK_DEV], name, sizeof(name)), ifname))
		return false;
	if (devs) {
		mnl_attr_for_each_nested(n, devs)
			if (mnl_attr_get_type(n) != DEVICE_NAME ||
			    !strcmp(attrs_string(n, name, sizeof(name)), ifname))
				return false; /* ours, or a pattern */
		return true;
	}
	return hook->at[NFTA_HOOK_DEV] != NULL;
}

void rules_nft_chain(struct rules *r, const struct nlmsghdr *nlh, const char *ifname)
{
	char table[NAME], name[NAME], type[16];
	const struct nfgenmsg *g = mnl_nlmsg_get_payload(nlh);
	struct rules_chain *ch;
	struct attrs a, hook;

	if (!attrs_of_message(&a, nlh, sizeof(*g)))
		return;
	ch = rules_add_chain(r, make, g->nfgen_family,
			     attrs_string(a.at[NFTA_CHAIN_TABLE], table, NAME),
			     attrs_string(a.at[NFTA_CHAIN_NAME], name, NAME));
	if (!ch || !a.at[NFTA_CHAIN_HOOK])
		return;
	attrs_nested(&hook, a.at[NFTA_CHAIN_HOOK]);
	ch->hook = hook_bit(g->nfgen_family, attrs_be32(&hook, NFTA_HOOK_HOOKNUM, UINT32_MAX));
	ch->nat = !strcmp(attrs_string(a.at[NFTA_CHAIN_TYPE], type, sizeof(type)), "nat");
	ch->drop = attrs_be32(&a, NFTA_CHAIN_POLICY, NF_ACCEPT) != NF_ACCEPT;
	ch->other_device = hooks_others(&hook, ifname);
}

/* ---- verdicts ---- */

/* Returns an enum rules_verdict; *target is set for a jump. */
static uint32_t verdict_of(const struct rules *r, uint8_t family, const char *table,
			   const struct attrs *data, uint32_t *target, int32_t *code)
{
	struct attrs v;
	char name[NAME];

	attrs_nested(&v, data->at[NFTA_DATA_VERDICT]);
	*target = RULES_NONE;
	*code = (int32_t)attrs_be32(&v, NFTA_VERDICT_CODE, NF_DROP);
	switch (*code) {
	case NFT_CONTINUE:
	case NFT_BREAK: return RULES_CONTINUE;
	case NFT_RETURN: return RULES_RETURN;
	case NFT_JUMP:
	case NFT_GOTO:
		*target = rules_find_chain(r, make, family, table,
					   attrs_string(v.at[NFTA_VERDICT_CHAIN], name, NAME));
		return *code == NFT_JUMP ? RULES_JUMP : RULES_GOTO;
	case NF_ACCEPT: return RULES_ACCEPT;
	default: return RULES_STOP;
	}
}

/* ---- sets ---- */

/* Reads the fields of a key that has several. Returns false if there are too many, or the kernel
 * does not name them. */
static bool read_fields(struct rules_set *s, const struct nlattr *desc)
{
	const struct nlattr *list, *n;
	struct attrs a, field;
	uint32_t len, sum = 0;

	attrs_nested(&a, desc);
	list = a.at[NFTA_SET_DESC_CONCAT];
	if (!list)
		return false;
	mnl_attr_for_each_nested(n, list) {
		attrs_nested(&field, n);
		len = attrs_be32(&field, NFTA_SET_FIELD_LEN, 0);
		if (!len || len > RULES_KEY || s->field_cnt == RULES_FIELDS)
			return false;
		s->field[s->field_cnt++] = (uint8_t)len;
		sum += (len + 3) & ~3u;
	}
	return s->field_cnt && sum == s->key_len;
}

void rules_nft_set(struct rules *r, const struct nlmsghdr *nlh)
{
	const struct nfgenmsg *g = mnl_nlmsg_get_payload(nlh);
	char table[NAME], name[NAME];
	struct rules_set *s;
	struct attrs a;
	uint32_t flags;

	if (!attrs_of_message(&a, nlh, sizeof(*g)))
		return;
	s = rules_add_set(r, g->nfgen_family, attrs_string(a.at[NFTA_SET_TABLE], table, NAME),
			  attrs_string(a.at[NFTA_SET_NAME], name, NAME));
	if (!s)
		return;
	flags = attrs_be32(&a, NFTA_SET_FLAGS, 0);
	s->key_len = attrs_be32(&a, NFTA_SET_KEY_LEN, 0);
	s->ranges = flags & NFT_SET_INTERVAL;
	s->verdicts =
		flags & NFT_SET_MAP && attrs_be32(&a, NFTA_SET_DATA_TYPE, 0) == NFT_DATA_VERDICT;
	s->changing = flags & NFT_SET_EVAL;
	s->doubtful = flags & (NFT_SET_TIMEOUT | NFT_SET_EXPR);
	s->unread = !s->key_len || s->key_len > RULES_KEY ||
		    (s->ranges && flags & NFT_SET_CONCAT && !read_fields(s, a.at[NFTA_SET_DESC]));
}

/* Returns NULL if the length is not that of the set's keys. */
static const uint8_t *key_of(const struct rules_set *s, const struct nlattr *n)
{
	struct attrs data;

	attrs_nested(&data, n);
	return data.at[NFTA_DATA_VALUE] &&
			       mnl_attr_get_payload_len(data.at[NFTA_DATA_VALUE]) == s->key_len
		       ? mnl_attr_get_payload(data.at[NFTA_DATA_VALUE])
		       : NULL;
}

static void read_element(struct rules *r, uint32_t set, uint8_t family, const char *table,
			 const struct attrs *a)
{
	struct rules_set *s = &r->sets[set];
	const uint8_t *lo = key_of(s, a->at[NFTA_SET_ELEM_KEY]),
		      *hi = key_of(s, a->at[NFTA_SET_ELEM_KEY_END]);
	uint32_t flags = attrs_be32(a, NFTA_SET_ELEM_FLAGS, 0);
	struct rules_element e = {.target = RULES_NONE, .end = flags & NFT_SET_ELEM_INTERVAL_END};
	struct attrs data;
	int32_t code;

	if (a->at[NFTA_SET_ELEM_EXPR] || a->at[NFTA_SET_ELEM_EXPRESSIONS])
		s->doubtful = true;
	if (s->verdicts && !e.end) {
		attrs_nested(&data, a->at[NFTA_SET_ELEM_DATA]);
		e.verdict = (uint8_t)verdict_of(r, family, table, &data, &e.target, &code);
	}
	if (flags & NFT_SET_ELEM_CATCHALL) {
		s->has_rest = true;
		s->rest = e;
	} else if (!lo || (e.end && !s->ranges) || (hi && !s->ranges) || (!hi && s->field_cnt)) {
		s->unread = true;
	} else {
		rules_add_element(r, set, &e, lo, hi);
	}
}

void rules_nft_elements(struct rules *r, const struct nlmsghdr *nlh)
{
	const struct nfgenmsg *g = mnl_nlmsg_get_payload(nlh);
	char table[NAME], name[NAME];
	const struct nlattr *n;
	struct attrs a, e;
	uint32_t set;

	if (!attrs_of_message(&a, nlh, sizeof(*g)))
		return;
	attrs_string(a.at[NFTA_SET_ELEM_LIST_TABLE], table, NAME);
	set = rules_find_set(r, g->nfgen_family, table,
			     attrs_string(a.at[NFTA_SET_ELEM_LIST_SET], name, NAME));
	if (set == RULES_NONE || r->sets[set].unread || !a.at[NFTA_SET_ELEM_LIST_ELEMENTS])
		return;
	mnl_attr_for_each_nested(n, a.at[NFTA_SET_ELEM_LIST_ELEMENTS]) {
		attrs_nested(&e, n);
		read_element(r, set, g->nfgen_family, table, &e);
		if (r->failed)
			return;
	}
}

/* ---- rules ---- */

struct reg {
	enum { UNKNOWN, LOADED, CONSTANT } kind;
	bool state;
	struct rules_test source; /* LOADED */
	uint8_t value[16];	  /* CONSTANT */
	uint32_t len;
};

struct machine {
	struct rules *r;
	uint32_t rule_idx;
	uint8_t family;
	char table[NAME];
	struct reg reg[SLOTS];
};

static struct rules_rule *rule_of(const struct machine *m)
{
	return &m->r->rules[m->rule_idx];
}

static struct reg *reg_at(struct machine *m, uint32_t number)
{
	static const uint32_t first32 = 8; /* NFT_REG32_00 */

	if (number >= 1 && number <= 4)
		return &m->reg[(number - 1) * 4];
	return number >= first32 && number < first32 + SLOTS ? &m->reg[number - first32] : NULL;
}

/* Forgets the content of a register, and of those that a long value reaches into. */
static struct reg *overwrite(struct machine *m, uint32_t number, uint32_t len, bool state)
{
	struct reg *g = reg_at(m, number);
	uint32_t slots = (len + 3) / 4;

	if (!g)
		return NULL;
	for (uint32_t i = 0; i < (slots ? slots : 1) && g + i < m->reg + SLOTS; i++)
		g[i] = (struct reg){.kind = UNKNOWN, .state = state};
	return g;
}

static void load(struct machine *m, uint32_t number, uint8_t space, uint32_t off, uint32_t len)
{
	struct reg *g = overwrite(m, number, len, false);

	if (!g || !len || len > 16 || off > UINT8_MAX)
		return;
	g->kind = LOADED;
	g->source = (struct rules_test){.space = space, .off = (uint8_t)off, .len = (uint8_t)len};
	memset(g->source.mask, 0xff, len);
}

static void do_meta(struct machine *m, const struct attrs *a)
{
	static const struct {
		uint32_t key;
		uint8_t meta, len;
	} keys[] = {
		{NFT_META_PROTOCOL, RULES_META_PROTOCOL, 2},
		{NFT_META_NFPROTO, RULES_META_NFPROTO, 1},
		{NFT_META_L4PROTO, RULES_META_L4PROTO, 1},
		{NFT_META_IIF, RULES_META_IIF, 4},
		{NFT_META_OIF, RULES_META_OIF, 4},
		{NFT_META_IIFNAME, RULES_META_IIFNAME, 16},
		{NFT_META_OIFNAME, RULES_META_OIFNAME, 16},
		{NFT_META_MARK, RULES_META_MARK, 4},
	};
	uint32_t key = attrs_be32(a, NFTA_META_KEY, UINT32_MAX),
		 dreg = attrs_be32(a, NFTA_META_DREG, 0);

	if (!a->at[NFTA_META_DREG]) {
		if (key != NFT_META_NFTRACE)
			rules_effect(m->r, RULES_MARK,
				     key == NFT_META_MARK ? "meta mark set" : "meta set");
		return;
	}
	for (uint32_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (keys[i].key == key) {
			load(m, dreg, RULES_META, keys[i].meta, keys[i].len);
			return;
		}
	}
	overwrite(m, dreg, 16, false);
}

static void do_payload(struct machine *m, const struct attrs *a)
{
	uint32_t base = attrs_be32(a, NFTA_PAYLOAD_BASE, UINT32_MAX),
		 dreg = attrs_be32(a, NFTA_PAYLOAD_DREG, 0);
	uint32_t off = attrs_be32(a, NFTA_PAYLOAD_OFFSET, UINT32_MAX),
		 len = attrs_be32(a, NFTA_PAYLOAD_LEN, 0);

	if (a->at[NFTA_PAYLOAD_SREG])
		rules_effect(m->r, RULES_OTHER, "payload set");
	else if (base == NFT_PAYLOAD_NETWORK_HEADER)
		load(m, dreg, RULES_NET, off, len);
	else if (base == NFT_PAYLOAD_TRANSPORT_HEADER)
		load(m, dreg, RULES_UDP, off, len);
	else
		overwrite(m, dreg, len, false);
}

static bool value_of(const struct nlattr *n, uint8_t out[16], uint32_t *len)
{
	struct attrs data;

	attrs_nested(&data, n);
	if (!data.at[NFTA_DATA_VALUE] || mnl_attr_get_payload_len(data.at[NFTA_DATA_VALUE]) > 16)
		return false;
	*len = mnl_attr_get_payload_len(data.at[NFTA_DATA_VALUE]);
	memset(out, 0, 16);
	memcpy(out, mnl_attr_get_payload(data.at[NFTA_DATA_VALUE]), *len);
	return *len != 0;
}

static void add_test(struct machine *m, uint32_t sreg, uint8_t op, const struct nlattr *lo,
		     const struct nlattr *hi)
{
	const struct reg *g = reg_at(m, sreg);
	struct rules_test t;
	uint32_t len, len2;

	if (!g || g->kind != LOADED) {
		rules_perhaps(m->r, g && g->state);
		return;
	}
	t = g->source;
	t.op = op;
	if (!value_of(lo, t.lo, &len) || len > t.len ||
	    (hi && (!value_of(hi, t.hi, &len2) || len2 != len))) {
		rules_perhaps(m->r, false);
		return;
	}
	t.len = (uint8_t)len;
	rules_add_test(m->r, &t);
}

static void do_cmp(struct machine *m, const struct attrs *a)
{
	static const uint8_t ops[] = {
		[NFT_CMP_EQ] = RULES_EQ,  [NFT_CMP_NEQ] = RULES_NE, [NFT_CMP_LT] = RULES_LT,
		[NFT_CMP_LTE] = RULES_LE, [NFT_CMP_GT] = RULES_GT,  [NFT_CMP_GTE] = RULES_GE};
	uint32_t op = attrs_be32(a, NFTA_CMP_OP, UINT32_MAX);

	if (op < sizeof(ops))
		add_test(m, attrs_be32(a, NFTA_CMP_SREG, 0), ops[op], a->at[NFTA_CMP_DATA], NULL);
	else
		rules_perhaps(m->r, false);
}

static void do_range(struct machine *m, const struct attrs *a)
{
	if (!a->at[NFTA_RANGE_FROM_DATA] || !a->at[NFTA_RANGE_TO_DATA])
		rules_perhaps(m->r, false);
	else
		add_test(m, attrs_be32(a, NFTA_RANGE_SREG, 0),
			 attrs_be32(a, NFTA_RANGE_OP, NFT_RANGE_EQ) ? RULES_OUT : RULES_IN,
			 a->at[NFTA_RANGE_FROM_DATA], a->at[NFTA_RANGE_TO_DATA]);
}

static void do_bitwise(struct machine *m, const struct attrs *a)
{
	struct reg *from = reg_at(m, attrs_be32(a, NFTA_BITWISE_SREG, 0)), *to, was;
	uint32_t op = attrs_be32(a, NFTA_BITWISE_OP, 0), len = attrs_be32(a, NFTA_BITWISE_LEN, 16),
		 mask_len, flip_len;
	uint8_t mask[16], flip[16];

	was = from ? *from : (struct reg){.kind = UNKNOWN};
	to = overwrite(m, attrs_be32(a, NFTA_BITWISE_DREG, 0), len, was.state);
	if (!to || was.kind != LOADED || op != 0 /* mask and xor */ ||
	    !value_of(a->at[NFTA_BITWISE_MASK], mask, &mask_len) ||
	    !value_of(a->at[NFTA_BITWISE_XOR], flip, &flip_len))
		return;
	for (uint32_t i = 0; i < 16; i++) {
		was.source.mask[i] &= mask[i];
		was.source.flip[i] = (was.source.flip[i] & mask[i]) ^ flip[i];
	}
	*to = was;
}

/* An unknown part of a key. */
static struct rules_test unknown_part(const struct reg *g, uint32_t len)
{
	struct rules_test t = {.space = RULES_META,
			       .off = RULES_META_OTHER,
			       .len = (uint8_t)len,
			       .state = g->state};

	memset(t.mask, 0xff, len);
	return t;
}

/* The key is in the registers from the first on. Returns RULES_NONE if that cannot be. */
static uint32_t add_lookup(struct machine *m, uint32_t set, uint32_t sreg, bool invert)
{
	const struct reg *g = reg_at(m, sreg);
	uint32_t len = m->r->sets[set].key_len, lookup;

	if (!g || m->r->sets[set].unread || g + (len + 3) / 4 > m->reg + SLOTS)
		return RULES_NONE;
	lookup = rules_add_lookup(m->r, set, invert);
	for (uint32_t at = 0; at < len && lookup != RULES_NONE;) {
		uint32_t most = len - at;
		struct rules_test t =
			g->kind == LOADED ? g->source : unknown_part(g, most < 4 ? most : 4);

		t.len = (uint8_t)(t.len < most ? t.len : most);
		t.at = (uint8_t)at;
		rules_add_part(m->r, &t);
		at += (t.len + 3) & ~3u;
		g += (t.len + 3) / 4;
	}
	return lookup;
}

static void do_lookup(struct machine *m, const struct attrs *a)
{
	char name[NAME];
	const struct reg *g = reg_at(m, attrs_be32(a, NFTA_LOOKUP_SREG, 0));
	uint32_t dreg = attrs_be32(a, NFTA_LOOKUP_DREG, UINT32_MAX), lookup = RULES_NONE;
	uint32_t set = rules_find_set(m->r, m->family, m->table,
				      attrs_string(a->at[NFTA_LOOKUP_SET], name, NAME));
	bool state = g && g->state;

	if (set != RULES_NONE)
		lookup = add_lookup(m, set, attrs_be32(a, NFTA_LOOKUP_SREG, 0),
				    attrs_be32(a, NFTA_LOOKUP_FLAGS, 0) & NFT_LOOKUP_F_INV);
	if (dreg == NFT_REG_VERDICT && lookup != RULES_NONE && m->r->sets[set].verdicts) {
		rule_of(m)->verdict = RULES_MAP;
		rule_of(m)->target = lookup;
		return;
	}
	if (dreg == NFT_REG_VERDICT) {
		rules_effect(m->r, RULES_DROP | RULES_DNAT | RULES_SNAT | RULES_MARK | RULES_OTHER,
			     "verdict map");
		return;
	}
	if (a->at[NFTA_LOOKUP_DREG])
		overwrite(m, dreg, RULES_KEY, state);
	if (lookup == RULES_NONE)
		rules_perhaps(m->r, state);
	else
		rules_add_test(m->r, &(struct rules_test){.op = RULES_SET, .lookup = lookup});
}

/* Datagrams change the set, so it counts as unknown. */
static void do_dynset(struct machine *m, const struct attrs *a)
{
	char name[NAME];
	uint32_t set = rules_find_set(m->r, m->family, m->table,
				      attrs_string(a->at[NFTA_DYNSET_SET_NAME], name, NAME));

	if (set != RULES_NONE)
		m->r->sets[set].changing = true;
	rules_effect(m->r, RULES_ADD, "dynset");
}

static void do_fib(struct machine *m, const struct attrs *a)
{
	uint32_t dreg = attrs_be32(a, NFTA_FIB_DREG, 0), flags = attrs_be32(a, NFTA_FIB_FLAGS, 0);

	if (attrs_be32(a, NFTA_FIB_RESULT, 0) != NFT_FIB_RESULT_ADDRTYPE)
		overwrite(m, dreg, 16, false);
	else if (flags == NFTA_FIB_F_DADDR)
		load(m, dreg, RULES_META, RULES_META_DADDR_TYPE, 4);
	else if (flags == NFTA_FIB_F_SADDR)
		load(m, dreg, RULES_META, RULES_META_SADDR_TYPE, 4);
	else
		overwrite(m, dreg, 16, false);
}

static void do_verdict(struct machine *m, const struct attrs *data)
{
	struct rules_rule *rule = rule_of(m);
	int32_t code;

	rule->verdict = verdict_of(m->r, m->family, m->table, data, &rule->target, &code);
	if (rule->verdict == RULES_STOP)
		rules_effect(m->r, RULES_DROP, code == NF_DROP ? "drop" : "queue");
}

static void do_immediate(struct machine *m, const struct attrs *a)
{
	uint32_t dreg = attrs_be32(a, NFTA_IMMEDIATE_DREG, 0), len;
	struct attrs data;
	uint8_t value[16];
	struct reg *g;

	attrs_nested(&data, a->at[NFTA_IMMEDIATE_DATA]);
	if (data.at[NFTA_DATA_VERDICT]) {
		do_verdict(m, &data);
		return;
	}
	g = overwrite(m, dreg, 16, false);
	if (!g || !value_of(a->at[NFTA_IMMEDIATE_DATA], value, &len))
		return;
	g->kind = CONSTANT;
	g->len = len;
	memcpy(g->value, value, 16);
}

static const struct reg *constant(struct machine *m, const struct attrs *a, uint32_t type,
				  uint32_t last)
{
	const struct reg *g = a->at[type] ? reg_at(m, attrs_be32(a, type, 0)) : NULL;

	if (a->at[last] && attrs_be32(a, last, 0) != attrs_be32(a, type, 0))
		return NULL; /* a range */
	return g && g->kind == CONSTANT ? g : NULL;
}

static void set_port(struct rules_rule *rule, const struct reg *port)
{
	if (port && port->len >= 2) {
		rule->port_known = true;
		memcpy(&rule->to_port_be, port->value, 2);
	}
}

static void do_nat(struct machine *m, const struct attrs *a)
{
	const struct reg *addr = constant(m, a, NFTA_NAT_REG_ADDR_MIN, NFTA_NAT_REG_ADDR_MAX);
	struct rules_rule *rule = rule_of(m);

	if (attrs_be32(a, NFTA_NAT_TYPE, NFT_NAT_DNAT) == NFT_NAT_SNAT) {
		rules_effect(m->r, RULES_SNAT, "snat");
		return;
	}
	rules_effect(m->r, RULES_DNAT, "dnat");
	if (attrs_be32(a, NFTA_NAT_FLAGS, 0) & (1 << 6)) /* NF_NAT_RANGE_NETMAP */
		return;
	if (addr) {
		rule->to_known = true;
		memcpy(rule->to, addr->value, 16);
	}
	set_port(rule, constant(m, a, NFTA_NAT_REG_PROTO_MIN, NFTA_NAT_REG_PROTO_MAX));
}

static void do_redir(struct machine *m, const struct attrs *a)
{
	rules_effect(m->r, RULES_DNAT, "redirect");
	rule_of(m)->to_host = true;
	set_port(rule_of(m), constant(m, a, NFTA_REDIR_REG_PROTO_MIN, NFTA_REDIR_REG_PROTO_MAX));
}

static void do_ct(struct machine *m, const struct attrs *a)
{
	if (a->at[NFTA_CT_DREG])
		overwrite(m, attrs_be32(a, NFTA_CT_DREG, 0), 16, true);
	else
		rules_effect(m->r, RULES_OTHER, "ct set");
}

static void do_xt(struct machine *m, const struct attrs *a, bool target)
{
	char name[32];
	const struct nlattr *info = a->at[target ? NFTA_TARGET_INFO : NFTA_MATCH_INFO];
	uint32_t rev = attrs_be32(a, target ? NFTA_TARGET_REV : NFTA_MATCH_REV, 0),
		 len = info ? mnl_attr_get_payload_len(info) : 0;
	const void *data = info ? mnl_attr_get_payload(info) : NULL;

	attrs_string(a->at[target ? NFTA_TARGET_NAME : NFTA_MATCH_NAME], name, sizeof(name));
	if (target)
		rules_xt_target(m->r, name, rev, data, len, m->family);
	else
		rules_xt_match(m->r, name, rev, data, len);
}

/* Expressions that load a register with an unknown value. state: the value depends on earlier
 * datagrams. */
static void do_unknown(struct machine *m, const struct attrs *a, uint32_t dreg, bool state)
{
	if (a->at[dreg])
		overwrite(m, attrs_be32(a, dreg, 0), 16, state);
	else
		rules_effect(m->r, RULES_OTHER, "set");
}

static bool is_one_of(const char *name, const char *const *list)
{
	for (; *list; list++)
		if (!strcmp(name, *list))
			return true;
	return false;
}

static void do_expression(struct machine *m, const char *name, const struct attrs *a)
{
	static const char *const none[] = {"counter", "log",	      "last",
					   "notrack", "flow_offload", NULL};
	static const char *const limits[] = {"limit", "quota", "connlimit", NULL};
	static const char *const drops[] = {"reject", "queue", NULL};

	if (!strcmp(name, "meta"))
		do_meta(m, a);
	else if (!strcmp(name, "payload"))
		do_payload(m, a);
	else if (!strcmp(name, "cmp"))
		do_cmp(m, a);
	else if (!strcmp(name, "range"))
		do_range(m, a);
	else if (!strcmp(name, "bitwise"))
		do_bitwise(m, a);
	else if (!strcmp(name, "lookup"))
		do_lookup(m, a);
	else if (!strcmp(name, "immediate"))
		do_immediate(m, a);
	else if (!strcmp(name, "nat"))
		do_nat(m, a);
	else if (!strcmp(name, "masq"))
		rules_effect(m->r, RULES_SNAT, "masquerade");
	else if (!strcmp(name, "redir"))
		do_redir(m, a);
	else if (!strcmp(name, "ct"))
		do_ct(m, a);
	else if (!strcmp(name, "match") || !strcmp(name, "target"))
		do_xt(m, a, name[0] == 't');
	else if (!strcmp(name, "fib"))
		do_fib(m, a);
	else if (!strcmp(name, "dynset"))
		do_dynset(m, a);
	else if (!strcmp(name, "numgen"))
		do_unknown(m, a, NFTA_NG_DREG, true);
	else if (!strcmp(name, "hash"))
		do_unknown(m, a, NFTA_HASH_DREG, false);
	else if (!strcmp(name, "rt"))
		do_unknown(m, a, NFTA_RT_DREG, false);
	else if (!strcmp(name, "socket"))
		do_unknown(m, a, NFTA_SOCKET_DREG, false);
	else if (!strcmp(name, "exthdr"))
		do_unknown(m, a, NFTA_EXTHDR_DREG, false);
	else if (!strcmp(name, "byteorder"))
		do_unknown(m, a, NFTA_BYTEORDER_DREG, false);
	else if (is_one_of(name, limits))
		rules_perhaps(m->r, true);
	else if (is_one_of(name, drops))
		rules_effect(m->r, RULES_DROP, name);
	else if (!is_one_of(name, none))
		rules_effect(m->r, RULES_OTHER,
			     name); /* tproxy, dup, fwd, objref, synproxy, and future ones */
}

void rules_nft_rule(struct rules *r, const struct nlmsghdr *nlh)
{
	const struct nfgenmsg *g = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *n;
	struct machine m = {.r = r};
	char name[NAME];
	uint32_t chain;
	struct attrs a, expr, data;

	if (!attrs_of_message(&a, nlh, sizeof(*g)))
		return;
	m.family = g->nfgen_family;
	attrs_string(a.at[NFTA_RULE_TABLE], m.table, NAME);
	chain = rules_find_chain(r, make, m.family, m.table,
				 attrs_string(a.at[NFTA_RULE_CHAIN], name, NAME));
	if (chain == RULES_NONE || !rules_add_rule(r, chain))
		return;
	m.rule_idx = r->rule_cnt - 1;
	if (!a.at[NFTA_RULE_EXPRESSIONS])
		return;
	mnl_attr_for_each_nested(n, a.at[NFTA_RULE_EXPRESSIONS]) {
		attrs_nested(&expr, n);
		attrs_nested(&data, expr.at[NFTA_EXPR_DATA]);
		do_expression(&m, attrs_string(expr.at[NFTA_EXPR_NAME], name, NAME), &data);
		if (r->failed)
			return;
	}
}
