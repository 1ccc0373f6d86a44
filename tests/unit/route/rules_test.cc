// SPDX-License-Identifier: Apache-2.0
// Policy rules, and which sources Linux accepts.
#include <linux/fib_rules.h>

#include "tests/unit/route/world.h"

namespace
{

constexpr uint32_t kLocal = RT_TABLE_LOCAL, kMain = RT_TABLE_MAIN, kDefault = RT_TABLE_DEFAULT;

class Rules : public testing::Test
{
      protected:
	World w_;

	void SetUp() override
	{
		strcpy(w_.in.ifname, "eth0");
		w_.in.ttl4 = 64;
		w_.Address("10.0.0.2/24");
		w_.Route("10.0.0.0/24");
		w_.Route("0.0.0.0/0", "10.0.0.1");
		w_.Neigh("10.0.0.1", 1);
		w_.Neigh("10.0.0.5", 5);
		w_.Rule(0, kLocal);
	}

	void Rest()
	{
		w_.Rule(32766, kMain);
		w_.Rule(32767, kDefault);
	}

	std::string Say(const char *dst, const char *src = nullptr)
	{
		const Table t = w_.Build();
		struct route_hop hop;
		const Ip from = src ? Addr(src) : Ip{};

		return route_verdict_name(
			route_lookup(t.get(), AF_INET, Addr(dst).data(), from.data(), &hop));
	}

	std::string Note()
	{
		return route_table_note(w_.Build().get());
	}

	static void Name(char *to, const char *name)
	{
		strcpy(to, name);
	}
};

TEST_F(Rules, TheKernelsOwn)
{
	Rest();
	EXPECT_EQ("fast", Say("8.8.8.8"));
	EXPECT_EQ("", Note());
}

TEST_F(Rules, NoneAtAllOrNotLocalFirst)
{
	EXPECT_EQ("policy", Say("8.8.8.8")) << "nobody asks main";
	w_.rules.clear();
	Rest();
	EXPECT_EQ("policy", Say("8.8.8.8")) << "nobody asks local";
}

// Cilium, Calico, kube-proxy, the AWS CNI.
TEST_F(Rules, MarksThatNobodyHasCostNothing)
{
	w_.rules.clear();
	struct route_rule &mark = w_.Rule(9, 2004);
	mark.mark = 0x200;
	mark.mark_mask = 0xf00;
	w_.Rule(100, kLocal);
	struct route_rule &to = w_.Rule(512, kMain);
	to.dst_len = 32;
	memcpy(to.dst, Addr("10.9.9.9").data(), 16);
	struct route_rule &from = w_.Rule(1536, 2);
	from.src_len = 32;
	memcpy(from.src, Addr("10.9.9.9").data(), 16);
	Rest();
	EXPECT_EQ("fast", Say("8.8.8.8"));
	EXPECT_EQ("fast", Say("10.9.9.9"));
	EXPECT_EQ("", Note());
	EXPECT_TRUE(route_local_first(w_.Input(), AF_INET));
}

TEST_F(Rules, OtherProtocolsInterfacesAndDevices)
{
	w_.Rule(10, 100).proto = IPPROTO_TCP;
	Name(w_.Rule(11, 100).iif, "eth0"); // what is forwarded
	Name(w_.Rule(12, 100).oif, "wlan0");
	w_.Rule(13, 100).l3mdev = true;
	Rest();
	EXPECT_EQ("fast", Say("8.8.8.8"));
	w_.in.has_master = true;
	EXPECT_EQ("policy", Say("8.8.8.8")) << "perhaps a VRF";
}

TEST_F(Rules, WhatIsNotEvaluatedIsSlow)
{
	w_.Rule(10, 100).other = true; // uidrange, ports, tos
	Rest();
	EXPECT_EQ("policy", Say("8.8.8.8"));
	EXPECT_NE(std::string::npos, Note().find("10: from all lookup 100")) << Note();
	w_.rules[1].other = false;
	Name(w_.rules[1].oif, "eth0"); // a socket may ask for it
	EXPECT_EQ("policy", Say("8.8.8.8"));
	w_.rules[1].oif[0] = 0;
	EXPECT_EQ("policy", Say("8.8.8.8"));
	w_.rules[1].mark_mask = 0xff; // mark 0
	EXPECT_EQ("policy", Say("8.8.8.8"));
}

TEST_F(Rules, ADestinationOfAnotherTable)
{
	struct route_rule &to = w_.Rule(10, 100);
	to.dst_len = 8;
	memcpy(to.dst, Addr("8.0.0.0").data(), 16);
	Rest();
	w_.Route("8.8.0.0/16", "10.0.0.5");
	EXPECT_EQ("policy", Say("8.8.8.8"));
	EXPECT_EQ("policy", Say("8.9.9.9"));
	EXPECT_EQ("fast", Say("9.9.9.9"));
	w_.rules[1].other = true;
	EXPECT_EQ("policy", Say("8.9.9.9"));
	EXPECT_EQ("fast", Say("9.9.9.9")) << "whatever else it asks, the destination must fit";
	w_.rules[1].invert = true;
	EXPECT_EQ("policy", Say("9.9.9.9"));
}

TEST_F(Rules, ASourceOfAnotherTable)
{
	w_.Address("10.0.0.3/24").flags = IFA_F_SECONDARY;
	struct route_rule &from = w_.Rule(10, 100);
	from.src_len = 32;
	memcpy(from.src, Addr("10.0.0.3").data(), 16);
	Rest();
	EXPECT_EQ("policy", Say("8.8.8.8", "10.0.0.3"));
	EXPECT_EQ("fast", Say("8.8.8.8", "10.0.0.2"));
	EXPECT_EQ("fast", Say("8.8.8.8")) << "nothing is bound: the rule does not match";
}

// wg-quick: 32764 main suppress_prefixlength 0, 32765 not fwmark 0xca6c lookup 51820.
TEST_F(Rules, WireGuardLeavesWhatIsNoDefaultRoute)
{
	w_.Rule(32764, kMain).suppress_len = 0;
	struct route_rule &no = w_.Rule(32765, 51820);
	no.invert = true;
	no.mark = 0xca6c;
	no.mark_mask = ~0u;
	Rest();
	EXPECT_EQ("fast", Say("10.0.0.5"));
	EXPECT_EQ("policy", Say("8.8.8.8"));
	w_.rules.erase(w_.rules.begin() + 2);
	EXPECT_EQ("fast", Say("8.8.8.8")) << "main is asked again, for all of it";
}

TEST_F(Rules, BetweenMainAndDefault)
{
	w_.routes.erase(w_.routes.begin() + 1);
	w_.Route("0.0.0.0/0", "10.0.0.1").table = kDefault;
	w_.Rule(32766, kMain);
	w_.Rule(32767, kDefault);
	EXPECT_EQ("fast", Say("8.8.8.8"));
	w_.rules.insert(w_.rules.begin() + 2, w_.rules[1]);
	w_.rules[2].table = 100;
	EXPECT_EQ("policy", Say("8.8.8.8"));
	EXPECT_EQ("fast", Say("10.0.0.5"));
}

TEST_F(Rules, WhatComesInMustMeetLocalFirst)
{
	struct route_rule &iif = w_.Rule(1, 100);
	Name(iif.iif, "eth0");
	Rest();
	EXPECT_TRUE(route_local_first(w_.Input(), AF_INET));
	std::swap(w_.rules[0], w_.rules[1]);
	EXPECT_FALSE(route_local_first(w_.Input(), AF_INET));
	Name(w_.rules[0].iif, "lo");
	EXPECT_TRUE(route_local_first(w_.Input(), AF_INET));
}

// ---- sources ----

std::vector<std::string> Origins(const Table &t)
{
	std::vector<struct route_origin> out(64);
	std::vector<std::string> said;

	out.resize(route_table_origins(t.get(), out.data(), 64));
	for (const auto &o : out)
		said.push_back(Text(AF_INET, reinterpret_cast<const uint8_t *>(&o.addr_be)) + "/" +
			       std::to_string(o.len) + (o.valid ? " yes" : " no"));
	std::sort(said.begin(), said.end());
	return said;
}

bool Valid(const Table &t, const char *src)
{
	return route_source_valid(t.get(), AF_INET, Addr(src).data());
}

TEST_F(Rules, SourcesWithoutRpFilter)
{
	Rest();
	w_.Address("192.0.2.7/32", kOther);
	const Table t = w_.Build();

	EXPECT_EQ((std::vector<std::string>{"0.0.0.0/0 yes", "10.0.0.0/32 no", "10.0.0.2/32 no",
					    "10.0.0.255/32 no", "192.0.2.7/32 no"}),
		  Origins(t));
	EXPECT_TRUE(Valid(t, "8.8.8.8"));
	EXPECT_FALSE(Valid(t, "10.0.0.2"));
	EXPECT_FALSE(Valid(t, "192.0.2.7"));
	EXPECT_FALSE(Valid(t, "10.0.0.255"));
}

/* A rule for destinations inside an excluded prefix does not make a hole in it. */
TEST_F(Rules, ExcludedPeersStayExcludedInsideRules)
{
	const struct route_excluded excluded[] = {{AF_INET, 8, {10}}, {AF_INET6, 32, {0x20, 1}}};
	struct route_rule &to = w_.Rule(100, 77);

	memcpy(to.dst, Addr("10.244.0.0").data(), 4);
	to.dst_len = 16;
	Rest();
	w_.in.excluded = excluded;
	w_.in.excluded_cnt = 2;
	const Table t = w_.Build();

	EXPECT_FALSE(Valid(t, "10.244.0.7"));
	EXPECT_FALSE(Valid(t, "10.1.0.7"));
	EXPECT_TRUE(Valid(t, "11.1.0.7"));
	EXPECT_EQ((std::vector<std::string>{"0.0.0.0/0 yes", "10.0.0.0/8 no"}), Origins(t));
}

TEST_F(Rules, SourcesWithRpFilter)
{
	Rest();
	w_.in.rp_filter = 1;
	w_.routes.pop_back();
	w_.Route("8.0.0.0/8", "10.0.0.1");
	w_.Route("8.8.0.0/16", "10.0.0.1", 0, kOther);
	w_.Route("9.0.0.0/8").type = RTN_UNREACHABLE;
	const Table t = w_.Build();

	EXPECT_TRUE(Valid(t, "8.1.1.1"));
	EXPECT_FALSE(Valid(t, "8.8.8.8")) << "by another device: Linux must say";
	EXPECT_FALSE(Valid(t, "9.9.9.9"));
	EXPECT_FALSE(Valid(t, "1.1.1.1"));
	EXPECT_TRUE(Valid(t, "10.0.0.9"));
	EXPECT_FALSE(Valid(t, "10.0.0.2"));
	EXPECT_EQ((std::vector<std::string>{"0.0.0.0/0 no", "10.0.0.0/24 yes", "10.0.0.0/32 no",
					    "10.0.0.2/32 no", "10.0.0.255/32 no", "8.0.0.0/8 yes",
					    "8.8.0.0/16 no"}),
		  Origins(t));
}

// ip route add local 172.16.0.0/12 dev lo: a source within it is our own, whichever table it is in.
TEST_F(Rules, SourcesInLocalPrefixes)
{
	struct route_route &any = w_.Route("172.16.0.0/12", "", 0, kOther);
	any.type = RTN_LOCAL;
	any.table = kLocal;
	Rest();
	EXPECT_FALSE(Valid(w_.Build(), "172.17.1.1"));
	EXPECT_TRUE(Valid(w_.Build(), "8.8.8.8"));
	w_.routes.back().table = 100;
	w_.routes.back().foreign = true;
	EXPECT_TRUE(Valid(w_.Build(), "172.17.1.1")) << "no rule leads there";
	w_.rules.insert(w_.rules.begin() + 1, w_.rules[0]);
	w_.rules[1].table = 100;
	EXPECT_FALSE(Valid(w_.Build(), "172.17.1.1"));
	EXPECT_TRUE(Valid(w_.Build(), "8.8.8.8"));
}

TEST_F(Rules, ARuleForOurAddressDecidesWhereItsPeersMayBe)
{
	struct route_rule &from = w_.Rule(10, 100);
	from.src_len = 32;
	memcpy(from.src, Addr("10.0.0.2").data(), 16);
	Rest();
	EXPECT_TRUE(Valid(w_.Build(), "8.8.8.8"));
	w_.in.rp_filter = 1;
	EXPECT_FALSE(Valid(w_.Build(), "8.8.8.8"));
}

// ---- prefixes with holes ----

TEST_F(Rules, HolesThatDoNotFitTakeWhatHoldsThemAlong)
{
	Rest();
	for (int i = 0; i < 20; i++)
		w_.Route("8." + std::to_string(i) + ".0.0/16").type = RTN_UNREACHABLE;
	struct udplane_prefix p[8];
	const Table t = w_.Build();

	ASSERT_EQ(8u, route_table_prefixes(t.get(), p, 8));
	EXPECT_EQ(0, p[0].len);
	EXPECT_TRUE(p[0].slow);
	EXPECT_NE(std::string::npos, std::string(route_table_note(t.get())).find("0.0.0.0/0"))
		<< route_table_note(t.get());
	struct udplane_prefix all[64];
	const Table again = w_.Build();
	EXPECT_EQ(22u, route_table_prefixes(again.get(), all, 64));
	EXPECT_FALSE(all[0].slow);
	EXPECT_STREQ("", route_table_note(again.get()));
}

} // namespace
