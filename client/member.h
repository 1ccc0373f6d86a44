/* SPDX-License-Identifier: Apache-2.0 */
/* Multicast groups that a socket has joined, as far as calls of this library show. udplaned asks
 * the kernel what they are worth; a group that is not named to it takes the kernel path. */
#ifndef UDPLANE_CLIENT_MEMBER_H
#define UDPLANE_CLIENT_MEMBER_H

#include "client/sock.h"
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A membership or a source filter was set; the kernel has accepted the value. Returns false if
 * there is no memory to note the group; the socket must then take the kernel path. */
bool member_was_set(struct sock *s, int level, int name, const void *value, socklen_t len);
/* The socket has been claimed: names its groups to udplaned. Control lock held. */
void member_tell_all(struct sock *s);

#ifdef __cplusplus
}
#endif

#endif
