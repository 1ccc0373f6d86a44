/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What runs in the QEMU guest next to udplaned (tests/vfio/init):
 *   guest echo PORT                       an application of libudplane: IPv4 and IPv6 sockets,
 *                                         sends everything back; runs for ever.
 *                                         SIGUSR1: writes "fast_rx kernel_rx" to /run/echo, if
 *                                         ECHO_REPORT is set
 *   guest peer ADDR PORT COUNT SIZE [FLOWS]
 *                                         an ordinary kernel socket, or FLOWS of them: COUNT
 *                                         datagrams each of SIZE bytes, 16 under way in all,
 *                                         each verified; exit status 0 if at most 1 % got lost
 *                                         and none was changed
 *   guest pace ADDR PORT COUNT FLOWS      one datagram at a time, COUNT for each flow, 5 ms
 *                                         after the answer to the one before, so that it finds
 *                                         everybody asleep; prints the slowest answer; 0 if all
 *                                         came within 500 ms
 *   guest tcp-serve PORT                  serves what is asked for, one connection after another
 *   guest tcp-get ADDR PORT MIB           fetches and verifies it; prints MiB/s; fails if
 *                                         nothing comes for 5 s
 *   guest unprivileged KIB COMMAND...     runs it with RLIMIT_MEMLOCK, without CAP_IPC_LOCK and
 *                                         CAP_SYS_RESOURCE
 *   guest exit STATUS                     ends QEMU by isa-debug-exit
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <termios.h>
#include <time.h>
#include <udplane/clock.h>
#include <udplane/udplane.h>
#include <unistd.h>

#define WINDOW	      16
#define PEER_FLOWS    64
#define PEER_STALL_MS 500
#define PEER_LIMIT_NS 15000000000ull

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

/* --- echo --- */

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
		fprintf(stderr, "echo: socket %d: accelerated %d, %s %s\n", i, st.accelerated,
			st.reason, st.text);
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
		ssize_t n = udplane_recvfrom(fd, buf, sizeof(buf), MSG_DONTWAIT,
					     (struct sockaddr *)&from, &len);

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
		if (i && udplane_setsockopt(fd[i], IPPROTO_IPV6, 26 /* IPV6_V6ONLY */, &one,
					    sizeof(one)))
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

/* --- peer --- */

static void fill(uint8_t *buf, size_t size, uint32_t n)
{
	memcpy(buf, &n, 4);
	for (size_t i = 4; i < size; i++)
		buf[i] = (uint8_t)(n * 31 + i * 7);
}

/* A datagram's number has its flow in the upper half: one that comes back to another flow's socket
 * counts as changed. */
struct peer {
	int fd;
	size_t size;
	uint32_t id, sent, back, bad, stalls;
};

struct peers {
	struct peer p[PEER_FLOWS];
	struct pollfd pfd[PEER_FLOWS];
	uint32_t cnt;
};

static void peers_open(struct peers *s, const char *ip, int port, size_t size, uint32_t cnt)
{
	struct sockaddr_storage a;
	socklen_t len = make_addr(ip, port, &a);

	s->cnt = cnt < PEER_FLOWS ? cnt : PEER_FLOWS;
	for (uint32_t i = 0; i < s->cnt; i++) {
		s->p[i] = (struct peer){
			.fd = socket(a.ss_family, SOCK_DGRAM, 0), .size = size, .id = i << 16};
		s->pfd[i] = (struct pollfd){.fd = s->p[i].fd, .events = POLLIN};
		if (s->p[i].fd < 0 || connect(s->p[i].fd, (struct sockaddr *)&a, len))
			die("connect");
	}
}

static void peer_send(struct peer *p, uint32_t cnt, uint32_t window)
{
	uint8_t buf[4096];

	while (p->sent < cnt && p->sent - p->back < window) {
		fill(buf, p->size, p->id | p->sent++);
		(void)!send(p->fd, buf, p->size, 0);
	}
}

static bool peer_take(struct peer *p)
{
	uint8_t in[4096], want[4096];
	ssize_t n = recv(p->fd, in, sizeof(in), MSG_DONTWAIT);
	uint32_t id;

	if (n < 0)
		return false;
	memcpy(&id, in, 4);
	fill(want, p->size, id);
	p->bad += (size_t)n != p->size || id >> 16 != p->id >> 16 || memcmp(in, want, p->size);
	p->back++;
	return true;
}

/* Sends for all; false: all was sent and all or the rest of it waited for in vain. */
static bool peers_round(struct peers *s, uint32_t cnt)
{
	uint32_t window = WINDOW / s->cnt ? WINDOW / s->cnt : 1;
	bool sent = true, back = true;

	for (uint32_t i = 0; i < s->cnt; i++)
		peer_send(&s->p[i], cnt, window * (1 + s->p[i].stalls));
	if (poll(s->pfd, s->cnt, PEER_STALL_MS) > 0) {
		for (uint32_t i = 0; i < s->cnt; i++) {
			if (s->pfd[i].revents)
				peer_take(&s->p[i]);
			back = back && s->p[i].back == cnt;
		}
		return !back;
	}
	/* lost or late, they stay out: the windows grow by as many */
	for (uint32_t i = 0; i < s->cnt; i++) {
		sent = sent && s->p[i].sent == cnt;
		s->p[i].stalls += s->p[i].back < s->p[i].sent;
	}
	return !sent;
}

static int peer(const char *ip, int port, uint32_t cnt, size_t size, uint32_t flows)
{
	static struct peers s;
	uint32_t back = 0, bad = 0, stalls = 0;
	uint64_t start = clock_now_ns();

	peers_open(&s, ip, port, size, flows);
	while (clock_now_ns() - start < PEER_LIMIT_NS && peers_round(&s, cnt))
		;
	for (uint32_t i = 0; i < s.cnt; i++) {
		back += s.p[i].back;
		bad += s.p[i].bad;
		stalls += s.p[i].stalls;
	}
	cnt *= s.cnt;
	printf("peer: %u of %u back, %u changed, %u stalls, %.0f round trips/s\n", back, cnt, bad,
	       stalls, back / ((double)(clock_now_ns() - start) / 1e9));
	return bad || cnt - back > cnt / 100;
}

static int pace(const char *ip, int port, uint32_t cnt, uint32_t flows)
{
	static struct peers s;
	uint64_t slowest = 0;
	uint32_t lost = 0, bad = 0;

	peers_open(&s, ip, port, 64, flows);
	for (uint32_t i = 0; i < cnt * s.cnt; i++) {
		struct peer *p = &s.p[i % s.cnt];
		uint64_t start;

		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL); /* the load's own pace */
		start = clock_now_ns();
		peer_send(p, p->sent + 1, UINT32_MAX);
		if (poll(&s.pfd[i % s.cnt], 1, PEER_STALL_MS) <= 0 || !peer_take(p))
			lost++;
		else if (clock_now_ns() - start > slowest)
			slowest = clock_now_ns() - start;
	}
	for (uint32_t i = 0; i < s.cnt; i++)
		bad += s.p[i].bad;
	printf("peer: %u datagrams, %u lost, %u changed, slowest %.1f ms\n", cnt * s.cnt, lost, bad,
	       (double)slowest / 1e6);
	return lost || bad;
}

/* --- tcp --- */

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
	struct timeval stall = {.tv_sec = 5};
	uint64_t got = 0, start = clock_now_ns();
	uint32_t blocks = mib * 16;
	static uint8_t buf[1 << 16];
	ssize_t n;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &stall, sizeof(stall));
	if (connect(fd, (struct sockaddr *)&a, len) || write(fd, &blocks, 4) != 4)
		die("connect");
	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		for (ssize_t k = 0; k < n; k += 97) {
			size_t i = (size_t)(got + (uint64_t)k) & 0xffff;

			if (buf[k] != (uint8_t)(i * 13 + (i >> 8))) {
				fprintf(stderr, "tcp: wrong byte at %llu\n",
					(unsigned long long)got);
				return 1;
			}
		}
		got += (uint64_t)n;
	}
	printf("tcp: %llu bytes, %.1f MiB/s\n", (unsigned long long)got,
	       (double)got / 1048576 / ((double)(clock_now_ns() - start) / 1e9));
	return got != (uint64_t)mib << 20;
}

/* --- others --- */

static int unprivileged(rlim_t kib, char **command)
{
	struct rlimit lim = {kib << 10, kib << 10};

	if (setrlimit(RLIMIT_MEMLOCK, &lim) || prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK) ||
	    prctl(PR_CAPBSET_DROP, CAP_SYS_RESOURCE))
		die("unprivileged");
	execvp(command[0], command);
	die(command[0]);
	return 1;
}

/* QEMU ends at once, with what it has of the console by then: the last lines got lost on a busy
 * machine. */
static int end_qemu(unsigned int status)
{
	int console = open("/dev/console", O_WRONLY | O_NOCTTY | O_CLOEXEC);

	if (console >= 0) {
		tcdrain(console);
		close(console);
	}
	if (ioperm(0xf4, 4, 1))
		return 2;
	outl(status, 0xf4);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "echo"))
		echo(atoi(argv[2]));
	if ((argc == 6 || argc == 7) && !strcmp(argv[1], "peer"))
		return peer(argv[2], atoi(argv[3]), (uint32_t)atoi(argv[4]), (size_t)atoi(argv[5]),
			    argc == 7 ? (uint32_t)atoi(argv[6]) : 1);
	if (argc == 6 && !strcmp(argv[1], "pace"))
		return pace(argv[2], atoi(argv[3]), (uint32_t)atoi(argv[4]),
			    (uint32_t)atoi(argv[5]));
	if (argc >= 4 && !strcmp(argv[1], "unprivileged"))
		return unprivileged((rlim_t)atoi(argv[2]), &argv[3]);
	if (argc == 3 && !strcmp(argv[1], "tcp-serve"))
		tcp_serve(atoi(argv[2]));
	if (argc == 5 && !strcmp(argv[1], "tcp-get"))
		return tcp_get(argv[2], atoi(argv[3]), (uint32_t)atoi(argv[4]));
	if (argc == 3 && !strcmp(argv[1], "exit"))
		return end_qemu((unsigned)atoi(argv[2]));
	fprintf(stderr, "guest: see the top of guest.c\n");
	return 2;
}
