// SPDX-License-Identifier: Apache-2.0
/* Sets and maps, as the kernel dumps those of tests/fuzz/environment/rulesets: may a rule that
 * looks into one concern what arrives at 10.0.0.1:5060 by eth0, and what port 5060 sends by it? */
#include <gtest/gtest.h>

#include "tests/unit/environment/nft.h"

#include <algorithm>
#include <linux/rtnetlink.h>
#include <random>

namespace
{
std::string prefixes(const struct rules_result &res)
{
	std::string out;
	for (uint32_t i = 0; i < res.prefix_cnt; i++) {
		char text[INET6_ADDRSTRLEN];
		out += (i ? " " : "") +
		       std::string(inet_ntop(res.prefix[i].family, res.prefix[i].addr, text,
					     sizeof(text))) +
		       "/" + std::to_string(res.prefix[i].len);
	}
	return out;
}

/* "": nothing; "all"; or to which destinations. With "state" where the kernel has to see both
 * directions. */
std::string answer(const struct rules *r, const struct rules_class &c)
{
	struct rules_result res;
	rules_ask(r, &c, &res);
	if (!res.effects)
		return "";
	return (res.all ? "all" : prefixes(res)) + (res.state ? " state" : "");
}

struct Case {
	const char *chain, *in, *out;
};

void PrintTo(const Case &c, std::ostream *os)
{
	*os << c.chain;
}

class OneSet : public testing::TestWithParam<Case>
{
      protected:
	struct rules r = {};
	void SetUp() override
	{
		load_dump(&r, "nft_sets");
	}
	void TearDown() override
	{
		rules_free(&r);
	}
};

TEST_P(OneSet, ConcernsADatagramOrNot)
{
	const Case &c = GetParam();
	bool found = false;
	for (uint32_t i = 0; i < r.chain_cnt; i++) {
		bool is = !strcmp(r.chains[i].name, c.chain);
		found |= is;
		r.chains[i].hook = is ? RULES_INPUT : 0;
	}
	ASSERT_TRUE(found);
	EXPECT_EQ(c.in, answer(&r, incoming()));
	EXPECT_EQ(c.out, answer(&r, outgoing(RULES_INPUT)));
}

INSTANTIATE_TEST_SUITE_P(
	Nft, OneSet,
	testing::Values(
		Case{"port", "all", "all"}, Case{"other_port", "", "all"},
		Case{"port_range", "all", "all"}, Case{"other_range", "", "all"},
		Case{"source_port", "all", "all"}, Case{"other_source_port", "all", ""},
		Case{"to", "", "10.96.0.10/32 192.0.2.0/24"}, Case{"to_others", "all", "all"},
		Case{"not_to_ours", "", "all"}, Case{"pair", "all", "10.0.0.1/32"},
		Case{"other_pair", "", "10.0.0.2/32 10.96.0.10/32"},
		Case{"triple", "all", "10.0.0.1/32"}, Case{"tcp_triple", "", ""},
		Case{"ranges", "all", "all"}, Case{"other_ranges", "", "all"},
		Case{"to_ranges", "", "192.0.2.0/24"}, Case{"verdicts", "all", "all"},
		Case{"verdicts_accepts", "", "all"}, Case{"verdicts_ranges", "all", "all"},
		Case{"verdicts_rest", "all", "all"}, Case{"verdicts_not_rest", "", "all"},
		Case{"verdicts_to", "", "10.96.0.10/32"}, Case{"verdicts_returns", "", "all"},
		Case{"other_devices", "", ""}, Case{"our_device", "all", ""},
		Case{"with_timeout", "all", "10.0.0.1/32 192.0.2.9/32"},
		Case{"accept_with_timeout", "all", "all"}, Case{"in_empty", "", ""},
		Case{"in_dynamic", "all state", "all state"}, Case{"adds", "", "all"},
		Case{"with_limit", "all state", "all state"}, Case{"local", "all", ""},
		Case{"not_local", "", "all"}, Case{"local_device", "all", "all"},
		Case{"states", "all state", "all state"},
		Case{"state_map", "all state", "all state"}, Case{"state_of_nothing", "", ""},
		Case{"state_to", "", "10.96.0.10/32 10.96.0.11/32 state"}, Case{"marks", "", ""},
		Case{"mark_ranges", "all", "all"}, Case{"masked", "all", "all"},
		Case{"by_random", "all state", "all state"}, Case{"protocols", "", ""}));

TEST(Sets, SourcesAreGatheredAsWell)
{
	struct rules r = {};
	load_dump(&r, "nft_sets");
	for (uint32_t i = 0; i < r.chain_cnt; i++)
		r.chains[i].hook = strcmp(r.chains[i].name, "ranges") ? 0 : RULES_INPUT;
	struct rules_class c = incoming();
	c.by_source = true;
	EXPECT_EQ("10.0.0.0/8", answer(&r, c));
	rules_free(&r);
}

TEST(Sets, OneOfSeveralOwnAddresses)
{
	const uint8_t own[2][16] = {{10, 0, 0, 1}, {10, 0, 0, 2}};
	struct rules r = {};
	load_dump(&r, "nft_sets");
	auto ask = [&](const char *chain, uint32_t cnt) {
		struct rules_class c;
		for (uint32_t i = 0; i < r.chain_cnt; i++)
			r.chains[i].hook = strcmp(r.chains[i].name, chain) ? 0 : RULES_INPUT;
		rules_class_init(&c, AF_INET);
		rules_class_destination(&c, nullptr, htons(5060));
		c.hooks = RULES_INPUT;
		c.daddr = own;
		c.daddr_cnt = cnt;
		return answer(&r, c);
	};
	EXPECT_EQ("", ask("to", 2));
	EXPECT_EQ("", ask("not_to_ours", 2)); /* surely one of both */
	EXPECT_EQ("", ask("other_pair", 1));
	EXPECT_EQ("all", ask("other_pair", 2));
	EXPECT_EQ("", ask("verdicts_to", 2));
	rules_free(&r);
}

/* ---- made by hand ---- */

struct Made {
	struct rules r = {};
	uint32_t set;

	Made()
	{
		rules_add_chain(&r, "nft", NFPROTO_IPV4, "t", "in")->hook = RULES_INPUT;
		rules_add_set(&r, NFPROTO_IPV4, "t", "s")->key_len = 4;
		set = 0;
	}
	~Made()
	{
		rules_free(&r);
	}

	void add(uint32_t addr)
	{
		struct rules_element e = {};
		uint32_t be = htonl(addr);
		rules_add_element(&r, set, &e, reinterpret_cast<uint8_t *>(&be), nullptr);
	}

	/* ip daddr @s drop */
	std::string finish(struct rules_class c)
	{
		Ruleset n(&r);
		n.rule("in", {payload(NFT_PAYLOAD_NETWORK_HEADER, 16, 4),
			      expression("lookup",
					 [](struct nlmsghdr *m) {
						 mnl_attr_put_strz(m, NFTA_LOOKUP_SET, "s");
						 put(m, NFTA_LOOKUP_SREG, 1);
					 }),
			      verdict(NF_DROP)});
		rules_finish(&r);
		return answer(&r, c);
	}
};

TEST(Sets, TenThousandElementsAreFoundOrNot)
{
	Made with, without;
	for (uint32_t i = 10000; i--;) {
		with.add(0x0a000001 + 7 * i);
		without.add(0x0a000002 + 7 * i);
	}
	EXPECT_EQ("all", with.finish(incoming()));
	EXPECT_EQ("", without.finish(incoming()));
	struct rules_result res;
	struct rules_class c = outgoing(RULES_INPUT);
	rules_ask(&with.r, &c, &res);
	EXPECT_FALSE(res.all);
	EXPECT_EQ(uint32_t(RULES_PREFIXES), res.prefix_cnt);
	for (uint32_t i = 0; i < res.prefix_cnt; i++)
		EXPECT_EQ(10, res.prefix[i].addr[0]);
}

/* Begins and ends in any order, against a table of all ports. */
TEST(Sets, RandomRanges)
{
	std::mt19937 random(7);
	for (int round = 0; round < 50; round++) {
		std::vector<bool> in(65536);
		std::vector<uint32_t> edge;
		for (int i = 0; i < 21; i++) /* odd: the last one is open */
			edge.push_back(random() % 1000 * (round % 2 ? 1 : 60));
		std::sort(edge.begin(), edge.end());
		edge.erase(std::unique(edge.begin(), edge.end()), edge.end());
		struct rules r = {};
		rules_add_chain(&r, "nft", NFPROTO_IPV4, "t", "in")->hook = RULES_INPUT;
		struct rules_set *s = rules_add_set(&r, NFPROTO_IPV4, "t", "s");
		s->key_len = 2;
		s->ranges = true;
		std::vector<size_t> order;
		for (size_t i = 0; i < edge.size(); i++)
			order.push_back(i);
		std::shuffle(order.begin(), order.end(), random);
		for (size_t i : order) {
			struct rules_element e = {};
			e.end = i % 2;
			rules_add_element(&r, 0, &e, port(edge[i]).data(), nullptr);
			for (uint32_t p = edge[i];
			     !e.end && p < (i + 1 < edge.size() ? edge[i + 1] : 65536); p++)
				in[p] = true;
		}
		Ruleset(&r).rule("in", {payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2),
					expression("lookup",
						   [](struct nlmsghdr *m) {
							   mnl_attr_put_strz(m, NFTA_LOOKUP_SET,
									     "s");
							   put(m, NFTA_LOOKUP_SREG, 1);
						   }),
					verdict(NF_DROP)});
		rules_finish(&r);
		struct rules_class c = incoming();
		for (uint32_t p = 1; p < 65536; p += round % 2 ? 1 : 29) {
			rules_class_destination(&c, nullptr, htons(p));
			ASSERT_EQ(in[p] ? "all" : "", answer(&r, c)) << p;
		}
		rules_free(&r);
	}
}

/* ip daddr vmap of one element: 10.0.0.1 jumps to the chain that drops. */
void jumping(struct rules *r, std::vector<const char *> chains, uint64_t identity,
	     const struct rules *old)
{
	rules_add_chain(r, "nft", NFPROTO_IPV4, "t", "in")->hook = RULES_INPUT;
	for (const char *name : chains)
		rules_add_chain(r, "nft", NFPROTO_IPV4, "t", name);
	struct rules_set *s = rules_add_set(r, NFPROTO_IPV4, "t", "s");
	s->key_len = 4;
	s->verdicts = true;
	if (!rules_reuse_set(r, identity, old)) {
		struct rules_element e = {};
		e.verdict = RULES_JUMP;
		e.target = rules_find_chain(r, "nft", NFPROTO_IPV4, "t", "drops");
		rules_add_element(r, 0, &e, ip("10.0.0.1").data(), nullptr);
	}
	Ruleset(r)
		.rule("drops", {verdict(NF_DROP)})
		.rule("in", {payload(NFT_PAYLOAD_NETWORK_HEADER, 16, 4),
			     expression("lookup", [](struct nlmsghdr *m) {
				     mnl_attr_put_strz(m, NFTA_LOOKUP_SET, "s");
				     put(m, NFTA_LOOKUP_SREG, 1);
				     put(m, NFTA_LOOKUP_DREG, 0);
			     })});
	rules_finish(r);
}

TEST(Sets, ThatNeverChangeAreTakenOver)
{
	struct rules first = {}, second = {}, other = {};
	jumping(&first, {"drops", "nothing"}, 7, nullptr);
	EXPECT_EQ("all", answer(&first, incoming()));
	jumping(&second, {"nothing", "drops"}, 7, &first); /* chains have other numbers now */
	EXPECT_EQ(1u, second.element_cnt);
	EXPECT_EQ(2u, second.elements[0].target);
	EXPECT_EQ("all", answer(&second, incoming()));
	first.elements[0].verdict = RULES_ACCEPT;
	jumping(&other, {"drops"}, 8, &first);
	EXPECT_EQ("all", answer(&other, incoming()));
	for (struct rules *r : {&first, &second, &other})
		rules_free(r);
}

TEST(Sets, ThatHaveChangedAreReadOnceMoreIntoACopy)
{
	struct rules old = {}, r = {};
	jumping(&old, {"drops"}, 0, nullptr);
	ASSERT_TRUE(rules_copy(&r, &old));
	rules_empty_set(&r, 0);
	rules_finish(&r);
	EXPECT_EQ("", answer(&r, incoming()));
	rules_empty_set(&r, 0);
	for (uint32_t i = 0; i < 1000; i++) {
		struct rules_element e = old.elements[0];
		rules_add_element(
			&r, 0, &e,
			ip(("10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250))
				   .c_str())
				.data(),
			nullptr);
	}
	EXPECT_EQ("all", answer(&r, incoming())); /* not in order yet: in doubt */
	rules_finish(&r);
	EXPECT_EQ("all", answer(&r, incoming()));
	EXPECT_EQ("all", answer(&old, incoming()));
	rules_free(&old);
	rules_free(&r);
}

TEST(Sets, WhatDoesNotFitIsInDoubt)
{
	Made m;
	for (uint32_t i = 0; i <= RULES_ELEMENTS; i++)
		m.add(0x0b000000 + i);
	EXPECT_TRUE(m.r.sets[0].unread);
	EXPECT_EQ("all", m.finish(incoming()));
}
} // namespace
