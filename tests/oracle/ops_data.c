/* SPDX-License-Identifier: Apache-2.0 */
/* Operations that send and receive. */
#include "tests/oracle/calls.h"
#include "tests/oracle/trace.h"
#include "tests/oracle/walk.h"
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* --- sending --- */

/* The datagrams that the peer may get: those held back by MSG_MORE come later or never. */
static void count_sent(long n, int flags)
{
	if (n >= 0 && !(flags & MSG_MORE))
		walk.sent++;
}

/* send SLOT LENGTH FLAGS [null|bad|gone] */
void op_send(void)
{
	size_t len = (size_t)number(2);
	ssize_t n;

	fill(len < sizeof(walk.data) ? len : 0);
	n = CALL(send)(slot(1), data_word(4), len, (int)number(3));
	result(n);
	count_sent(n, (int)number(3));
}

/* sendto SLOT ADDRESS PORT LENGTH FLAGS [ADDRESS LENGTH] [null|bad|gone] */
void op_sendto(void)
{
	union address a;
	socklen_t alen;
	const struct sockaddr *sa = address_words(2, &a, &alen);
	size_t len = (size_t)number(4);
	ssize_t n;

	if (*word(6) != '-' || word(6)[1])
		alen = (socklen_t)number(6);
	fill(len < sizeof(walk.data) ? len : 0);
	n = CALL(sendto)(slot(1), data_word(7), len, (int)number(5), sa, alen);
	result(n);
	count_sent(n, (int)number(5));
}

/* sendmsg SLOT ADDRESS PORT FLAGS CONTROL IOVEC [NAME LENGTH] */
void op_sendmsg(void)
{
	_Alignas(16) unsigned char control[512];
	struct iovec iov[IOVECS];
	union address a;
	struct msghdr m = {.msg_iov = iov};
	ssize_t n;

	m.msg_name = (void *)(uintptr_t)address_words(2, &a, &m.msg_namelen);
	if (walk.word_cnt > 7)
		m.msg_namelen = (socklen_t)number(7);
	control_word(5, &m, control);
	fill(sizeof(walk.data));
	m.msg_iovlen = (size_t)iovec_word(6, iov, walk.data);
	if (strcmp(word(6), "nulls") == 0) {
		m.msg_iov = NULL;
		m.msg_iovlen = 2;
	} else if (strcmp(word(6), "many") == 0) {
		m.msg_iovlen = 1025;
	}
	n = CALL(sendmsg)(slot(1), strcmp(word(6), "none") == 0 ? NULL : &m, (int)number(4));
	result(n);
	count_sent(n, (int)number(4));
}

/* sendmmsg SLOT ADDRESS PORT FLAGS IOVEC: one datagram for each length */
void op_sendmmsg(void)
{
	struct iovec iov[IOVECS];
	struct mmsghdr vec[IOVECS];
	union address a;
	socklen_t len;
	const struct sockaddr *sa = address_words(2, &a, &len);
	int cnt = iovec_word(5, iov, walk.data), r;

	fill(sizeof(walk.data));
	memset(vec, 0, sizeof(vec));
	for (int i = 0; i < cnt; i++) {
		vec[i].msg_hdr =
			(struct msghdr){(void *)(uintptr_t)sa, len, &iov[i], 1, NULL, 0, 0};
		vec[i].msg_len = 77;
	}
	r = CALL(sendmmsg)(slot(1), vec, (unsigned int)cnt, (int)number(4));
	result(r);
	for (int i = 0; i < cnt; i++)
		trace(" %u", vec[i].msg_len);
	for (int i = 0; i < r; i++)
		count_sent(0, (int)number(4));
}

/* --- receiving --- */

/* Their times differ on every run, so that only their lengths are said. */
static bool control_is_time(const struct cmsghdr *c)
{
	return c->cmsg_level == SOL_SOCKET &&
	       (c->cmsg_type == SO_TIMESTAMP || c->cmsg_type == SO_TIMESTAMPNS ||
		c->cmsg_type == SO_TIMESTAMPING);
}

/* An address with a port that may be ephemeral. */
static bool control_is_address(const struct cmsghdr *c)
{
	return (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_ORIGDSTADDR) ||
	       (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_ORIGDSTADDR);
}

static void control_print_address(const struct cmsghdr *c)
{
	const unsigned char *p = CMSG_DATA(c);

	trace_hex(p, 2);
	trace(" %s ", trace_port(p[2] << 8 | p[3]));
	trace_hex(p + 4, c->cmsg_len - CMSG_LEN(4));
}

static void control_print(struct msghdr *m)
{
	trace(" flags %#x control %zu", m->msg_flags, m->msg_controllen);
	if (!m->msg_control || m->msg_control == (void *)16)
		return;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		trace(" %d/%d=", c->cmsg_level, c->cmsg_type);
		if (control_is_time(c))
			trace("time:%zu", (size_t)c->cmsg_len);
		else if (control_is_address(c) && c->cmsg_len >= CMSG_LEN(4))
			control_print_address(c);
		else
			trace_hex(CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
	}
}

/* What stands in the buffer; also behind the datagram, where nothing may be written. */
static void print_data(void)
{
	trace(" data %08x", digest(walk.buffer, sizeof(walk.buffer)));
}

/* recv SLOT LENGTH FLAGS [null|bad|gone] */
void op_recv(void)
{
	const void *p = data_word(4);
	ssize_t n;

	memset(walk.buffer, 0xee, sizeof(walk.buffer));
	n = CALL(recv)(slot(1), p == walk.data ? walk.buffer : (void *)(uintptr_t)p,
		       (size_t)number(2), (int)number(3));
	result(n);
	print_data();
}

/* recvfrom SLOT LENGTH FLAGS NAMELEN: "null" is no pointer to a length, "none" no name at all,
 * "bad" a bad one */
void op_recvfrom(void)
{
	union address a;
	socklen_t len = sizeof(a), room;
	bool none = strcmp(word(4), "none") == 0, bad = strcmp(word(4), "bad") == 0;
	ssize_t n;

	memset(&a, 0xee, sizeof(a));
	memset(walk.buffer, 0xee, sizeof(walk.buffer));
	if (walk.word_cnt > 4 && !none && !bad)
		len = (socklen_t)number(4);
	room = len > sizeof(a) ? sizeof(a) : len;
	n = CALL(recvfrom)(slot(1), walk.buffer, (size_t)number(2), (int)number(3),
			   none	 ? NULL
			   : bad ? (struct sockaddr *)16
				 : &a.sa,
			   strcmp(word(4), "null") == 0 ? NULL : &len);
	result(n);
	print_data();
	if (n >= 0 && !none && !bad) {
		trace(" ");
		trace_address(&a, room, (int)len);
	}
}

/* recvmsg SLOT FLAGS NAMELEN CONTROL-LENGTH IOVEC */
void op_recvmsg(void)
{
	_Alignas(16) unsigned char control[512];
	struct iovec iov[IOVECS];
	union address a;
	struct msghdr m = {.msg_iov = iov, .msg_name = &a};
	socklen_t room;
	ssize_t n;

	memset(&a, 0xee, sizeof(a));
	memset(control, 0, sizeof(control));
	memset(walk.buffer, 0xee, sizeof(walk.buffer));
	m.msg_namelen = (socklen_t)number(3);
	if (strcmp(word(3), "none") == 0)
		m.msg_name = NULL;
	room = m.msg_namelen > sizeof(a) ? sizeof(a) : m.msg_namelen;
	m.msg_controllen = (size_t)number(4);
	m.msg_control = m.msg_controllen ? control : NULL;
	if (strcmp(word(4), "bad") == 0) {
		m.msg_control = (void *)16;
		m.msg_controllen = 64;
	}
	m.msg_iovlen = (size_t)iovec_word(5, iov, walk.buffer);
	if (strcmp(word(5), "many") == 0)
		m.msg_iovlen = 1025;
	m.msg_flags = 0x5555;
	n = CALL(recvmsg)(slot(1), strcmp(word(5), "none") == 0 ? NULL : &m, (int)number(2));
	result(n);
	print_data();
	if (n < 0)
		return;
	control_print(&m);
	trace(" ");
	if (m.msg_name)
		trace_address(&a, room, (int)m.msg_namelen);
	else
		trace("len %d", (int)m.msg_namelen);
}

/* recvmmsg SLOT FLAGS IOVEC MILLISECONDS: one buffer each; -1 for no limit */
void op_recvmmsg(void)
{
	struct iovec iov[IOVECS];
	struct mmsghdr vec[IOVECS];
	static union address from[IOVECS];
	long ms = number(4);
	struct timespec limit = {ms / 1000, ms % 1000 * 1000000};
	int cnt = iovec_word(3, iov, walk.buffer), r;

	memset(walk.buffer, 0xee, sizeof(walk.buffer));
	memset(vec, 0, sizeof(vec));
	for (int i = 0; i < cnt; i++)
		vec[i].msg_hdr = (struct msghdr){&from[i], sizeof(from[i]), &iov[i], 1, NULL, 0, 0};
	r = CALL(recvmmsg)(slot(1), vec, (unsigned int)cnt, (int)number(2), ms < 0 ? NULL : &limit);
	result(r);
	print_data();
	for (int i = 0; i < r; i++) {
		trace(" [%u %#x ", vec[i].msg_len, vec[i].msg_hdr.msg_flags);
		trace_address(&from[i], sizeof(from[i]), (int)vec[i].msg_hdr.msg_namelen);
		trace("]");
	}
}

#ifndef ORACLE_UDPLANE
void op_write(void)
{
	ssize_t n;

	fill((size_t)number(2));
	n = write(slot(1), walk.data, (size_t)number(2));
	result(n);
	walk.sent += n >= 0;
}

void op_read(void)
{
	ssize_t n;

	memset(walk.buffer, 0xee, sizeof(walk.buffer));
	n = read(slot(1), walk.buffer, (size_t)number(2));
	result(n);
	trace(" data %08x", digest(walk.buffer, sizeof(walk.buffer)));
}

void op_writev(void)
{
	struct iovec iov[IOVECS];
	int cnt = iovec_word(2, iov, walk.data);
	ssize_t n;

	fill(sizeof(walk.data));
	n = writev(slot(1), iov, cnt);
	result(n);
	walk.sent += n >= 0;
}

void op_readv(void)
{
	struct iovec iov[IOVECS];
	int cnt = iovec_word(2, iov, walk.buffer);
	ssize_t n;

	memset(walk.buffer, 0xee, sizeof(walk.buffer));
	n = readv(slot(1), iov, cnt);
	result(n);
	trace(" data %08x", digest(walk.buffer, sizeof(walk.buffer)));
}
#endif
