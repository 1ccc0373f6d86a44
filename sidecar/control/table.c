/* SPDX-License-Identifier: Apache-2.0 */
/* The table of sockets, by number: those that are claimed, and rows of claims that were refused. */
#include "sidecar/control/internal.h"

int sock_id_take(struct control *c)
{
	return c->id_free_cnt ? (int)c->id_free[--c->id_free_cnt] : -1;
}

void sock_id_put(struct control *c, uint32_t id)
{
	c->sock[id] = NULL;
	c->id_free[c->id_free_cnt++] = id;
}

void sock_insert(struct control *c, struct sock *k)
{
	c->sock[k->id] = k;
	if (k->id >= c->stats.z->socket_high)
		udplane_store32(&c->stats.z->socket_high, k->id + 1);
}

struct sock *sock_find(const struct control *c, const struct session *s, uint32_t id)
{
	struct sock *k = id < c->cfg->max_sockets ? c->sock[id] : NULL;

	return k && k->session == s ? k : NULL;
}

struct sock *sock_next(const struct control *c, uint32_t *at)
{
	uint32_t high = c->stats.z->socket_high;

	while (*at < high) {
		struct sock *k = c->sock[(*at)++];

		if (k)
			return k;
	}
	return NULL;
}
