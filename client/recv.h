/* SPDX-License-Identifier: Apache-2.0 */
/* Receiving. */
#ifndef UDPLANE_CLIENT_RECV_H
#define UDPLANE_CLIENT_RECV_H

#include "client/public.h"
#include "client/sock.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Where datagrams go: into messages, or handed out in place. */
struct rx_sink {
	struct mmsghdr *vec;
	struct udplane_pkt *pkts; /* if vec is NULL */
	uint32_t done;		  /* entries filled */
	uint32_t cnt;
	int flags;
	bool poll; /* UDPLANE_POLL */
};
/* Fills at least one entry of the sink, waiting for it if socket and flags say so. How many;
 * -errno. Sets MSG_DONTWAIT in sink->flags if it would not wait. */
int rx_call(int fd, struct rx_sink *sink);
/* Length of the next datagram, which stays the next; -EAGAIN: none, or one that comes after what is
 * in the kernel socket, unless that is known to be empty. */
int rx_next_len(struct sock *s, bool emptied);

#ifdef __cplusplus
}
#endif

#endif
