/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a program can be preloaded. */
#ifndef UDPLANE_RUN_CHECK_H
#define UDPLANE_RUN_CHECK_H

#include <stddef.h>

/* Finds a program as execvp(3) does. Returns 0, or -1 if there is none. */
int find_program(const char *name, char *path, size_t len);
/* Returns 0 if the shim would be loaded into the program and see its calls; else 1. Writes why, in
 * words, to text. */
int check_program(const char *path, char *text, size_t len);

#endif
