/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells which path really carried a socket's datagrams in the last seconds, separately for each
 * direction, and if it was the kernel path, why.
 *
 * Nothing is inferred from a claim. The fast path's datagrams are udplaned's own count. The kernel
 * path's datagrams are what the client reports, together with what Linux reports (drops of that
 * socket, datagrams of the namespace, packets of the interface). The cause of datagrams that came
 * by the kernel is looked up among what the XDP program counted in the same time: the first cause
 * in the table of paths.c that accounts for at least half of them. If the program saw too few
 * frames for that, they bypassed it or came by another interface.
 *
 * Pure.
 */
#ifndef UDPLANE_CLIENT_CTL_PATHS_H
#define UDPLANE_CLIENT_CTL_PATHS_H

#include <stdbool.h>
#include <stdint.h>

#include "client/ctl/snapshot.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Fewer datagrams say nothing about a path: the first ones wait for a neighbour, for example. */
#define PATH_FEW  10
#define PATH_TEXT 400

enum path_kind {
	PATH_IDLE, /* no traffic, or too little to tell */
	PATH_FAST, /* at least nine of ten by the fast path */
	PATH_MIXED,
	PATH_RESTING, /* by the kernel on purpose: the rate is too low to wake udplaned */
	PATH_KERNEL,  /* at least nine of ten by the kernel */
};

struct path {
	enum path_kind kind;
	uint64_t fast, kernel; /* datagrams, including those dropped on that path */
	/* why datagrams took the kernel path: a name from reasons.h or the tables in paths.c */
	const char *cause;
	char text[PATH_TEXT]; /* the cause in words; "" if there is nothing to say */
	const char *todo;     /* what to do about it; "" if nothing */
};

const char *path_name(enum path_kind kind);

/* Judges the receive path. recent: UDPLANE_RECENT_COUNTER_CNT counts of one socket, or their sum
 * over several. */
void path_receive(struct path *p, const struct snapshot *s, const uint64_t *recent);
/* Judges the send path. k: a socket whose tx_reason, if set, explains why the kernel sent, or
 * NULL. */
void path_send(struct path *p, const struct snapshot *s, const uint64_t *recent,
	       const struct snapshot_socket *k);

/* Returns true if the path does what a claim promises. A resting or idle path does. */
static inline bool path_is_good(const struct path *p)
{
	return p->kind != PATH_KERNEL;
}

/* Returns true if the socket is diverted and both its paths were good in the last seconds, as
 * path_is_good() defines it. */
bool path_is_carried(const struct snapshot *s, const struct snapshot_socket *k);

/* Adds a socket's recent counts to sum[]. */
void path_add(uint64_t *sum, const struct snapshot_socket *k);

#ifdef __cplusplus
}
#endif

#endif
