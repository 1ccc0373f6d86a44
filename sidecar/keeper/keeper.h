/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper is a process of udplaned that holds every descriptor that clients pass, so that the
 * control thread holds none.
 *
 * The thread that drops the last reference to a file does the work of closing it, and that may take
 * forever: a TCP socket with SO_LINGER, a file on a FUSE mount. So may any call that needs the lock
 * of a socket while another thread of the client is in a send whose payload it does not let the
 * kernel read. Descriptors are also closed without a call of close(): by a recvmsg() that has no
 * room for them, and when a UNIX socket with unread messages is closed. Therefore the control
 * thread sends requests, and the keeper process waits in its place:
 *
 *   control thread                                   keeper process
 *   peeks at a message; it has descriptors --TAKE--> receives it, verifies the socket, keeps it
 *   <-- the message, what the socket is -----------
 *   SEND, VERIFY, CLOSE by the keeper's number ----> sendto(), claim_verify(), close()
 *   BURY: a descriptor whose last close may wait --> close()
 *
 * The keeper is a process and not a thread, because a thread that hangs would keep udplaned's
 * descriptors, and with them the XDP program, alive after udplaned's death. The process has no
 * capabilities, and ends when the control thread's end of the channel is closed.
 *
 * Inside the process each client has its own queue, in which order is kept, and a thread while the
 * queue is not empty. A client that makes calls hang delays only itself. The thread that reads a
 * request carries it out. While it does not listen, a flag in shared memory says so, and the
 * control thread wakes another thread after the next request. So a request that finds the process
 * idle wakes one thread.
 *
 * Called by the control thread only. No call here waits for a client.
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
#include <udplane/tx_control.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KEEPER_BURY_MAX 64u

struct keeper_counts {
	uint64_t sent; /* datagrams of keeper_send() that the kernel accepted */
	/* datagrams of keeper_send() that the kernel refused, or for which the client's queue had
	 * no room */
	uint64_t failed;
};

struct keeper_shared; /* shared with the process */

struct keeper {
	int fd; /* the channel; call keeper_read() when it is readable. -1 if not started */
	int pid;
	uint32_t out; /* descriptors passed to the keeper and not confirmed as closed */
	/* largest value of out; the rest of the keeper's descriptor table is for sockets */
	uint32_t out_max;
	uint64_t held; /* session of a CLOSE that is not sent yet; 0 if there is none */
	int held_fd;
	struct keeper_shared *shared;
	struct keeper_counts seen; /* as of the last call of keeper_counted() */
};

enum keeper_op {
	KEEPER_TAKE = 1,
	KEEPER_VERIFY,
	KEEPER_SEND,
	KEEPER_CLOSE,
	KEEPER_BARRIER,
	KEEPER_END,
	KEEPER_BURY,
	KEEPER_MEMBER,
};

/* A reply reports the result of a request. */
struct keeper_reply {
	uint32_t op; /* TAKE, VERIFY, BARRIER or MEMBER */
	/* TAKE: the keeper's number for the socket, or -1 if none was kept. VERIFY, MEMBER: as in
	 * the request */
	int32_t fd;
	uint64_t session, tag; /* as in the request */
	/* TAKE: bytes of the message, or -errno. If greater than the size of msg, msg holds only
	 * the beginning */
	int32_t len;
	/* TAKE: descriptors that came with the message. BURY: descriptors that were closed */
	uint32_t fd_cnt;
	uint32_t reason; /* enum udplane_reason, from claim_verify() */
	/* datagrams that the kernel has dropped since the socket was created because its buffer was
	 * full */
	uint32_t drops;
	struct claim claim;
	char text[UDPLANE_TEXT_LEN];
	union {
		uint8_t msg[UDPLANE_MSG_MAX] __attribute__((aligned(8)));
		struct claim_member member; /* MEMBER */
	};
};

/* Forks the keeper process. Call it before there are threads, and before there is anything that the
 * child should not inherit. Returns 0, or -errno with `error` set. */
int keeper_start(struct keeper *k, struct error *error);
/* Closes the channel, so that the process ends. Waits for up to 100 ms; leaves a process that hangs
 * alone. */
void keeper_stop(struct keeper *k);

/* Reads the next reply to *r. Returns 1, 0 if there is none, or -errno if the keeper has died. */
int keeper_read(struct keeper *k, struct keeper_reply *r);

/*
 * The next two calls pass descriptors: conn and fds still belong to the caller, who may close them
 * at once. They return 0; -EAGAIN if the keeper has too many already; -ETOOMANYREFS if too many
 * descriptors of our user are in flight in UNIX sockets (unix(7)); or another -errno. After -EAGAIN
 * or -ETOOMANYREFS, try again later.
 */

/* Receives one message from conn; a reply follows. rules->ports is not used. */
int keeper_take(struct keeper *k, uint64_t session, int conn, const struct claim_rules *rules);
/* Closes cnt descriptors, at most KEEPER_BURY_MAX, and those in unread messages of UNIX sockets. */
int keeper_bury(struct keeper *k, const int *fds, uint32_t cnt);

/* The following calls name sockets by the number that TAKE returned. */

/* Verifies the socket again; a reply follows. */
void keeper_verify(struct keeper *k, uint64_t session, uint64_t tag, int fd,
		   const struct claim_rules *rules);
/* Looks at the socket's membership in a multicast group, by claim_read_member(); a reply
 * follows. */
void keeper_member(struct keeper *k, uint64_t session, uint64_t tag, int fd, int ifindex,
		   const struct udplane_addr *group);
/* Sends a datagram of len bytes to `to`, with what else its descriptor asked for. The result is
 * counted, see keeper_counted(). */
void keeper_send(struct keeper *k, uint64_t session, int fd, const struct sockaddr *to,
		 socklen_t to_len, const struct udplane_tx_asked *asked, const void *payload,
		 size_t len);
/* Closes the socket. The request is sent together with the next one if that is a barrier of the
 * same session, otherwise before it, and at the latest by keeper_flush(). */
void keeper_close(struct keeper *k, uint64_t session, int fd);
void keeper_flush(struct keeper *k);
/* A reply follows when everything before it has been done. */
void keeper_barrier(struct keeper *k, uint64_t session, uint64_t tag);
/* Closes all remaining descriptors of the session, which must not be used again. */
void keeper_end(struct keeper *k, uint64_t session);

/* Returns the growth of the counters since the last call. */
struct keeper_counts keeper_counted(struct keeper *k);

#ifdef __cplusplus
}
#endif

#endif
