/* SPDX-License-Identifier: Apache-2.0 */
/* An entry in sock.visitor[]. */
#ifndef UDPLANE_CLIENT_VISITOR_H
#define UDPLANE_CLIENT_VISITOR_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A visitor: a call that is in a system call on the socket's descriptors, without a lock. It may
 * never return, if a handler jumps out of it or the thread is cancelled. So its thread is noted,
 * instead of a count. All fields are atomic. */
struct visitor {
	uintptr_t thread; /* thread_id(); 0 if the entry is free */
	uintptr_t frame;
	uintptr_t tid_of; /* the thread that tid is of */
	uint32_t tid;	  /* 0 if not known */
	/* it is in ppoll(2), which is harmless if another file gets the descriptor's number */
	bool sleeps;
};

#ifdef __cplusplus
}
#endif

#endif
