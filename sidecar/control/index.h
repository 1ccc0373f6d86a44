/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claimed sockets by cookie, by port and by key: what a claim must know of the others, in constant
 * time, however many sockets share its port. Control thread only; nothing is copied, items are
 * embedded in what they stand for.
 *
 * - By cookie: one kernel socket, claimed by several processes.
 *
 * - By port, unconnected and connected ones apart: a server has few of the first and thousands of
 *   the second.
 *
 * - By key, in groups. Kernel sockets of one key share it if all are SO_REUSEPORT; else they are
 *   rivals, and Linux gives everything to the one that was bound last.
 */
#ifndef SIDECAR_CONTROL_INDEX_H
#define SIDECAR_CONTROL_INDEX_H

#include "sidecar/port/port.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#ifdef __cplusplus
extern "C" {
#endif

LIST_HEAD(index_list, index_item);

struct index_group {
	LIST_ENTRY(index_group) link;
	struct port_key key;
	struct index_list alone, sharing; /* without and with SO_REUSEPORT */
};

struct index_item {
	LIST_ENTRY(index_item) by_cookie, by_port, by_key;
	struct index_group *group; /* NULL: not in the index */
	/* set by the caller before index_insert, not changed after */
	struct port_key key; /* no garbage in its padding: compared as bytes */
	uint64_t cookie;
	bool reuseport;
	/* the caller's */
	bool fresh; /* no rival to others yet; they are to it */
};

struct index_port {
	struct index_list unconnected, connected;
};

struct sock_index {
	struct index_port *port;	  /* [65536], by key.local.port_be as a number */
	struct index_list *cookie;	  /* [mask + 1] */
	LIST_HEAD(, index_group) * group; /* [mask + 1] */
	uint32_t mask;
	uint64_t secret; /* peers on the network choose what becomes a key */
};

/* max: items at most, for the size of the tables. 0 or -ENOMEM. */
int index_init(struct sock_index *x, uint32_t max);
void index_free(struct sock_index *x);
/* 0 or -ENOMEM. */
int index_insert(struct sock_index *x, struct index_item *i);
/* Nothing happens if it is not in the index. */
void index_remove(struct index_item *i);

/* The first item of a kernel socket, and the next; NULL: no more. */
struct index_item *index_cookie(const struct sock_index *x, uint64_t cookie);
struct index_item *index_cookie_next(const struct index_item *i);
/* Those of exactly that key, or NULL. */
struct index_group *index_find(const struct sock_index *x, const struct port_key *key);
/* Another kernel socket under i's key with which it cannot share, or NULL. */
struct index_item *index_rival(const struct index_item *i);
/* Does another kernel socket share i's key? */
bool index_shares(const struct index_item *i);
/* Are there two rivals in the group, fresh ones included? */
bool index_contested(const struct index_group *g);

#ifdef __cplusplus
}
#endif

#endif
