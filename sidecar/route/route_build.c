/* SPDX-License-Identifier: Apache-2.0 */
/* Builds an immutable table from what the kernel has reported (struct route_input). */
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "sidecar/route/route.h"
#include "sidecar/route/route_table.h"

#define NEIGH_USABLE (NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE)

/* The routes of one table to one prefix. */
struct group {
	struct route_key key;
	uint32_t len;
	const struct route_route *best; /* the one with the lowest metric */
	/* one of them is odd: Linux orders and combines such routes by rules that are not
	 * mirrored */
	bool odd;
	bool tie; /* several routes that differ have the lowest metric */
	/* for one of them Linux treats sources inside the prefix as its own or as broadcast
	 * addresses, or otherwise neither as routed nor as unreachable */
	bool special;
};

struct build {
	const struct route_input *in;
	struct route_table *t;
	struct route_map by_prefix; /* value: index of a group */
	struct group *groups;
	uint32_t group_cnt;
	struct route_policy policy; /* of the family that is being built */
	/* the family's default route has several next hops, or is otherwise odd */
	bool odd_default;
};

static void map_clear(struct route_map *m)
{
	uint32_t i;

	for (i = 0; i <= m->mask; i++)
		m->slots[i].len = ROUTE_NONE;
	m->cnt = 0;
}

static int map_create(struct route_map *m, uint32_t room, const struct route_secret *secret)
{
	uint32_t size = 16;

	while (size < 2 * room)
		size *= 2;
	m->slots = malloc(size * sizeof(*m->slots));
	if (!m->slots)
		return -1;
	m->mask = size - 1;
	m->secret = secret;
	map_clear(m);
	return 0;
}

/* Returns the place of the prefix's value; a new prefix is added with the value ROUTE_NONE. There
 * is always room: map_create was told how many may come. */
static uint32_t *map_put(struct route_map *m, struct route_key key, uint32_t len)
{
	uint32_t i;

	for (i = route_map_hash(m, key, len) & m->mask; m->slots[i].len != ROUTE_NONE;
	     i = (i + 1) & m->mask)
		if (m->slots[i].len == len && route_key_equal(m->slots[i].key, key))
			return &m->slots[i].value;
	m->slots[i] = (struct route_slot){key, len, ROUTE_NONE};
	m->cnt++;
	return &m->slots[i].value;
}

static uint32_t *fib_put(struct route_fib *f, struct route_key key, uint32_t len)
{
	return len ? map_put(&f->map, key, len) : &f->root;
}

/* Lists the lengths present, longest first. */
static void fib_index(struct route_fib *f)
{
	bool present[129] = {false};
	uint32_t i, len;

	for (i = 0; i <= f->map.mask; i++)
		if (f->map.slots[i].len != ROUTE_NONE)
			present[f->map.slots[i].len] = true;
	f->mask_cnt = 0;
	for (len = 128; len; len--) {
		if (!present[len])
			continue;
		f->mask[f->mask_cnt].key = route_mask(len);
		f->mask[f->mask_cnt++].len = len;
	}
}

static uint32_t entry_add(struct route_table *t, const struct route_entry *e)
{
	t->entries[t->entry_cnt] = *e;
	return t->entry_cnt++;
}

static uint32_t entry_slow(struct route_table *t, int verdict, bool origin)
{
	const struct route_entry e = {
		.verdict = (uint8_t)verdict, .neigh = ROUTE_NONE, .origin = origin};

	return entry_add(t, &e);
}

static void fill_own(struct build *b)
{
	uint32_t i;

	for (i = 0; i < b->in->addr_cnt; i++) {
		const struct route_addr *a = &b->in->addrs[i];
		uint32_t *value =
			map_put(&b->t->own[a->family == AF_INET6], route_key(a->family, a->addr),
				a->family == AF_INET6 ? 128 : 32);

		if (*value == ROUTE_NONE)
			*value = 0;
		if (a->family == AF_INET6 && (a->flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)))
			continue;
		*value |= ROUTE_OWN_USABLE | (a->ifindex == b->in->ifindex ? ROUTE_OWN_DEVICE : 0);
	}
}

static void fill_neighbours(struct build *b)
{
	static const uint8_t zero_mac[6];
	struct route_table *t = b->t;
	uint32_t i;

	for (i = 0; i < b->in->neigh_cnt; i++) {
		const struct route_neigh *n = &b->in->neighs[i];

		if (n->ifindex != b->in->ifindex || !(n->state & NEIGH_USABLE) ||
		    !memcmp(n->mac, zero_mac, 6))
			continue;
		*map_put(&t->neigh_map[n->family == AF_INET6], route_key(n->family, n->addr),
			 n->family == AF_INET6 ? 128 : 32) = t->neigh_cnt;
		t->neighs[t->neigh_cnt++] = *n;
	}
}

/* Adds an own or broadcast address, even if the local table lacks it. Own addresses take
 * precedence, because put_local is called for them first. */
static void put_local(struct build *b, uint8_t family, struct route_key key, uint32_t len,
		      int verdict)
{
	uint32_t *value =
		fib_put(&b->t->fib[family == AF_INET6], route_key_and(key, route_mask(len)), len);

	if (*value == ROUTE_NONE)
		*value = entry_slow(b->t, verdict, false);
}

static void put_broadcasts(struct build *b, const struct route_addr *a)
{
	static const uint8_t zero[16];
	struct route_key net, last, mask = route_mask(a->prefix_len);

	if (memcmp(a->broadcast, zero, 4))
		put_local(b, AF_INET, route_key(AF_INET, a->broadcast), 32, ROUTE_SLOW_BROADCAST);
	if (!a->prefix_len || a->prefix_len > 30)
		return;
	net = route_key_and(route_key(AF_INET, memcmp(a->peer, zero, 4) ? a->peer : a->addr), mask);
	last = (struct route_key){net.hi | (~mask.hi & route_mask(32).hi), 0};
	/* Linux before 5.14 also broadcasts to the network address; since then it is an ordinary
	 * one. Slow is right in both cases. */
	put_local(b, AF_INET, net, 32, ROUTE_SLOW_BROADCAST);
	put_local(b, AF_INET, last, 32, ROUTE_SLOW_BROADCAST);
}

static int local_verdict(uint8_t type)
{
	switch (type) {
	case RTN_BROADCAST: return ROUTE_SLOW_BROADCAST;
	case RTN_MULTICAST: return ROUTE_SLOW_MULTICAST;
	case RTN_LOCAL:
	case RTN_ANYCAST: return ROUTE_SLOW_LOCAL;
	default: return ROUTE_SLOW_POLICY;
	}
}

static void fill_local(struct build *b)
{
	const struct route_input *in = b->in;
	uint32_t i;

	for (i = 0; i < in->addr_cnt; i++)
		put_local(b, in->addrs[i].family, route_key(in->addrs[i].family, in->addrs[i].addr),
			  in->addrs[i].family == AF_INET6 ? 128 : 32, ROUTE_SLOW_LOCAL);
	for (i = 0; i < in->route_cnt; i++) {
		const struct route_route *r = &in->routes[i];

		if (r->table == RT_TABLE_LOCAL && !r->exception)
			put_local(b, r->family, route_key(r->family, r->dst), r->prefix_len,
				  r->odd ? ROUTE_SLOW_POLICY : local_verdict(r->type));
	}
	for (i = 0; i < in->addr_cnt; i++)
		if (in->addrs[i].family == AF_INET)
			put_broadcasts(b, &in->addrs[i]);
	/* Treat them as prefixes of the local table, so that they hide whatever other tables have
	 * inside them. */
	for (i = 0; i < in->excluded_cnt; i++) {
		put_local(b, in->excluded[i].family,
			  route_key(in->excluded[i].family, in->excluded[i].addr),
			  in->excluded[i].len, ROUTE_SLOW_RULES);
		b->t->excludes6 |= in->excluded[i].family == AF_INET6;
	}
}

/* Makes prefixes slow that policy rules lead to other tables: what these tables say about them is
 * not known. */
static void fill_selected(struct build *b, uint8_t family)
{
	const bool six = family == AF_INET6, origin = !b->in->rp_filter;
	const struct route_policy *p = &b->policy;
	struct route_fib *f = &b->t->fib[six];
	uint32_t i, j;

	for (i = 0; i < b->in->route_cnt; i++) {
		const struct route_route *r = &b->in->routes[i];

		for (j = 0; r->foreign && r->family == family && j < p->table_cnt; j++)
			if (r->table == p->table[j])
				put_local(b, family, route_key(family, r->dst), r->prefix_len,
					  ROUTE_SLOW_POLICY);
	}
	for (i = 0; i < p->dst_cnt; i++) {
		struct route_key key =
			route_key_and(route_key(family, p->dst[i].addr), route_mask(p->dst[i].len));
		uint32_t *value = fib_put(f, key, p->dst[i].len);

		if (*value == ROUTE_NONE)
			*value = entry_slow(b->t, ROUTE_SLOW_POLICY, origin);
	}
	memcpy(b->t->src_slow[six], p->src, sizeof(p->src));
	b->t->src_slow_cnt[six] = p->src_cnt;
}

/* Returns true if both lead to the same next hop in the same way, so that it does not matter which
 * one Linux takes. */
static bool are_alike(const struct route_route *a, const struct route_route *b)
{
	return a->type == b->type && a->ifindex == b->ifindex && a->scope == b->scope &&
	       a->mtu == b->mtu && a->hop_limit == b->hop_limit &&
	       a->has_gateway == b->has_gateway && a->has_prefsrc == b->has_prefsrc &&
	       (!a->has_gateway ||
		(a->gateway_family == b->gateway_family && !memcmp(a->gateway, b->gateway, 16))) &&
	       (!a->has_prefsrc || !memcmp(a->prefsrc, b->prefsrc, 16));
}

static void group_add(struct group *g, const struct route_route *r)
{
	g->odd |= r->odd;
	g->special |= r->type != RTN_UNICAST && r->type != RTN_UNREACHABLE &&
		      r->type != RTN_BLACKHOLE && r->type != RTN_PROHIBIT && r->type != RTN_THROW;
	if (!g->best || r->priority < g->best->priority) {
		g->best = r;
		g->tie = false;
	} else if (r->priority == g->best->priority) {
		g->tie |= !are_alike(r, g->best);
	}
}

/* Returns true if the prefix is inside one of the local table, which Linux asks first. (Since 4.1
 * Linux keeps local and main in one trie until the first policy rule is added, and then a longer
 * prefix of main wins. Which of the two applies cannot be seen; prefixes of local are slow
 * anyway.) */
static bool is_hidden(const struct route_fib *local, struct route_key key, uint32_t len)
{
	uint32_t i;

	for (i = 0; i < local->mask_cnt; i++)
		if (local->mask[i].len <= len &&
		    route_map_find(&local->map, route_key_and(key, local->mask[i].key),
				   local->mask[i].len) != ROUTE_NONE)
			return true;
	return false;
}

/* Groups the routes of a table by prefix. local: skip prefixes that it hides, unless NULL. */
static void fill_groups(struct build *b, const struct route_fib *local, uint8_t family,
			uint32_t table)
{
	uint32_t i, *value;

	for (i = 0; i < b->in->route_cnt; i++) {
		const struct route_route *r = &b->in->routes[i];
		struct route_key key;

		if (r->family != family || r->table != table || r->exception)
			continue;
		key = route_key_and(route_key(family, r->dst), route_mask(r->prefix_len));
		if (family == AF_INET6 && r->prefix_len >= 10 && route_is_link_local(key) &&
		    r->ifindex != b->in->ifindex)
			continue; /* each link has its own fe80::/10 */
		if (local && is_hidden(local, key, r->prefix_len))
			continue;
		value = map_put(&b->by_prefix, key, r->prefix_len);
		if (*value == ROUTE_NONE) {
			*value = b->group_cnt++;
			b->groups[*value] = (struct group){.key = key, .len = r->prefix_len};
		}
		group_add(&b->groups[*value], r);
	}
}

static int unicast_verdict(struct build *b, const struct group *g)
{
	const struct route_route *r = g->best;

	if (g->odd || g->tie) {
		b->odd_default |= !g->len;
		return ROUTE_SLOW_POLICY;
	}
	if (r->ifindex != b->in->ifindex || !b->in->up)
		return ROUTE_SLOW_DEVICE;
	/* Linux treats such a destination as on-link; this is rare. */
	if (r->has_gateway && route_is_local(b->t, r->gateway_family, r->gateway))
		return ROUTE_SLOW_POLICY;
	return ROUTE_FAST;
}

static int group_verdict(struct build *b, const struct group *g)
{
	if (g->best->table == RT_TABLE_MAIN && g->len < b->policy.min_len)
		return ROUTE_SLOW_POLICY;
	switch (g->best->type) {
	case RTN_UNICAST: return unicast_verdict(b, g);
	case RTN_UNREACHABLE:
	case RTN_BLACKHOLE:
	case RTN_PROHIBIT: return g->odd || g->tie ? ROUTE_SLOW_POLICY : ROUTE_SLOW_NO_ROUTE;
	case RTN_THROW:
		if (g->odd || g->tie)
			return ROUTE_SLOW_POLICY;
		if (!b->policy.fallback)
			return ROUTE_SLOW_POLICY;
		return g->best->family == AF_INET && g->best->table == RT_TABLE_MAIN
			       ? (int)ROUTE_THROW
			       : ROUTE_SLOW_NO_ROUTE;
	default: return local_verdict(g->best->type);
	}
}

static uint16_t entry_mtu(const struct build *b, const struct route_route *r)
{
	uint32_t mtu = b->in->mtu;

	if (r->family == AF_INET6 && b->in->mtu6 && b->in->mtu6 < mtu)
		mtu = b->in->mtu6;
	if (r->mtu && r->mtu < mtu) /* a larger packet cannot be sent */
		mtu = r->mtu;
	return mtu < UINT16_MAX ? (uint16_t)mtu : UINT16_MAX;
}

static void note_mtu(struct build *b, uint8_t family, uint16_t mtu)
{
	uint16_t *min = &b->t->min_mtu[family == AF_INET6];

	if (mtu < *min)
		*min = mtu;
}

static void entry_source(const struct build *b, const struct route_route *r, struct route_entry *e)
{
	const uint32_t full = r->family == AF_INET6 ? 128 : 32;
	uint32_t own;

	if (!r->has_prefsrc) {
		e->has_src = r->family == AF_INET && route_source4(b->in, r, e->src);
		return;
	}
	own = route_map_find(&b->t->own[r->family == AF_INET6], route_key(r->family, r->prefsrc),
			     full);
	if (own != ROUTE_NONE && (own & ROUTE_OWN_USABLE)) {
		e->has_src = true;
		memcpy(e->src, r->prefsrc, full / 8);
	} else if (r->family == AF_INET6) {
		/* otherwise the lookup would choose a source itself */
		e->verdict = ROUTE_SLOW_SOURCE;
	}
}

static uint32_t group_entry(struct build *b, const struct group *g)
{
	const struct route_route *r = g->best;
	struct route_entry e = {.verdict = (uint8_t)group_verdict(b, g), .neigh = ROUTE_NONE};

	/* Linux may refuse by that of a slow one, too */
	if (r && (r->mtu || e.verdict == ROUTE_FAST))
		note_mtu(b, r->family, entry_mtu(b, r));
	if (e.verdict != ROUTE_FAST)
		return entry_slow(b->t, e.verdict, !b->in->rp_filter && !g->special);
	e.origin = true; /* it also leads back by our device */
	e.mtu = entry_mtu(b, r);
	e.hop_limit = (uint8_t)(r->hop_limit <= 255 ? r->hop_limit : 0);
	if (!e.hop_limit)
		e.hop_limit = r->family == AF_INET6 ? b->in->hop_limit6 : b->in->ttl4;
	e.neigh = ROUTE_NEIGH_DST;
	if (r->has_gateway) {
		bool six = r->gateway_family == AF_INET6;

		e.has_gateway = true;
		e.gateway_family = r->gateway_family;
		memcpy(e.gateway, r->gateway, 16);
		e.neigh = route_map_find(&b->t->neigh_map[six],
					 route_key(r->gateway_family, r->gateway), six ? 128 : 32);
	}
	entry_source(b, r, &e);
	return entry_add(b->t, &e);
}

/* Turns the groups into entries of the fib, then clears them. */
static void resolve(struct build *b, struct route_fib *f)
{
	uint32_t i;

	for (i = 0; i < b->group_cnt; i++)
		*fib_put(f, b->groups[i].key, b->groups[i].len) = group_entry(b, &b->groups[i]);
	b->group_cnt = 0;
	map_clear(&b->by_prefix);
	if (f->root == ROUTE_NONE)
		f->root = 0; /* no route */
	fib_index(f);
}

/* A path MTU lowers the MTU of the route that it belongs to; anything else (a redirect) is left to
 * Linux. */
static void fill_exceptions(struct build *b, uint8_t family)
{
	struct route_fib *f = &b->t->fib[family == AF_INET6];
	const uint32_t full = family == AF_INET6 ? 128 : 32;
	uint32_t i;

	for (i = 0; i < b->in->route_cnt; i++) {
		const struct route_route *r = &b->in->routes[i];
		struct route_key key = route_key(family, r->dst);
		struct route_entry e;

		if (r->family != family || !r->exception)
			continue;
		e = b->t->entries[route_fib_find(f, key)];
		if (e.verdict == ROUTE_THROW)
			e = b->t->entries[route_fib_find(&b->t->fallback, key)];
		if (e.verdict != ROUTE_FAST)
			continue;
		if (r->odd || !r->mtu || r->ifindex != b->in->ifindex ||
		    r->has_gateway != e.has_gateway ||
		    (e.has_gateway &&
		     (r->gateway_family != e.gateway_family || memcmp(r->gateway, e.gateway, 16))))
			e.verdict = ROUTE_SLOW_POLICY;
		else if (r->mtu < e.mtu)
			e.mtu = (uint16_t)r->mtu;
		note_mtu(b, family, r->mtu && r->mtu < e.mtu ? (uint16_t)r->mtu : e.mtu);
		*map_put(&f->map, key, full) = entry_add(b->t, &e);
		/* Calls fib_index only if the full length is not listed yet: it must be listed
		 * before another exception for the same destination is looked up. */
		if (!f->mask_cnt || f->mask[0].len != full)
			fib_index(f);
	}
}

static void fill_family(struct build *b, uint8_t family)
{
	struct route_fib *f = &b->t->fib[family == AF_INET6];

	route_policy_judge(b->in, family, &b->policy);
	fill_selected(b, family);
	fib_index(f); /* index the prefixes that hide those of main */
	if (b->policy.slow) {
		if (f->root == ROUTE_NONE)
			f->root = entry_slow(b->t, ROUTE_SLOW_POLICY, !b->in->rp_filter);
		return;
	}
	if (f->root == ROUTE_NONE) { /* otherwise a local 0/0 hides everything */
		fill_groups(b, f, family, RT_TABLE_MAIN);
		resolve(b, f);
	}
	if (family == AF_INET && b->policy.fallback) {
		fill_groups(b, NULL, family, RT_TABLE_DEFAULT);
		resolve(b, &b->t->fallback);
		if (f->root == 0) /* main has no default route: ask table default */
			f->root = entry_slow(b->t, ROUTE_THROW, !b->in->rp_filter);
	} else if (family == AF_INET && f->root == 0) {
		f->root = entry_slow(b->t, ROUTE_SLOW_POLICY, !b->in->rp_filter);
	}
	fill_exceptions(b, family);
}

static bool is_excluded(const struct route_input *in, uint8_t family, const struct route_slot *s)
{
	for (uint32_t i = 0; i < in->excluded_cnt; i++) {
		const struct route_excluded *e = &in->excluded[i];
		struct route_key mask = route_mask(e->len);

		if (e->family == family && e->len <= s->len &&
		    route_key_equal(route_key_and(s->key, mask),
				    route_key_and(route_key(family, e->addr), mask)))
			return true;
	}
	return false;
}

/* Policy rules and other tables put longer prefixes into an excluded one. They are excluded, too:
 * as destinations, and as sources. */
static void hide_excluded(struct build *b)
{
	uint32_t entry;

	if (!b->in->excluded_cnt)
		return;
	entry = entry_slow(b->t, ROUTE_SLOW_RULES, false);
	for (uint32_t six = 0; six < 2; six++) {
		struct route_map *m = &b->t->fib[six].map;

		for (uint32_t i = 0; i <= m->mask; i++)
			if (m->slots[i].len != ROUTE_NONE &&
			    is_excluded(b->in, six ? AF_INET6 : AF_INET, &m->slots[i]))
				m->slots[i].value = entry;
	}
}

/* Determines which sources need a lookup: those whose bit is set in the filter, as long as only
 * single addresses may be refused; all sources if a wider prefix, or sources without a route, may
 * be refused. Loopback sources are refused anyway. */
static void fill_filter(struct build *b)
{
	struct route_table *t = b->t;
	const struct route_fib *f = &t->fib[0];
	uint32_t i;

	/* A rule for one of our addresses decides where the peers of that address may be. */
	if (b->in->rp_filter && t->src_slow_cnt[0])
		for (i = 0; i < t->entry_cnt; i++)
			t->entries[i].origin = false;
	t->origin_all = !t->entries[f->root].origin;
	for (i = 0; i <= f->map.mask; i++) {
		const struct route_slot *s = &f->map.slots[i];
		uint32_t bit;

		if (s->len == ROUTE_NONE || t->entries[s->value].origin || s->key.hi >> 56 == 127)
			continue;
		bit = route_filter_bit((uint32_t)(s->key.hi >> 32));
		t->origin_filter[bit / 64] |= 1ull << (bit % 64);
		t->origin_all |= s->len < 32;
	}
}

static bool is_valid(const struct route_input *in)
{
	uint32_t i;

	for (i = 0; i < in->addr_cnt; i++)
		if ((in->addrs[i].family != AF_INET && in->addrs[i].family != AF_INET6) ||
		    in->addrs[i].prefix_len > (in->addrs[i].family == AF_INET6 ? 128 : 32))
			return false;
	for (i = 0; i < in->excluded_cnt; i++)
		if ((in->excluded[i].family != AF_INET && in->excluded[i].family != AF_INET6) ||
		    in->excluded[i].len > (in->excluded[i].family == AF_INET6 ? 128 : 32))
			return false;
	for (i = 0; i < in->route_cnt; i++)
		if ((in->routes[i].family != AF_INET && in->routes[i].family != AF_INET6) ||
		    in->routes[i].prefix_len > (in->routes[i].family == AF_INET6 ? 128 : 32))
			return false;
	return true;
}

/* Makes a system call, as tables are built rarely. */
static void make_secret(struct route_secret *s)
{
	int i;

	if (getrandom(s, sizeof(*s), GRND_NONBLOCK) == sizeof(*s))
		return;
	for (i = 0; i < 4; i++) /* early at boot; this still differs between runs and tables */
		s->word[i] = ((uint64_t)(uintptr_t)s + (uint64_t)i) * 0x9e3779b97f4a7c15ull;
}

/* Writes the note, unless there is one already: the first reason that the user should know. */
static void note(struct build *b, const char *family)
{
	struct route_table *t = b->t;
	char rule[ROUTE_NOTE_LEN - 48];

	if (!t->note[0] && b->odd_default)
		snprintf(t->note, sizeof(t->note),
			 "%s goes in part to the kernel: the default route has several next hops, "
			 "or what else is not evaluated",
			 family);
	b->odd_default = false;
	if (t->note[0] || !b->policy.why)
		return;
	route_rule_text(b->policy.why, rule, sizeof(rule));
	snprintf(t->note, sizeof(t->note), "%s %s to the kernel: policy rule %s", family,
		 b->policy.slow ? "goes" : "goes in part", rule);
}

static int allocate(struct build *b)
{
	const struct route_input *in = b->in;
	struct route_table *t = b->t;
	/* An address adds at most its own entry and three broadcast ones. The entries for no route,
	 * policy, THROW and what is excluded, and the rules' prefixes are added to that. */
	const uint32_t more = 5 + ROUTE_MAX_SELECTED + in->excluded_cnt;
	uint32_t room[2] = {4 * in->addr_cnt + more, in->addr_cnt + more}, fallback_room = 0, i;
	int six, err = 0;

	make_secret(&t->secret);
	for (i = 0; i < in->route_cnt; i++) {
		const struct route_route *r = &in->routes[i];

		if (r->table != RT_TABLE_LOCAL && in->policy_rules[r->family == AF_INET6])
			continue; /* not looked at, so that such a table is cheap */
		room[r->family == AF_INET6]++;
		fallback_room += r->table == RT_TABLE_DEFAULT;
	}
	for (six = 0; six < 2; six++) {
		err |= map_create(&t->fib[six].map, room[six], &t->secret);
		err |= map_create(&t->own[six], in->addr_cnt, &t->secret);
		err |= map_create(&t->neigh_map[six], in->neigh_cnt, &t->secret);
		t->fib[six].root = ROUTE_NONE;
	}
	err |= map_create(&t->fallback.map, fallback_room, &t->secret);
	err |= map_create(&b->by_prefix, room[0] + room[1], &t->secret);
	t->entries = malloc((room[0] + room[1]) * sizeof(*t->entries));
	t->neighs = malloc((in->neigh_cnt + 1) * sizeof(*t->neighs));
	t->used = calloc(in->neigh_cnt + 1, 1);
	b->groups = malloc((room[0] + room[1]) * sizeof(*b->groups));
	return err || !t->entries || !t->neighs || !t->used || !b->groups ? -1 : 0;
}

struct route_table *route_table_build(const struct route_input *in)
{
	/* A static variable on purpose: workers tell tables apart by this number, and if callers
	 * passed it in, one would sooner or later pass the same number twice. */
	static uint64_t generation;
	struct build b = {.in = in, .t = calloc(1, sizeof(*b.t))};

	if (!b.t || !is_valid(in) || allocate(&b)) {
		free(b.groups);
		free(b.by_prefix.slots);
		route_table_destroy(b.t);
		return NULL;
	}
	b.t->min_mtu[0] = b.t->min_mtu[1] = UINT16_MAX;
	b.t->generation = __atomic_add_fetch(&generation, 1, __ATOMIC_RELAXED);
	entry_slow(b.t, ROUTE_SLOW_NO_ROUTE, !in->rp_filter);
	fill_own(&b);
	fill_neighbours(&b);
	route_source6(in, &b.t->src_global, &b.t->src_link);
	fill_local(&b);
	fill_family(&b, AF_INET);
	note(&b, "IPv4");
	fill_family(&b, AF_INET6);
	note(&b, "IPv6");
	hide_excluded(&b);
	fill_filter(&b);
	free(b.groups);
	free(b.by_prefix.slots);
	return b.t;
}
