// SPDX-License-Identifier: Apache-2.0
/* Sockets in namespaces as one meets them: a plain pod, Istio, kube-proxy on a node, a masquerading
 * router. */
#include <gtest/gtest.h>

#include "tests/unit/environment/nft.h" /* before the kernel's headers: see libc-compat.h */

#include "sidecar/environment/judge.h"
#include "sidecar/environment/rules_net.h"
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/xfrm.h>

namespace
{
using List = std::vector<Expression>;
const Expression drop = verdict(NF_DROP);

class Judge : public testing::Test
{
      protected:
	struct judge_world w = {};
	struct udplane_addr local = {}, peer = {};
	uint32_t programs = 0;

	void SetUp() override
	{
		w.ifindex = 7;
		strcpy(w.ifname, "eth0");
		w.ours = static_cast<uint8_t(*)[16]>(calloc(1, 16));
		w.ours_cnt = 1;
		w.ours[0][10] = w.ours[0][11] = 0xff;
		memcpy(w.ours[0] + 12, ip("10.0.0.1").data(), 4);
		local.family = AF_INET;
		local.port_be = htons(5060);
	}

	void TearDown() override
	{
		judge_free(&w);
	}

	struct judge_verdict judge()
	{
		struct judge_verdict v;
		struct judge_socket s = {};
		s.v4 = true;
		s.port_be = local.port_be;
		s.local = &local;
		s.peer = &peer;
		s.programs = programs;
		judge_prepare(&w);
		judge_socket(&w, &s, &v);
		return v;
	}

	void expect(enum udplane_reason rx, enum udplane_reason tx)
	{
		struct judge_verdict v = judge();
		EXPECT_EQ(rx, v.rx) << v.rx_text;
		EXPECT_EQ(tx, v.tx) << v.tx_text;
		EXPECT_EQ(rx != 0, v.rx_text[0] != 0);
		EXPECT_EQ(tx != 0, v.tx_text[0] != 0);
	}

	Ruleset nft()
	{
		return Ruleset(&w.rules[JUDGE_NETFILTER]);
	}
};

constexpr auto NO = UDPLANE_REASON_NONE;
constexpr auto NF = UDPLANE_REASON_NETFILTER;

TEST_F(Judge, APodWithoutRulesIsFast)
{
	expect(NO, NO);
	EXPECT_EQ(0u, w.excluded_cnt);
}

TEST_F(Judge, IstioTranslatesTcpOnly)
{
	nft().chain("OUTPUT", NF_INET_LOCAL_OUT, "nat")
		.chain("PREROUTING", NF_INET_PRE_ROUTING, "nat")
		.chain("ISTIO")
		.rule("OUTPUT", proto(6) + List{verdict(NFT_JUMP, "ISTIO")})
		.rule("PREROUTING", proto(6) + List{verdict(NFT_JUMP, "ISTIO")})
		.rule("ISTIO", {plain("redir")});
	expect(NO, NO);
	EXPECT_FALSE(w.translates);
}

/* Marks ClusterIP flows for masquerading, translates them, and masquerades what is marked. */
void kube_proxy(Ruleset n)
{
	n.chain("OUTPUT", NF_INET_LOCAL_OUT, "nat")
		.chain("PREROUTING", NF_INET_PRE_ROUTING, "nat")
		.chain("POSTROUTING", NF_INET_POST_ROUTING, "nat")
		.chain("SERVICES")
		.chain("SVC")
		.rule("OUTPUT", {verdict(NFT_JUMP, "SERVICES")})
		.rule("PREROUTING", {verdict(NFT_JUMP, "SERVICES")})
		.rule("SERVICES", daddr("10.96.0.10") + dport(53) + List{verdict(NFT_JUMP, "SVC")})
		.rule("SVC", {immediate({0, 0x40, 0, 0}, 1), meta_set(NFT_META_MARK)})
		.rule("SVC", {immediate(ip("10.244.0.7"), 1), immediate(port(53), 2), dnat(1, 2)})
		.rule("POSTROUTING", {meta(NFT_META_MARK), mask({0, 0x40, 0, 0}, {0, 0, 0, 0}),
				      cmp({0, 0x40, 0, 0}, NFT_CMP_NEQ), verdict(NFT_RETURN)})
		.rule("POSTROUTING", {plain("masq")});
}

TEST_F(Judge, KubeProxyOnANodeLeavesSendingToOthersFast)
{
	kube_proxy(nft());
	expect(NF, NO);
	ASSERT_EQ(2u, w.excluded_cnt);
	EXPECT_EQ(0, memcmp(w.excluded[0].addr, ip("10.96.0.10").data(), 4));
	EXPECT_EQ(0, memcmp(w.excluded[1].addr, ip("10.244.0.7").data(), 4));
	/* Not asked again for each socket, with thousands of Services. */
	EXPECT_FALSE(w.any[JUDGE_NETFILTER][0][0].varies);
	EXPECT_FALSE(w.any[JUDGE_NETFILTER][0][1].varies);
}

TEST_F(Judge, ADeviceThatAsksConnectionTrackingReceives)
{
	kube_proxy(nft());
	w.device_asks = true;
	expect(NO, NO);
	EXPECT_EQ(2u, w.excluded_cnt) << "what is translated on the way out takes the kernel";
	EXPECT_TRUE(w.translates) << "so the device is told to ask";
}

TEST_F(Judge, FlowsThatAreStillTranslatedAreAnsweredByTheKernel)
{
	w.nat_flows = true;
	expect(NF, NF);
	w.device_asks = true;
	expect(NO, NF);
}

/* The address of the pods' bridge is the node's, too, but nothing leaves from there. */
TEST_F(Judge, MasqueradingConcernsWhatMayBeTheSource)
{
	nft().chain("post", NF_INET_POST_ROUTING, "nat")
		.rule("post", saddr("10.244.0.1") + List{plain("masq")});
	w.device_asks = true;
	w.ours = static_cast<uint8_t(*)[16]>(realloc(w.ours, 32));
	memcpy(w.ours[1], w.ours[0], 16);
	memcpy(w.ours[1] + 12, ip("10.244.0.1").data(), 4);
	w.ours_cnt = 2;
	expect(NO, NF);
	w.sources = static_cast<uint8_t(*)[16]>(calloc(1, 16));
	memcpy(w.sources[0], w.ours[0], 16);
	w.source_cnt = 1;
	expect(NO, NO);
	memcpy(local.addr, ip("10.244.0.1").data(), 4);
	expect(NO, NF);
}

/* The same as the kernel dumps it, by sets and maps. */
TEST_F(Judge, KubeProxyInModeNftables)
{
	load_dump(&w.rules[JUDGE_NETFILTER], "nft_kube_proxy");
	expect(NF, NO);
	w.device_asks = true;
	expect(NO, NO);
	std::string to;
	for (uint32_t i = 0; i < w.excluded_cnt; i++) {
		char text[INET_ADDRSTRLEN];
		to += inet_ntop(AF_INET, w.excluded[i].addr, text, sizeof(text)) +
		      ("/" + std::to_string(w.excluded[i].len)) + " ";
	}
	EXPECT_EQ("10.96.0.0/16 10.244.0.7/32 10.244.0.9/32 10.244.1.8/32 ", to);
	EXPECT_FALSE(w.any[JUDGE_NETFILTER][0][0].varies & RULES_VARIES_PORT);
	local.port_be = htons(30053); /* a NodePort */
	expect(NF, NF);
	local.port_be = htons(30054); /* of a Service without endpoints */
	expect(NF, NF);
	local.port_be = htons(53);
	expect(NO, NO);
}

TEST_F(Judge, RulesOnConnectionsWithSomePeersConcernTheseOnly)
{
	nft().chain("out", NF_INET_LOCAL_OUT)
		.rule("out", List{ct(), cmp({8, 0, 0, 0})} + daddr("192.0.2.1") + List{drop});
	nft().chain("in", NF_INET_LOCAL_IN)
		.rule("in", List{ct(), cmp({8, 0, 0, 0})} + saddr("192.0.2.7") + List{drop});
	expect(NO, NO);
	ASSERT_EQ(2u, w.excluded_cnt);
	EXPECT_EQ(0, memcmp(w.excluded[0].addr, ip("192.0.2.1").data(), 4));
	EXPECT_EQ(0, memcmp(w.excluded[1].addr, ip("192.0.2.7").data(), 4));
	nft().rule("in", {ct(), cmp({8, 0, 0, 0}), verdict(NFT_RETURN)})
		.rule("in", sport(7) + List{drop});
	expect(NF, NF);
}

TEST_F(Judge, RulesOnConnectionsWithSomePeersOfIpv6ConcernTheseOnly)
{
	const List to = {payload(NFT_PAYLOAD_NETWORK_HEADER, 24, 16), cmp(ip("2001:db8::1"))};
	Ruleset(&w.rules[JUDGE_NETFILTER], NFPROTO_IPV6)
		.chain("out", NF_INET_LOCAL_OUT)
		.rule("out", List{ct(), cmp({8, 0, 0, 0})} + to + List{drop});
	struct judge_verdict v;
	struct judge_socket s = {};
	local.family = AF_INET6;
	s.v6 = true;
	s.port_be = local.port_be;
	s.local = &local;
	s.peer = &peer;
	judge_prepare(&w);
	judge_socket(&w, &s, &v);
	EXPECT_EQ(NO, v.rx);
	EXPECT_EQ(NO, v.tx);
	ASSERT_EQ(1u, w.excluded_cnt);
	EXPECT_EQ(AF_INET6, w.excluded[0].family);
	EXPECT_EQ(128, w.excluded[0].len);
	EXPECT_EQ(0, memcmp(w.excluded[0].addr, ip("2001:db8::1").data(), 16));
}

TEST_F(Judge, SourcesThatAreDroppedAreLeftToLinux)
{
	nft().chain("in", NF_INET_LOCAL_IN).rule("in", saddr("192.0.2.7") + List{drop});
	expect(NO, NO);
	ASSERT_EQ(1u, w.excluded_cnt);
	EXPECT_EQ(32, w.excluded[0].len);
	/* For one port only: the others go on receiving from there. */
	nft().rule("in", dport(161) + saddr("10.0.0.0") + List{drop});
	expect(NO, NO);
	EXPECT_EQ(1u, w.excluded_cnt);
	for (int i = 0; i < RULES_SOURCES; i++) { /* too many: sending stays fast */
		nft().rule("in", saddr(("172.16.1." + std::to_string(i)).c_str()) + List{drop});
		expect(i < RULES_SOURCES - 1 ? NO : NF, NO);
	}
	rules_free(&w.rules[JUDGE_NETFILTER]);
	nft().chain("in", NF_INET_LOCAL_IN).rule("in", dport(161) + saddr("10.0.0.0") + List{drop});
	local.port_be = htons(161);
	expect(NF, NO);
	local.port_be = htons(5060);
	nft().rule("in", List{payload(NFT_PAYLOAD_NETWORK_HEADER, 12, 4),
			      cmp(ip("192.0.2.7"), NFT_CMP_NEQ)} +
				 dport(5060) + List{drop});
	expect(NF, NO);
}

TEST_F(Judge, MasqueradingOfOthersConcernsEveryPort)
{
	nft().chain("post", NF_INET_POST_ROUTING, "nat")
		.rule("post", saddr("10.244.0.5") + List{plain("masq")});
	expect(NF, NO);
	peer = local;
	memcpy(peer.addr, ip("192.0.2.1").data(), 4);
	expect(NF, NO);
}

TEST_F(Judge, ARedirectToItsPortConcernsItsAnswers)
{
	nft().chain("pre", NF_INET_PRE_ROUTING, "nat")
		.rule("pre", dport(53) + List{immediate(port(5060), 1),
					      expression("redir", [](struct nlmsghdr *m) {
						      put(m, NFTA_REDIR_REG_PROTO_MIN, 1);
					      })});
	expect(NO, NF);
	local.port_be = htons(5061);
	expect(NO, NO);
	local.port_be = htons(53);
	expect(NF, NO);
}

TEST_F(Judge, RulesOnConnectionsConcernBothDirections)
{
	nft().chain("in", NF_INET_LOCAL_IN, "filter", true)
		.rule("in", {ct(), cmp({2, 0, 0, 0}), verdict(NF_ACCEPT)});
	expect(NF, NF);
}

TEST_F(Judge, OneDirectionOnly)
{
	nft().chain("in", NF_INET_LOCAL_IN).rule("in", dport(5060) + List{drop});
	expect(NF, NO);
	local.port_be = htons(5061);
	expect(NO, NO);
}

TEST_F(Judge, WhatCannotBeReadIsInDoubt)
{
	strcpy(w.blind[JUDGE_IPSEC], "cannot read the IPsec policies");
	expect(UDPLANE_REASON_IPSEC, UDPLANE_REASON_IPSEC);
}

TEST_F(Judge, ProgramsOfTheControlGroup)
{
	constexpr auto CG = UDPLANE_REASON_CGROUP_PROGRAM;
	programs = JUDGE_SEND4;
	expect(NO, CG);
	programs = JUDGE_RECV4;
	expect(CG, NO);
	programs = JUDGE_SEND6 | JUDGE_RECV6 | JUDGE_CONNECT6;
	expect(NO, NO);
	programs = JUDGE_CONNECT4;
	expect(NO, NO);
	peer = local;
	expect(CG, CG);
	peer.family = 0;
	programs = JUDGE_SKB_IN;
	expect(CG, NO);
}

TEST_F(Judge, IpsecPoliciesBySelector)
{
	char buf[1024] __attribute__((aligned(8))) = {};
	struct nlmsghdr *m = mnl_nlmsg_put_header(buf);
	m->nlmsg_type = XFRM_MSG_NEWPOLICY;
	auto *p = static_cast<struct xfrm_userpolicy_info *>(
		mnl_nlmsg_put_extra_header(m, sizeof(struct xfrm_userpolicy_info)));
	p->sel.family = AF_INET;
	memcpy(&p->sel.daddr, ip("192.0.2.0").data(), 4);
	p->sel.prefixlen_d = 24;
	p->dir = XFRM_POLICY_OUT;
	p->action = XFRM_POLICY_BLOCK;
	struct rules *r = &w.rules[JUDGE_IPSEC];
	rules_xfrm_policy(r, m);
	expect(NO, NO);
	ASSERT_EQ(1u, w.excluded_cnt);
	EXPECT_EQ(24, w.excluded[0].len);
	p->dir = XFRM_POLICY_IN;
	p->sel.prefixlen_d = 0;
	p->sel.dport = htons(5060);
	p->sel.dport_mask = 0xffff;
	rules_xfrm_policy(r, m);
	expect(UDPLANE_REASON_IPSEC, NO);
	local.port_be = htons(5061);
	expect(NO, NO);
	p->action = XFRM_POLICY_ALLOW;
	p->sel.dport_mask = 0;
	rules_xfrm_policy(r, m);
	expect(NO, NO);
	p->dir = XFRM_POLICY_OUT;
	p->action = XFRM_POLICY_BLOCK;
	rules_xfrm_policy(r, m);
	expect(NO, UDPLANE_REASON_IPSEC);
}

TEST_F(Judge, QueuesAndFilters)
{
	constexpr auto TC = UDPLANE_REASON_TRAFFIC_CONTROL;
	char buf[1024] __attribute__((aligned(8)));
	uint32_t parent[2];
	struct rules *r = &w.rules[JUDGE_TRAFFIC_CONTROL];
	auto qdisc = [&](const char *kind) {
		memset(buf, 0, sizeof(buf));
		struct nlmsghdr *m = mnl_nlmsg_put_header(buf);
		m->nlmsg_type = RTM_NEWQDISC;
		auto *t = static_cast<struct tcmsg *>(
			mnl_nlmsg_put_extra_header(m, sizeof(struct tcmsg)));
		t->tcm_ifindex = 7;
		mnl_attr_put_strz(m, TCA_KIND, kind);
		return rules_tc_qdisc(r, m, 7, parent);
	};
	for (const char *kind : {"noqueue", "pfifo_fast", "fq_codel", "mq", "fq"})
		qdisc(kind);
	expect(NO, NO);
	ASSERT_EQ(2u, qdisc("clsact"));
	expect(NO, NO);
	struct nlmsghdr *m = reinterpret_cast<struct nlmsghdr *>(buf);
	m->nlmsg_type = RTM_NEWTFILTER;
	auto *t = static_cast<struct tcmsg *>(mnl_nlmsg_get_payload(m));
	t->tcm_info = TC_H_MAKE(1 << 16, htons(0x0806));
	rules_tc_filter(r, m, parent[0]);
	expect(NO, NO); /* ARP */
	t->tcm_info = TC_H_MAKE(1 << 16, htons(0x0003));
	rules_tc_filter(r, m, parent[0]);
	expect(TC, NO);
	qdisc("netem");
	expect(TC, TC);
}
} // namespace
