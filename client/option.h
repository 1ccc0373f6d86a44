/* SPDX-License-Identifier: Apache-2.0 */
/* Socket options. */
#ifndef UDPLANE_CLIENT_OPTION_H
#define UDPLANE_CLIENT_OPTION_H

#include "client/sock.h"
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What is kept of the socket here but may have been changed through another descriptor: O_NONBLOCK,
 * SO_RCVTIMEO. */
void sock_read_flags(struct sock *s);
/* The values now of all options that matter; NULL: no memory. The name of one that has changed
 * since, or NULL; frees what was read. */
int *options_read(const struct sock *s);
const char *options_changed(struct sock *s);
/* Moves the socket to the kernel path, or tells udplaned, if an option that was just set asks for
 * it. */
void option_was_set(struct sock *s, int level, int name, const void *value, socklen_t len);

#ifdef __cplusplus
}
#endif

#endif
