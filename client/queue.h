/* SPDX-License-Identifier: Apache-2.0 */
/* What was unread at a fork(), or when a socket was given back, in memory that the processes have
 * in common. Under rx.lock. */
#ifndef UDPLANE_CLIENT_QUEUE_H
#define UDPLANE_CLIENT_QUEUE_H

#include "client/pktbuf.h"
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

struct sock;

/* Returns a copy of the next of these datagrams, and takes it out unless peek.
 * Returns NULL if there is none, and then has dropped s->rx.queue. The caller frees it by
 * pktbuf_put(). */
struct pktbuf *queue_get(struct sock *s, bool peek);
int queue_next_len(struct sock *s); /* its length in bytes, or -EAGAIN */
void queue_drop(struct sock *s);
/* Moves what is left of it to the head of s->rx.saved. */
void queue_to_saved(struct sock *s);
/* Makes a queue of s->rx.saved. given_back: processes that become readers adopt it. */
void saved_to_queue(struct sock *s, bool given_back);
/* Takes over the queue of the process that has given s back, if there is one. Only while nobody has
 * s claimed. */
void queue_adopt(struct sock *s);

#ifdef __cplusplus
}
#endif

#endif
