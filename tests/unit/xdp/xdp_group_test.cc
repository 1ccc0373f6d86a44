// SPDX-License-Identifier: Apache-2.0
// The XDP program and multicast groups.
#include "tests/unit/xdp/xdp_program.h"

namespace
{

Bytes group_mac(const std::string &group)
{
	auto a = ip(group);

	if (group.find(':') == std::string::npos)
		return {0x01, 0x00, 0x5e, static_cast<uint8_t>(a[1] & 0x7f), a[2], a[3]};
	return {0x33, 0x33, a[12], a[13], a[14], a[15]};
}

class XdpGroup : public XdpProgram
{
      protected:
	int send(Datagram d, Bytes mac = {})
	{
		Bytes f = d.frame();

		if (mac.empty())
			mac = group_mac(d.dst);
		std::copy(mac.begin(), mac.end(), f.begin());
		return run(f);
	}
};

Datagram to(const std::string &group, uint32_t port = 5000)
{
	Datagram d;

	d.dst = group;
	d.dport = port;
	if (d.v6())
		d.src = "2001:db8::9";
	return d;
}

TEST_F(XdpGroup, OnlyClaimedOnesAreDiverted)
{
	for (std::string g : {"239.1.2.3", "232.200.0.1", "ff02::1:2", "ff3e::8000:1"}) {
		EXPECT_EQ(send(to(g)), XDP_COUNT_NOT_LOCAL) << g;
		ASSERT_EQ(insert(claim(g, 5000)), 0);
		EXPECT_EQ(send(to(g)), XDP_COUNT_DIVERTED) << g;
		EXPECT_EQ(send(to(g, 5001)), XDP_COUNT_NOT_LOCAL);
		ASSERT_EQ(remove(claim(g, 5000)), 0);
		EXPECT_EQ(send(to(g)), XDP_COUNT_NOT_LOCAL) << g;
		EXPECT_EQ(shared()->groups, 0u);
		EXPECT_EQ(shared()->port[htons(5000)], 0);
	}
}

TEST_F(XdpGroup, OthersOfTheSameMacAndPortGoToTheKernel)
{
	ASSERT_EQ(insert(claim("239.1.2.3", 5000)), 0);
	ASSERT_EQ(insert(claim("ff02::1:2", 5000)), 0);
	EXPECT_EQ(send(to("239.129.2.3")), XDP_COUNT_NOT_LOCAL);
	EXPECT_EQ(send(to("ff05::1:2")), XDP_COUNT_NOT_LOCAL);
	EXPECT_EQ(send(to("192.0.2.255"), group_mac("239.1.2.3")), XDP_COUNT_NOT_LOCAL);
}

TEST_F(XdpGroup, AMacOfAnotherKindGoesToTheKernel)
{
	ASSERT_EQ(insert(claim("239.1.2.3", 5000)), 0);
	ASSERT_EQ(insert(claim("ff02::1:2", 5000)), 0);
	for (const char *g : {"239.1.2.3", "ff02::1:2"}) {
		EXPECT_EQ(send(to(g), device_mac), XDP_COUNT_NOT_LOCAL);
		EXPECT_EQ(send(to(g), Bytes(6, 0xff)), XDP_COUNT_NOT_LOCAL);
		EXPECT_EQ(send(to(g), {0x33, 0x33, 0, 0, 0, 1}), XDP_COUNT_NOT_LOCAL);
		EXPECT_EQ(send(to(g), {0x01, 0x00, 0x5e, 1, 2, 4}), XDP_COUNT_NOT_LOCAL);
	}
}

device_claim broadcast(const std::string &addr)
{
	device_claim c = claim(addr, 5000);

	c.broadcast = true;
	return c;
}

TEST_F(XdpGroup, BroadcastToClaimedAddresses)
{
	const Bytes all(6, 0xff);

	for (std::string a : {"255.255.255.255", "192.0.2.255"}) {
		EXPECT_EQ(send(to(a), all), XDP_COUNT_NOT_LOCAL) << a;
		ASSERT_EQ(insert(broadcast(a)), 0);
		EXPECT_EQ(send(to(a), all), XDP_COUNT_DIVERTED) << a;
		EXPECT_EQ(send(to(a, 5001), all), XDP_COUNT_NOT_LOCAL);
		EXPECT_EQ(send(to(a), group_mac("239.1.2.3")), XDP_COUNT_NOT_LOCAL);
		EXPECT_EQ(send(to(a), device_mac), XDP_COUNT_NOT_LOCAL);
		EXPECT_EQ(send(to("192.0.2.1"), all), XDP_COUNT_NOT_LOCAL);
		EXPECT_EQ(send(to("192.0.3.255"), all), XDP_COUNT_NOT_LOCAL);
		ASSERT_EQ(remove(broadcast(a)), 0);
		EXPECT_EQ(send(to(a), all), XDP_COUNT_NOT_LOCAL) << a;
		EXPECT_EQ(shared()->groups, 0u);
	}
}

// A frame to all may hold a datagram for one address; and a socket may be bound to a broadcast
// address that is not diverted.
TEST_F(XdpGroup, UnicastClaimsAndBroadcastAreApart)
{
	const Bytes all(6, 0xff);

	ASSERT_EQ(insert(claim("192.0.2.1", 5000)), 0);
	ASSERT_EQ(insert(claim("192.0.2.255", 5000)), 0);
	ASSERT_EQ(insert(broadcast("255.255.255.255")), 0);
	EXPECT_EQ(send(to("192.0.2.1"), all), XDP_COUNT_NOT_LOCAL);
	EXPECT_EQ(send(to("192.0.2.255"), all), XDP_COUNT_NOT_LOCAL);
	ASSERT_EQ(insert(broadcast("192.0.2.255")), 0);
	EXPECT_EQ(send(to("192.0.2.255"), all), XDP_COUNT_DIVERTED);
	ASSERT_EQ(remove(broadcast("192.0.2.255")), 0);
	EXPECT_EQ(send(to("192.0.2.255"), all), XDP_COUNT_NOT_LOCAL);
	EXPECT_EQ(send(to("192.0.2.1"), device_mac), XDP_COUNT_DIVERTED);
}

// What Linux checks for unicast it checks for groups, too.
TEST_F(XdpGroup, SourcesAndShapes)
{
	ASSERT_EQ(insert(claim("239.1.2.3", 5000)), 0);
	ASSERT_EQ(set_sources({"192.0.2.0/24", "!0.0.0.0/0"}), 0);
	Datagram d = to("239.1.2.3");
	shared()->source_all = 1;
	EXPECT_EQ(send(d), XDP_COUNT_DIVERTED);
	d.src = "198.51.100.1";
	EXPECT_EQ(send(d), XDP_COUNT_SOURCE);
	d.src = "239.1.2.3";
	EXPECT_EQ(send(d), XDP_COUNT_MARTIAN);
	d.src = "0.0.0.0";
	EXPECT_EQ(send(d), XDP_COUNT_MARTIAN);

	Bytes f = to("239.1.2.3").frame(), mac = group_mac("239.1.2.3");
	std::copy(mac.begin(), mac.end(), f.begin());
	put16(f, 20, 0x2000);
	EXPECT_EQ(run(f), XDP_COUNT_FRAGMENT);
	put16(f, 20, 0);
	f[23] = 2; // IGMP
	EXPECT_EQ(run(f), XDP_COUNT_NOT_UDP);
	f[23] = IPPROTO_UDP;
	put16(f, 16, 27);
	EXPECT_EQ(run(f), XDP_COUNT_MALFORMED);
}

TEST_F(XdpGroup, UnicastClaimsDoNotMatter)
{
	ASSERT_EQ(insert(claim("0.0.0.0", 5000)), 0);
	ASSERT_EQ(insert(claim("::", 5000)), 0);
	ASSERT_EQ(insert(claim("239.9.9.9", 5001)), 0);
	EXPECT_EQ(send(to("239.1.2.3")), XDP_COUNT_NOT_LOCAL);
	EXPECT_EQ(send(to("ff02::1:2")), XDP_COUNT_NOT_LOCAL);
	Datagram d;
	d.dport = 5000;
	EXPECT_EQ(run(d), XDP_COUNT_DIVERTED);
	d.dport = 5001;
	EXPECT_EQ(run(d), XDP_COUNT_UNCLAIMED);
}

// Another program gets them, too: after a change to generic mode, for example.
TEST_F(XdpGroup, ANewProgramKnowsThem)
{
	ASSERT_EQ(insert(claim("239.1.2.3", 5000)), 0);
	shared()->groups = 0;
	shared()->port[htons(5000)] = 0;
	EXPECT_EQ(send(to("239.1.2.3")), XDP_COUNT_NOT_LOCAL);
	ASSERT_EQ(xdp_claims_use(&claims, shared(), bpf_map__fd(prog->maps.local),
				 bpf_map__fd(prog->maps.claims_addr),
				 bpf_map__fd(prog->maps.claims_conn),
				 bpf_map__fd(prog->maps.sources), bpf_map__fd(prog->maps.excluded6),
				 bpf_map__fd(prog->maps.members)),
		  0);
	EXPECT_EQ(send(to("239.1.2.3")), XDP_COUNT_DIVERTED);
}

} // namespace
