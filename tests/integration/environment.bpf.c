/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What a CNI's socket load balancer does to UDP: ClusterIP 10.96.0.10:53 <->
 * backend 10.99.0.2:5353, at the socket. And a classifier that drops UDP. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define CLUSTER_IP   bpf_htonl(0x0a60000a)
#define CLUSTER_PORT bpf_htons(53)
#define BACKEND_IP   bpf_htonl(0x0a630002)
#define BACKEND_PORT bpf_htons(5353)

static int forth(struct bpf_sock_addr *c)
{
	if (c->user_ip4 == CLUSTER_IP && c->user_port == CLUSTER_PORT) {
		c->user_ip4 = BACKEND_IP;
		c->user_port = BACKEND_PORT;
	}
	return 1;
}

static int back(struct bpf_sock_addr *c)
{
	if (c->user_ip4 == BACKEND_IP && c->user_port == BACKEND_PORT) {
		c->user_ip4 = CLUSTER_IP;
		c->user_port = CLUSTER_PORT;
	}
	return 1;
}

SEC("cgroup/sendmsg4") int sendmsg4(struct bpf_sock_addr *c)
{
	return forth(c);
}

SEC("cgroup/connect4") int connect4(struct bpf_sock_addr *c)
{
	return forth(c);
}

SEC("cgroup/recvmsg4") int recvmsg4(struct bpf_sock_addr *c)
{
	return back(c);
}

SEC("cgroup/getpeername4") int getpeername4(struct bpf_sock_addr *c)
{
	return back(c);
}

/* IPv4 without options. */
SEC("tc") int drop_udp(struct __sk_buff *skb)
{
	__u8 proto = 0;

	if (skb->protocol != bpf_htons(0x0800) || bpf_skb_load_bytes(skb, 14 + 9, &proto, 1))
		return TC_ACT_OK;
	return proto == 17 ? TC_ACT_SHOT : TC_ACT_OK;
}

char _license[] SEC("license") = "GPL";
