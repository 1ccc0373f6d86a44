/* SPDX-License-Identifier: Apache-2.0 */
/* Socket options. */
#ifndef UDPLANE_CLIENT_OPTION_H
#define UDPLANE_CLIENT_OPTION_H

#include "client/sock.h"
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Reads what may have been changed through another descriptor: O_NONBLOCK, SO_RCVTIMEO. */
void sock_read_flags(struct sock *s);
/* options_read() returns the values of all options that matter, NULL if there is no memory.
 * options_changed() returns the name of one that has changed since they were read into
 * s->life.options, or NULL; options_forget() frees that. */
int *options_read(const struct sock *s);
const char *options_changed(struct sock *s);
void options_forget(struct sock *s);
/* Moves the socket to the kernel path, or has udplaned verify it, if an option that was just set
 * requires it. */
void option_was_set(struct sock *s, int level, int name, const void *value, socklen_t len);

#ifdef __cplusplus
}
#endif

#endif
