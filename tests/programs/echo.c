/* SPDX-License-Identifier: Apache-2.0 */
/* An echo server, on edge-triggered epoll, recvmmsg and sendmmsg: echo ADDRESS PORT */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef BY_NUMBER /* as libuv makes these calls */
#define recvmmsg(...) (int)syscall(SYS_recvmmsg, __VA_ARGS__)
#define sendmmsg(...) (int)syscall(SYS_sendmmsg, __VA_ARGS__)
#endif

#define BATCH 16

static int check(int value, const char *what)
{
	if (value < 0) {
		perror(what);
		exit(1);
	}
	return value;
}

/* Sends back all that has come. */
static void answer(int fd)
{
	static char data[BATCH][2048];
	struct sockaddr_in senders[BATCH];
	struct iovec parts[BATCH];
	struct mmsghdr messages[BATCH];
	int count;

	do {
		for (int i = 0; i < BATCH; i++) {
			parts[i] = (struct iovec){data[i], sizeof(data[i])};
			messages[i] = (struct mmsghdr){
				.msg_hdr = {&senders[i], sizeof(senders[i]), &parts[i], 1}};
		}
		count = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
		for (int i = 0; i < count; i++)
			parts[i].iov_len = messages[i].msg_len;
		for (int sent = 0; sent < count;)
			sent += check(sendmmsg(fd, messages + sent, count - sent, 0), "sendmmsg");
	} while (count > 0);
}

int main(int argc, char **argv)
{
	struct sockaddr_in local = {.sin_family = AF_INET};
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};
	int fd, poller;

	if (argc != 3 || inet_pton(AF_INET, argv[1], &local.sin_addr) != 1)
		return 2;
	local.sin_port = htons(atoi(argv[2]));
	fd = check(socket(AF_INET, SOCK_DGRAM, 0), "socket");
	poller = check(epoll_create1(0), "epoll_create1");
	check(epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
	check(bind(fd, (struct sockaddr *)&local, sizeof(local)), "bind");
	for (;;) {
		check(epoll_wait(poller, &event, 1, -1), "epoll_wait");
		answer(fd);
	}
}
