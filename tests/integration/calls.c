/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For preload_test.py: makes calls on a UDP socket and prints what they return. With and without
 * the shim the output must be the same.
 *   calls ADDRESS PORT PEER PEER_PORT
 * The peer sends each datagram back; one that begins with '#' as often as its second byte says.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define BAD ((void *)1)
#define FAR ((void *)-4096l) /* a kernel address */

static int s;
static struct sockaddr_storage here, peer;
static socklen_t addr_len;
static char buf[4096];

static const char *name_of(int err)
{
	static char text[16];

	snprintf(text, sizeof(text), "errno %d", err);
	return err ? strerrorname_np(err) ? strerrorname_np(err) : text : "";
}

static void say(const char *what, long r)
{
	int err = r < 0 ? errno : 0;

	printf("%s: %ld %s\n", what, r, name_of(err));
}
#define DO(call) (errno = 0, say(#call, (long)(call)))

static void pause_ms(int ms)
{
	nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000l}, NULL);
}

/* Has cnt datagrams of len bytes come, and waits for the first. */
static void get(int cnt, size_t len)
{
	char ask[2048] = {'#', (char)cnt};
	struct pollfd p = {s, POLLIN, 0};

	if (sendto(s, ask, len < 2 ? 2 : len, 0, (void *)&peer, addr_len) < 0)
		perror("get");
	if (poll(&p, 1, 5000) != 1 || !(p.revents & POLLIN))
		printf("nothing came: revents %x\n", (unsigned)p.revents);
	if (cnt > 1)
		pause_ms(20); /* the others */
}

static void drain(void)
{
	while (recv(s, buf, sizeof(buf), MSG_DONTWAIT) >= 0)
		;
}

static void begin(const char *title)
{
	printf("-- %s\n", title);
	drain();
}

static void open_socket(void)
{
	s = socket(here.ss_family, SOCK_DGRAM, 0);
	if (bind(s, (void *)&here, addr_len))
		perror("bind");
}

static void warm(void)
{
	for (int i = 0; i < 300; i++) {
		get(1, 10);
		drain();
	}
}

static void bad_buffers(void)
{
	struct sockaddr_storage from;
	socklen_t len = sizeof(from), negative = (socklen_t)-1;
	struct iovec iov = {buf, 100}, bad = {BAD, 100}, far = {FAR, 100}, many[1025];
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	struct mmsghdr mm[4] = {0};
	struct timespec wrong = {0, 2000000000};

	for (int i = 0; i < 1025; i++)
		many[i] = (struct iovec){buf, 1};
	begin("bad buffers");
	get(3, 50);
	DO(recv(s, NULL, 10, 0));
	DO(recv(s, BAD, 10, 0));
	DO(recv(s, FAR, 10, 0));
	DO(recv(s, buf, 100, MSG_DONTWAIT));
	get(2, 50);
	DO(recvfrom(s, buf, 10, 0, BAD, &len));
	DO(recvfrom(s, buf, 10, 0, (void *)&from, NULL));
	DO(recvfrom(s, buf, 10, MSG_DONTWAIT, (void *)&from, &negative));
	get(1, 50);
	DO(recvmsg(s, NULL, 0));
	DO(recvmsg(s, BAD, 0));
	m.msg_iov = &bad;
	DO(recvmsg(s, &m, MSG_DONTWAIT));
	get(1, 50);
	m.msg_iov = &far;
	DO(recvmsg(s, &m, MSG_DONTWAIT));
	m.msg_iov = many;
	m.msg_iovlen = 1025;
	DO(recvmsg(s, &m, MSG_DONTWAIT));
	m.msg_iovlen = 1024;
	DO(recvmsg(s, &m, MSG_DONTWAIT));
	m.msg_iov = NULL;
	m.msg_iovlen = 0;
	get(1, 50);
	DO(recvmsg(s, &m, MSG_DONTWAIT));
	get(1, 50);
	DO(recvmmsg(s, NULL, 2, 0, NULL));
	DO(recvmmsg(s, mm, 0, 0, NULL));
	DO(recvmmsg(s, mm, 1, 0, &wrong));
	DO(recvmmsg(s, mm, 2, MSG_DONTWAIT, NULL));
	DO(readv(s, many, 1025));
	DO(readv(s, many, -1));
	DO(readv(s, many, 0));
	DO(readv(s, NULL, 1));
	DO(read(s, buf, 0));
	DO(write(s, buf, 3));
	DO(writev(s, many, 0));
	DO(writev(s, many, 1025));
	DO(sendto(s, NULL, 10, 0, (void *)&peer, addr_len));
	DO(sendto(s, BAD, 10, 0, (void *)&peer, addr_len));
	DO(sendto(s, buf, 10, 0, BAD, addr_len));
	DO(sendto(s, buf, 10, 0, (void *)&peer, 3));
	DO(sendto(s, buf, 10, 0, (void *)&peer, 4000));
	DO(sendto(s, buf, 70000, 0, (void *)&peer, addr_len));
	DO(sendmsg(s, NULL, 0));
	DO(sendmsg(s, BAD, 0));
	DO(sendmmsg(s, BAD, 1, 0));
	DO(sendmmsg(s, mm, 0, 0));
	DO(send(s, buf, 10, 0));
	DO(send(s, buf, 10, MSG_OOB));
}

static void sizes_and_flags(void)
{
	struct iovec iov[2] = {{buf, 3}, {buf + 10, 4}};
	struct sockaddr_storage from = {0};
	socklen_t len = 4;
	int n = -1;

	begin("sizes and flags");
	get(1, 50);
	DO(ioctl(s, FIONREAD, &n));
	printf("FIONREAD %d\n", n);
	DO(recv(s, buf, 10, MSG_PEEK));
	DO(recv(s, buf, 10, MSG_PEEK | MSG_TRUNC));
	DO(recv(s, buf, 10, MSG_TRUNC));
	DO(recv(s, buf, 10, MSG_DONTWAIT));
	get(4, 50);
	DO(read(s, buf, 0));
	DO(read(s, buf, 7));
	DO(readv(s, iov, 2));
	DO(recvfrom(s, buf, 100, 0, (void *)&from, &len));
	printf("length of the name %u, family %d\n", len, from.ss_family);
	DO(recv(s, buf, 0, 0));
	DO(recv(s, buf, 0, MSG_DONTWAIT));
	DO(fcntl(s, F_SETFL, O_NONBLOCK));
	DO(fcntl(s, F_GETFL));
	DO(recv(s, buf, 10, 0));
	DO(read(s, buf, 10));
	n = 0;
	DO(ioctl(s, FIONBIO, &n));
	DO(fcntl(s, F_GETFL));
	DO(ioctl(s, FIONREAD, &n));
	DO(lseek(s, 0, SEEK_SET));
	DO(pread(s, buf, 10, 0));
	DO(listen(s, 5));
	DO(accept(s, NULL, NULL));
	DO(recv(s, buf, 10, MSG_OOB | MSG_DONTWAIT));
	DO(recv(s, buf, 10, MSG_ERRQUEUE));
}

static int events(int ep, int timeout)
{
	struct epoll_event ev[4] = {0};
	int n = epoll_wait(ep, ev, 4, timeout);

	printf("  events %d:", n);
	for (int i = 0; i < n; i++)
		printf(" %x/%d", ev[i].events, ev[i].data.u32);
	puts("");
	return n;
}

static void watch(int ep, int op, int fd, uint32_t flags)
{
	struct epoll_event ev = {.events = flags, .data.u32 = (uint32_t)(flags & 0xff) + 1000};
	int r = epoll_ctl(ep, op, fd, &ev);

	printf("epoll_ctl %d %x: %d %s\n", op, flags, r, name_of(r < 0 ? errno : 0));
}

static void epoll_kinds(void)
{
	int ep = epoll_create1(0), d;
	struct epoll_event ev;

	begin("epoll");
	watch(ep, EPOLL_CTL_ADD, s, EPOLLIN);
	watch(ep, EPOLL_CTL_ADD, s, EPOLLIN);
	events(ep, 0);
	get(2, 10);
	for (int i = 0; i < 3; i++) {
		events(ep, 100);
		recv(s, buf, 10, MSG_DONTWAIT);
	}
	puts("edge");
	watch(ep, EPOLL_CTL_MOD, s, EPOLLIN | EPOLLET);
	events(ep, 0);
	get(1, 10);
	events(ep, 100);
	events(ep, 0);
	get(1, 10);
	events(ep, 100);
	events(ep, 0);
	watch(ep, EPOLL_CTL_MOD, s, EPOLLIN | EPOLLET); /* with two datagrams there: an edge */
	events(ep, 100);
	events(ep, 0);
	drain();
	events(ep, 0);
	puts("oneshot");
	watch(ep, EPOLL_CTL_MOD, s, EPOLLIN | EPOLLONESHOT);
	get(1, 10);
	events(ep, 100);
	events(ep, 0);
	get(1, 10);
	events(ep, 20);
	watch(ep, EPOLL_CTL_MOD, s, EPOLLIN | EPOLLONESHOT);
	events(ep, 100);
	events(ep, 0);
	drain();
	puts("with output");
	watch(ep, EPOLL_CTL_MOD, s, EPOLLIN | EPOLLOUT);
	events(ep, 0);
	get(1, 10);
	events(ep, 0);
	watch(ep, EPOLL_CTL_MOD, s, EPOLLRDNORM);
	events(ep, 0);
	watch(ep, EPOLL_CTL_MOD, s, EPOLLOUT);
	events(ep, 0);
	watch(ep, EPOLL_CTL_MOD, s, 0);
	events(ep, 0);
	watch(ep, EPOLL_CTL_MOD, s, EPOLLIN);
	events(ep, 0);
	puts("by a duplicate");
	d = dup(s);
	watch(ep, EPOLL_CTL_ADD, d, EPOLLIN | EPOLLET);
	events(ep, 0);
	watch(ep, EPOLL_CTL_DEL, s, 0);
	watch(ep, EPOLL_CTL_DEL, s, 0);
	watch(ep, EPOLL_CTL_MOD, s, EPOLLIN);
	get(1, 10);
	events(ep, 100);
	close(d);
	drain();
	get(1, 10);
	DO(epoll_wait(ep, &ev, 1, 0) >=
	   0); /* the kernel keeps the closed duplicate's, while s lives */
	puts("errors");
	DO(epoll_wait(ep, &ev, 0, 0));
	DO(epoll_wait(ep, &ev, -1, 0));
	DO(epoll_wait(ep, FAR, 1, 0));
	DO(epoll_wait(s, &ev, 1, 0));
	DO(epoll_ctl(s, EPOLL_CTL_ADD, ep, &ev));
	DO(epoll_ctl(ep, EPOLL_CTL_ADD, s, NULL));
	DO(epoll_ctl(ep, 77, s, &ev));
	DO(epoll_ctl(ep, EPOLL_CTL_ADD, ep, &ev));
	DO(epoll_ctl(ep, EPOLL_CTL_ADD, 999, &ev));
	DO(close(ep));
	DO(epoll_wait(ep, &ev, 1, 0));
	DO(epoll_ctl(ep, EPOLL_CTL_ADD, s, &ev));
}

static void poll_and_select(void)
{
	struct pollfd p[3] = {{s, POLLIN, 0}, {-1, POLLIN, 0}, {999, POLLIN, 0}};
	struct timeval tv = {0, 30000}, wrong = {0, -1};
	struct timespec bad = {0, -1};
	fd_set rd, wr;

	begin("poll and select");
	DO(poll(p, 2, 0));
	DO(poll(p, 3, 0));
	printf("%x %x %x\n", (unsigned)p[0].revents, (unsigned)p[1].revents,
	       (unsigned)p[2].revents);
	get(1, 10);
	DO(poll(p, 3, 10));
	printf("%x %x %x\n", (unsigned)p[0].revents, (unsigned)p[1].revents,
	       (unsigned)p[2].revents);
	p[0].events = POLLIN | POLLOUT | POLLRDNORM | POLLPRI;
	DO(poll(p, 1, 10));
	printf("%x\n", (unsigned)p[0].revents);
	p[0].events = 0;
	DO(poll(p, 1, 0));
	DO(poll(FAR, 1, 0));
	DO(poll(NULL, 0, 0));
	DO(ppoll(p, 1, &bad, NULL));
	FD_ZERO(&rd);
	FD_SET(s, &rd);
	wr = rd;
	DO(select(s + 1, &rd, &wr, NULL, &tv));
	printf("%d %d\n", FD_ISSET(s, &rd), FD_ISSET(s, &wr));
	drain();
	DO(select(s + 1, &rd, NULL, NULL, &tv));
	printf("%d, time left: %d\n", FD_ISSET(s, &rd), tv.tv_sec || tv.tv_usec > 29000);
	DO(select(-1, &rd, NULL, NULL, NULL));
	DO(select(s + 1, &rd, NULL, NULL, &wrong));
	FD_SET(63, &rd);
	DO(select(64, &rd, NULL, NULL, &tv));
}

static volatile int handled;

static void handler(int sig)
{
	(void)sig;
	handled++;
	sendto(s, "#\1", 2, 0, (void *)&peer, addr_len);
}

static void quiet(int sig)
{
	(void)sig;
	handled++;
}

static void alarm_ms(int ms)
{
	struct itimerval it = {.it_value = {0, ms * 1000}};

	setitimer(ITIMER_REAL, &it, NULL);
}

static void on_alarm(void (*fn)(int), int flags)
{
	struct sigaction sa = {.sa_handler = fn, .sa_flags = flags};

	sigaction(SIGALRM, &sa, NULL);
	handled = 0;
}

static void signals(void)
{
	struct pollfd p = {s, POLLIN, 0};
	struct timeval tv = {0, 300000};
	struct epoll_event ev = {.events = EPOLLIN};
	int ep = epoll_create1(0);
	sigset_t block, none;
	fd_set rd;

	begin("signals");
	on_alarm(quiet, 0);
	alarm_ms(60);
	DO(recv(s, buf, 10, 0));
	alarm_ms(60);
	DO(recvmmsg(s, &(struct mmsghdr){0}, 1, 0, NULL));
	epoll_ctl(ep, EPOLL_CTL_ADD, s, &ev);
	alarm_ms(60);
	DO(epoll_wait(ep, &ev, 1, 5000));
	alarm_ms(60);
	DO(poll(&p, 1, 5000));
	FD_ZERO(&rd);
	FD_SET(s, &rd);
	alarm_ms(60);
	DO(pselect(s + 1, &rd, NULL, NULL, &(struct timespec){5, 0}, NULL));
	printf("handled %d\n", handled);
	on_alarm(quiet, SA_RESTART);
	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	alarm_ms(60);
	DO(recv(s, buf, 10, 0));
	DO(recv(s, buf, 10, 0));
	tv.tv_usec = 0;
	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	alarm_ms(60);
	DO(epoll_wait(ep, &ev, 1, 5000));
	on_alarm(handler, SA_RESTART);
	alarm_ms(60);
	DO(recv(s, buf, 10, 0)); /* it goes on, and gets what the handler has sent for */
	on_alarm(handler, 0);
	alarm_ms(60);
	DO(epoll_wait(ep, &ev, 1, 5000));
	DO(epoll_wait(ep, &ev, 1, 5000));
	drain();
	sigemptyset(&none);
	sigemptyset(&block);
	sigaddset(&block, SIGALRM);
	sigprocmask(SIG_BLOCK, &block, NULL);
	on_alarm(quiet, 0);
	alarm_ms(30);
	pause_ms(60);
	DO(epoll_pwait(ep, &ev, 1, 5000, &none));
	printf("handled %d\n", handled);
	alarm_ms(30);
	pause_ms(60);
	DO(ppoll(&p, 1, NULL, &none));
	printf("handled %d\n", handled);
	alarm_ms(30);
	pause_ms(60);
	DO(epoll_wait(ep, &ev, 1, 50));
	DO(ppoll(&p, 1, &(struct timespec){0, 0}, NULL));
	printf("handled %d\n", handled);
	sigprocmask(SIG_UNBLOCK, &block, NULL);
	printf("handled %d\n", handled);
	close(ep);
}

static void *receives(void *unused)
{
	char here_buf[10];

	recv(s, here_buf, 10, 0);
	return unused;
}

static void *waits(void *ep)
{
	struct epoll_event ev;

	for (;;)
		epoll_wait(*(int *)ep, &ev, 1, -1);
	return NULL;
}

static void *polls(void *unused)
{
	struct pollfd p = {s, POLLIN, 0};

	for (;;)
		poll(&p, 1, -1);
	return unused;
}

static void cancel(const char *what, void *(*fn)(void *), void *arg)
{
	pthread_t t;
	void *how;

	pthread_create(&t, NULL, fn, arg);
	pause_ms(30);
	pthread_cancel(t);
	pthread_join(t, &how);
	printf("%s: %s\n", what, how == PTHREAD_CANCELED ? "cancelled" : "returned");
}

static void cancellation(void)
{
	int ep = epoll_create1(0);
	struct epoll_event ev = {.events = EPOLLIN};

	begin("cancellation");
	epoll_ctl(ep, EPOLL_CTL_ADD, s, &ev);
	cancel("recv", receives, NULL);
	cancel("epoll_wait", waits, &ep);
	cancel("poll", polls, NULL);
	get(1, 10);
	DO(epoll_wait(ep, &ev, 1, 1000));
	DO(recv(s, buf, 20, 0));
	close(ep);
}

static void numbers(void)
{
	int d, p[2];

	begin("numbers");
	DO(d = dup(s));
	DO(dup2(s, 200));
	DO(dup3(s, 200, O_CLOEXEC));
	DO(dup3(s, s, 0));
	DO(dup2(s, s));
	DO(dup2(s, -1));
	DO(dup2(999, d));
	DO(fcntl(200, F_GETFD));
	DO(fcntl(s, F_DUPFD, 210));
	DO(fcntl(s, F_DUPFD_CLOEXEC, 210));
	DO(fcntl(211, F_GETFD));
	get(1, 10);
	DO(recv(211, buf, 20, 0));
	close(211);
	DO(recv(211, buf, 20, 0));
	get(1, 10);
	DO(recv(210, buf, 20, 0));
	close(210);
	DO(pipe(p));
	DO(dup2(p[0], 200)); /* a socket until now */
	DO(recv(200, buf, 10, 0));
	DO(write(p[1], "abc", 3));
	DO(read(200, buf, 10));
	close(200);
	close(p[0]);
	close(p[1]);
	close(d);
	DO(recv(d, buf, 10, 0));
	DO(close(d));
	DO(socket(AF_INET, SOCK_DGRAM, 77));
	DO(d = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_UDP));
	DO(fcntl(d, F_GETFD));
	DO(fcntl(d, F_GETFL));
	DO(recv(d, buf, 10, 0));
	close(d);
}

static void refused(void)
{
	struct sockaddr_storage nobody = peer;
	struct pollfd p = {s, POLLIN, 0};
	int err = 0;
	socklen_t len = sizeof(err);

	begin("errors of the network");
	((struct sockaddr_in *)&nobody)->sin_port = htons(9);
	DO(connect(s, (void *)&nobody, addr_len));
	DO(send(s, buf, 10, 0));
	DO(poll(&p, 1, 1000));
	printf("%x\n", (unsigned)p.revents);
	DO(recv(s, buf, 10, 0));
	DO(recv(s, buf, 10, MSG_DONTWAIT));
	DO(send(s, buf, 10, 0));
	pause_ms(50);
	DO(getsockopt(s, SOL_SOCKET, SO_ERROR, &err, &len));
	printf("SO_ERROR %s\n", name_of(err));
	DO(send(s, buf, 10, 0));
	pause_ms(50);
	DO(send(s, buf, 10, 0));
	pause_ms(50);
	DO(recv(s, buf, 10, MSG_DONTWAIT));
	DO(connect(s, (void *)&(struct sockaddr){.sa_family = AF_UNSPEC}, sizeof(struct sockaddr)));
	DO(send(s, buf, 10, 0));
}

static void shut(void)
{
	struct pollfd p = {s, POLLIN | POLLRDHUP, 0};

	begin("shutdown");
	DO(connect(s, (void *)&peer, addr_len));
	get(1, 10);
	DO(shutdown(s, SHUT_RD));
	DO(poll(&p, 1, 0));
	printf("%x\n", (unsigned)p.revents);
	DO(recv(s, buf, 20, 0));
	DO(recv(s, buf, 20, 0));
	DO(recv(s, buf, 20, MSG_DONTWAIT));
	DO(shutdown(s, SHUT_WR));
	DO(send(s, buf, 10, MSG_NOSIGNAL));
	DO(shutdown(s, 7));
	DO(close(s));
	DO(shutdown(s, SHUT_RD));
	DO(close(s));
}

static void read_address(struct sockaddr_storage *ss, const char *text, const char *port)
{
	struct sockaddr_in6 *in6 = (void *)ss;
	struct sockaddr_in *in = (void *)ss;

	if (inet_pton(AF_INET, text, &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
		addr_len = sizeof(*in);
	} else if (inet_pton(AF_INET6, text, &in6->sin6_addr) == 1) {
		in6->sin6_family = AF_INET6;
		addr_len = sizeof(*in6);
	}
	in->sin_port = htons((uint16_t)atoi(port));
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	read_address(&here, argv[1], argv[2]);
	read_address(&peer, argv[3], argv[4]);
	open_socket();
	warm();
	puts("ready");
	getchar(); /* the test looks whether it is accelerated */
	bad_buffers();
	sizes_and_flags();
	epoll_kinds();
	poll_and_select();
	signals();
	numbers();
	cancellation();
	refused();
	shut();
	return 0;
}
