/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Groups of several sockets under one key, which share its datagrams by flow hash as in Linux
 * (net/core/sock_reuseport.c): the members are an array, a flow's index in it is
 * reciprocal_scale(hash, member_cnt), and the last member takes the place of one that leaves. As in
 * Linux, about half of the flows move when a member joins.
 *
 * Choosing a member costs one array access; adding and removing take time linear in the size of the
 * group. A set belongs to one thread.
 */
#ifndef SIDECAR_PORT_SHARE_H
#define SIDECAR_PORT_SHARE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct share {
	uint32_t *member; /* sockets; NULL if this number is free */
	uint32_t member_cnt;
	/* room in member[]; if this number is free, the next free number, or UINT32_MAX */
	uint32_t room;
};

struct share_set {
	struct share *share;
	uint32_t cnt; /* numbers ever used */
	uint32_t cap;
	uint32_t live; /* groups in use */
	uint32_t free; /* first free number below cnt, or UINT32_MAX */
};

void share_set_init(struct share_set *set);
void share_set_free(struct share_set *set);
/* Makes a group of one. Returns 0 with its number, below 2^24, in *group, or -ENOMEM. */
int share_create(struct share_set *set, uint32_t sock, uint32_t *group);
/* Adds a member. Returns 0; or -EEXIST or -ENOMEM, and then nothing has changed. */
int share_add(struct share_set *set, uint32_t group, uint32_t sock);
/* Removes a member. Returns 0 or -ENOENT. The last member must not be removed: destroy the
 * group. */
int share_remove(struct share_set *set, uint32_t group, uint32_t sock);
void share_destroy(struct share_set *set, uint32_t group);

/* Returns the socket for a flow. hash: of the flow, all 32 bits evenly distributed. */
static inline uint32_t share_pick(const struct share_set *set, uint32_t group, uint32_t hash)
{
	const struct share *s = &set->share[group];

	return s->member[((uint64_t)hash * s->member_cnt) >> 32];
}

/* The same if the cookie of the member that is to receive is known. One socket may be several
 * members (of several processes): the flow decides among them. cookies: by socket. */
uint32_t share_pick_named(const struct share_set *set, uint32_t group, uint32_t hash,
			  uint64_t cookie, const uint64_t *cookies);

#ifdef __cplusplus
}
#endif

#endif
