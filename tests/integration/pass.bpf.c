/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* A foreign XDP program that passes every packet, for truth_test.py. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
