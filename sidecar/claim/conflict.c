/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linux allows several sockets to share a port (SO_REUSEADDR, SO_REUSEPORT). If one of them does
 * not use udplane, datagrams that Linux's lookup assigns to it must reach it. Our sockets that
 * share the port with it then take the kernel path as well, until it is gone.
 */
#include "sidecar/claim/claim.h"
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define DIAG_ESTABLISHED 1     /* TCP_ESTABLISHED, the state of a connected UDP socket */
#define ANSWER_LEN	 32768 /* bytes; netlink fills no more per read of a dump */

int claim_diag_open(struct claim_diag *d)
{
	d->nl = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC | SOCK_NONBLOCK);
	return d->nl ? 0 : -errno;
}

void claim_diag_close(struct claim_diag *d)
{
	if (d->nl)
		mnl_socket_close(d->nl);
	d->nl = NULL;
}

static int ask(struct claim_diag *d, uint8_t family, uint16_t flags,
	       const struct inet_diag_sockid *id)
{
	char buf[256] __attribute__((aligned(8)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct inet_diag_req_v2 *req = mnl_nlmsg_put_extra_header(nlh, sizeof(*req));

	if (!d->nl)
		return -EBADF;
	nlh->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	nlh->nlmsg_seq = ++d->seq;
	req->sdiag_family = family;
	req->sdiag_protocol = IPPROTO_UDP;
	req->idiag_states = ~0u;
	req->id = *id;
	return mnl_socket_sendto(d->nl, nlh, nlh->nlmsg_len) < 0 ? -errno : 0;
}

/* Returns false if the message is too short. */
static bool read_other(const struct nlmsghdr *nlh, struct claim_other *o)
{
	const struct inet_diag_msg *d = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *a;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*d))
		return false;
	memset(o, 0, sizeof(*o));
	o->cookie = d->id.idiag_cookie[0] | (uint64_t)d->id.idiag_cookie[1] << 32;
	o->ifindex = (int)d->id.idiag_if;
	udplane_addr_set(&o->local, d->idiag_family, d->id.idiag_src);
	o->local.port_be = d->id.idiag_sport;
	if (d->idiag_state == DIAG_ESTABLISHED) {
		udplane_addr_set(&o->peer, d->idiag_family, d->id.idiag_dst);
		o->peer.port_be = d->id.idiag_dport;
	}
	mnl_attr_for_each(a, nlh, sizeof(*d))
		if (mnl_attr_get_type(a) == INET_DIAG_SKV6ONLY &&
		    mnl_attr_validate(a, MNL_TYPE_U8) >= 0)
			o->v6only = mnl_attr_get_u8(a);
	return true;
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
	/* Among wildcards an AF_INET socket takes precedence over a dual-stack one. */
	if (o_wild)
		return c_wild && !(cl->family == AF_INET && ol->family == AF_INET6);
	if (c_wild)
		return true; /* a specific address takes precedence over a wildcard */
	if (!udplane_addr_same_ip(ol, cl))
		return false;
	/* With the same address, ours takes precedence only if it is connected, and o is not
	 * connected to the same peer. */
	if (!port_key_connected(&c->key))
		return true;
	return udplane_addr_equal(&o->peer, &c->key.peer);
}

bool claim_overlaps_group(const struct claim_other *o, const struct udplane_addr *group,
			  int ifindex)
{
	const struct udplane_addr *ol = &o->local;

	if (ol->port_be != group->port_be || (o->ifindex && o->ifindex != ifindex))
		return false;
	if (udplane_addr_is_any(ol))
		return group->family == ol->family || (group->family == AF_INET && !o->v6only);
	return udplane_addr_same_ip(ol, group);
}

void claim_other_text(const struct claim_other *o, char *out, size_t size)
{
	char addr[INET6_ADDRSTRLEN];

	snprintf(out, size,
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

static int ask_for_list(struct claim_scan *s)
{
	/* udp_dump() filters by the port; 0 means all ports */
	const struct inet_diag_sockid id = {.idiag_sport = s->port_be};

	return ask(s->diag, s->family, NLM_F_DUMP, &id);
}

int claim_scan_begin(struct claim_scan *s, struct claim_diag *diag, uint16_t port_be)
{
	int err;

	*s = (struct claim_scan){.diag = diag, .port_be = port_be, .family = AF_INET};
	err = ask_for_list(s);
	s->running = !err;
	return err;
}

/* Called when the dump of one family has ended: starts that of the next. Returns 1, 0 if there is
 * none, or -errno. */
static int next_family(struct claim_scan *s)
{
	int err;

	s->running = s->family == AF_INET;
	if (!s->running)
		return 0;
	s->family = AF_INET6;
	err = ask_for_list(s);
	if (err == -ENOENT) /* a kernel without IPv6 */
		err = s->running = 0;
	s->running = !err && s->running;
	return err ? err : s->running;
}

struct listing {
	void (*found)(void *arg, const struct claim_other *o);
	void *arg;
};

static int list_one(const struct nlmsghdr *nlh, void *arg)
{
	const struct listing *l = arg;
	struct claim_other o;

	if (read_other(nlh, &o))
		l->found(l->arg, &o);
	return MNL_CB_OK;
}

int claim_scan_step(struct claim_scan *s, void (*found)(void *arg, const struct claim_other *o),
		    void *arg)
{
	char buf[ANSWER_LEN] __attribute__((aligned(8)));
	struct listing l = {found, arg};
	const struct nlmsghdr *nlh = (const void *)buf;
	ssize_t n = mnl_socket_recvfrom(s->diag->nl, buf, sizeof(buf));
	int ret;

	if (n < 0 && errno == EINTR)
		return 1;
	if (n < 0) {
		s->running = false;
		return -errno;
	}
	s->messages++;
	if (!mnl_nlmsg_ok(nlh, (int)n) || nlh->nlmsg_seq != s->diag->seq)
		return 1; /* the rest of an answer to an abandoned scan */
	ret = mnl_cb_run(buf, (size_t)n, s->diag->seq, 0, list_one, &l);
	if (ret == MNL_CB_OK)
		return 1;
	if (ret == MNL_CB_STOP)
		return next_family(s);
	s->running = false;
	return errno == ENOENT && s->family == AF_INET6 ? 0 : -errno; /* a kernel without IPv6 */
}

/* --- one socket --- */

static int take_winner(const struct nlmsghdr *nlh, void *winner)
{
	return read_other(nlh, winner) ? MNL_CB_STOP : MNL_CB_OK;
}

int claim_winner(struct claim_diag *diag, const struct port_key *key, int ifindex,
		 struct claim_other *winner)
{
	char buf[4096] __attribute__((aligned(8)));
	/* udp_dump_one() expects source and destination as in the datagram. */
	struct inet_diag_sockid id = {
		.idiag_sport = key->peer.port_be,
		.idiag_dport = key->local.port_be,
		.idiag_if = (uint32_t)ifindex,
		.idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE},
	};
	ssize_t n;
	int err, ret;

	memcpy(id.idiag_src, key->peer.addr, 16);
	memcpy(id.idiag_dst, key->local.addr, 16);
	while (diag->nl && mnl_socket_recvfrom(diag->nl, buf, sizeof(buf)) > 0)
		;
	err = ask(diag, key->local.family, 0, &id);
	if (err)
		return err;
	/* the kernel has already answered during the send */
	n = mnl_socket_recvfrom(diag->nl, buf, sizeof(buf));
	if (n < 0)
		return -errno;
	ret = mnl_cb_run(buf, (size_t)n, diag->seq, 0, take_winner, winner);
	return ret == MNL_CB_STOP ? 0 : ret == MNL_CB_OK ? -EPROTO : -errno;
}
