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
bool holders_add(struct sock *s); /* notes that this process has s open; false if it cannot */
/* What else of a socket a process may have: lend.h. */
enum holders_part { HOLDERS_OPEN, HOLDERS_READ, HOLDERS_CLAIM };
/* Sets this process's lock: F_RDLCK, F_WRLCK or F_UNLCK. Returns false if others do not let it
 * (errno is EAGAIN), or it cannot be known who has what. */
bool holders_lock(const struct sock *s, enum holders_part part, short type);
/* Returns true if another process has it, too, or that cannot be known. */
bool holders_others(const struct sock *s, enum holders_part part);
bool holders_alone(struct sock *s);  /* returns true if no other process has s open */
void holders_forget(struct sock *s); /* s closes in this process */

#ifdef __cplusplus
}
#endif

#endif
