/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Groups: several sockets under one key, which share its datagrams by flow hash.
 *
 * A group has an array of buckets, each of which names a member; a flow's bucket is ((uint64_t)hash * bucket_cnt) >> 32. There are
 * 32 to 64 buckets a member, and no member ever has over one more than another, so shares are equal within 3 % (beyond 1024 members
 * 4 to 64 buckets: within 25 %). A newcomer takes its part evenly from the others, a leaver's buckets go evenly to those who stay: 1/n
 * of the flows move, which is the least that is possible; scaling the hash by the member count itself would move half of them.
 * Doubling the array splits each bucket into two of the same member and moves none.
 *
 *   member:  | m0 m1 m2 | m3 m4 m5 m6 |      the first `heavy` have one bucket more than the rest: who gives next is
 *              q+1 each    q each            member[heavy - 1], who gets next is member[heavy]
 *
 * Choosing costs one array access, adding and removing O(1) amortised (tens of buckets, whatever the size of the group).
 * Threads: one owner.
 */
#ifndef SIDECAR_PORT_SHARE_H
#define SIDECAR_PORT_SHARE_H

#include <stdint.h>

#include "sidecar/port/key_hash.h"

#ifdef __cplusplus
extern "C" {
#endif

struct share_member {
	uint32_t sock;
	uint32_t first; /* its buckets are a list: first, then next[first], ... */
};

struct share {
	uint32_t *bucket;    /* sock */
	uint32_t bucket_cnt; /* a power of two; 0: this number is free */
	uint32_t member_cnt;
	uint32_t heavy;      /* free: the next free number */
	uint32_t *next;
	struct share_member *member; /* room for as many as bucket_cnt is enough for */
};

struct share_set {
	const uint64_t *secret; /* for pos; the owner's */
	struct share *share;
	uint32_t cnt;        /* numbers ever used */
	uint32_t cap;
	uint32_t live;       /* groups that there are */
	uint32_t free;       /* first free number below cnt, or UINT32_MAX */
	struct key_hash pos; /* { group, sock, 0 } -> its place in member[] + 1 */
};

void share_set_init(struct share_set *set, const uint64_t *secret);
void share_set_free(struct share_set *set);
/* A group of one. 0 or -ENOMEM. The number, below 2^24, goes to *group. */
int share_create(struct share_set *set, uint32_t sock, uint32_t *group);
/* 0, -EEXIST, -ENOMEM (nothing has changed). */
int share_add(struct share_set *set, uint32_t group, uint32_t sock);
/* 0 or -ENOENT. The last member cannot be removed: destroy the group. */
int share_remove(struct share_set *set, uint32_t group, uint32_t sock);
void share_destroy(struct share_set *set, uint32_t group);

static inline uint32_t share_pick(const struct share_set *set, uint32_t group, uint32_t hash)
{
	const struct share *s = &set->share[group];

	return s->bucket[((uint64_t)hash * s->bucket_cnt) >> 32];
}

#ifdef __cplusplus
}
#endif

#endif
