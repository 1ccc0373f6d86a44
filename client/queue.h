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

/* A copy of the next datagram that was unread at the fork, taken out unless peek; NULL: none is
 * left, s->rx.queue is gone. rx.lock held. */
struct pktbuf *queue_get(struct sock *s, bool peek);
int queue_next_len(struct sock *s); /* its length, or -EAGAIN */
void queue_drop(struct sock *s);
/* What is left of it back into private memory, in front of what is there. rx.lock held. */
void queue_to_saved(struct sock *s);
void saved_to_queue(struct sock *s); /* s->rx.saved becomes a queue. rx.lock held. */

#ifdef __cplusplus
}
#endif

#endif
