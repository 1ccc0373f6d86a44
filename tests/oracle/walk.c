/* SPDX-License-Identifier: Apache-2.0 */
/* Runs call scripts on UDP sockets and writes down what the calls do.
 *
 * walk NETNS DEVICE: the sockets under test are made in the namespace that it is started in, the
 * peer's in NETNS. A script is a line "begin NAME", lines with one operation each, and a line
 * "end"; a word in an operation is a number, or a name from the table of its verb below. After each
 * operation comes one line of trace, or more; after "end" a line "done" and, not to be compared,
 * what each path has carried. oracle.py writes the scripts and compares the traces.
 *
 * Nothing depends on time: after the peer has sent, a fence follows on the same way, and where a
 * script waits for something that the other side has seen already, the number of it is given. */
#include "tests/oracle/calls.h"
#include "tests/oracle/peer.h"
#include "tests/oracle/trace.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sockios.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#define SLOTS	    8
#define WORDS	    16
#define IOVECS	    64
#define HERE4	    "10.99.0.1"
#define KERNEL_PORT 4000 /* the fences: one outside of udplaned's range, one in it */
#define FAST_PORT   5001
#define BURST	    48	    /* datagrams, see note_burst() in sidecar/worker */
#define NEVER	    1000003 /* a descriptor that nothing has */

/* A script that does not end is one that hangs. */
#define SCRIPT_SECONDS 20
/* How long to wait for something that may not come at all. */
#define MAYBE_MS 40
/* How long for what is known to come. */
#define SURE_MS 2000

static struct {
	char *word[WORDS];
	int word_cnt;
	int fd[SLOTS];
	bool closed[SLOTS];
	int kernel_fence, fast_fence; /* the latter -1 if nothing is accelerated */
	int sent;		      /* datagrams since the last look at the peer */
	bool missed;		      /* something that was to come did not: no more waiting */
	unsigned int seed, script_cnt;
	unsigned char data[70000], buffer[70000];
	void *unmapped;
	sigjmp_buf crash;
} walk;

static int sure_ms(void)
{
	return walk.missed ? MAYBE_MS : SURE_MS;
}

/* --- words --- */

static const char *word(int i)
{
	return i < walk.word_cnt ? walk.word[i] : "-";
}

static long number(int i)
{
	return strtol(word(i), NULL, 0);
}

static int slot(int i)
{
	return walk.fd[number(i) & (SLOTS - 1)];
}

static void result(long value)
{
	int e = errno;

	trace("%s ", word(0));
	if (value < 0)
		trace("%ld %s", value, strerrorname_np(e));
	else
		trace("%ld", value);
}

/* The word "slot:N" is the port of that socket. */
static int port_word(int i)
{
	union address a;
	socklen_t len = sizeof(a);
	const char *w = word(i);

	if (strncmp(w, "slot:", 5) != 0)
		return (int)number(i);
	memset(&a, 0, sizeof(a));
	CALL(getsockname)(walk.fd[atoi(w + 5) & (SLOTS - 1)], &a.sa, &len);
	return ntohs(a.in.sin_port);
}

/* The words ADDRESS PORT; or "-" for none, "null", "bad", "unspec". *len: the length that fits. */
static const struct sockaddr *address_words(int i, union address *a, socklen_t *len)
{
	const char *w = word(i);

	memset(a, 0, sizeof(*a));
	*len = 0;
	if (strcmp(w, "-") == 0)
		return NULL;
	*len = sizeof(a->in);
	if (strcmp(w, "null") == 0)
		return NULL;
	if (strcmp(w, "bad") == 0)
		return (const struct sockaddr *)16;
	if (strcmp(w, "unspec") == 0 || strcmp(w, "family77") == 0) {
		a->sa.sa_family = strcmp(w, "unspec") == 0 ? AF_UNSPEC : 77;
		a->in.sin_port = htons((uint16_t)port_word(i + 1));
		return &a->sa;
	}
	*len = address_parse(a, w, port_word(i + 1));
	return &a->sa;
}

static void fill(size_t len)
{
	for (size_t i = 0; i < len; i++)
		walk.data[i] = (unsigned char)(i * 7 + (i >> 8) + walk.seed * 31);
	walk.seed++;
}

/* A list of lengths with commas; each with a letter before it for the pointer: n NULL, b one that
 * is never mapped, k one of the kernel's, u not mapped now. "-" is none. */
static int iovec_word(int i, struct iovec *iov, unsigned char *memory)
{
	const char *w = word(i);
	int cnt = 0;

	if (strcmp(w, "-") == 0)
		return 0;
	while (*w && cnt < IOVECS) {
		char kind = *w >= 'a' && *w <= 'z' ? *w++ : 0;

		iov[cnt].iov_len = (size_t)strtol(w, (char **)&w, 0);
		iov[cnt].iov_base = kind == 'n'	  ? NULL
				    : kind == 'b' ? (void *)16
				    : kind == 'k' ? (void *)(LONG_MIN + 4096)
				    : kind == 'u' ? walk.unmapped
						  : memory;
		if (!kind && iov[cnt].iov_len < 66000)
			memory += iov[cnt].iov_len;
		cnt++;
		w += *w == ',';
	}
	return cnt;
}

/* --- control data --- */

static void control_add(struct msghdr *m, int level, int type, const void *value, size_t len)
{
	struct cmsghdr *c = (void *)((unsigned char *)m->msg_control + m->msg_controllen);

	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), value, len);
	m->msg_controllen += CMSG_SPACE(len);
}

/* LEVEL/TYPE/VALUE, several with commas; VALUE "pktinfo" is our address. Also: -, null, bad, cut (a
 * header that does not fit), long (one that says that it is longer than it is). */
static void control_word(int i, struct msghdr *m, void *memory)
{
	const char *w = word(i);
	struct in_pktinfo info = {0};
	int level, type, value, n;

	memset(memory, 0, 512);
	m->msg_control = memory;
	m->msg_controllen = 0;
	if (strcmp(w, "null") == 0 || strcmp(w, "bad") == 0) {
		m->msg_control = strcmp(w, "bad") == 0 ? (void *)16 : NULL;
		m->msg_controllen = CMSG_SPACE(4);
	} else if (strcmp(w, "cut") == 0 || strcmp(w, "long") == 0) {
		value = 8;
		control_add(m, IPPROTO_IP, IP_TOS, &value, sizeof(value));
		if (*w == 'c')
			m->msg_controllen = 10;
		else
			((struct cmsghdr *)memory)->cmsg_len = 200;
	} else if (strcmp(w, "pktinfo") == 0) {
		info.ipi_spec_dst.s_addr = htonl(0x0a630001);
		control_add(m, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
	} else {
		while (sscanf(w, "%i/%i/%i%n", &level, &type, &value, &n) == 3) {
			control_add(m, level, type, &value, sizeof(value));
			w += n + (w[n] == ',');
		}
	}
	if (m->msg_controllen == 0)
		m->msg_control = NULL;
}

/* Their times differ on every run, so that only their lengths are said. */
static bool control_is_time(const struct cmsghdr *c)
{
	return c->cmsg_level == SOL_SOCKET &&
	       (c->cmsg_type == SO_TIMESTAMP || c->cmsg_type == SO_TIMESTAMPNS ||
		c->cmsg_type == SO_TIMESTAMPING);
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
		else
			trace_hex(CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
	}
}

/* --- opening and naming --- */

/* A number that comes again is another socket: what was closed under it is named no more. */
static void slot_set(int i, int fd)
{
	for (int k = 0; k < SLOTS; k++)
		if (walk.closed[k] && walk.fd[k] == fd)
			walk.fd[k] = NEVER;
	walk.fd[i] = fd;
	walk.closed[i] = false;
}

static void slot_close(int i)
{
	if (!walk.closed[i] && walk.fd[i] != NEVER)
		CALL(close)(walk.fd[i]);
	walk.closed[i] = true;
}

/* socket SLOT FAMILY NONBLOCK. FAMILY: 4, 6 (only), d for both. It gets a short SO_RCVTIMEO, so
 * that nothing hangs. */
static void op_socket(void)
{
	int i = (int)number(1) & (SLOTS - 1), both = *word(2) == 'd', one = !both;
	int family = *word(2) == '4' ? AF_INET : AF_INET6;
	struct timeval tv = {0, MAYBE_MS * 1000};
	int fd;

	slot_close(i);
	fd = CALL(socket)(family, SOCK_DGRAM | SOCK_CLOEXEC | (number(3) ? SOCK_NONBLOCK : 0), 0);
	result(fd < 0 ? fd : 0);
	if (fd < 0)
		return;
	slot_set(i, fd);
	if (family == AF_INET6)
		CALL(setsockopt)(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	CALL(setsockopt)(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
}

/* bind SLOT ADDRESS PORT [LENGTH] */
static void op_bind(void)
{
	union address a;
	socklen_t len;
	const struct sockaddr *sa = address_words(2, &a, &len);

	result(CALL(bind)(slot(1), sa, walk.word_cnt > 4 ? (socklen_t)number(4) : len));
}

static void op_connect(void)
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

static void op_name(void)
{
	name_with(getsockname_call);
}

static void op_peername(void)
{
	name_with(getpeername_call);
}

static void op_close(void)
{
	int i = (int)number(1) & (SLOTS - 1);

	result(CALL(close)(walk.fd[i]));
	walk.closed[i] = true;
}

#ifndef ORACLE_UDPLANE
/* dup SLOT FROM */
static void op_dup(void)
{
	int i = (int)number(1) & (SLOTS - 1), fd;

	slot_close(i);
	fd = dup(slot(2));
	result(fd < 0 ? fd : 0);
	if (fd >= 0)
		slot_set(i, fd);
}

static void op_write(void)
{
	ssize_t n;

	fill((size_t)number(2));
	n = write(slot(1), walk.data, (size_t)number(2));
	result(n);
	walk.sent += n >= 0;
}

static void op_read(void)
{
	ssize_t n;

	memset(walk.buffer, 0xee, sizeof(walk.buffer));
	n = read(slot(1), walk.buffer, (size_t)number(2));
	result(n);
	trace(" data %08x", digest(walk.buffer, sizeof(walk.buffer)));
}

static void op_writev(void)
{
	struct iovec iov[IOVECS];
	int cnt = iovec_word(2, iov, walk.data);
	ssize_t n;

	fill(sizeof(walk.data));
	n = writev(slot(1), iov, cnt);
	result(n);
	walk.sent += n >= 0;
}

static void op_readv(void)
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

/* --- sending --- */

/* The datagrams that the peer may get: those held back by MSG_MORE come later or never. */
static void count_sent(long n, int flags)
{
	if (n >= 0 && !(flags & MSG_MORE))
		walk.sent++;
}

static const void *data_word(int i)
{
	const char *w = word(i);

	return strcmp(w, "null") == 0	? NULL
	       : strcmp(w, "bad") == 0	? (void *)16
	       : strcmp(w, "gone") == 0 ? walk.unmapped
					: walk.data;
}

/* send SLOT LENGTH FLAGS [null|bad|gone] */
static void op_send(void)
{
	size_t len = (size_t)number(2);
	ssize_t n;

	fill(len < sizeof(walk.data) ? len : 0);
	n = CALL(send)(slot(1), data_word(4), len, (int)number(3));
	result(n);
	count_sent(n, (int)number(3));
}

/* sendto SLOT ADDRESS PORT LENGTH FLAGS [ADDRESS LENGTH] [null|bad|gone] */
static void op_sendto(void)
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
static void op_sendmsg(void)
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
static void op_sendmmsg(void)
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

/* What stands in the buffer; also behind the datagram, where nothing may be written. */
static void print_data(void)
{
	trace(" data %08x", digest(walk.buffer, sizeof(walk.buffer)));
}

/* recv SLOT LENGTH FLAGS [null|bad|gone] */
static void op_recv(void)
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
static void op_recvfrom(void)
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
static void op_recvmsg(void)
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
static void op_recvmmsg(void)
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

/* --- options and state --- */

/* setopt SLOT LEVEL NAME VALUE [LENGTH] [null|bad] */
static void op_setopt(void)
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
static void op_timeout(void)
{
	struct timeval tv = {number(2), number(3)};

	result(CALL(setsockopt)(slot(1), SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
}

/* getopt SLOT LEVEL NAME LENGTH [null|bad] */
static void op_getopt(void)
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

static void op_shutdown(void)
{
	result(CALL(shutdown)(slot(1), (int)number(2)));
}

/* ioctl SLOT REQUEST [bad] */
static void op_ioctl(void)
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
static void op_nonblock(void)
{
	int flags = CALL(fcntl)(slot(1), F_GETFL);

	result(flags < 0 ? flags
			 : CALL(fcntl)(slot(1), F_SETFL,
				       number(2) ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
	trace(" was %d", flags < 0 ? flags : !!(flags & O_NONBLOCK));
}

static void op_fionbio(void)
{
	int value = (int)number(2);

	result(CALL(ioctl)(slot(1), FIONBIO, &value));
}

/* --- readiness --- */

/* poll SLOT EVENTS [EXPECTED]: waits until the events are those expected; without, for any. */
static void op_poll(void)
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
static void op_epoll(void)
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

static void op_select(void)
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

/* --- the peer --- */

static void fence_wait(int fd, bool fast)
{
	char c;
	int64_t end = now_ms() + SURE_MS;

	while ((fast ? CALL(recv)(fd, &c, 1, MSG_DONTWAIT)
		     : syscall(SYS_recvfrom, fd, &c, 1, MSG_DONTWAIT, NULL, NULL)) < 0 &&
	       now_ms() < end)
		poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 5);
}

/* What the peer has sent before has arrived when this returns, on whichever path. */
static void fence(void)
{
	union address to;

	address_parse(&to, HERE4, KERNEL_PORT);
	peer_fence(&to);
	if (walk.fast_fence >= 0) {
		address_parse(&to, HERE4, FAST_PORT);
		peer_fence(&to);
		fence_wait(walk.fast_fence, true);
	}
	fence_wait(walk.kernel_fence, false);
}

/* In mode balanced the fast path is taken after a burst, for 100 ms; in others it does nothing. */
static void engage(void)
{
	union address to;

	address_parse(&to, HERE4, FAST_PORT);
	for (int i = 0; i < BURST; i++)
		peer_fence(&to);
	for (int i = 0; i < BURST; i++)
		fence_wait(walk.fast_fence, true);
}

/* psend INDEX ADDRESS PORT LENGTH COUNT */
static void op_psend(void)
{
	union address to;
	socklen_t len;
	size_t size = (size_t)number(4);
	long n = 0, r = 0;

	address_words(2, &to, &len);
	for (long i = number(5); i > 0; i--) {
		fill(size);
		r = peer_send((int)number(1), &to, walk.data, size);
		n += r >= 0;
	}
	trace("psend %ld", n);
	fence();
}

/* poption INDEX FAMILY LEVEL NAME VALUE: for the rest of the script */
static void op_poption(void)
{
	peer_option((int)number(1), (int)number(2), (int)number(3), (int)number(4), (int)number(5));
	trace("poption");
}

/* precv [FRAMES]: what came to the peer. Without a number, what was sent is waited for, but not for
 * long. */
static void op_precv(void)
{
	bool sure = walk.word_cnt > 1;
	int n = peer_take(sure ? (int)number(1) : walk.sent, sure ? sure_ms() : MAYBE_MS);

	walk.missed |= sure && n < number(1);
	walk.sent = 0;
	trace("precv %d", n);
}

/* --- scripts --- */

static const struct {
	const char *name;
	void (*run)(void);
} verbs[] = {
	{"bind", op_bind},	   {"close", op_close},	      {"connect", op_connect},
	{"epoll", op_epoll},	   {"fionbio", op_fionbio},   {"getopt", op_getopt},
	{"ioctl", op_ioctl},	   {"name", op_name},	      {"nonblock", op_nonblock},
	{"peername", op_peername}, {"poll", op_poll},	      {"poption", op_poption},
	{"precv", op_precv},	   {"psend", op_psend},	      {"recv", op_recv},
	{"recvfrom", op_recvfrom}, {"recvmmsg", op_recvmmsg}, {"recvmsg", op_recvmsg},
	{"select", op_select},	   {"send", op_send},	      {"sendmmsg", op_sendmmsg},
	{"sendmsg", op_sendmsg},   {"sendto", op_sendto},     {"setopt", op_setopt},
	{"shutdown", op_shutdown}, {"socket", op_socket},     {"timeout", op_timeout},
#ifndef ORACLE_UDPLANE
	{"dup", op_dup},	   {"read", op_read},	      {"readv", op_readv},
	{"write", op_write},	   {"writev", op_writev},
#endif
};

static void crashed(int signal)
{
	siglongjmp(walk.crash, signal);
}

static void verb_run(void (*run)(void))
{
	errno = 0;
	if (sigsetjmp(walk.crash, 1) == 0)
		run();
	else
		trace("%s SIGSEGV", word(0));
	trace("\n");
	trace_flush();
}

static void run_line(char *line)
{
	size_t i = 0;

	walk.word_cnt = 0;
	for (char *w = strtok(line, " \n"); w && walk.word_cnt < WORDS; w = strtok(NULL, " \n"))
		walk.word[walk.word_cnt++] = w;
	if (walk.word_cnt == 0)
		return;
	while (i < sizeof(verbs) / sizeof(verbs[0]) && strcmp(verbs[i].name, word(0)) != 0)
		i++;
	if (i == sizeof(verbs) / sizeof(verbs[0])) {
		fprintf(stderr, "walk: unknown operation \"%s\"\n", word(0));
		exit(2);
	}
	verb_run(verbs[i].run);
}

/* Opened by a system call: a preloaded library has no part in it. */
static int open_fence(int port)
{
	union address a;
	socklen_t len = address_parse(&a, HERE4, port);
	int fd = (int)syscall(SYS_socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || syscall(SYS_bind, fd, &a, len) < 0) {
		perror("fence");
		exit(2);
	}
	return fd;
}

static void script_begin(void)
{
	for (int i = 0; i < SLOTS; i++) {
		walk.fd[i] = NEVER;
		walk.closed[i] = true;
	}
	peer_begin();
	walk.kernel_fence = open_fence(KERNEL_PORT);
	if (walk.fast_fence >= 0 && walk.script_cnt++ % 2)
		engage();
	trace_reset();
	walk.seed = 1;
	walk.sent = 0;
	walk.missed = false;
	alarm(SCRIPT_SECONDS);
}

/* What each path has carried for a socket is known to the library only. */
static void script_end(void)
{
	unsigned long fast_rx = 0, fast_tx = 0, kernel = 0;

#ifdef ORACLE_UDPLANE
	for (int i = 0; i < SLOTS; i++) {
		struct udplane_status st = {.size = sizeof(st)};

		if (walk.closed[i] || udplane_get_status(walk.fd[i], &st) < 0)
			continue;
		fast_rx += st.fast_rx;
		fast_tx += st.fast_tx;
		kernel += st.kernel_rx + st.kernel_tx;
	}
#endif
	for (int i = 0; i < SLOTS; i++)
		slot_close(i);
	syscall(SYS_close, walk.kernel_fence);
	peer_end();
	alarm(0);
	trace("done fast %lu %lu kernel %lu\n", fast_rx, fast_tx, kernel);
	trace_flush();
}

static int open_fast_fence(void)
{
	union address a;
	socklen_t len = address_parse(&a, HERE4, FAST_PORT);
	int fd = CALL(socket)(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || CALL(bind)(fd, &a.sa, len) < 0) {
		perror("fast fence");
		exit(2);
	}
	return fd;
}

int main(int argc, char **argv)
{
	char line[4096];
	struct sigaction sa = {.sa_handler = crashed, .sa_flags = SA_NODEFER};

	if (argc != 3) {
		fprintf(stderr, "usage: walk NETNS DEVICE\n");
		return 2;
	}
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	walk.unmapped =
		mmap(NULL, 1 << 17, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(walk.unmapped, 1 << 17,
		 PROT_NONE); /* not unmapped: another thing might take its place */
	peer_open(argv[1], argv[2]);
	walk.fast_fence = getenv("ORACLE_FAST") ? open_fast_fence() : -1;
	while (fgets(line, sizeof(line), stdin)) {
		if (strncmp(line, "begin", 5) == 0)
			script_begin();
		else if (strncmp(line, "end", 3) == 0)
			script_end();
		else
			run_line(line);
	}
	return 0;
}
