/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on the socket itself: opening, names, options, state, readiness. */
#include "tests/oracle/calls.h"
#include "tests/oracle/trace.h"
#include "tests/oracle/walk.h"
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* A number that comes again is another socket: what was closed under it is named no more. */
static void slot_set(int i, int fd)
{
	for (int k = 0; k < SLOTS; k++)
		if (walk.closed[k] && walk.fd[k] == fd)
			walk.fd[k] = NEVER;
	walk.fd[i] = fd;
	walk.closed[i] = false;
}

void slot_close(int i)
{
	if (!walk.closed[i] && walk.fd[i] != NEVER)
		CALL(close)(walk.fd[i]);
	walk.closed[i] = true;
}

/* socket SLOT FAMILY NONBLOCK. FAMILY: 4, 6 (only), d for both. It gets a short SO_RCVTIMEO, so
 * that nothing hangs. */
void op_socket(void)
{
	int i = (int)number(1) & (SLOTS - 1), both = *word(2) == 'd', one = !both;
	int family = *word(2) == '4' ? AF_INET : AF_INET6;
	struct timeval tv = {0, MAYBE_MS * 1000};
	int fd, room = RCVBUF;

	slot_close(i);
	fd = CALL(socket)(family, SOCK_DGRAM | SOCK_CLOEXEC | (number(3) ? SOCK_NONBLOCK : 0), 0);
	result(fd < 0 ? fd : 0);
	if (fd < 0)
		return;
	slot_set(i, fd);
	if (family == AF_INET6)
		CALL(setsockopt)(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	CALL(setsockopt)(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	CALL(setsockopt)(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
}

/* bind SLOT ADDRESS PORT [LENGTH] */
void op_bind(void)
{
	union address a;
	socklen_t len;
	const struct sockaddr *sa = address_words(2, &a, &len);

	result(CALL(bind)(slot(1), sa, walk.word_cnt > 4 ? (socklen_t)number(4) : len));
}

void op_connect(void)
{
	union address a;
	socklen_t len;
	const struct sockaddr *sa = address_words(2, &a, &len);

	result(CALL(connect)(slot(1), sa, walk.word_cnt > 4 ? (socklen_t)number(4) : len));
}

/* name SLOT [LENGTH], peername SLOT [LENGTH]: LENGTH "null" is no pointer to a length. */
static void name_with(int (*call)(int, struct sockaddr *, socklen_t *))
{
	union address a;
	socklen_t len = sizeof(a), room;
	int r;

	memset(&a, 0xee, sizeof(a));
	if (walk.word_cnt > 2)
		len = (socklen_t)number(2);
	room = len > sizeof(a) ? sizeof(a) : len;
	r = call(slot(1), &a.sa, strcmp(word(2), "null") == 0 ? NULL : &len);
	result(r);
	if (r == 0) {
		trace(" ");
		trace_address(&a, room, (int)len);
	}
}

static int getsockname_call(int fd, struct sockaddr *a, socklen_t *len)
{
	return CALL(getsockname)(fd, a, len);
}

static int getpeername_call(int fd, struct sockaddr *a, socklen_t *len)
{
	return CALL(getpeername)(fd, a, len);
}

void op_name(void)
{
	name_with(getsockname_call);
}

void op_peername(void)
{
	name_with(getpeername_call);
}

void op_close(void)
{
	int i = (int)number(1) & (SLOTS - 1);

	result(CALL(close)(walk.fd[i]));
	walk.closed[i] = true;
}

#ifndef ORACLE_UDPLANE
/* dup SLOT FROM */
void op_dup(void)
{
	int i = (int)number(1) & (SLOTS - 1), fd;

	slot_close(i);
	fd = dup(slot(2));
	result(fd < 0 ? fd : 0);
	if (fd >= 0)
		slot_set(i, fd);
}
#endif

/* --- options and state --- */

/* setopt SLOT LEVEL NAME VALUE [LENGTH] [null|bad] */
void op_setopt(void)
{
	unsigned char value[256] = {0};
	int v = (int)number(4);
	socklen_t len = sizeof(v);
	const void *p = value;

	memcpy(value, &v, sizeof(v));
	if (walk.word_cnt > 5)
		len = (socklen_t)number(5);
	if (strcmp(word(6), "null") == 0)
		p = NULL;
	else if (strcmp(word(6), "bad") == 0)
		p = (void *)16;
	result(CALL(setsockopt)(slot(1), (int)number(2), (int)number(3), p, len));
}

/* timeout SLOT SECONDS MICROSECONDS: SO_RCVTIMEO */
void op_timeout(void)
{
	struct timeval tv = {number(2), number(3)};

	result(CALL(setsockopt)(slot(1), SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
}

/* getopt SLOT LEVEL NAME LENGTH [null|bad] */
void op_getopt(void)
{
	unsigned char value[512];
	socklen_t len = (socklen_t)number(4);
	void *p = value;
	int r;

	memset(value, 0xee, sizeof(value));
	if (strcmp(word(5), "bad") == 0)
		p = (void *)16;
	r = CALL(getsockopt)(slot(1), (int)number(2), (int)number(3), p,
			     strcmp(word(5), "null") == 0 ? NULL : &len);
	result(r);
	trace(" len %d ", (int)len);
	trace_hex(value, 32);
}

void op_shutdown(void)
{
	result(CALL(shutdown)(slot(1), (int)number(2)));
}

/* ioctl SLOT REQUEST [bad] */
void op_ioctl(void)
{
	union {
		int number;
		unsigned char bytes[64];
	} value = {0x5555};
	int r = CALL(ioctl)(slot(1), (unsigned long)number(2),
			    strcmp(word(3), "bad") == 0 ? (void *)16 : (void *)&value);

	result(r);
	if (number(2) != SIOCGSTAMP_OLD)
		trace(" %d", value.number);
}

/* nonblock SLOT 0|1 by fcntl; fionbio SLOT 0|1 by ioctl */
void op_nonblock(void)
{
	int flags = CALL(fcntl)(slot(1), F_GETFL);

	result(flags < 0 ? flags
			 : CALL(fcntl)(slot(1), F_SETFL,
				       number(2) ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
	trace(" was %d", flags < 0 ? flags : !!(flags & O_NONBLOCK));
}

void op_fionbio(void)
{
	int value = (int)number(2);

	result(CALL(ioctl)(slot(1), FIONBIO, &value));
}

/* --- readiness --- */

/* poll SLOT EVENTS [EXPECTED]: waits until the events are those expected; without, for any. */
void op_poll(void)
{
	struct pollfd p = {.fd = slot(1), .events = (short)number(2)};
	int expected = walk.word_cnt > 3 ? (int)number(3) : -1;
	int64_t end = now_ms() + (expected < 0 ? MAYBE_MS : sure_ms());
	int r;

	do {
		p.revents = 0;
		r = poll(&p, 1, expected < 0 ? MAYBE_MS : 0);
		if (expected < 0 || p.revents == expected)
			break;
		poll(NULL, 0, 1);
	} while (now_ms() < end);
	walk.missed |= expected >= 0 && p.revents != expected;
	result(r);
	trace(" events %#x", p.revents);
}

/* epoll SLOT EVENTS: what one look says */
void op_epoll(void)
{
	struct epoll_event ev = {.events = (uint32_t)number(2)}, got = {0};
	int e = epoll_create1(EPOLL_CLOEXEC);
	int r = epoll_ctl(e, EPOLL_CTL_ADD, slot(1), &ev);

	if (r == 0)
		r = epoll_wait(e, &got, 1, 0);
	result(r);
	trace(" events %#x", got.events);
	close(e);
}

void op_select(void)
{
	fd_set in, out, err;
	struct timeval tv = {0};
	int fd = slot(1), r;

	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_ZERO(&err);
	if (fd < FD_SETSIZE) {
		FD_SET(fd, &in);
		FD_SET(fd, &out);
		FD_SET(fd, &err);
	}
	r = select(fd < FD_SETSIZE ? fd + 1 : 0, &in, &out, &err, &tv);
	result(r);
	if (r >= 0 && fd < FD_SETSIZE)
		trace(" in %d out %d err %d", FD_ISSET(fd, &in) != 0, FD_ISSET(fd, &out) != 0,
		      FD_ISSET(fd, &err) != 0);
}
