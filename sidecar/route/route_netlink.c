/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/route/route_netlink.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <udplane/clock.h>
#include <unistd.h>

#include "sidecar/base/log.h"
#include "sidecar/route/route_mirror.h"

/* bytes; enough for some 4000 notifications, as the kernel charges about a KiB per skb */
#define EVENTS_BUFFER (4 << 20)
#define CHUNK_SIZE    (64 << 10) /* bytes; the kernel fills at most 32 KiB per read */
#define MAX_READS     256	 /* per round; the rest waits for the next one */
#define MAX_TRIES     5		 /* per round, of a dump that is interrupted by changes */
#define MAX_ROUNDS    4		 /* per call, of dumps that cause further dumps */
#define DUMP_SHARE    20	 /* dumps of a kind take at most 1/20 of the time */
/* Time between two tables per route: DUMP_SHARE times the cost of building
 * (docs/measurements.md). */
#define TABLE_NS	2400
#define REGULAR_MS	1000 /* between reads of what the kernel does not report */
#define EXPIRY_SLACK_MS 20   /* the kernel rounds lifetimes to 10 ms */
#define REPLY_TIMEOUT_S 5
#define RETRY_MS	100 /* after an error */

#define REGULAR ((1u << MIRROR_LINK) | (1u << MIRROR_EXCEPTIONS4) | (1u << MIRROR_EXCEPTIONS6))

struct route_netlink {
	struct mnl_socket *events;   /* notifications, non-blocking */
	struct mnl_socket *requests; /* dumps and NTF_USE, blocking */
	int epoll_fd, timer_fd;
	uint32_t seq;
	uint64_t next_ns[MIRROR_KIND_CNT]; /* earliest time of the next dump */
	uint64_t regular_ns;		   /* of the next regular read */
	uint64_t table_ns;		   /* earliest time of the next complete table */
	uint64_t armed_ns;		   /* when the timer expires */
	bool pending;			   /* a complete table is due at table_ns */
	bool held;			   /* until then everything is reported as slow */
	uint32_t stale;			   /* as last reported */
	uint8_t (*locals)[16];		   /* as last reported */
	uint32_t local_cnt;
	struct route_mirror mirror;
	uint8_t chunk[CHUNK_SIZE] __attribute__((aligned(8)));
};

/* --- requests --- */

static struct nlmsghdr *request_begin(struct route_netlink *nl, uint8_t *buf, uint16_t type,
				      uint16_t flags)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	nlh->nlmsg_seq = ++nl->seq;
	return nlh;
}

static void request_routes(struct nlmsghdr *nlh, uint8_t family, bool exceptions)
{
	struct rtmsg *rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));

	rtm->rtm_family = family;
	rtm->rtm_flags = exceptions ? RTM_F_CLONED : 0;
}

static void request_neighs(struct nlmsghdr *nlh, uint8_t family, int ifindex)
{
	struct ndmsg *ndm = mnl_nlmsg_put_extra_header(nlh, sizeof(*ndm));

	ndm->ndm_family = family;
	mnl_attr_put_u32(nlh, NDA_IFINDEX, (uint32_t)ifindex);
}

static struct nlmsghdr *request_build(struct route_netlink *nl, uint8_t *buf, enum mirror_kind kind)
{
	struct nlmsghdr *nlh;

	switch (kind) {
	case MIRROR_LINK:
		nlh = request_begin(nl, buf, RTM_GETLINK, 0);
		((struct ifinfomsg *)mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg)))
			->ifi_index = nl->mirror.ifindex;
		return nlh;
	case MIRROR_ADDRS4:
	case MIRROR_ADDRS6:
		nlh = request_begin(nl, buf, RTM_GETADDR, NLM_F_DUMP);
		((struct ifaddrmsg *)mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifaddrmsg)))
			->ifa_family = kind == MIRROR_ADDRS4 ? AF_INET : AF_INET6;
		return nlh;
	case MIRROR_RULES4:
	case MIRROR_RULES6:
		nlh = request_begin(nl, buf, RTM_GETRULE, NLM_F_DUMP);
		((struct fib_rule_hdr *)mnl_nlmsg_put_extra_header(nlh,
								   sizeof(struct fib_rule_hdr)))
			->family = kind == MIRROR_RULES4 ? AF_INET : AF_INET6;
		return nlh;
	case MIRROR_ROUTES4:
	case MIRROR_ROUTES6:
		nlh = request_begin(nl, buf, RTM_GETROUTE, NLM_F_DUMP);
		request_routes(nlh, kind == MIRROR_ROUTES4 ? AF_INET : AF_INET6, false);
		return nlh;
	case MIRROR_EXCEPTIONS4:
	case MIRROR_EXCEPTIONS6:
		nlh = request_begin(nl, buf, RTM_GETROUTE, NLM_F_DUMP);
		request_routes(nlh, kind == MIRROR_EXCEPTIONS4 ? AF_INET : AF_INET6, true);
		return nlh;
	case MIRROR_NEIGHS4:
	case MIRROR_NEIGHS6:
		nlh = request_begin(nl, buf, RTM_GETNEIGH, NLM_F_DUMP);
		request_neighs(nlh, kind == MIRROR_NEIGHS4 ? AF_INET : AF_INET6,
			       nl->mirror.ifindex);
		return nlh;
	case MIRROR_KIND_CNT: break;
	}
	abort();
}

static int error_of(const struct nlmsghdr *nlh)
{
	const struct nlmsgerr *e = mnl_nlmsg_get_payload(nlh);

	return mnl_nlmsg_get_payload_len(nlh) >= sizeof(e->error) ? e->error : -EBADMSG;
}

/* Reads once into nl->chunk. Returns the number of bytes, 0 if another process sent them (one with
 * CAP_NET_ADMIN can), or -errno. */
static ssize_t receive(struct route_netlink *nl, struct mnl_socket *s)
{
	struct sockaddr_nl from = {0};
	socklen_t from_len = sizeof(from);
	/* MSG_TRUNC makes recvfrom return the whole length even if it did not fit. */
	ssize_t len = recvfrom(mnl_socket_get_fd(s), nl->chunk, sizeof(nl->chunk), MSG_TRUNC,
			       (struct sockaddr *)&from, &from_len);

	if (len < 0)
		return -errno;
	if (from.nl_pid)
		return 0;
	return len <= (ssize_t)sizeof(nl->chunk) ? len : -ENOBUFS;
}

struct reply {
	/* number of reads that had contents; a change between two reads may have hidden an entry */
	uint32_t chunks;
	bool interrupted;
	bool done;
	int err;
};

/* Processes the messages of one read. Those of earlier requests (late answers to NTF_USE) have a
 * different sequence number. */
static void take_chunk(struct route_netlink *nl, enum mirror_kind kind, uint32_t len,
		       struct reply *r)
{
	const struct nlmsghdr *nlh;
	const void *at = nl->chunk;
	bool contents = false;

	while ((nlh = route_next_message(&at, &len))) {
		if (nlh->nlmsg_seq != nl->seq)
			continue;
		r->interrupted |= !!(nlh->nlmsg_flags & NLM_F_DUMP_INTR);
		if (nlh->nlmsg_type == NLMSG_ERROR || nlh->nlmsg_type == NLMSG_DONE) {
			r->done = true;
			/* Since 4.14 NLMSG_DONE carries an error as well. */
			r->err = nlh->nlmsg_type == NLMSG_ERROR ||
						 mnl_nlmsg_get_payload_len(nlh) >= sizeof(int)
					 ? error_of(nlh)
					 : 0;
			break;
		}
		route_mirror_dump_add(&nl->mirror, kind, nlh);
		contents = true;
		if (!(nlh->nlmsg_flags & NLM_F_MULTI)) {
			r->done = true;
			break;
		}
	}
	r->chunks += contents;
}

static int dump_once(struct route_netlink *nl, enum mirror_kind kind, struct reply *r)
{
	uint8_t buf[256] __attribute__((aligned(8)));
	struct nlmsghdr *nlh = request_build(nl, buf, kind);

	memset(r, 0, sizeof(*r));
	route_mirror_dump_begin(&nl->mirror);
	if (mnl_socket_sendto(nl->requests, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	while (!r->done) {
		ssize_t len = receive(nl, nl->requests);

		if (len == -EINTR)
			continue;
		if (len < 0)
			return (int)len;
		take_chunk(nl, kind, (uint32_t)len, r);
	}
	return r->err;
}

/* Reads a kind again. Returns 0 or -errno. Changes may interrupt it too often; the kind then stays
 * dirty although 0 is returned. */
static int dump(struct route_netlink *nl, enum mirror_kind kind, uint32_t *chunked)
{
	uint64_t start = clock_now_ns(), end;
	struct reply r;
	int err = 0, tries;

	for (tries = 0; tries < MAX_TRIES; tries++) {
		err = dump_once(nl, kind, &r);
		if (err || !r.interrupted)
			break;
	}
	end = clock_now_ns();
	nl->next_ns[kind] = end + (end - start) * (DUMP_SHARE - 1);
	if (kind == MIRROR_LINK && err == -ENODEV) {
		route_mirror_gone(&nl->mirror);
		return 0;
	}
	if (err == -EOPNOTSUPP || err == -EAFNOSUPPORT)
		err = 0; /* a kernel without IPv6 or policy rules has no entries of this kind */
	if (err)
		nl->next_ns[kind] = end + RETRY_MS * 1000000ull;
	if (err || r.interrupted) {
		nl->mirror.dirty |= 1u << kind;
		return err;
	}
	route_mirror_dump_commit(&nl->mirror, kind);
	if (r.chunks > 1)
		*chunked |= 1u << kind;
	return 0;
}

/* --- notifications --- */

/* Reads all pending notifications. Kinds in chunked were just dumped in several reads. A change
 * that is reported about them now may have happened between two of these reads and made the dump
 * skip an unrelated entry, so they are dumped again. */
static int drain(struct route_netlink *nl, uint32_t chunked)
{
	int reads;

	for (reads = 0; reads < MAX_READS; reads++) {
		const struct nlmsghdr *nlh;
		const void *at = nl->chunk;
		ssize_t received = receive(nl, nl->events);
		uint32_t len = (uint32_t)received;

		if (received == -EAGAIN)
			return 0;
		if (received == -EINTR)
			continue;
		if (received == -ENOBUFS) {
			nl->mirror.dirty = MIRROR_ALL;
			nl->mirror.changes |= ROUTE_CHANGE_RESYNC | ROUTE_CHANGE_TABLE;
			continue;
		}
		if (received < 0)
			return (int)received;
		while ((nlh = route_next_message(&at, &len)))
			nl->mirror.dirty |= route_mirror_event(&nl->mirror, nlh) & chunked;
	}
	return 0;
}

static int refresh(struct route_netlink *nl, bool at_once)
{
	int err = 0, round;

	for (round = 0; round < MAX_ROUNDS; round++) {
		uint32_t kind, chunked = 0, done = 0;

		for (kind = 0; kind < MIRROR_KIND_CNT; kind++) {
			/* Check dirty again for each kind, because the link's dump makes others
			 * dirty. */
			if (!(nl->mirror.dirty & (1u << kind)) ||
			    (!at_once && clock_now_ns() < nl->next_ns[kind]))
				continue;
			err = dump(nl, (enum mirror_kind)kind, &chunked);
			if (err)
				return err;
			done++;
		}
		if (!done)
			return 0;
		err = drain(nl, chunked);
		if (err || !nl->mirror.dirty)
			return err;
	}
	return 0;
}

/* Sets the timer to the next event that is due by time: a delayed dump or table, the expiry of a
 * route, the regular read. */
static void arm_timer(struct route_netlink *nl)
{
	struct itimerspec when = {0};
	uint64_t next = nl->regular_ns, expiry = nl->mirror.expiry_ms;
	uint32_t kind;

	for (kind = 0; kind < MIRROR_KIND_CNT; kind++)
		if ((nl->mirror.dirty & (1u << kind)) && nl->next_ns[kind] < next)
			next = nl->next_ns[kind];
	if (nl->pending && nl->table_ns < next)
		next = nl->table_ns;
	if (expiry < next / 1000000)
		next = expiry * 1000000;
	if (!next)
		next = 1; /* 0 would disarm */
	/* Setting the timer costs a microsecond or more on virtual machines, so a timer that
	 * expires too early is left as it is. After it has expired, setting it also makes it
	 * unreadable again. */
	if (nl->armed_ns <= next && nl->armed_ns > clock_now_ns())
		return;
	nl->armed_ns = next;
	when.it_value.tv_sec = (time_t)(next / 1000000000);
	when.it_value.tv_nsec = (long)(next % 1000000000);
	timerfd_settime(nl->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

/* Marks as dirty what is due to be read again. */
static void look_at_clock(struct route_netlink *nl)
{
	uint64_t now = clock_now_ns();

	nl->mirror.now_ms = now / 1000000 + EXPIRY_SLACK_MS;
	if (now / 1000000 >= nl->mirror.expiry_ms) {
		nl->mirror.expiry_ms = UINT64_MAX;
		nl->mirror.dirty |= 1u << MIRROR_ROUTES6;
	}
	if (now >= nl->regular_ns) {
		nl->mirror.dirty |= nl->mirror.gone ? 0 : REGULAR;
		nl->mirror.sysctl_told = true; /* not every change of them is reported */
		nl->regular_ns = now + REGULAR_MS * 1000000ull;
	}
}

static void look_at_sysctls(struct route_netlink *nl)
{
	if (nl->mirror.sysctl_told &&
	    route_sysctl_read(&nl->mirror.sysctl, "/proc/sys/net", nl->mirror.link.name))
		nl->mirror.changes |= ROUTE_CHANGE_TABLE;
	nl->mirror.sysctl_told = false;
}

static void compare_locals(struct route_netlink *nl)
{
	uint32_t cnt = route_mirror_locals(&nl->mirror, NULL, 0), got;
	uint8_t(*locals)[16] = calloc(cnt + 1, 16);

	if (!locals) {
		nl->mirror.changes |= ROUTE_CHANGE_ADDRS;
		return;
	}
	got = route_mirror_locals(&nl->mirror, locals, cnt);
	if (got != nl->local_cnt || (got && memcmp(locals, nl->locals, got * 16)))
		nl->mirror.changes |= ROUTE_CHANGE_ADDRS;
	free(nl->locals);
	nl->locals = locals;
	nl->local_cnt = got;
}

/* With many routes a table is expensive, and thousands of changes may come at once. If a change
 * comes too early for a complete table, a table in which everything is slow is built, which costs
 * little; the complete one follows when it is due. New neighbours wait for that. */
static void pace_tables(struct route_netlink *nl)
{
	uint64_t now = clock_now_ns();
	bool wrong = nl->mirror.changes & ROUTE_CHANGE_TABLE;

	nl->mirror.changes &= ~(uint32_t)ROUTE_CHANGE_TABLE;
	nl->pending |= wrong || nl->mirror.better;
	nl->mirror.better = false;
	if (nl->pending && now >= nl->table_ns) {
		nl->pending = nl->held = false;
		nl->table_ns = now + (uint64_t)nl->mirror.routes.cnt * TABLE_NS;
		nl->mirror.changes |= ROUTE_CHANGE_TABLE;
	} else if (wrong && !nl->held) {
		nl->held = true;
		nl->mirror.changes |= ROUTE_CHANGE_TABLE;
	}
}

int route_netlink_process(struct route_netlink *nl)
{
	uint32_t stale, changes;
	int err;

	look_at_clock(nl);
	err = drain(nl, 0);
	if (!err)
		err = refresh(nl, false);
	look_at_sysctls(nl);
	stale = route_mirror_stale(&nl->mirror);
	if (stale != nl->stale)
		nl->mirror.changes |= ROUTE_CHANGE_TABLE;
	nl->stale = stale;
	if (nl->mirror.changes & ROUTE_CHANGE_TABLE)
		compare_locals(nl);
	pace_tables(nl);
	arm_timer(nl);
	if (nl->mirror.failed) {
		nl->mirror.failed = false;
		err = -ENOMEM;
	}
	if (err)
		return err; /* the changes are kept for the next call */
	changes = nl->mirror.changes;
	nl->mirror.changes = 0;
	return (int)changes;
}

/* --- open, close --- */

static int subscribe(struct mnl_socket *s)
{
	static const int groups[] = {
		RTNLGRP_LINK,	     RTNLGRP_NEIGH,	   RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE,
		RTNLGRP_IPV4_RULE,   RTNLGRP_IPV6_IFADDR,  RTNLGRP_IPV6_ROUTE,	RTNLGRP_IPV6_RULE,
		RTNLGRP_IPV6_IFINFO, RTNLGRP_IPV4_NETCONF,
	};
	int size = EVENTS_BUFFER, nexthop = RTNLGRP_NEXTHOP;
	uint32_t i;

	if (setsockopt(mnl_socket_get_fd(s), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		setsockopt(mnl_socket_get_fd(s), SOL_SOCKET, SO_RCVBUF, &size,
			   sizeof(size)); /* a smaller buffer means more resyncs */
	if (mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	for (i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		int group = groups[i];

		/* A kernel without IPv6 or policy rules still accepts the group numbers, but sends
		 * no such events. */
		if (mnl_socket_setsockopt(s, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
			return -errno;
	}
	mnl_socket_setsockopt(s, NETLINK_ADD_MEMBERSHIP, &nexthop, sizeof(nexthop)); /* since 5.3 */
	return 0;
}

static int open_requests(struct mnl_socket *s)
{
	const struct timeval timeout = {.tv_sec = REPLY_TIMEOUT_S};
	int on = 1;

	/* Since 4.20 the kernel applies filters to dumps (exceptions separate from routes, one
	 * device's neighbours); otherwise everything is filtered here. */
	mnl_socket_setsockopt(s, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	if (setsockopt(mnl_socket_get_fd(s), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)))
		return -errno;
	return mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) < 0 ? -errno : 0;
}

static int watch(int epoll_fd, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

static int open_descriptors(struct route_netlink *nl)
{
	int err;

	nl->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	nl->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	nl->events = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	nl->requests = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (nl->epoll_fd < 0 || nl->timer_fd < 0 || !nl->events || !nl->requests)
		return -errno;
	err = subscribe(nl->events);
	if (!err)
		err = open_requests(nl->requests);
	if (!err)
		err = watch(nl->epoll_fd, mnl_socket_get_fd(nl->events));
	if (!err)
		err = watch(nl->epoll_fd, nl->timer_fd);
	return err;
}

int route_netlink_open(struct route_netlink **out, int ifindex, struct error *error)
{
	struct route_netlink *nl = calloc(1, sizeof(*nl));
	int err;

	if (!nl)
		return error_set(error, -ENOMEM, "rtnetlink: out of memory");
	nl->epoll_fd = nl->timer_fd = -1;
	route_mirror_init(&nl->mirror, ifindex);
	err = open_descriptors(nl);
	if (err) {
		error_set(error, err, "rtnetlink: cannot open its sockets: %s", strerror(-err));
		goto close;
	}
	look_at_clock(nl);
	err = refresh(nl, true);
	if (err) {
		error_set(error, err,
			  "rtnetlink: cannot read links, addresses, routes and neighbours: %s",
			  strerror(-err));
		goto close;
	}
	if (nl->mirror.gone) {
		err = error_set(error, -ENODEV, "rtnetlink: no interface has index %d", ifindex);
		goto close;
	}
	look_at_sysctls(nl);
	nl->stale = route_mirror_stale(&nl->mirror);
	compare_locals(nl);
	nl->mirror.changes = 0;
	arm_timer(nl);
	*out = nl;
	return 0;
close:
	route_netlink_close(nl);
	return err;
}

void route_netlink_close(struct route_netlink *nl)
{
	if (!nl)
		return;
	if (nl->events)
		mnl_socket_close(nl->events);
	if (nl->requests)
		mnl_socket_close(nl->requests);
	if (nl->timer_fd >= 0)
		close(nl->timer_fd);
	if (nl->epoll_fd >= 0)
		close(nl->epoll_fd);
	route_mirror_free(&nl->mirror);
	free(nl->locals);
	free(nl);
}

int route_netlink_fd(const struct route_netlink *nl)
{
	return nl->epoll_fd;
}

void route_netlink_input(const struct route_netlink *nl, struct route_input *in)
{
	route_mirror_input(&nl->mirror, in);
	if (nl->held)
		in->policy_rules[0] = in->policy_rules[1] = true;
}

bool route_netlink_use(struct route_netlink *nl, const struct route_neigh *n)
{
	uint8_t buf[256] __attribute__((aligned(8)));
	struct nlmsghdr *nlh;
	struct ndmsg *ndm;

	/* Only for entries that age: since Linux 6.18 NTF_USE makes a permanent entry lose its
	 * permanence. */
	if (n->state & (NUD_PERMANENT | NUD_NOARP))
		return false;
	/* Discard the answers to earlier requests: they are errors only (the neighbour is gone),
	 * and a notification has already reported that. */
	while (recv(mnl_socket_get_fd(nl->requests), nl->chunk, sizeof(nl->chunk), MSG_DONTWAIT) >
	       0)
		;
	/* No NLM_F_CREATE: if the kernel has dropped the neighbour, it resolves it again when a
	 * datagram takes the slow path. */
	nlh = request_begin(nl, buf, RTM_NEWNEIGH, 0);
	ndm = mnl_nlmsg_put_extra_header(nlh, sizeof(*ndm));
	ndm->ndm_family = n->family;
	ndm->ndm_ifindex = n->ifindex;
	ndm->ndm_flags = NTF_USE;
	mnl_attr_put(nlh, NDA_DST, n->family == AF_INET6 ? 16 : 4, n->addr);
	if (mnl_socket_sendto(nl->requests, nlh, nlh->nlmsg_len) < 0)
		log_debug("neighbour not refreshed: %s", strerror(errno));
	return true;
}

uint32_t route_netlink_sources(const struct route_netlink *nl, uint8_t (*out)[16], uint32_t max)
{
	return route_mirror_sources(&nl->mirror, out, max);
}

uint32_t route_netlink_locals(const struct route_netlink *nl, uint8_t (*out)[16], uint32_t max)
{
	return route_mirror_locals(&nl->mirror, out, max);
}
