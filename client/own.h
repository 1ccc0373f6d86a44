/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors that the library opens for itself. */
#ifndef UDPLANE_CLIENT_OWN_H
#define UDPLANE_CLIENT_OWN_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

int own_move(int fd); /* to a high number; the one that it has now */
/* the same, and own_is() will know it; -1: that is not possible, and it is closed */
int own_take(int fd);
bool own_is(int fd);
void own_close(int *fd);     /* if it is; -1 then */
uint64_t own_cookie(int fd); /* of a socket; 0: it is none */

#ifdef __cplusplus
}
#endif

#endif
