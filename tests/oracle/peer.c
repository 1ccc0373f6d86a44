/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/oracle/peer.h"
#include "tests/oracle/trace.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static struct {
	int v4[PEER_PORTS], v6[PEER_PORTS];
	int fence, capture;
	int home, there; /* namespaces */
} peer;

int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

uint32_t digest(const void *data, size_t len)
{
	const unsigned char *p = data;
	uint32_t h = 2166136261U;

	while (len--)
		h = (h ^ *p++) * 16777619U;
	return h;
}

socklen_t address_parse(union address *to, const char *text, int port)
{
	memset(to, 0, sizeof(*to));
	if (inet_pton(AF_INET, text, &to->in.sin_addr) == 1) {
		to->in.sin_family = AF_INET;
		to->in.sin_port = htons((uint16_t)port);
		return sizeof(to->in);
	}
	memset(to, 0, sizeof(*to));
	if (inet_pton(AF_INET6, text, &to->in6.sin6_addr) != 1)
		return 0;
	to->in6.sin6_family = AF_INET6;
	to->in6.sin6_port = htons((uint16_t)port);
	return sizeof(to->in6);
}

static long checked(long value, const char *what)
{
	if (value >= 0)
		return value;
	perror(what);
	exit(2);
}

static int open_port(const char *ip, int port)
{
	union address a;
	socklen_t len = address_parse(&a, ip, port);
	int one = 1, size = 1 << 20;
	int fd = (int)checked(syscall(SYS_socket, a.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0),
			      "peer's socket");

	if (a.sa.sa_family == AF_INET6)
		syscall(SYS_setsockopt, fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	syscall(SYS_setsockopt, fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	checked(syscall(SYS_bind, fd, &a, len), "peer's bind");
	return fd;
}

static int open_capture(const char *device)
{
	struct sockaddr_ll ll = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int size = 1 << 22;
	int fd = (int)checked(syscall(SYS_socket, AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0),
			      "capture");

	syscall(SYS_setsockopt, fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	ll.sll_ifindex = (int)if_nametoindex(device);
	checked(syscall(SYS_bind, fd, &ll, sizeof(ll)), "capture's bind");
	return fd;
}

void peer_open(const char *path, const char *device)
{
	peer.home = (int)checked(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), "ns/net");
	peer.there = (int)checked(open(path, O_RDONLY | O_CLOEXEC), path);
	checked(setns(peer.there, CLONE_NEWNET), "setns");
	peer.capture = open_capture(device);
	checked(setns(peer.home, CLONE_NEWNET), "setns");
}

void peer_begin(void)
{
	checked(setns(peer.there, CLONE_NEWNET), "setns");
	for (int i = 0; i < PEER_PORTS; i++) {
		peer.v4[i] = open_port(PEER4, PEER_PORT + i);
		peer.v6[i] = open_port(PEER6, PEER_PORT + i);
	}
	peer.fence = open_port(PEER4, PEER_FENCE_PORT);
	checked(setns(peer.home, CLONE_NEWNET), "setns");
	trace_off(true);
	peer_take(0, 0);
	trace_off(false);
}

void peer_end(void)
{
	for (int i = 0; i < PEER_PORTS; i++) {
		syscall(SYS_close, peer.v4[i]);
		syscall(SYS_close, peer.v6[i]);
	}
	syscall(SYS_close, peer.fence);
}

long peer_send(int index, const union address *to, const void *data, size_t len)
{
	bool v4 = to->sa.sa_family == AF_INET;

	index %= PEER_PORTS;
	return syscall(SYS_sendto, v4 ? peer.v4[index] : peer.v6[index], data, len, 0, to,
		       v4 ? sizeof(to->in) : sizeof(to->in6));
}

void peer_option(int index, int family, int level, int name, int value)
{
	index %= PEER_PORTS;
	syscall(SYS_setsockopt, family == 4 ? peer.v4[index] : peer.v6[index], level, name, &value,
		sizeof(value));
}

void peer_fence(const union address *to)
{
	syscall(SYS_sendto, peer.fence, "", 0, 0, to, sizeof(to->in));
}

/* --- frames --- */

struct frame {
	const unsigned char *ip, *udp; /* udp: NULL in all fragments but the first */
	size_t len, ip_len, udp_len;
	int family, tos, hops, dont_fragment, more, offset, label;
};

static bool frame_v4(struct frame *f)
{
	int word = f->ip[6] << 8 | f->ip[7];
	size_t head = (size_t)(f->ip[0] & 15) * 4;

	if (f->len < 28 || f->ip[9] != IPPROTO_UDP)
		return false;
	f->family = 4;
	f->tos = f->ip[1];
	f->hops = f->ip[8];
	f->dont_fragment = word >> 14 & 1;
	f->more = word >> 13 & 1;
	f->offset = (word & 0x1fff) * 8;
	f->ip_len = (size_t)(f->ip[2] << 8 | f->ip[3]);
	f->udp = f->offset ? NULL : f->ip + head;
	f->udp_len = f->ip_len - head;
	return f->ip_len <= f->len;
}

static bool frame_v6(struct frame *f)
{
	int next = f->ip[6];
	size_t head = 40;

	if (f->len < 48)
		return false;
	f->family = 6;
	f->tos = (f->ip[0] & 15) << 4 | f->ip[1] >> 4;
	f->label = (f->ip[1] & 15) << 16 | f->ip[2] << 8 | f->ip[3];
	f->hops = f->ip[7];
	if (next == IPPROTO_FRAGMENT) {
		next = f->ip[40];
		f->offset = (f->ip[42] << 8 | f->ip[43]) & 0xfff8;
		f->more = f->ip[43] & 1;
		head += 8;
	}
	f->ip_len = 40 + (size_t)(f->ip[4] << 8 | f->ip[5]);
	f->udp = f->offset ? NULL : f->ip + head;
	f->udp_len = f->ip_len - head;
	return next == IPPROTO_UDP && f->ip_len <= f->len;
}

static int be16(const unsigned char *p)
{
	return p[0] << 8 | p[1];
}

/* Checksums are left out: what a local sender leaves to its device is only half one. The peer's
 * sockets verify those of udplane. */
static void frame_print(const struct frame *f)
{
	trace("wire v%d tos %d hops %d df %d label %d off %d more %d len %zu", f->family, f->tos,
	      f->hops, f->dont_fragment, f->label != 0, f->offset, f->more, f->ip_len);
	if (f->udp)
		trace(" ports %s %d udp %d data %08x", trace_port(be16(f->udp)), be16(f->udp + 2),
		      be16(f->udp + 4), digest(f->udp + 8, f->udp_len - 8));
	else
		trace(" data %08x", digest(f->ip + f->ip_len - f->udp_len, f->udp_len));
	trace("\n");
}

/* The next one in the capture that comes from the sockets under test; false if none is there. */
static bool frame_next(struct frame *f, bool *is_last)
{
	static unsigned char bytes[70000];
	struct sockaddr_ll ll;
	socklen_t size = sizeof(ll);
	long n =
		syscall(SYS_recvfrom, peer.capture, bytes, sizeof(bytes), MSG_DONTWAIT, &ll, &size);

	*is_last = n < 0;
	if (n < 20 || ll.sll_pkttype == PACKET_OUTGOING)
		return false;
	memset(f, 0, sizeof(*f));
	f->ip = bytes;
	f->len = (size_t)n;
	return bytes[0] >> 4 == 4 ? frame_v4(f) : bytes[0] >> 4 == 6 && frame_v6(f);
}

/* Returns how many there were; adds to *datagrams those that the peer's sockets should get. */
static int take_frames(int *datagrams)
{
	struct frame f;
	bool is_last = false;
	int cnt = 0;

	while (!is_last) {
		if (!frame_next(&f, &is_last))
			continue;
		frame_print(&f);
		cnt++;
		if (f.udp && be16(f.udp + 2) >= PEER_PORT &&
		    be16(f.udp + 2) < PEER_PORT + PEER_PORTS)
			++*datagrams;
	}
	return cnt;
}

static int take_from(int fd, int index)
{
	static unsigned char data[70000];
	union address from;
	socklen_t size = sizeof(from);
	long n;
	int cnt = 0;

	while ((n = syscall(SYS_recvfrom, fd, data, sizeof(data), MSG_DONTWAIT, &from, &size)) >=
	       0) {
		trace("peer %d got %ld data %08x from ", index, n, digest(data, (size_t)n));
		trace_address(&from, sizeof(from), size);
		trace("\n");
		size = sizeof(from);
		cnt++;
	}
	return cnt;
}

static int take_datagrams(void)
{
	int cnt = 0;

	for (int i = 0; i < PEER_PORTS; i++)
		cnt += take_from(peer.v4[i], i) + take_from(peer.v6[i], i);
	return cnt;
}

int peer_take(int frames, int ms)
{
	int64_t end = now_ms() + ms;
	int cnt = 0, expected = 0, datagrams = 0;

	for (;;) {
		cnt += take_frames(&expected);
		datagrams += cnt >= frames ? take_datagrams() : 0;
		if ((cnt >= frames && datagrams >= expected) || now_ms() >= end)
			break;
		/* The capture sees a frame before its socket does, hence the limit. */
		poll(&(struct pollfd){.fd = peer.capture, .events = POLLIN}, 1, 1);
	}
	if (cnt < frames)
		take_datagrams();
	return cnt;
}
