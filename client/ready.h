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

/* Makes fd readable exactly if there is something to receive. Call it before rx.lock is dropped,
 * if anything was received or looked for. */
void rx_update_readiness(struct sock *s);
/* The same for a socket of the shim while somebody sleeps on its epoll instance; for other sockets
 * there is no difference. Returns true if there is something to receive. */
bool rx_settle(struct sock *s);
/* Arms rings that need not be empty: the next datagram makes the epoll instance readable anew.
 * Returns the sum of the rings' producer indices after that. */
uint32_t rx_arm_edge(struct sock *s);
#define RX_KERNEL_EVENTS (EPOLLIN | EPOLLET) /* of the kernel socket, in the epoll instance */
/* If the kernel socket holds only errors, makes it not show as readable until something new
 * arrives. Returns true if there is something to receive. */
bool rx_hide_error(struct sock *s);
void rx_show_error(struct sock *s); /* makes fd readable again if there is an error */
/* Makes the epoll instance of a socket of the shim show what comes by the kernel as well. */
void rx_show_kernel(struct sock *s);
void rx_disarm(struct sock *s); /* takes the arms back, so that the worker sends no signals */
void rx_set_self_signal(struct sock *s, bool on);
/* returns true if a ring, saved or queue holds datagrams, or error is set */
bool rx_ready(struct sock *s);

#ifdef __cplusplus
}
#endif

#endif
