/* SPDX-License-Identifier: Apache-2.0 */
/*
 * processes plain|udplane WHAT ADDR PORT [...]: small programs of several processes or threads,
 * with the kernel's calls or with libudplane's. They say on standard output how far they are;
 * process_test.py talks to them.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <udplane/clock.h>
#include <udplane/udplane.h>
#include <unistd.h>

struct api {
	int (*socket)(int domain, int type, int protocol);
	int (*bind)(int fd, const struct sockaddr *addr, socklen_t len);
	ssize_t (*recv)(int fd, void *buf, size_t len, int flags);
	ssize_t (*recvfrom)(int fd, void *buf, size_t len, int flags, struct sockaddr *from,
			    socklen_t *from_len);
	ssize_t (*recvmsg)(int fd, struct msghdr *msg, int flags);
	ssize_t (*sendto)(int fd, const void *buf, size_t len, int flags, const struct sockaddr *to,
			  socklen_t to_len);
	int (*setsockopt)(int fd, int level, int name, const void *value, socklen_t len);
	int (*shutdown)(int fd, int how);
	int (*fcntl)(int fd, int cmd, ...);
};

static ssize_t plain_recvfrom(int fd, void *buf, size_t len, int flags, struct sockaddr *from,
			      socklen_t *from_len)
{
	return recvfrom(fd, buf, len, flags, from, from_len);
}

static ssize_t plain_sendto(int fd, const void *buf, size_t len, int flags,
			    const struct sockaddr *to, socklen_t to_len)
{
	return sendto(fd, buf, len, flags, to, to_len);
}

static int plain_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	return bind(fd, addr, len);
}

static const struct api plain = {socket,       plain_bind, recv,     plain_recvfrom, recvmsg,
				 plain_sendto, setsockopt, shutdown, fcntl};
static const struct api udplane = {udplane_socket,     udplane_bind,	 udplane_recv,
				   udplane_recvfrom,   udplane_recvmsg,	 udplane_sendto,
				   udplane_setsockopt, udplane_shutdown, udplane_fcntl};
static const struct api *a;
static int s = -1;

/* One write each: several processes share standard output. */
static void say(const char *format, ...)
{
	char text[128];
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	if (write(STDOUT_FILENO, text, (size_t)n) != n)
		_exit(3);
}

static void must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "processes: %s: %s\n", what, strerror(errno));
	_exit(2);
}

static struct sockaddr_in at(char **arg)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(arg[1]))};

	must(inet_pton(AF_INET, arg[0], &sin.sin_addr) == 1, arg[0]);
	return sin;
}

static void open_bound(char **arg)
{
	struct sockaddr_in sin = at(arg);

	s = a->socket(AF_INET, SOCK_DGRAM, 0);
	must(s >= 0 && a->bind(s, (void *)&sin, sizeof(sin)) == 0, "bind");
}

static void await_line(void)
{
	char c;

	while (read(STDIN_FILENO, &c, 1) < 0 && errno == EINTR)
		;
}

/* Until the thread sleeps in the kernel. */
static void await_sleep(pid_t tid)
{
	char path[64], text[256], state = 0;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)tid);
	for (int i = 0; i < 5000 && state != 'S'; i++) {
		int fd = open(path, O_RDONLY);
		ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
		const char *end;

		text[n > 0 ? n : 0] = 0;
		end = strrchr(text, ')');
		state = end && end[1] ? end[2] : 0;
		close(fd);
		poll(NULL, 0, 1);
	}
}

/* --- prefork --- */

static void wait_by(const char *how)
{
	struct pollfd p = {.fd = s, .events = POLLIN};
	struct epoll_event ev = {.events = EPOLLIN};
	static int ep = -1;
	fd_set set;

	switch (how[0]) {
	case 'e':
		if (ep < 0) {
			ep = epoll_create1(0);
			must(epoll_ctl(ep, EPOLL_CTL_ADD, s, &ev) == 0, "epoll_ctl");
		}
		epoll_wait(ep, &ev, 1, -1);
		break;
	case 'p': poll(&p, 1, -1); break;
	case 's':
		FD_ZERO(&set);
		FD_SET(s, &set);
		select(s + 1, &set, NULL, NULL, NULL);
		break;
	}
}

static void serve(const char *how)
{
	int flags = strcmp(how, "recv") ? MSG_DONTWAIT : 0, cnt = 0;
	bool end = false;
	char buf[16];

	say("waits\n");
	while (!end) {
		ssize_t n;

		wait_by(how);
		while (!end && (n = a->recv(s, buf, sizeof(buf), flags)) > 0) {
			end = n == 3 && !memcmp(buf, "end", 3);
			cnt += !end;
		}
	}
	say("%d\n", cnt);
	_exit(0);
}

/* ADDR PORT epoll|poll|select|recv WORKERS: the master binds and forks, and does not read. */
static void prefork(char **arg)
{
	open_bound(arg);
	say("bound\n");
	await_line();
	for (int i = 0; i < atoi(arg[3]); i++)
		if (fork() == 0)
			serve(arg[2]);
	while (wait(NULL) > 0)
		;
}

static void take(int out, int most)
{
	char c;

	must(write(out, "r", 1) == 1, "write");
	for (int i = 0; i < most && a->recv(s, &c, 1, 0) == 1; i++)
		must(write(out, "x", 1) == 1, "write");
	for (;;)
		pause();
}

static int count_bytes(int fd, char what, int most)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int cnt = 0;
	char c;

	while (cnt < most && poll(&p, 1, 5000) == 1 && read(fd, &c, 1) == 1)
		cnt += c == what;
	return cnt;
}

/* ADDR PORT: of two workers one stops after ten datagrams. */
static void busy(char **arg)
{
	int p[2], cnt;
	pid_t pid[2];

	open_bound(arg);
	must(pipe(p) == 0, "pipe");
	for (int i = 0; i < 2; i++) {
		pid[i] = fork();
		if (pid[i] == 0)
			take(p[1], i ? 1000000 : 10);
	}
	must(count_bytes(p[0], 'r', 2) == 2, "workers");
	say("ready\n");
	cnt = count_bytes(p[0], 'x', 200);
	say(cnt == 200 ? "all %d\n" : "only %d\n", cnt);
	for (int i = 0; i < 2; i++)
		kill(pid[i], SIGKILL);
}

/* ADDR PORT: the parent waits for the request, a child reads and answers it. */
static void inetd(char **arg)
{
	struct pollfd p = {.events = POLLIN};
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	char buf[64];

	open_bound(arg);
	say("bound\n");
	p.fd = s;
	must(poll(&p, 1, 5000) == 1, "poll");
	if (fork() == 0) {
		ssize_t n = a->recvfrom(s, buf, sizeof(buf), MSG_DONTWAIT, (void *)&from, &len);

		must(n >= 0, "the child's recvfrom");
		say("child got %.*s\n", (int)n, buf);
		a->sendto(s, buf, (size_t)n, 0, (void *)&from, len);
		_exit(0);
	}
	wait(NULL);
	say("parent sees %s\n", poll(&p, 1, 0) ? "something" : "nothing");
}

/* ADDR PORT TO PORT: the parent ends, the child sends for ever. */
static void daemonize(char **arg)
{
	struct sockaddr_in to = at(arg + 2);

	open_bound(arg);
	if (fork())
		_exit(0);
	setsid();
	say("%d\n", (int)getpid());
	for (;;) {
		a->sendto(s, "tick", 4, 0, (void *)&to, sizeof(to));
		poll(NULL, 0, 1);
	}
}

/* --- threads --- */

static pid_t receiver_tid;

static void *receive(void *result)
{
	char buf[64];

	__atomic_store_n(&receiver_tid, (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
	*(ssize_t *)result = a->recv(s, buf, sizeof(buf), 0);
	return NULL;
}

static pthread_t start_receiver(ssize_t *result)
{
	pthread_t t;

	must(pthread_create(&t, NULL, receive, result) == 0, "thread");
	while (!__atomic_load_n(&receiver_tid, __ATOMIC_ACQUIRE))
		poll(NULL, 0, 1);
	await_sleep(receiver_tid);
	return t;
}

/* ADDR PORT: shutdown() while another thread waits in recv. */
static void shut(char **arg)
{
	ssize_t n = -2;
	pthread_t t;

	open_bound(arg);
	t = start_receiver(&n);
	a->shutdown(s, SHUT_RDWR);
	pthread_join(t, NULL);
	say("%zd\n", n);
}

/* TO PORT: a thread waits before the first sendto() binds the socket. Ours alone. */
static void early(char **arg)
{
	struct sockaddr_in to = at(arg);
	struct udplane_status st = {.size = sizeof(st)};
	ssize_t n = -2;
	pthread_t t;

	s = a->socket(AF_INET, SOCK_DGRAM, 0);
	t = start_receiver(&n);
	must(a->sendto(s, "question", 8, 0, (void *)&to, sizeof(to)) == 8, "sendto");
	for (int i = 0; i < 5000 && (udplane_get_status(s, &st) || !st.accelerated); i++)
		poll(NULL, 0, 1);
	say("%s\n", st.accelerated ? "accelerated" : st.reason);
	pthread_join(t, NULL);
	say("%s\n", n == 8 ? "answer" : "nothing");
}

/* --- events --- */

/* ADDR PORT TO PORT: an ICMP error, and an event loop that reads the error queue upon POLLERR. How
 * often it goes round. */
static void error(char **arg)
{
	struct sockaddr_in to = at(arg + 2);
	struct pollfd p = {.events = POLLIN};
	int on = 1, rounds = 0;
	uint64_t end;
	char c;

	open_bound(arg);
	p.fd = s;
	must(a->setsockopt(s, IPPROTO_IP, IP_RECVERR, &on, sizeof(on)) == 0, "IP_RECVERR");
	must(a->sendto(s, "x", 1, 0, (void *)&to, sizeof(to)) == 1, "sendto");
	must(poll(&p, 1, 5000) == 1, "no error came");
	for (end = clock_now_ms() + 300; clock_now_ms() < end && rounds < 1000;) {
		struct msghdr h = {0};

		if (poll(&p, 1, 20) <= 0)
			continue;
		rounds++;
		if (p.revents & POLLIN)
			a->recv(s, &c, 1, MSG_DONTWAIT);
		if (p.revents & POLLERR)
			a->recvmsg(s, &h, MSG_ERRQUEUE);
	}
	say("%d\n", rounds);
}

static void on_sigio(int signo)
{
	(void)signo;
	say("signal\n");
}

/* ADDR PORT: says each SIGIO; at the end of its input, how many datagrams there are. */
static void sigio(char **arg)
{
	struct sigaction act = {.sa_handler = on_sigio};
	int cnt = 0;
	char c;

	open_bound(arg);
	sigaction(SIGIO, &act, NULL);
	must(a->fcntl(s, F_SETOWN, (long)getpid()) == 0, "F_SETOWN");
	must(a->fcntl(s, F_SETFL, (long)(O_ASYNC | O_NONBLOCK)) == 0, "O_ASYNC");
	say("ready\n");
	await_line();
	while (a->recv(s, &c, 1, MSG_DONTWAIT) == 1)
		cnt++;
	say("%d\n", cnt);
}

/* --- root --- */

/* Directories that can be reached from outside of the root, by a descriptor. */
static int ways_out(void)
{
	int cnt = 0;

	for (int fd = 3; fd < 10000; fd++) {
		struct stat here, above;
		int up;

		if (fstat(fd, &here) || !S_ISDIR(here.st_mode))
			continue;
		up = openat(fd, "..", O_PATH);
		cnt += up >= 0 && fstat(up, &above) == 0 && here.st_ino != above.st_ino;
		close(up);
	}
	return cnt;
}

/* ADDR PORT DIR: after the first datagram it changes its root and its user, and says by which path
 * each comes. */
static void jail(char **arg)
{
	struct udplane_status st = {.size = sizeof(st)};
	uint64_t fast;
	char c;

	open_bound(arg);
	say("bound\n");
	must(a->recv(s, &c, 1, 0) == 1, "recv");
	must(chroot(arg[2]) == 0 && chdir("/") == 0, "chroot");
	must(setgid(65534) == 0 && setuid(65534) == 0, "setuid");
	say("%d\n", ways_out());
	do {
		udplane_get_status(s, &st);
		fast = st.fast_rx;
		must(a->recv(s, &c, 1, 0) == 1, "recv");
		udplane_get_status(s, &st);
		say(st.fast_rx > fast ? "fast\n" : "kernel\n");
	} while (c != 'e');
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(char **arg);
		int args;
	} programs[] = {
		{"prefork", prefork, 4},  {"busy", busy, 2},	 {"inetd", inetd, 2},
		{"daemon", daemonize, 4}, {"shutdown", shut, 2}, {"early", early, 2},
		{"error", error, 4},	  {"sigio", sigio, 2},	 {"jail", jail, 3},
	};

	for (size_t i = 0; argc > 2 && i < sizeof(programs) / sizeof(programs[0]); i++) {
		if (strcmp(argv[2], programs[i].name) || argc != 3 + programs[i].args)
			continue;
		a = strcmp(argv[1], "plain") ? &udplane : &plain;
		programs[i].run(argv + 3);
		return 0;
	}
	fprintf(stderr, "usage: processes plain|udplane WHAT ADDR PORT [...]; see the source\n");
	return 2;
}
