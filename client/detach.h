/* SPDX-License-Identifier: Apache-2.0 */
/* The end of an attachment, and the way to the next. */
#ifndef UDPLANE_CLIENT_DETACH_H
#define UDPLANE_CLIENT_DETACH_H

#include "client/attach.h"
#include "client/sock.h"
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

void attach_end(struct attach *a);
/* Does what is due: notices that udplaned is dead, attaches, and claims s (may be NULL) unless
 * it is lazy and may_claim is false. Call it without locks, with a reference to s. If block is
 * false it returns at once if another thread holds the control lock. */
void maintain(struct sock *s, bool may_claim, bool block);

#ifdef __cplusplus
}
#endif

#endif
