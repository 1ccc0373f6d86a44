/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Decides for each frame whether a worker or the kernel receives it. A worker cannot hand a frame
 * back, so the program diverts only frames that certainly belong to an accelerated socket: an
 * unfragmented UDP datagram without IP options, with consistent lengths, from a valid source, to a
 * unicast address of this host, on a port (and address, and peer) that such a socket holds, or to a
 * multicast group or broadcast address and port whose receivers are all such sockets. It passes
 * every other frame to the kernel, unchanged.
 *
 * Checksums are the worker's: it must touch the payload's cache lines anyway, and drops just what
 * the kernel would drop. But which sockets take IPv6 datagrams without one, only the kernel knows.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/udp.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "sidecar/device/xdp/udplane_xdp.h"

#define CLOCK_MONOTONIC 1
#ifndef BPF_F_TIMER_CPU_PIN
#define BPF_F_TIMER_CPU_PIN 2
#endif

struct xdp_shared shared;

/* Set before loading, so that the verifier removes branches that are never taken. */
const volatile __u8 generic; /* several CPUs may run the program for one queue */
/* loaded with BPF_F_XDP_HAS_FRAGS (kernel 5.18): frames may have several buffers */
const volatile __u8 frags;
const volatile __u8 timers;    /* the kernel has bpf_timers (5.15) */
const volatile __u8 conntrack; /* the kernel has bpf_xdp_ct_lookup() (5.18, CONFIG_NF_CONNTRACK) */
const volatile __u8 receivers; /* the program may look at the kernel's sockets (BTF) */

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, XDP_QUEUES);
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * XDP_LOCAL_MAX); /* an old and a new set at once */
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct xdp_addr);
	__type(value, __u8);
} local SEC(".maps");

struct settle {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, XDP_QUEUES);
	__type(key, __u32);
	__type(value, struct settle);
} settles SEC(".maps");

/* These two are sized before loading. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct xdp_addr_key);
	__type(value, __u8);
} claims_addr SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct xdp_conn_key);
	__type(value, __u8);
} claims_conn SEC(".maps");

/* Sockets that may share their port and are diverted to, by SO_COOKIE. Sized before loading. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, __u8);
} members SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 2 * XDP_SOURCE_MAX); /* an old and a new set at once */
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct xdp_source_key);
	__type(value, __u8);
} sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 2 * XDP_EXCLUDED_MAX); /* an old and a new set at once */
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct xdp_excluded_key);
	__type(value, __u8);
} excluded6 SEC(".maps");

/* In native mode one NAPI context, and so one CPU at a time, runs a queue: plain increments are
 * exact. Generic mode runs on any CPU (RPS, stacked devices), and the last entry serves many
 * queues: there increments are atomic. */
static __always_inline void count(__u32 entry, __u32 what)
{
	__u64 *n = &shared.counters[entry].count[what];

	if (generic || entry == XDP_QUEUES)
		__sync_fetch_and_add(n, 1);
	else
		++*n;
}

static __always_inline struct xdp_addr mapped(__be32 addr)
{
	return (struct xdp_addr){{0, 0, bpf_htonl(0xffff), addr}};
}

#define LOCAL_OTHER 0x10000 /* not one of a port's flags */

static __always_inline __u32 local_other(const struct xdp_addr *addr)
{
	return shared.local_more && bpf_map_lookup_elem(&local, addr) ? LOCAL_OTHER : 0;
}

/* Returns 0 if the address is not local, otherwise the port flag that claims this very address, or
 * LOCAL_OTHER.
 *
 * The control thread may change a slot during the lookup. An IPv4 address is a single store. Half
 * of an old IPv6 address with half of a new one could match a datagram to that mixture for some
 * nanoseconds; the worker's own lookup then drops it. */
static __always_inline __u32 is_local4(__be32 addr)
{
	if (!addr)
		return 0;
#pragma unroll
	for (int i = 0; i < XDP_LOCAL_FAST; i++)
		if (shared.local4_be[i] == addr)
			return XDP_PORT_SLOT4(i);
	struct xdp_addr key = mapped(addr);

	return local_other(&key);
}

static __always_inline __u32 is_local6(const __u64 *addr)
{
	if (!(addr[0] | addr[1]))
		return 0;
#pragma unroll
	for (int i = 0; i < XDP_LOCAL_FAST; i++)
		if (shared.local6[i][0] == addr[0] && shared.local6[i][1] == addr[1])
			return XDP_PORT_SLOT6(i);
	struct xdp_addr key;

	__builtin_memcpy(&key, addr, sizeof(key));
	return local_other(&key);
}

static __always_inline int is_claimed(const struct xdp_addr *addr, const struct xdp_addr *peer,
				      const struct udphdr *udp, __u32 flags)
{
	if (flags & (XDP_PORT_ADDR4 | XDP_PORT_ADDR6)) {
		struct xdp_addr_key key = {.addr = *addr, .port_be = udp->dest};

		if (bpf_map_lookup_elem(&claims_addr, &key))
			return 1;
	}
	if (flags & (XDP_PORT_CONN4 | XDP_PORT_CONN6)) {
		struct xdp_conn_key key = {.addr = *addr,
					   .peer = *peer,
					   .port_be = udp->dest,
					   .peer_port_be = udp->source};

		if (bpf_map_lookup_elem(&claims_conn, &key))
			return 1;
	}
	return 0;
}

/* Checks that a datagram that ends ip_end bytes into the frame is in the first buffer as a whole,
 * and fits a frame of the zone. */
static __always_inline int check_size(struct xdp_md *ctx, __u32 len, __u32 ip_end)
{
	if (len < ip_end)
		return frags && bpf_xdp_get_buff_len(ctx) > len ? XDP_COUNT_UNFIT
								: XDP_COUNT_MALFORMED;
	/* Padding may be in further buffers; a short frame has none. */
	if (frags && len > ip_end && len > 128 && bpf_xdp_get_buff_len(ctx) > len)
		return XDP_COUNT_UNFIT;
	return len > shared.max_len ? XDP_COUNT_UNFIT : XDP_COUNT_DIVERTED;
}

/* Returns true if a datagram may consist of several. A sender on this host (UDP_SEGMENT), or GRO,
 * passes several datagrams as a single large one, and generic mode runs before they are segmented.
 * XDP cannot see that. But their checksum is never computed at that point: the field holds the sum
 * of the pseudo-header (CHECKSUM_PARTIAL). The kernel receives such datagrams. Drivers with native
 * XDP never get any: the peer of a veth segments them. */
static __always_inline int may_be_several(const struct udphdr *udp, const __u32 *addrs, int words)
{
	__u32 sum = bpf_htons(IPPROTO_UDP) + udp->len;

	if (!generic)
		return 0;
#pragma unroll
	for (int i = 0; i < words; i++)
		sum += (addrs[i] & 0xffff) + (addrs[i] >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return udp->check == sum;
}

static __always_inline int martian4(__be32 addr_be)
{
	__u32 addr = bpf_ntohl(addr_be);

	return addr >= 0xe0000000 || addr >> 24 == 127 || addr >> 24 == 0;
}

/* Returns true if Linux might refuse this source (fib_validate_source): usually an address of this
 * host, or with rp_filter a source that no route leads back to. Linux then drops and counts the
 * datagram. While only addresses of this host matter, a filter spares all but one in some thousand
 * other sources the lookup. IPv6 has no such check, but see is_excluded6(). */
static __always_inline int doubtful_source4(__be32 addr)
{
	struct xdp_source_key key = {.len = 32, .addr_be = addr};
	__u32 bit = XDP_SOURCE_BIT(addr);
	__u8 *valid;

	if (!shared.source_all && !(shared.source_filter[bit / 64] >> (bit % 64) & 1))
		return 0;
	valid = bpf_map_lookup_elem(&sources, &key);
	return !valid || !*valid;
}

/* Returns true if the frame came to the MAC address of a group of IPv4. */
static __always_inline int is_group4(const struct ethhdr *eth, __be32 addr)
{
	__u32 a = bpf_ntohl(addr);

	return a >> 28 == 0xe && eth->h_dest[0] == 0x01 && eth->h_dest[1] == 0x00 &&
	       eth->h_dest[2] == 0x5e && eth->h_dest[3] == (a >> 16 & 0x7f) &&
	       eth->h_dest[4] == (a >> 8 & 0xff) && eth->h_dest[5] == (a & 0xff);
}

/* Returns true if the frame came to all, and may be for a broadcast address. */
static __always_inline int is_broadcast4(const struct ethhdr *eth, __be32 addr)
{
	const __u16 *to = (const __u16 *)eth->h_dest;

	return (to[0] & to[1] & to[2]) == 0xffff && bpf_ntohl(addr) >> 28 != 0xe;
}

/* Returns true if sockets that use udplane are all that Linux would give datagrams to this group,
 * or broadcast address, and port to. */
static __always_inline int is_group_claimed(const struct xdp_addr *group, __be16 port, __u32 flag)
{
	struct xdp_addr_key key = {.addr = *group, .port_be = port, .group = 1};

	return shared.port[port] & flag && bpf_map_lookup_elem(&claims_addr, &key);
}

/* group: a constant; the frame came to a multicast MAC address. */
static __always_inline int classify4(struct xdp_md *ctx, void *data, void *data_end, int group)
{
	struct iphdr *ip = data + sizeof(struct ethhdr);
	struct udphdr *udp = (void *)(ip + 1);
	int verdict;
	__u32 to;

	if ((void *)(ip + 1) > data_end)
		return XDP_COUNT_MALFORMED;
	if (ip->version != 4 || ip->ihl < 5)
		return XDP_COUNT_MALFORMED;
	if (ip->protocol != IPPROTO_UDP)
		return XDP_COUNT_NOT_UDP;
	if (ip->ihl > 5)
		return XDP_COUNT_OPTIONS;
	if (ip->frag_off & bpf_htons(0x3fff)) /* an offset, or more fragments */
		return XDP_COUNT_FRAGMENT;
	if ((void *)(udp + 1) > data_end)
		return XDP_COUNT_MALFORMED;
	if (group) {
		struct xdp_addr addr = mapped(ip->daddr);

		to = (is_group4(data, ip->daddr) || is_broadcast4(data, ip->daddr)) &&
		     is_group_claimed(&addr, udp->dest, XDP_PORT_GROUP4);
	} else {
		to = is_local4(ip->daddr);
	}
	if (!to)
		return XDP_COUNT_NOT_LOCAL;

	__u32 tot_len = bpf_ntohs(ip->tot_len), udp_len = bpf_ntohs(udp->len);

	if (udp_len < sizeof(*udp) || tot_len != sizeof(*ip) + udp_len)
		return XDP_COUNT_MALFORMED;
	verdict = check_size(ctx, data_end - data, sizeof(struct ethhdr) + tot_len);
	if (verdict == XDP_COUNT_MALFORMED)
		return verdict;
	if (martian4(ip->saddr))
		return XDP_COUNT_MARTIAN;
	if (doubtful_source4(ip->saddr))
		return XDP_COUNT_SOURCE;
	if (may_be_several(udp, &ip->saddr, 2))
		verdict = XDP_COUNT_PARTIAL;
	if (group)
		return verdict;

	__u32 flags = shared.port[udp->dest];

	if (flags & (XDP_PORT_WILD4 | to))
		return verdict;
	flags &= XDP_PORT_ADDR4 | XDP_PORT_CONN4;
	if (!flags)
		return XDP_COUNT_UNCLAIMED;

	struct xdp_addr addr = mapped(ip->daddr), peer = mapped(ip->saddr);

	return is_claimed(&addr, &peer, udp, flags) ? verdict : XDP_COUNT_UNCLAIMED;
}

/* Multicast, ::, ::1 and ::ffff:0:0/96. */
static __always_inline int martian6(const struct in6_addr *a)
{
	if (a->s6_addr[0] == 0xff)
		return 1;
	if (a->s6_addr32[0] | a->s6_addr32[1])
		return 0;
	if (a->s6_addr32[2] == bpf_htonl(0xffff))
		return 1;
	return !a->s6_addr32[2] && (!a->s6_addr32[3] || a->s6_addr32[3] == bpf_htonl(1));
}

/* Returns true if a rule of this namespace concerns datagrams from there. (IPv4 has such sources
 * among those that are not valid.) */
static __always_inline int is_excluded6(const struct in6_addr *from)
{
	struct xdp_excluded_key key = {.len = 128};

	if (shared.excluded6 == XDP_EXCLUDED_NONE)
		return 0;
	__builtin_memcpy(&key.addr, from, sizeof(key.addr));
	return shared.excluded6 == XDP_EXCLUDED_ALL || bpf_map_lookup_elem(&excluded6, &key);
}

static __always_inline int next_header(__u8 protocol)
{
	switch (protocol) {
	case IPPROTO_FRAGMENT: return XDP_COUNT_FRAGMENT;
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_DSTOPTS:
	case IPPROTO_AH:
	case IPPROTO_MH: return XDP_COUNT_OPTIONS;
	default: return XDP_COUNT_NOT_UDP;
	}
}

/* As is_group4(). */
static __always_inline int is_group6(const struct ethhdr *eth, const struct in6_addr *a)
{
	return a->s6_addr[0] == 0xff && eth->h_dest[0] == 0x33 && eth->h_dest[1] == 0x33 &&
	       eth->h_dest[2] == a->s6_addr[12] && eth->h_dest[3] == a->s6_addr[13] &&
	       eth->h_dest[4] == a->s6_addr[14] && eth->h_dest[5] == a->s6_addr[15];
}

static __always_inline int classify6(struct xdp_md *ctx, void *data, void *data_end, int group)
{
	struct ipv6hdr *ip = data + sizeof(struct ethhdr);
	struct udphdr *udp = (void *)(ip + 1);
	int verdict;
	__u32 to;

	if ((void *)(ip + 1) > data_end || ip->version != 6)
		return XDP_COUNT_MALFORMED;
	if (ip->nexthdr != IPPROTO_UDP)
		return next_header(ip->nexthdr);
	if ((void *)(udp + 1) > data_end)
		return XDP_COUNT_MALFORMED;
	if (group) {
		struct xdp_addr addr;

		__builtin_memcpy(&addr, &ip->daddr, sizeof(addr));
		to = is_group6(data, &ip->daddr) &&
		     is_group_claimed(&addr, udp->dest, XDP_PORT_GROUP6);
	} else {
		to = is_local6((const __u64 *)&ip->daddr);
	}
	if (!to)
		return XDP_COUNT_NOT_LOCAL;

	__u32 payload_len = bpf_ntohs(ip->payload_len), udp_len = bpf_ntohs(udp->len);

	if (udp_len < sizeof(*udp) || payload_len != udp_len)
		return XDP_COUNT_MALFORMED;
	verdict =
		check_size(ctx, data_end - data, sizeof(struct ethhdr) + sizeof(*ip) + payload_len);
	if (verdict == XDP_COUNT_MALFORMED)
		return verdict;
	if (martian6(&ip->saddr))
		return XDP_COUNT_MARTIAN;
	if (is_excluded6(&ip->saddr))
		return XDP_COUNT_SOURCE;
	if (may_be_several(udp, ip->saddr.s6_addr32, 8))
		verdict = XDP_COUNT_PARTIAL;
	if (!udp->check)
		verdict = XDP_COUNT_NO_CHECKSUM;
	if (group)
		return verdict;

	__u32 flags = shared.port[udp->dest];

	if (flags & (XDP_PORT_WILD6 | to))
		return verdict;
	flags &= XDP_PORT_ADDR6 | XDP_PORT_CONN6;
	if (!flags)
		return XDP_COUNT_UNCLAIMED;

	struct xdp_addr addr, peer;

	__builtin_memcpy(&addr, &ip->daddr, sizeof(addr));
	__builtin_memcpy(&peer, &ip->saddr, sizeof(peer));
	return is_claimed(&addr, &peer, udp, flags) ? verdict : XDP_COUNT_UNCLAIMED;
}

static __noinline int classify_group(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;

	if (data + sizeof(*eth) > data_end)
		return XDP_COUNT_MALFORMED;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return classify4(ctx, data, data_end, 1);
	if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		return classify6(ctx, data, data_end, 1);
	return XDP_COUNT_NOT_LOCAL;
}

static __always_inline int classify(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;

	if (data + sizeof(*eth) > data_end)
		return XDP_COUNT_MALFORMED;
	if (*(__u32 *)eth->h_dest != shared.mac0 || *(__u16 *)(eth->h_dest + 4) != shared.mac1)
		return shared.groups && eth->h_dest[0] & 1 ? classify_group(ctx)
							   : XDP_COUNT_NOT_LOCAL;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return classify4(ctx, data, data_end, 0);
	if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		return classify6(ctx, data, data_end, 0);
	return XDP_COUNT_NOT_IP;
}

/* Fills *t with the addresses and ports of a datagram that classify() has accepted. Returns its
 * length. */
static __always_inline __u32 read_tuple(struct xdp_md *ctx, struct bpf_sock_tuple *t)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + sizeof(struct ethhdr);
	struct ipv6hdr *ip6 = (void *)ip;

	if (data + sizeof(struct ethhdr) + sizeof(*ip6) + sizeof(struct udphdr) <= data_end &&
	    ip6->version == 6) {
		struct udphdr *udp = (void *)(ip6 + 1);

		__builtin_memcpy(t->ipv6.saddr, &ip6->saddr, 32);
		t->ipv6.sport = udp->source;
		t->ipv6.dport = udp->dest;
		return sizeof(t->ipv6);
	}
	if (data + sizeof(struct ethhdr) + sizeof(*ip) + sizeof(struct udphdr) <= data_end) {
		struct udphdr *udp = (void *)(ip + 1);

		t->ipv4.saddr = ip->saddr;
		t->ipv4.daddr = ip->daddr;
		t->ipv4.sport = udp->source;
		t->ipv4.dport = udp->dest;
	}
	return sizeof(t->ipv4);
}

/* --- ports that sockets share --- */

struct sock_common { /* of the kernel, the part that is needed here */
	struct {
		__s64 counter;
	} skc_cookie;
} __attribute__((preserve_access_index));

#define COOKIE_END_MAX 160 /* bytes from the start of struct sock to the end of its cookie */

/* Returns SO_COOKIE of the socket to which Linux would give the datagram; 0 if there is none, or
 * nobody has asked for its cookie yet. (A program that the group has attached is not asked:
 * udplaned leaves such groups to the kernel.) */
static __always_inline __u64 look_up(struct xdp_md *ctx, struct bpf_sock_tuple *tuple, __u32 len)
{
	const __u32 off = bpf_core_field_offset(struct sock_common, skc_cookie);
	__u8 head[COOKIE_END_MAX] __attribute__((aligned(8)));
	struct bpf_sock *sk;
	__u64 cookie = 0;

	if (off > COOKIE_END_MAX - sizeof(cookie))
		return 0;
	sk = bpf_sk_lookup_udp(ctx, tuple, len, BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return 0;
	/* from its start, as the verifier allows no arithmetic with such a pointer */
	if (!bpf_probe_read_kernel(head, off + sizeof(cookie), sk))
		cookie = *(__u64 *)(head + off);
	bpf_sk_release(sk);
	return cookie;
}

/* Linux chooses a member of a SO_REUSEPORT group by a secret hash. Returns false if the one that it
 * has chosen is not diverted to. Otherwise writes its name in front of the datagram, for the
 * worker. */
static __noinline int find_receiver(struct xdp_md *ctx)
{
	struct xdp_receiver receiver = {}, *to;
	struct bpf_sock_tuple tuple = {};
	__u32 len = read_tuple(ctx, &tuple);

	receiver.cookie = look_up(ctx, &tuple, len);
	if (!bpf_map_lookup_elem(&members, &receiver.cookie))
		return 0;
	if (len == sizeof(tuple.ipv6)) {
		receiver.source = tuple.ipv6.saddr[3];
		receiver.ports_be = tuple.ipv6.sport | (__u32)tuple.ipv6.dport << 16;
	} else {
		receiver.source = tuple.ipv4.saddr;
		receiver.ports_be = tuple.ipv4.sport | (__u32)tuple.ipv4.dport << 16;
	}
	receiver.source ^= XDP_RECEIVER_MAGIC;
	if (bpf_xdp_adjust_meta(ctx, -(int)sizeof(receiver)))
		return 1; /* the driver has no room: the worker chooses */
	to = (void *)(long)ctx->data_meta;
	if ((void *)(to + 1) <= (void *)(long)ctx->data)
		*to = receiver;
	return 1;
}

static __always_inline int is_shared(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	__u32 off = sizeof(*eth);
	__be16 *dest, port;

	if (data + sizeof(*eth) > data_end || eth->h_dest[0] & 1)
		return 0;
	off += eth->h_proto == bpf_htons(ETH_P_IPV6) ? sizeof(struct ipv6hdr)
						     : sizeof(struct iphdr);
	dest = data + off + 2;
	if ((void *)(dest + 1) > data_end)
		return 0;
	port = *dest;
	return shared.shared_port[port / 64] >> (port % 64) & 1;
}

/* --- translation --- */

/* The parts that are needed here; see net/netfilter/nf_conntrack_bpf.c. */
struct nf_conn {
	unsigned long status;
} __attribute__((preserve_access_index));

struct conntrack_opts { /* struct bpf_ct_opts as of Linux 5.18 */
	__s32 netns_id, error;
	__u8 l4proto, dir, reserved[2];
};

extern struct nf_conn *bpf_xdp_ct_lookup(struct xdp_md *ctx, struct bpf_sock_tuple *tuple,
					 __u32 tuple_len, struct conntrack_opts *opts,
					 __u32 opts_len) __ksym __weak;
extern void bpf_ct_release(struct nf_conn *ct) __ksym __weak;

/* Returns true if the datagram belongs to a flow that this namespace translates: an answer to a
 * masqueraded datagram of another sender, or to what a socket has sent to the address of a Service.
 * The kernel must receive it to undo the translation. */
static __noinline int is_translated(struct xdp_md *ctx)
{
	struct conntrack_opts opts = {.netns_id = BPF_F_CURRENT_NETNS, .l4proto = IPPROTO_UDP};
	struct bpf_sock_tuple tuple = {};
	__u32 len = read_tuple(ctx, &tuple);
	struct nf_conn *ct;
	unsigned long status;

	ct = bpf_xdp_ct_lookup(ctx, &tuple, len, &opts, sizeof(opts));
	if (!ct)
		return 0;
	status = ct->status;
	bpf_ct_release(ct);
	return (status & (IPS_SRC_NAT | IPS_DST_NAT)) != 0;
}

/* --- engage --- */

/* Returns the previous state, which is `from` if it was changed. */
static __always_inline __u32 swap_state(__u32 queue, __u32 from, __u32 to)
{
	return __sync_val_compare_and_swap(&shared.queue[queue & (XDP_QUEUES - 1)].state, from, to);
}

static int settled(void *map, __u32 *queue, struct settle *s)
{
	(void)map;
	(void)s;
	swap_state(*queue, XDP_STATE_SETTLING, XDP_STATE_ENGAGED);
	return 0;
}

/* The callback of a timer runs in a soft interrupt, hence after this poll if it runs on this CPU.
 * Pinning it takes Linux 6.7; earlier kernels may run it on another CPU if this one was idle. */
static __always_inline void settle(__u32 queue)
{
	struct settle *s = bpf_map_lookup_elem(&settles, &queue);

	if (timers && s) {
		bpf_timer_init(&s->timer, &settles,
			       CLOCK_MONOTONIC); /* EBUSY from the second time on */
		bpf_timer_set_callback(&s->timer, settled);
		if (!bpf_timer_start(&s->timer, 0, BPF_F_TIMER_CPU_PIN) ||
		    !bpf_timer_start(&s->timer, 0, 0))
			return;
	}
	swap_state(queue, XDP_STATE_SETTLING, XDP_STATE_ENGAGED);
}

/* Returns the verdict for a claimed datagram in a state that is neither IDLE nor ENGAGED. */
static __noinline int change(__u32 queue, __u32 state)
{
	__u32 before;

	switch (state) {
	case XDP_STATE_UNBOUND: return XDP_COUNT_NO_QUEUE;
	case XDP_STATE_STALLED: return XDP_COUNT_STALLED;
	case XDP_STATE_LEAVING:
		state = swap_state(queue, XDP_STATE_LEAVING, XDP_STATE_ENGAGED);
		break;
	case XDP_STATE_ENGAGING:
	case XDP_STATE_RESUMING:
		before = state;
		state = swap_state(queue, before, XDP_STATE_SETTLING);
		if (state == before)
			settle(queue);
		break;
	}
	if (state == XDP_STATE_HELD)
		swap_state(queue, XDP_STATE_HELD, XDP_STATE_HELD_SEEN);
	return state == XDP_STATE_IDLE ? XDP_COUNT_IDLE : XDP_COUNT_DIVERTED;
}

/* --- stalled workers --- */

/* Checks once per jiffy whether the worker runs. Returns the verdict. */
static __noinline int look_at_worker(__u32 queue)
{
	struct xdp_queue *q = &shared.queue[queue & (XDP_QUEUES - 1)];
	__u64 now = bpf_ktime_get_ns(), asked = q->asked_ns;
	__u32 state;

	if (*(volatile __u64 *)&q->answered_ns >= asked) {
		q->asked_ns = now;
		return XDP_COUNT_DIVERTED;
	}
	if (now - asked < XDP_STALL_NS)
		return XDP_COUNT_DIVERTED;
	state = *(volatile __u32 *)&q->state;
	if (state < XDP_STATE_ENGAGED || swap_state(queue, state, XDP_STATE_STALLED) != state)
		return XDP_COUNT_DIVERTED; /* the worker runs: it has just changed the state */
	return XDP_COUNT_STALLED;
}

SEC("xdp")
int udplane(struct xdp_md *ctx)
{
	__u32 queue = ctx->rx_queue_index, entry = XDP_QUEUES, state = XDP_STATE_UNBOUND;
	int verdict = classify(ctx);

	if (conntrack && verdict == XDP_COUNT_DIVERTED && shared.translated && is_translated(ctx))
		verdict = XDP_COUNT_TRANSLATED;
	if (receivers && verdict == XDP_COUNT_DIVERTED && shared.shared && is_shared(ctx) &&
	    !find_receiver(ctx))
		verdict = XDP_COUNT_UNCLAIMED;
	if (queue < XDP_QUEUES) {
		entry = queue;
		state = *(volatile __u32 *)&shared.queue[queue].state;
	}
	if (verdict == XDP_COUNT_DIVERTED && state != XDP_STATE_ENGAGED)
		verdict = state == XDP_STATE_IDLE ? XDP_COUNT_IDLE : change(queue, state);
	if (verdict == XDP_COUNT_DIVERTED && queue < XDP_QUEUES) {
		/* two instructions, which the verifier inlines; a clock would be a call */
		__u64 tick = bpf_jiffies64();

		if (shared.queue[queue].tick != tick) {
			shared.queue[queue].tick = tick;
			verdict = look_at_worker(queue);
		}
	}
	count(entry, XDP_COUNT_SEEN);
	count(entry, verdict);
	return verdict == XDP_COUNT_DIVERTED ? bpf_redirect_map(&xsks, queue, XDP_PASS) : XDP_PASS;
}

/* Linux allows bpf_timers to programs under the GPL only, which is one of this file's licences. */
char _license[] SEC("license") = "GPL";
