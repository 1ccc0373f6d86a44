/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams that have come before a socket changes its path, in private memory. Under rx.lock. */
#ifndef UDPLANE_CLIENT_SAVED_H
#define UDPLANE_CLIENT_SAVED_H

#include "client/sock.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Before a socket changes its path: everything that has come so far goes to s->rx.saved in its
 * order, as far as the kernel socket holds something older than the rings do; what comes into it
 * from now on is newer. rx.lock held. */
void rx_to_saved(struct sock *s);
void rx_saved_first(
	struct sock *s); /* all of s->rx.saved is older than what is in the kernel socket */

#ifdef __cplusplus
}
#endif

#endif
