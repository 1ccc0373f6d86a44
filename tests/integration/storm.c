/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For preload_storm_test.py: a plain UDP program that does all at once.
 *   storm SECONDS ADDRESS PORT
 * The sockets of the first STEADY ports stay open, and echo; each is registered in another way.
 * Those of the next CHURNED ports are made, changed, duplicated and closed. All are in one epoll
 * instance, or in one that is nested in it. Threads wait on both, receive, fork, and start
 * programs. Prints "ready", and at the end how many descriptors are open.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STEADY	4
#define CHURNED 6
#define SLOTS	(STEADY + CHURNED)

extern char **environ;

struct slot {
	pthread_mutex_t lock; /* of changes; receivers take none */
	int fd;
	uint32_t events;
	int ep;
};
static struct slot slot[SLOTS];
static int ep, inner;
static struct sockaddr_in addr;
static volatile bool ended;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int open_socket(uint32_t i)
{
	struct sockaddr_in a = addr;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), on = 1;

	if (fd < 0)
		fail("socket");
	a.sin_port = htons((uint16_t)(ntohs(addr.sin_port) + i));
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)))
		fail("bind");
	return fd;
}

static void set(uint32_t i, int op)
{
	struct slot *s = &slot[i];
	struct epoll_event ev = {.events = s->events,
				 .data.u64 = i | (uint64_t)(uint32_t)s->fd << 32};

	epoll_ctl(s->ep, op, s->fd, &ev);
}

/* Receives until there is nothing more. */
static void drain(uint32_t i, int fd)
{
	struct sockaddr_in from;
	char buf[100];

	for (;;) {
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(fd, buf, sizeof(buf), MSG_DONTWAIT, (struct sockaddr *)&from,
				     &len);

		if (n < 0)
			return;
		if (i < STEADY)
			sendto(fd, buf, (size_t)n, 0, (struct sockaddr *)&from, len);
	}
}

static void handle(const struct epoll_event *ev)
{
	uint32_t i = (uint32_t)ev->data.u64;

	if (i >= SLOTS) /* the inner instance */
		return;
	drain(i, (int)(ev->data.u64 >> 32));
	if (slot[i].events & EPOLLONESHOT) {
		pthread_mutex_lock(&slot[i].lock);
		set(i, EPOLL_CTL_MOD);
		pthread_mutex_unlock(&slot[i].lock);
	}
}

static void *waiter(void *arg)
{
	struct epoll_event ev[4];
	unsigned seed = (unsigned)(uintptr_t)arg;

	while (!ended) {
		int most = 1 + rand_r(&seed) % 4, n;

		n = epoll_wait(ep, ev, most, rand_r(&seed) % 4 ? 500 : 0);
		if (n < 0 && errno != EINTR)
			fail("epoll_wait");
		for (int i = 0; i < n; i++)
			handle(&ev[i]);
		n = n > 0 ? epoll_wait(inner, ev, 4, 0) : 0;
		for (int i = 0; i < n; i++)
			handle(&ev[i]);
	}
	return NULL;
}

static void *poller(void *arg)
{
	while (!ended) {
		struct pollfd p[CHURNED + 1] = {{inner, POLLIN, 0}};
		struct epoll_event ev;

		for (uint32_t i = 0; i < CHURNED; i++)
			p[i + 1] = (struct pollfd){slot[STEADY + i].fd, POLLIN, 0};
		poll(p, CHURNED + 1, 20);
		for (uint32_t i = 0; i < CHURNED; i++)
			if (p[i + 1].revents & POLLIN)
				drain(STEADY + i, p[i + 1].fd);
		if (p[0].revents && epoll_wait(inner, &ev, 1, 0) == 1)
			handle(&ev);
	}
	return arg;
}

static void renew(struct slot *s, uint32_t i, unsigned *seed)
{
	static const uint32_t events[] = {EPOLLIN, EPOLLIN | EPOLLET, EPOLLIN | EPOLLONESHOT,
					  EPOLLIN | EPOLLOUT | EPOLLET};

	if (s->fd >= 0)
		close(s->fd);
	s->fd = open_socket(i);
	s->events = events[rand_r(seed) % 4];
	s->ep = rand_r(seed) % 3 ? ep : inner;
	set(i, EPOLL_CTL_ADD);
}

static void duplicate(struct slot *s, uint32_t i)
{
	int to = 100 + (int)i;

	set(i, EPOLL_CTL_DEL);
	if (dup2(s->fd, to) != to)
		fail("dup2");
	close(s->fd);
	s->fd = dup(to);
	close(to);
	set(i, EPOLL_CTL_ADD);
}

static void *changer(void *arg)
{
	unsigned seed = 1000 + (unsigned)(uintptr_t)arg;

	while (!ended) {
		uint32_t i = (uint32_t)rand_r(&seed) % SLOTS;
		struct slot *s = &slot[i];

		pthread_mutex_lock(&s->lock);
		switch (rand_r(&seed) % 6) {
		case 0: set(i, EPOLL_CTL_MOD); break;
		case 1:
			set(i, EPOLL_CTL_DEL);
			set(i, EPOLL_CTL_ADD);
			break;
		case 2:
			if (i >= STEADY)
				drain(i, s->fd);
			break;
		case 3:
			if (i >= STEADY)
				duplicate(s, i);
			break;
		default:
			if (i >= STEADY)
				renew(s, i, &seed);
		}
		pthread_mutex_unlock(&s->lock);
		usleep(rand_r(&seed) % 3000);
	}
	return NULL;
}

static void *spawner(void *arg)
{
	for (int i = 0; !ended; i++) {
		char *const argv[] = {"true", NULL};
		pid_t pid = 0;

		if (i % 2 == 0)
			pid = fork();
		else if (posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ))
			fail("posix_spawn");
		if (pid < 0)
			fail("fork");
		if (pid == 0 && i % 4 == 0) {
			for (uint32_t k = 0; k < SLOTS; k++)
				close(slot[k].fd);
			close(ep);
			execv("/bin/true", argv);
		}
		if (pid == 0)
			_exit(0);
		if (waitpid(pid, NULL, 0) != pid)
			fail("waitpid");
		usleep(700000);
	}
	return arg;
}

static int count_open(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (d && readdir(d))
		n++;
	closedir(d);
	return n - 3; /* . and .., and d */
}

int main(int argc, char **argv)
{
	void *(*const run[])(void *) = {waiter, waiter, waiter, poller, changer, changer, spawner};
	pthread_t thread[sizeof(run) / sizeof(run[0])];
	struct epoll_event nested = {.events = EPOLLIN, .data.u64 = SLOTS};

	if (argc != 4)
		return 2;
	addr.sin_family = AF_INET;
	addr.sin_port = htons((uint16_t)atoi(argv[3]));
	if (inet_pton(AF_INET, argv[2], &addr.sin_addr) != 1)
		return 2;
	ep = epoll_create1(EPOLL_CLOEXEC);
	inner = epoll_create1(EPOLL_CLOEXEC);
	if (ep < 0 || inner < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, inner, &nested))
		fail("epoll");
	for (uint32_t i = 0; i < SLOTS; i++) {
		static const uint32_t events[] = {EPOLLIN, EPOLLIN | EPOLLET,
						  EPOLLIN | EPOLLONESHOT};

		pthread_mutex_init(&slot[i].lock, NULL);
		slot[i].fd = open_socket(i);
		slot[i].events = events[i % 3];
		slot[i].ep = i == 3 ? inner : ep;
		set(i, EPOLL_CTL_ADD);
	}
	for (size_t i = 0; i < sizeof(run) / sizeof(run[0]); i++)
		if (pthread_create(&thread[i], NULL, run[i], (void *)i))
			return 1;
	puts("ready");
	fflush(stdout);
	sleep((unsigned)atoi(argv[1]));
	ended = true;
	for (size_t i = 0; i < sizeof(run) / sizeof(run[0]); i++)
		pthread_join(thread[i], NULL);
	for (uint32_t i = 0; i < SLOTS; i++)
		close(slot[i].fd);
	close(ep);
	close(inner);
	printf("%d\n", count_open());
	return 0;
}
