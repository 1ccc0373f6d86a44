/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linux reads the control data of an IPv4 destination by ip_cmsg_send(), and that of an IPv6
 * destination by ip6_datagram_send_ctl(), whatever the socket's family. Each of them passes over
 * messages of the other family, except that IPV6_PKTINFO with a v4-mapped address also serves IPv4
 * destinations of an AF_INET6 socket.
 */
#include "client/cmsg_send.h"
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <udplane/abi.h>
#include <udplane/tx_control.h>

#define UDP_SEGMENT_TYPE 103 /* UDP_SEGMENT, which older headers do not have */

static const uint8_t none[16];

/* One message: len bytes of data, of any alignment. */
struct message {
	int level, type;
	const uint8_t *data;
	size_t len;
};

static bool get_int(const struct message *m, int *value)
{
	if (m->len != sizeof(*value))
		return false;
	memcpy(value, m->data, sizeof(*value));
	return true;
}

static bool get_tos(const struct message *m, bool byte_too, struct cmsg_send *out)
{
	int value;

	if (byte_too && m->len == 1)
		value = m->data[0];
	else if (!get_int(m, &value))
		return false;
	if (value < 0 || value > 255) /* -1: the socket's, for IPv6 */
		return false;
	out->tos = (uint8_t)value;
	out->flags |= UDPLANE_TX_TOS;
	return true;
}

static bool get_ttl(const struct message *m, struct cmsg_send *out)
{
	int value;

	if (!get_int(m, &value) || value < 1 || value > 255)
		return false;
	out->ttl = (uint8_t)value;
	out->flags |= UDPLANE_TX_TTL;
	return true;
}

/* addr: 16 bytes. A later message replaces an earlier one. */
static void set_source(struct cmsg_send *out, const uint8_t *addr, size_t len, uint32_t ifindex)
{
	memset(out->src, 0, sizeof(out->src));
	memcpy(out->src, addr, len);
	out->any_source = !memcmp(out->src, none, sizeof(none));
	out->flags = (uint16_t)((out->flags & ~UDPLANE_TX_SOURCE) |
				(out->any_source ? 0 : UDPLANE_TX_SOURCE));
	if (ifindex) /* Linux keeps that of an earlier message otherwise */
		out->ifindex = ifindex;
}

static bool get_pktinfo(const struct message *m, struct cmsg_send *out)
{
	struct udplane_in_pktinfo info;

	if (m->len != sizeof(info))
		return false;
	memcpy(&info, m->data, sizeof(info));
	set_source(out, info.spec_dst, sizeof(info.spec_dst), (uint32_t)info.ifindex);
	return true;
}

static bool get_pktinfo6(const struct message *m, bool mapped, struct cmsg_send *out)
{
	static const uint8_t prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	struct udplane_in6_pktinfo info;
	bool link_local;

	if (m->len != sizeof(info))
		return false;
	memcpy(&info, m->data, sizeof(info));
	if (!memcmp(info.addr, prefix, sizeof(prefix)) != mapped)
		return false;
	link_local = info.addr[0] == 0xfe && (info.addr[1] & 0xc0) == 0x80;
	if (link_local) /* whether it may be used depends on the interface */
		return false;
	if (mapped)
		set_source(out, info.addr + 12, 4, info.ifindex);
	else
		set_source(out, info.addr, 16, info.ifindex);
	return true;
}

static bool read_udp(const struct message *m, struct cmsg_send *out)
{
	if (m->type != UDP_SEGMENT_TYPE || m->len != sizeof(out->segment_size))
		return false;
	memcpy(&out->segment_size, m->data, sizeof(out->segment_size));
	out->segment = true;
	return true;
}

static bool read_ip(const struct message *m, struct cmsg_send *out)
{
	switch (m->type) {
	case IP_TOS: return get_tos(m, true, out);
	case IP_TTL: return get_ttl(m, out);
	case UDPLANE_IP_PKTINFO: return get_pktinfo(m, out);
	}
	return false;
}

static bool read_ipv6(const struct message *m, struct cmsg_send *out)
{
	int value;

	switch (m->type) {
	case IPV6_TCLASS: return get_tos(m, false, out);
	case IPV6_HOPLIMIT: return get_ttl(m, out);
	case UDPLANE_IPV6_PKTINFO: return get_pktinfo6(m, false, out);
	case IPV6_DONTFRAG:
		if (!get_int(m, &value) || value < 0 || value > 1)
			return false;
		out->dont_fragment = value;
		return true;
	}
	return false;
}

static bool read_message(const struct message *m, int domain, bool six, struct cmsg_send *out)
{
	switch (m->level) {
	case IPPROTO_UDP: return read_udp(m, out);
	case IPPROTO_IP: return six || read_ip(m, out);
	case IPPROTO_IPV6:
		if (six)
			return read_ipv6(m, out);
		return m->type != UDPLANE_IPV6_PKTINFO || domain == AF_INET ||
		       get_pktinfo6(m, true, out);
	}
	return false; /* SO_MARK, SCM_TXTIME, ... */
}

bool cmsg_send_parse(const void *data, size_t len, int domain, bool six, struct cmsg_send *out)
{
	const uint8_t *at = data;
	struct cmsghdr c;

	memset(out, 0, sizeof(*out));
	if (len > CMSG_SEND_MAX)
		return false;
	while (len >= sizeof(c)) { /* what is shorter, Linux does not look at */
		struct message m;
		size_t step;

		memcpy(&c, at, sizeof(c));
		if (c.cmsg_len < CMSG_LEN(0) || c.cmsg_len > len)
			return false;
		m = (struct message){c.cmsg_level, c.cmsg_type, at + CMSG_LEN(0),
				     c.cmsg_len - CMSG_LEN(0)};
		if (!read_message(&m, domain, six, out))
			return false;
		step = CMSG_ALIGN(c.cmsg_len);
		if (step >= len)
			break;
		at += step;
		len -= step;
	}
	return true;
}
