/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper: a process of udplaned's that holds every descriptor that clients pass, so that the
 * control thread holds none.
 *
 * Whoever drops the last reference to a file does the work of closing it, and that may take for
 * ever: a TCP socket with SO_LINGER, a file on a FUSE mount. So may any call that wants the lock of
 * a socket while another thread of the client sits in a send whose payload it does not let the
 * kernel read. And descriptors are closed where nobody calls close(): in a recvmsg() that has no
 * room for them, and when a UNIX socket ends with messages unread. So the control thread asks, and
 * others wait:
 *
 *   control thread                                   keeper process
 *   peeks at a message; it has descriptors --TAKE--> receives it, verifies the socket, keeps it
 *   <-- the message, what the socket is -----------
 *   SEND, VERIFY, CLOSE by the keeper's number ----> sendto(), claim_verify(), close()
 *   BURY: a descriptor whose last close may wait --> close()
 *
 * A process and not a thread: one that hangs would keep udplaned's descriptors, and with them the
 * XDP program, alive after its death. It has no capability, and ends when the control thread's end
 * of the channel is closed.
 *
 * Inside, each client has a queue of its own, in which order is kept, and a thread while there is
 * something in it. A client that makes its calls hang holds up itself alone. The thread that hears
 * a request carries it out; that it does not listen meanwhile stands in shared memory, and whoever
 * sends the next request calls another one. So a request that finds the process idle wakes one
 * thread.
 *
 * Control thread only. No call here waits for a client.
 */
#ifndef SIDECAR_KEEPER_KEEPER_H
#define SIDECAR_KEEPER_KEEPER_H

#include "include/base/error.h"
#include "sidecar/claim/claim.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <udplane/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KEEPER_BURY_MAX 64u

struct keeper_counts {
	uint64_t sent;	 /* datagrams of keeper_send() that the kernel took, */
	uint64_t failed; /* and that it refused, or that found no room in the client's queue */
};

struct keeper_shared; /* with the process */

struct keeper {
	int fd; /* channel; readable: keeper_read(). -1: not started */
	int pid;
	uint32_t out;	  /* descriptors that are with the keeper and not confirmed as closed, */
	uint32_t out_max; /* and how many may be: the rest of its table is for sockets */
	uint64_t held;	  /* a CLOSE that waits: its session; 0: there is none */
	int held_fd;
	struct keeper_shared *shared;
	struct keeper_counts seen; /* as of the last keeper_counts() */
};

enum keeper_op {
	KEEPER_TAKE = 1,
	KEEPER_VERIFY,
	KEEPER_SEND,
	KEEPER_CLOSE,
	KEEPER_BARRIER,
	KEEPER_END,
	KEEPER_BURY,
};

/* What has been done. */
struct keeper_reply {
	uint32_t op; /* TAKE, VERIFY or BARRIER */
	/* TAKE: the socket's number with the keeper; -1: none was kept. VERIFY: as asked */
	int32_t fd;
	uint64_t session, tag; /* as asked */
	/* TAKE: of the message, bytes; or -errno. Longer than msg: only its beginning is there */
	int32_t len;
	uint32_t fd_cnt; /* TAKE: descriptors that came with it; BURY: that were closed */
	uint32_t reason; /* enum udplane_reason, of claim_verify() */
	/* datagrams that the kernel has dropped for want of room in the socket, since it was
	 * made */
	uint32_t drops;
	struct claim claim;
	char text[UDPLANE_TEXT_LEN];
	uint8_t msg[UDPLANE_MSG_MAX] __attribute__((aligned(8)));
};

/* Forks; before there are threads, and before there is anything that a child should not have. 0 or
 * -errno with `error` set. */
int keeper_start(struct keeper *k, struct error *error);
/* The process ends by itself; one that hangs is left alone. */
void keeper_stop(struct keeper *k);

/* The next reply: 1; 0: none; -errno: the keeper has died. */
int keeper_read(struct keeper *k, struct keeper_reply *r);

/*
 * These carry descriptors: conn or fd stays the caller's, who may close it at once. -EAGAIN: too
 * many are with the keeper already; -ETOOMANYREFS: too many of our user are on their way in UNIX
 * sockets (unix(7)). Try later.
 */

/* Receives one message from conn; answered by a reply. rules->ports is not looked at. */
int keeper_take(struct keeper *k, uint64_t session, int conn, const struct claim_rules *rules);
/* Closes cnt of them, KEEPER_BURY_MAX at most; of sockets, also what stands unread in them. */
int keeper_bury(struct keeper *k, const int *fds, uint32_t cnt);

/* These name sockets by the number that TAKE gave. */

/* Is it still what it was? Answered by a reply. */
void keeper_verify(struct keeper *k, uint64_t session, uint64_t tag, int fd,
		   const struct claim_rules *rules);
/* Sends; counted. */
void keeper_send(struct keeper *k, uint64_t session, int fd, const struct sockaddr *to,
		 socklen_t to_len, const void *payload, size_t len);
/* Goes with the next request, if that is a barrier; no later than keeper_flush(). */
void keeper_close(struct keeper *k, uint64_t session, int fd);
void keeper_flush(struct keeper *k);
/* Answered by a reply when all before it has been done. */
void keeper_barrier(struct keeper *k, uint64_t session, uint64_t tag);
/* Closes all that is left of the session, which is not named again. */
void keeper_end(struct keeper *k, uint64_t session);

/* Growth of the counters since the last call. */
struct keeper_counts keeper_counted(struct keeper *k);

#ifdef __cplusplus
}
#endif

#endif
