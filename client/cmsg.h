/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control messages of datagrams that the kernel has not delivered: the same as the kernel's, in
 * its order, with its treatment of short buffers. Options decide which there are, and the kernel
 * socket has the options; s->rx.wants holds what they ask for.
 */
#ifndef UDPLANE_CLIENT_CMSG_H
#define UDPLANE_CLIENT_CMSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

struct pktbuf;
struct rxq;
struct sock;
struct udplane_rx_desc;

/* bits of s->rx.wants, in the order of the messages */
enum {
	CMSG_WANT_STAMP = 1 << 0,     /* SO_TIMESTAMP or SO_TIMESTAMPNS */
	CMSG_WANT_STAMP_NS = 1 << 1,  /* with WANT_STAMP: a struct timespec */
	CMSG_WANT_STAMP_NEW = 1 << 2, /* the types _NEW */
	CMSG_WANT_STAMPING = 1 << 3,  /* SO_TIMESTAMPING: software receive times */
	CMSG_WANT_DROPS = 1 << 4,     /* SO_RXQ_OVFL */
	/* UDP_GRO: datagrams may be joined, and the length of each is told then */
	CMSG_WANT_GRO = 1 << 16,
	/* no message: SO_PEEK_OFF is 0 or more, see peek.h */
	CMSG_WANT_PEEK_OFF = 1 << 17,
	/* both families, on AF_INET6 sockets */
	CMSG_WANT_PKTINFO6 = 1 << 5,
	/* IPv4 datagrams, on either kind of socket */
	CMSG_WANT_PKTINFO = 1 << 6,
	CMSG_WANT_TTL = 1 << 7,
	CMSG_WANT_TOS = 1 << 8,
	CMSG_WANT_ORIGDST = 1 << 9,
	/* IPv6 datagrams */
	CMSG_WANT_HOPLIMIT = 1 << 10,
	CMSG_WANT_TCLASS = 1 << 11,
	CMSG_WANT_FLOWINFO = 1 << 12,
	CMSG_WANT_OLD_PKTINFO = 1 << 13, /* IPV6_2292PKTINFO */
	CMSG_WANT_OLD_HOPLIMIT = 1 << 14,
	CMSG_WANT_ORIGDST6 = 1 << 15,
};

/* What control messages tell of a datagram. */
struct cmsg_info {
	uint64_t stamp_ns;    /* CLOCK_REALTIME; 0 if it was not stamped */
	uint32_t drops;	      /* of the socket before it; 0 if not known */
	int32_t ifindex;      /* of the interface that it came by */
	int gro_size;	      /* bytes of each datagram that is joined; 0 if it is one */
	uint32_t flowinfo_be; /* IPv6: flow label and traffic class, as sin6_flowinfo */
	uint16_t dst_port_be;
	uint8_t family; /* AF_INET or AF_INET6 */
	uint8_t ttl;	/* or hop limit */
	uint8_t tos;	/* or traffic class */
	uint8_t dst[16];
};

/* Writes the messages that `wants` asks for to h->msg_control, which has room for `room` bytes,
 * sets h->msg_controllen to the bytes used, and adds MSG_CTRUNC to h->msg_flags if they do not
 * fit. */
void cmsg_write(struct msghdr *h, size_t room, uint32_t wants, const struct cmsg_info *info);
/* The same with len bytes of messages that the kernel has written, of which SO_RXQ_OVFL does not
 * count `drops` of ours yet. */
void cmsg_copy(struct msghdr *h, size_t room, const void *from, size_t len, uint32_t drops);

/* Sets s->rx.wants by the options of the kernel socket. */
void cmsg_read_options(struct sock *s);
/* Reads info from the headers of a datagram in q. rx.lock held. */
void cmsg_info_of(const struct sock *s, const struct rxq *q, const struct udplane_rx_desc *d,
		  struct cmsg_info *info);
/* The messages of a datagram in q, or in private memory. For sockets with s->rx.wants. gro_size:
 * if it is the first of several that are joined, its length, else 0. */
void cmsg_of_ring(const struct sock *s, const struct rxq *q, const struct udplane_rx_desc *d,
		  struct msghdr *h, size_t room, int gro_size);
void cmsg_of_buf(const struct sock *s, const struct pktbuf *b, struct msghdr *h, size_t room);
/* Bytes for all control messages of a datagram but IPv6 options, which may be longer. */
#define CMSG_ROOM 1024

/* SO_RXQ_OVFL: reads the kernel socket's drops. */
void cmsg_read_drops(struct sock *s);
/* SO_RXQ_OVFL: what the fast path has dropped since the socket was made; if it is not claimed,
 * without rx.lock. */
uint32_t cmsg_our_drops(const struct sock *s);
/* SO_RXQ_OVFL: the rings are about to be dropped, and with them their counters. rx.lock held. */
void cmsg_keep_drops(struct sock *s);

#ifdef __cplusplus
}
#endif

#endif
