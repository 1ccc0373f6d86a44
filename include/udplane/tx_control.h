/* SPDX-License-Identifier: Apache-2.0 */
/* What a TX descriptor asks for besides its destination, as control data of sendmsg(2): for a
 * datagram that is sent by the kernel socket after all. */
#ifndef UDPLANE_TX_CONTROL_H
#define UDPLANE_TX_CONTROL_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <udplane/abi.h>

struct udplane_tx_asked {
	uint16_t flags; /* UDPLANE_TX_* */
	uint8_t tos, ttl;
	uint8_t src[16]; /* with UDPLANE_TX_SOURCE; as in struct udplane_addr */
};

/* glibc has these only with _GNU_SOURCE. */
struct udplane_in_pktinfo {
	int ifindex;
	uint8_t spec_dst[4], addr[4];
};
struct udplane_in6_pktinfo {
	uint8_t addr[16];
	unsigned int ifindex;
};

#define UDPLANE_IP_PKTINFO   8
#define UDPLANE_IPV6_PKTINFO 50
#define UDPLANE_UDP_SEGMENT  103

/* bytes of control data, at most */
#define UDPLANE_TX_CONTROL_MAX                                        \
	(CMSG_SPACE(sizeof(uint16_t)) + 2 * CMSG_SPACE(sizeof(int)) + \
	 CMSG_SPACE(sizeof(struct udplane_in6_pktinfo)))

/* Appends one message at byte `at` of buf. Returns the bytes that are used then. */
static inline size_t udplane_tx_control_put(void *buf, size_t at, int level, int type,
					    const void *data, size_t len)
{
	struct cmsghdr *c = (struct cmsghdr *)(void *)((uint8_t *)buf + at);

	memset(c, 0, CMSG_SPACE(len));
	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), data, len);
	return at + CMSG_SPACE(len);
}

/* Writes control data with which the kernel does what `asked` says, as far as control data can say
 * it; the rest are options of the socket. UDP_SEGMENT is overridden: a descriptor is one datagram.
 * buf: UDPLANE_TX_CONTROL_MAX bytes, aligned as struct cmsghdr. Returns its length. */
static inline size_t udplane_tx_control(const struct udplane_tx_asked *asked, void *buf)
{
	int six = !!(asked->flags & UDPLANE_TX_IPV6), level = six ? IPPROTO_IPV6 : IPPROTO_IP;
	int tos = asked->tos, ttl = asked->ttl;
	struct udplane_in_pktinfo info;
	struct udplane_in6_pktinfo info6;
	uint16_t whole = 0;
	size_t n = udplane_tx_control_put(buf, 0, IPPROTO_UDP, UDPLANE_UDP_SEGMENT, &whole,
					  sizeof(whole));

	if (asked->flags & UDPLANE_TX_TOS)
		n = udplane_tx_control_put(buf, n, level, six ? IPV6_TCLASS : IP_TOS, &tos,
					   sizeof(tos));
	if (asked->flags & UDPLANE_TX_TTL)
		n = udplane_tx_control_put(buf, n, level, six ? IPV6_HOPLIMIT : IP_TTL, &ttl,
					   sizeof(ttl));
	if (!(asked->flags & UDPLANE_TX_SOURCE))
		return n;
	memset(&info, 0, sizeof(info));
	memset(&info6, 0, sizeof(info6));
	memcpy(info.spec_dst, asked->src, 4);
	memcpy(info6.addr, asked->src, 16);
	if (six)
		return udplane_tx_control_put(buf, n, level, UDPLANE_IPV6_PKTINFO, &info6,
					      sizeof(info6));
	return udplane_tx_control_put(buf, n, level, UDPLANE_IP_PKTINFO, &info, sizeof(info));
}

#endif
