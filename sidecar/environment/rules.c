/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/environment/rules.h"

#include "sidecar/environment/rules_match.h"
#include "sidecar/environment/rules_set.h"
#include <arpa/inet.h>
#include <endian.h>
#include <linux/netfilter.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH 32       /* depth of jumps; the kernel allows 16 in nftables */
#define STEPS 2000000u /* rules looked at per question; beyond that: perhaps */

/* ---- building ---- */

struct rules_chain *rules_add_chain(struct rules *r, const char *make, uint8_t family,
				    const char *table, const char *name)
{
	struct rules_chain *c;

	if (!rules_grow(r, (void **)&r->chains, r->chain_cnt, &r->chain_room, sizeof(*c)))
		return NULL;
	c = &r->chains[r->chain_cnt];
	memset(c, 0, sizeof(*c));
	c->hash = rules_hash(make, family, table, name);
	c->family = family;
	c->first = c->last = RULES_NONE;
	snprintf(c->make, sizeof(c->make), "%s", make);
	snprintf(c->table, sizeof(c->table), "%s", table);
	snprintf(c->name, sizeof(c->name), "%s", name);
	if (!rules_index_put(r, &r->chain_index, c->hash, r->chain_cnt))
		return NULL;
	r->chain_cnt++;
	return c;
}

uint32_t rules_find_chain(const struct rules *r, const char *make, uint8_t family,
			  const char *table, const char *name)
{
	return rules_index_find(&r->chain_index, rules_hash(make, family, table, name));
}

struct rules_rule *rules_add_rule(struct rules *r, uint32_t chain)
{
	struct rules_chain *c = &r->chains[chain];
	struct rules_rule *rule;

	if (!rules_grow(r, (void **)&r->rules, r->rule_cnt, &r->rule_room, sizeof(*rule)))
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
	if (!rules_grow(r, (void **)&r->tests, r->test_cnt, &r->test_room, sizeof(*t)))
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

/* ---- prefixes ---- */

static uint64_t half(const uint8_t *addr, uint32_t i)
{
	uint64_t v;

	memcpy(&v, addr + 8 * i, 8);
	return be64toh(v);
}

static uint32_t common_bits(const struct rules_prefix *a, const struct rules_prefix *b)
{
	uint32_t max = a->len < b->len ? a->len : b->len, n = 0;
	uint64_t differ = half(a->addr, 0) ^ half(b->addr, 0);

	if (!differ) {
		n = 64;
		differ = half(a->addr, 1) ^ half(b->addr, 1);
	}
	n += differ ? (uint32_t)__builtin_clzll(differ) : 64;
	return n < max ? n : max;
}

static void shorten(struct rules_prefix *p, uint32_t len)
{
	p->len = (uint8_t)len;
	for (uint32_t i = 0; i < 16; i++) {
		uint32_t keep = len > 8 * i ? len - 8 * i : 0;

		p->addr[i] &= keep >= 8 ? 0xff : (uint8_t)(0xff00 >> keep);
	}
}

static bool same_family(const struct rules_prefix *a, const struct rules_prefix *b)
{
	return a->family == b->family;
}

bool rules_prefix_holds(const struct rules_prefix *a, const struct rules_prefix *b)
{
	return same_family(a, b) && common_bits(a, b) == a->len;
}

static int compare_prefixes(const struct rules_prefix *a, const struct rules_prefix *b)
{
	return a->family != b->family ? a->family - b->family : memcmp(a->addr, b->addr, 16);
}

/* Inserts a prefix in place of all prefixes within it, which are adjacent. */
static void put_prefix(struct rules_prefix *p, uint32_t *cnt, uint32_t at,
		       const struct rules_prefix *one)
{
	uint32_t end = at;

	while (end < *cnt && rules_prefix_holds(one, &p[end]))
		end++;
	memmove(&p[at + 1], &p[end], (*cnt - end) * sizeof(*p));
	p[at] = *one;
	*cnt -= end - at - 1;
}

/* Joins the two neighbours with most in common. Returns false if no two have anything in common. */
static bool join_nearest(struct rules_prefix *p, uint32_t *cnt)
{
	uint32_t best = 0, best_bits = 0;

	for (uint32_t i = 1; i < *cnt; i++) {
		uint32_t bits = same_family(&p[i - 1], &p[i]) ? common_bits(&p[i - 1], &p[i]) : 0;

		if (bits > best_bits) {
			best_bits = bits;
			best = i - 1;
		}
	}
	if (!best_bits)
		return false;
	shorten(&p[best], best_bits);
	memmove(&p[best + 1], &p[best + 2], (*cnt - best - 2) * sizeof(*p));
	--*cnt;
	return true;
}

bool rules_prefix_add(struct rules_prefix *p, uint32_t *cnt, uint32_t max,
		      const struct rules_prefix *one)
{
	struct rules_prefix room[RULES_PREFIXES + 1];
	uint32_t at = 0, cnt2 = *cnt;

	while (at < *cnt && compare_prefixes(&p[at], one) < 0)
		at++;
	if ((at && rules_prefix_holds(&p[at - 1], one)) ||
	    (at < *cnt && rules_prefix_holds(&p[at], one)))
		return true;
	if (*cnt < max || (at < *cnt && rules_prefix_holds(one, &p[at]))) {
		put_prefix(p, cnt, at, one);
		return true;
	}
	memcpy(room, p, *cnt * sizeof(*p));
	put_prefix(room, &cnt2, at, one);
	if (!join_nearest(room, &cnt2))
		return false;
	memcpy(p, room, cnt2 * sizeof(*p));
	*cnt = cnt2;
	return true;
}

/* ---- peers ---- */

/* The peers of the datagrams that get this far. A single prefix of length 0 means any. */
struct limit {
	uint32_t cnt;
	struct rules_prefix p[RULES_PREFIXES];
};

/* Adds the intersection of a prefix and the limit. Returns false if there is no room. */
static bool add_common(struct limit *out, const struct limit *in, const struct rules_prefix *q)
{
	for (uint32_t i = 0; i < in->cnt; i++) {
		const struct rules_prefix *p = &in->p[i], *longer = p->len > q->len ? p : q;

		if (common_bits(p, q) == (longer == p ? q : p)->len &&
		    !rules_prefix_add(out->p, &out->cnt, RULES_PREFIXES, longer))
			return false;
	}
	return true;
}

/* Returns true if the test looks at the peer's address, from its first bit on. */
static bool is_peer(const struct rules_class *c, const struct rules_test *t)
{
	bool source = c->by_source;
	uint32_t off = c->family == AF_INET ? (source ? 12 : 16) : (source ? 8 : 24);

	return (c->by_source || c->by_destination) && match_is_address(c, t, source) &&
	       t->off == off;
}

/* The shortest prefix that holds a range. */
static void span(struct rules_prefix *p, const uint8_t *lo, const uint8_t *hi, uint32_t len)
{
	struct rules_prefix to = *p;

	memset(p->addr, 0, 16);
	memset(to.addr, 0, 16);
	memcpy(p->addr, lo, len);
	memcpy(to.addr, hi, len);
	p->len = to.len = (uint8_t)(8 * len);
	shorten(p, common_bits(p, &to));
}

static bool is_plain(const struct rules_test *t)
{
	for (uint32_t i = 0; i < t->len; i++)
		if (t->mask[i] != 0xff || t->flip[i])
			return false;
	return true;
}

/* Adds what a comparison says about the peer. Returns false if it says nothing. */
static bool prefix_of(const struct rules_class *c, const struct rules_test *t,
		      struct rules_prefix *p)
{
	uint32_t bits = 0;

	*p = (struct rules_prefix){.family = c->family};
	if ((t->op != RULES_EQ && t->op != RULES_IN) || !is_peer(c, t))
		return false;
	if (t->op == RULES_IN) {
		if (is_plain(t))
			span(p, t->lo, t->hi, t->len);
		return p->len != 0;
	}
	while (bits < 8u * t->len && t->mask[bits / 8] & (0x80 >> bits % 8))
		bits++;
	for (uint32_t b = 0; b < t->len; b++)
		p->addr[b] = t->lo[b] ^ t->flip[b];
	shorten(p, bits);
	return bits != 0;
}

/* ---- the question ---- */

struct ask {
	const struct rules *r;
	const struct rules_class *c;
	struct rules_result *out;
	uint32_t steps;
	bool lost; /* too many steps, or jumps too deep */
};

/* Returns the part of a key that is the peer's address, or NULL if there is none. */
static const struct rules_test *peer_part(const struct ask *a, const struct rules_lookup *l)
{
	for (uint32_t i = 0; i < l->part_cnt; i++) {
		const struct rules_test *p = &a->r->parts[l->part + i];

		if (is_peer(a->c, p) && is_plain(p))
			return p;
	}
	return NULL;
}

/* Adds what an element says about the peer. */
static struct rules_prefix element_prefix(const struct ask *a, const struct rules_set *s,
					  const struct rules_element *e,
					  const struct rules_test *part)
{
	const uint8_t *lo = a->r->keys + e->key + part->at;
	bool numbered = s->ranges && !s->field_cnt && s->key_len != part->len;
	struct rules_prefix p = {.family = a->c->family};

	if (!numbered)
		span(&p, lo, s->ranges ? lo + s->key_len : lo, part->len);
	return p;
}

/* Narrows the limit to what a lookup can find. Returns false if there is no room, or the lookup
 * says nothing about the peer. */
static bool limit_set(struct ask *a, const struct rules_lookup *l, const struct limit *in,
		      struct limit *out)
{
	const struct rules_set *set = &a->r->sets[l->set];
	const struct rules_test *part = peer_part(a, l);
	const struct rules_element *e;
	enum match m;

	if (!part || l->invert || !match_readable(a->r, l) || set->has_rest)
		return false;
	out->cnt = 0;
	for (uint32_t v = 0, n = match_variants(a->r, a->c, l); v < n; v++) {
		struct match_walk w;

		match_start(&w, a->r, a->c, l, v, &a->steps);
		while ((e = match_next(&w, &m))) {
			struct rules_prefix p = element_prefix(a, set, e, part);

			if (!add_common(out, in, &p))
				return false;
		}
	}
	return true;
}

/* Returns the limit combined with what the rule's tests say about the peer; in `room` unless it is
 * unchanged. Returns NULL if no datagram meets both. */
static const struct limit *narrow(struct ask *a, const struct rules_rule *rule, uint32_t tests,
				  const struct limit *limit, struct limit *room)
{
	for (uint32_t i = 0; i < tests; i++) {
		const struct rules_test *t = &a->r->tests[rule->test + i];
		struct rules_prefix p;
		struct limit out;

		out.cnt = 0;
		if (t->op == RULES_SET ? !limit_set(a, &a->r->lookups[t->lookup], limit, &out)
				       : !prefix_of(a->c, t, &p) || !add_common(&out, limit, &p))
			continue;
		if (!out.cnt)
			return NULL;
		room->cnt = out.cnt;
		memcpy(room->p, out.p, out.cnt * sizeof(out.p[0]));
		limit = room;
	}
	return limit;
}

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

/* State that ask_chain() carries along. */
struct path {
	const struct rules_chain *base;
	uint32_t depth;
	bool state;   /* whether datagrams get here depends on earlier datagrams */
	bool by_port; /* or on the own port, which only narrower classes know */
};

/* Does not join sources: excluded peers also take the kernel path when sending, and ten thousand
 * scattered addresses would exclude all. */
static bool may_gather_sources(const struct ask *a, const struct path *path,
			       const struct limit *limit)
{
	return a->c->by_source && !path->by_port &&
	       a->out->prefix_cnt + limit->cnt <= RULES_SOURCES;
}

static void report(struct ask *a, const struct path *path, const char *what, uint32_t effects,
		   const struct limit *limit)
{
	struct rules_result *out = a->out;
	bool gather = a->c->by_destination || may_gather_sources(a, path, limit), all = false;

	out->effects |= effects;
	out->state |= path->state;
	for (uint32_t i = 0; i < limit->cnt && !all; i++) {
		if (!gather || !limit->p[i].len) {
			all = true;
		} else if (!rules_prefix_add(out->prefix, &out->prefix_cnt, RULES_PREFIXES,
					     &limit->p[i])) {
			out->prefix[0] = (struct rules_prefix){.family = a->c->family};
			out->prefix_cnt = 1; /* they were joined to everything */
			all = true;
		}
	}
	say(all ? out->text : out->where_text, path->base, what);
	out->all |= all;
	out->state_all |= all && path->state;
	out->nat_all |= all && effects & (RULES_DNAT | RULES_SNAT);
}

/* A datagram that is sent to the target itself from the same port would clash with the translated
 * flow, and Linux gives it another port. */
static void report_target(struct ask *a, const struct path *path, const struct rules_rule *rule)
{
	struct limit to = {.cnt = 1};

	if (!a->c->by_destination || !(rule->effects & RULES_DNAT) || rule->to_host)
		return;
	to.p[0].family = a->c->family;
	if (rule->to_known) {
		to.p[0].len = a->c->family == AF_INET ? 32 : 128;
		memcpy(to.p[0].addr, rule->to, a->c->family == AF_INET ? 4 : 16);
	}
	report(a, path, rule->what, RULES_DNAT, &to);
}

static bool is_ours(const struct rules_class *c, const uint8_t *addr)
{
	uint8_t mapped[16];

	udplane_addr_to_mapped(mapped, c->family, addr);
	for (uint32_t i = 0; i < c->ours_cnt; i++)
		if (!memcmp(c->ours[i], mapped, 16))
			return true;
	return false;
}

/* Adds the effects of a rule that concern the question. */
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

/* rule NULL means an unknown rule. */
static void note_port(struct ask *a, const struct rules_rule *rule, uint32_t effects)
{
	uint16_t port = rule ? ntohs(rule->to_port_be) : 0;

	if (rule && effects == RULES_DNAT && rule->port_known && a->c->ports)
		a->c->ports[port / 64] |= 1ull << port % 64;
	else
		a->out->any_port = true;
}

static void note_doubt(struct ask *a, const struct rules_test *t, struct path *path)
{
	uint32_t varies = match_varies(a->r, a->c, t);

	path->state |= match_state(a->r, t);
	path->by_port |= (varies & RULES_VARIES_PORT) != 0;
	a->out->varies |= varies;
}

static enum match match_rule(struct ask *a, const struct rules_rule *rule, uint32_t tests,
			     struct path *path)
{
	enum match all = SURELY;

	for (uint32_t i = 0; i < tests; i++) {
		const struct rules_test *t = &a->r->tests[rule->test + i];
		enum match m = match_test(a->r, a->c, t, &a->steps);

		if (m == NEVER)
			return NEVER;
		if (m == PERHAPS) {
			all = PERHAPS;
			note_doubt(a, t, path);
		}
	}
	return all;
}

/* Where datagrams go: to the next rule, out of the chain, or nowhere. */
enum fate { ON, LEFT, ENDED };

struct walk {
	bool ended; /* no datagram comes out at the end */
	bool state; /* which ones come out depends on earlier datagrams */
};

static struct walk ask_chain(struct ask *a, uint32_t chain, const struct limit *limit,
			     struct path path);

/* The fate of datagrams that surely meet a rule; *state is that of the others. */
static enum fate follow(struct ask *a, uint32_t verdict, uint32_t target, const struct limit *limit,
			struct path path, struct walk *w, bool *state)
{
	struct walk sub;

	switch (verdict) {
	case RULES_ACCEPT:
	case RULES_STOP: /* its effect is reported already */
		w->state |= path.state;
		*state |= path.state;
		return ENDED;
	case RULES_RETURN: *state |= path.state; return LEFT;
	case RULES_JUMP:
	case RULES_GOTO:
		path.depth++;
		sub = ask_chain(a, target, limit, path);
		w->state |= sub.state;
		*state |= sub.state || (verdict == RULES_GOTO && path.state);
		return sub.ended ? ENDED : verdict == RULES_GOTO ? LEFT : ON;
	default: return ON;
	}
}

/* Handles one element of a verdict map. */
static enum fate follow_element(struct ask *a, const struct rules_lookup *l,
				const struct rules_element *e, const struct limit *limit,
				struct path path, struct walk *w, bool *state)
{
	const struct rules_set *set = &a->r->sets[l->set];
	const struct rules_test *part = peer_part(a, l);
	struct limit narrower;

	if (part && e != &set->rest) {
		struct rules_prefix p = element_prefix(a, set, e, part);

		narrower.cnt = 0;
		if (add_common(&narrower, limit, &p))
			limit = &narrower;
	}
	if (!limit->cnt)
		return ON;
	if (e->verdict == RULES_STOP && !a->c->to_ours)
		report(a, &path, "drop by a verdict map", RULES_DROP, limit);
	return follow(a, e->verdict, e->target, limit, path, w, state);
}

/* m: whether the rule is met, not counting its map. Returns the fate of datagrams that surely meet
 * it. */
static enum fate follow_map(struct ask *a, const struct rules_lookup *l, enum match m,
			    const struct limit *limit, struct path path, struct walk *w,
			    bool *state)
{
	const struct rules_test look = {.op = RULES_SET, .lookup = (uint32_t)(l - a->r->lookups)};
	uint32_t fates[ENDED + 1] = {0}, variants = match_variants(a->r, a->c, l);
	const struct rules_element *e;

	if (!match_readable(a->r, l)) {
		note_doubt(a, &look, &path);
		report(a, &path, "verdict map",
		       RULES_DROP | RULES_DNAT | RULES_SNAT | RULES_MARK | RULES_OTHER, limit);
		note_port(a, NULL, RULES_OTHER);
		*state |= path.state;
		return ON;
	}
	for (uint32_t v = 0; v < variants; v++) {
		enum fate sure = ON;
		struct match_walk walk;
		enum match em;

		match_start(&walk, a->r, a->c, l, v, &a->steps);
		while ((e = match_next(&walk, &em))) {
			struct path to = path;
			enum fate fate;

			if (em == PERHAPS)
				note_doubt(a, &look, &to);
			fate = follow_element(a, l, e, limit, to, w, state);
			if (em == SURELY)
				sure = fate;
			if (a->lost)
				return ON;
		}
		fates[sure]++;
	}
	return m != SURELY		  ? ON
	       : fates[ENDED] == variants ? ENDED
	       : fates[LEFT] == variants  ? LEFT
					  : ON;
}

/* Adds the rule's effects. */
static void ask_effects(struct ask *a, const struct rules_rule *rule, const struct limit *limit,
			struct path path)
{
	uint32_t effects = effects_of(a, rule);
	struct limit room;

	if (!effects || match_rule(a, rule, rule->effect_tests, &path) == NEVER)
		return;
	limit = narrow(a, rule, rule->effect_tests, limit, &room);
	if (!limit)
		return;
	report(a, &path, rule->what, effects, limit);
	report_target(a, &path, rule);
	note_port(a, rule, effects);
}

/* Follows its verdict. *state: whether datagrams get to the next rule depends on earlier
 * datagrams. */
static enum fate ask_verdict(struct ask *a, const struct rules_rule *rule,
			     const struct limit *limit, struct path path, struct walk *w,
			     bool *state)
{
	enum fate fate;
	struct limit room;
	enum match m;

	if (rule->verdict == RULES_CONTINUE)
		return ON;
	m = match_rule(a, rule, rule->test_cnt, &path);
	if (m == NEVER)
		return ON;
	if (rule->verdict > RULES_RETURN) {
		limit = narrow(a, rule, rule->test_cnt, limit, &room);
		if (!limit)
			return ON;
	}
	if (rule->verdict == RULES_MAP)
		return follow_map(a, &a->r->lookups[rule->target], m, limit, path, w, state);
	fate = follow(a, rule->verdict, rule->target, limit, path, w, state);
	return m == SURELY ? fate : ON;
}

static struct walk ask_chain(struct ask *a, uint32_t chain, const struct limit *limit,
			     struct path path)
{
	struct walk w = {0};

	if (chain == RULES_NONE || path.depth > DEPTH) {
		a->lost = true;
		return w;
	}
	for (uint32_t i = a->r->chains[chain].first; i != RULES_NONE; i = a->r->rules[i].next) {
		const struct rules_rule *rule = &a->r->rules[i];
		enum fate fate;

		if (++a->steps > STEPS)
			a->lost = true;
		if (a->lost)
			return w;
		ask_effects(a, rule, limit, path);
		fate = ask_verdict(a, rule, limit, path, &w, &path.state);
		w.ended |= fate == ENDED;
		if (fate != ON)
			return w;
	}
	return w;
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
	const struct limit anyone = {.cnt = 1, .p[0].family = c->family};
	struct ask a = {.r = r, .c = c, .out = out};

	memset(out, 0, sizeof(*out));
	for (uint32_t i = 0; i < r->chain_cnt; i++) {
		struct path path = {.base = &r->chains[i]};
		struct walk w;

		if (!concerns(path.base, c))
			continue;
		w = ask_chain(&a, i, &anyone, path);
		path.state = w.state;
		if (!w.ended && path.base->drop)
			report(&a, &path, "policy drop", RULES_DROP, &anyone);
	}
	if (r->failed || a.lost) {
		out->effects |= RULES_OTHER;
		out->all = out->any_port = true;
		if (!out->text[0])
			snprintf(out->text, sizeof(out->text),
				 "there are more rules than can be judged");
	}
}
