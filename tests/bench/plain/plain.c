/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An ordinary program, which knows nothing of udplane. The benchmark runs it with and without the
 * preload library.
 *
 *     plain WAY PORT SECONDS    counts the datagrams received, prints {"pps": N}
 *     plain echo PORT           sends back what comes, until it is ended
 *
 * WAY: recvfrom, recvmmsg (64 a call), cmsg (recvmmsg with IP_PKTINFO, IP_RECVTOS and
 * SO_TIMESTAMPNS), epoll (epoll_wait, then one recvfrom).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

#define BATCH	   64
#define TIMEOUT_US 200000

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

static uint64_t with_epoll(int fd)
{
	static int ep = -1;
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};

	if (ep < 0) {
		ep = epoll_create1(EPOLL_CLOEXEC);
		if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev))
			die("epoll");
	}
	return epoll_wait(ep, &ev, 1, TIMEOUT_US / 1000) > 0 ? with_recvfrom(fd) : 0;
}

static const struct way {
	const char *name;
	uint64_t (*receive)(int fd); /* returns how many */
} ways[] = {
	{"recvfrom", with_recvfrom},
	{"recvmmsg", with_recvmmsg},
	{"cmsg", with_cmsg},
	{"epoll", with_epoll},
};

static int open_port(const char *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
				.sin_addr.s_addr = htonl(INADDR_ANY)};
	struct timeval timeout = {.tv_usec = TIMEOUT_US};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)))
		die("socket or bind");
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)))
		die("SO_RCVTIMEO");
	return fd;
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

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "echo"))
		echo(open_port(argv[2]));
	for (size_t i = 0; argc == 4 && i < sizeof(ways) / sizeof(ways[0]); i++) {
		int fd;

		if (strcmp(argv[1], ways[i].name))
			continue;
		fd = open_port(argv[2]);
		if (!strcmp(argv[1], "cmsg")) {
			set(fd, IPPROTO_IP, IP_PKTINFO);
			set(fd, IPPROTO_IP, IP_RECVTOS);
			set(fd, SOL_SOCKET, SO_TIMESTAMPNS);
		}
		count(fd, &ways[i], strtoul(argv[3], NULL, 10));
		return 0;
	}
	fprintf(stderr, "usage: plain recvfrom|recvmmsg|cmsg|epoll PORT SECONDS\n"
			"       plain echo PORT\n");
	return 2;
}
