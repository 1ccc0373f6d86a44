/* SPDX-License-Identifier: Apache-2.0 */
/* What the shim needs of the public calls on a socket. */
#ifndef UDPLANE_CLIENT_SOCKET_H
#define UDPLANE_CLIENT_SOCKET_H

#include "client/sock.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Flags of the kernel socket have been set: O_NONBLOCK, O_ASYNC. */
void sock_flags_changed(struct sock *s);

#ifdef __cplusplus
}
#endif

#endif
