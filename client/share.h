/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets that several processes have open after fork(). Under the control lock. */
#ifndef UDPLANE_CLIENT_SHARE_H
#define UDPLANE_CLIENT_SHARE_H

#include "client/sock.h"
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

void share_prepare(void); /* the fork is about to come, ctl held: sockets go to the kernel path */
void share_parent(void);
void share_child(void); /* table_each_raw() holds */
/* May a socket that was shared be claimed? If nobody else has it any more it is ours alone again.
 * Under ctl. */
bool share_resume(struct sock *s);

#ifdef __cplusplus
}
#endif

#endif
