/* SPDX-License-Identifier: Apache-2.0 */
/* Writes what a table says as short lists: destinations for the library, sources for the device. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "sidecar/route/route.h"
#include "sidecar/route/route_table.h"

struct listed {
	struct route_key key;
	uint8_t family, len;
	bool fast, on_link;
	bool broadcast;
};

/* Sorts the widest prefixes first, so that a prefix comes after those that contain it. */
static int compare_listed(const void *a, const void *b)
{
	const struct listed *x = a, *y = b;

	if (x->len != y->len)
		return x->len < y->len ? -1 : 1;
	if (x->family != y->family)
		return x->family < y->family ? -1 : 1;
	if (x->key.hi != y->key.hi)
		return x->key.hi < y->key.hi ? -1 : 1;
	return x->key.lo < y->key.lo ? -1 : x->key.lo > y->key.lo;
}

/* Returns true if the library need not know that the destination is slow, because the worker sends
 * it by the slow path without an error. */
static bool is_harmless(uint8_t verdict)
{
	return verdict == ROUTE_SLOW_LOCAL || verdict == ROUTE_SLOW_DEVICE ||
	       verdict == ROUTE_SLOW_NEIGHBOUR;
}

static uint32_t list_one(struct listed *out, const struct route_entry *e, uint8_t family,
			 struct route_key key, uint32_t len)
{
	/* The library recognizes loopback itself. */
	if (is_harmless(e->verdict) || (family == AF_INET && key.hi >> 56 == 127))
		return 0;
	*out = (struct listed){
		.key = key,
		.family = family,
		.len = (uint8_t)len,
		.fast = e->verdict == ROUTE_FAST,
		.on_link = e->verdict == ROUTE_FAST && family == AF_INET && !e->has_gateway &&
			   len > 0 && len < 31,
		.broadcast = e->verdict == ROUTE_SLOW_BROADCAST,
	};
	return 1;
}

/* Returns the entry of the narrowest prefix that contains key and is at most len bits long. */
static const struct route_entry *find_within(const struct route_table *t, const struct route_fib *f,
					     struct route_key key, uint32_t len)
{
	uint32_t i, value;

	for (i = 0; i < f->mask_cnt; i++) {
		if (f->mask[i].len > len)
			continue;
		value = route_map_find(&f->map, route_key_and(key, f->mask[i].key), f->mask[i].len);
		if (value != ROUTE_NONE)
			return &t->entries[value];
	}
	return &t->entries[f->root];
}

/* Lists one prefix; if main leaves it to table default, with what that table says. */
static uint32_t list_resolved(const struct route_table *t, const struct route_entry *e,
			      uint8_t family, struct route_key key, uint32_t len,
			      struct listed *out)
{
	if (e->verdict == ROUTE_THROW)
		e = find_within(t, &t->fallback, key, len);
	return list_one(out, e, family, key, len);
}

static uint32_t list_fib(const struct route_table *t, uint8_t family, struct listed *out)
{
	const struct route_fib *f = &t->fib[family == AF_INET6];
	uint32_t i, cnt;

	cnt = list_resolved(t, &t->entries[f->root], family, (struct route_key){0, 0}, 0, out);
	for (i = 0; i <= f->map.mask; i++) {
		const struct route_slot *s = &f->map.slots[i];

		if (s->len != ROUTE_NONE)
			cnt += list_resolved(t, &t->entries[s->value], family, s->key, s->len,
					     &out[cnt]);
	}
	return cnt;
}

/* Lists the prefixes of table default that main leaves to it. */
static uint32_t list_fallback(const struct route_table *t, struct listed *out)
{
	const struct route_fib *f = &t->fallback;
	uint32_t i, cnt = 0;

	for (i = 0; f->map.slots && i <= f->map.mask; i++) {
		const struct route_slot *s = &f->map.slots[i];

		if (s->len != ROUTE_NONE &&
		    find_within(t, &t->fib[0], s->key, s->len)->verdict == ROUTE_THROW)
			cnt += list_one(&out[cnt], &t->entries[s->value], AF_INET, s->key, s->len);
	}
	return cnt;
}

/* Returns the index of the narrowest of the prefixes that contains p, or ROUTE_NONE. */
static uint32_t holder(const struct listed *p, const struct listed *of, uint32_t cnt)
{
	while (cnt--)
		if (of[cnt].family == p->family && of[cnt].len <= p->len &&
		    route_key_equal(route_key_and(p->key, route_mask(of[cnt].len)), of[cnt].key))
			return cnt;
	return ROUTE_NONE;
}

static bool is_edge(const struct listed *p, const struct listed *of)
{
	const uint64_t host = ~route_mask(of->len).hi & route_mask(32).hi;

	return p->len == 32 && of->on_link &&
	       ((p->key.hi & host) == 0 || (p->key.hi & host) == host);
}

/* Returns true if p says nothing that the prefix around it does not say already. */
static bool is_redundant(const struct listed *p, const struct listed *of, uint32_t cnt)
{
	const uint32_t h = holder(p, of, cnt);

	if (h == ROUTE_NONE)
		return !p->fast;
	if (p->broadcast && is_edge(p, &of[h]))
		return true;
	return p->fast == of[h].fast && !p->on_link && !of[h].on_link;
}

static void note_lack(struct route_table *t, const struct listed *p, uint32_t max)
{
	const struct route_key wire = {__builtin_bswap64(p->key.hi), __builtin_bswap64(p->key.lo)};
	char text[INET6_ADDRSTRLEN];

	if (!t->note[0])
		snprintf(t->note, sizeof(t->note),
			 "more prefixes than the library can be told (%u): %s/%u goes to the "
			 "kernel, for it holds slow ones",
			 max, inet_ntop(p->family, &wire, text, sizeof(text)), p->len);
}

/* Keeps the first max prefixes that are not redundant, and returns how many. If a hole does not
 * fit, the prefix around it becomes slow. */
static uint32_t keep(struct route_table *t, struct listed *list, uint32_t cnt, uint32_t max)
{
	uint32_t i, kept = 0, h;

	for (i = 0; i < cnt; i++) {
		if (is_redundant(&list[i], list, kept))
			continue;
		if (kept < max) {
			list[kept++] = list[i];
			continue;
		}
		h = list[i].fast ? ROUTE_NONE : holder(&list[i], list, kept);
		if (h == ROUTE_NONE || !list[h].fast)
			continue;
		list[h].fast = list[h].on_link = false;
		note_lack(t, &list[h], max);
	}
	return kept;
}

uint32_t route_table_prefixes(struct route_table *t, struct udplane_prefix *out, uint32_t max)
{
	uint32_t room = t->fib[0].map.cnt + t->fib[1].map.cnt + t->fallback.map.cnt + 3, cnt, i;
	struct listed *list = malloc(room * sizeof(*list));

	if (!list)
		return 0;
	cnt = list_fib(t, AF_INET, list);
	cnt += list_fib(t, AF_INET6, list + cnt);
	cnt += list_fallback(t, list + cnt);
	qsort(list, cnt, sizeof(*list), compare_listed);
	cnt = keep(t, list, cnt, max);
	for (i = 0; i < cnt; i++) {
		const struct route_key wire = {__builtin_bswap64(list[i].key.hi),
					       __builtin_bswap64(list[i].key.lo)};

		out[i] = (struct udplane_prefix){.family = list[i].family,
						 .len = list[i].len,
						 .on_link = list[i].on_link,
						 .slow = !list[i].fast};
		memcpy(out[i].addr, &wire, 16);
	}
	free(list);
	return cnt;
}

static int compare_origins(const void *a, const void *b)
{
	const struct route_origin *x = a, *y = b;

	if (x->len != y->len)
		return x->len > y->len ? -1 : 1;
	return x->addr_be < y->addr_be ? -1 : x->addr_be > y->addr_be;
}

uint32_t route_table_origins(const struct route_table *t, struct route_origin *out, uint32_t max)
{
	const struct route_fib *f = &t->fib[0];
	uint32_t i, cnt = 0;

	for (i = 0; i <= f->map.mask; i++) {
		const struct route_slot *s = &f->map.slots[i];
		bool valid;

		if (s->len == ROUTE_NONE || !s->len || s->key.hi >> 56 == 127)
			continue;
		valid = t->entries[s->value].origin;
		if (valid == find_within(t, f, s->key, s->len - 1)->origin)
			continue;
		if (cnt < max)
			out[cnt] = (struct route_origin){htonl((uint32_t)(s->key.hi >> 32)),
							 (uint8_t)s->len, valid};
		cnt++;
	}
	if (cnt < max)
		out[cnt] = (struct route_origin){0, 0, t->entries[f->root].origin};
	cnt++;
	if (cnt <= max)
		qsort(out, cnt, sizeof(*out), compare_origins);
	return cnt;
}
