/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of rules: filled from what the kernel dumps, then put in order. */
#include "sidecar/environment/rules_set.h"

#include <stdlib.h>
#include <string.h>

static uint64_t hash_more(uint64_t h, const char *s)
{
	do
		h = (h ^ (uint8_t)*s) * 0x100000001b3ull;
	while (*s++);
	return h;
}

uint64_t rules_hash(const char *make, uint8_t family, const char *table, const char *name)
{
	uint64_t h = 0xcbf29ce484222325ull ^ family;

	return hash_more(hash_more(hash_more(h, make), table), name);
}

bool rules_grow(struct rules *r, void **items, uint32_t cnt, uint32_t *room, size_t size)
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

/* ---- by hash ---- */

static uint32_t slot_of(const struct rules_index *x, uint64_t hash)
{
	uint32_t i = (uint32_t)(hash ^ hash >> 32) & (x->size - 1);

	while (x->slot[i].number != RULES_NONE && x->slot[i].hash != hash)
		i = (i + 1) & (x->size - 1);
	return i;
}

uint32_t rules_index_find(const struct rules_index *x, uint64_t hash)
{
	return x->size ? x->slot[slot_of(x, hash)].number : RULES_NONE;
}

static bool enlarge(struct rules *r, struct rules_index *x)
{
	struct rules_index bigger = {.size = x->size ? 2 * x->size : 256, .cnt = x->cnt};

	bigger.slot = malloc(bigger.size * sizeof(*bigger.slot));
	if (!bigger.slot) {
		r->failed = true;
		return false;
	}
	memset(bigger.slot, 0xff, bigger.size * sizeof(*bigger.slot));
	for (uint32_t i = 0; i < x->size; i++)
		if (x->slot[i].number != RULES_NONE)
			bigger.slot[slot_of(&bigger, x->slot[i].hash)] = x->slot[i];
	free(x->slot);
	*x = bigger;
	return true;
}

bool rules_index_put(struct rules *r, struct rules_index *x, uint64_t hash, uint32_t number)
{
	uint32_t i;

	if (2 * x->cnt >= x->size && !enlarge(r, x))
		return false;
	i = slot_of(x, hash);
	x->cnt += x->slot[i].number == RULES_NONE;
	x->slot[i].hash = hash;
	x->slot[i].number = number;
	return true;
}

/* ---- building ---- */

struct rules_set *rules_add_set(struct rules *r, uint8_t family, const char *table,
				const char *name)
{
	struct rules_set *s;

	if (!rules_grow(r, (void **)&r->sets, r->set_cnt, &r->set_room, sizeof(*s)))
		return NULL;
	s = &r->sets[r->set_cnt];
	memset(s, 0, sizeof(*s));
	s->hash = rules_hash("set", family, table, name);
	if (!rules_index_put(r, &r->set_index, s->hash, r->set_cnt))
		return NULL;
	r->set_cnt++;
	return s;
}

uint32_t rules_find_set(const struct rules *r, uint8_t family, const char *table, const char *name)
{
	return rules_index_find(&r->set_index, rules_hash("set", family, table, name));
}

static bool add_keys(struct rules *r, const uint8_t *lo, const uint8_t *hi, uint32_t len,
		     uint32_t copies)
{
	while (r->key_cnt + 2 * RULES_KEY > r->key_room)
		if (!rules_grow(r, (void **)&r->keys, r->key_room, &r->key_room, 1))
			return false;
	memcpy(r->keys + r->key_cnt, lo, len);
	if (copies == 2)
		memcpy(r->keys + r->key_cnt + len, hi ? hi : lo, len);
	r->key_cnt += copies * len;
	return true;
}

void rules_add_element(struct rules *r, uint32_t set, const struct rules_element *e,
		       const uint8_t *lo, const uint8_t *hi)
{
	struct rules_set *s = &r->sets[set];
	struct rules_element *at;

	if (!s->cnt)
		s->first = r->element_cnt;
	if (s->unread || s->finished || s->first + s->cnt != r->element_cnt ||
	    r->element_cnt >= RULES_ELEMENTS) {
		s->unread = true;
		return;
	}
	if (!rules_grow(r, (void **)&r->elements, r->element_cnt, &r->element_room, sizeof(*at)))
		return;
	at = &r->elements[r->element_cnt];
	*at = *e;
	at->key = r->key_cnt;
	at->whole = hi != NULL;
	if (!add_keys(r, lo, hi, s->key_len, s->ranges ? 2 : 1))
		return;
	s->cnt++;
	r->element_cnt++;
}

uint32_t rules_add_lookup(struct rules *r, uint32_t set, bool invert)
{
	if (!rules_grow(r, (void **)&r->lookups, r->lookup_cnt, &r->lookup_room,
			sizeof(*r->lookups)))
		return RULES_NONE;
	r->lookups[r->lookup_cnt] =
		(struct rules_lookup){.set = set, .invert = invert, .part = r->part_cnt};
	return r->lookup_cnt++;
}

void rules_add_part(struct rules *r, const struct rules_test *part)
{
	if (!rules_grow(r, (void **)&r->parts, r->part_cnt, &r->part_room, sizeof(*part)))
		return;
	r->parts[r->part_cnt++] = *part;
	r->lookups[r->lookup_cnt - 1].part_cnt++;
}

/* ---- the same set once more ---- */

/* The chain that it jumps to has a new number. */
static struct rules_element moved(const struct rules *r, const struct rules_element *e,
				  const struct rules *old)
{
	struct rules_element out = *e;

	if (e->target != RULES_NONE)
		out.target = rules_index_find(&r->chain_index, old->chains[e->target].hash);
	return out;
}

bool rules_reuse_set(struct rules *r, uint64_t identity, const struct rules *old)
{
	uint32_t set = r->set_cnt - 1, number;
	const struct rules_set *was;
	struct rules_set *s = &r->sets[set];

	if (!identity || !rules_index_put(r, &r->identity_index, identity, set))
		return false;
	s->identity = identity;
	number = old ? rules_index_find(&old->identity_index, identity) : RULES_NONE;
	if (number == RULES_NONE)
		return false;
	was = &old->sets[number];
	if (!was->finished || was->unread || was->key_len != s->key_len ||
	    was->ranges != s->ranges || was->field_cnt != s->field_cnt)
		return false;
	for (uint32_t i = was->first; i < was->first + was->cnt; i++) {
		const uint8_t *key = old->keys + old->elements[i].key;
		struct rules_element e = moved(r, &old->elements[i], old);

		rules_add_element(r, set, &e, key, s->ranges ? key + s->key_len : NULL);
	}
	s->has_rest = was->has_rest;
	if (was->has_rest)
		s->rest = moved(r, &was->rest, old);
	s->doubtful = was->doubtful;
	return true;
}

void rules_empty_set(struct rules *r, uint32_t set)
{
	r->sets[set].cnt = 0;
	r->sets[set].has_rest = r->sets[set].finished = false;
}

static void *copy_of(const void *items, uint32_t cnt, uint32_t *room, size_t size, bool *failed)
{
	void *to = malloc(cnt ? cnt * size : 1);

	*room = to ? cnt : 0;
	*failed |= !to;
	if (to && cnt)
		memcpy(to, items, cnt * size);
	return to;
}

static void copy_index(struct rules_index *to, const struct rules_index *from, bool *failed)
{
	to->slot = copy_of(from->slot, from->size, &to->size, sizeof(*from->slot), failed);
	to->cnt = from->cnt;
}

void rules_free(struct rules *r)
{
	free(r->tests);
	free(r->rules);
	free(r->chains);
	free(r->sets);
	free(r->elements);
	free(r->lookups);
	free(r->parts);
	free(r->keys);
	free(r->chain_index.slot);
	free(r->set_index.slot);
	free(r->identity_index.slot);
	memset(r, 0, sizeof(*r));
}

bool rules_copy(struct rules *to, const struct rules *from)
{
	bool bad = from->failed;

	*to = *from;
	to->tests = copy_of(from->tests, from->test_cnt, &to->test_room, sizeof(*to->tests), &bad);
	to->parts = copy_of(from->parts, from->part_cnt, &to->part_room, sizeof(*to->parts), &bad);
	to->rules = copy_of(from->rules, from->rule_cnt, &to->rule_room, sizeof(*to->rules), &bad);
	to->chains =
		copy_of(from->chains, from->chain_cnt, &to->chain_room, sizeof(*to->chains), &bad);
	to->sets = copy_of(from->sets, from->set_cnt, &to->set_room, sizeof(*to->sets), &bad);
	to->elements = copy_of(from->elements, from->element_cnt, &to->element_room,
			       sizeof(*to->elements), &bad);
	to->lookups = copy_of(from->lookups, from->lookup_cnt, &to->lookup_room,
			      sizeof(*to->lookups), &bad);
	to->keys = copy_of(from->keys, from->key_cnt, &to->key_room, 1, &bad);
	copy_index(&to->chain_index, &from->chain_index, &bad);
	copy_index(&to->set_index, &from->set_index, &bad);
	copy_index(&to->identity_index, &from->identity_index, &bad);
	if (bad)
		rules_free(to);
	return !bad;
}

/* ---- order ---- */

struct order {
	const uint8_t *keys;
	uint32_t len;
};

/* An end comes before a begin at the same key. */
static int compare_elements(const void *a, const void *b, void *arg)
{
	const struct rules_element *x = a, *y = b;
	const struct order *o = arg;
	int d = memcmp(o->keys + x->key, o->keys + y->key, o->len);

	return d ? d : (int)y->end - (int)x->end;
}

static void decrement(uint8_t *key, uint32_t len)
{
	while (len-- && key[len]-- == 0)
		;
}

/* Turns begins and ends into ranges. */
static void pair(struct rules *r, struct rules_set *s)
{
	struct rules_element *e = r->elements + s->first;
	uint32_t out = 0;

	for (uint32_t i = 0; i < s->cnt; i++) {
		uint8_t *hi = r->keys + e[i].key + s->key_len;

		if (e[i].end)
			continue;
		if (!e[i].whole && i + 1 < s->cnt) {
			memcpy(hi, r->keys + e[i + 1].key, s->key_len);
			decrement(hi, s->key_len);
		} else if (!e[i].whole) {
			memset(hi, 0xff, s->key_len);
		}
		e[out++] = e[i];
	}
	s->cnt = out;
}

void rules_finish(struct rules *r)
{
	for (uint32_t i = 0; i < r->set_cnt; i++) {
		struct rules_set *s = &r->sets[i];
		struct order o = {r->keys, s->key_len};

		if (s->cnt && !s->finished) {
			qsort_r(r->elements + s->first, s->cnt, sizeof(*r->elements),
				compare_elements, &o);
			if (s->ranges && !s->field_cnt)
				pair(r, s);
		}
		s->finished = true;
	}
}
