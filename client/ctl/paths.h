/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which path really carried a socket's datagrams in the last seconds, each direction for itself,
 * and if it was the kernel's, why.
 *
 * Nothing is inferred from a claim: the fast path's datagrams are udplaned's own count; the kernel
 * path's are what the client says, and beside it what Linux says (drops of that socket, datagrams
 * of the namespace, packets of the interface). The cause of a datagram that came by the kernel is
 * looked for among what the XDP program counted meanwhile: the first in the order of the table in
 * paths.c that accounts for half of them at least. If the program saw too few frames for that, they
 * came past it or by another interface.
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

/* datagrams: fewer say nothing about a path (the first ones wait for a neighbour, ...) */
#define PATH_FEW  10
#define PATH_TEXT 400

enum path_kind {
	PATH_IDLE, /* no traffic, or too little to tell */
	PATH_FAST, /* nine of ten at least */
	PATH_MIXED,
	PATH_RESTING, /* the kernel, on purpose: the rate is too low to wake udplaned for */
	PATH_KERNEL,  /* nine of ten at least */
};

struct path {
	enum path_kind kind;
	uint64_t fast, kernel; /* datagrams, also those that were dropped on that path */
	/* "none", a name of paths.c's tables or of reasons.h: of what took the kernel path */
	const char *cause;
	char text[PATH_TEXT]; /* in words; "" if there is nothing to say */
	const char *todo;     /* "": nothing */
};

const char *path_name(enum path_kind kind);

/* recent: UDPLANE_RECENT_COUNTER_CNT counts, of one socket or a sum. */
void path_receive(struct path *p, const struct snapshot *s, const uint64_t *recent);
/* k: a socket whose tx_reason, if it has one, explains what the kernel sent; or NULL. */
void path_send(struct path *p, const struct snapshot *s, const uint64_t *recent,
	       const struct snapshot_socket *k);

/* Does the path do what a claim promises? Resting and idle do. */
static inline bool path_is_good(const struct path *p)
{
	return p->kind != PATH_KERNEL;
}

/* Is the socket diverted, and was what it had in the last seconds carried so, unless it rests? */
bool path_is_carried(const struct snapshot *s, const struct snapshot_socket *k);

/* Adds a socket's recent counts. */
void path_add(uint64_t *sum, const struct snapshot_socket *k);

#ifdef __cplusplus
}
#endif

#endif
