/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libudplane: UDP sockets with a fast path beside them.
 *
 * Every udplane socket is a real kernel UDP socket of this process. Where udplaned runs beside it, datagrams of its port come and
 * go through shared memory instead of the kernel; whatever the fast path cannot honour exactly takes the kernel socket, and
 * without udplaned everything does. So each call behaves as the call of the same name on Linux (man pages socket(2), bind(2),
 * recv(2), send(2), udp(7), ip(7), ipv6(7)): same results, same errno; the differences are listed in udplane(7).
 *
 * The descriptor that udplane_socket() returns may be given to epoll, poll, select and event libraries to wait for reading
 * (level-triggered), and to the udplane_ calls below; to nothing else. It is always ready for writing: do not wait for that.
 *
 * Threads may share sockets. After fork() parent and child may both use them; the child attaches anew at its first call.
 * Calls return -1 and set errno unless said otherwise. The library prints nothing, unless UDPLANE_LOG is set.
 *
 * Environment: UDPLANE_SOCKET (path of udplaned's socket), UDPLANE_SPIN_US (how long a blocking receive spins before it sleeps),
 * UDPLANE_YIELD (1, 0: a spinning receive gives its core away at every empty look, or never; unset: if there are fewer CPUs than who spin),
 * UDPLANE_LOG (1: say on stderr what happens; 2: more), UDPLANE_DISABLE (1: kernel path only).
 */
#ifndef UDPLANE_UDPLANE_H
#define UDPLANE_UDPLANE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <netinet/in.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

#define UDPLANE_VERSION "0.1.0"

struct mmsghdr; /* of <sys/socket.h>, if _GNU_SOURCE is defined */

/* ------------------------------------------------------------------------------------------------- POSIX-like calls -- */

/* socket(2) for UDP: domain AF_INET or AF_INET6; type SOCK_DGRAM, with SOCK_NONBLOCK and SOCK_CLOEXEC if wanted; protocol 0 or
 * IPPROTO_UDP. EAFNOSUPPORT, EPROTONOSUPPORT otherwise. */
int udplane_socket(int domain, int type, int protocol);

/* bind(2), then asks udplaned to divert the port. A refusal is no error: the kernel path serves, udplane_get_status() says why. */
int udplane_bind(int fd, const struct sockaddr *addr, socklen_t addrlen);
int udplane_connect(int fd, const struct sockaddr *addr, socklen_t addrlen);
int udplane_getsockname(int fd, struct sockaddr *addr, socklen_t *addrlen);
int udplane_getpeername(int fd, struct sockaddr *addr, socklen_t *addrlen);
int udplane_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
/* An option that the fast path does not honour moves the socket to the kernel path for good. */
int udplane_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
/* fcntl(2): F_GETFL, F_SETFL (O_NONBLOCK), F_GETFD, F_SETFD; EINVAL for others. */
int udplane_fcntl(int fd, int cmd, ...);
/* ioctl(2): FIONREAD, FIONBIO; others go to the kernel socket. */
int udplane_ioctl(int fd, unsigned long request, void *arg);
int udplane_shutdown(int fd, int how);
int udplane_close(int fd);

ssize_t udplane_send(int fd, const void *buf, size_t len, int flags);
ssize_t udplane_sendto(int fd, const void *buf, size_t len, int flags, const struct sockaddr *to, socklen_t tolen);
ssize_t udplane_sendmsg(int fd, const struct msghdr *msg, int flags);
int udplane_sendmmsg(int fd, struct mmsghdr *vec, unsigned int cnt, int flags);
ssize_t udplane_recv(int fd, void *buf, size_t len, int flags);
ssize_t udplane_recvfrom(int fd, void *buf, size_t len, int flags, struct sockaddr *from, socklen_t *fromlen);
ssize_t udplane_recvmsg(int fd, struct msghdr *msg, int flags);
int udplane_recvmmsg(int fd, struct mmsghdr *vec, unsigned int cnt, int flags, struct timespec *timeout);

/* ------------------------------------------------------------------------------------------------------- burst calls -- */

/* An address of either family, without copying sockaddrs about. */
struct udplane_peer {
	uint8_t addr[16];  /* IPv6, or IPv4 in the first four bytes; network byte order */
	uint16_t port_be;
	uint16_t family;   /* AF_INET or AF_INET6 */
	uint32_t scope_id; /* IPv6 link-local: interface index; else 0 */
};

/* A received datagram, in place: data is valid, and must not be written, until it is given to udplane_release(). */
struct udplane_pkt {
	const void *data;
	uint32_t len;      /* bytes */
	uint32_t flags;    /* UDPLANE_PKT_* */
	struct udplane_peer peer; /* sender */
	uint64_t cookie;   /* the library's own */
};
#define UDPLANE_PKT_KERNEL 0x1 /* it came by the kernel path */

/* For who polls a socket in a loop, perhaps among thousands, and never waits for its descriptor: like MSG_DONTWAIT, but neither side makes a
 * system call for readiness, and the kernel socket is looked at every 64th call only. After it the descriptor may stay unreadable
 * though datagrams are there, until a call without this flag has found none. */
#define UDPLANE_POLL 0x08000000

/* Takes up to cnt datagrams in place. flags: UDPLANE_POLL, MSG_DONTWAIT, or 0 to wait for the first as the socket's blocking mode and SO_RCVTIMEO
 * say. Returns how many; -1 with EAGAIN if none, or another errno of recv(2). Release soon: a process that keeps more than its share
 * of the frames loses datagrams (counted as rx_drop_quota). */
int udplane_recv_burst(int fd, struct udplane_pkt *pkts, unsigned int cnt, int flags);
/* Gives datagrams back, in any order, from any thread. */
void udplane_release(int fd, const struct udplane_pkt *pkts, unsigned int cnt);

/* A datagram to be sent, in place. */
struct udplane_buf {
	void *data;        /* room that the library gave */
	uint32_t size;     /* of that room, bytes: at least 1472 */
	uint32_t len;      /* set by the caller: bytes to send, 0 allowed */
	struct udplane_peer peer; /* set by the caller: destination; family 0: the connected peer */
	uint64_t cookie;   /* the library's own */
};

/* Reserves room for up to cnt datagrams; returns how many, in the order in which they will be sent. Be quick: until udplane_submit() by the
 * same thread, other threads of the process that send wait up to 1 ms, then take the kernel path, as does what this thread sends
 * meanwhile. -1 with EAGAIN if there is no room now; EINVAL if cnt is 0 or this thread has reserved already. */
int udplane_reserve(int fd, struct udplane_buf *bufs, unsigned int cnt);
/* Sends the first cnt of what udplane_reserve() gave and forgets the rest (0: all). Returns how many were sent; fewer than cnt, or -1,
 * sets errno as sendmmsg(2) does: EAGAIN if the kernel socket's send buffer stays full for 1 ms, also where the socket blocks. */
int udplane_submit(int fd, struct udplane_buf *bufs, unsigned int cnt);

/* ----------------------------------------------------------------------------------------------------------- insight -- */

struct udplane_status {
	uint32_t size;         /* sizeof(struct udplane_status), set by the caller */
	int accelerated;       /* 1: its port is diverted */
	char reason[32];       /* else why, by the names of `udplanectl why` */
	char text[160];        /* for people */
	uint64_t fast_rx, kernel_rx, fast_tx, kernel_tx; /* datagrams of this process, by path */
};
int udplane_get_status(int fd, struct udplane_status *st);

/* The kernel socket itself, for options and calls not listed here; do not receive from it, do not close it. */
int udplane_kernel_fd(int fd);
const char *udplane_version(void);

#ifdef __cplusplus
}
#endif
#endif
