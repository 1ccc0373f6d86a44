// SPDX-License-Identifier: Apache-2.0
// Who receives a multicast group, by table.
#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

extern "C" {
#include "sidecar/control/members.h"
}

namespace
{

udplane_addr Addr(const char *text, uint16_t port)
{
	udplane_addr a{};
	a.family = strchr(text, ':') ? AF_INET6 : AF_INET;
	a.port_be = htons(port);
	EXPECT_EQ(inet_pton(a.family, text, a.addr), 1) << text;
	return a;
}

claim Claim(const char *local, uint16_t port = 5000)
{
	claim c{};
	c.local = c.key.local = Addr(local, port);
	c.all4 = c.all6 = true;
	return c;
}

claim_member Member(bool exclude = true, const std::vector<const char *> &sources = {})
{
	claim_member m{};
	m.member = true;
	m.exclude = exclude;
	for (const char *s : sources)
		memcpy(m.source[m.source_cnt++], Addr(s, 0).addr, 16);
	return m;
}

struct MembersTest : testing::Test {
	void Begin(const char *group)
	{
		g = Addr(group, 5000);
		members_begin(&r, &g);
	}
	void Add(const claim &c, const claim_member *m = nullptr,
		 enum udplane_reason judged = UDPLANE_REASON_NONE)
	{
		members_socket s{};
		s.number = n++;
		s.claim = &c;
		s.member = m;
		s.judged = judged;
		s.judged_text = "judged";
		members_add(&r, &s);
	}
	enum udplane_reason End()
	{
		members_end(&r);
		return r.d.reason;
	}
	udplane_addr g{};
	members r{};
	uint32_t n = 7;
};

TEST_F(MembersTest, ReceivesIfBoundToNoAddressOrTheGroup)
{
	udplane_addr four = Addr("239.1.2.3", 5000), six = Addr("ff15::1", 5000);
	struct {
		const char *local;
		uint16_t port;
		bool dual, gets4, gets6;
	} table[] = {
		{"0.0.0.0", 5000, false, true, false},
		{"0.0.0.0", 5001, false, false, false},
		{"::", 5000, true, true, true},
		{"::", 5000, false, false, true},
		{"239.1.2.3", 5000, false, true, false},
		{"239.1.2.4", 5000, false, false, false},
		{"192.0.2.1", 5000, false, false, false},
		{"ff15::1", 5000, false, false, true},
		{"2001:db8::1", 5000, false, false, false},
	};
	for (auto &t : table) {
		claim c = Claim(t.local, t.port);
		c.dual_stack = t.dual;
		EXPECT_EQ(members_receives(&c, &four), t.gets4) << t.local << t.port;
		EXPECT_EQ(members_receives(&c, &six), t.gets6) << t.local << t.port;
		c.peer = Addr("192.0.2.9", 1);
		EXPECT_FALSE(members_receives(&c, &four));
	}
}

TEST_F(MembersTest, OneMember)
{
	claim_member m = Member(false, {"192.0.2.2", "192.0.2.3"});
	Begin("239.1.2.3");
	Add(Claim("0.0.0.0"), &m);
	EXPECT_EQ(End(), UDPLANE_REASON_NONE);
	ASSERT_EQ(r.set.member_cnt, 1u);
	EXPECT_EQ(r.set.member[0].sock, 7u);
	EXPECT_FALSE(r.set.member[0].exclude);
	EXPECT_EQ(r.set.member[0].source_cnt, 2u);
	EXPECT_EQ(memcmp(r.set.member[0].source[1], Addr("192.0.2.3", 0).addr, 16), 0);
}

TEST_F(MembersTest, NobodyHasJoined)
{
	claim_member no{};
	Begin("239.1.2.3");
	Add(Claim("0.0.0.0"));
	Add(Claim("0.0.0.0"), &no);
	EXPECT_EQ(End(), UDPLANE_REASON_NOT_LOCAL);
}

// A socket that takes what others have joined needs a member that wants all.
TEST_F(MembersTest, MulticastAll)
{
	claim_member all = Member(), some = Member(false, {"192.0.2.2"}),
		     but = Member(true, {"192.0.2.2"});
	claim off = Claim("0.0.0.0");
	off.all4 = false;

	Begin("239.1.2.3");
	Add(Claim("0.0.0.0"), &all), Add(Claim("0.0.0.0")), Add(off);
	EXPECT_EQ(End(), UDPLANE_REASON_NONE);
	ASSERT_EQ(r.set.member_cnt, 2u);
	EXPECT_TRUE(r.set.member[1].exclude);
	EXPECT_EQ(r.set.member[1].source_cnt, 0u);

	for (const claim_member *m : {&some, &but}) {
		Begin("239.1.2.3");
		Add(Claim("0.0.0.0"), m), Add(Claim("0.0.0.0"));
		EXPECT_EQ(End(), UDPLANE_REASON_OPTION);
		Begin("239.1.2.3");
		Add(Claim("0.0.0.0"), m), Add(off);
		EXPECT_EQ(End(), UDPLANE_REASON_NONE);
		EXPECT_EQ(r.set.member_cnt, 1u);
		Begin("239.1.2.3");
		Add(Claim("0.0.0.0")), Add(Claim("0.0.0.0"), m), Add(Claim("0.0.0.0"), &all);
		EXPECT_EQ(End(), UDPLANE_REASON_NONE);
	}
	off.all4 = true;
	off.all6 = false; // each family has its own
	Begin("ff15::1");
	Add(Claim("::"), &some), Add(off);
	EXPECT_EQ(End(), UDPLANE_REASON_NONE);
}

TEST_F(MembersTest, WhatSpeaksAgainst)
{
	claim_member all = Member(), unclear = Member();
	claim off = Claim("0.0.0.0");
	unclear.unclear = true;
	off.all4 = false;

	Begin("239.1.2.3");
	Add(Claim("0.0.0.0"), &all), Add(Claim("0.0.0.0"), &unclear);
	EXPECT_EQ(End(), UDPLANE_REASON_OPTION);

	Begin("239.1.2.3");
	Add(Claim("0.0.0.0"), &all), Add(Claim("0.0.0.0"), &all, UDPLANE_REASON_NETFILTER);
	EXPECT_EQ(End(), UDPLANE_REASON_NETFILTER);
	EXPECT_STREQ(r.d.text, "judged");

	Begin("239.1.2.3"); // one that does not receive it anyway
	Add(Claim("0.0.0.0"), &all), Add(off, nullptr, UDPLANE_REASON_NETFILTER);
	EXPECT_EQ(End(), UDPLANE_REASON_NONE);

	Begin("239.1.2.3");
	for (int i = 0; i < WORKER_MEMBERS; i++)
		Add(Claim("0.0.0.0"), &all);
	members full = r;
	EXPECT_EQ(End(), UDPLANE_REASON_NONE);
	r = full;
	Add(Claim("0.0.0.0"), &all);
	EXPECT_EQ(End(), UDPLANE_REASON_TOO_MANY);
	EXPECT_EQ(r.set.member_cnt, (uint32_t)WORKER_MEMBERS);
}

TEST_F(MembersTest, ControlMessagesThatOnlyTheKernelHas)
{
	claim_member all = Member();
	claim c = Claim("::");
	c.stamp = true;
	Begin("ff15::1");
	Add(c, &all);
	EXPECT_EQ(End(), UDPLANE_REASON_OPTION);
	c.stamp = false;
	c.spec_dst = true;
	Begin("ff15::1");
	Add(c, &all);
	EXPECT_EQ(End(), UDPLANE_REASON_NONE);
	Begin("239.1.2.3");
	Add(c, &all);
	EXPECT_EQ(End(), UDPLANE_REASON_OPTION);
}

TEST_F(MembersTest, OthersMayBeBoundIfOneAllowsIt)
{
	claim_member all = Member();
	claim shares = Claim("0.0.0.0");
	shares.reuse = true;
	Begin("239.1.2.3");
	Add(Claim("0.0.0.0"), &all);
	EXPECT_FALSE(r.reuse);
	Add(shares);
	EXPECT_TRUE(r.reuse);
}

TEST_F(MembersTest, BroadcastIsForAllWhoAreBoundToNoAddressOrToIt)
{
	claim asks = Claim("0.0.0.0"), other = Claim("0.0.0.0"), there = Claim("192.0.2.255");
	asks.broadcast = true;
	other.all4 = false; // concerns groups only
	Begin("192.0.2.255");
	EXPECT_TRUE(members_receives(&there, &g));
	Add(asks);
	Add(other);
	Add(there);
	EXPECT_EQ(End(), UDPLANE_REASON_NONE) << r.d.text;
	ASSERT_EQ(r.set.member_cnt, 3u);
	for (int i = 0; i < 3; i++)
		EXPECT_TRUE(r.set.member[i].exclude && !r.set.member[i].source_cnt) << i;

	Begin("192.0.2.255");
	Add(other);
	EXPECT_EQ(End(), UDPLANE_REASON_NOT_LOCAL);
	asks.spec_dst = true;
	Begin("255.255.255.255");
	Add(asks);
	EXPECT_EQ(End(), UDPLANE_REASON_OPTION);
}

} // namespace
