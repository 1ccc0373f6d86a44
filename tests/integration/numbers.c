/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbered datagrams, to find what is lost, doubled or reordered.
 *
 *   numbers send ADDR PORT RATE     plain kernel socket; sends 0, 1, 2, ... at RATE a second
 *                                   until stdin closes; prints how many
 *   numbers receive ADDR PORT       udplane socket; prints "ready", then a line of JSON for
 *                                   every line on stdin and one at its end
 *
 * "lost" counts numbers below the highest that have not come; "idle" is the time since the last
 * datagram, "gap" the longest between two, ms.
 */
#include "tests/integration/tally.h"
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <udplane/clock.h>
#include <udplane/udplane.h>
#include <unistd.h>

static struct sockaddr_in address(char **argv)
{
	struct sockaddr_in sin = {.sin_family = AF_INET,
				  .sin_port = htons((uint16_t)atoi(argv[1]))};

	inet_pton(AF_INET, argv[0], &sin.sin_addr);
	return sin;
}

static int send_numbers(char **argv)
{
	struct sockaddr_in to = address(argv);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct pollfd in = {.fd = 0, .events = POLLIN};
	uint64_t start = clock_now_ns(), rate = (uint64_t)atol(argv[2]);
	uint32_t n = 0;

	while (!poll(&in, 1, 0)) {
		uint64_t due = (clock_now_ns() - start) * rate / 1000000000u;

		while (n < due && n < MOST) {
			if (sendto(fd, &n, sizeof(n), 0, (void *)&to, sizeof(to)) < 0) {
				perror("numbers: send");
				return 1;
			}
			n++;
		}
		poll(&in, 1, 1);
	}
	printf("%u\n", n);
	return 0;
}

static void take(int fd, struct tally *t)
{
	uint32_t n;

	while (udplane_recv(fd, &n, sizeof(n), MSG_DONTWAIT) == sizeof(n))
		tally_note(t, n, clock_now_ns());
}

static void report(int fd, const struct tally *t)
{
	struct udplane_status st = {.size = sizeof(st)};

	udplane_get_status(fd, &st);
	printf("{\"received\": %llu, \"lost\": %lld, \"duplicates\": %llu, \"reordered\": %llu, "
	       "\"fast\": %llu, \"kernel\": %llu, "
	       "\"idle\": %llu, \"gap\": %llu}\n",
	       (unsigned long long)t->received,
	       (long long)(t->next - (t->received - t->duplicates)),
	       (unsigned long long)t->duplicates, (unsigned long long)t->reordered,
	       (unsigned long long)st.fast_rx, (unsigned long long)st.kernel_rx,
	       (unsigned long long)((clock_now_ns() - t->last_ns) / 1000000),
	       (unsigned long long)(t->gap_ns / 1000000));
	fflush(stdout);
}

static int receive_numbers(char **argv)
{
	struct tally t = {.seen = calloc(MOST / 8, 1)};
	struct sockaddr_in here = address(argv);
	int fd = udplane_socket(AF_INET, SOCK_DGRAM, 0), size = 8 << 20;
	struct pollfd in[2] = {{.fd = 0, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
	char line[64];

	/* The stream must not be lost in the kernel's queue while the reader waits for a CPU: this
	 * measures the hand-over. */
	udplane_setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	if (udplane_bind(fd, (void *)&here, sizeof(here))) {
		perror("numbers: bind");
		return 1;
	}
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		poll(in, 2, 100);
		take(fd, &t);
		if (!(in[0].revents & (POLLIN | POLLHUP)))
			continue;
		if (read(0, line, sizeof(line)) <= 0)
			break;
		report(fd, &t);
	}
	report(fd, &t);
	return udplane_close(fd);
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "send"))
		return send_numbers(argv + 2);
	if (argc == 4 && !strcmp(argv[1], "receive"))
		return receive_numbers(argv + 2);
	fprintf(stderr, "usage: numbers send ADDR PORT RATE | numbers receive ADDR PORT\n");
	return 2;
}
