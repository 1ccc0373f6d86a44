/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots as text for people. Pure; the functions read only their arguments. `before` is an older
 * snapshot of the same udplaned, or NULL. If it is given, counts are shown as rates since then.
 */
#ifndef UDPLANE_CLIENT_CTL_VIEW_H
#define UDPLANE_CLIENT_CTL_VIEW_H

#include <stdio.h>

#include "client/ctl/plain.h"
#include "client/ctl/snapshot.h"

#ifdef __cplusplus
extern "C" {
#endif

#define VIEW_SOCKETS 10 /* sockets that `stats` lists; it sums up the others */

void view_stats(FILE *out, const struct snapshot *now, const struct snapshot *before);
void view_sockets(FILE *out, const struct snapshot *s);

/* The claimed or plain sockets of one port. */
struct port_use {
	uint16_t port;
	uint32_t socket_cnt, active_cnt, plain_cnt;
	uint32_t reason;    /* why the first inactive socket is inactive, or UDPLANE_REASON_NONE */
	const char *text;   /* that socket's text, which belongs to the snapshot */
	uint32_t stray_cnt; /* active sockets that the kernel carries nevertheless (paths.h) */
};

/* Collects the uses of ports, sorted by port, in *uses, which the caller frees. Returns their
 * number, or -ENOMEM. Plain sockets count only on asked-for ports without a claim. */
int view_port_uses(const struct snapshot *s, const struct plain_list *plain,
		   struct port_use **uses);
void view_ports(FILE *out, const struct snapshot *s, const struct port_use *uses, int cnt);

/* Returns "yes", "no" or "partly". */
const char *view_accelerated(const struct port_use *use);

/* Returns the share of the time that the worker has slept since `before`, or since the start if
 * that is NULL, from 0 to 1. */
double view_sleep_share(const struct snapshot *now, const struct snapshot *before, uint32_t worker);

#ifdef __cplusplus
}
#endif

#endif
