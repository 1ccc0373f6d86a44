/* SPDX-License-Identifier: Apache-2.0 */
/* Private to sidecar/keeper: the channel, and the keeper process. */
#ifndef SIDECAR_KEEPER_PROCESS_H
#define SIDECAR_KEEPER_PROCESS_H

#include "sidecar/keeper/keeper.h"
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KEEPER_PAYLOAD_MAX 65536u

enum keeper_listener {
	KEEPER_LISTENS,
	/* no thread listens, because the last one carries out a request: call one after the next
	 * request */
	KEEPER_DEAF,
	KEEPER_CALLED, /* likewise, and a thread has been called */
};

struct keeper_shared {
	/* atomic; written by the process, `failed` also by the control thread */
	struct keeper_counts counts;
	/*
	 * Dekker's pattern:  process: listener = DEAF; fence; look into the channel: call
	 *                    control: send; fence; listener == DEAF: call
	 */
	uint32_t listener; /* enum keeper_listener */
	uint32_t calls;	   /* futex: idle threads wait for it to change */
};

/* Wakes one of the waiting threads. */
static inline void keeper_call(struct keeper_shared *shared)
{
	__atomic_fetch_add(&shared->calls, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &shared->calls, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* A request on the channel; a SEND's payload follows. */
struct keeper_request {
	uint32_t op; /* enum keeper_op */
	int32_t fd;  /* the keeper's number for the socket */
	uint64_t session, tag;
	uint64_t netns_cookie;	       /* TAKE, VERIFY: from struct claim_rules */
	int32_t ifindex;	       /* TAKE, VERIFY, MEMBER */
	uint32_t len;		       /* SEND: bytes of payload */
	struct udplane_tx_asked asked; /* SEND */
	socklen_t to_len;
	struct sockaddr_storage to; /* MEMBER: the group */
};

/* Runs the keeper process: serves the channel until its other end is closed. Never returns. files:
 * descriptors that the process may keep for clients. */
void keeper_process(int channel, struct keeper_shared *shared, uint32_t files)
	__attribute__((noreturn));

#endif
