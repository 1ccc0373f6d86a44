// SPDX-License-Identifier: Apache-2.0
#include "sidecar/port/share.h"

#include <errno.h>
#include <stdlib.h>

#define NONE UINT32_MAX
#define BUCKETS_PER_MEMBER 32u
#define BUCKETS_PER_MEMBER_MANY 4u /* of a large group: whoever doubles it, or leaves it last, must not be busy for milliseconds */
#define MANY_BUCKETS 65536u
#define MIN_BUCKETS (2 * BUCKETS_PER_MEMBER)
#define MAX_BUCKETS (1u << 30)
#define MAX_GROUPS (1u << 24)

void share_set_init(struct share_set *set, const uint64_t *secret)
{
	*set = (struct share_set){ .secret = secret, .free = NONE };
}

static void free_arrays(struct share *s)
{
	free(s->bucket);
	free(s->next);
	free(s->member);
}

void share_set_free(struct share_set *set)
{
	for (uint32_t i = 0; i < set->cnt; i++)
		free_arrays(&set->share[i]);
	free(set->share);
	key_hash_free(&set->pos);
}

/* ------------------------------------------------------------------------------------------- where a member stands -- */

static uint32_t pos_get(const struct share_set *set, uint32_t group, uint32_t sock)
{
	const uint32_t key[KEY_HASH_WORDS_4] = { group, sock, 0 };

	return set->pos.slot ? key_hash_find(&set->pos, set->secret, key, KEY_HASH_WORDS_4) - 1 : NONE;
}

static void pos_set(struct share_set *set, uint32_t group, uint32_t sock, uint32_t pos)
{
	const uint32_t key[KEY_HASH_WORDS_4] = { group, sock, 0 };

	key_hash_set(&set->pos, set->secret, key, KEY_HASH_WORDS_4, pos + 1);
}

static void pos_delete(struct share_set *set, uint32_t group, uint32_t sock)
{
	const uint32_t key[KEY_HASH_WORDS_4] = { group, sock, 0 };

	key_hash_delete(&set->pos, set->secret, key, KEY_HASH_WORDS_4);
}

static void put_member(struct share_set *set, uint32_t group, uint32_t pos, struct share_member m)
{
	set->share[group].member[pos] = m;
	pos_set(set, group, m.sock, pos);
}

/* -------------------------------------------------------------------------------------------------------- buckets -- */

static uint32_t pop_bucket(struct share *s, struct share_member *m)
{
	uint32_t bucket = m->first;

	m->first = s->next[bucket];
	return bucket;
}

static void push_bucket(struct share *s, struct share_member *m, uint32_t bucket)
{
	s->bucket[bucket] = m->sock;
	s->next[bucket] = m->first;
	m->first = bucket;
}

/* How many members so many buckets are enough for. */
static uint32_t members_max(uint32_t bucket_cnt)
{
	return bucket_cnt / (bucket_cnt < MANY_BUCKETS ? BUCKETS_PER_MEMBER : BUCKETS_PER_MEMBER_MANY);
}

/* Empty arrays of that size into *to. */
static int alloc_arrays(struct share *to, uint32_t bucket_cnt)
{
	*to = (struct share){
		.bucket = malloc(bucket_cnt * sizeof(*to->bucket)),
		.bucket_cnt = bucket_cnt,
		.next = malloc(bucket_cnt * sizeof(*to->next)),
		.member = malloc(members_max(bucket_cnt) * sizeof(*to->member)),
	};
	if (to->bucket && to->next && to->member)
		return 0;
	free_arrays(to);
	return -ENOMEM;
}

/* Splits each bucket in two. Every member has as many as any other here (both counts are powers of two), and so it stays. */
static int double_buckets(struct share *s)
{
	struct share to;

	if (s->bucket_cnt >= MAX_BUCKETS || alloc_arrays(&to, s->bucket_cnt * 2))
		return -ENOMEM;
	to.member_cnt = s->member_cnt;
	for (uint32_t i = 0; i < s->member_cnt; i++) {
		struct share_member *m = &to.member[i];

		*m = (struct share_member){ .sock = s->member[i].sock, .first = NONE };
		for (uint32_t b = s->member[i].first; b != NONE; b = s->next[b]) {
			push_bucket(&to, m, 2 * b);
			push_bucket(&to, m, 2 * b + 1);
		}
	}
	free_arrays(s);
	*s = to;
	return 0;
}

/* --------------------------------------------------------------------------------------------------------- groups -- */

static int reserve_number(struct share_set *set)
{
	uint32_t cap = set->cap ? set->cap * 2 : 16;
	struct share *share;

	if (set->free != NONE || set->cnt < set->cap)
		return 0;
	if (cap > MAX_GROUPS)
		return -ENOMEM;
	share = realloc(set->share, cap * sizeof(*share));
	if (!share)
		return -ENOMEM;
	set->share = share;
	set->cap = cap;
	return 0;
}

int share_create(struct share_set *set, uint32_t sock, uint32_t *group)
{
	struct share_member only = { .sock = sock, .first = NONE };
	struct share s;

	if (reserve_number(set) || key_hash_reserve(&set->pos, set->secret, KEY_HASH_WORDS_4) ||
	    alloc_arrays(&s, MIN_BUCKETS))
		return -ENOMEM;
	for (uint32_t b = s.bucket_cnt; b-- > 0;)
		push_bucket(&s, &only, b);
	s.member_cnt = 1;
	if (set->free != NONE) {
		*group = set->free;
		set->free = set->share[*group].heavy;
	} else {
		*group = set->cnt++;
	}
	set->share[*group] = s;
	put_member(set, *group, 0, only);
	set->live++;
	return 0;
}

int share_add(struct share_set *set, uint32_t group, uint32_t sock)
{
	struct share *s = &set->share[group];
	struct share_member new = { .sock = sock, .first = NONE };
	uint32_t part;

	if (pos_get(set, group, sock) != NONE)
		return -EEXIST;
	if (key_hash_reserve(&set->pos, set->secret, KEY_HASH_WORDS_4))
		return -ENOMEM;
	if (s->member_cnt == members_max(s->bucket_cnt) && double_buckets(s))
		return -ENOMEM;
	part = s->bucket_cnt / (s->member_cnt + 1);
	for (uint32_t i = 0; i < part; i++) {
		if (!s->heavy)
			s->heavy = s->member_cnt;
		push_bucket(s, &new, pop_bucket(s, &s->member[--s->heavy]));
	}
	put_member(set, group, s->member_cnt++, new);
	/* As it stands, but where every other member has one more than the new one. */
	s->heavy = s->bucket_cnt % s->member_cnt;
	return 0;
}

int share_remove(struct share_set *set, uint32_t group, uint32_t sock)
{
	struct share *s = &set->share[group];
	uint32_t pos = pos_get(set, group, sock);
	struct share_member gone;

	if (pos == NONE)
		return -ENOENT;
	gone = s->member[pos];
	pos_delete(set, group, sock);
	if (pos < s->heavy) {
		/* The last of the heavy closes the gap, and leaves one among the others. */
		if (pos != --s->heavy)
			put_member(set, group, pos, s->member[s->heavy]);
		pos = s->heavy;
	}
	if (pos != --s->member_cnt)
		put_member(set, group, pos, s->member[s->member_cnt]);
	if (s->heavy == s->member_cnt)
		s->heavy = 0;
	while (gone.first != NONE) {
		push_bucket(s, &s->member[s->heavy], pop_bucket(s, &gone));
		if (++s->heavy == s->member_cnt)
			s->heavy = 0;
	}
	return 0;
}

void share_destroy(struct share_set *set, uint32_t group)
{
	struct share *s = &set->share[group];

	for (uint32_t i = 0; i < s->member_cnt; i++)
		pos_delete(set, group, s->member[i].sock);
	free_arrays(s);
	*s = (struct share){ .heavy = set->free };
	set->free = group;
	set->live--;
}
