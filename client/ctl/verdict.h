/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is a port accelerated, and if not, why not and what is to be done? The first row of this table
 * that fits decides:
 *
 *     no udplaned answers                         no   no_sidecar, abi_version, unreachable
 *     udplaned is starting or leaving             no   starting, leaving
 *     a socket on the port is diverted            as paths.h says what was carried in the last
 *                                                 seconds:
 *         receiving and sending by the fast path,
 *         or no traffic to tell by                yes  none
 *         either on purpose by the kernel         yes  resting (a low rate)
 *         either by the kernel                    no   the cause: past_xdp, detached,
 *                                                      queue_not_bound, ...
 *     udplaned has no device                      no   backend_kernel
 *     the port is not asked for                   no   port_not_asked_for
 *     claimed sockets are there, none diverted    no   their reason and text
 *     a socket is bound on loopback               no   address_not_ours
 *     a socket that claimed nothing is bound      no   not_claimed
 *     nobody is bound                             no   nobody
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
	const char *reason; /* a name of reasons.h or one of the above */
	char text[1024];    /* what is the case */
	char todo[1024];    /* what to do about it; "": nothing */
	bool diverted;	    /* a socket is; then: */
	struct path rx,
		tx; /* what was carried in the last seconds, by all diverted sockets of the port */
};

struct verdict_input {
	uint16_t port;
	const struct snapshot *snapshot; /* NULL: udplaned gave none, then: */
	int attach_error;		 /* -errno of attach_snapshot() */
	const char *attach_text;
	const struct plain_list *plain; /* sockets of that port */
};

void verdict_decide(struct verdict *v, const struct verdict_input *in);

/* Is a claimed socket carried by the fast path, when it has traffic? */
struct health_socket {
	const struct snapshot_socket *socket;
	bool ok;	    /* resting, and too little traffic to tell, are */
	const char *reason; /* if not: why */
	char text[PATH_TEXT + 32];
	struct path rx, tx;
};
void verdict_of_socket(struct health_socket *h, const struct snapshot *s,
		       const struct snapshot_socket *k);

/* The verdict, and below it the port's sockets with what went which way. */
void verdict_print(FILE *out, const struct verdict *v, const struct verdict_input *in);

#ifdef __cplusplus
}
#endif

#endif
