/* SPDX-License-Identifier: Apache-2.0 */
/* Where a datagram goes, and whether it may go through a ring. Under tx.lock. */
#ifndef UDPLANE_CLIENT_DEST_H
#define UDPLANE_CLIENT_DEST_H

#include "client/sock.h"
#include <stdbool.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Return false if only the kernel can send there, or say why not: another family, port 0, too
 * short a name, ... */
bool dest_of_name(const struct sock *s, const void *name, socklen_t len, struct udplane_addr *d);
bool dest_of_peer(const struct sock *s, const struct udplane_addr *p, struct udplane_addr *d);
/* Returns true if d is neither multicast, broadcast, loopback nor unspecified. */
bool dest_unicast(const struct udplane_addr *d);
/* Returns true if datagrams to d leave by udplaned's device as plain unicast. Lane locked. */
bool dest_fast(struct sock *s, struct lane *l, const struct udplane_addr *d);

#ifdef __cplusplus
}
#endif

#endif
