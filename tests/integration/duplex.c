/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For failover_test.py: a plain UDP program that sends numbered datagrams and receives those of its
 * like.
 *
 *   duplex ADDR PEER PORT RATE    prints "ready"; sends 0, 1, 2, ... to PEER at RATE a second from
 *                                 the line "go" on stdin to the line "stop"; prints a line of JSON
 *                                 for each line
 *
 * "lost" counts numbers below the highest that have not come; "gap" is the longest time between
 * two, "idle" that since the last, ms; "errors" are calls that failed for another reason than that
 * they would have had to wait.
 */
#include "tests/integration/tally.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH 32
#define TURN  8 /* batches */

/* Of one end. */
struct end {
	struct tally t;
	uint64_t errors;
	uint32_t sent;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void prepare(struct mmsghdr *vec, struct iovec *iov, uint32_t *number)
{
	for (int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){&number[i], sizeof(number[i])};
		vec[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &iov[i], .msg_iovlen = 1}};
	}
}

static void take(int fd, struct end *e)
{
	uint32_t number[BATCH];
	struct iovec iov[BATCH];
	struct mmsghdr vec[BATCH];
	int n;

	do {
		prepare(vec, iov, number);
		n = recvmmsg(fd, vec, BATCH, MSG_DONTWAIT, NULL);
		if (n < 0 && errno != EAGAIN)
			e->errors++;
		for (int i = 0; i < n; i++)
			tally_note(&e->t, number[i], now_ns());
	} while (n == BATCH);
}

/* Sends what is due by now, but not so much that receiving has to wait. What finds no room is sent
 * later. */
static void give(int fd, struct end *e, uint64_t due)
{
	uint32_t number[BATCH];
	struct iovec iov[BATCH];
	struct mmsghdr vec[BATCH];

	for (int i = 0; i < TURN && e->sent < due && e->sent < MOST; i++) {
		int cnt = due - e->sent < BATCH ? (int)(due - e->sent) : BATCH, n;

		prepare(vec, iov, number);
		for (int k = 0; k < cnt; k++)
			number[k] = e->sent + (uint32_t)k;
		n = sendmmsg(fd, vec, (unsigned int)cnt, MSG_DONTWAIT);
		if (n <= 0) {
			e->errors += errno != EAGAIN && errno != ENOBUFS;
			return;
		}
		e->sent += (uint32_t)n;
	}
}

static void report(const struct end *e)
{
	printf("{\"sent\": %u, \"received\": %llu, \"lost\": %lld, \"doubled\": %llu, "
	       "\"reordered\": %llu, \"errors\": %llu, \"gap\": %llu, \"idle\": %llu}\n",
	       e->sent, (unsigned long long)e->t.received,
	       (long long)(e->t.next - (e->t.received - e->t.duplicates)),
	       (unsigned long long)e->t.duplicates, (unsigned long long)e->t.reordered,
	       (unsigned long long)e->errors, (unsigned long long)(e->t.gap_ns / 1000000),
	       (unsigned long long)((now_ns() - e->t.last_ns) / 1000000));
	fflush(stdout);
}

static int open_socket(char **argv)
{
	struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[3]))};
	struct sockaddr_in peer = here;
	int fd = socket(AF_INET, SOCK_DGRAM, 0), size = 8 << 20;

	inet_pton(AF_INET, argv[1], &here.sin_addr);
	inet_pton(AF_INET, argv[2], &peer.sin_addr);
	/* The stream must not be lost in the kernel's queues while a program waits for a CPU. */
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	if (bind(fd, (void *)&here, sizeof(here)) || connect(fd, (void *)&peer, sizeof(peer))) {
		perror("duplex");
		exit(1);
	}
	return fd;
}

static void watch(int ep, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};

	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
}

int main(int argc, char **argv)
{
	struct end e = {.t.seen = calloc(MOST / 8, 1)};
	int fd, ep = epoll_create1(0);
	bool sends = false;
	uint64_t start = 0, rate;

	if (argc != 5) {
		fprintf(stderr, "usage: duplex ADDR PEER PORT RATE\n");
		return 2;
	}
	fd = open_socket(argv);
	rate = (uint64_t)atoll(argv[4]);
	watch(ep, fd);
	watch(ep, 0);
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		struct epoll_event ev[2];
		int n = epoll_wait(ep, ev, 2, 1);

		take(fd, &e);
		if (sends)
			give(fd, &e, (now_ns() - start) * rate / 1000000000u);
		for (int i = 0; i < n; i++) {
			char line[16] = "";

			if (ev[i].data.fd != 0)
				continue;
			if (read(0, line, sizeof(line) - 1) <= 0)
				return 0;
			if (!strncmp(line, "go", 2)) {
				start = now_ns();
				sends = true;
			}
			if (!strncmp(line, "stop", 4))
				sends = false;
			report(&e);
		}
	}
}
