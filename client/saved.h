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
/* Moves what the kernel socket holds to *at, a place in the list s->rx.saved. */
void saved_take_kernel(struct sock *s, struct pktbuf **at);
/* Moves what the rings hold, and what the kernel socket holds if it is older, to the end of
 * s->rx.saved. A datagram there that is marked is newer than what the kernel socket holds. */
void rings_to_saved(struct sock *s);
/* For SO_PEEK_OFF (peek.h): returns the datagram at *off, which becomes the offset in it. Returns
 * NULL if all that has arrived is before; or there is an error to be reported: s->rx.error.
 * rx.lock held. */
struct pktbuf *saved_at(struct sock *s, int *off);
void rx_saved_first(
	/* notes that all of s->rx.saved is older than what is in the kernel socket */
	struct sock *s);

#ifdef __cplusplus
}
#endif

#endif
