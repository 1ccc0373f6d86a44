/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/port/share.h"

#include <errno.h>
#include <stdlib.h>

#define NONE	   UINT32_MAX
#define MIN_ROOM   4u
#define MAX_GROUPS (1u << 24)

void share_set_init(struct share_set *set)
{
	*set = (struct share_set){.free = NONE};
}

void share_set_free(struct share_set *set)
{
	for (uint32_t i = 0; i < set->cnt; i++)
		free(set->share[i].member);
	free(set->share);
}

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
	struct share s = {.member_cnt = 1, .room = MIN_ROOM};

	if (reserve_number(set))
		return -ENOMEM;
	s.member = malloc(MIN_ROOM * sizeof(*s.member));
	if (!s.member)
		return -ENOMEM;
	s.member[0] = sock;
	if (set->free != NONE) {
		*group = set->free;
		set->free = set->share[*group].room;
	} else {
		*group = set->cnt++;
	}
	set->share[*group] = s;
	set->live++;
	return 0;
}

static uint32_t find(const struct share *s, uint32_t sock)
{
	for (uint32_t i = 0; i < s->member_cnt; i++)
		if (s->member[i] == sock)
			return i;
	return NONE;
}

int share_add(struct share_set *set, uint32_t group, uint32_t sock)
{
	struct share *s = &set->share[group];
	uint32_t *member;

	if (find(s, sock) != NONE)
		return -EEXIST;
	if (s->member_cnt == s->room) {
		member = realloc(s->member, 2 * s->room * sizeof(*member));
		if (!member)
			return -ENOMEM;
		s->member = member;
		s->room *= 2;
	}
	s->member[s->member_cnt++] = sock;
	return 0;
}

int share_remove(struct share_set *set, uint32_t group, uint32_t sock)
{
	struct share *s = &set->share[group];
	uint32_t at = find(s, sock);

	if (at == NONE)
		return -ENOENT;
	s->member[at] = s->member[--s->member_cnt];
	return 0;
}

uint32_t share_pick_named(const struct share_set *set, uint32_t group, uint32_t hash,
			  uint64_t cookie, const uint64_t *cookies)
{
	const struct share *s = &set->share[group];
	uint32_t first = (uint32_t)(((uint64_t)hash * s->member_cnt) >> 32);

	for (uint32_t i = 0, at = first; i < s->member_cnt; i++) {
		if (cookies[s->member[at]] == cookie)
			return s->member[at];
		at = at + 1 < s->member_cnt ? at + 1 : 0;
	}
	return s->member[first]; /* it has just left */
}

void share_destroy(struct share_set *set, uint32_t group)
{
	free(set->share[group].member);
	set->share[group] = (struct share){.room = set->free};
	set->free = group;
	set->live--;
}
