/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams that have come before a socket changes its path, in private memory. Under rx.lock. */
#ifndef UDPLANE_CLIENT_SAVED_H
#define UDPLANE_CLIENT_SAVED_H

#include "client/sock.h"

#ifdef __cplusplus
extern "C" {
#endif

/* To be called before a socket changes its path: moves what the rings hold to s->rx.saved in
 * order of arrival, together with what the kernel socket holds if it is older. What the kernel
 * socket gets from now on is newer. rx.lock held. */
void rx_to_saved(struct sock *s);
void rx_saved_first(
	/* notes that all of s->rx.saved is older than what is in the kernel socket */
	struct sock *s);

#ifdef __cplusplus
}
#endif

#endif
