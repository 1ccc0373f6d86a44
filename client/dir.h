/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket's directory, kept for a process that changes its root. Under the control
 * lock. */
#ifndef UDPLANE_CLIENT_DIR_H
#define UDPLANE_CLIENT_DIR_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Keeps the directory that the path leads to, if none is kept yet. sure: udplaned was reached by
 * this path, so another directory than the kept one replaces it. */
void dir_keep(bool sure);
/* Connects fd from the kept directory if the path no longer leads there. Returns 0 or -errno;
 * err if it was not tried. */
int dir_connect(int fd, int err);
void dir_forget(void);

#ifdef __cplusplus
}
#endif

#endif
