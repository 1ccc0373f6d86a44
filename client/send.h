/* SPDX-License-Identifier: Apache-2.0 */
/* Sending. */
#ifndef UDPLANE_CLIENT_SEND_H
#define UDPLANE_CLIENT_SEND_H

#include "client/sock.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Returns the socket with its send side locked, after maintain() if that is due. Returns NULL as
 * sock_lock_tx(). */
struct sock *tx_enter(int fd);
/* to be called with a reference and no lock, after the kernel has bound s by itself */
void tx_bound_by_send(struct sock *s);

#ifdef __cplusplus
}
#endif

#endif
