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
bool holders_add(struct sock *s);    /* notes that this process has s open; false if it cannot */
bool holders_alone(struct sock *s);  /* returns true if no other process has s open */
void holders_forget(struct sock *s); /* s closes in this process */

#ifdef __cplusplus
}
#endif

#endif
