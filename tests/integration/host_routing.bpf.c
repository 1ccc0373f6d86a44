/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * eBPF host routing in front of a pod, as Cilium and Calico do it, for truth_test.py: what comes in
 * at the host's NIC goes straight to the pod's end of its veth pair, past the host's stack and past
 * the native XDP stage of that end; what the pod sends goes straight out. The test makes both
 * interfaces under these numbers.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define POD_SIDE 1001 /* the host's end of the pod's veth pair */
#define NIC	 1002

SEC("tc/in")
int in(struct __sk_buff *skb)
{
	(void)skb;
	return bpf_redirect_peer(POD_SIDE, 0);
}

SEC("tc/out")
int out(struct __sk_buff *skb)
{
	(void)skb;
	return bpf_redirect(NIC, 0);
}

char _license[] SEC("license") = "GPL";
