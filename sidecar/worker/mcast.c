/* SPDX-License-Identifier: Apache-2.0 */
/* Multicast groups that are diverted: who receives a copy of each datagram. */
#include "sidecar/worker/internal.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static void make_key(uint32_t key[KEY_HASH_WORDS_6], uint8_t family, const void *addr,
		     uint16_t port_be)
{
	memset(key, 0, KEY_HASH_WORDS_6 * sizeof(*key));
	memcpy(key, addr, family == AF_INET6 ? 16 : 4);
	key[4] = port_be | (uint32_t)family << 16;
}

static uint32_t find(const struct worker_groups *g, const uint32_t *key)
{
	return g->cnt ? key_hash_find(&g->index, g->secret, key, KEY_HASH_WORDS_6) : 0;
}

const struct worker_mcast *worker_mcast_find(const struct worker *w, const struct packet_info *info)
{
	uint32_t key[KEY_HASH_WORDS_6], at;

	make_key(key, info->family, info->dst.bytes, info->dst_port_be);
	at = find(&w->groups, key);
	return at ? w->groups.at[at - 1] : NULL;
}

bool worker_member_wants(const struct worker_member *m, const struct packet_info *info)
{
	for (uint32_t i = 0; i < m->source_cnt; i++)
		if (!memcmp(m->source[i], info->src.bytes, sizeof(m->source[i])))
			return !m->exclude;
	return m->exclude;
}

static void remove_group(struct worker_groups *g, const uint32_t *key, uint32_t at)
{
	uint32_t last_key[KEY_HASH_WORDS_6];
	struct worker_mcast *last = g->at[--g->cnt];

	free(g->at[at - 1]);
	key_hash_delete(&g->index, g->secret, key, KEY_HASH_WORDS_6);
	if (at - 1 == g->cnt)
		return;
	g->at[at - 1] = last;
	make_key(last_key, last->group.family, last->group.addr, last->group.port_be);
	key_hash_set(&g->index, g->secret, last_key, KEY_HASH_WORDS_6, at);
}

static int reserve(struct worker_groups *g)
{
	uint32_t room = g->room ? 2 * g->room : 8;
	struct worker_mcast **more;

	if (!g->room && getrandom(g->secret, sizeof(g->secret), 0) != sizeof(g->secret))
		return -ENOMEM;
	if (g->cnt == g->room) {
		more = realloc(g->at, room * sizeof(struct worker_mcast *));
		if (!more)
			return -ENOMEM;
		g->at = more;
		g->room = room;
	}
	return key_hash_reserve(&g->index, g->secret, KEY_HASH_WORDS_6);
}

static bool is_member(const struct worker_mcast *m, uint32_t sock)
{
	for (uint32_t i = 0; m && i < m->member_cnt; i++)
		if (m->member[i].sock == sock)
			return true;
	return false;
}

/* What a new member finds in its kernel socket is older than its first copy. */
static void mark_new(struct worker *w, const struct worker_mcast *was, const struct worker_mcast *m)
{
	for (uint32_t i = 0; i < m->member_cnt; i++)
		if (!is_member(was, m->member[i].sock))
			w->socket[m->member[i].sock].epoch = w->epoch - 1;
}

int worker_mcast_set(struct worker *w, const struct worker_mcast *m)
{
	struct worker_groups *g = &w->groups;
	uint32_t key[KEY_HASH_WORDS_6], at;
	struct worker_mcast *copy;

	make_key(key, m->group.family, m->group.addr, m->group.port_be);
	at = find(g, key);
	if (!m->member_cnt) {
		if (at)
			remove_group(g, key, at);
		return 0;
	}
	if (m->member_cnt > 1 && !w->copies)
		w->copies = calloc(w->opt.frame_cnt, sizeof(*w->copies));
	if (m->member_cnt > 1 && !w->copies)
		return -ENOMEM;
	copy = at ? g->at[at - 1] : malloc(sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	if (!at && reserve(g)) {
		free(copy);
		return -ENOMEM;
	}
	mark_new(w, at ? copy : NULL, m);
	*copy = *m;
	if (at)
		return 0;
	g->at[g->cnt++] = copy;
	key_hash_set(&g->index, g->secret, key, KEY_HASH_WORDS_6, g->cnt);
	return 0;
}

void worker_mcast_free(struct worker *w)
{
	for (uint32_t i = 0; i < w->groups.cnt; i++)
		free(w->groups.at[i]);
	free(w->groups.at);
	key_hash_free(&w->groups.index);
	free(w->copies);
}
