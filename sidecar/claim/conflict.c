/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linux lets several sockets share a port (SO_REUSEADDR, SO_REUSEPORT). If one of them does not use
 * udplane, datagrams that are its by Linux's lookup must reach it: then ours stay with the kernel,
 * too, until it is gone.
 */
#include "sidecar/claim/claim.h"
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

#define DIAG_ESTABLISHED 1     /* TCP_ESTABLISHED: a connected UDP socket */
#define ANSWER_LEN	 32768 /* netlink fills no more in one go of a dump */

int claim_diag_open(void)
{
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);

	return fd < 0 ? -errno : fd;
}

struct diag_request {
	struct nlmsghdr nlh;
	struct inet_diag_req_v2 req;
};

static int send_request(int nl, struct diag_request *m, uint8_t family, uint16_t flags,
			uint32_t seq)
{
	m->nlh.nlmsg_len = sizeof(*m);
	m->nlh.nlmsg_type = SOCK_DIAG_BY_FAMILY;
	m->nlh.nlmsg_flags = NLM_F_REQUEST | flags;
	m->nlh.nlmsg_seq = seq;
	m->req.sdiag_family = family;
	m->req.sdiag_protocol = IPPROTO_UDP;
	m->req.idiag_states = ~0u;
	return send(nl, m, sizeof(*m), 0) < 0 ? -errno : 0;
}

static void read_other(const struct inet_diag_msg *d, size_t len, struct claim_other *o)
{
	const struct rtattr *a = (const void *)(d + 1);

	memset(o, 0, sizeof(*o));
	o->cookie = d->id.idiag_cookie[0] | (uint64_t)d->id.idiag_cookie[1] << 32;
	o->ifindex = (int)d->id.idiag_if;
	udplane_addr_set(&o->local, d->idiag_family, d->id.idiag_src);
	o->local.port_be = d->id.idiag_sport;
	if (d->idiag_state == DIAG_ESTABLISHED) {
		udplane_addr_set(&o->peer, d->idiag_family, d->id.idiag_dst);
		o->peer.port_be = d->id.idiag_dport;
	}
	for (len -= sizeof(*d);
	     len >= sizeof(*a) && a->rta_len >= sizeof(*a) && a->rta_len <= len;) {
		size_t step = RTA_ALIGN(a->rta_len);

		if (a->rta_type == INET_DIAG_SKV6ONLY && a->rta_len > sizeof(*a))
			o->v6only = *(const uint8_t *)RTA_DATA(a);
		if (step > len)
			break;
		len -= step;
		a = (const void *)((const char *)a + step);
	}
}

bool claim_overlaps(const struct claim_other *o, const struct claim *c, int ifindex)
{
	const struct udplane_addr *cl = &c->key.local, *ol = &o->local;
	bool c_wild = c->dual_stack || udplane_addr_is_any(cl);
	bool o_wild = udplane_addr_is_any(ol);
	bool c4 = cl->family == AF_INET || c->dual_stack;
	bool c6 = cl->family == AF_INET6;
	bool o4 = ol->family == AF_INET || (o_wild && !o->v6only);
	bool o6 = ol->family == AF_INET6;

	if (ol->port_be != cl->port_be || (o->ifindex && o->ifindex != ifindex))
		return false;
	if (!((c4 && o4) || (c6 && o6)))
		return false;
	if (o_wild)
		return c_wild && !(cl->family == AF_INET &&
				   ol->family == AF_INET6); /* AF_INET beats a dual-stack socket */
	if (c_wild)
		return true; /* a specific address beats a wildcard */
	if (!udplane_addr_same_ip(ol, cl))
		return false;
	if (!port_key_connected(&c->key))
		return true; /* same address: only our being connected beats it, */
	return udplane_addr_equal(&o->peer, &c->key.peer); /* but with one's own peer */
}

void claim_other_text(const struct claim_other *o, char *text, size_t text_len)
{
	char addr[INET6_ADDRSTRLEN];

	snprintf(text, text_len,
		 "a socket that does not use udplane is bound to %s port %u, too (%s, cookie %llu)",
		 inet_ntop(o->local.family, o->local.addr, addr, sizeof(addr)),
		 ntohs(o->local.port_be), o->peer.family ? "connected" : "unconnected",
		 (unsigned long long)o->cookie);
}

void claim_to_other(const struct claim *c, struct claim_other *o)
{
	memset(o, 0, sizeof(*o));
	o->local = c->key.local;
	o->peer = c->key.peer;
	o->v6only = c->key.v6only;
	o->cookie = c->cookie;
}

/* --- all sockets, or those of one port --- */

int claim_scan_begin(struct claim_scan *s, int nl, uint16_t port_be)
{
	struct diag_request m = {0};
	int err;

	*s = (struct claim_scan){
		.nl = nl, .seq = s->seq + 1, .port_be = port_be, .family = AF_INET};
	m.req.id.idiag_sport = port_be; /* udp_dump() filters by it; 0: all */
	err = send_request(nl, &m, s->family, NLM_F_DUMP, s->seq);
	s->running = !err;
	return err;
}

/* The dump of one family has ended: the next, if there is one. */
static int next_family(struct claim_scan *s)
{
	struct diag_request m = {0};
	int err;

	s->running = s->family == AF_INET;
	if (!s->running)
		return 0;
	s->family = AF_INET6;
	m.req.id.idiag_sport = s->port_be;
	err = send_request(s->nl, &m, s->family, NLM_F_DUMP, ++s->seq);
	if (err == -ENOENT) /* a kernel without IPv6 */
		err = s->running = 0;
	s->running = !err && s->running;
	return err ? err : s->running;
}

int claim_scan_step(struct claim_scan *s, void (*found)(void *arg, const struct claim_other *o),
		    void *arg)
{
	char buf[ANSWER_LEN] __attribute__((aligned(8)));
	const struct nlmsghdr *h = (const void *)buf;
	ssize_t n = recv(s->nl, buf, sizeof(buf), MSG_DONTWAIT);
	size_t left = (size_t)n;

	if (n < 0 && errno == EINTR)
		return 1;
	if (n < 0) {
		s->running = false;
		return -errno;
	}
	s->messages++;
	for (; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
		struct claim_other o;

		if (h->nlmsg_seq != s->seq)
			continue; /* the rest of an answer that was given up */
		if (h->nlmsg_type == NLMSG_DONE)
			return next_family(s);
		if (h->nlmsg_type == NLMSG_ERROR) {
			int err = ((const struct nlmsgerr *)NLMSG_DATA(h))->error;

			if (err == -ENOENT && s->family == AF_INET6) /* a kernel without IPv6 */
				err = 0;
			s->running = false;
			return err;
		}
		if (h->nlmsg_len < NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
			continue;
		read_other(NLMSG_DATA(h), h->nlmsg_len - NLMSG_HDRLEN, &o);
		found(arg, &o);
	}
	return 1;
}

/* --- just one --- */

int claim_winner(int nl, const struct port_key *key, int ifindex, struct claim_other *winner)
{
	char buf[4096] __attribute__((aligned(8)));
	const struct nlmsghdr *h = (const void *)buf;
	static uint32_t seq; /* the control thread's */
	struct diag_request m = {0};
	ssize_t n;
	int err;

	while (recv(nl, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
	/* udp_dump_one() takes source and destination as the datagram has them. */
	memcpy(m.req.id.idiag_src, key->peer.addr, 16);
	memcpy(m.req.id.idiag_dst, key->local.addr, 16);
	m.req.id.idiag_sport = key->peer.port_be;
	m.req.id.idiag_dport = key->local.port_be;
	m.req.id.idiag_if = (uint32_t)ifindex;
	m.req.id.idiag_cookie[0] = m.req.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
	err = send_request(nl, &m, key->local.family, 0, ++seq);
	if (err)
		return err;
	n = recv(nl, buf, sizeof(buf), MSG_DONTWAIT); /* the kernel has answered within send() */
	if (n < 0)
		return -errno;
	if (!NLMSG_OK(h, (size_t)n) || h->nlmsg_seq != seq)
		return -EPROTO;
	if (h->nlmsg_type == NLMSG_ERROR)
		return ((const struct nlmsgerr *)NLMSG_DATA(h))->error ?: -EPROTO;
	if (h->nlmsg_len < NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
		return -EPROTO;
	read_other(NLMSG_DATA(h), h->nlmsg_len - NLMSG_HDRLEN, winner);
	return 0;
}
