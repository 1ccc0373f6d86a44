// SPDX-License-Identifier: Apache-2.0
#include <set>

#include "tests/unit/route/world.h"

namespace
{

TEST(Pod, Fast)
{
	const Table t = Pod().Build();

	EXPECT_EQ("fast mac=5 src=10.0.0.2 mtu=1500", Say(t, "10.0.0.5"));
	EXPECT_EQ("fast mac=1 src=10.0.0.2 mtu=1500", Say(t, "8.8.8.8"));
	EXPECT_EQ("fast mac=21 src=2001:db8::2 mtu=1500", Say(t, "2001:db8::5"));
	EXPECT_EQ("fast mac=17 src=2001:db8::2 mtu=1500", Say(t, "2600::1"));
	EXPECT_EQ("fast mac=17 src=fe80::2 mtu=1500", Say(t, "fe80::1"));
}

TEST(Pod, Slow)
{
	const Table t = Pod().Build();

	EXPECT_EQ("neighbour", Say(t, "10.0.0.6"));
	EXPECT_EQ("neighbour", Say(t, "2001:db8::6"));
	EXPECT_EQ("broadcast", Say(t, "10.0.0.255"));
	EXPECT_EQ("broadcast", Say(t, "10.0.0.0"));
	EXPECT_EQ("broadcast", Say(t, "255.255.255.255"));
	EXPECT_EQ("multicast", Say(t, "224.0.0.1"));
	EXPECT_EQ("multicast", Say(t, "239.255.255.255"));
	EXPECT_EQ("multicast", Say(t, "ff02::1"));
	EXPECT_EQ("local", Say(t, "10.0.0.2"));
	EXPECT_EQ("local", Say(t, "127.0.0.1"));
	EXPECT_EQ("local", Say(t, "127.1.2.3"));
	EXPECT_EQ("local", Say(t, "0.0.0.0"));
	EXPECT_EQ("no_route", Say(t, "0.1.2.3"));
	EXPECT_EQ("local", Say(t, "::1"));
	EXPECT_EQ("local", Say(t, "::"));
	EXPECT_EQ("local", Say(t, "2001:db8::2"));
	EXPECT_EQ("local", Say(t, "fe80::2"));
	EXPECT_EQ("no_route", Say(t, "::ffff:10.0.0.5"));
	EXPECT_EQ("source", Say(t, "fec0::1")); // a scope of its own
}

TEST(Pod, EmptyInput)
{
	const Table t = World().Build();

	EXPECT_EQ("no_route", Say(t, "10.0.0.5"));
	EXPECT_EQ("no_route", Say(t, "2001:db8::5"));
	EXPECT_FALSE(route_is_local(t.get(), AF_INET, Addr("10.0.0.5").data()));
	EXPECT_EQ(0u, route_table_prefixes(t.get(), nullptr, 0));
}

TEST(Pod, DeviceDown)
{
	World w = Pod();

	w.in.up = false;
	const Table t = w.Build();
	struct udplane_prefix prefix[4];

	EXPECT_EQ("device", Say(t, "10.0.0.5"));
	EXPECT_EQ("device", Say(t, "2600::1"));
	EXPECT_EQ("local", Say(t, "10.0.0.2"));
	EXPECT_EQ(0u, route_table_prefixes(t.get(), prefix, 4));
}

TEST(Pod, MalformedInputIsRefused)
{
	World w = Pod();

	w.routes[0].prefix_len = 33;
	EXPECT_EQ(nullptr, w.Build());
	w = Pod();
	w.addrs[0].family = AF_UNSPEC;
	EXPECT_EQ(nullptr, w.Build());
}

TEST(Verdict, Names)
{
	std::set<std::string> names;

	for (int v = 0; v < ROUTE_VERDICT_CNT; v++)
		names.insert(route_verdict_name(static_cast<enum route_verdict>(v)));
	EXPECT_EQ(static_cast<size_t>(ROUTE_VERDICT_CNT), names.size());
	EXPECT_STREQ("unknown", route_verdict_name(ROUTE_VERDICT_CNT));
}

TEST(Prefix, LongestWins)
{
	World w = Pod();

	w.Route("8.0.0.0/8", "10.0.0.5");
	w.Route("8.8.0.0/16", "10.0.0.1");
	w.Route("8.8.8.8/32", "", 0, kOther);
	w.Route("8.8.4.0/23").type = RTN_UNREACHABLE;
	w.Route("2600::/16", "2001:db8::5", 1024);
	const Table t = w.Build();

	EXPECT_EQ("fast mac=5 src=10.0.0.2 mtu=1500", Say(t, "8.1.1.1"));
	EXPECT_EQ("fast mac=1 src=10.0.0.2 mtu=1500", Say(t, "8.8.1.1"));
	EXPECT_EQ("device", Say(t, "8.8.8.8"));
	EXPECT_EQ("no_route", Say(t, "8.8.5.255"));
	EXPECT_EQ("fast mac=1 src=10.0.0.2 mtu=1500", Say(t, "8.8.6.0"));
	EXPECT_EQ("fast mac=21 src=2001:db8::2 mtu=1500", Say(t, "2600::1"));
	EXPECT_EQ("fast mac=17 src=2001:db8::2 mtu=1500", Say(t, "2601::1"));
}

TEST(Prefix, HostBitsInARouteAreIgnored)
{
	World w = Pod();

	w.Route("8.1.2.3/8", "10.0.0.5");
	EXPECT_EQ("fast mac=5 src=10.0.0.2 mtu=1500", Say(w.Build(), "8.9.9.9"));
}

TEST(Metric, LowestWins)
{
	World w = Pod();

	w.Route("8.8.8.8/32", "10.0.0.1", 20);
	w.Route("8.8.8.8/32", "10.0.0.5", 10);
	w.Route("8.8.8.8/32", "10.0.0.1", 30);
	w.Route("2600::/16", "fe80::1", 1024);
	w.Route("2600::/16", "2001:db8::5", 512);
	const Table t = w.Build();

	EXPECT_EQ("fast mac=5 src=10.0.0.2 mtu=1500", Say(t, "8.8.8.8"));
	EXPECT_EQ("fast mac=21 src=2001:db8::2 mtu=1500", Say(t, "2600::1"));
}

TEST(Metric, TieIsPolicyUnlessAlike)
{
	World w = Pod();

	w.Route("8.0.0.0/8", "10.0.0.1", 10);
	w.Route("8.0.0.0/8", "10.0.0.5", 10);
	w.Route("9.0.0.0/8", "10.0.0.5", 10);
	w.Route("9.0.0.0/8", "10.0.0.5", 10);
	w.Route("::/0", "2001:db8::5", 1024); // a second router
	const Table t = w.Build();

	EXPECT_EQ("policy", Say(t, "8.8.8.8"));
	EXPECT_EQ("fast mac=5 src=10.0.0.2 mtu=1500", Say(t, "9.9.9.9"));
	EXPECT_EQ("policy", Say(t, "2600::1"));
	EXPECT_EQ("fast mac=21 src=2001:db8::2 mtu=1500", Say(t, "2001:db8::5"));
}

TEST(Metric, TieAboveTheLowestDoesNotMatter)
{
	World w = Pod();

	w.Route("8.0.0.0/8", "10.0.0.1", 10);
	w.Route("8.0.0.0/8", "10.0.0.5", 10);
	w.Route("8.0.0.0/8", "10.0.0.5", 5);
	EXPECT_EQ("fast mac=5 src=10.0.0.2 mtu=1500", Say(w.Build(), "8.8.8.8"));
}

TEST(Policy, OddRouteSpoilsItsPrefixOnly)
{
	World w = Pod();

	w.Route("8.0.0.0/8", "10.0.0.5", 1);
	w.Route("8.0.0.0/8", "10.0.0.1", 2).odd = true;
	w.Route("8.8.0.0/16", "10.0.0.1");
	const Table t = w.Build();

	EXPECT_EQ("policy", Say(t, "8.1.1.1"));
	EXPECT_EQ("fast mac=1 src=10.0.0.2 mtu=1500", Say(t, "8.8.1.1"));
}

TEST(Policy, RulesOfOneFamilyOnly)
{
	World w = Pod();

	w.in.policy_rules[0] = true;
	const Table t = w.Build();
	struct udplane_prefix prefix[8];

	EXPECT_EQ("policy", Say(t, "10.0.0.5"));
	EXPECT_EQ("policy", Say(t, "8.8.8.8"));
	EXPECT_EQ("local", Say(t, "10.0.0.2"));
	EXPECT_EQ("broadcast", Say(t, "10.0.0.255"));
	EXPECT_EQ("fast mac=21 src=2001:db8::2 mtu=1500", Say(t, "2001:db8::5"));
	for (uint32_t i = route_table_prefixes(t.get(), prefix, 8); i--;)
		EXPECT_EQ(AF_INET6, prefix[i].family);
}

TEST(Policy, OwnAddressAsGateway)
{
	World w = Pod();

	w.Route("8.0.0.0/8", "10.0.0.2");
	w.Neigh("10.0.0.2", 2);
	EXPECT_EQ("policy", Say(w.Build(), "8.8.8.8"));
}

TEST(Type, EachOne)
{
	static const struct {
		uint8_t type;
		const char *verdict;
	} cases[] = {
		{RTN_UNICAST, "fast mac=1 src=10.0.0.2 mtu=1500"},
		{RTN_LOCAL, "local"},
		{RTN_BROADCAST, "broadcast"},
		{RTN_ANYCAST, "local"},
		{RTN_MULTICAST, "multicast"},
		{RTN_BLACKHOLE, "no_route"},
		{RTN_UNREACHABLE, "no_route"},
		{RTN_PROHIBIT, "no_route"},
		{RTN_THROW, "no_route"}, // and the table default is empty
		{RTN_NAT, "policy"},
		{RTN_XRESOLVE, "policy"},
	};

	for (const auto &c : cases) {
		World w = Pod();

		w.Route("8.8.0.0/16", "10.0.0.1").type = c.type;
		EXPECT_EQ(c.verdict, Say(w.Build(), "8.8.8.8")) << static_cast<int>(c.type);
	}
}

TEST(Table, LocalIsAskedFirst)
{
	World w = Pod();

	w.Route("8.0.0.0/8", "", 0, 1).table = RT_TABLE_LOCAL; // AnyIP
	w.routes.back().type = RTN_LOCAL;
	w.Route("8.8.0.0/16", "10.0.0.1");
	w.Route("9.0.0.0/8", "10.0.0.1").table = RT_TABLE_LOCAL; // not for us to judge
	const Table t = w.Build();

	EXPECT_EQ("local", Say(t, "8.8.8.8"));
	EXPECT_EQ("policy", Say(t, "9.9.9.9"));
	EXPECT_FALSE(route_is_local(t.get(), AF_INET, Addr("8.8.8.8").data()));
}

TEST(Table, LocalZeroHidesAll)
{
	World w = Pod();

	w.Route("0.0.0.0/0", "", 0, 1).table = RT_TABLE_LOCAL;
	w.routes.back().type = RTN_LOCAL;
	EXPECT_EQ("local", Say(w.Build(), "8.8.8.8"));
	EXPECT_EQ("local", Say(w.Build(), "10.0.0.5"));
}

TEST(Table, ExcludedDestinationsAreSlowWhateverTheirRoute)
{
	World w = Pod();
	const struct route_excluded excluded[] = {
		{AF_INET, 16, {8, 8}},
		{AF_INET6, 128, {0x26, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}}};

	w.Route("8.8.8.0/24", "10.0.0.1"); // narrower
	w.Route("8.8.0.0/15", "10.0.0.1");
	w.in.excluded = excluded;
	w.in.excluded_cnt = 2;
	const Table t = w.Build();

	EXPECT_EQ("rules", Say(t, "8.8.8.8"));
	EXPECT_EQ("rules", Say(t, "8.8.0.1"));
	EXPECT_EQ("rules", Say(t, "2600::1"));
	EXPECT_EQ("fast mac=1 src=10.0.0.2 mtu=1500", Say(t, "8.9.8.8"));
	EXPECT_NE("rules", Say(t, "2600::2"));
	EXPECT_FALSE(route_source_valid(t.get(), AF_INET, Addr("8.8.8.8").data()));
	EXPECT_TRUE(route_source_valid(t.get(), AF_INET, Addr("8.9.8.8").data()));
	EXPECT_FALSE(route_source_valid(t.get(), AF_INET6, Addr("2600::1").data()));
	EXPECT_TRUE(route_source_valid(t.get(), AF_INET6, Addr("2600::2").data()));
}

TEST(Table, DefaultIsAskedLast)
{
	World w = Pod();

	w.routes[1].table = RT_TABLE_DEFAULT; // 0/0
	w.Route("8.0.0.0/8").type = RTN_THROW;
	w.Route("8.8.0.0/16", "10.0.0.5").table = RT_TABLE_DEFAULT;
	w.Route("9.0.0.0/8").type = RTN_UNREACHABLE;
	w.Route("9.0.0.0/8", "10.0.0.5").table = RT_TABLE_DEFAULT;
	w.Route("10.0.0.0/25", "10.0.0.1").table =
		RT_TABLE_DEFAULT; // longer, but main has an answer
	const Table t = w.Build();

	EXPECT_EQ("fast mac=1 src=10.0.0.2 mtu=1500", Say(t, "4.4.4.4"));
	EXPECT_EQ("fast mac=5 src=10.0.0.2 mtu=1500", Say(t, "8.8.8.8"));
	EXPECT_EQ("fast mac=1 src=10.0.0.2 mtu=1500", Say(t, "8.1.1.1"));
	EXPECT_EQ("no_route", Say(t, "9.9.9.9"));
	EXPECT_EQ("fast mac=5 src=10.0.0.2 mtu=1500", Say(t, "10.0.0.5"));
	EXPECT_EQ("local", Say(t, "10.0.0.2"));
}

TEST(Table, Ipv6HasNoDefaultTable)
{
	World w = Pod();

	w.routes[4].table = RT_TABLE_DEFAULT;
	w.Route("2600::/16").type = RTN_THROW;
	EXPECT_EQ("no_route", Say(w.Build(), "2700::1"));
	EXPECT_EQ("no_route", Say(w.Build(), "2600::1"));
}

TEST(Table, OthersDoNotCount)
{
	World w = Pod();

	w.Route("8.0.0.0/8", "10.0.0.5").table = 100;
	EXPECT_EQ("fast mac=1 src=10.0.0.2 mtu=1500", Say(w.Build(), "8.8.8.8"));
}

TEST(Broadcast, FromAddressesAndRoutes)
{
	World w = Pod();

	memcpy(w.Address("10.1.0.1/16").broadcast, Addr("10.1.7.7").data(), 4);
	w.Address("10.2.0.0/31");
	w.Address("10.3.0.1/30", kOther);
	w.Route("10.0.0.0/8", "10.0.0.1");
	w.Route("10.4.0.9/32").type = RTN_BROADCAST;
	w.routes.back().table = RT_TABLE_LOCAL;
	const Table t = w.Build();

	EXPECT_EQ("broadcast", Say(t, "10.1.255.255"));
	EXPECT_EQ("broadcast", Say(t, "10.1.0.0"));
	EXPECT_EQ("broadcast", Say(t, "10.1.7.7"));
	EXPECT_EQ("local", Say(t, "10.2.0.0"));
	EXPECT_EQ("fast mac=1 src=10.0.0.2 mtu=1500", Say(t, "10.2.0.1"));
	EXPECT_EQ("broadcast", Say(t, "10.3.0.3"));
	EXPECT_EQ("broadcast", Say(t, "10.3.0.0"));
	EXPECT_EQ("broadcast", Say(t, "10.4.0.9"));
	EXPECT_EQ("local", Say(t, "10.3.0.1")); // of another device
}

TEST(Gateway, FollowsItsNeighbour)
{
	World w = Pod();

	w.neighs.clear();
	EXPECT_EQ("neighbour", Say(w.Build(), "8.8.8.8"));
	w.Neigh("10.0.0.1", 9);
	EXPECT_EQ("fast mac=9 src=10.0.0.2 mtu=1500", Say(w.Build(), "8.8.8.8"));
	w.neighs[0].ifindex = kOther;
	EXPECT_EQ("neighbour", Say(w.Build(), "8.8.8.8"));
}

TEST(Gateway, Ipv6ForIpv4)
{
	World w = Pod();

	w.Route("8.0.0.0/8", "fe80::1");
	w.Route("9.0.0.0/8", "fe80::9");
	EXPECT_EQ("fast mac=17 src=10.0.0.2 mtu=1500", Say(w.Build(), "8.8.8.8"));
	EXPECT_EQ("neighbour", Say(w.Build(), "9.8.8.8"));
}

TEST(Gateway, LinkLocalRouterAsInCalico)
{
	World w;

	w.Address("10.42.0.7/32");
	w.Route("169.254.1.1/32");
	w.Route("0.0.0.0/0", "169.254.1.1");
	w.Neigh("169.254.1.1", 0xee, NUD_PERMANENT);
	const Table t = w.Build();
	struct udplane_prefix prefix[4];

	EXPECT_EQ("fast mac=238 src=10.42.0.7 mtu=1500", Say(t, "10.42.0.8"));
	EXPECT_EQ("fast mac=238 src=10.42.0.7 mtu=1500", Say(t, "169.254.1.1"));
	ASSERT_EQ(1u, route_table_prefixes(t.get(), prefix, 4));
	EXPECT_EQ(0, prefix[0].len);
}

TEST(Neighbour, States)
{
	static const struct {
		uint16_t state;
		bool usable;
	} cases[] = {
		{NUD_NONE, false},   {NUD_INCOMPLETE, false}, {NUD_REACHABLE, true},
		{NUD_STALE, true},   {NUD_DELAY, true},	      {NUD_PROBE, true},
		{NUD_FAILED, false}, {NUD_NOARP, true},	      {NUD_PERMANENT, true},
	};

	for (const auto &c : cases) {
		World w = Pod();

		w.Neigh("10.0.0.9", 9, c.state);
		EXPECT_EQ(c.usable ? "fast mac=9 src=10.0.0.2 mtu=1500" : "neighbour",
			  Say(w.Build(), "10.0.0.9"))
			<< c.state;
	}
}

TEST(Neighbour, WithoutMac)
{
	World w = Pod();

	memset(w.Neigh("10.0.0.9", 9, NUD_NOARP).mac, 0, 6);
	EXPECT_EQ("neighbour", Say(w.Build(), "10.0.0.9"));
}

TEST(Neighbour, MarkAndTakeUsed)
{
	const Table t = Pod().Build();
	struct route_hop hop;
	std::vector<std::string> used;
	const auto take = [&] {
		used.clear();
		route_table_take_used(
			t.get(),
			[](void *arg, const struct route_neigh *n) {
				static_cast<std::vector<std::string> *>(arg)->push_back(
					Text(n->family, n->addr));
			},
			&used);
	};

	take();
	EXPECT_TRUE(used.empty());
	ASSERT_EQ(ROUTE_FAST, Look(t, "8.8.8.8", &hop));
	route_table_mark_used(t.get(), hop.neigh);
	route_table_mark_used(t.get(), hop.neigh);
	ASSERT_EQ(ROUTE_FAST, Look(t, "2001:db8::5", &hop));
	route_table_mark_used(t.get(), hop.neigh);
	route_table_mark_used(t.get(), UINT32_MAX); // of another table: ignored
	take();
	EXPECT_EQ((std::vector<std::string>{"10.0.0.1", "2001:db8::5"}), used);
	take();
	EXPECT_TRUE(used.empty());
}

TEST(Mtu, RouteElseDevice)
{
	World w = Pod();

	w.in.mtu = 9000;
	w.in.mtu6 = 1400;
	w.Route("8.0.0.0/8", "10.0.0.1").mtu = 1300;
	w.Route("9.0.0.0/8", "10.0.0.1").mtu = 9500; // does not fit the device
	w.Route("2600::/16", "fe80::1").mtu = 1280;
	const Table t = w.Build();

	EXPECT_EQ("fast mac=5 src=10.0.0.2 mtu=9000", Say(t, "10.0.0.5"));
	EXPECT_EQ("fast mac=1 src=10.0.0.2 mtu=1300", Say(t, "8.8.8.8"));
	EXPECT_EQ("fast mac=1 src=10.0.0.2 mtu=9000", Say(t, "9.9.9.9"));
	EXPECT_EQ("fast mac=17 src=2001:db8::2 mtu=1280", Say(t, "2600::1"));
	EXPECT_EQ("fast mac=21 src=2001:db8::2 mtu=1400", Say(t, "2001:db8::5"));
}

TEST(Mtu, LoopbackSize)
{
	World w = Pod();

	w.in.mtu = 65536;
	EXPECT_EQ("fast mac=5 src=10.0.0.2 mtu=65535", Say(w.Build(), "10.0.0.5"));
}

TEST(Exception, PathMtuNarrows)
{
	World w = Pod();
	struct route_route &mtu = w.Route("8.8.8.8/32", "10.0.0.1");

	mtu.exception = true;
	mtu.mtu = 1200;
	const Table t = w.Build();

	EXPECT_EQ("fast mac=1 src=10.0.0.2 mtu=1200", Say(t, "8.8.8.8"));
	EXPECT_EQ("fast mac=1 src=10.0.0.2 mtu=1500", Say(t, "8.8.8.9"));
	w.routes.back().mtu = 1600;
	EXPECT_EQ("fast mac=1 src=10.0.0.2 mtu=1500", Say(w.Build(), "8.8.8.8"));
}

TEST(Exception, OnLinkAndIpv6)
{
	World w = Pod();

	w.Route("10.0.0.5/32").exception = true;
	w.routes.back().mtu = 1000;
	w.Route("2600::1/128", "fe80::1").exception = true;
	w.routes.back().mtu = 1281;
	w.Route("2600::1/128", "fe80::1").exception =
		true; // for another source: the smaller one holds
	w.routes.back().mtu = 1280;
	const Table t = w.Build();

	EXPECT_EQ("fast mac=5 src=10.0.0.2 mtu=1000", Say(t, "10.0.0.5"));
	EXPECT_EQ("fast mac=17 src=2001:db8::2 mtu=1280", Say(t, "2600::1"));
}

TEST(Exception, RedirectIsPolicy)
{
	World w = Pod();

	w.Route("8.8.8.8/32", "10.0.0.5").exception = true;
	w.routes.back().mtu = 1500;
	w.Route("8.8.8.7/32", "10.0.0.1").exception = true;
	w.Route("9.9.9.9/32", "10.0.0.1").exception = true;
	w.routes.back().odd = true;
	w.routes.back().mtu = 1200;
	const Table t = w.Build();

	EXPECT_EQ("policy", Say(t, "8.8.8.8"));
	EXPECT_EQ("policy", Say(t, "8.8.8.7"));
	EXPECT_EQ("policy", Say(t, "9.9.9.9"));
}

TEST(Exception, MeetsTheTableDefault)
{
	World w = Pod();

	w.routes[1].table = RT_TABLE_DEFAULT;
	w.Route("8.8.8.8/32", "10.0.0.1").exception = true;
	w.routes.back().mtu = 1200;
	EXPECT_EQ("fast mac=1 src=10.0.0.2 mtu=1200", Say(w.Build(), "8.8.8.8"));
}

TEST(HopLimit, RouteElseDevice)
{
	World w = Pod();
	struct route_hop hop;

	w.in.hop_limit6 = 70;
	w.Route("8.0.0.0/8", "10.0.0.1").hop_limit = 9;
	w.Route("2600::/16", "fe80::1").hop_limit = 11;
	const Table t = w.Build();

	ASSERT_EQ(ROUTE_FAST, Look(t, "10.0.0.5", &hop));
	EXPECT_EQ(0, hop.hop_limit);
	ASSERT_EQ(ROUTE_FAST, Look(t, "8.8.8.8", &hop));
	EXPECT_EQ(9, hop.hop_limit);
	ASSERT_EQ(ROUTE_FAST, Look(t, "2001:db8::5", &hop));
	EXPECT_EQ(70, hop.hop_limit);
	ASSERT_EQ(ROUTE_FAST, Look(t, "2600::5", &hop));
	EXPECT_EQ(11, hop.hop_limit);
}

TEST(LinkLocal, OtherDevicesRoutesDoNotCount)
{
	World w = Pod();

	w.Route("fe80::/64", "", 256, kOther);
	w.Route("fe80::/64", "", 1, kOther);
	EXPECT_EQ("fast mac=17 src=fe80::2 mtu=1500", Say(w.Build(), "fe80::1"));
}

TEST(Local, Unicast)
{
	World w = Pod();

	w.Address("10.9.9.9/24", kOther);
	const Table t = w.Build();

	for (const char *a : {"10.0.0.2", "10.9.9.9", "127.0.0.1", "fe80::2", "2001:db8::2"})
		EXPECT_TRUE(route_is_local(t.get(), FamilyOf(a), Addr(a).data())) << a;
	for (const char *a : {"10.0.0.3", "10.0.0.255", "127.0.0.2", "fe80::3", "::"})
		EXPECT_FALSE(route_is_local(t.get(), FamilyOf(a), Addr(a).data())) << a;
}

TEST(Generation, DiffersBetweenTables)
{
	World w = Pod();
	const Table a = w.Build(), b = w.Build();

	EXPECT_NE(route_table_generation(a.get()), route_table_generation(b.get()));
	EXPECT_EQ(route_table_generation(a.get()), route_table_generation(a.get()));
}

std::vector<std::string> Prefixes(const Table &t, uint32_t max)
{
	std::vector<struct udplane_prefix> out(max);
	std::vector<std::string> said;

	out.resize(route_table_prefixes(t.get(), out.data(), max));
	for (const auto &p : out)
		said.push_back(Text(p.family, p.addr) + "/" + std::to_string(p.len) +
			       (p.on_link ? " on-link" : "") + (p.slow ? " slow" : ""));
	return said;
}

TEST(Prefixes, DefaultCoversAllButOnLink)
{
	World w = Pod();

	w.Route("8.0.0.0/8", "10.0.0.5");
	EXPECT_EQ((std::vector<std::string>{"0.0.0.0/0", "::/0", "10.0.0.0/24 on-link"}),
		  Prefixes(w.Build(), 16));
	// The broadcast address inside does not fit, and would be an error.
	EXPECT_EQ((std::vector<std::string>{"0.0.0.0/0 slow"}), Prefixes(w.Build(), 1));
}

TEST(Prefixes, WidestFirstWithoutDefault)
{
	World w = Pod();

	w.routes.erase(w.routes.begin() + 4);
	w.routes.erase(w.routes.begin() + 1);
	w.Route("8.8.0.0/16", "10.0.0.5");
	w.Route("8.0.0.0/8", "10.0.0.5");
	w.Route("9.0.0.0/8", "10.0.0.5", 0, kOther);
	w.Route("9.9.0.0/16", "10.0.0.5");
	EXPECT_EQ((std::vector<std::string>{"8.0.0.0/8", "9.9.0.0/16", "10.0.0.0/24 on-link",
					    "2001:db8::/64", "fe80::/64"}),
		  Prefixes(w.Build(), 16));
}

TEST(Prefixes, ManyStayWithinMax)
{
	World w;

	for (int i = 0; i < 200; i++)
		w.Route("8." + std::to_string(i) + ".0.0/16", "10.0.0.1");
	EXPECT_EQ(16u, Prefixes(w.Build(), 16).size());
}

} // namespace
