/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that are inside a system call on a socket, without a lock. */
#ifndef UDPLANE_CLIENT_VISIT_H
#define UDPLANE_CLIENT_VISIT_H

#include "client/sock.h"
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A system call on the socket, with no lock held. Until visit_end() the sock is not reused. */
struct visit {
	struct sock *s;
	struct visitor *entry; /* NULL if no entry was free: it then holds a reference */
	uintptr_t frame;
};
/* Call it with a lock or reference held. may_end: the system call may wait, so the thread may be
 * cancelled in it. */
void visit_enter(struct sock *s, struct visit *v, uintptr_t frame, bool may_end);
static inline void visit_begin(struct sock *s, struct visit *v, bool may_end)
{
	visit_enter(s, v, (uintptr_t)__builtin_frame_address(0), may_end);
}
void visit_may_end(struct visit *v); /* sets may_end later */
void visit_sleeps(struct visit *v);  /* sock_forget_sleepers() may end it */
/* Returns false if another call of this thread (in a handler) has closed the socket; it must
 * then not be used any more. */
bool visit_end(struct visit *v);
bool visit_lasts(const struct visit *v);
/* Makes close not wait for calls that sleep on the epoll descriptor, or that a handler has
 * jumped out of: they notice by themselves. */
void sock_forget_sleepers(struct sock *s);
/* Returns true if another thread waits in the kernel's own call, where rings do not wake it.
 * rx.lock held. */
bool sock_awaited(struct sock *s);
bool sock_visited(struct sock *s); /* returns true if another thread may be in a call on it */

#ifdef __cplusplus
}
#endif

#endif
