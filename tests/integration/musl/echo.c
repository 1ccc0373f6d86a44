/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For musl_test.py, which compiles it with musl-gcc: loads libudplane.so with musl's loader and
 * echoes datagrams, each by a thread of its own. Then a child, which has to attach by itself,
 * echoes one on the next port.
 *
 *   echo LIBRARY PORT COUNT
 *
 * Says "ready" when the first port is open, "child" when the second is, and then "accelerated
 * fast_rx fast_tx kernel_rx kernel_tx" in figures.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "udplane/udplane.h"

static struct {
	__typeof__(udplane_socket) *socket;
	__typeof__(udplane_bind) *bind;
	__typeof__(udplane_recvfrom) *recvfrom;
	__typeof__(udplane_sendto) *sendto;
	__typeof__(udplane_get_status) *get_status;
	__typeof__(udplane_close) *close;
} call;

static int fd;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void load(const char *path)
{
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (!library) {
		fprintf(stderr, "%s\n", dlerror());
		exit(1);
	}
	call.socket = dlsym(library, "udplane_socket");
	call.bind = dlsym(library, "udplane_bind");
	call.recvfrom = dlsym(library, "udplane_recvfrom");
	call.sendto = dlsym(library, "udplane_sendto");
	call.get_status = dlsym(library, "udplane_get_status");
	call.close = dlsym(library, "udplane_close");
}

static void *echo(void *arg)
{
	struct sockaddr_in peer;
	socklen_t peer_len = sizeof(peer);
	char data[2048];
	ssize_t len = call.recvfrom(fd, data, sizeof(data), 0, (struct sockaddr *)&peer, &peer_len);

	if (len < 0 || call.sendto(fd, data, len, 0, (struct sockaddr *)&peer, peer_len) != len)
		fail("echo");
	return arg;
}

static void in_thread(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, echo, NULL) || pthread_join(thread, NULL))
		fail("thread");
}

static void open_port(int port)
{
	struct sockaddr_in local = {.sin_family = AF_INET, .sin_port = htons(port)};

	fd = call.socket(AF_INET, SOCK_DGRAM, 0);
	if (fd < 0 || call.bind(fd, (struct sockaddr *)&local, sizeof(local)))
		fail("socket");
}

static void say(const char *what)
{
	puts(what);
	fflush(stdout);
}

static void in_child(int port)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		open_port(port);
		say("child");
		echo(NULL);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		fail("child");
}

int main(int argc, char **argv)
{
	struct udplane_status status = {.size = sizeof(status)};
	int left;

	if (argc != 4)
		return 2;
	load(argv[1]);
	open_port(atoi(argv[2]));
	say("ready");
	for (left = atoi(argv[3]); left; left--)
		in_thread();
	if (call.get_status(fd, &status))
		fail("status");
	in_child(atoi(argv[2]) + 1);
	printf("%d %llu %llu %llu %llu\n", status.accelerated, (unsigned long long)status.fast_rx,
	       (unsigned long long)status.fast_tx, (unsigned long long)status.kernel_rx,
	       (unsigned long long)status.kernel_tx);
	return call.close(fd) ? 1 : 0;
}
