/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for datagrams. Under rx.lock. */
#ifndef UDPLANE_CLIENT_WAIT_H
#define UDPLANE_CLIENT_WAIT_H

#include "client/sock.h"
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct rx_wait {
	uint64_t deadline_ns; /* 0 if none */
	uint64_t spin_end_ns; /* 0 if not spinning, or no longer */
	bool hup;	      /* shutdown() was called on the socket, by this library or not */
	bool begun;
};
/* Waits until a receive is worth another try. Returns 0; -EAGAIN if the time is up, or -EINTR,
 * each to be followed by a last try; -EBADF if the socket was closed, and then rx.lock is not
 * held. Drops rx.lock while it sleeps. */
int rx_wait(struct sock *s, struct rx_wait *w);
/* Returns true if a wait would spin first. */
bool rx_would_spin(const struct sock *s);

#ifdef __cplusplus
}
#endif

#endif
