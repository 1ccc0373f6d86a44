/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel says of rules: netlink messages of nftables, xfrm and traffic control one after
 * another, or, behind the first byte 'x', a table of iptables-legacy (five hook offsets, then its
 * entries). Then sockets are judged by it.
 */
#include "sidecar/environment/attrs.h"
#include "sidecar/environment/judge.h"
#include "sidecar/environment/rules_net.h"
#include "sidecar/environment/rules_nft.h"
#include "sidecar/environment/rules_xt.h"
#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/xfrm.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void take(struct judge_world *w, const struct nlmsghdr *nlh)
{
	uint32_t parent[2];

	switch (nlh->nlmsg_type) {
	case NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWCHAIN:
		rules_nft_chain(&w->rules[JUDGE_NETFILTER], nlh, w->ifname);
		break;
	case NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWSET:
		rules_nft_set(&w->rules[JUDGE_NETFILTER], nlh);
		break;
	case NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWSETELEM:
		rules_nft_elements(&w->rules[JUDGE_NETFILTER], nlh);
		break;
	case NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWRULE:
		rules_nft_rule(&w->rules[JUDGE_NETFILTER], nlh);
		break;
	case XFRM_MSG_NEWPOLICY: rules_xfrm_policy(&w->rules[JUDGE_IPSEC], nlh); break;
	case XFRM_MSG_GETDEFAULT: rules_xfrm_default(&w->rules[JUDGE_IPSEC], nlh); break;
	case RTM_NEWQDISC:
		rules_tc_qdisc(&w->rules[JUDGE_TRAFFIC_CONTROL], nlh, w->ifindex, parent);
		break;
	case RTM_NEWTFILTER:
		rules_tc_filter(&w->rules[JUDGE_TRAFFIC_CONTROL], nlh,
				TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS));
		break;
	}
}

static void take_table(struct judge_world *w, const uint8_t *data, size_t size, uint8_t family)
{
	struct rules_xt_table t = {.name = "nat", .valid_hooks = 0x1f};

	if (size < 40)
		return;
	memcpy(t.hook_entry, data, 20);
	memcpy(t.underflow, data + 20, 20);
	t.entries = data + 40;
	t.size = (uint32_t)size - 40;
	if (!rules_xt_add(&w->rules[JUDGE_NETFILTER], family, &t))
		rules_free(&w->rules[JUDGE_NETFILTER]);
	rules_xt_hash(family, &t);
}

/* Sets are emptied and taken over in a copy, as after a change. */
static void change(struct judge_world *w)
{
	struct rules again = {0}, *r = &w->rules[JUDGE_NETFILTER];

	if (!rules_copy(&again, r))
		return;
	for (uint32_t i = 0; i < again.set_cnt; i += 2)
		rules_empty_set(&again, i);
	if (again.set_cnt && rules_reuse_set(r, 7, NULL))
		abort();
	if (again.set_cnt)
		rules_reuse_set(&again, 7, r);
	rules_finish(&again);
	rules_free(r);
	*r = again;
}

static void judge(struct judge_world *w)
{
	struct udplane_addr local = {.family = AF_INET, .port_be = htons(5060)}, peer = {0};
	struct judge_socket s = {
		.v4 = true, .v6 = true, .port_be = local.port_be, .local = &local, .peer = &peer};
	struct judge_verdict v;

	judge_prepare(w);
	for (uint32_t i = 0; i < w->excluded_cnt; i++)
		if (w->excluded[i].len > (w->excluded[i].family == AF_INET ? 32 : 128))
			abort(); /* the route table would be refused */
	judge_socket(w, &s, &v);
	if (!v.rx != !v.rx_text[0] || !v.tx != !v.tx_text[0])
		abort(); /* a reason without its text */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct judge_world w = {.ifindex = 7, .ifname = "eth0"};
	uint8_t *copy = malloc(size + 1); /* aligned, and its end is watched */
	const struct nlmsghdr *nlh;
	const void *at = copy;
	uint32_t len = (uint32_t)size;

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	if (size && (copy[0] == 'x' || copy[0] == 'X'))
		take_table(&w, copy + 1, size - 1, copy[0] == 'x' ? AF_INET : AF_INET6);
	else
		while ((nlh = attrs_next_message(&at, &len)))
			take(&w, nlh);
	rules_finish(&w.rules[JUDGE_NETFILTER]);
	judge(&w);
	change(&w);
	judge(&w);
	judge_free(&w);
	free(copy);
	return 0;
}
