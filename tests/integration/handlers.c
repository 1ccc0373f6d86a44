/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For preload_epoll_test.py: a plain UDP program whose signal handler interrupts its calls.
 *   handlers SECONDS ADDRESS PORT
 * It waits for and receives from PORT and PORT + 1. After 200 waits a handler closes the second
 * socket, opens it anew under the same number, and registers it with other data; or it closes an
 * epoll instance that both are in. Fails if an event has the data of a socket that was closed
 * before the wait.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_in addr;
static int ep, other, steady;
static volatile int renewed;
static volatile uint64_t generation;
static volatile unsigned runs;

static void fail(const char *what)
{
	perror(what);
	_exit(1);
}

static int open_socket(uint16_t more)
{
	struct sockaddr_in a = addr;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), on = 1;

	a.sin_port = htons((uint16_t)(ntohs(addr.sin_port) + more));
	if (fd < 0)
		fail("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)))
		fail("bind");
	return fd;
}

static void add(int to, int fd, uint64_t data)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = data};

	if (epoll_ctl(to, EPOLL_CTL_ADD, fd, &ev))
		fail("epoll_ctl");
}

static void handler(int signo)
{
	int err = errno;

	(void)signo;
	if (runs++ % 2) {
		close(other);
		other = epoll_create1(0);
		if (other < 0)
			fail("epoll_create1");
		add(other, steady, 0);
		add(other, renewed, 0);
	} else {
		close(renewed);
		renewed = open_socket(1);
		generation++;
		add(ep, renewed, generation);
	}
	errno = err;
}

static void drain(int fd, bool echo)
{
	struct sockaddr_in from;
	char buf[100];

	for (;;) {
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len);

		if (n < 0)
			return;
		if (echo)
			sendto(fd, buf, (size_t)n, 0, (struct sockaddr *)&from, len);
	}
}

int main(int argc, char **argv)
{
	struct itimerval often = {{0, 700}, {0, 700}}, never = {{0, 0}, {0, 0}};
	struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_RESTART};
	unsigned waits = 0;
	time_t end;

	if (argc != 4)
		return 2;
	addr.sin_family = AF_INET;
	addr.sin_port = htons((uint16_t)atoi(argv[3]));
	if (inet_pton(AF_INET, argv[2], &addr.sin_addr) != 1)
		return 2;
	ep = epoll_create1(0);
	other = epoll_create1(0);
	steady = open_socket(0);
	renewed = open_socket(1);
	add(ep, steady, UINT64_MAX);
	add(ep, renewed, 0);
	puts("ready");
	fflush(stdout);
	sigaction(SIGALRM, &sa, NULL);
	for (end = time(NULL) + atoi(argv[1]); time(NULL) < end; waits++) {
		uint64_t before = generation;
		struct epoll_event ev[4];
		int n = epoll_wait(ep, ev, 4, 100);

		if (waits == 200)
			setitimer(ITIMER_REAL, &often, NULL);
		for (int i = 0; i < n; i++) {
			if (ev[i].data.u64 < before) {
				fprintf(stderr, "an event of %d sockets ago\n",
					(int)(before - ev[i].data.u64));
				return 1;
			}
			drain(ev[i].data.u64 == UINT64_MAX ? steady : renewed,
			      ev[i].data.u64 == UINT64_MAX);
		}
	}
	setitimer(ITIMER_REAL, &never, NULL);
	printf("%u\n", runs);
	return 0;
}
