/* SPDX-License-Identifier: Apache-2.0 */
/* Sending. */
#ifndef UDPLANE_CLIENT_SEND_H
#define UDPLANE_CLIENT_SEND_H

#include "client/sock.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The socket, its send side locked, after what was due is done; NULL: EBADF. */
struct sock *tx_enter(int fd);
void tx_bound_by_send(struct sock *s); /* no lock held, s referenced */

#ifdef __cplusplus
}
#endif

#endif
