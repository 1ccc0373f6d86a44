/* SPDX-License-Identifier: Apache-2.0 */
// The least that a program can do: IPv4 UDP to the xsk, everything else to the kernel. And two
// peers: one drops, one echoes.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

static __always_inline struct ethhdr *udp4(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);

	if ((void *)(ip + 1) + sizeof(struct udphdr) > end || eth->h_proto != bpf_htons(ETH_P_IP) ||
	    ip->ihl != 5 || ip->protocol != 17)
		return 0;
	return eth;
}

SEC("xdp")
int raw_redirect(struct xdp_md *ctx)
{
	return udp4(ctx) ? bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_PASS) : XDP_PASS;
}

SEC("xdp")
int peer_drop(struct xdp_md *ctx)
{
	return udp4(ctx) ? XDP_DROP : XDP_PASS;
}

// Makes veth take XDP frames from its peer.
SEC("xdp")
int peer_pass(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}

// Swaps MACs, addresses and ports: no checksum changes by that.
SEC("xdp")
int peer_echo(struct xdp_md *ctx)
{
	struct ethhdr *eth = udp4(ctx);
	struct iphdr *ip;
	struct udphdr *udp;
	__u8 mac[ETH_ALEN];
	__u32 addr;
	__u16 port;

	if (!eth)
		return XDP_PASS;
	ip = (void *)(eth + 1);
	udp = (void *)(ip + 1);
	__builtin_memcpy(mac, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, eth->h_source, ETH_ALEN);
	__builtin_memcpy(eth->h_source, mac, ETH_ALEN);
	addr = ip->saddr;
	ip->saddr = ip->daddr;
	ip->daddr = addr;
	port = udp->source;
	udp->source = udp->dest;
	udp->dest = port;
	return XDP_TX;
}

char _license[] SEC("license") = "Apache-2.0";
