/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A UDP echo server on libudplane, with the usual socket calls and the prefix udplane_. Without a
 * sidecar the same program uses the kernel.
 *
 *     cc -O2 echo.c -o echo -ludplane && ./echo 7000
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <udplane/udplane.h>

#define DATAGRAM_MAX 65535

static volatile sig_atomic_t leaving;

static void on_signal(int signal)
{
	(void)signal;
	leaving = 1;
}

static int serve(int fd)
{
	static char data[DATAGRAM_MAX];

	while (!leaving) {
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		ssize_t got =
			udplane_recvfrom(fd, data, sizeof(data), 0, (struct sockaddr *)&from, &len);

		if (got < 0)
			continue; /* a signal, or an ICMP error about an earlier answer */
		udplane_sendto(fd, data, (size_t)got, 0, (struct sockaddr *)&from, len);
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port =
					      htons((uint16_t)atoi(argc > 1 ? argv[1] : "7000"))};
	struct sigaction action = {.sa_handler =
					   on_signal}; /* no SA_RESTART: receiving is interrupted */
	int fd = udplane_socket(AF_INET, SOCK_DGRAM, 0);

	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	if (fd < 0 || udplane_bind(fd, (struct sockaddr *)&address, sizeof(address))) {
		perror("echo");
		return 1;
	}
	serve(fd);
	udplane_close(fd);
	return 0;
}
