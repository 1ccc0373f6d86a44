// SPDX-License-Identifier: Apache-2.0
// Multicast: who gets a copy, and when the one frame of all copies is free again.
#include "tests/unit/worker/fixture.h"

namespace
{

const uint8_t kGroupMac[6] = {0x01, 0x00, 0x5e, 0x01, 0x02, 0x03}; // of 239.1.2.3

class McastTest : public WorkerTest
{
      protected:
	void SetUp() override
	{
		WorkerTest::SetUp();
		m_.group.family = AF_INET;
		m_.group.port_be = htons(7);
		inet_pton(AF_INET, "239.1.2.3", m_.group.addr);
	}
	// The socket receives from any source, or from what `sources` says.
	worker_member *Join(uint32_t sock, bool exclude = true,
			    const std::vector<const char *> &sources = {})
	{
		worker_member *k = &m_.member[m_.member_cnt++];
		*k = worker_member{};
		k->sock = sock;
		k->exclude = exclude;
		for (const char *s : sources)
			inet_pton(AF_INET, s, k->source[k->source_cnt++]);
		Set();
		return k;
	}
	void Set()
	{
		worker_order o{};
		o.op = WORKER_MCAST;
		o.mcast = &m_;
		ASSERT_EQ(worker_call(w_, &o), 0);
	}
	void TearDown() override
	{
		m_.member_cnt = 0;
		Set();
		WorkerTest::TearDown();
	}
	bool InjectGroup(const std::string &data, const char *group = "239.1.2.3",
			 const uint8_t *mac = kGroupMac, uint16_t port = 7)
	{
		return Inject(port, "", [&](uint8_t *p, uint32_t *len) {
			std::vector<uint8_t> wire = UdpFrame(mac, port, data, group);
			memcpy(p, wire.data(), wire.size());
			*len = (uint32_t)wire.size();
		});
	}
	// Takes one datagram and keeps its frame.
	uint32_t Take(Client *c, const std::string &data)
	{
		udplane_rx_desc d{};
		EXPECT_EQ(Receive(c, &d), data);
		return d.frame;
	}
	worker_mcast m_{};
};

TEST_F(McastTest, DeliversToItsOnlyMember)
{
	Client *c = Attach(0, 9);
	Join(0);
	ASSERT_TRUE(InjectGroup("one"));
	uint32_t f = Take(c, "one");
	ASSERT_TRUE(Settled());
	EXPECT_EQ(worker_frames_held(w_), 1u);
	c->Return(f);
	EXPECT_TRUE(Until([&] { return worker_frames_held(w_) == 0; }));
	EXPECT_EQ(Count(UDPLANE_WORKER_RX_COPIES), 0u);
}

TEST_F(McastTest, SeveralMembersShareOneFrameUntilAllHaveReturnedIt)
{
	Client *a = Attach(0, 9), *b = Attach(1, 10), *c = Attach(2, 11);
	Join(0), Join(1), Join(2);
	ASSERT_TRUE(InjectGroup("all"));
	uint32_t f = Take(a, "all");
	EXPECT_EQ(Take(b, "all"), f);
	EXPECT_EQ(Take(c, "all"), f);
	ASSERT_TRUE(Settled());
	EXPECT_EQ(worker_frames_held(w_), 1u);
	EXPECT_EQ(Count(UDPLANE_WORKER_RX_COPIES), 2u);
	EXPECT_EQ(Count(UDPLANE_WORKER_RX_DELIVERED), 3u);
	b->Return(f);
	a->Return(f);
	ASSERT_TRUE(Settled());
	EXPECT_EQ(worker_frames_held(w_), 1u);
	c->Return(f);
	EXPECT_TRUE(Until([&] { return worker_frames_held(w_) == 0; }));
	EXPECT_EQ(Count(UDPLANE_WORKER_CORRUPT), 0u);
}

// The frame is somebody else's by then.
TEST_F(McastTest, ReturningACopyTwiceIsNoticed)
{
	Client *a = Attach(0, 9), *b = Attach(1, 10);
	Join(0), Join(1);
	ASSERT_TRUE(InjectGroup("x"));
	uint32_t f = Take(a, "x");
	EXPECT_EQ(Take(b, "x"), f);
	a->Return(f, false);
	a->Return(f);
	EXPECT_TRUE(Until([&] { return Count(UDPLANE_WORKER_CORRUPT) == 1; }));
	EXPECT_EQ(worker_frames_held(w_), 1u); // b's
	EXPECT_EQ(udplane_load32(&b->lane.expelled), 0u);
	b->Return(f);
	EXPECT_TRUE(Until([&] { return worker_frames_held(w_) == 0; }));
}

TEST_F(McastTest, OneWhoGotNoCopyCannotReturnIt)
{
	Client *a = Attach(0, 9), *b = Attach(1, 10), *thief = Attach(2, 11);
	Join(0), Join(1);
	ASSERT_TRUE(InjectGroup("x"));
	uint32_t f = Take(a, "x");
	Take(b, "x");
	thief->Return(f);
	EXPECT_TRUE(Until([&] { return Count(UDPLANE_WORKER_CORRUPT) == 1; }));
	EXPECT_EQ(worker_frames_held(w_), 1u);
	a->Return(f), b->Return(f);
	EXPECT_TRUE(Until([&] { return worker_frames_held(w_) == 0; }));
}

TEST_F(McastTest, CopiesOfAClientThatHasGoneAreTakenBack)
{
	Client *a = Attach(0, 9), *b = Attach(1, 10);
	Join(0), Join(1);
	ASSERT_TRUE(InjectGroup("x"));
	uint32_t f = Take(b, "x");
	ASSERT_TRUE(Settled());
	EXPECT_EQ(Call(WORKER_SOCKET_REMOVE, 0), 0); // the group still names it
	ASSERT_TRUE(InjectGroup("y"));
	uint32_t g = Take(b, "y");
	EXPECT_EQ(Call(WORKER_LANE_REMOVE, 0, &a->lane), 0);
	EXPECT_EQ(worker_frames_held(w_), 2u);
	b->Return(f), b->Return(g);
	EXPECT_TRUE(Until([&] { return worker_frames_held(w_) == 0; }));
}

TEST_F(McastTest, SourceFilters)
{
	Client *only = Attach(0, 9), *not_it = Attach(1, 10), *other = Attach(2, 11);
	Join(0, false, {"192.0.2.7", "192.0.2.2"});
	Join(1, true, {"192.0.2.2"});
	Join(2, false, {"192.0.2.3"});
	ASSERT_TRUE(InjectGroup("x"));
	ASSERT_TRUE(Settled());
	only->Return(Take(only, "x"));
	udplane_rx_desc d;
	EXPECT_FALSE(not_it->Take(&d));
	EXPECT_FALSE(other->Take(&d));
	EXPECT_EQ(Count(UDPLANE_WORKER_RX_COPIES), 0u);
	m_.member[0] = m_.member[1];
	m_.member_cnt = 1;
	Set();
	ASSERT_TRUE(InjectGroup("y"));
	ASSERT_TRUE(Settled());
	EXPECT_EQ(Count(UDPLANE_WORKER_RX_DROP_FILTERED), 1u);
}

TEST_F(McastTest, AFullRingCostsItsOwnCopyOnly)
{
	Client *slow = Attach(0, 9), *quick = Attach(1, 10);
	Join(0), Join(1);
	for (uint32_t i = 0; i < kRing + 3; i++) {
		ASSERT_TRUE(InjectGroup("x"));
		uint32_t f = Take(quick, "x");
		quick->Return(f);
	}
	ASSERT_TRUE(Settled());
	EXPECT_EQ(slow->counters.counter[UDPLANE_SOCKET_RX_DROP_RING_FULL], 3u);
	EXPECT_EQ(quick->counters.counter[UDPLANE_SOCKET_RX_DELIVERED], kRing + 3);
	EXPECT_EQ(worker_frames_held(w_), kRing);
}

TEST_F(McastTest, OtherGroupsPortsAndMacsAreDropped)
{
	Attach(0, 9);
	Join(0);
	ASSERT_TRUE(InjectGroup("group", "239.129.2.3")); // the same MAC address
	ASSERT_TRUE(InjectGroup("port", "239.1.2.3", kGroupMac, 8));
	ASSERT_TRUE(InjectGroup("mac", "239.1.2.4"));
	ASSERT_TRUE(Settled());
	EXPECT_EQ(Count(UDPLANE_WORKER_RX_DELIVERED), 0u);
	EXPECT_EQ(Count(UDPLANE_WORKER_RX_DROP_NO_SOCKET), 2u);
	EXPECT_EQ(Count(UDPLANE_WORKER_MARTIANS), 1u);
}

TEST_F(McastTest, TheFirstCopyOfANewMemberIsMarked)
{
	Client *a = Attach(0, 9), *b = Attach(1, 10);
	udplane_rx_desc d;
	Join(0);
	ASSERT_TRUE(InjectGroup("1"));
	EXPECT_EQ(Receive(a, &d), "1");
	EXPECT_EQ(d.flags, UDPLANE_RX_SWITCHED);
	a->Return(d.frame);
	Join(1);
	ASSERT_TRUE(InjectGroup("2"));
	EXPECT_EQ(Receive(a, &d), "2");
	EXPECT_EQ(d.flags, 0);
	a->Return(d.frame);
	EXPECT_EQ(Receive(b, &d), "2");
	EXPECT_EQ(d.flags, UDPLANE_RX_SWITCHED);
	b->Return(d.frame);
}

// Groups come and go in any order.
TEST_F(McastTest, ManyGroups)
{
	Client *c = Attach(0, 9);
	auto set = [&](int i, uint32_t members) {
		m_.group.addr[2] = (uint8_t)(i >> 8);
		m_.group.addr[3] = (uint8_t)i;
		m_.member_cnt = members;
		m_.member[0] = worker_member{};
		m_.member[0].exclude = true;
		Set();
	};
	auto send = [&](int i) {
		uint8_t mac[6] = {1, 0, 0x5e, 1, (uint8_t)(i >> 8), (uint8_t)i};
		std::string to = "239.1." + std::to_string(i >> 8) + "." + std::to_string(i & 255);
		EXPECT_TRUE(InjectGroup(to, to.c_str(), mac));
		return to;
	};
	for (int i = 0; i < 300; i++)
		set(i, 1);
	for (int i = 0; i < 300; i += 2)
		set(i, 0);
	for (int i = 0; i < 300; i++) {
		std::string to = send(i);
		if (i % 2)
			c->Return(Take(c, to));
	}
	ASSERT_TRUE(Settled());
	EXPECT_EQ(c->counters.counter[UDPLANE_SOCKET_RX_DELIVERED], 150u);
	for (int i = 1; i < 300; i += 2)
		set(i, 0);
}

} // namespace
