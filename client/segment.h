/* SPDX-License-Identifier: Apache-2.0 */
/* UDP_SEGMENT: one call that sends many datagrams. Under tx.lock, lane locked. */
#ifndef UDPLANE_CLIENT_SEGMENT_H
#define UDPLANE_CLIENT_SEGMENT_H

#include "client/sock.h"
#include "client/txq.h"
#include <stdbool.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SEGMENT_LEN_MAX 65535u /* bytes of all together; the kernel refuses more */

/* p->len bytes are to be sent in segments of p->segment_size, each of `max` bytes at most. Returns
 * true if they are one datagram. Otherwise sets p->segments, to 0 if the kernel must have them. */
bool segment_plan(const struct sock *s, struct tx_plan *p, uint32_t max);
/* Sends them through the ring, all or none. Returns false if there is no room. */
bool segment_send(struct sock *s, struct lane *l, const struct msghdr *h, const struct tx_plan *p,
		  int flags);

#ifdef __cplusplus
}
#endif

#endif
