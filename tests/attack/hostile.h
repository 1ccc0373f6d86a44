/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of udplaned without libudplane: it speaks the control protocol by hand, so that it can
 * break every rule of it. Calls that wait have a limit in milliseconds; a negative result is one of
 * enum hostile_error or -errno from udplaned. Programs that include this run in the namespace of
 * udplaned and find its socket in UDPLANE_SOCKET.
 */
#ifndef TESTS_ATTACK_HOSTILE_H
#define TESTS_ATTACK_HOSTILE_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <udplane/abi.h>
#include <udplane/clock.h>
#include <udplane/ring.h>
#include <unistd.h>

enum hostile_error {
	HOSTILE_NOT_SENT = -1001, /* the connection is closed, or its buffer is full */
	HOSTILE_SILENT = -1002,	  /* no answer within the limit */
	HOSTILE_CLOSED = -1003,	  /* udplaned has closed the connection */
};

#define HOSTILE_SEGMENTS 600
#define HOSTILE_FDS	 32

struct hostile {
	int fd; /* control socket */
	uint32_t seq;
	struct udplane_welcome welcome;
	int fds[HOSTILE_FDS]; /* stats, frames, channel, doorbells */
	int fd_cnt;
	uint8_t *stats, *frames, *channel;
	uint8_t *segment[HOSTILE_SEGMENTS];
	size_t segment_len[HOSTILE_SEGMENTS];
	uint32_t segment_cnt;
};

struct hostile_socket {
	struct udplane_claimed claimed;
	int wake_fd;
	struct udplane_rx_ring *ring; /* of worker 0 */
};

static inline double hostile_now(void)
{
	return (double)clock_now_ns() / 1e9;
}

static inline void hostile_all_descriptors(void)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* A connection to udplaned on which nothing was sent yet. Ends the program if there is no udplaned.
 */
static inline int hostile_dial(void)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	const char *path = getenv("UDPLANE_SOCKET");
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path ? path : UDPLANE_DEFAULT_SOCKET);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sun, sizeof(sun))) {
		fprintf(stderr, "cannot connect to udplaned at %s: %s\n", sun.sun_path,
			strerror(errno));
		exit(2);
	}
	return fd;
}

static inline int hostile_send(int fd, const void *message, size_t len, const int *fds,
			       uint32_t fd_cnt)
{
	char control[CMSG_SPACE(253 * sizeof(int))] = {0};
	struct iovec iov = {.iov_base = (void *)message, .iov_len = len};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *cm;

	if (fd_cnt) {
		mh.msg_control = control;
		mh.msg_controllen = CMSG_SPACE(fd_cnt * sizeof(int));
		cm = CMSG_FIRSTHDR(&mh);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(fd_cnt * sizeof(int));
		memcpy(CMSG_DATA(cm), fds, fd_cnt * sizeof(int));
	}
	return sendmsg(fd, &mh, MSG_NOSIGNAL) == (ssize_t)len ? 0 : HOSTILE_NOT_SENT;
}

/* Bytes received, 0 or an error; *fd_cnt descriptors in fds, which has room for HOSTILE_FDS. */
static inline int hostile_recv(int fd, void *message, size_t len, int *fds, int *fd_cnt,
			       int limit_ms)
{
	char control[CMSG_SPACE(HOSTILE_FDS * sizeof(int))];
	struct iovec iov = {.iov_base = message, .iov_len = len};
	struct msghdr mh = {.msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control)};
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	ssize_t n;

	*fd_cnt = 0;
	if (poll(&pfd, 1, limit_ms) <= 0)
		return HOSTILE_SILENT;
	n = recvmsg(fd, &mh, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return HOSTILE_SILENT; /* a forked brother took it */
	if (n <= 0)
		return HOSTILE_CLOSED;
	for (struct cmsghdr *cm = CMSG_FIRSTHDR(&mh); cm; cm = CMSG_NXTHDR(&mh, cm)) {
		int cnt = (int)((cm->cmsg_len - CMSG_LEN(0)) / sizeof(int));

		if (cm->cmsg_type != SCM_RIGHTS)
			continue;
		memcpy(fds + *fd_cnt, CMSG_DATA(cm), (size_t)cnt * sizeof(int));
		*fd_cnt += cnt;
	}
	return (int)n;
}

/* Attaches, or observes with flags UDPLANE_HELLO_OBSERVER. 0 or an error. */
static inline int hostile_attach(struct hostile *h, uint32_t flags, int limit_ms)
{
	struct udplane_hello m = {
		.msg = {UDPLANE_MSG_HELLO, sizeof(m), 1},
		.magic = UDPLANE_ABI_MAGIC,
		.major = UDPLANE_ABI_MAJOR,
		.minor = UDPLANE_ABI_MINOR,
		.flags = flags,
		.comm = "hostile",
	};
	int n;

	memset(h, 0, sizeof(*h));
	h->fd = hostile_dial();
	h->seq = 1;
	if (hostile_send(h->fd, &m, sizeof(m), NULL, 0))
		return HOSTILE_NOT_SENT;
	n = hostile_recv(h->fd, &h->welcome, sizeof(h->welcome), h->fds, &h->fd_cnt, limit_ms);
	if (n < 0)
		return n;
	if (h->welcome.status || (flags & UDPLANE_HELLO_OBSERVER) || h->fd_cnt < 3)
		return h->welcome.status;
	h->stats = mmap(NULL, h->welcome.stats_len, PROT_READ, MAP_SHARED, h->fds[0], 0);
	h->frames = mmap(NULL, h->welcome.frames_len, PROT_READ, MAP_SHARED, h->fds[1], 0);
	h->channel = mmap(NULL, h->welcome.channel_len, PROT_READ | PROT_WRITE, MAP_SHARED,
			  h->fds[2], 0);
	return 0;
}

static inline void hostile_detach(struct hostile *h)
{
	close(h->fd);
	for (int i = 0; i < h->fd_cnt; i++)
		close(h->fds[i]);
	if (h->stats)
		munmap(h->stats, h->welcome.stats_len);
	if (h->frames)
		munmap(h->frames, h->welcome.frames_len);
	if (h->channel)
		munmap(h->channel, h->welcome.channel_len);
	for (uint32_t i = 1; i <= h->segment_cnt; i++)
		munmap(h->segment[i], h->segment_len[i]);
}

/* Claims a bound IPv4 socket. 0 or an error; s->claimed.text has udplaned's reason. */
static inline int hostile_claim(struct hostile *h, int sock, struct hostile_socket *s, int limit_ms)
{
	struct sockaddr_in sin = {0};
	socklen_t len = sizeof(sin);
	struct udplane_claim m = {.msg = {UDPLANE_MSG_CLAIM, sizeof(m), ++h->seq}};
	int fds[HOSTILE_FDS], cnt, n;

	getsockname(sock, (struct sockaddr *)&sin, &len);
	m.local.port_be = sin.sin_port;
	if (hostile_send(h->fd, &m, sizeof(m), &sock, 1))
		return HOSTILE_NOT_SENT;
	n = hostile_recv(h->fd, &s->claimed, sizeof(s->claimed), fds, &cnt, limit_ms);
	if (n < 0)
		return n;
	if (s->claimed.status)
		return s->claimed.status;
	s->wake_fd = fds[0];
	if (s->claimed.segment_len) {
		h->segment_len[++h->segment_cnt] = s->claimed.segment_len;
		h->segment[h->segment_cnt] = mmap(NULL, s->claimed.segment_len,
						  PROT_READ | PROT_WRITE, MAP_SHARED, fds[1], 0);
		close(fds[1]);
	}
	s->ring = (void *)((s->claimed.segment ? h->segment[s->claimed.segment] : h->channel) +
			   s->claimed.ring_off);
	return 0;
}

/* UPDATE or RELEASE. udplaned's status or an error. */
static inline int hostile_request(struct hostile *h, uint16_t type, uint32_t sock, uint32_t reason,
				  int limit_ms)
{
	struct udplane_sock_req m = {
		.msg = {type, sizeof(m), ++h->seq}, .sock = sock, .reason = reason};
	struct udplane_done done;
	int fds[HOSTILE_FDS], cnt, n;

	if (hostile_send(h->fd, &m, sizeof(m), NULL, 0))
		return HOSTILE_NOT_SENT;
	n = hostile_recv(h->fd, &done, sizeof(done), fds, &cnt, limit_ms);
	return n < 0 ? n : done.status;
}

/* A plain UDP socket bound to ip and port, with one option of SOL_SOCKET set before (0: none). Ends
 * the program if that fails. */
static inline int hostile_udp(const char *ip, uint16_t port, int option)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), one = 1;
	double end = hostile_now() + 2;
	socklen_t len = sizeof(sin);

	inet_pton(AF_INET, ip, &sin.sin_addr);
	if (option)
		setsockopt(fd, SOL_SOCKET, option, &one, sizeof(one));
	/* udplaned may still hold a socket that this process has closed. */
	while (fd >= 0 && bind(fd, (struct sockaddr *)&sin, sizeof(sin)) && errno == EADDRINUSE &&
	       hostile_now() < end)
		usleep(1000);
	if (fd < 0 || getsockname(fd, (struct sockaddr *)&sin, &len) || !sin.sin_port) {
		fprintf(stderr, "cannot bind %s port %u: %s\n", ip, port, strerror(errno));
		exit(2);
	}
	return fd;
}

static inline void hostile_doorbell(const struct hostile *h)
{
	(void)!write(h->fds[3], &(uint64_t){1}, 8);
}

static inline struct udplane_tx_ring *hostile_tx_ring(const struct hostile *h)
{
	return (void *)(h->channel + h->welcome.lane_off + h->welcome.tx_ring_off);
}

static inline struct udplane_return_ring *hostile_return_ring(const struct hostile *h)
{
	return (void *)(h->channel + h->welcome.lane_off + h->welcome.return_off);
}

/* Fills every TX descriptor with a datagram of 64 bytes to dst. */
static inline void hostile_fill_tx(const struct hostile *h, uint32_t sock, const char *dst,
				   uint16_t port)
{
	struct udplane_tx_ring *tx = hostile_tx_ring(h);

	for (uint32_t i = 0; i < h->welcome.tx_slot_cnt; i++) {
		tx->desc[i] = (struct udplane_tx_desc){
			.sock = sock, .len = 64, .dst_port_be = htons(port)};
		inet_pton(AF_INET, dst, tx->desc[i].dst);
	}
}

/* Makes the TX ring full again. */
static inline void hostile_refill_tx(const struct hostile *h)
{
	struct udplane_ring_head *head = &hostile_tx_ring(h)->head;

	__atomic_store_n(&head->prod_idx,
			 __atomic_load_n(&head->cons_idx, __ATOMIC_ACQUIRE) +
				 h->welcome.tx_slot_cnt,
			 __ATOMIC_RELEASE);
}

/* How long an observer waits for its WELCOME, seconds; negative: an error. What udplaned's other
 * clients feel. */
static inline double hostile_ask_as_observer(int limit_ms)
{
	struct hostile h;
	double start = hostile_now();
	int err = hostile_attach(&h, UDPLANE_HELLO_OBSERVER, limit_ms);
	double took = hostile_now() - start;

	hostile_detach(&h);
	return err ? err : took;
}

#endif
