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
	uint64_t deadline_ns; /* 0: none */
	uint64_t spin_end_ns; /* 0: not spinning (any more) */
	bool hup;	      /* shutdown() was called on the socket, by whatever road */
	bool begun;
};
/* Waits until a receive is worth another try: 0; or -EAGAIN (time is up), -EINTR, each after a last
 * try. Drops rx.lock while it sleeps. -EBADF: closed meanwhile, and rx.lock is not held. */
int rx_wait(struct sock *s, struct rx_wait *w);
/* Will a wait spin first? */
bool rx_would_spin(const struct sock *s);

#ifdef __cplusplus
}
#endif

#endif
