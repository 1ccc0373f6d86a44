// SPDX-License-Identifier: Apache-2.0
// Which own address a datagram leaves from (ip-sysctl, RFC 6724).
#include "tests/unit/route/world.h"

namespace
{

TEST(Source, WantedMustBeOurs)
{
	World w = Pod();

	w.Address("10.9.9.9/24", kOther);
	w.Address("2001:db8::7/64").flags |= IFA_F_TENTATIVE;
	w.Address("2001:db9::7/64", kOther);
	w.Address("fe80::8/64", kOther);
	w.Address("::1/128", 1);
	const Table t = w.Build();

	EXPECT_EQ("fast mac=5 src=10.0.0.2 mtu=1500", Say(t, "10.0.0.5", "10.0.0.2"));
	EXPECT_EQ("fast mac=5 src=10.9.9.9 mtu=1500", Say(t, "10.0.0.5", "10.9.9.9"));
	EXPECT_EQ("fast mac=5 src=10.0.0.2 mtu=1500", Say(t, "10.0.0.5", "0.0.0.0"));
	EXPECT_EQ("source", Say(t, "10.0.0.5", "10.0.0.3"));
	EXPECT_EQ("source", Say(t, "10.0.0.5", "127.0.0.1"));
	EXPECT_EQ("fast mac=21 src=2001:db9::7 mtu=1500", Say(t, "2001:db8::5", "2001:db9::7"));
	EXPECT_EQ("fast mac=21 src=2001:db8::2 mtu=1500", Say(t, "2001:db8::5", "::"));
	EXPECT_EQ("source", Say(t, "2001:db8::5", "2001:db8::7"));
	EXPECT_EQ("source", Say(t, "2001:db8::5", "fe80::2"));
	EXPECT_EQ("source", Say(t, "2001:db8::5", "::1"));
	EXPECT_EQ("fast mac=17 src=fe80::2 mtu=1500", Say(t, "fe80::1", "fe80::2"));
	EXPECT_EQ("fast mac=17 src=2001:db8::2 mtu=1500", Say(t, "fe80::1", "2001:db8::2"));
	EXPECT_EQ("source", Say(t, "fe80::1", "fe80::8"));
}

TEST(Source, SameAddressOnTwoDevices)
{
	World w = Pod();

	w.Address("fe80::2/64", kOther);
	EXPECT_EQ("fast mac=17 src=fe80::2 mtu=1500", Say(w.Build(), "fe80::1", "fe80::2"));
}

TEST(Source4, Preferred)
{
	World w = Pod();
	struct route_route &r = w.Route("8.0.0.0/8", "10.0.0.1");

	r.has_prefsrc = true;
	memcpy(r.prefsrc, Addr("10.9.9.9").data(), 4);
	EXPECT_EQ("source", Say(w.Build(), "8.8.8.8")); // not ours (any more)
	EXPECT_EQ("fast mac=1 src=10.0.0.2 mtu=1500", Say(w.Build(), "8.8.8.8", "10.0.0.2"));
	w.Address("10.9.9.9/32", kOther);
	EXPECT_EQ("fast mac=1 src=10.9.9.9 mtu=1500", Say(w.Build(), "8.8.8.8"));
}

TEST(Source4, SubnetOfTheGateway)
{
	World w;

	w.Address("10.0.0.3/24").flags |= IFA_F_SECONDARY;
	w.Address("10.0.0.2/24");
	w.Address("10.0.1.2/24");
	w.Address("192.168.0.1/32");
	memcpy(w.addrs.back().peer, Addr("192.168.0.2").data(), 4); // point to point
	w.Route("0.0.0.0/0", "10.0.1.1");
	w.Route("8.0.0.0/8", "10.0.9.1"); // in no table
	w.Route("9.0.0.0/8", "192.168.0.2");
	w.Route("11.0.0.0/8", "fe80::1");
	w.Route("10.0.1.0/24"); // no prefsrc: the first, though another address lies in it
	w.Neigh("10.0.1.1", 1);
	w.Neigh("10.0.9.1", 2);
	w.Neigh("192.168.0.2", 3);
	w.Neigh("fe80::1", 4);
	const Table t = w.Build();

	EXPECT_EQ("fast mac=1 src=10.0.1.2 mtu=1500", Say(t, "4.4.4.4"));
	EXPECT_EQ("fast mac=2 src=10.0.0.2 mtu=1500", Say(t, "8.8.8.8"));
	EXPECT_EQ("fast mac=3 src=192.168.0.1 mtu=1500", Say(t, "9.9.9.9"));
	EXPECT_EQ("fast mac=4 src=10.0.0.2 mtu=1500", Say(t, "11.1.1.1"));
	EXPECT_EQ("fast mac=1 src=10.0.0.2 mtu=1500", Say(t, "10.0.1.1"));
}

TEST(Source4, Scope)
{
	World w;

	w.Address("169.254.0.2/16").scope = RT_SCOPE_LINK;
	w.Route("169.254.0.0/16");
	w.Route("0.0.0.0/0", "169.254.0.1");
	w.Neigh("169.254.0.1", 1);
	EXPECT_EQ("fast mac=1 src=169.254.0.2 mtu=1500", Say(w.Build(), "169.254.0.1"));
	EXPECT_EQ("source", Say(w.Build(), "8.8.8.8")); // of wider scope: another device's, perhaps
	w.Address("10.0.0.2/32");
	EXPECT_EQ("fast mac=1 src=10.0.0.2 mtu=1500", Say(w.Build(), "8.8.8.8"));
}

TEST(Source4, HostScopeIsDoubtful)
{
	World w;

	w.Address("10.0.0.9/32").scope = RT_SCOPE_HOST;
	w.Address("10.0.0.2/24");
	w.Route("10.0.0.0/24");
	w.Route("0.0.0.0/0", "10.0.0.1");
	w.Neigh("10.0.0.1", 1);
	EXPECT_EQ("source", Say(w.Build(), "10.0.0.1"));
	EXPECT_EQ("fast mac=1 src=10.0.0.2 mtu=1500", Say(w.Build(), "8.8.8.8"));
}

TEST(Source6, Preferred)
{
	World w = Pod();
	struct route_route &r = w.Route("2600::/16", "fe80::1");

	r.has_prefsrc = true;
	memcpy(r.prefsrc, Addr("2001:db8:9::9").data(), 16);
	EXPECT_EQ("source", Say(w.Build(), "2600::1"));
	w.Address("2001:db8:9::9/128", 1);
	EXPECT_EQ("fast mac=17 src=2001:db8:9::9 mtu=1500", Say(w.Build(), "2600::1"));
	w.addrs.back().flags |= IFA_F_TENTATIVE;
	EXPECT_EQ("source", Say(w.Build(), "2600::1"));
}

TEST(Source6, LongestMatchElseTheFirst)
{
	World w = Pod();

	w.Address("2600:1::2/64");
	w.Address("2600:2::2/64");
	const Table t = w.Build();

	EXPECT_EQ("fast mac=17 src=2600:1::2 mtu=1500", Say(t, "2600:1::9"));
	EXPECT_EQ("fast mac=17 src=2600:2::2 mtu=1500", Say(t, "2600:2::9"));
	EXPECT_EQ("fast mac=17 src=2600:1::2 mtu=1500", Say(t, "2600:8::9")); // both match 28 bits
	EXPECT_EQ("fast mac=17 src=2001:db8::2 mtu=1500", Say(t, "2001:db8:1::9"));
}

TEST(Source6, MatchEndsAtThePrefix)
{
	World w = Pod();

	w.addrs.pop_back();
	w.Address("2600:0:0:0:ff00::2/64");
	w.Address("2600::ff/64");
	w.addrs.back().prefix_len = 128;
	EXPECT_EQ("fast mac=17 src=2600::ff mtu=1500", Say(w.Build(), "2600::fe"));
	w.addrs.back().prefix_len = 64;
	EXPECT_EQ("fast mac=17 src=2600::ff00:0:0:2 mtu=1500", Say(w.Build(), "2600::fe"));
}

TEST(Source6, DeprecatedOnlyIfNothingElse)
{
	World w = Pod();

	w.addrs.back().flags |= IFA_F_DEPRECATED;
	EXPECT_EQ("fast mac=17 src=2001:db8::2 mtu=1500", Say(w.Build(), "2600::1"));
	w.Address("2001:dead::2/64");
	EXPECT_EQ("fast mac=17 src=2001:dead::2 mtu=1500", Say(w.Build(), "2600::1"));
	w.addrs.back().ifindex = kOther; // Linux would take it: rule 3 before rule 5
	EXPECT_EQ("source", Say(w.Build(), "2600::1"));
}

TEST(Source6, Doubtful)
{
	World w = Pod();

	w.Address("fd00::2/64"); // another label
	EXPECT_EQ("source", Say(w.Build(), "2600::1"));
	EXPECT_EQ("fast mac=17 src=2001:db8::2 mtu=1500", Say(w.Build(), "2600::1", "2001:db8::2"));
	w = Pod();
	w.Address("2001:db8::99/64").flags |= IFA_F_TEMPORARY;
	EXPECT_EQ("source", Say(w.Build(), "2600::1"));
	w = Pod();
	w.Address("2001:db8::99/64").flags |= IFA_F_OPTIMISTIC;
	EXPECT_EQ("source", Say(w.Build(), "2600::1"));
	w = Pod();
	for (int i = 0; i < 20; i++)
		w.Address("2001:db8:1:" + std::to_string(i) + "::9/64");
	EXPECT_EQ("source", Say(w.Build(), "2600::1"));
}

TEST(Source6, OnlyUniqueLocal)
{
	World w = Pod();

	w.addrs.pop_back();
	w.Address("fd00::2/64");
	EXPECT_EQ("fast mac=17 src=fd00::2 mtu=1500", Say(w.Build(), "2600::1"));
	EXPECT_EQ("fast mac=17 src=fd00::2 mtu=1500", Say(w.Build(), "fd01::1"));
}

TEST(Source6, LinkLocalNeedsLinkLocal)
{
	World w = Pod();

	w.addrs.erase(w.addrs.begin() + 2);
	EXPECT_EQ("source", Say(w.Build(), "fe80::1"));
	EXPECT_EQ("fast mac=17 src=2001:db8::2 mtu=1500", Say(w.Build(), "2600::1"));
	w = Pod();
	w.addrs.pop_back();
	EXPECT_EQ("source", Say(w.Build(), "2600::1"));
}

TEST(Source6, TentativeIsNoSource)
{
	World w = Pod();

	w.addrs.back().flags = IFA_F_TENTATIVE;
	const Table t = w.Build();

	EXPECT_EQ("source", Say(t, "2600::1"));
	EXPECT_EQ("local", Say(t, "2001:db8::2"));
}

TEST(Source6, OtherDevicesAddressesLose)
{
	World w = Pod();

	w.Address("2600::2/64", kOther);
	EXPECT_EQ("fast mac=17 src=2001:db8::2 mtu=1500", Say(w.Build(), "2600::1"));
}

} // namespace
