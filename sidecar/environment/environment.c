/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/environment/environment.h"

#include "sidecar/base/log.h"
#include "sidecar/environment/attrs.h"
#include "sidecar/environment/cgroup.h"
#include "sidecar/environment/reader.h"
#include "sidecar/environment/rules_net.h"
#include "sidecar/environment/rules_xt.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netfilter/x_tables.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/xfrm.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <udplane/clock.h>
#include <unistd.h>

#define CHUNK	  65536
#define TIMEOUT_S 2
#define TRIES	  5  /* of a dump that a change interrupts */
#define PARENTS	  64 /* of tc filters */
/* Bytes of a legacy table that is compared every second. Larger ones are compared when their size
 * changes, and every minute. */
#define POLL_SIZE  262144
#define SLOW_POLLS 60
#define STEP_NS	   2000000ull /* time per turn of the loop for reading nftables */
/* at most one part in IPVS_SHARE of the time is spent on reading the services of IPVS */
#define IPVS_SHARE 50
#define PAUSE	   4 /* pause after a reading: its duration times this, at most 1 s */

struct channel {
	struct mnl_socket *events, *requests;
};

enum { NETFILTER, IPSEC, ROUTE, CHANNELS, READER = CHANNELS, PAUSED, WATCHES };

struct environment {
	struct judge_world w;
	uint32_t trusted;
	int epoll_fd;
	struct channel ch[CHANNELS];
	uint32_t seq;
	uint64_t xt_print; /* hash of all legacy tables as last read */
	uint32_t tcx;	   /* numbers of programs: ingress | egress << 16 */
	bool nat_chains;
	uint32_t polls;
	uint64_t ipvs_ns;      /* do not read IPVS again before this time */
	struct reader *reader; /* NULL if the kernel has no nftables */
	bool wanted;	       /* nftables or iptables have changed since the last reading began */
	uint32_t torn;	       /* readings in a row that a change has interrupted */
	uint64_t began_ns;
	int pause_fd; /* a timer; armed: `paused` */
	bool paused;
	char buf[CHUNK] __attribute__((aligned(8)));
};

/* ---- dumps ---- */

/* Reads one answer to its end. Returns 0, the kernel's -errno, or -EINTR if a change has
 * interrupted the dump and the caller must ask again. */
static int take_answer(struct environment *e, struct mnl_socket *s, uint32_t seq, bool dump,
		       void (*take)(struct environment *, const struct nlmsghdr *, void *),
		       void *arg)
{
	bool torn = false;

	for (;;) {
		ssize_t got = recv(mnl_socket_get_fd(s), e->buf, sizeof(e->buf), MSG_TRUNC);
		uint32_t len = (uint32_t)got;
		const struct nlmsghdr *nlh;
		const void *at = e->buf;

		if (got < 0)
			return errno == EINTR ? -EINTR : -errno;
		if (got > (ssize_t)sizeof(e->buf))
			return -EMSGSIZE;
		while ((nlh = attrs_next_message(&at, &len))) {
			if (nlh->nlmsg_seq != seq)
				continue;
			torn |= (nlh->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
			if (nlh->nlmsg_type == NLMSG_ERROR)
				return nlh->nlmsg_len >= MNL_ALIGN(sizeof(*nlh)) + 4
					       ? *(const int *)mnl_nlmsg_get_payload(nlh)
					       : -EPROTO;
			if (nlh->nlmsg_type == NLMSG_DONE)
				return torn ? -EINTR : 0;
			if (nlh->nlmsg_type >= NLMSG_MIN_TYPE)
				take(e, nlh, arg);
			if (!dump)
				return 0;
		}
	}
}

static int ask(struct environment *e, struct mnl_socket *s, uint16_t type, bool dump,
	       const void *head, uint32_t head_len,
	       void (*take)(struct environment *, const struct nlmsghdr *, void *), void *arg)
{
	uint8_t request[128] __attribute__((aligned(8)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(request);

	if (!s)
		return -EPROTONOSUPPORT;
	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | (dump ? NLM_F_DUMP : 0);
	nlh->nlmsg_seq = ++e->seq;
	memcpy(mnl_nlmsg_put_extra_header(nlh, head_len), head, head_len);
	if (mnl_socket_sendto(s, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	return take_answer(e, s, e->seq, dump, take, arg);
}

/* ---- netfilter ---- */

static bool is_absent(int err)
{
	return err == -EINVAL || err == -EOPNOTSUPP || err == -EPROTONOSUPPORT || err == -ENOENT ||
	       err == -EAFNOSUPPORT;
}

/* Reads one legacy table. Call it only for tables that the namespace has, since asking for another
 * would create it. r NULL: only *print is updated. */
static int read_xt_table(int fd, uint8_t family, const char *name, struct rules *r, uint64_t *print)
{
	int level = family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
	struct ipt_getinfo info; /* ip6t_getinfo has the same layout */
	struct ipt_get_entries *get;
	struct rules_xt_table t = {.name = name};
	socklen_t len = sizeof(info);
	int err = 0;

	memset(&info, 0, sizeof(info));
	snprintf(info.name, sizeof(info.name), "%s", name);
	if (getsockopt(fd, level, IPT_SO_GET_INFO, &info, &len))
		return -errno;
	*print = *print * 31 + info.size + info.num_entries * 7u;
	if (!r && info.size > POLL_SIZE)
		return 0;
	len = (socklen_t)(sizeof(*get) + info.size);
	get = calloc(1, len);
	if (!get)
		return -ENOMEM;
	memcpy(get->name, info.name, sizeof(get->name));
	get->size = info.size;
	t.valid_hooks = info.valid_hooks;
	memcpy(t.hook_entry, info.hook_entry, sizeof(t.hook_entry));
	memcpy(t.underflow, info.underflow, sizeof(t.underflow));
	t.entries = get->entrytable;
	t.size = info.size;
	if (getsockopt(fd, level, IPT_SO_GET_ENTRIES, get, &len))
		err = errno == EAGAIN ? -EINTR : -errno;
	else if (r && !rules_xt_add(r, family, &t))
		err = -EPROTO;
	if (!err && info.size <= POLL_SIZE)
		*print ^= rules_xt_hash(family, &t);
	free(get);
	return err;
}

static int read_xt_family(uint8_t family, struct rules *r, uint64_t *print)
{
	FILE *f = fopen(family == AF_INET ? "/proc/self/net/ip_tables_names"
					  : "/proc/self/net/ip6_tables_names",
			"re");
	char name[XT_TABLE_MAXNAMELEN];
	int fd = -1, err = 0;

	if (!f)
		return 0; /* no such module */
	while (!err && fscanf(f, "%31s", name) == 1) {
		if (fd < 0)
			fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		err = fd < 0 ? -errno : read_xt_table(fd, family, name, r, print);
	}
	if (fd >= 0)
		close(fd);
	fclose(f);
	return err;
}

/* r NULL: only what shows a change. */
static int read_xt(struct rules *r, uint64_t *print)
{
	int err;

	*print = 1;
	err = read_xt_family(AF_INET, r, print);
	return err ? err : read_xt_family(AF_INET6, r, print);
}

/* Returns true if there are other services or servers than before. Nothing notifies of them. */
static bool read_ipvs(struct environment *e)
{
	uint64_t begin = clock_now_ns();
	char blind[UDPLANE_TEXT_LEN] = "";
	bool changed = false;
	FILE *f;
	int err;

	if (begin < e->ipvs_ns || e->trusted & 1u << JUDGE_NETFILTER)
		return false;
	f = fopen("/proc/self/net/ip_vs", "re");
	err = !f && errno != ENOENT ? -errno : 0; /* ENOENT: no such module */
	if (!err)
		err = ipvs_read(&e->w.ipvs, f, begin, &changed);
	if (f)
		fclose(f);
	if (err)
		snprintf(blind, sizeof(blind), "/proc/net/ip_vs cannot be read: %s",
			 strerror(-err));
	changed |= strcmp(blind, e->w.ipvs_blind) != 0;
	memcpy(e->w.ipvs_blind, blind, sizeof(blind));
	e->ipvs_ns = begin + IPVS_SHARE * (clock_now_ns() - begin);
	return changed;
}

static void take_flow(struct environment *e, const struct nlmsghdr *nlh, void *arg)
{
	struct attrs a, tuple, proto;
	uint8_t num = 0;

	(void)arg;
	if (!attrs_of_message(&a, nlh, sizeof(struct nfgenmsg)))
		return;
	attrs_nested(&tuple, a.at[CTA_TUPLE_ORIG]);
	attrs_nested(&proto, tuple.at[CTA_TUPLE_PROTO]);
	if (proto.at[CTA_PROTO_NUM] && mnl_attr_get_payload_len(proto.at[CTA_PROTO_NUM]) >= 1)
		num = *(const uint8_t *)mnl_attr_get_payload(proto.at[CTA_PROTO_NUM]);
	if (num == IPPROTO_UDP && attrs_be32(&a, CTA_STATUS, 0) & (IPS_SRC_NAT | IPS_DST_NAT))
		e->w.nat_flows = true;
}

/* A flow is still translated after its rule was removed, as long as there is any nat chain. If one
 * of several rules is removed, its flows must be ended, as kube-proxy does; that is not checked
 * here. */
static void look_for_flows(struct environment *e)
{
	const struct nfgenmsg g = {.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0};

	e->w.nat_flows = false;
	if (e->nat_chains && !e->w.translates)
		ask(e, e->ch[NETFILTER].requests, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET,
		    true, &g, sizeof(g), take_flow, NULL);
}

/* ---- IPsec ---- */

static void take_policy(struct environment *e, const struct nlmsghdr *nlh, void *arg)
{
	(void)e;
	rules_xfrm_policy(arg, nlh);
}

static void take_default(struct environment *e, const struct nlmsghdr *nlh, void *arg)
{
	(void)e;
	rules_xfrm_default(arg, nlh);
}

static int read_xfrm(struct environment *e, struct rules *r)
{
	struct xfrm_userpolicy_id id = {0};
	uint8_t defaults[3] = {0};
	int err;

	if (!e->ch[IPSEC].requests)
		return 0;
	err = ask(e, e->ch[IPSEC].requests, XFRM_MSG_GETPOLICY, true, &id, sizeof(id), take_policy,
		  r);
	if (!err)
		err = ask(e, e->ch[IPSEC].requests, XFRM_MSG_GETDEFAULT, false, defaults,
			  sizeof(defaults), take_default, r);
	return is_absent(err) ? 0 : err;
}

/* ---- traffic control ---- */

struct parents {
	struct rules *r;
	uint32_t at[PARENTS], cnt, now;
};

static void take_qdisc(struct environment *e, const struct nlmsghdr *nlh, void *arg)
{
	struct parents *p = arg;
	uint32_t found[2], n = rules_tc_qdisc(p->r, nlh, e->w.ifindex, found);

	for (uint32_t i = 0; i < n && p->cnt < PARENTS; i++)
		p->at[p->cnt++] = found[i];
}

static void take_filter(struct environment *e, const struct nlmsghdr *nlh, void *arg)
{
	struct parents *p = arg;

	(void)e;
	rules_tc_filter(p->r, nlh, p->now);
}

static int read_tc(struct environment *e, struct rules *r)
{
	struct parents p = {.r = r};
	struct tcmsg t = {.tcm_family = AF_UNSPEC, .tcm_ifindex = e->w.ifindex};
	int err = ask(e, e->ch[ROUTE].requests, RTM_GETQDISC, true, &t, sizeof(t), take_qdisc, &p);

	for (uint32_t i = 0; !err && i < p.cnt; i++) {
		t.tcm_parent = p.now = p.at[i];
		err = ask(e, e->ch[ROUTE].requests, RTM_GETTFILTER, true, &t, sizeof(t),
			  take_filter, &p);
		if (err != -EINTR && err)
			err = 0; /* a queue that takes no filters, or was removed */
	}
	if (e->tcx & 0xffff)
		rules_tc_program(r, true);
	if (e->tcx >> 16)
		rules_tc_program(r, false);
	return err;
}

/* ---- all of it ---- */

static void adopt(struct environment *e, enum judge_kind kind, struct rules *fresh, int err)
{
	static const char *const what[JUDGE_RULES] = {"packet filter rules", "IPsec policies",
						      "traffic control"};

	e->w.blind[kind][0] = 0;
	if (err) {
		snprintf(e->w.blind[kind], UDPLANE_TEXT_LEN,
			 "cannot read the %s of this namespace: %s; trust_rules can declare them "
			 "harmless",
			 what[kind], err == -EINTR ? "they change all the time" : strerror(-err));
		log_warn("%s", e->w.blind[kind]);
		rules_free(fresh); /* the next reading can take over sets of the last one */
		return;
	}
	rules_free(&e->w.rules[kind]);
	e->w.rules[kind] = *fresh;
}

/* IPsec and traffic control. */
static void reread(struct environment *e, enum judge_kind kind)
{
	struct rules fresh = {0};
	int err = -EINTR;

	if (e->trusted & 1u << kind)
		return;
	for (int i = 0; i < TRIES && err == -EINTR; i++) {
		rules_free(&fresh);
		err = kind == JUDGE_IPSEC ? read_xfrm(e, &fresh) : read_tc(e, &fresh);
	}
	adopt(e, kind, &fresh, err);
}

/* Pauses for a multiple of what the last reading took. */
static void pause_readings(struct environment *e, uint64_t times)
{
	uint64_t ns = times * (clock_now_ns() - e->began_ns) + 1;
	struct itimerspec when = {.it_value.tv_sec = 1};

	if (ns < 1000000000ull)
		when = (struct itimerspec){.it_value.tv_nsec = (long)ns};
	e->paused = !timerfd_settime(e->pause_fd, 0, &when, NULL);
}

static void finish_reading(struct environment *e, struct rules *fresh, int err)
{
	const struct rules *r = &e->w.rules[JUDGE_NETFILTER];

	e->wanted |= err == -EINTR;
	adopt(e, JUDGE_NETFILTER, fresh, err);
	e->nat_chains = false;
	for (uint32_t i = 0; i < r->chain_cnt; i++)
		e->nat_chains |= r->chains[i].nat && r->chains[i].hook;
	e->torn = 0;
	pause_readings(e, PAUSE);
}

static void take_message(struct environment *e, const struct nlmsghdr *nlh)
{
	char table[NFT_NAME_MAXLEN], name[NFT_NAME_MAXLEN];
	const struct nfgenmsg *g = mnl_nlmsg_get_payload(nlh);
	struct attrs a;

	switch (nlh->nlmsg_type & 0xff) {
	case NFT_MSG_NEWGEN: return;
	case NFT_MSG_NEWSETELEM:
	case NFT_MSG_DELSETELEM:
		if (e->reader && attrs_of_message(&a, nlh, sizeof(*g)) &&
		    reader_note(e->reader, g->nfgen_family,
				attrs_string(a.at[NFTA_SET_ELEM_LIST_TABLE], table, sizeof(table)),
				attrs_string(a.at[NFTA_SET_ELEM_LIST_SET], name, sizeof(name))))
			return;
	}
	e->wanted = true;
}

/* Notes what has changed in nftables: elements of some sets, or anything. */
static void take_news(struct environment *e)
{
	int fd = e->ch[NETFILTER].events ? mnl_socket_get_fd(e->ch[NETFILTER].events) : -1;
	ssize_t got;

	for (;;) {
		const struct nlmsghdr *nlh;
		const void *at = e->buf;
		uint32_t len;

		got = recv(fd, e->buf, sizeof(e->buf), MSG_DONTWAIT | MSG_TRUNC);
		if (got <= 0 && (errno == ENOBUFS || errno == EINTR)) {
			e->wanted = true;
			continue;
		}
		if (got <= 0)
			return;
		e->wanted |= got > (ssize_t)sizeof(e->buf);
		len = got > (ssize_t)sizeof(e->buf) ? 0 : (uint32_t)got;
		while ((nlh = attrs_next_message(&at, &len)))
			take_message(e, nlh);
	}
}

/* Returns true if a reading of the packet filters has ended. */
static bool read_on(struct environment *e, uint64_t ns)
{
	struct rules fresh = {0};
	int err = e->reader ? reader_step(e->reader, ns) : 1;

	if (!err)
		return false;
	if (err > 0 && e->reader) {
		take_news(e);
		if (reader_torn(e->reader) && !e->wanted && reader_has_notes(e->reader) &&
		    ++e->torn < TRIES) {
			err = reader_more(e->reader);
			if (!err)
				return read_on(e, ns);
		} else if (reader_torn(e->reader)) {
			err = -EINTR;
		}
		reader_take(e->reader, err > 0 ? &fresh : NULL);
	}
	if (err > 0)
		err = read_xt(&fresh, &e->xt_print);
	if (err == -EINTR &&
	    ++e->torn < TRIES) { /* a program that makes many changes at once is soon done */
		rules_free(&fresh);
		e->wanted = true;
		pause_readings(e, 1);
		return false;
	}
	finish_reading(e, &fresh, err);
	return true;
}

static bool reading(const struct environment *e)
{
	return e->reader && reader_busy(e->reader);
}

/* Returns true if the rules hold many elements that have been replaced. */
static bool is_bloated(const struct rules *r)
{
	uint32_t live = 0;

	for (uint32_t i = 0; i < r->set_cnt; i++)
		live += r->sets[i].cnt;
	return r->element_cnt > 2 * live + 4096;
}

/* Begins a reading if packet filters have changed and the pause is over. Returns true if it is
 * finished already. */
static bool read_if_wanted(struct environment *e, uint64_t ns)
{
	const struct rules *old = &e->w.rules[JUDGE_NETFILTER];
	bool notes = e->reader && reader_has_notes(e->reader);
	struct rules none = {0};
	int err = 0;

	if (!(e->wanted || notes) || e->paused || reading(e) || e->trusted & 1u << JUDGE_NETFILTER)
		return false;
	e->began_ns = clock_now_ns();
	if (e->reader)
		err = e->wanted || e->w.blind[JUDGE_NETFILTER][0] || is_bloated(old)
			      ? reader_start(e->reader, old)
			      : reader_start_sets(e->reader, old);
	e->wanted = false;
	if (err) {
		finish_reading(e, &none, err);
		return true;
	}
	return read_on(e, ns);
}

/* At the start: reads until all is done. */
static void read_whole(struct environment *e)
{
	struct pollfd p = {.fd = e->reader ? reader_fd(e->reader) : -1, .events = POLLIN};
	struct rules none = {0};
	bool done = false;

	e->wanted = !(e->trusted & 1u << JUDGE_NETFILTER);
	while (!done && (e->wanted || reading(e))) {
		e->paused = false;
		if (!reading(e)) {
			done = read_if_wanted(e, UINT64_MAX / 2);
		} else if (poll(&p, 1, 1000 * TIMEOUT_S) > 0) {
			done = read_on(e, UINT64_MAX / 2);
		} else {
			finish_reading(e, &none, -ETIMEDOUT);
			done = true;
		}
	}
	e->paused = false;
}

static void prepare(struct environment *e)
{
	judge_prepare(&e->w);
	look_for_flows(e);
}

/* ---- sockets ---- */

static int open_channel(struct environment *e, int which, int bus, int group)
{
	const struct timeval timeout = {.tv_sec = TIMEOUT_S};
	struct channel *ch = &e->ch[which];
	struct epoll_event ev = {.events = EPOLLIN, .data.u32 = (uint32_t)which};

	ch->events = mnl_socket_open2(bus, SOCK_CLOEXEC | SOCK_NONBLOCK);
	ch->requests = mnl_socket_open2(bus, SOCK_CLOEXEC);
	if (!ch->events || !ch->requests)
		return -errno;
	if (mnl_socket_bind(ch->events, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    mnl_socket_bind(ch->requests, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    setsockopt(mnl_socket_get_fd(ch->requests), SOL_SOCKET, SO_RCVTIMEO, &timeout,
		       sizeof(timeout)) ||
	    mnl_socket_setsockopt(ch->events, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0 ||
	    epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, mnl_socket_get_fd(ch->events), &ev))
		return -errno;
	return 0;
}

static void close_channel(struct channel *ch)
{
	if (ch->events)
		mnl_socket_close(ch->events);
	if (ch->requests)
		mnl_socket_close(ch->requests);
	memset(ch, 0, sizeof(*ch));
}

static int open_reader(struct environment *e)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u32 = PAUSED};
	int err = reader_open(&e->reader, e->w.ifname);

	if (err == -EPROTONOSUPPORT) {
		reader_close(e->reader);
		e->reader = NULL;
	} else if (err) {
		return err;
	}
	e->pause_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (e->pause_fd < 0 || epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, e->pause_fd, &ev))
		return -errno;
	ev.data.u32 = READER;
	if (e->reader && epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, reader_fd(e->reader), &ev))
		return -errno;
	return 0;
}

static int open_channels(struct environment *e)
{
	static const struct {
		int bus, group;
	} at[CHANNELS] = {
		[NETFILTER] = {NETLINK_NETFILTER, NFNLGRP_NFTABLES},
		[IPSEC] = {NETLINK_XFRM, XFRMNLGRP_POLICY},
		[ROUTE] = {NETLINK_ROUTE, RTNLGRP_TC},
	};

	e->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (e->epoll_fd < 0)
		return -errno;
	for (int i = 0; i < CHANNELS; i++) {
		int err = open_channel(e, i, at[i].bus, at[i].group);

		if (err == -EPROTONOSUPPORT)
			close_channel(&e->ch[i]); /* the kernel does not have it */
		else if (err)
			return err;
	}
	return open_reader(e);
}

int environment_open(struct environment **out, int ifindex, const char *ifname, uint32_t trusted,
		     bool device_asks, struct error *error)
{
	struct environment *e = calloc(1, sizeof(*e));
	int err = e ? 0 : -ENOMEM;

	if (e) {
		e->epoll_fd = e->pause_fd = -1;
		e->trusted = trusted;
		e->w.device_asks = device_asks;
		e->w.ifindex = ifindex;
		snprintf(e->w.ifname, sizeof(e->w.ifname), "%s", ifname);
		err = open_channels(e);
	}
	if (err) {
		error_set(error, err, "cannot watch the rules of the namespace: netlink: %s",
			  strerror(-err));
		environment_close(e);
		return err;
	}
	e->tcx = cgroup_tcx_programs(ifindex);
	read_whole(e);
	reread(e, JUDGE_IPSEC);
	reread(e, JUDGE_TRAFFIC_CONTROL);
	read_ipvs(e);
	prepare(e);
	*out = e;
	return 0;
}

void environment_close(struct environment *e)
{
	if (!e)
		return;
	for (int i = 0; i < CHANNELS; i++)
		close_channel(&e->ch[i]);
	reader_close(e->reader);
	if (e->pause_fd >= 0)
		close(e->pause_fd);
	if (e->epoll_fd >= 0)
		close(e->epoll_fd);
	judge_free(&e->w);
	free(e);
}

int environment_fd(const struct environment *e)
{
	return e->epoll_fd;
}

const struct judge_world *environment_world(const struct environment *e)
{
	return &e->w;
}

uint32_t environment_cgroup_programs(const struct environment *e, int cgroup_fd)
{
	if (cgroup_fd < 0 || e->trusted & 1u << JUDGE_CGROUP)
		return 0;
	return cgroup_programs(cgroup_fd);
}

/* The message's content does not matter, since all is read again. */
static void swallow(struct environment *e, struct mnl_socket *s)
{
	while (recv(mnl_socket_get_fd(s), e->buf, sizeof(e->buf), MSG_DONTWAIT) > 0 ||
	       errno == ENOBUFS || errno == EINTR)
		;
}

/* Returns true if judgements may have changed. */
static bool on_event(struct environment *e, uint32_t which)
{
	uint64_t expired;

	switch (which) {
	case NETFILTER: take_news(e); return false;
	case READER: return read_on(e, STEP_NS);
	case PAUSED:
		if (read(e->pause_fd, &expired, sizeof(expired)) == sizeof(expired))
			e->paused = false;
		return false;
	default:
		swallow(e, e->ch[which].events);
		reread(e, which == IPSEC ? JUDGE_IPSEC : JUDGE_TRAFFIC_CONTROL);
		return true;
	}
}

bool environment_process(struct environment *e)
{
	struct epoll_event ev[WATCHES];
	int n = epoll_wait(e->epoll_fd, ev, WATCHES, 0);
	bool changed = false;

	for (int i = 0; i < n; i++)
		changed |= on_event(e, ev[i].data.u32);
	changed |= read_if_wanted(e, STEP_NS);
	if (changed)
		prepare(e);
	return changed;
}

bool environment_poll(struct environment *e)
{
	uint64_t print = 0;
	uint32_t tcx = cgroup_tcx_programs(e->w.ifindex);
	bool flows = e->w.nat_flows, changed = false;

	e->polls++;
	if (!(e->trusted & 1u << JUDGE_NETFILTER)) {
		if (read_xt(NULL, &print) || print != e->xt_print ||
		    e->w.blind[JUDGE_NETFILTER][0] || e->polls % SLOW_POLLS == 0) {
			e->wanted = true;
			changed = read_if_wanted(e, STEP_NS);
		} else if (flows) {
			look_for_flows(e);
			changed = flows != e->w.nat_flows;
		}
	}
	changed |= read_ipvs(e);
	if (e->w.blind[JUDGE_IPSEC][0]) {
		reread(e, JUDGE_IPSEC);
		changed = true;
	}
	if (tcx != e->tcx || e->w.blind[JUDGE_TRAFFIC_CONTROL][0]) {
		e->tcx = tcx;
		reread(e, JUDGE_TRAFFIC_CONTROL);
		changed = true;
	}
	if (changed)
		prepare(e);
	return changed;
}

/* Returns true if the set has changed. */
static bool replace(uint8_t (**set)[16], uint32_t *set_cnt, const uint8_t (*addr)[16], uint32_t cnt)
{
	uint8_t(*copy)[16];

	if (cnt == *set_cnt && (!cnt || !memcmp(addr, *set, cnt * sizeof(*addr))))
		return false;
	copy = malloc(cnt ? cnt * sizeof(*copy) : 1);
	free(*set);
	*set = copy;
	*set_cnt = copy ? cnt : 0;
	if (copy && cnt)
		memcpy(copy, addr, cnt * sizeof(*copy));
	return true;
}

bool environment_set_addresses(struct environment *e, const uint8_t (*addr)[16], uint32_t cnt)
{
	if (!replace(&e->w.ours, &e->w.ours_cnt, addr, cnt))
		return false;
	e->ipvs_ns = 0; /* kube-proxy has added a service before its address */
	read_ipvs(e);
	prepare(e);
	return true;
}

bool environment_set_sources(struct environment *e, const uint8_t (*addr)[16], uint32_t cnt)
{
	if (!replace(&e->w.sources, &e->w.source_cnt, addr, cnt))
		return false;
	prepare(e);
	return true;
}
