/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the library asks of the preload shim (preload/), if it is part of it.
 *
 * A socket of the shim has no descriptor of the library's: fd and kfd are the program's own, which
 * the kernel makes readable for what comes by the kernel. For what comes into a ring the shim
 * itself answers the program's epoll_wait(2), poll(2) and so on. So the rings of such a socket are
 * armed only while somebody sleeps (see preload/instance.h).
 */
#ifndef UDPLANE_CLIENT_SHIM_H
#define UDPLANE_CLIENT_SHIM_H

#include "client/sock.h"
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

struct shim {
	/* Something was received or looked for. rx.lock held. */
	void (*update)(struct sock *s);
	/* Returns false if a call waits for the socket in the kernel alone, where a ring would not
	 * wake it. rx.lock held. */
	bool (*may_claim)(struct sock *s);
	/* It has rings now, or something else to read that the kernel does not show. rx.lock
	 * held. */
	void (*claimed)(struct sock *s);
	/* A handler has closed it, but a call that it has interrupted holds a lock: nothing of it
	 * is to be reported any more. closed() follows. */
	void (*closing)(struct sock *s);
	/* It is about to be removed from the table. Both locks held. */
	void (*closed)(struct sock *s);
	/* This is a forked child, and has one thread. */
	void (*forked)(void);
};

#ifdef __cplusplus
}
#endif

#endif
