/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors that the library opens for itself. */
#ifndef UDPLANE_CLIENT_OWN_H
#define UDPLANE_CLIENT_OWN_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

int own_move(int fd); /* gives fd a high number; returns the number that it has now */
/* The same, with a mark for own_is(). Returns -1, with fd closed, if it cannot be marked. */
int own_take(int fd);
bool own_mark(int fd);
bool own_is(int fd);
/* Between these are all that were ever given by own_move(). */
int own_lowest(void);
int own_highest(void);
/* Returns how many more the library may take, or a negative number. The numbers below RLIMIT_NOFILE
 * are the program's: the library leaves it half of them, and more after each own_squeeze(), with
 * which the program has run out of them. own_taken() are those that the library has now. */
int own_room(void);
void own_squeeze(void);
int own_taken(void);
void own_close(int *fd);     /* closes it if it is marked; sets it to -1 */
uint64_t own_cookie(int fd); /* of a socket; 0 if fd is not a socket */

#ifdef __cplusplus
}
#endif

#endif
