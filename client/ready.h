/* SPDX-License-Identifier: Apache-2.0 */
/* Readiness of the descriptor that the application has. Under rx.lock. */
#ifndef UDPLANE_CLIENT_READY_H
#define UDPLANE_CLIENT_READY_H

#include "client/sock.h"
#include <stdbool.h>
#include <sys/epoll.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Call it before rx.lock is dropped, if anything was received or looked for: leaves fd readable
 * exactly if there is something. */
void rx_update_readiness(struct sock *s);
#define RX_KERNEL_EVENTS (EPOLLIN | EPOLLET) /* of the kernel socket in the epoll instance */
/* Nothing but errors is left in the kernel socket: it does not make fd readable any more until
 * something comes. True: there is more. */
bool rx_hide_error(struct sock *s);
void rx_show_error(struct sock *s); /* if there is any: readable again */
void rx_disarm(struct sock *s);	    /* takes the arms back: the worker signals nobody */
void rx_set_self_signal(struct sock *s, bool on);
bool rx_ready(struct sock *s); /* something in rings or saved */

#ifdef __cplusplus
}
#endif

#endif
