/* SPDX-License-Identifier: Apache-2.0 */
/* Closing a socket. */
#ifndef UDPLANE_CLIENT_CLOSE_H
#define UDPLANE_CLIENT_CLOSE_H

#include "client/sock.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Does an udplane_close() that could not take the locks. Under the control lock. */
void sock_close_late(struct sock *s);
void socks_close_late(void); /* the same for those that a handler has closed under the shim */
/* Drops a socket whose descriptor was closed by close(2), and is now that of another file. s may
 * be NULL. */
void sock_drop_stale(struct sock *s);
/* Of the shim: the program closes fd, one of the socket's descriptors. With the last one the socket
 * ends here. The descriptor itself is left alone. */
void sock_forget(int fd);

#ifdef __cplusplus
}
#endif

#endif
