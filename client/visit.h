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

/* A system call on the socket, with no lock held; the sock stays what it is till visit_end(). */
struct visit {
	struct sock *s;
	struct visitor *entry; /* NULL: counted */
	uintptr_t frame;
};
/* Call it with a lock or reference held. may_end: the system call may wait, and so be where the
 * thread ends. */
void visit_enter(struct sock *s, struct visit *v, uintptr_t frame, bool may_end);
static inline void visit_begin(struct sock *s, struct visit *v, bool may_end)
{
	visit_enter(s, v, (uintptr_t)__builtin_frame_address(0), may_end);
}
void visit_may_end(struct visit *v); /* changes that */
void visit_sleeps(struct visit *v);  /* sock_forget_sleepers() may end it */
/* False: another call of this thread (a handler's) has closed the socket meanwhile, and it must not
 * be touched any more. */
bool visit_end(struct visit *v);
bool visit_lasts(const struct visit *v);
/* Closing waits no longer for who sleeps on the epoll descriptor, or has jumped out of that: it
 * will find out by itself. */
void sock_forget_sleepers(struct sock *s);
/* by others than this thread in the kernel's own call, where rings do not wake them. rx.lock
 * held */
bool sock_awaited(struct sock *s);
bool sock_visited(struct sock *s); /* by others than this thread, as far as can be told */

#ifdef __cplusplus
}
#endif

#endif
