/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What runs in the QEMU guest beside udplaned (tests/vfio/init):
 *   guest echo PORT                       an application of libudplane: IPv4 and IPv6 sockets, sends everything back; runs for ever.
 *                                         SIGUSR1: writes "fast_rx kernel_rx" to /run/echo, if
 *                                         ECHO_REPORT is set
 *   guest peer ADDR PORT COUNT SIZE       an ordinary kernel socket: COUNT datagrams of SIZE bytes, 16 under way, each verified;
 *                                         exit status 0 if at most 1 % got lost and none was changed
 *   guest tcp-serve PORT                  serves what is asked for, one connection after another
 *   guest tcp-get ADDR PORT MIB           fetches and verifies it; prints MiB/s
 *   guest exit STATUS                     ends QEMU by isa-debug-exit
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <time.h>
#include <udplane/udplane.h>
#include <unistd.h>

#define WINDOW 16
#define PEER_STALL_MS 500
#define PEER_LIMIT_NS 15000000000ull

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static socklen_t make_addr(const char *ip, int port, struct sockaddr_storage *out)
{
	struct sockaddr_in *a4 = (struct sockaddr_in *)out;
	struct sockaddr_in6 *a6 = (struct sockaddr_in6 *)out;

	memset(out, 0, sizeof(*out));
	if (strchr(ip, ':')) {
		a6->sin6_family = AF_INET6;
		a6->sin6_port = htons((uint16_t)port);
		inet_pton(AF_INET6, ip, &a6->sin6_addr);
		return sizeof(*a6);
	}
	a4->sin_family = AF_INET;
	a4->sin_port = htons((uint16_t)port);
	inet_pton(AF_INET, ip, &a4->sin_addr);
	return sizeof(*a4);
}

/* ---------------------------------------------------------------------------------------------------------- echo -- */

static volatile sig_atomic_t report_asked;

static void on_usr1(int sig)
{
	(void)sig;
	report_asked = 1;
}

static void report(const int *fd)
{
	uint64_t fast = 0, kernel = 0;
	FILE *f = getenv("ECHO_REPORT") ? fopen("/run/echo.new", "w") : NULL;

	for (int i = 0; i < 2; i++) {
		struct udplane_status st = {.size = sizeof(st)};

		udplane_get_status(fd[i], &st);
		fast += st.fast_rx;
		kernel += st.kernel_rx;
		fprintf(stderr, "echo: socket %d: accelerated %d, %s %s\n", i, st.accelerated, st.reason, st.text);
	}
	if (f) {
		fprintf(f, "%llu %llu\n", (unsigned long long)fast, (unsigned long long)kernel);
		fclose(f);
		rename("/run/echo.new", "/run/echo");
	}
	report_asked = 0;
}

static void echo_all(int fd)
{
	struct sockaddr_storage from;
	char buf[4096];

	for (;;) {
		socklen_t len = sizeof(from);
		ssize_t n = udplane_recvfrom(fd, buf, sizeof(buf), MSG_DONTWAIT, (struct sockaddr *)&from, &len);

		if (n < 0)
			return;
		if (udplane_sendto(fd, buf, (size_t)n, 0, (struct sockaddr *)&from, len) != n)
			perror("echo: sendto");
	}
}

static void echo(int port)
{
	const char *any[2] = {"0.0.0.0", "::"};
	struct sigaction sa = {.sa_handler = on_usr1};
	struct pollfd p[2];
	int fd[2];

	for (int i = 0; i < 2; i++) {
		struct sockaddr_storage a;
		socklen_t len = make_addr(any[i], port, &a);
		int one = 1;

		fd[i] = udplane_socket(a.ss_family, SOCK_DGRAM, 0);
		if (i && udplane_setsockopt(fd[i], IPPROTO_IPV6, 26 /* IPV6_V6ONLY */, &one, sizeof(one)))
			die("IPV6_V6ONLY");
		if (fd[i] < 0 || udplane_bind(fd[i], (struct sockaddr *)&a, len))
			die("bind");
		p[i] = (struct pollfd){.fd = fd[i], .events = POLLIN};
	}
	sigaction(SIGUSR1, &sa, NULL);
	report(fd);
	for (;;) {
		if (poll(p, 2, 500) < 0 && errno != EINTR)
			die("poll");
		for (int i = 0; i < 2; i++)
			echo_all(fd[i]);
		if (report_asked)
			report(fd);
	}
}

/* ---------------------------------------------------------------------------------------------------------- peer -- */

static void fill(uint8_t *buf, size_t size, uint32_t n)
{
	memcpy(buf, &n, 4);
	for (size_t i = 4; i < size; i++)
		buf[i] = (uint8_t)(n * 31 + i * 7);
}

struct peer {
	int fd;
	size_t size;
	uint32_t sent, back, bad, stalls;
};

static void peer_send(struct peer *p, uint32_t cnt, uint32_t window)
{
	uint8_t buf[4096];

	while (p->sent < cnt && p->sent - p->back < window) {
		fill(buf, p->size, p->sent++);
		(void)!send(p->fd, buf, p->size, 0);
	}
}

static void peer_take(struct peer *p)
{
	uint8_t in[4096], want[4096];
	ssize_t n = recv(p->fd, in, sizeof(in), MSG_DONTWAIT);

	if (n < 0)
		return;
	fill(want, p->size, *(uint32_t *)in);
	p->bad += (size_t)n != p->size || memcmp(in, want, p->size);
	p->back++;
}

static int peer(const char *ip, int port, uint32_t cnt, size_t size)
{
	struct sockaddr_storage a;
	socklen_t len = make_addr(ip, port, &a);
	struct peer p = {.fd = socket(a.ss_family, SOCK_DGRAM, 0), .size = size};
	uint64_t start = now_ns();

	if (p.fd < 0 || connect(p.fd, (struct sockaddr *)&a, len))
		die("connect");
	while (p.back < cnt && now_ns() - start < PEER_LIMIT_NS) {
		struct pollfd pfd = {.fd = p.fd, .events = POLLIN};

		peer_send(&p, cnt, WINDOW * (1 + p.stalls));
		if (poll(&pfd, 1, PEER_STALL_MS) > 0)
			peer_take(&p);
		else if (p.sent == cnt)
			break;
		else
			p.stalls++; /* lost or late, they stay out: the window grows by as many */
	}
	printf("peer: %u of %u back, %u changed, %u stalls, %.0f round trips/s\n", p.back, cnt, p.bad, p.stalls,
	       p.back / ((double)(now_ns() - start) / 1e9));
	return p.bad || cnt - p.back > cnt / 100;
}

/* ----------------------------------------------------------------------------------------------------------- tcp -- */

static void tcp_serve(int port)
{
	struct sockaddr_storage a;
	socklen_t len = make_addr("::", port, &a);
	int one = 1, fd = socket(AF_INET6, SOCK_STREAM, 0);
	static uint8_t buf[1 << 16];

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&a, len) || listen(fd, 4))
		die("listen");
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i * 13 + (i >> 8));
	for (;;) {
		int c = accept(fd, NULL, NULL);
		uint32_t blocks = 0;

		if (c < 0 || read(c, &blocks, 4) != 4)
			continue;
		while (blocks--)
			if (write(c, buf, sizeof(buf)) != sizeof(buf))
				break;
		close(c);
	}
}

static int tcp_get(const char *ip, int port, uint32_t mib)
{
	struct sockaddr_storage a;
	socklen_t len = make_addr(ip, port, &a);
	int fd = socket(a.ss_family, SOCK_STREAM, 0);
	uint64_t got = 0, start = now_ns();
	uint32_t blocks = mib * 16;
	static uint8_t buf[1 << 16];
	ssize_t n;

	if (connect(fd, (struct sockaddr *)&a, len) || write(fd, &blocks, 4) != 4)
		die("connect");
	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		for (ssize_t k = 0; k < n; k += 97) {
			size_t i = (size_t)(got + (uint64_t)k) & 0xffff;

			if (buf[k] != (uint8_t)(i * 13 + (i >> 8))) {
				fprintf(stderr, "tcp: wrong byte at %llu\n", (unsigned long long)got);
				return 1;
			}
		}
		got += (uint64_t)n;
	}
	printf("tcp: %llu bytes, %.1f MiB/s\n", (unsigned long long)got, (double)got / 1048576 / ((double)(now_ns() - start) / 1e9));
	return got != (uint64_t)mib << 20;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "echo"))
		echo(atoi(argv[2]));
	if (argc == 6 && !strcmp(argv[1], "peer"))
		return peer(argv[2], atoi(argv[3]), (uint32_t)atoi(argv[4]), (size_t)atoi(argv[5]));
	if (argc == 3 && !strcmp(argv[1], "tcp-serve"))
		tcp_serve(atoi(argv[2]));
	if (argc == 5 && !strcmp(argv[1], "tcp-get"))
		return tcp_get(argv[2], atoi(argv[3]), (uint32_t)atoi(argv[4]));
	if (argc == 3 && !strcmp(argv[1], "exit") && !ioperm(0xf4, 4, 1)) {
		outl((unsigned)atoi(argv[2]), 0xf4);
		return 0;
	}
	fprintf(stderr, "guest: see the top of guest.c\n");
	return 2;
}
