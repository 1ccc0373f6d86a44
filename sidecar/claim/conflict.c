/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linux lets several sockets share a port (SO_REUSEADDR, SO_REUSEPORT). If one of them does not use udplane, datagrams that are
 * its by Linux's lookup must reach it: then ours stay with the kernel, too, until it is gone.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "sidecar/claim/claim.h"

#define DIAG_ESTABLISHED 1 /* TCP_ESTABLISHED: a connected UDP socket */

int claim_diag_open(void)
{
	struct timeval limit = {.tv_sec = 1}; /* the kernel answers at once; never hang on it */
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return fd;
}

static int request(int nl, uint8_t family, uint16_t port_be, uint32_t seq)
{
	struct {
		struct nlmsghdr nlh;
		struct inet_diag_req_v2 req;
	} m = {
		.nlh = {.nlmsg_len = sizeof(m), .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP, .nlmsg_seq = seq},
		.req = {.sdiag_family = family, .sdiag_protocol = IPPROTO_UDP, .idiag_states = ~0u},
	};

	m.req.id.idiag_sport = port_be; /* udp_dump() filters by it */
	return send(nl, &m, sizeof(m), 0) < 0 ? -errno : 0;
}

struct other { /* a socket that the kernel lists */
	uint8_t family; /* of addr */
	uint8_t addr[16];
	bool wildcard, connected, v6only;
	int ifindex;
	uint64_t cookie;
};

static void read_other(const struct inet_diag_msg *d, size_t len, struct other *o)
{
	const struct rtattr *a = (const void *)(d + 1);
	static const uint8_t zero[16], mapped[12] = {[10] = 0xff, [11] = 0xff};

	memset(o, 0, sizeof(*o));
	o->family = d->idiag_family;
	o->cookie = d->id.idiag_cookie[0] | (uint64_t)d->id.idiag_cookie[1] << 32;
	o->ifindex = (int)d->id.idiag_if;
	o->connected = d->idiag_state == DIAG_ESTABLISHED;
	memcpy(o->addr, d->id.idiag_src, d->idiag_family == AF_INET ? 4 : 16);
	if (o->family == AF_INET6 && !memcmp(o->addr, mapped, 12)) {
		o->family = AF_INET;
		memmove(o->addr, o->addr + 12, 4);
		memset(o->addr + 4, 0, 12);
	}
	o->wildcard = !memcmp(o->addr, zero, 16);
	len -= sizeof(*d);
	for (; len >= sizeof(*a) && a->rta_len >= sizeof(*a) && a->rta_len <= len;) {
		size_t step = RTA_ALIGN(a->rta_len);

		if (a->rta_type == INET_DIAG_SKV6ONLY && a->rta_len > sizeof(*a))
			o->v6only = *(const uint8_t *)RTA_DATA(a);
		if (step > len)
			break;
		len -= step;
		a = (const void *)((const char *)a + step);
	}
}

/* Could o get a datagram that c diverts? */
static bool overlaps(const struct other *o, const struct claim *c, int ifindex)
{
	bool c_wild = c->dual_stack || !memcmp(c->key.addr, (uint8_t[16]){0}, 16);
	bool c4 = c->key.family == AF_INET || c->dual_stack;
	bool c6 = c->key.family == AF_INET6;
	bool o4 = o->family == AF_INET || (o->wildcard && !o->v6only);
	bool o6 = o->family == AF_INET6;

	if (o->ifindex && o->ifindex != ifindex)
		return false;
	if (!((c4 && o4) || (c6 && o6)))
		return false;
	if (o->wildcard)
		return c_wild && !(c->key.family == AF_INET && o->family == AF_INET6); /* AF_INET beats a dual-stack socket */
	if (c_wild)
		return true; /* a specific address beats a wildcard */
	if (memcmp(o->addr, c->key.addr, 16))
		return false;
	return o->connected || !c->key.connected; /* same address: only our being connected beats it */
}

static int check_reply(const char *buf, size_t n, uint32_t seq, const struct claim *c, const uint64_t *mine, uint32_t cnt, int ifindex,
		       char *text, size_t text_len, bool *found)
{
	const struct nlmsghdr *h = (const void *)buf;

	for (; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
		struct other o;
		uint32_t i;
		char addr[INET6_ADDRSTRLEN];

		if (h->nlmsg_seq != seq)
			continue; /* the rest of an answer that was given up */
		if (h->nlmsg_type == NLMSG_DONE)
			return 1;
		if (h->nlmsg_type == NLMSG_ERROR)
			return ((const struct nlmsgerr *)NLMSG_DATA(h))->error ?: -EPROTO;
		if (h->nlmsg_len < NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
			continue;
		read_other(NLMSG_DATA(h), h->nlmsg_len - NLMSG_HDRLEN, &o);
		for (i = 0; i < cnt && mine[i] != o.cookie; i++)
			;
		if (i < cnt || *found || !overlaps(&o, c, ifindex))
			continue;
		*found = true;
		snprintf(text, text_len, "a socket that does not use udplane is bound to %s port %u, too (%s, cookie %llu)",
			 inet_ntop(o.family, o.addr, addr, sizeof(addr)), ntohs(c->key.port_be),
			 o.connected ? "connected" : "unconnected", (unsigned long long)o.cookie);
	}
	return 0;
}

static int ask(int nl, uint8_t family, const struct claim *c, const uint64_t *mine, uint32_t cnt, int ifindex, char *text,
	       size_t text_len, bool *found)
{
	char buf[32768] __attribute__((aligned(8)));
	static uint32_t last_seq; /* the control thread's */
	uint32_t seq = ++last_seq;
	int err = request(nl, family, c->key.port_be, seq);

	while (!err) {
		ssize_t n = recv(nl, buf, sizeof(buf), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		err = check_reply(buf, (size_t)n, seq, c, mine, cnt, ifindex, text, text_len, found);
	}
	return err > 0 ? 0 : err;
}

int claim_conflict(int nl, const struct claim *c, const uint64_t *mine, uint32_t cnt, int ifindex, char *text, size_t text_len)
{
	bool found = false;
	int err = ask(nl, AF_INET, c, mine, cnt, ifindex, text, text_len, &found);

	if (!err)
		err = ask(nl, AF_INET6, c, mine, cnt, ifindex, text, text_len, &found);
	return err ? err : found;
}
