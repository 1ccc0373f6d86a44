/* SPDX-License-Identifier: Apache-2.0 */
/* Closing a socket. */
#ifndef UDPLANE_CLIENT_CLOSE_H
#define UDPLANE_CLIENT_CLOSE_H

#include "client/sock.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Under the control lock: an udplane_close() that could not have the locks */
void sock_close_late(struct sock *s);
/* A socket whose descriptor was closed by close(2), and has been given out anew. NULL: there is
 * none. */
void sock_drop_stale(struct sock *s);

#ifdef __cplusplus
}
#endif

#endif
