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

/* Where datagrams are delivered: into messages, or in place. */
struct rx_sink {
	struct mmsghdr *vec;
	struct udplane_pkt *pkts; /* if vec is NULL */
	uint32_t done;		  /* entries filled */
	uint32_t cnt;
	int flags;
	bool poll;  /* UDPLANE_POLL */
	bool fault; /* the program's memory for entry `done` cannot be accessed */
};
/* Fills at least one entry of the sink, and waits for it if socket and flags say so. Returns how
 * many, or -errno. Sets MSG_DONTWAIT in sink->flags if the socket is non-blocking. */
int rx_call(int fd, struct rx_sink *sink);
/* Returns the length of the next datagram, which stays the next. Returns -EAGAIN if there is
 * none, or if what is in the kernel socket comes first. emptied: that is known to be empty. */
int rx_next_len(struct sock *s, bool emptied);

#ifdef __cplusplus
}
#endif

#endif
