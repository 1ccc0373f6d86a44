/* SPDX-License-Identifier: Apache-2.0 */
// udplane-selftest: an application and its peer, for `helm test`: do datagrams take the fast path?
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <udplane/clock.h>
#include <udplane/udplane.h>
#include <unistd.h>

#define WANTED	 1000u /* datagrams by the fast path */
#define BURST	 32
#define PAUSE_MS 2 /* between two bursts: 16000 datagrams a second */
#define SAY_MS	 2000

static const char usage[] =
	"usage: udplane-selftest serve PORT SECONDS\n"
	"       udplane-selftest send HOST PORT [SECONDS]\n"
	"\n"
	"serve: receives datagrams on PORT by libudplane. Exit status 0 once the fast path has\n"
	"       carried 1000 of them and `udplanectl health --accelerated` agrees; 1, with the\n"
	"       reason, if that has not come about within SECONDS.\n"
	"send:  sends datagrams from a plain socket, for SECONDS or until it is ended.\n";

extern char **environ;

/* Runs udplanectl with up to two arguments; its output goes where ours goes. Returns its exit
 * status. */
static int udplanectl(const char *verb, const char *argument)
{
	char *argv[] = {"udplanectl", (char *)verb, (char *)argument, NULL};
	int status;
	pid_t pid;

	errno = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);
	if (errno) {
		printf("udplanectl: %s\n", strerror(errno));
		return 1;
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int open_server(const char *port)
{
	struct sockaddr_in6 any6 = {.sin6_family = AF_INET6,
				    .sin6_port = htons((uint16_t)atoi(port))};
	struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_port = any6.sin6_port};
	int off = 0, fd = udplane_socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && !udplane_setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) &&
	    !udplane_bind(fd, (struct sockaddr *)&any6, sizeof(any6)))
		return fd;
	if (fd >= 0)
		udplane_close(fd); /* no IPv6 here */
	fd = udplane_socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || udplane_bind(fd, (struct sockaddr *)&any4, sizeof(any4)))
		return -1;
	return fd;
}

/* Receives what is there within 100 ms. */
static void receive(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char buf[2048];

	if (poll(&p, 1, 100) > 0)
		while (udplane_recv(fd, buf, sizeof(buf), MSG_DONTWAIT) >= 0)
			;
}

static void say(const struct udplane_status *status)
{
	printf("received by the fast path: %llu, by the kernel: %llu%s%s%s%s\n",
	       (unsigned long long)status->fast_rx, (unsigned long long)status->kernel_rx,
	       status->accelerated ? "" : "; not accelerated: ",
	       status->accelerated ? "" : status->reason, status->accelerated ? "" : ": ",
	       status->accelerated ? "" : status->text);
	fflush(stdout);
}

static int serve(const char *port, const char *seconds)
{
	struct udplane_status status = {.size = sizeof(status)};
	uint64_t end = clock_now_ms() + strtoul(seconds, NULL, 10) * 1000, next = 0;
	int fd = open_server(port);

	if (fd < 0) {
		printf("port %s: %s\n", port, strerror(errno));
		return 1;
	}
	while (clock_now_ms() < end) {
		receive(fd);
		udplane_get_status(fd, &status);
		if (clock_now_ms() < next)
			continue;
		next = clock_now_ms() + SAY_MS;
		say(&status);
		if (status.fast_rx >= WANTED && !udplanectl("health", "--accelerated"))
			return 0;
	}
	printf("FAILED: within %s s, the fast path has carried %llu datagrams, %u were wanted\n",
	       seconds, (unsigned long long)status.fast_rx, WANTED);
	if (!status.fast_rx && !status.kernel_rx)
		printf("No datagram has come: is there a NetworkPolicy in this namespace, or no "
		       "node for the pod that sends?\n");
	fflush(stdout);
	udplanectl("why", port);
	return 1;
}

static int send_to(const char *host, const char *port, const char *seconds)
{
	struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *found = NULL;
	uint64_t end = seconds ? clock_now_ms() + strtoul(seconds, NULL, 10) * 1000 : UINT64_MAX;
	static const char payload[64] = "udplane-selftest";
	int fd = -1, err;

	for (; clock_now_ms() < end; poll(NULL, 0, PAUSE_MS)) {
		if (!found) { /* the name of a Service is known a moment later than its pods */
			err = getaddrinfo(host, port, &hints, &found);
			if (err) {
				printf("%s: %s\n", host, gai_strerror(err));
				fflush(stdout);
				poll(NULL, 0, 1000);
				continue;
			}
			fd = socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
			printf("sending to %s:%s\n", host, port);
			fflush(stdout);
		}
		for (int i = 0; i < BURST; i++) /* a refusal says that nobody serves yet */
			sendto(fd, payload, sizeof(payload), 0, found->ai_addr, found->ai_addrlen);
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "serve"))
		return serve(argv[2], argv[3]);
	if ((argc == 4 || argc == 5) && !strcmp(argv[1], "send"))
		return send_to(argv[2], argv[3], argv[4]);
	fputs(usage, stderr);
	return 2;
}
