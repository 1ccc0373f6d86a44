/* SPDX-License-Identifier: Apache-2.0 */
/* Which process runs: its own, or a child in its parent's memory. */
#ifndef UDPLANE_PRELOAD_PROCESS_H
#define UDPLANE_PRELOAD_PROCESS_H

#include <stdbool.h>

/* At the start, and in a child of fork(2). */
void process_is_ours_now(void);
/* Returns true once that has been called. */
bool process_is_known(void);
/* Returns false in a child of vfork(2). */
bool process_is_ours(void);

#endif
