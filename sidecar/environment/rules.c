/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/environment/rules.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH 32       /* of jumps; the kernel allows 16 in nftables */
#define STEPS 2000000u /* rules looked at for one question; more: in doubt */

/* ---- building ---- */

void rules_free(struct rules *r)
{
	free(r->tests);
	free(r->rules);
	free(r->chains);
	free(r->index);
	memset(r, 0, sizeof(*r));
}

static bool grow(struct rules *r, void **items, uint32_t cnt, uint32_t *room, size_t size)
{
	uint32_t more = *room ? 2 * *room : 64;
	void *bigger;

	if (cnt < *room)
		return true;
	bigger = realloc(*items, more * size);
	if (!bigger) {
		r->failed = true;
		return false;
	}
	*items = bigger;
	*room = more;
	return true;
}

static uint64_t hash_more(uint64_t h, const char *s)
{
	do
		h = (h ^ (uint8_t)*s) * 0x100000001b3ull;
	while (*s++);
	return h;
}

static uint64_t hash_of(const char *make, uint8_t family, const char *table, const char *name)
{
	uint64_t h = 0xcbf29ce484222325ull ^ family;

	return hash_more(hash_more(hash_more(h, make), table), name);
}

static uint32_t *index_at(const struct rules *r, uint64_t hash)
{
	uint32_t i = (uint32_t)(hash ^ hash >> 32) & (r->index_size - 1);

	while (r->index[i] != RULES_NONE && r->chains[r->index[i]].hash != hash)
		i = (i + 1) & (r->index_size - 1);
	return &r->index[i];
}

static bool reindex(struct rules *r)
{
	uint32_t size = r->index_size ? 2 * r->index_size : 256;
	uint32_t *bigger = malloc(size * sizeof(*bigger));

	if (!bigger) {
		r->failed = true;
		return false;
	}
	memset(bigger, 0xff, size * sizeof(*bigger));
	free(r->index);
	r->index = bigger;
	r->index_size = size;
	for (uint32_t i = 0; i < r->chain_cnt; i++)
		*index_at(r, r->chains[i].hash) = i;
	return true;
}

struct rules_chain *rules_add_chain(struct rules *r, const char *make, uint8_t family,
				    const char *table, const char *name)
{
	struct rules_chain *c;

	if (!grow(r, (void **)&r->chains, r->chain_cnt, &r->chain_room, sizeof(*c)))
		return NULL;
	if (2 * r->chain_cnt >= r->index_size && !reindex(r))
		return NULL;
	c = &r->chains[r->chain_cnt];
	memset(c, 0, sizeof(*c));
	c->hash = hash_of(make, family, table, name);
	c->family = family;
	c->first = c->last = RULES_NONE;
	snprintf(c->make, sizeof(c->make), "%s", make);
	snprintf(c->table, sizeof(c->table), "%s", table);
	snprintf(c->name, sizeof(c->name), "%s", name);
	*index_at(r, c->hash) = r->chain_cnt++;
	return c;
}

uint32_t rules_find_chain(const struct rules *r, const char *make, uint8_t family,
			  const char *table, const char *name)
{
	return r->index_size ? *index_at(r, hash_of(make, family, table, name)) : RULES_NONE;
}

struct rules_rule *rules_add_rule(struct rules *r, uint32_t chain)
{
	struct rules_chain *c = &r->chains[chain];
	struct rules_rule *rule;

	if (!grow(r, (void **)&r->rules, r->rule_cnt, &r->rule_room, sizeof(*rule)))
		return NULL;
	rule = &r->rules[r->rule_cnt];
	memset(rule, 0, sizeof(*rule));
	rule->test = r->test_cnt;
	rule->target = rule->next = RULES_NONE;
	if (c->last == RULES_NONE)
		c->first = r->rule_cnt;
	else
		r->rules[c->last].next = r->rule_cnt;
	c->last = r->rule_cnt++;
	return rule;
}

struct rules_test *rules_add_test(struct rules *r, const struct rules_test *t)
{
	if (!grow(r, (void **)&r->tests, r->test_cnt, &r->test_room, sizeof(*t)))
		return NULL;
	r->rules[r->rule_cnt - 1].test_cnt++;
	r->tests[r->test_cnt] = *t;
	return &r->tests[r->test_cnt++];
}

void rules_perhaps(struct rules *r, bool state)
{
	const struct rules_test t = {.op = RULES_PERHAPS, .state = state};

	rules_add_test(r, &t);
}

void rules_effect(struct rules *r, uint32_t effect, const char *what)
{
	struct rules_rule *rule = &r->rules[r->rule_cnt - 1];

	if (!rule->effects) {
		rule->effect_tests = rule->test_cnt;
		snprintf(rule->what, sizeof(rule->what), "%s", what);
	}
	rule->effects |= effect;
}

/* ---- classes ---- */

void rules_class_init(struct rules_class *c, uint8_t family)
{
	memset(c, 0, sizeof(*c));
	c->family = family;
	if (family == AF_INET) {
		c->net[9] = IPPROTO_UDP;
		c->net_known[9] = 0xff;
	} else {
		c->net[6] = IPPROTO_UDP;
		c->net_known[6] = 0xff;
	}
}

static void know(uint8_t *bytes, uint8_t *known, const void *value, size_t len)
{
	memcpy(bytes, value, len);
	memset(known, 0xff, len);
}

void rules_class_source(struct rules_class *c, const void *addr, uint16_t port_be)
{
	uint32_t off = c->family == AF_INET ? 12 : 8;

	if (addr)
		know(c->net + off, c->net_known + off, addr, c->family == AF_INET ? 4 : 16);
	if (port_be)
		know(c->udp, c->udp_known, &port_be, 2);
}

void rules_class_destination(struct rules_class *c, const void *addr, uint16_t port_be)
{
	uint32_t off = c->family == AF_INET ? 16 : 24;

	if (addr)
		know(c->net + off, c->net_known + off, addr, c->family == AF_INET ? 4 : 16);
	if (port_be)
		know(c->udp + 2, c->udp_known + 2, &port_be, 2);
}

/* ---- one test ---- */

enum match { NEVER, PERHAPS, SURELY };

static void meta_bytes(const struct rules_class *c, uint8_t key, uint8_t *bytes, uint8_t *known)
{
	const uint8_t nfproto = c->family == AF_INET ? NFPROTO_IPV4 : NFPROTO_IPV6,
		      proto = IPPROTO_UDP;
	const uint16_t type = htons(c->family == AF_INET ? 0x0800 : 0x86dd);

	switch (key) {
	case RULES_META_NFPROTO: know(bytes, known, &nfproto, 1); break;
	case RULES_META_L4PROTO: know(bytes, known, &proto, 1); break;
	case RULES_META_PROTOCOL: know(bytes, known, &type, 2); break;
	case RULES_META_IIF:
		if (c->iif_known)
			know(bytes, known, &c->iif, 4);
		break;
	case RULES_META_OIF:
		if (c->oif_known)
			know(bytes, known, &c->oif, 4);
		break;
	case RULES_META_IIFNAME:
		if (c->iif_known)
			know(bytes, known, c->iifname, 16);
		break;
	case RULES_META_OIFNAME:
		if (c->oif_known)
			know(bytes, known, c->oifname, 16);
		break;
	case RULES_META_MARK:
		if (c->mark_known)
			know(bytes, known, &c->mark, 4);
		break;
	}
}

/* What the class knows of the bytes that the test looks at. */
static void class_bytes(const struct rules_class *c, const struct rules_test *t, uint8_t bytes[16],
			uint8_t known[16])
{
	memset(bytes, 0, 16);
	memset(known, 0, 16);
	if (t->space == RULES_META) {
		meta_bytes(c, t->off, bytes, known);
		return;
	}
	for (uint32_t i = 0; i < t->len; i++) {
		uint32_t at = t->off + i;

		if (t->space == RULES_NET && at < sizeof(c->net)) {
			bytes[i] = c->net[at];
			known[i] = c->net_known[at];
		} else if (t->space == RULES_UDP && at < sizeof(c->udp)) {
			bytes[i] = c->udp[at];
			known[i] = c->udp_known[at];
		}
	}
}

static enum match negate(enum match m)
{
	return m == NEVER ? SURELY : m == SURELY ? NEVER : PERHAPS;
}

static enum match equal(const struct rules_test *t, const uint8_t *bytes, const uint8_t *known)
{
	bool all = true;

	for (uint32_t i = 0; i < t->len; i++) {
		uint8_t mask = t->mask[i], certain = mask & known[i];

		if (((bytes[i] & mask) ^ t->flip[i] ^ t->lo[i]) & (uint8_t)(certain | ~mask))
			return NEVER;
		all &= certain == mask;
	}
	return all ? SURELY : PERHAPS;
}

static enum match ordered(const struct rules_test *t, const uint8_t *bytes, const uint8_t *known)
{
	uint8_t v[16];
	int lo, hi;
	bool met = false;

	for (uint32_t i = 0; i < t->len; i++) {
		if ((t->mask[i] & known[i]) != t->mask[i])
			return PERHAPS;
		v[i] = (bytes[i] & t->mask[i]) ^ t->flip[i];
	}
	lo = memcmp(v, t->lo, t->len);
	hi = memcmp(v, t->hi, t->len);
	switch (t->op) {
	case RULES_LT: met = lo < 0; break;
	case RULES_LE: met = lo <= 0; break;
	case RULES_GT: met = lo > 0; break;
	case RULES_GE: met = lo >= 0; break;
	case RULES_IN: met = lo >= 0 && hi <= 0; break;
	case RULES_OUT: met = lo < 0 || hi > 0; break;
	}
	return met ? SURELY : NEVER;
}

static enum match compare(const struct rules_test *t, const uint8_t *bytes, const uint8_t *known)
{
	switch (t->op) {
	case RULES_EQ: return equal(t, bytes, known);
	case RULES_NE: return negate(equal(t, bytes, known));
	case RULES_PERHAPS: return PERHAPS;
	case RULES_NEVER: return NEVER;
	default: return ordered(t, bytes, known);
	}
}

/* Does the test look at that address only? */
static bool tests_address(const struct rules_class *c, const struct rules_test *t, bool source)
{
	uint32_t len = c->family == AF_INET ? 4 : 16;
	uint32_t off = c->family == AF_INET ? (source ? 12 : 16) : (source ? 8 : 24);

	return t->space == RULES_NET && t->off >= off && t->off + t->len <= off + len;
}

/* It is one of several addresses. */
static enum match any_of(const struct rules_class *c, const struct rules_test *t, bool source)
{
	const uint8_t(*addr)[16] = source ? c->saddr : c->daddr;
	uint32_t cnt = source ? c->saddr_cnt : c->daddr_cnt, met[3] = {0};

	for (uint32_t i = 0; i < cnt; i++) {
		struct rules_class one = *c;

		if (source)
			rules_class_source(&one, addr[i], 0);
		else
			rules_class_destination(&one, addr[i], 0);
		uint8_t bytes[16], known[16];

		class_bytes(&one, t, bytes, known);
		met[compare(t, bytes, known)]++;
	}
	return met[SURELY] == cnt ? SURELY : met[NEVER] == cnt ? NEVER : PERHAPS;
}

static enum match test(const struct rules_class *c, const struct rules_test *t)
{
	uint8_t bytes[16], known[16];
	enum match m;

	class_bytes(c, t, bytes, known);
	m = compare(t, bytes, known);
	if (m != PERHAPS || t->op == RULES_PERHAPS)
		return m;
	if (c->saddr_cnt && tests_address(c, t, true))
		return any_of(c, t, true);
	if (c->daddr_cnt && tests_address(c, t, false))
		return any_of(c, t, false);
	return m;
}

/* ---- destinations ---- */

static uint32_t common_bits(const struct rules_prefix *a, const struct rules_prefix *b)
{
	uint32_t max = a->len < b->len ? a->len : b->len, n = 0;

	while (n < max && !((a->addr[n / 8] ^ b->addr[n / 8]) & (0x80 >> n % 8)))
		n++;
	return n;
}

static void shorten(struct rules_prefix *p, uint32_t len)
{
	p->len = (uint8_t)len;
	for (uint32_t i = 0; i < 16; i++) {
		uint32_t keep = len > 8 * i ? len - 8 * i : 0;

		p->addr[i] &= keep >= 8 ? 0xff : (uint8_t)(0xff00 >> keep);
	}
}

bool rules_prefix_add(struct rules_prefix *p, uint32_t *cnt, uint32_t max,
		      const struct rules_prefix *one)
{
	uint32_t best = 0, best_bits = 0;

	for (uint32_t i = 0; i < *cnt; i++) {
		uint32_t bits = p[i].family == one->family ? common_bits(&p[i], one) : 0;

		if (p[i].family == one->family && bits == p[i].len)
			return true; /* inside */
		if (bits > best_bits) {
			best_bits = bits;
			best = i;
		}
	}
	if (*cnt < max) {
		p[(*cnt)++] = *one;
		return true;
	}
	if (!best_bits)
		return false;
	shorten(&p[best], best_bits);
	return true;
}

/* The narrower of a constraint and what the rule's tests say about the destination. */
static void narrow(const struct rules *r, const struct rules_rule *rule, uint32_t tests,
		   const struct rules_class *c, struct rules_prefix *to)
{
	for (uint32_t i = 0; i < tests; i++) {
		const struct rules_test *t = &r->tests[rule->test + i];
		uint32_t off = c->family == AF_INET ? 16 : 24, bits = 0;
		struct rules_prefix p = {.family = c->family};

		if (t->op != RULES_EQ || !tests_address(c, t, false) || t->off != off)
			continue;
		while (bits < 8u * t->len && t->mask[bits / 8] & (0x80 >> bits % 8))
			bits++;
		for (uint32_t b = 0; b < t->len; b++)
			p.addr[b] = t->lo[b] ^ t->flip[b];
		shorten(&p, bits);
		if (bits > to->len)
			*to = p;
	}
}

/* ---- the question ---- */

struct ask {
	const struct rules *r;
	const struct rules_class *c;
	struct rules_result *out;
	uint32_t steps;
	bool lost; /* too many steps, or too deep */
};

static const char *family_name(uint8_t family)
{
	return family == NFPROTO_IPV4	  ? "ip"
	       : family == NFPROTO_IPV6	  ? "ip6"
	       : family == NFPROTO_INET	  ? "inet"
	       : family == NFPROTO_NETDEV ? "netdev"
					  : "?";
}

static void say(char text[UDPLANE_TEXT_LEN], const struct rules_chain *ch, const char *what)
{
	if (!text[0] && !ch->table[0])
		snprintf(text, UDPLANE_TEXT_LEN, "%s %.40s: %.24s", ch->make, ch->name, what);
	else if (!text[0])
		snprintf(text, UDPLANE_TEXT_LEN, "%s: table %s %.40s, chain %.40s: %.24s", ch->make,
			 family_name(ch->family), ch->table, ch->name, what);
}

static void report(struct ask *a, const struct rules_chain *ch, const char *what, uint32_t effects,
		   const struct rules_prefix *to)
{
	a->out->effects |= effects;
	if (a->c->by_destination && to->len) {
		say(a->out->where_text, ch, what);
		if (rules_prefix_add(a->out->prefix, &a->out->prefix_cnt, RULES_PREFIXES, to))
			return;
	}
	a->out->all = true;
	say(a->out->text, ch, what);
}

/* What is sent to the target itself from the same port would clash with the translated flow, and
 * Linux gives it another port. */
static void report_target(struct ask *a, const struct rules_chain *ch,
			  const struct rules_rule *rule)
{
	struct rules_prefix to = {.family = a->c->family,
				  .len = a->c->family == AF_INET ? 32 : 128};

	if (!a->c->by_destination || !(rule->effects & RULES_DNAT) || rule->to_host)
		return;
	memcpy(to.addr, rule->to, a->c->family == AF_INET ? 4 : 16);
	if (!rule->to_known)
		to.len = 0;
	report(a, ch, rule->what, RULES_DNAT, &to);
}

static bool is_ours(const struct rules_class *c, const uint8_t *addr)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	for (uint32_t i = 0; i < c->ours_cnt; i++)
		if (c->family == AF_INET
			    ? !memcmp(c->ours[i], mapped, 12) && !memcmp(c->ours[i] + 12, addr, 4)
			    : !memcmp(c->ours[i], addr, 16))
			return true;
	return false;
}

/* The effects of a rule that concern the question. */
static uint32_t effects_of(const struct ask *a, const struct rules_rule *rule)
{
	uint32_t e = rule->effects;

	if (!a->c->to_ours)
		return e;
	e &= RULES_DNAT | RULES_OTHER;
	if (rule->to_known && !is_ours(a->c, rule->to))
		e &= ~(uint32_t)RULES_DNAT;
	if (rule->port_known && a->c->to_port_be && rule->to_port_be != a->c->to_port_be)
		e &= ~(uint32_t)RULES_DNAT;
	return e;
}

/* Does it look at what the narrower classes know? */
static bool looks_at_varying(const struct rules_class *c, const struct rules_test *t)
{
	if (t->op == RULES_PERHAPS || t->space == RULES_META)
		return false;
	if (t->space == RULES_UDP)
		return (c->source_varies && t->off < 2) ||
		       (c->destination_varies && t->off + t->len > 2);
	return (c->source_varies && !tests_address(c, t, false)) ||
	       (c->destination_varies && !tests_address(c, t, true));
}

static enum match match_rule(struct ask *a, const struct rules_rule *rule, uint32_t tests,
			     bool *state)
{
	enum match all = SURELY;

	for (uint32_t i = 0; i < tests; i++) {
		const struct rules_test *t = &a->r->tests[rule->test + i];
		enum match m = test(a->c, t);

		if (m == NEVER)
			return NEVER;
		if (m == PERHAPS) {
			all = PERHAPS;
			*state |= t->state;
			a->out->varies |= looks_at_varying(a->c, t);
		}
	}
	return all;
}

/* Returns true if no datagram of the class comes out at its end. */
static bool ask_chain(struct ask *a, uint32_t chain, const struct rules_chain *base,
		      const struct rules_prefix *limit, uint32_t depth)
{
	uint32_t next;

	if (chain == RULES_NONE || depth > DEPTH) {
		a->lost = true;
		return false;
	}
	for (uint32_t i = a->r->chains[chain].first; i != RULES_NONE; i = next) {
		const struct rules_rule *rule = &a->r->rules[i];
		struct rules_prefix to = *limit;
		bool state = false, ended;
		enum match m;

		next = rule->next;
		if (++a->steps > STEPS) {
			a->lost = true;
			return false;
		}
		if (effects_of(a, rule) &&
		    match_rule(a, rule, rule->effect_tests, &state) != NEVER) {
			narrow(a->r, rule, rule->effect_tests, a->c, &to);
			report(a, base, rule->what, effects_of(a, rule), &to);
			report_target(a, base, rule);
		}
		m = match_rule(a, rule, rule->test_cnt, &state);
		if (m == NEVER)
			continue;
		a->out->state |= state;
		to = *limit;
		narrow(a->r, rule, rule->test_cnt, a->c, &to);
		switch (rule->verdict) {
		case RULES_ACCEPT:
		case RULES_STOP: /* its effect has been reported */
			if (m == SURELY)
				return true;
			break;
		case RULES_RETURN:
			if (m == SURELY)
				return false;
			break;
		case RULES_JUMP:
		case RULES_GOTO:
			ended = ask_chain(a, rule->target, base, &to, depth + 1);
			if (m == SURELY && (ended || rule->verdict == RULES_GOTO))
				return ended;
			break;
		}
	}
	return false;
}

static bool concerns(const struct rules_chain *ch, const struct rules_class *c)
{
	if (!(ch->hook & c->hooks) || (c->nat_only && !ch->nat) || ch->other_device)
		return false;
	switch (ch->family) {
	case NFPROTO_IPV4: return c->family == AF_INET;
	case NFPROTO_IPV6: return c->family == AF_INET6;
	case NFPROTO_INET:
	case NFPROTO_NETDEV: return true;
	default: /* arp, bridge */ return false;
	}
}

void rules_ask(const struct rules *r, const struct rules_class *c, struct rules_result *out)
{
	const struct rules_prefix anywhere = {.family = c->family};
	struct ask a = {.r = r, .c = c, .out = out};

	memset(out, 0, sizeof(*out));
	for (uint32_t i = 0; i < r->chain_cnt; i++) {
		const struct rules_chain *ch = &r->chains[i];

		if (!concerns(ch, c))
			continue;
		if (!ask_chain(&a, i, ch, &anywhere, 0) && ch->drop)
			report(&a, ch, "policy drop", RULES_DROP, &anywhere);
	}
	if (r->failed || a.lost) {
		out->effects |= RULES_OTHER;
		out->all = true;
		if (!out->text[0])
			snprintf(out->text, sizeof(out->text),
				 "there are more rules than can be judged");
	}
}
