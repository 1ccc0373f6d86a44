// SPDX-License-Identifier: Apache-2.0
/* Single rules, against what arrives at 10.0.0.1:5060 by eth0 (index 7), and against what port 5060
 * sends by it. */
#include <gtest/gtest.h>

#include "sidecar/environment/rules_net.h"
#include "sidecar/environment/rules_xt.h"
#include "tests/unit/environment/nft.h"

namespace
{
using List = std::vector<Expression>;

struct Case {
	const char *what;
	List rule;
	bool in, out;		  /* may it concern a datagram? */
	const char *to = nullptr; /* out: only of that destination */
	uint8_t len = 0;
};

void PrintTo(const Case &c, std::ostream *os)
{
	*os << c.what;
}

const Expression drop = verdict(NF_DROP);
const Expression accepts = verdict(NF_ACCEPT);

class OneRule : public testing::TestWithParam<Case>
{
};

TEST_P(OneRule, ConcernsADatagramOrNot)
{
	const Case &c = GetParam();
	struct rules r = {};
	Ruleset(&r)
		.chain("in", NF_INET_LOCAL_IN)
		.chain("out", NF_INET_LOCAL_OUT)
		.rule("in", c.rule)
		.rule("out", c.rule);
	struct rules_class in = incoming(), out = outgoing();
	struct rules_result result;
	rules_ask(&r, &in, &result);
	EXPECT_EQ(c.in, result.effects != 0) << result.text;
	rules_ask(&r, &out, &result);
	EXPECT_EQ(c.out, result.effects != 0) << result.text;
	EXPECT_EQ(c.out && !c.to, result.all);
	ASSERT_EQ(c.to ? 1u : 0u, result.prefix_cnt);
	if (c.to) {
		EXPECT_EQ(c.len, result.prefix[0].len);
		EXPECT_EQ(0, memcmp(result.prefix[0].addr, ip(c.to).data(), 4));
	}
	rules_free(&r);
}

INSTANTIATE_TEST_SUITE_P(
	Nft, OneRule,
	testing::Values(
		Case{"drop", {drop}, true, true},
		Case{"counter and log only", {plain("counter"), plain("log")}, false, false},
		Case{"TCP only", proto(6) + List{drop}, false, false},
		Case{"UDP", proto(17) + List{drop}, true, true},
		Case{"our port as destination", dport(5060) + List{drop}, true, true},
		Case{"another port", dport(53) + List{drop}, false, true},
		Case{"our port as source", sport(5060) + List{drop}, true, true},
		Case{"another source port", sport(53) + List{drop}, true, false},
		Case{"a range with our port",
		     List{payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2),
			  range(port(5000), port(5999)), drop},
		     true, true},
		Case{"a range without",
		     List{payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2), range(port(1), port(5059)),
			  drop},
		     false, true},
		Case{"one destination", daddr("192.0.2.1") + List{drop}, false, true, "192.0.2.1",
		     32},
		Case{"a prefix by bytes",
		     List{payload(NFT_PAYLOAD_NETWORK_HEADER, 16, 2), cmp({10, 96}), drop}, false,
		     true, "10.96.0.0", 16},
		Case{"a prefix by mask",
		     List{payload(NFT_PAYLOAD_NETWORK_HEADER, 16, 4),
			  mask({255, 240, 0, 0}, {0, 0, 0, 0}), cmp({10, 96, 0, 0}), drop},
		     false, true, "10.96.0.0", 12},
		Case{"all but a destination",
		     List{payload(NFT_PAYLOAD_NETWORK_HEADER, 16, 4),
			  cmp(ip("192.0.2.1"), NFT_CMP_NEQ), drop},
		     true, true},
		Case{"our address as source", saddr("10.0.0.1") + List{drop}, true, true},
		Case{"another's", saddr("10.0.0.2") + List{drop}, true, false},
		Case{"our interface", List{meta(NFT_META_IIFNAME), cmp(name("eth0")), drop}, true,
		     false},
		Case{"by pattern", List{meta(NFT_META_OIFNAME), cmp(name("eth", false)), drop},
		     false, true},
		Case{"by index", List{meta(NFT_META_IIF), cmp({7, 0, 0, 0}), drop}, true, false},
		Case{"another interface", List{meta(NFT_META_IIFNAME), cmp(name("lo")), drop},
		     false, false},
		Case{"a set", List{payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2), lookup(), drop},
		     true, true},
		Case{"a verdict map",
		     List{payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2), lookup(true)}, true, true},
		Case{"no mark is set", List{meta(NFT_META_MARK), cmp({1, 0, 0, 0}), drop}, false,
		     false},
		Case{"mark set", List{immediate({1, 0, 0, 0}, 1), meta_set(NFT_META_MARK)}, true,
		     true},
		Case{"an effect before its test",
		     List{immediate({1, 0, 0, 0}, 1), meta_set(NFT_META_MARK)} + proto(6), true,
		     true},
		Case{"what is not known", {plain("brand_new")}, true, true},
		Case{"reject", {plain("reject")}, true, true},
		Case{"notrack", {plain("notrack")}, false, false},
		Case{"return", {verdict(NFT_RETURN)}, false, false},
		Case{"accept", {accepts}, false, false}));

struct rules_result ask(const struct rules *r, const struct rules_class &c)
{
	struct rules_result result;
	rules_ask(r, &c, &result);
	return result;
}

TEST(Rules, APolicyOfDropNeedsAProofOfAccept)
{
	struct rules r = {};
	Ruleset(&r)
		.chain("in", NF_INET_LOCAL_IN, "filter", true)
		.rule("in", {ct(), mask({6, 0, 0, 0}, {0, 0, 0, 0}), cmp({0, 0, 0, 0}, NFT_CMP_NEQ),
			     accepts})
		.rule("in", dport(5060) + List{accepts});
	struct rules_class c = incoming();
	EXPECT_EQ(0u, ask(&r, c).effects);
	rules_class_destination(&c, nullptr, htons(5061));
	struct rules_result result = ask(&r, c);
	EXPECT_EQ(unsigned(RULES_DROP), result.effects);
	EXPECT_TRUE(result.state);
	EXPECT_STREQ("nft: table ip t, chain in: policy drop", result.text);
	rules_free(&r);
}

TEST(Rules, JumpsComeBackAndGotosDoNot)
{
	for (int code : {NFT_JUMP, NFT_GOTO}) {
		struct rules r = {};
		Ruleset(&r)
			.chain("in", NF_INET_LOCAL_IN)
			.chain("sub")
			.rule("sub", proto(6) + List{drop})
			.rule("in", {verdict(code, "sub")})
			.rule("in", {drop});
		EXPECT_EQ(code == NFT_JUMP, ask(&r, incoming()).effects != 0);
		rules_free(&r);
	}
}

TEST(Rules, AJumpByDestinationLimitsWhatIsBehindIt)
{
	struct rules r = {};
	Ruleset(&r)
		.chain("out", NF_INET_LOCAL_OUT, "nat")
		.chain("svc")
		.rule("out", daddr("10.96.0.10") + dport(53) + List{verdict(NFT_JUMP, "svc")})
		.rule("svc",
		      {immediate(ip("10.244.0.7"), 1), immediate(port(5353), 2), dnat(1, 2)});
	struct rules_result result = ask(&r, outgoing());
	EXPECT_EQ(unsigned(RULES_DNAT), result.effects);
	EXPECT_FALSE(result.all);
	ASSERT_EQ(2u, result.prefix_cnt); /* and the target, where flows would clash */
	EXPECT_EQ(0, memcmp(result.prefix[0].addr, ip("10.96.0.10").data(), 4));
	EXPECT_EQ(0, memcmp(result.prefix[1].addr, ip("10.244.0.7").data(), 4));
	rules_free(&r);
}

TEST(Rules, ALoopOfJumpsIsInDoubt)
{
	struct rules r = {};
	Ruleset(&r)
		.chain("in", NF_INET_LOCAL_IN)
		.chain("a")
		.rule("in", {verdict(NFT_JUMP, "a")})
		.rule("a", {verdict(NFT_JUMP, "a")});
	EXPECT_TRUE(ask(&r, incoming()).all);
	rules_free(&r);
}

TEST(Rules, ChainsOfOtherFamiliesHooksAndDevicesDoNotConcernIt)
{
	struct rules r = {};
	Ruleset(&r, NFPROTO_IPV6).chain("in6", NF_INET_LOCAL_IN).rule("in6", {drop});
	Ruleset(&r, NFPROTO_ARP).chain("arp", 0).rule("arp", {drop});
	Ruleset(&r).chain("fwd", NF_INET_FORWARD).rule("fwd", {drop});
	Ruleset(&r, NFPROTO_NETDEV).chain("dev", 0, "filter", false, "eth1").rule("dev", {drop});
	struct rules_class c = incoming();
	c.hooks |= RULES_INGRESS;
	EXPECT_EQ(0u, ask(&r, c).effects);
	Ruleset(&r, NFPROTO_NETDEV).chain("ours", 0, "filter", false, "eth0").rule("ours", {drop});
	EXPECT_NE(0u, ask(&r, c).effects);
	rules_free(&r);
}

TEST(Rules, OneOfSeveralOwnAddresses)
{
	const uint8_t own[2][16] = {{10, 0, 0, 1}, {10, 0, 1, 1}};
	struct rules r = {};
	Ruleset(&r).chain("out", NF_INET_LOCAL_OUT).rule("out", saddr("10.244.0.1") + List{drop});
	struct rules_class c;
	rules_class_init(&c, AF_INET);
	c.hooks = RULES_OUTPUT;
	EXPECT_NE(0u, ask(&r, c).effects);
	c.saddr = own;
	c.saddr_cnt = 2;
	EXPECT_EQ(0u, ask(&r, c).effects);
	Ruleset(&r).rule("out", saddr("10.0.1.1") + List{drop});
	EXPECT_NE(0u, ask(&r, c).effects);
	rules_free(&r);
}

TEST(Rules, DestinationsAreJoinedWhenThereAreTooMany)
{
	struct rules_prefix p[4];
	uint32_t cnt = 0;
	for (uint8_t i = 0; i < 200; i++) {
		struct rules_prefix one = {{10, 96, i, 1}, AF_INET, 32};
		ASSERT_TRUE(rules_prefix_add(p, &cnt, 4, &one));
		bool covered = false;
		for (uint32_t k = 0; k < cnt; k++) {
			uint32_t a, b;
			memcpy(&a, p[k].addr, 4);
			memcpy(&b, one.addr, 4);
			covered |= !((ntohl(a) ^ ntohl(b)) >> (32 - p[k].len));
		}
		ASSERT_TRUE(covered);
	}
	EXPECT_EQ(4u, cnt);
	struct rules_prefix far = {{200, 0, 0, 1}, AF_INET, 32};
	EXPECT_TRUE(
		rules_prefix_add(p, &cnt, 4, &far)); /* it stays as it is: nearer ones are joined */
	EXPECT_EQ(4u, cnt);
	EXPECT_EQ(32, p[3].len);
	EXPECT_EQ(200, p[3].addr[0]);
	struct rules_prefix wide = {{10, 0, 0, 0}, AF_INET, 8};
	EXPECT_TRUE(rules_prefix_add(p, &cnt, 4, &wide)); /* instead of all that it holds */
	EXPECT_EQ(2u, cnt);
	EXPECT_FALSE(rules_prefix_add(p, &cnt, 2,
				      &(const struct rules_prefix &)rules_prefix{
					      {100, 0, 0, 1}, AF_INET, 32}) &&
		     cnt > 2);
}

TEST(Xt, MatchesOfIptables)
{
	struct rules r = {};
	rules_add_chain(&r, "iptables", NFPROTO_IPV4, "filter", "INPUT")->hook = RULES_INPUT;
	const uint16_t udp[5] = {0, 65535, 5060, 5060, 0};
	rules_add_rule(&r, 0);
	rules_xt_match(&r, "udp", 0, udp, sizeof(udp));
	rules_xt_target(&r, "REJECT", 0, nullptr, 0, NFPROTO_IPV4);
	struct rules_class c = incoming();
	EXPECT_NE(0u, ask(&r, c).effects);
	rules_class_destination(&c, nullptr, htons(5061));
	EXPECT_EQ(0u, ask(&r, c).effects);
	rules_add_rule(&r, 0);
	rules_xt_match(&r, "conntrack", 3, udp, sizeof(udp));
	rules_xt_target(&r, "MARK", 2, nullptr, 0, NFPROTO_IPV4);
	struct rules_result result = ask(&r, c);
	EXPECT_EQ(unsigned(RULES_MARK), result.effects);
	EXPECT_TRUE(result.state);
	rules_free(&r);
}

TEST(Xt, EntriesThatMakeNoSenseAreRefused)
{
	for (uint32_t size : {1u, 100u, 200u, 4096u}) {
		std::vector<uint8_t> junk(size, 0xa5);
		struct rules_xt_table t = {"filter", 0x2, {}, {}, junk.data(), size};
		struct rules r = {};
		EXPECT_FALSE(rules_xt_add(&r, AF_INET, &t));
		rules_free(&r);
	}
}
} // namespace
