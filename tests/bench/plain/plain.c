/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An ordinary program, which knows nothing of udplane. The benchmark runs it with and without the
 * preload library.
 *
 *     plain WAY PORT SECONDS [SOCKETS]    counts the datagrams received, prints {"pps": N}
 *     plain echo PORT                     sends back what comes, until it is ended
 *     plain gso|flood ADDRESS PORT SECONDS [SIZE [DESTINATIONS]]
 *         sends, prints the same. gso: 64 datagrams a call, or what 63000 bytes hold; flood:
 *         sendmmsg of 64. SIZE: bytes, 1400 if not given. DESTINATIONS: addresses from ADDRESS on,
 *         in turn
 *
 * WAY: recvfrom, recvmmsg (64 a call), cmsg (recvmmsg with IP_PKTINFO, IP_RECVTOS and
 * SO_TIMESTAMPNS), gro (recvmsg with UDP_GRO), mcast (recvmmsg, a member of 239.1.2.3), epoll
 * (epoll_wait, then one recvfrom for each socket; SOCKETS of them, from PORT on).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#define BATCH	     64
#define SEGMENT	     1400
#define GSO_BYTES    63000u
#define DESTINATIONS 65536u
#define GROUP	     "239.1.2.3"
#define TIMEOUT_US   200000

static char buf[BATCH][65536];
static char control[BATCH][256];

static void die(const char *what)
{
	fprintf(stderr, "plain: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void set(int fd, int level, int name)
{
	int on = 1;

	if (setsockopt(fd, level, name, &on, sizeof(on)))
		die("setsockopt");
}

static uint64_t with_recvfrom(int fd)
{
	struct sockaddr_in from;
	socklen_t len = sizeof(from);

	return recvfrom(fd, buf[0], sizeof(buf[0]), 0, (struct sockaddr *)&from, &len) >= 0;
}

static uint64_t receive_many(int fd, bool wants_control)
{
	static struct sockaddr_in from[BATCH];
	struct mmsghdr vec[BATCH];
	struct iovec iov[BATCH];
	int n;

	for (int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){buf[i], 2048};
		vec[i].msg_hdr = (struct msghdr){
			.msg_name = &from[i],
			.msg_namelen = sizeof(from[i]),
			.msg_iov = &iov[i],
			.msg_iovlen = 1,
			.msg_control = wants_control ? control[i] : NULL,
			.msg_controllen = wants_control ? sizeof(control[i]) : 0,
		};
	}
	n = recvmmsg(fd, vec, BATCH, MSG_WAITFORONE, NULL);
	return n > 0 ? (uint64_t)n : 0;
}

static uint64_t with_recvmmsg(int fd)
{
	return receive_many(fd, false);
}

static uint64_t with_cmsg(int fd)
{
	return receive_many(fd, true);
}

static uint64_t with_gro(int fd)
{
	struct iovec iov = {buf[0], sizeof(buf[0])};
	struct msghdr h = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control[0],
			   .msg_controllen = sizeof(control[0])};
	ssize_t n = recvmsg(fd, &h, 0);
	int each = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); n > 0 && c; c = CMSG_NXTHDR(&h, c))
		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO)
			memcpy(&each, CMSG_DATA(c), sizeof(each));
	if (n < 0)
		return 0;
	return each > 0 ? (uint64_t)(n + each - 1) / (uint64_t)each : 1;
}

/* ep: watches the sockets */
static uint64_t with_epoll(int ep)
{
	struct epoll_event ev[BATCH];
	int n = epoll_wait(ep, ev, BATCH, TIMEOUT_US / 1000);
	uint64_t cnt = 0;

	for (int i = 0; i < n; i++)
		cnt += with_recvfrom(ev[i].data.fd);
	return cnt;
}

static int open_port(uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons(port),
				.sin_addr.s_addr = htonl(INADDR_ANY)};
	struct timeval timeout = {.tv_usec = TIMEOUT_US};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)))
		die("socket or bind");
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)))
		die("SO_RCVTIMEO");
	return fd;
}

static void prepare_cmsg(int fd)
{
	set(fd, IPPROTO_IP, IP_PKTINFO);
	set(fd, IPPROTO_IP, IP_RECVTOS);
	set(fd, SOL_SOCKET, SO_TIMESTAMPNS);
}

static void prepare_gro(int fd)
{
	set(fd, IPPROTO_UDP, UDP_GRO);
}

static void prepare_mcast(int fd)
{
	struct ip_mreqn m = {.imr_multiaddr.s_addr = inet_addr(GROUP)};

	if (setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof(m)))
		die("IP_ADD_MEMBERSHIP");
}

static const struct way {
	const char *name;
	uint64_t (*receive)(int fd); /* returns how many */
	void (*prepare)(int fd);
} ways[] = {
	{"recvfrom", with_recvfrom, NULL},	 {"recvmmsg", with_recvmmsg, NULL},
	{"cmsg", with_cmsg, prepare_cmsg},	 {"gro", with_gro, prepare_gro},
	{"mcast", with_recvmmsg, prepare_mcast}, {"epoll", with_epoll, NULL},
};

/* Returns an epoll instance that watches cnt sockets from the port on. */
static int open_ports(uint16_t port, unsigned int cnt)
{
	struct rlimit many;
	int ep = epoll_create1(EPOLL_CLOEXEC);

	if (ep < 0 || getrlimit(RLIMIT_NOFILE, &many))
		die("epoll or RLIMIT_NOFILE");
	many.rlim_cur = many.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &many))
		die("RLIMIT_NOFILE");
	for (unsigned int i = 0; i < cnt; i++) {
		struct epoll_event ev = {.events = EPOLLIN};

		ev.data.fd = open_port((uint16_t)(port + i));
		if (epoll_ctl(ep, EPOLL_CTL_ADD, ev.data.fd, &ev))
			die("epoll_ctl");
	}
	return ep;
}

/* Counts from the first datagram on, after a second in which everything settles. */
static void count(int fd, const struct way *w, uint64_t seconds)
{
	uint64_t begin, end, n = 0;

	while (!w->receive(fd))
		;
	for (end = now_ns() + 1000000000u; now_ns() < end;)
		w->receive(fd);
	begin = now_ns();
	end = begin + seconds * 1000000000u;
	while (now_ns() < end)
		n += w->receive(fd);
	printf("{\"pps\": %.0f}\n", (double)n * 1e9 / (double)(now_ns() - begin));
}

static void echo(int fd)
{
	struct epoll_event ev = {.events = EPOLLIN};
	int ep = epoll_create1(EPOLL_CLOEXEC);

	if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev))
		die("epoll");
	for (;;) {
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		ssize_t n;

		if (epoll_wait(ep, &ev, 1, -1) < 1)
			continue;
		n = recvfrom(fd, buf[0], sizeof(buf[0]), MSG_DONTWAIT, (struct sockaddr *)&from,
			     &len);
		if (n >= 0)
			sendto(fd, buf[0], (size_t)n, 0, (struct sockaddr *)&from, len);
	}
}

struct flood {
	struct sockaddr_in to[DESTINATIONS];
	uint32_t to_cnt, next;
	size_t size;
};

/* Sends 64 datagrams, to the next destinations. Returns how many went. */
static uint64_t send_each(int fd, struct flood *f)
{
	struct iovec iov = {buf[0], f->size};
	struct mmsghdr vec[BATCH];
	int n;

	for (int i = 0; i < BATCH; i++) {
		vec[i].msg_hdr =
			(struct msghdr){&f->to[f->next], sizeof(f->to[0]), &iov, 1, NULL, 0, 0};
		f->next = f->next + 1 < f->to_cnt ? f->next + 1 : 0;
	}
	n = sendmmsg(fd, vec, BATCH, 0);
	return n > 0 ? (uint64_t)n : 0;
}

/* The same from one buffer, to one destination. */
static uint64_t send_gso(int fd, struct flood *f)
{
	size_t cnt = GSO_BYTES / f->size < BATCH ? GSO_BYTES / f->size : BATCH;
	const struct sockaddr_in *to = &f->to[f->next];

	f->next = f->next + 1 < f->to_cnt ? f->next + 1 : 0;
	return sendto(fd, buf[0], cnt * f->size, 0, (const struct sockaddr *)to, sizeof(*to)) > 0
		       ? cnt
		       : 0;
}

static void send_all(struct flood *f, uint64_t seconds, bool gso)
{
	int fd = open_port(0), segment = (int)f->size;
	uint64_t begin = now_ns(), end = begin + seconds * 1000000000u, n = 0;

	if (gso && setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof(segment)))
		die("UDP_SEGMENT");
	recv(fd, buf[1], 1, MSG_DONTWAIT); /* the preload library claims a socket that receives */
	while (now_ns() < end)
		n += gso ? send_gso(fd, f) : send_each(fd, f);
	printf("{\"pps\": %.0f}\n", (double)n * 1e9 / (double)(now_ns() - begin));
}

static uint16_t port_of(const char *text)
{
	return (uint16_t)strtoul(text, NULL, 10);
}

static int usage(void)
{
	fprintf(stderr,
		"usage: plain recvfrom|recvmmsg|cmsg|gro|mcast|epoll PORT SECONDS [SOCKETS]\n"
		"       plain echo PORT\n"
		"       plain gso|flood ADDRESS PORT SECONDS [SIZE [DESTINATIONS]]\n");
	return 2;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	size_t i = 0;
	int fd;

	if (argc == 3 && !strcmp(what, "echo"))
		echo(open_port(port_of(argv[2])));
	if (argc >= 5 && argc <= 7 && (!strcmp(what, "gso") || !strcmp(what, "flood"))) {
		static struct flood f;

		f.size = argc > 5 ? strtoul(argv[5], NULL, 10) : SEGMENT;
		f.to_cnt = argc > 6 ? (uint32_t)strtoul(argv[6], NULL, 10) : 1;
		if (!f.size || f.size > SEGMENT || !f.to_cnt || f.to_cnt > DESTINATIONS)
			return usage();
		for (uint32_t n = 0; n < f.to_cnt; n++)
			f.to[n] = (struct sockaddr_in){
				.sin_family = AF_INET,
				.sin_port = htons(port_of(argv[3])),
				.sin_addr.s_addr = htonl(ntohl(inet_addr(argv[2])) + n)};
		send_all(&f, strtoul(argv[4], NULL, 10), !strcmp(what, "gso"));
		return 0;
	}
	while (i < sizeof(ways) / sizeof(ways[0]) && strcmp(what, ways[i].name))
		i++;
	if (argc < 4 || argc > 5 || i == sizeof(ways) / sizeof(ways[0]))
		return usage();
	if (ways[i].receive == with_epoll)
		fd = open_ports(port_of(argv[2]),
				argc == 5 ? (unsigned int)strtoul(argv[4], NULL, 10) : 1);
	else
		fd = open_port(port_of(argv[2]));
	if (ways[i].prepare)
		ways[i].prepare(fd);
	count(fd, &ways[i], strtoul(argv[3], NULL, 10));
	return 0;
}
