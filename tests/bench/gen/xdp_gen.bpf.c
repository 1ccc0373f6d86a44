/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends each test frame out of the interface that it appears to have come from, with the next pair
 * of ports: destination ports in turn, and the next source port when all have had one. Pages are
 * recycled, so ports and checksum are written, not updated.
 */
#include <linux/bpf.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "tests/bench/gen/xdp_gen.h"

struct gen gen;

SEC("xdp")
int xdp_gen(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct udphdr *udp = data + (gen.udp_off & 63);
	__u64 n = gen.sent;
	__u32 dport, sport, sum;

	if ((void *)(udp + 1) > data_end || !gen.dport_cnt || !gen.sport_cnt)
		return XDP_DROP;
	dport = gen.dport + n % gen.dport_cnt;
	sport = gen.sport + n / gen.dport_cnt % gen.sport_cnt;
	sum = gen.sum + dport + sport;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	udp->source = bpf_htons(sport);
	udp->dest = bpf_htons(dport);
	udp->check = bpf_htons(sum == 0xffff ? 0xffff : ~sum & 0xffff);
	gen.sent = n + 1;
	return XDP_TX;
}

char _license[] SEC("license") = "Apache-2.0";
