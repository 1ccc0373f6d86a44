/* SPDX-License-Identifier: Apache-2.0 */
/* UDP_GRO: which datagrams of a ring are delivered as one. Under rx.lock. */
#ifndef UDPLANE_CLIENT_GRO_H
#define UDPLANE_CLIENT_GRO_H

#include "client/sock.h"
#include <stdint.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Returns how many of the n entries of q, from entry i on, can be joined to one message: of one
 * flow, each as long as the first but the last, which may be shorter. All of them fit in h's
 * buffers, so that nothing is lost if the program has not provided for as much as Linux may join.
 * first: entry i, which is valid. */
uint32_t gro_run(const struct sock *s, const struct rxq *q, uint32_t i, uint32_t n,
		 const struct udplane_rx_desc *first, const struct msghdr *h);

#ifdef __cplusplus
}
#endif

#endif
