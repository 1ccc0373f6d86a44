/* SPDX-License-Identifier: Apache-2.0 */
/*
 * descriptors WHAT ADDRESS PORT: a client that passes descriptors which harm a process that closes
 * or uses them. It prints "done" when the harm should be under way and stays until its input is
 * closed.
 *
 *   claim     a TCP socket whose close lingers for hours, claimed
 *   surplus   250 of them with a message that carries one
 *   unread    some in messages that udplaned does not come to read
 *   early     the same on connections that it has not accepted
 *   empty     200 connections, each with four descriptors in an empty message
 *   locked    a claimed socket whose lock a send holds, because its payload cannot be read
 */
#include "tests/attack/hostile.h"
#include <linux/userfaultfd.h>
#include <netinet/udp.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define LINGER_S 30000

/* A TCP socket with unsent data that its peer will not read. */
static int lingering_socket(void)
{
	struct sockaddr_in sin = {.sin_family = AF_INET};
	struct linger lg = {1, LINGER_S};
	socklen_t len = sizeof(sin);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), small = 4096;
	static char buf[65536];

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	if (bind(listener, (struct sockaddr *)&sin, sizeof(sin)) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&sin, &len) ||
	    connect(fd, (struct sockaddr *)&sin, sizeof(sin)) || accept(listener, NULL, NULL) < 0) {
		perror("TCP connection");
		exit(2);
	}
	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (write(fd, buf, sizeof(buf)) > 0)
		;
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &lg, sizeof(lg));
	return fd;
}

static void attach(struct hostile *h)
{
	int err = hostile_attach(h, 0, 5000);

	if (err) {
		fprintf(stderr, "attach: %d %s\n", err, h->welcome.text);
		exit(2);
	}
}

/* Hands them over; if that fails we are the one who would wait for the close. */
static void pass(struct hostile *h, const int *fds, uint32_t cnt)
{
	struct udplane_claim m = {.msg = {UDPLANE_MSG_CLAIM, sizeof(m), ++h->seq}};
	struct linger none = {0};

	if (hostile_send(h->fd, &m, sizeof(m), fds, cnt))
		setsockopt(fds[0], SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	for (uint32_t i = 0; i < cnt; i++)
		close(fds[i]);
}

static void claim(struct hostile *h)
{
	struct hostile_socket s;
	int fd = lingering_socket(), got[HOSTILE_FDS], cnt, n;

	pass(h, &fd, 1);
	n = hostile_recv(h->fd, &s.claimed, sizeof(s.claimed), got, &cnt, 5000);
	if (n != sizeof(s.claimed) || s.claimed.reason != UDPLANE_REASON_NOT_UDP) {
		fprintf(stderr, "not refused as it should: %d %s\n", n, s.claimed.text);
		exit(1);
	}
}

static void surplus(struct hostile *h)
{
	int fd = lingering_socket(), fds[250];

	for (int i = 0; i < 250; i++)
		fds[i] = i ? dup(fd) : fd;
	pass(h, fds, 250);
}

/* After a message that ends the session, so that what follows stays in the queue. */
static void unread(struct hostile *h)
{
	struct udplane_msg nonsense = {999, sizeof(nonsense), 1};

	hostile_send(h->fd, &nonsense, sizeof(nonsense), NULL, 0);
	for (int i = 0; i < 4; i++) {
		int fd = lingering_socket();

		pass(h, &fd, 1);
	}
	close(h->fd);
}

static void early(void)
{
	for (int i = 0; i < 8; i++) {
		struct hostile h = {.fd = hostile_dial()};
		int fd = lingering_socket();

		pass(&h, &fd, 1);
		close(h.fd);
	}
}

static void empty(void)
{
	for (int i = 0; i < 200; i++) {
		int fd = hostile_dial(), four[4];
		struct pollfd pfd = {.fd = fd, .events = POLLIN};

		for (int j = 0; j < 4; j++)
			four[j] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		hostile_send(fd, "", 0, four, 4);
		for (int j = 0; j < 4; j++)
			close(four[j]);
		poll(&pfd, 1, 5000); /* until it is ended */
		close(fd);
	}
}

/* ---- locked ---- */

/* A page that is never filled. */
static void *missing_page(void)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register reg = {.mode = UFFDIO_REGISTER_MODE_MISSING};
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	reg.range.start = (uintptr_t)page;
	reg.range.len = 4096;
	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) || ioctl(uffd, UFFDIO_REGISTER, &reg)) {
		perror("userfaultfd");
		exit(77);
	}
	return page;
}

static void *hold_lock(void *arg)
{
	int fd = *(int *)arg;
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(9)};

	inet_pton(AF_INET, "10.99.0.2", &sin.sin_addr);
	sendto(fd, missing_page(), 100, MSG_MORE, (struct sockaddr *)&sin, sizeof(sin));
	return NULL;
}

static bool is_locked(int fd)
{
	pid_t pid = fork();
	int ended = 0;

	if (!pid) { /* waits for the lock if another thread has it */
		struct sockaddr_in sin;
		socklen_t len = sizeof(sin);

		getsockname(fd, (struct sockaddr *)&sin, &len);
		_exit(0);
	}
	for (int i = 0; i < 20 && !ended; i++) {
		struct pollfd none = {.fd = -1};

		poll(&none, 1, 10);
		ended = waitpid(pid, NULL, WNOHANG) == pid;
	}
	return !ended;
}

static void locked(struct hostile *h, const char *address, uint16_t port)
{
	static struct hostile_socket s;
	static int fd;
	pthread_t thread;
	int err;

	fd = hostile_udp(address, port, 0);
	err = hostile_claim(h, fd, &s, 5000);
	if (err) {
		fprintf(stderr, "claim: %d %s\n", err, s.claimed.text);
		exit(2);
	}
	pthread_create(&thread, NULL, hold_lock, &fd);
	for (int i = 0; !is_locked(fd); i++) {
		if (i == 50) {
			fputs("the lock of the socket is free\n", stderr);
			exit(2);
		}
	}
	/* No host has this address, so Linux must send these. */
	hostile_fill_tx(h, s.claimed.sock, "10.99.0.77", 9);
	hostile_refill_tx(h);
	hostile_doorbell(h);
	hostile_request(h, UDPLANE_MSG_UPDATE, s.claimed.sock, 0, 1000);
	hostile_request(h, UDPLANE_MSG_RELEASE, s.claimed.sock, 0, 1000);
}

int main(int argc, char **argv)
{
	static struct hostile h;
	char byte;

	if (argc != 4) {
		fputs("usage: descriptors WHAT ADDRESS PORT\n", stderr);
		return 2;
	}
	hostile_all_descriptors();
	if (!strcmp(argv[1], "empty")) {
		empty();
	} else if (!strcmp(argv[1], "early")) {
		early();
	} else {
		attach(&h);
		if (!strcmp(argv[1], "claim"))
			claim(&h);
		else if (!strcmp(argv[1], "surplus"))
			surplus(&h);
		else if (!strcmp(argv[1], "unread"))
			unread(&h);
		else if (!strcmp(argv[1], "locked"))
			locked(&h, argv[2], (uint16_t)atoi(argv[3]));
		else
			return 2;
	}
	puts("done");
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		;
	_exit(0);
}
