/* SPDX-License-Identifier: Apache-2.0 */
/* An entry in sock.visitor[]. */
#ifndef UDPLANE_CLIENT_VISITOR_H
#define UDPLANE_CLIENT_VISITOR_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A call that is in a system call on the socket's descriptors, without a lock. It may never come
 * back: a handler jumps out of it, or the thread is cancelled. So these are entered by name, and
 * not just counted. All atomic. */
struct visitor {
	uintptr_t thread; /* thread_id(); 0: free */
	uintptr_t frame;
	uintptr_t tid_of; /* whose tid it is */
	uint32_t tid;	  /* 0: not known */
	/* in ppoll(2), which does no harm to whatever has the descriptor's number later */
	bool sleeps;
};

#ifdef __cplusplus
}
#endif

#endif
