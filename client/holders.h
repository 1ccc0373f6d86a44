/* SPDX-License-Identifier: Apache-2.0 */
/* Which processes have a socket open. Under the control lock. */
#ifndef UDPLANE_CLIENT_HOLDERS_H
#define UDPLANE_CLIENT_HOLDERS_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

struct sock;

/* Opens the file with the locks, if it is not open. Returns false if it cannot be known who has
 * which socket open. */
bool holders_open(void);
bool holders_add(struct sock *s);    /* this process has s open */
bool holders_alone(struct sock *s);  /* has no other process the socket open? */
void holders_forget(struct sock *s); /* it closes in this process */

#ifdef __cplusplus
}
#endif

#endif
