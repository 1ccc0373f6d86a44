/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peers N LOCAL PORT PEER [FIRST]: a server as DTLS, TURN and QUIC have them: a listener on
 * LOCAL:PORT, and N sockets bound to the same address and connected to PEER:20000, PEER:20001, ...
 * With FIRST it is another process of the same server: it has no listener, and its peers begin with
 * that number. Prints a line of JSON when all are made, then receives until its input ends: each
 * datagram names the socket that it is meant for, "-1" the listener. Then prints a second line,
 * closes all, and prints a third.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <udplane/clock.h>
#include <udplane/udplane.h>
#include <unistd.h>

#define FIRST_PEER 20000
#define BLOCK	   100

struct server {
	int first, cnt, total, epoll_fd; /* total: with the listener, which is the last */
	struct sockaddr_in local, peer;
	int *fd;		  /* [cnt], then the listener */
	double first_us, last_us; /* median of the first and of the last BLOCK of them */
	unsigned listener_lost;	  /* looks at which the listener was not accelerated */
	unsigned long right, wrong;
};

static double now_us(void)
{
	return (double)clock_now_ns() / 1e3;
}

static bool accelerated(int fd)
{
	struct udplane_status st = {.size = sizeof(st)};

	return !udplane_get_status(fd, &st) && st.accelerated;
}

static int open_socket(struct server *s, int i)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
	int one = 1, fd = udplane_socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	if (fd < 0 || udplane_setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    udplane_bind(fd, (struct sockaddr *)&s->local, sizeof(s->local))) {
		perror("socket");
		exit(1);
	}
	if (i < s->cnt) {
		s->peer.sin_port = htons((uint16_t)(FIRST_PEER + s->first + i));
		if (udplane_connect(fd, (struct sockaddr *)&s->peer, sizeof(s->peer))) {
			perror("connect");
			exit(1);
		}
	}
	epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &ev);
	return fd;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void open_all(struct server *s)
{
	double took[BLOCK];

	for (int i = 0; i < s->cnt; i++) {
		double begin = now_us();

		s->fd[i] = open_socket(s, i);
		took[i % BLOCK] = now_us() - begin;
		if (i % BLOCK != BLOCK - 1)
			continue;
		qsort(took, BLOCK, sizeof(*took), by_value);
		s->last_us = took[BLOCK / 2];
		if (i + 1 == BLOCK)
			s->first_us = s->last_us;
		s->listener_lost += s->total > s->cnt && !accelerated(s->fd[s->cnt]);
	}
}

static int count_accelerated(const struct server *s)
{
	int n = 0;

	for (int i = 0; i < s->cnt; i++)
		n += accelerated(s->fd[i]);
	return n;
}

static void take(struct server *s, uint32_t i)
{
	char text[32];
	ssize_t n;

	while ((n = udplane_recv(s->fd[i], text, sizeof(text) - 1, 0)) >= 0) {
		text[n] = 0;
		if (atoi(text) == ((int)i == s->cnt ? -1 : s->first + (int)i))
			s->right++;
		else
			s->wrong++;
	}
}

static void serve(struct server *s)
{
	struct epoll_event ev[64];
	struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};

	while (!poll(&input, 1, 0)) {
		int n = epoll_wait(s->epoll_fd, ev, 64, 20);

		for (int i = 0; i < n; i++)
			take(s, ev[i].data.u32);
	}
}

static void report(const struct server *s)
{
	unsigned long fast = 0, kernel = 0, some_fast = 0, listener = 0;

	for (int i = 0; i < s->total; i++) {
		struct udplane_status st = {.size = sizeof(st)};

		udplane_get_status(s->fd[i], &st);
		fast += st.fast_rx;
		kernel += st.kernel_rx;
		some_fast += i < s->cnt && st.fast_rx;
		listener += i == s->cnt ? st.fast_rx : 0;
	}
	printf("{\"listener_fast\": %lu, \"right\": %lu, \"wrong\": %lu, \"fast\": %lu, "
	       "\"kernel\": %lu, \"peers_fast\": %lu}\n",
	       listener, s->right, s->wrong, fast, kernel, some_fast);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct server s = {.epoll_fd = epoll_create1(0)};
	struct rlimit files;
	double begin;

	if (argc < 5)
		return 2;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max; /* three for each socket */
	setrlimit(RLIMIT_NOFILE, &files);
	s.cnt = atoi(argv[1]);
	s.first = argc > 5 ? atoi(argv[5]) : 0;
	s.total = s.cnt + !s.first;
	s.fd = calloc((size_t)s.cnt + 1, sizeof(*s.fd));
	s.local.sin_family = s.peer.sin_family = AF_INET;
	s.local.sin_port = htons((uint16_t)atoi(argv[3]));
	inet_pton(AF_INET, argv[2], &s.local.sin_addr);
	inet_pton(AF_INET, argv[4], &s.peer.sin_addr);
	if (s.total > s.cnt)
		s.fd[s.cnt] = open_socket(&s, s.cnt);
	begin = now_us();
	open_all(&s);
	printf("{\"accelerated\": %d, \"listener\": %s, \"listener_lost\": %u, \"first_us\": %.0f, "
	       "\"last_us\": %.0f, \"all_ms\": %.0f}\n",
	       count_accelerated(&s),
	       s.total > s.cnt && accelerated(s.fd[s.cnt]) ? "true" : "false", s.listener_lost,
	       s.first_us, s.last_us, (now_us() - begin) / 1e3);
	fflush(stdout);
	serve(&s);
	report(&s);
	begin = now_us();
	for (int i = 0; i < s.total; i++)
		udplane_close(s.fd[i]);
	printf("{\"close_us\": %.0f}\n", (now_us() - begin) / s.total);
	return 0;
}
