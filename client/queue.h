/* SPDX-License-Identifier: Apache-2.0 */
/* What was unread at a fork(), in memory that the processes have in common. Under rx.lock. */
#ifndef UDPLANE_CLIENT_QUEUE_H
#define UDPLANE_CLIENT_QUEUE_H

#include "client/pktbuf.h"
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

struct sock;

/* Returns a copy of the next datagram that was unread at the fork, and takes it out unless peek.
 * Returns NULL if there is none, and then has dropped s->rx.queue. The caller frees it by
 * pktbuf_put(). */
struct pktbuf *queue_get(struct sock *s, bool peek);
int queue_next_len(struct sock *s); /* its length in bytes, or -EAGAIN */
void queue_drop(struct sock *s);
/* Moves what is left of it to the head of s->rx.saved. */
void queue_to_saved(struct sock *s);
void saved_to_queue(struct sock *s); /* makes a queue of s->rx.saved */

#ifdef __cplusplus
}
#endif

#endif
