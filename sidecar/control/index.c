/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/control/index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define PORTS 65536

static uint32_t hash_words(const struct sock_index *x, const void *key, size_t len)
{
	uint64_t h = x->secret;

	for (size_t i = 0; i < len; i += 8) {
		uint64_t word = 0;

		memcpy(&word, (const char *)key + i, len - i < 8 ? len - i : 8);
		h = (h ^ word) * 0xff51afd7ed558ccdull;
		h ^= h >> 32;
	}
	return (uint32_t)h & x->mask;
}

int index_init(struct sock_index *x, uint32_t max)
{
	uint32_t size = 64;

	while (size < max)
		size *= 2;
	memset(x, 0, sizeof(*x));
	x->mask = size - 1;
	x->port = calloc(PORTS, sizeof(*x->port));
	x->cookie = calloc(size, sizeof(*x->cookie));
	x->group = calloc(size, sizeof(*x->group));
	if (getrandom(&x->secret, sizeof(x->secret), 0) == sizeof(x->secret) && x->port &&
	    x->cookie && x->group)
		return 0;
	index_free(x);
	return -ENOMEM;
}

void index_free(struct sock_index *x)
{
	free(x->port);
	free(x->cookie);
	free(x->group);
	memset(x, 0, sizeof(*x));
}

struct index_group *index_find(const struct sock_index *x, const struct port_key *key)
{
	struct index_group *g;

	LIST_FOREACH(g, &x->group[hash_words(x, key, sizeof(*key))], link)
		if (!memcmp(&g->key, key, sizeof(*key)))
			return g;
	return NULL;
}

static struct index_group *group_of(struct sock_index *x, const struct port_key *key)
{
	struct index_group *g = index_find(x, key);

	if (g)
		return g;
	g = calloc(1, sizeof(*g));
	if (!g)
		return NULL;
	g->key = *key;
	LIST_INSERT_HEAD(&x->group[hash_words(x, key, sizeof(*key))], g, link);
	return g;
}

int index_insert(struct sock_index *x, struct index_item *i)
{
	struct index_port *port = &x->port[i->key.local.port_be];

	i->group = group_of(x, &i->key);
	if (!i->group)
		return -ENOMEM;
	LIST_INSERT_HEAD(&x->cookie[hash_words(x, &i->cookie, sizeof(i->cookie))], i, by_cookie);
	LIST_INSERT_HEAD(port_key_connected(&i->key) ? &port->connected : &port->unconnected, i,
			 by_port);
	LIST_INSERT_HEAD(i->reuseport ? &i->group->sharing : &i->group->alone, i, by_key);
	return 0;
}

void index_remove(struct index_item *i)
{
	struct index_group *g = i->group;

	if (!g)
		return;
	LIST_REMOVE(i, by_cookie);
	LIST_REMOVE(i, by_port);
	LIST_REMOVE(i, by_key);
	i->group = NULL;
	if (!LIST_EMPTY(&g->alone) || !LIST_EMPTY(&g->sharing))
		return;
	LIST_REMOVE(g, link);
	free(g);
}

static struct index_item *same_cookie(struct index_item *i, uint64_t cookie)
{
	while (i && i->cookie != cookie)
		i = LIST_NEXT(i, by_cookie);
	return i;
}

struct index_item *index_cookie(const struct sock_index *x, uint64_t cookie)
{
	return same_cookie(LIST_FIRST(&x->cookie[hash_words(x, &cookie, sizeof(cookie))]), cookie);
}

struct index_item *index_cookie_next(const struct index_item *i)
{
	return same_cookie(LIST_NEXT(i, by_cookie), i->cookie);
}

static struct index_item *rival_in(const struct index_list *list, const struct index_item *i,
				   bool fresh_ones)
{
	struct index_item *o;

	LIST_FOREACH(o, list, by_key)
		if (o->cookie != i->cookie && (fresh_ones || !o->fresh))
			return o;
	return NULL;
}

struct index_item *index_rival(const struct index_item *i)
{
	struct index_item *o = rival_in(&i->group->alone, i, i->fresh);

	return o || i->reuseport ? o : rival_in(&i->group->sharing, i, i->fresh);
}

bool index_shares(const struct index_item *i)
{
	return i->reuseport && rival_in(&i->group->sharing, i, true);
}

bool index_contested(const struct index_group *g)
{
	const struct index_item *i = LIST_FIRST(&g->alone);

	return i && (rival_in(&g->alone, i, true) || rival_in(&g->sharing, i, true));
}
