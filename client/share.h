/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets that several processes have open after fork(). Under the control lock. */
#ifndef UDPLANE_CLIENT_SHARE_H
#define UDPLANE_CLIENT_SHARE_H

#include "client/sock.h"
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

void share_prepare(void); /* before the fork: moves sockets to the kernel path */
void share_parent(void);
void share_child(void); /* table_each_raw() holds */
/* Returns true if a socket that is shared may be claimed, because no other process has it open, or
 * none reads it. */
bool share_resume(struct sock *s);
/* Ends the claim of a socket that is lent, so that others have it. */
void share_give_back(struct sock *s);

#ifdef __cplusplus
}
#endif

#endif
