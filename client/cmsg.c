/* SPDX-License-Identifier: Apache-2.0 */
/* Control messages, as Linux writes them: put_cmsg() in net/core/scm.c; __sock_recv_cmsgs() in
 * net/socket.c; ip_cmsg_recv_offset() in net/ipv4/ip_sockglue.c; ip6_datagram_recv_common_ctl() and
 * ip6_datagram_recv_specific_ctl() in net/ipv6/datagram.c. */
#include "client/cmsg.h"
#include "client/attach.h"
#include "client/base.h"
#include "client/fault.h"
#include "client/peek.h"
#include "client/pktbuf.h"
#include "client/rxq.h"
#include "client/sock.h"
#include <asm/socket.h>
#include <linux/in6.h>
#include <linux/net_tstamp.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <string.h>
#include <udplane/abi.h>
#include <udplane/clock.h>

#define NS_PER_S	   1000000000u
#define ETHERNET_LEN	   14
#define IPV4_FROM_PAYLOAD  28
#define IPV6_FROM_PAYLOAD  48
#define STAMPING_FLAGS	   (SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE)
#define UDP_GRO_NAME	   104 /* UDP_GRO */
#define IPV6_ORIGDST	   74  /* IPV6_ORIGDSTADDR */
#define FLOWINFO_MASK_HIGH 0x0f

/* What is left of the buffer. */
struct out {
	uint8_t *at;
	size_t room;
	int flags;
};

static void put(struct out *o, int level, int type, const void *data, size_t len)
{
	struct cmsghdr cm = {.cmsg_len = CMSG_LEN(len), .cmsg_level = level, .cmsg_type = type};
	size_t space = CMSG_SPACE(len);

	if (!o->at || o->room < sizeof(cm)) {
		o->flags |= MSG_CTRUNC;
		return;
	}
	if (o->room < cm.cmsg_len) {
		o->flags |= MSG_CTRUNC;
		cm.cmsg_len = o->room;
	}
	if (pointer_is_bad(o->at))
		return; /* the kernel ignores EFAULT here */
	memcpy(o->at, &cm, sizeof(cm));
	memcpy(o->at + sizeof(cm), data, cm.cmsg_len - sizeof(cm));
	space = space < o->room ? space : o->room;
	o->at += space;
	o->room -= space;
}

static struct out out_begin(const struct msghdr *h, size_t room)
{
	return (struct out){.at = h->msg_control, .room = room};
}

static void out_end(struct msghdr *h, const struct out *o)
{
	h->msg_controllen = (size_t)(o->at - (uint8_t *)h->msg_control);
	h->msg_flags |= o->flags;
}

/* --- SOL_SOCKET --- */

static void put_stamp(struct out *o, uint32_t wants, uint64_t ns)
{
	bool new = wants &CMSG_WANT_STAMP_NEW, fine = wants &CMSG_WANT_STAMP_NS;
	int64_t s = (int64_t)(ns / NS_PER_S), part = (int64_t)(ns % NS_PER_S);
	int64_t v[2] = {s, fine ? part : part / 1000};
	long old[2] = {(long)v[0], (long)v[1]};

	if (new)
		put(o, SOL_SOCKET, fine ? SO_TIMESTAMPNS_NEW : SO_TIMESTAMP_NEW, v, sizeof(v));
	else
		put(o, SOL_SOCKET, fine ? SO_TIMESTAMPNS_OLD : SO_TIMESTAMP_OLD, old, sizeof(old));
}

static void put_stamping(struct out *o, uint32_t wants, uint64_t ns)
{
	int64_t v[6] = {(int64_t)(ns / NS_PER_S), (int64_t)(ns % NS_PER_S)};
	long old[6] = {(long)v[0], (long)v[1]};

	if (wants & CMSG_WANT_STAMP_NEW)
		put(o, SOL_SOCKET, SO_TIMESTAMPING_NEW, v, sizeof(v));
	else
		put(o, SOL_SOCKET, SO_TIMESTAMPING_OLD, old, sizeof(old));
}

static void put_socket(struct out *o, uint32_t wants, const struct cmsg_info *info)
{
	uint64_t ns = info->stamp_ns;

	if (wants & CMSG_WANT_STAMP) {
		if (!ns) /* it came before the option was set: the kernel takes the time now, too */
			ns = clock_real_ns();
		put_stamp(o, wants, ns);
	}
	if ((wants & CMSG_WANT_STAMPING) && ns)
		put_stamping(o, wants, ns);
	if ((wants & CMSG_WANT_DROPS) && info->drops)
		put(o, SOL_SOCKET, SO_RXQ_OVFL, &info->drops, sizeof(info->drops));
}

/* --- IPPROTO_IP: unicast, so that the address of ours (ipi_spec_dst) is the destination --- */

static void put_ipv4(struct out *o, uint32_t wants, const struct cmsg_info *info)
{
	int ttl = info->ttl;

	if (wants & CMSG_WANT_PKTINFO) {
		struct in_pktinfo p = {.ipi_ifindex = info->ifindex};

		memcpy(&p.ipi_spec_dst, info->dst, 4);
		memcpy(&p.ipi_addr, info->dst, 4);
		put(o, IPPROTO_IP, IP_PKTINFO, &p, sizeof(p));
	}
	if (wants & CMSG_WANT_TTL)
		put(o, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl));
	if (wants & CMSG_WANT_TOS)
		put(o, IPPROTO_IP, IP_TOS, &info->tos, sizeof(info->tos));
	if (wants & CMSG_WANT_ORIGDST) {
		struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = info->dst_port_be};

		memcpy(&a.sin_addr, info->dst, 4);
		put(o, IPPROTO_IP, IP_ORIGDSTADDR, &a, sizeof(a));
	}
}

/* --- IPPROTO_IPV6 --- */

/* Of either family. */
static void put_pktinfo6(struct out *o, int type, const struct cmsg_info *info)
{
	struct in6_pktinfo p = {.ipi6_ifindex = (unsigned)info->ifindex};

	if (info->family == AF_INET6) {
		memcpy(&p.ipi6_addr, info->dst, 16);
	} else {
		memset(&p.ipi6_addr.s6_addr[10], 0xff, 2);
		memcpy(&p.ipi6_addr.s6_addr[12], info->dst, 4);
	}
	put(o, IPPROTO_IPV6, type, &p, sizeof(p));
}

/* As __ipv6_addr_needs_scope_id(): link-local addresses, and groups of a link or an interface. */
static bool needs_scope(const struct cmsg_info *info)
{
	if (info->dst[0] == 0xff)
		return (info->dst[1] & 0xf) == 1 || (info->dst[1] & 0xf) == 2;
	return info->dst[0] == 0xfe && (info->dst[1] & 0xc0) == 0x80;
}

static void put_ipv6(struct out *o, uint32_t wants, const struct cmsg_info *info)
{
	int limit = info->ttl, tclass = info->tos;

	if (wants & CMSG_WANT_HOPLIMIT)
		put(o, IPPROTO_IPV6, IPV6_HOPLIMIT, &limit, sizeof(limit));
	if (wants & CMSG_WANT_TCLASS)
		put(o, IPPROTO_IPV6, IPV6_TCLASS, &tclass, sizeof(tclass));
	if ((wants & CMSG_WANT_FLOWINFO) && info->flowinfo_be)
		put(o, IPPROTO_IPV6, IPV6_FLOWINFO, &info->flowinfo_be, sizeof(info->flowinfo_be));
	if (wants & CMSG_WANT_OLD_PKTINFO)
		put_pktinfo6(o, IPV6_2292PKTINFO, info);
	if (wants & CMSG_WANT_OLD_HOPLIMIT)
		put(o, IPPROTO_IPV6, IPV6_2292HOPLIMIT, &limit, sizeof(limit));
	if (wants & CMSG_WANT_ORIGDST6) {
		struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = info->dst_port_be};

		memcpy(&a.sin6_addr, info->dst, 16);
		if (needs_scope(info))
			a.sin6_scope_id = (uint32_t)info->ifindex;
		put(o, IPPROTO_IPV6, IPV6_ORIGDST, &a, sizeof(a));
	}
}

void cmsg_write(struct msghdr *h, size_t room, uint32_t wants, const struct cmsg_info *info)
{
	struct out o = out_begin(h, room);

	if (fault_begin()) /* the kernel goes on without them */
		return;
	put_socket(&o, wants, info);
	if (info->gro_size)
		put(&o, IPPROTO_UDP, UDP_GRO_NAME, &info->gro_size, sizeof(info->gro_size));
	if (wants & CMSG_WANT_PKTINFO6)
		put_pktinfo6(&o, IPV6_PKTINFO, info);
	if (info->family == AF_INET6)
		put_ipv6(&o, wants, info);
	else
		put_ipv4(&o, wants, info);
	out_end(h, &o);
	fault_end();
}

static bool is_stamp(const struct cmsghdr *cm)
{
	if (cm->cmsg_level != SOL_SOCKET)
		return false;
	switch (cm->cmsg_type) {
	case SO_TIMESTAMP_OLD:
	case SO_TIMESTAMP_NEW:
	case SO_TIMESTAMPNS_OLD:
	case SO_TIMESTAMPNS_NEW:
	case SO_TIMESTAMPING_OLD:
	case SO_TIMESTAMPING_NEW: return true;
	}
	return false;
}

void cmsg_copy(struct msghdr *h, size_t room, const void *from, size_t len, uint32_t drops)
{
	struct out o = out_begin(h, room);
	const uint8_t *at = from, *end = at + len;
	struct cmsghdr cm;

	if (fault_begin())
		return;
	for (; at + sizeof(cm) <= end; at += CMSG_ALIGN(cm.cmsg_len)) {
		memcpy(&cm, at, sizeof(cm));
		if (cm.cmsg_len < sizeof(cm) || cm.cmsg_len > (size_t)(end - at))
			break;
		if (drops && !is_stamp(&cm)) { /* its place, whether the kernel had any or not */
			bool had = cm.cmsg_level == SOL_SOCKET && cm.cmsg_type == SO_RXQ_OVFL;
			uint32_t kernels = 0;

			if (had)
				memcpy(&kernels, at + sizeof(cm), sizeof(kernels));
			drops += kernels;
			put(&o, SOL_SOCKET, SO_RXQ_OVFL, &drops, sizeof(drops));
			drops = 0;
			if (had)
				continue;
		}
		put(&o, cm.cmsg_level, cm.cmsg_type, at + sizeof(cm), cm.cmsg_len - sizeof(cm));
	}
	if (drops)
		put(&o, SOL_SOCKET, SO_RXQ_OVFL, &drops, sizeof(drops));
	out_end(h, &o);
	fault_end();
}

/* --- options --- */

struct wish {
	int level, name;
	uint32_t wants;
};

static const struct wish wishes[] = {
	{SOL_SOCKET, SO_TIMESTAMP_OLD, CMSG_WANT_STAMP},
	{SOL_SOCKET, SO_TIMESTAMPNS_OLD, CMSG_WANT_STAMP | CMSG_WANT_STAMP_NS},
	{SOL_SOCKET, SO_TIMESTAMP_NEW, CMSG_WANT_STAMP | CMSG_WANT_STAMP_NEW},
	{SOL_SOCKET, SO_TIMESTAMPNS_NEW,
	 CMSG_WANT_STAMP | CMSG_WANT_STAMP_NS | CMSG_WANT_STAMP_NEW},
	{SOL_SOCKET, SO_RXQ_OVFL, CMSG_WANT_DROPS},
	{IPPROTO_UDP, UDP_GRO_NAME, CMSG_WANT_GRO},
	{IPPROTO_IP, IP_PKTINFO, CMSG_WANT_PKTINFO},
	{IPPROTO_IP, IP_RECVTTL, CMSG_WANT_TTL},
	{IPPROTO_IP, IP_RECVTOS, CMSG_WANT_TOS},
	{IPPROTO_IP, IP_RECVORIGDSTADDR, CMSG_WANT_ORIGDST},
	/* from here on on AF_INET6 sockets only */
	{IPPROTO_IPV6, IPV6_RECVPKTINFO, CMSG_WANT_PKTINFO6},
	{IPPROTO_IPV6, IPV6_RECVHOPLIMIT, CMSG_WANT_HOPLIMIT},
	{IPPROTO_IPV6, IPV6_RECVTCLASS, CMSG_WANT_TCLASS},
	{IPPROTO_IPV6, IPV6_FLOWINFO, CMSG_WANT_FLOWINFO},
	{IPPROTO_IPV6, IPV6_2292PKTINFO, CMSG_WANT_OLD_PKTINFO},
	{IPPROTO_IPV6, IPV6_2292HOPLIMIT, CMSG_WANT_OLD_HOPLIMIT},
	{IPPROTO_IPV6, IPV6_ORIGDST, CMSG_WANT_ORIGDST6},
};

static int option_int(const struct sock *s, int level, int name)
{
	socklen_t len = sizeof(int);
	int v = 0;

	return getsockopt(s->kfd, level, name, &v, &len) ? 0 : v;
}

void cmsg_read_options(struct sock *s)
{
	uint32_t wants = 0;

	for (size_t i = 0; i < sizeof(wishes) / sizeof(wishes[0]); i++) {
		if (wishes[i].level == IPPROTO_IPV6 && s->domain != AF_INET6)
			break;
		if (option_int(s, wishes[i].level, wishes[i].name))
			wants |= wishes[i].wants;
	}
	/* the new name reads 0 unless the option was set by it */
	if ((option_int(s, SOL_SOCKET, SO_TIMESTAMPING_OLD) & STAMPING_FLAGS) == STAMPING_FLAGS) {
		wants |= CMSG_WANT_STAMPING;
		if (option_int(s, SOL_SOCKET, SO_TIMESTAMPING_NEW))
			wants |= CMSG_WANT_STAMP_NEW;
	}
	if (peek_offset(s) >= 0)
		wants |= CMSG_WANT_PEEK_OFF;
	if (wants & CMSG_WANT_DROPS)
		cmsg_read_drops(s);
	__atomic_store_n(&s->rx.wants, wants, __ATOMIC_RELAXED);
}

/* --- drops --- */

void cmsg_read_drops(struct sock *s)
{
	uint32_t v[SK_MEMINFO_VARS] = {0};
	socklen_t len = sizeof(v);

	if (getsockopt(s->kfd, SOL_SOCKET, SO_MEMINFO, v, &len) == 0)
		__atomic_store_n(&s->rx.kernel_drops, v[SK_MEMINFO_DROPS], __ATOMIC_RELAXED);
}

static uint64_t lane_drops(const struct sock *s, uint32_t lane)
{
	const struct attach *a = s->att;
	const struct udplane_socket_counters *c =
		(const void *)(a->stats_zone.addr + a->stats->counters_off);

	c += (size_t)s->tx.id * a->worker_cnt + lane;
	return __atomic_load_n(&c->counter[UDPLANE_SOCKET_RX_DROP_RING_FULL], __ATOMIC_RELAXED) +
	       __atomic_load_n(&c->counter[UDPLANE_SOCKET_RX_DROP_QUOTA], __ATOMIC_RELAXED);
}

uint32_t cmsg_our_drops(const struct sock *s)
{
	uint32_t drops = __atomic_load_n(&s->rx.past_drops, __ATOMIC_RELAXED);

	for (uint32_t i = 0; i < s->rx.rxq_cnt; i++)
		drops += (uint32_t)lane_drops(s, i);
	return drops;
}

void cmsg_keep_drops(struct sock *s)
{
	__atomic_store_n(&s->rx.past_drops, cmsg_our_drops(s), __ATOMIC_RELAXED);
}

/* --- datagrams --- */

static void read_front(const struct sock *s, const struct rxq *q, const uint8_t *ethernet,
		       struct cmsg_info *info)
{
	struct udplane_rx_front front;

	memcpy(&front, ethernet - sizeof(front), sizeof(front));
	info->stamp_ns = front.time_ns;
	if (!(rx_wants(s) & CMSG_WANT_DROPS))
		return;
	info->drops = s->rx.past_drops + (uint32_t)front.drops +
		      __atomic_load_n(&s->rx.kernel_drops, __ATOMIC_RELAXED);
	for (uint32_t i = 0; i < s->rx.rxq_cnt; i++)
		if (&s->rx.rxq[i] != q)
			info->drops += (uint32_t)lane_drops(s, i);
}

static void read_ipv4(const uint8_t *ip, struct cmsg_info *info)
{
	info->family = AF_INET;
	info->tos = ip[1];
	info->ttl = ip[8];
	memcpy(info->dst, ip + 16, 4);
}

static void read_ipv6(const uint8_t *ip, struct cmsg_info *info)
{
	uint8_t flow[4];

	memcpy(flow, ip, 4);
	flow[0] &= FLOWINFO_MASK_HIGH;
	info->family = AF_INET6;
	memcpy(&info->flowinfo_be, flow, 4);
	info->tos = (uint8_t)(ip[0] << 4 | ip[1] >> 4);
	info->ttl = ip[7];
	memcpy(info->dst, ip + 24, 16);
}

void cmsg_info_of(const struct sock *s, const struct rxq *q, const struct udplane_rx_desc *d,
		  struct cmsg_info *info)
{
	bool ipv6 = d->flags & UDPLANE_RX_IPV6;
	const uint8_t *payload = rx_payload(s->att, d);
	uint32_t headers = ipv6 ? IPV6_FROM_PAYLOAD : IPV4_FROM_PAYLOAD;
	const uint8_t *ip = payload - headers;

	memset(info, 0, sizeof(*info));
	info->ifindex = s->att->stats->ifindex;
	memcpy(&info->dst_port_be, payload - 6, 2);
	if (ipv6)
		read_ipv6(ip, info);
	else
		read_ipv4(ip, info);
	if ((d->flags & UDPLANE_RX_STAMPED) &&
	    d->offset >= headers + ETHERNET_LEN + sizeof(struct udplane_rx_front))
		read_front(s, q, ip - ETHERNET_LEN, info);
}

void cmsg_of_ring(const struct sock *s, const struct rxq *q, const struct udplane_rx_desc *d,
		  struct msghdr *h, size_t room, int gro_size)
{
	struct cmsg_info info;

	cmsg_info_of(s, q, d, &info);
	info.gro_size = gro_size;
	cmsg_write(h, room, rx_wants(s), &info);
}

void cmsg_of_buf(const struct sock *s, const struct pktbuf *b, struct msghdr *h, size_t room)
{
	if (b->info.family)
		cmsg_write(h, room, rx_wants(s), &b->info);
	else
		cmsg_copy(h, room, b->data + b->len, b->control_len,
			  rx_wants(s) & CMSG_WANT_DROPS ? cmsg_our_drops(s) : 0);
}
