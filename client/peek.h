/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SO_PEEK_OFF: MSG_PEEK reads from an offset that counts the bytes of all queued datagrams, and
 * moves it on; a receive moves it back. net/core/datagram.c: __skb_try_recv_from_queue();
 * net/ipv4/udp.c: udp_recvmsg(), skb_consume_udp().
 *
 * The offset is the kernel socket's own, so getsockopt(2) and other processes see it. The kernel
 * moves it for what it delivers itself, the library for what comes out of rings. A peek finds all
 * datagrams in one list: s->rx.saved. What the kernel socket holds is moved there, too, if the
 * offset is behind the rest.
 */
#ifndef UDPLANE_CLIENT_PEEK_H
#define UDPLANE_CLIENT_PEEK_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct sock;

/* Returns the offset; -1: SO_PEEK_OFF is not set. */
int peek_offset(const struct sock *s);
void peek_set(const struct sock *s, int off);
/* Moves the offset on, or back if bytes is negative, unless SO_PEEK_OFF is not set. */
void peek_move(const struct sock *s, int64_t bytes);

#ifdef __cplusplus
}
#endif

#endif
