/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides whether a port is accelerated, and if not, why not and what to do about it. The first row
 * of this table that fits decides:
 *
 *     no udplaned answers                         no   no_sidecar, abi_version, unreachable
 *     udplaned is starting or leaving             no   starting, leaving
 *     a socket on the port is diverted            by what was carried in the last seconds
 *                                                 (paths.h):
 *         receiving and sending by the fast path,
 *         or too little traffic to tell           yes  none
 *         one of them on purpose by the kernel    yes  resting (a low rate)
 *         one of them by the kernel               no   the cause: past_xdp, detached,
 *                                                      queue_not_bound, ...
 *     udplaned has no device                      no   backend_kernel
 *     the port is not asked for                   no   port_not_asked_for
 *     claimed sockets exist, none is diverted     no   their reason and text
 *     a socket is bound on loopback               no   address_not_ours
 *     a socket without a claim is bound           no   not_claimed
 *     no socket is bound                          no   nobody
 *
 * Pure.
 */
#ifndef UDPLANE_CLIENT_CTL_VERDICT_H
#define UDPLANE_CLIENT_CTL_VERDICT_H

#include <stdbool.h>
#include <stdio.h>

#include "client/ctl/paths.h"
#include "client/ctl/plain.h"
#include "client/ctl/snapshot.h"

#ifdef __cplusplus
extern "C" {
#endif

struct verdict {
	uint16_t port;
	bool accelerated;
	const char *reason; /* a name from reasons.h or from the table above */
	char text[1024];    /* the finding in words */
	char todo[1024];    /* what to do about it; "" if nothing */
	bool diverted;	    /* a socket on the port is diverted; rx and tx are then set */
	struct path rx, tx; /* of all diverted sockets of the port */
};

struct verdict_input {
	uint16_t port;
	const struct snapshot *snapshot; /* NULL if udplaned gave none; then attach_* say why */
	int attach_error;		 /* -errno of attach_snapshot() */
	const char *attach_text;
	const struct plain_list *plain; /* sockets of that port */
};

void verdict_decide(struct verdict *v, const struct verdict_input *in);

/* Whether the fast path carries the traffic of a claimed socket. */
struct health_socket {
	const struct snapshot_socket *socket;
	bool ok;	    /* also if the path rests or there is too little traffic to tell */
	const char *reason; /* why it is not ok */
	char text[PATH_TEXT + 32];
	struct path rx, tx;
};
void verdict_of_socket(struct health_socket *h, const struct snapshot *s,
		       const struct snapshot_socket *k);

/* Prints the verdict and, below it, the port's sockets and what each path carried. */
void verdict_print(FILE *out, const struct verdict *v, const struct verdict_input *in);

#ifdef __cplusplus
}
#endif

#endif
