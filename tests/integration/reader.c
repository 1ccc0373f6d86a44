/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For preload_test.py: a plain UDP server that knows nothing of udplane.
 *   reader MECHANISM HOW ADDRESS PORT
 * MECHANISM: recv, recvmsg, recvmmsg, read, readv, poll, ppoll, select, pselect, epoll, edge,
 * oneshot, exclusive, nested, threads. HOW: one (datagram a wake-up) or all (until EAGAIN). It
 * answers each datagram with itself and ends after "end". Then it prints how many it received, how
 * often it was woken, and how often for nothing.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define SIZE	2048
#define THREADS 3
#define WAIT_MS 20000

static const char *mechanism;
static bool one;
static int sock, ep, outer = -1;
static volatile bool ended;
static unsigned long received, woken, in_vain;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static bool is(const char *name)
{
	return !strcmp(mechanism, name);
}

static int answer(const char *buf, ssize_t len, const struct sockaddr_storage *from,
		  socklen_t from_len)
{
	__atomic_fetch_add(&received, 1, __ATOMIC_RELAXED);
	if (sendto(sock, buf, (size_t)len, 0, (const struct sockaddr *)from, from_len) != len)
		fail("sendto");
	if (len == 3 && !memcmp(buf, "end", 3))
		ended = true;
	return 1;
}

/* Returns how many datagrams were taken; 0 if there was none. */
static int take_many(void)
{
	static char buf[16][SIZE];
	static struct sockaddr_storage from[16];
	struct iovec iov[16];
	struct mmsghdr m[16];
	int n;

	for (int i = 0; i < 16; i++) {
		iov[i] = (struct iovec){buf[i], SIZE};
		m[i].msg_hdr = (struct msghdr){.msg_name = &from[i],
					       .msg_namelen = sizeof(from[i]),
					       .msg_iov = &iov[i],
					       .msg_iovlen = 1};
	}
	n = recvmmsg(sock, m, 16, MSG_WAITFORONE, NULL);
	for (int i = 0; i < n; i++)
		answer(buf[i], m[i].msg_len, &from[i], m[i].msg_hdr.msg_namelen);
	return n;
}

static int take(void)
{
	char buf[SIZE];
	struct sockaddr_storage from;
	socklen_t len = sizeof(from);
	struct iovec iov[2] = {{buf, 3}, {buf + 3, SIZE - 3}};
	struct msghdr m = {
		.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = iov, .msg_iovlen = 2};
	ssize_t n;

	if (is("recvmmsg"))
		return take_many();
	if (is("read") || is("readv")) { /* the socket is connected after the first datagram */
		n = is("read") ? read(sock, buf, SIZE) : readv(sock, iov, 2);
		if (n >= 0 && getpeername(sock, (struct sockaddr *)&from, &len))
			fail("getpeername");
	} else if (is("recvmsg")) {
		n = recvmsg(sock, &m, 0);
		len = m.msg_namelen;
	} else {
		n = recvfrom(sock, buf, SIZE, 0, (struct sockaddr *)&from, &len);
	}
	if (n < 0 && errno != EAGAIN)
		fail("receive");
	return n < 0 ? 0 : answer(buf, n, &from, len);
}

static void take_some(void)
{
	int n = 0, got;

	do {
		got = take();
		n += got;
	} while (got && !one);
	if (!n)
		__atomic_fetch_add(&in_vain, 1, __ATOMIC_RELAXED);
}

static uint32_t events(void)
{
	return EPOLLIN | (is("edge") ? EPOLLET : 0) | (is("oneshot") ? EPOLLONESHOT : 0) |
	       (is("exclusive") ? EPOLLEXCLUSIVE : 0);
}

static void wait_epoll(void)
{
	struct epoll_event ev[4], again = {.events = events(), .data.u64 = 0x1234567890abcdef};
	int n = epoll_wait(outer >= 0 ? outer : ep, ev, 4, WAIT_MS);

	if (n == 0 && !ended)
		fail("epoll_wait: no event");
	if (n > 0 && outer >= 0)
		n = epoll_wait(ep, ev, 4, 0);
	if (n > 0 && ev[0].data.u64 != again.data.u64)
		fail("epoll_wait: other data");
	if (n < 0)
		fail("epoll_wait");
	take_some();
	if (is("oneshot") && epoll_ctl(ep, EPOLL_CTL_MOD, sock, &again))
		fail("EPOLL_CTL_MOD");
}

static void wait_select(void)
{
	struct timespec ts = {WAIT_MS / 1000, 0};
	struct timeval tv = {WAIT_MS / 1000, 0};
	fd_set set;
	int n;

	FD_ZERO(&set);
	FD_SET(sock, &set);
	n = is("select") ? select(sock + 1, &set, NULL, NULL, &tv)
			 : pselect(sock + 1, &set, NULL, NULL, &ts, NULL);
	if (n != 1 || !FD_ISSET(sock, &set))
		fail("select");
	take_some();
}

static void wait_poll(void)
{
	struct pollfd p = {sock, POLLIN, 0};
	struct timespec ts = {WAIT_MS / 1000, 0};
	int n = is("poll") ? poll(&p, 1, WAIT_MS) : ppoll(&p, 1, &ts, NULL);

	if (n != 1 || p.revents != POLLIN)
		fail("poll");
	take_some();
}

static void *serve(void *unused)
{
	while (!ended) {
		__atomic_fetch_add(&woken, 1, __ATOMIC_RELAXED);
		if (is("select") || is("pselect"))
			wait_select();
		else if (is("poll") || is("ppoll"))
			wait_poll();
		else if (ep > 0)
			wait_epoll();
		else
			take();
	}
	return unused;
}

/* The sockets that others sleep on do not become readable by the end. */
static void *serve_in_thread(void *unused)
{
	struct epoll_event ev;

	while (!ended)
		if (epoll_wait(ep, &ev, 1, 100) > 0)
			take_some();
	return unused;
}

static void serve_in_threads(void)
{
	pthread_t t[THREADS];

	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&t[i], NULL, serve_in_thread, NULL))
			fail("pthread_create");
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
}

static void open_epoll(void)
{
	struct epoll_event ev = {.events = events(), .data.u64 = 0x1234567890abcdef};

	ep = epoll_create1(0);
	if (epoll_ctl(ep, EPOLL_CTL_ADD, sock, &ev))
		fail("EPOLL_CTL_ADD");
	ev.events = EPOLLIN;
	if (!is("nested"))
		return;
	outer = epoll_create1(0);
	if (epoll_ctl(outer, EPOLL_CTL_ADD, ep, &ev))
		fail("EPOLL_CTL_ADD");
}

static void open_socket(const char *address, const char *port)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6,
				   .sin6_port = htons((uint16_t)atoi(port))};
	struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
	bool v6 = inet_pton(AF_INET6, address, &in6.sin6_addr) == 1;

	if (!v6 && inet_pton(AF_INET, address, &in4.sin_addr) != 1)
		fail(address);
	sock = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM, 0);
	if (bind(sock, v6 ? (void *)&in6 : (void *)&in4, v6 ? sizeof(in6) : sizeof(in4)))
		fail("bind");
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	mechanism = argv[1];
	one = !strcmp(argv[2], "one");
	open_socket(argv[3], argv[4]);
	puts("ready");
	fflush(stdout);
	if (is("read") || is("readv")) {
		struct sockaddr_storage from;
		socklen_t len = sizeof(from);
		char buf[SIZE];
		ssize_t n = recvfrom(sock, buf, SIZE, 0, (struct sockaddr *)&from, &len);

		if (n < 0 || connect(sock, (struct sockaddr *)&from, len))
			fail("connect");
		answer(buf, n, &from, len);
	} else if (strncmp(mechanism, "recv", 4)) {
		fcntl(sock, F_SETFL, O_NONBLOCK);
	}
	if (is("epoll") || is("edge") || is("oneshot") || is("exclusive") || is("nested") ||
	    is("threads"))
		open_epoll();
	if (is("threads"))
		serve_in_threads();
	else
		serve(NULL);
	printf("%lu %lu %lu\n", received, woken, in_vain);
	return 0;
}
