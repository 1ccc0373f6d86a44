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
/* What is due: notices death, attaches, claims s (may be NULL) unless it is lazy and may_claim is
 * false. Call it without locks, s referenced. If block is false it returns at once if another
 * thread is at it. */
void maintain(struct sock *s, bool may_claim, bool block);

#ifdef __cplusplus
}
#endif

#endif
