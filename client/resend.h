/* SPDX-License-Identifier: Apache-2.0 */
/* What a dead udplaned has left in a TX ring. */
#ifndef UDPLANE_CLIENT_RESEND_H
#define UDPLANE_CLIENT_RESEND_H

#include "client/sock.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Sends through the kernel what a dead udplaned has not taken. Both locks and the control lock
 * held. */
void tx_resend(struct sock *s, struct attach *a);

#ifdef __cplusplus
}
#endif

#endif
