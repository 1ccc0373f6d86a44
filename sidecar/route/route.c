/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/route/route.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "sidecar/route/route_table.h"

const char *route_verdict_name(enum route_verdict v)
{
	static const char *const name[] = {
		[ROUTE_FAST] = "fast",
		[ROUTE_SLOW_NO_ROUTE] = "no_route",
		[ROUTE_SLOW_LOCAL] = "local",
		[ROUTE_SLOW_BROADCAST] = "broadcast",
		[ROUTE_SLOW_MULTICAST] = "multicast",
		[ROUTE_SLOW_DEVICE] = "device",
		[ROUTE_SLOW_NEIGHBOUR] = "neighbour",
		[ROUTE_SLOW_POLICY] = "policy",
		[ROUTE_SLOW_RULES] = "rules",
		[ROUTE_SLOW_SOURCE] = "source",
	};

	return (unsigned int)v < ROUTE_VERDICT_CNT ? name[v] : "unknown";
}

/* Judges destinations that need no table. Returns ROUTE_FAST if the table must be searched. */
static enum route_verdict classify4(uint32_t dst)
{
	switch (dst >> 24) {
	case 0: return dst ? ROUTE_SLOW_NO_ROUTE : ROUTE_SLOW_LOCAL; /* 0.0.0.0 means this host */
	case 127: return ROUTE_SLOW_LOCAL;
	case 224 ... 239: return ROUTE_SLOW_MULTICAST;
	}
	return dst == UINT32_MAX ? ROUTE_SLOW_BROADCAST : ROUTE_FAST;
}

static enum route_verdict classify6(struct route_key dst)
{
	if (dst.hi >> 56 == 0xff)
		return ROUTE_SLOW_MULTICAST;
	if (!dst.hi && dst.lo <= 1)
		return ROUTE_SLOW_LOCAL;
	if (!dst.hi && dst.lo >> 32 == 0xffff)
		return ROUTE_SLOW_NO_ROUTE; /* IPv4-mapped: the caller should have asked for IPv4 */
	return ROUTE_FAST;
}

/* Returns the number of leading bits that a and b have in common, at most max (the address's prefix
 * length), as ipv6_get_saddr_eval counts them. */
static uint32_t match_len(struct route_key a, struct route_key b, uint32_t max)
{
	uint64_t hi = a.hi ^ b.hi, lo = a.lo ^ b.lo;
	uint32_t len = hi   ? (uint32_t)__builtin_clzll(hi)
		       : lo ? 64 + (uint32_t)__builtin_clzll(lo)
			    : 128;

	return len < max ? len : max;
}

static const uint8_t *source6(const struct route_table *t, struct route_key dst)
{
	const struct route_sources *s = &t->src_global;
	uint32_t i, best = 0, best_len = 0;

	if (route_is_link_local(dst))
		s = &t->src_link;
	else if (dst.hi >> 54 == 0xfec0 >> 6) /* site-local addresses are a separate scope */
		return NULL;
	if (s->cnt < 2)
		return s->cnt ? s->a[0].addr : NULL;
	for (i = 0; i < s->cnt; i++) {
		uint32_t len = match_len(s->a[i].key, dst, s->a[i].prefix_len);

		if (i == 0 || len > best_len) {
			best = i;
			best_len = len;
		}
	}
	return s->a[best].addr;
}

static bool source_is_ours(const struct route_table *t, uint8_t family, struct route_key dst,
			   struct route_key src)
{
	uint32_t own =
		route_map_find(&t->own[family == AF_INET6], src, family == AF_INET ? 32 : 128);

	if (own == ROUTE_NONE || !(own & ROUTE_OWN_USABLE))
		return false;
	if (family == AF_INET)
		return src.hi >> 56 != 127;
	if (route_is_link_local(src))
		return (own & ROUTE_OWN_DEVICE) && route_is_link_local(dst);
	return src.hi || src.lo != 1;
}

/* Returns true if a policy rule names the source. */
static bool is_selected(const struct route_table *t, bool six, struct route_key src)
{
	uint32_t i;

	for (i = 0; i < t->src_slow_cnt[six]; i++) {
		const struct route_selected *r = &t->src_slow[six][i];
		struct route_key mask = route_mask(r->len);

		if (route_key_equal(
			    route_key_and(src, mask),
			    route_key_and(route_key(six ? AF_INET6 : AF_INET, r->addr), mask)))
			return true;
	}
	return false;
}

enum route_verdict route_lookup(const struct route_table *t, uint8_t family, const void *dst,
				const void *want_src, struct route_hop *hop)
{
	const bool six = family == AF_INET6;
	const struct route_key key = route_key(family, dst);
	struct route_key src = want_src ? route_key(family, want_src) : (struct route_key){0, 0};
	enum route_verdict v = six ? classify6(key) : classify4((uint32_t)(key.hi >> 32));
	const struct route_entry *e;
	uint32_t neigh;

	if (v != ROUTE_FAST)
		return v;
	e = &t->entries[route_fib_find(&t->fib[six], key)];
	if (e->verdict == ROUTE_THROW)
		e = &t->entries[route_fib_find(&t->fallback, key)];
	if (e->verdict != ROUTE_FAST)
		return (enum route_verdict)e->verdict;
	neigh = e->neigh;
	if (neigh == ROUTE_NEIGH_DST)
		neigh = route_map_find(&t->neigh_map[six], key, six ? 128 : 32);
	if (neigh == ROUTE_NONE)
		return ROUTE_SLOW_NEIGHBOUR;
	if (src.hi | src.lo) {
		if (!source_is_ours(t, family, key, src))
			return ROUTE_SLOW_SOURCE;
		if (is_selected(t, six, src))
			return ROUTE_SLOW_POLICY;
		memcpy(hop->src, want_src, six ? 16 : 4);
	} else {
		const uint8_t *choice = e->has_src ? e->src : six ? source6(t, key) : NULL;

		if (!choice)
			return ROUTE_SLOW_SOURCE;
		memcpy(hop->src, choice, 16);
	}
	memcpy(hop->dst_mac, t->neighs[neigh].mac, 6);
	hop->mtu = e->mtu;
	hop->neigh = neigh;
	hop->hop_limit = e->hop_limit;
	return ROUTE_FAST;
}

static bool source_valid4(const struct route_table *t, struct route_key src)
{
	const uint32_t bit = route_filter_bit((uint32_t)(src.hi >> 32));

	if (!t->origin_all && !(t->origin_filter[bit / 64] >> (bit % 64) & 1))
		return true;
	return t->entries[route_fib_find(&t->fib[0], src)].origin;
}

bool route_source_valid(const struct route_table *t, uint8_t family, const void *src)
{
	const struct route_key key = route_key(family, src);

	if (family == AF_INET)
		return source_valid4(t, key);
	return !t->excludes6 ||
	       t->entries[route_fib_find(&t->fib[1], key)].verdict != ROUTE_SLOW_RULES;
}

bool route_is_local(const struct route_table *t, uint8_t family, const void *addr)
{
	const bool six = family == AF_INET6;

	return route_map_find(&t->own[six], route_key(family, addr), six ? 128 : 32) != ROUTE_NONE;
}

/* Relaxed order is enough: nothing else is published with a mark, and the next datagram sets a lost
 * mark again. Reading before writing keeps the cache line shared between workers. */
void route_table_mark_used(const struct route_table *t, uint32_t neigh)
{
	if (neigh < t->neigh_cnt && !__atomic_load_n(&t->used[neigh], __ATOMIC_RELAXED))
		__atomic_store_n(&t->used[neigh], 1, __ATOMIC_RELAXED);
}

void route_table_take_used(struct route_table *t,
			   void (*fn)(void *arg, const struct route_neigh *n), void *arg)
{
	uint32_t i;

	for (i = 0; i < t->neigh_cnt; i++) {
		if (!__atomic_load_n(&t->used[i], __ATOMIC_RELAXED))
			continue;
		__atomic_store_n(&t->used[i], 0, __ATOMIC_RELAXED);
		fn(arg, &t->neighs[i]);
	}
}

uint64_t route_table_generation(const struct route_table *t)
{
	return t->generation;
}

uint16_t route_table_mtu(const struct route_table *t, uint8_t family)
{
	return t->min_mtu[family == AF_INET6];
}

const char *route_table_note(const struct route_table *t)
{
	return t->note;
}

void route_table_destroy(struct route_table *t)
{
	int six;

	if (!t)
		return;
	for (six = 0; six < 2; six++) {
		free(t->fib[six].map.slots);
		free(t->own[six].slots);
		free(t->neigh_map[six].slots);
	}
	free(t->fallback.map.slots);
	free(t->entries);
	free(t->neighs);
	free(t->used);
	free(t);
}
