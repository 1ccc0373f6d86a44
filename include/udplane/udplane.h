/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libudplane: UDP sockets with a fast path.
 *
 * A udplane socket is a real kernel UDP socket of this process. When udplaned runs, datagrams to
 * and from its port bypass the kernel through shared memory. A datagram that the fast path cannot
 * carry exactly as Linux would takes the kernel socket; without udplaned all of them do. Each call
 * therefore returns what the call of the same name returns on Linux, with the same errno
 * (socket(2), bind(2), recv(2), send(2), udp(7), ip(7), ipv6(7)). udplane(7) lists the differences.
 *
 * The descriptor that udplane_socket() returns may be passed to epoll, poll, select and event
 * libraries to wait for reading (level-triggered), and to the udplane_ calls below. Other system
 * calls do not know it. It never reports POLLOUT; to wait for room to send, use
 * udplane_kernel_fd().
 *
 * Threads may share a socket. After fork() parent and child may both use it, by the kernel path
 * until one of them has it alone.
 *
 * Unless noted otherwise, calls return -1 and set errno on failure. The library prints nothing
 * unless UDPLANE_LOG is set.
 *
 * Environment variables, read at the first udplane_socket():
 *   UDPLANE_SOCKET   path of udplaned's control socket
 *   UDPLANE_SPIN_US  microseconds that a blocking receive spins before it sleeps
 *   UDPLANE_YIELD    1: a spinning receive yields its CPU after every empty poll; 0: it never
 *                    yields; default: it yields if the affinity mask has fewer CPUs than there are
 *                    workers and spinning threads
 *   UDPLANE_LOG      1: log events to stderr; 2: log more
 *   UDPLANE_DISABLE  1: use the kernel path only
 */
#ifndef UDPLANE_UDPLANE_H
#define UDPLANE_UDPLANE_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>
#include <udplane/addr.h>

#ifdef __cplusplus
extern "C" {
#endif

#define UDPLANE_VERSION "0.1.0"

struct mmsghdr; /* defined by <sys/socket.h> with _GNU_SOURCE */

/* ---- POSIX-like calls ---- */

/* As socket(2), for UDP. domain: AF_INET or AF_INET6. type: SOCK_DGRAM, optionally with
 * SOCK_NONBLOCK and SOCK_CLOEXEC. protocol: 0 or IPPROTO_UDP. Fails with EAFNOSUPPORT or
 * EPROTONOSUPPORT for anything else. */
int udplane_socket(int domain, int type, int protocol);

/* As bind(2); then asks udplaned to accelerate the port. If udplaned refuses, the call still
 * succeeds, the kernel path serves the socket, and udplane_get_status() tells the reason. */
int udplane_bind(int fd, const struct sockaddr *addr, socklen_t addrlen);
int udplane_connect(int fd, const struct sockaddr *addr, socklen_t addrlen);
int udplane_getsockname(int fd, struct sockaddr *addr, socklen_t *addrlen);
int udplane_getpeername(int fd, struct sockaddr *addr, socklen_t *addrlen);
int udplane_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
/* As setsockopt(2). An option that the fast path cannot honour moves the socket to the kernel path
 * permanently; see udplane_sockopt(3). */
int udplane_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
/* As fcntl(2), for F_GETFL, F_SETFL (O_NONBLOCK), F_GETFD, F_SETFD, and the owner and signal
 * commands (F_GETOWN, F_SETOWN, their _EX forms, F_GETSIG, F_SETSIG), which go to the kernel
 * socket. Fails with EINVAL for other commands. */
int udplane_fcntl(int fd, int cmd, ...);
/* As ioctl(2). FIONREAD and FIONBIO cover both paths; other requests go to the kernel socket. */
int udplane_ioctl(int fd, unsigned long request, void *arg);
int udplane_shutdown(int fd, int how);
int udplane_close(int fd);

ssize_t udplane_send(int fd, const void *buf, size_t len, int flags);
ssize_t udplane_sendto(int fd, const void *buf, size_t len, int flags, const struct sockaddr *to,
		       socklen_t tolen);
ssize_t udplane_sendmsg(int fd, const struct msghdr *msg, int flags);
int udplane_sendmmsg(int fd, struct mmsghdr *vec, unsigned int cnt, int flags);
ssize_t udplane_recv(int fd, void *buf, size_t len, int flags);
ssize_t udplane_recvfrom(int fd, void *buf, size_t len, int flags, struct sockaddr *from,
			 socklen_t *fromlen);
ssize_t udplane_recvmsg(int fd, struct msghdr *msg, int flags);
int udplane_recvmmsg(int fd, struct mmsghdr *vec, unsigned int cnt, int flags,
		     struct timespec *timeout);

/* ---- burst calls: addresses are struct udplane_addr, see addr.h ---- */

/* A received datagram in place. data is valid and read-only until udplane_release(). */
struct udplane_pkt {
	const void *data;
	uint32_t len;		  /* bytes */
	uint32_t flags;		  /* UDPLANE_PKT_* */
	struct udplane_addr peer; /* sender */
	uint64_t cookie;	  /* private to the library */
};
#define UDPLANE_PKT_KERNEL 0x1 /* received by the kernel path */

/* Flag of udplane_recv_burst(): do not wait, as with MSG_DONTWAIT, and do not maintain the
 * readiness of the descriptor. Saves the system calls for readiness on both sides; the kernel
 * socket is checked on every 64th call only. Meant for programs that poll many sockets in a loop
 * and never wait on the descriptor. After such a call the descriptor may show unreadable although
 * datagrams are queued, until a call without this flag has returned EAGAIN. */
#define UDPLANE_POLL 0x08000000

/* Receives up to cnt datagrams in place. flags: UDPLANE_POLL; MSG_DONTWAIT; or 0 to wait for the
 * first one as the socket's blocking mode and SO_RCVTIMEO say. Returns the number received, or -1
 * with EAGAIN if there is none, or with another errno of recv(2). Release datagrams soon: a
 * process that holds more than its share of the frames loses datagrams, which rx_drop_quota
 * counts. */
int udplane_recv_burst(int fd, struct udplane_pkt *pkts, unsigned int cnt, int flags);
/* Returns datagrams to the library, in any order, from any thread. */
void udplane_release(int fd, const struct udplane_pkt *pkts, unsigned int cnt);

/* A datagram to send, built in place. */
struct udplane_buf {
	void *data;    /* buffer provided by the library */
	uint32_t size; /* bytes of that buffer, at least 1472 */
	uint32_t len;  /* set by the caller: bytes to send; 0 is allowed */
	struct udplane_addr
		peer;	 /* set by the caller: destination; family 0 means the connected peer */
	uint64_t cookie; /* private to the library */
};

/* Reserves buffers for up to cnt datagrams and returns how many it reserved, in the order in which
 * they will be sent. Fails with EAGAIN if there is no room now, and with EINVAL if cnt is 0 or this
 * thread already holds a reservation. The reservation lasts until udplane_submit() by the same
 * thread. Keep it short: until then other sending threads of the process wait up to 1 ms and then
 * take the kernel path, and so does anything else that this thread sends. */
int udplane_reserve(int fd, struct udplane_buf *bufs, unsigned int cnt);
/* Sends the first cnt reserved datagrams and drops the rest of the reservation; cnt 0 drops all of
 * it. Returns the number sent. If that is less than cnt, or -1, errno is set as by sendmmsg(2):
 * EAGAIN if the kernel socket's send buffer stayed full for 1 ms, even on a blocking socket. */
int udplane_submit(int fd, struct udplane_buf *bufs, unsigned int cnt);

/* ---- status ---- */

struct udplane_status {
	uint32_t size;	 /* sizeof(struct udplane_status), set by the caller */
	int accelerated; /* 1 if the fast path receives for it */
	char reason[32]; /* otherwise the reason, named as by `udplanectl why` */
	char text[160];	 /* the reason in words */
	uint64_t fast_rx, kernel_rx, fast_tx, kernel_tx; /* datagrams of this process, per path */
};
int udplane_get_status(int fd, struct udplane_status *st);

/* Returns the kernel socket, for options and calls that are not listed here, and to wait for
 * POLLOUT. Do not receive from it and do not close it. */
int udplane_kernel_fd(int fd);
const char *udplane_version(void);

#ifdef __cplusplus
}
#endif
#endif
