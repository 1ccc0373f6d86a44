/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots as text for people. Pure: nothing is read but the arguments. `before` is an older
 * snapshot of the same udplaned, or NULL: with it, counts are shown as rates since then.
 */
#ifndef UDPLANE_CLIENT_CTL_VIEW_H
#define UDPLANE_CLIENT_CTL_VIEW_H

#include <stdio.h>

#include "client/ctl/plain.h"
#include "client/ctl/snapshot.h"

#ifdef __cplusplus
extern "C" {
#endif

#define VIEW_SOCKETS 10 /* rows of `stats`; the rest is summed up */

void view_stats(FILE *out, const struct snapshot *now, const struct snapshot *before);
void view_sockets(FILE *out, const struct snapshot *s);

/* Claimed sockets of one port, or of a plain one. */
struct port_use {
	uint16_t port;
	uint32_t socket_cnt, active_cnt, plain_cnt;
	uint32_t reason;    /* of the first socket that is not active, or UDPLANE_REASON_NONE */
	const char *text;   /* its text, in the snapshot */
	uint32_t stray_cnt; /* active, and yet the kernel carries them: paths.h */
};

/* By port, into *uses, which the caller frees; returns how many, or -ENOMEM. Plain sockets count on
 * asked-for ports without a claim. */
int view_port_uses(const struct snapshot *s, const struct plain_list *plain,
		   struct port_use **uses);
void view_ports(FILE *out, const struct snapshot *s, const struct port_use *uses, int cnt);

/* "yes", "no", "partly" */
const char *view_accelerated(const struct port_use *use);

/* Is the worker asleep now, and for how much of the time since `before` (NULL: since the start), 0
 * to 1? */
double view_sleep_share(const struct snapshot *now, const struct snapshot *before, uint32_t worker);

#ifdef __cplusplus
}
#endif

#endif
