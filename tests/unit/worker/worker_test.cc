// SPDX-License-Identifier: Apache-2.0
// What a worker delivers, sends and counts.
#include "tests/unit/worker/fixture.h"

namespace
{

TEST_F(WorkerTest, DeliversInPlaceAndTakesFramesBack)
{
	Client *c = Attach(3, 5060);
	ASSERT_TRUE(Inject(5060, "hello"));
	udplane_rx_desc d;
	EXPECT_EQ(Receive(c, &d), "hello");
	EXPECT_EQ(d.src4_be, inet_addr("192.0.2.2"));
	EXPECT_EQ(d.src_port_be, htons(1000));
	EXPECT_EQ(d.flags, UDPLANE_RX_SWITCHED); // the first since the claim
	ASSERT_TRUE(Settled());
	EXPECT_EQ(worker_frames_held(w_), 1u);
	c->Return(d.frame);
	EXPECT_TRUE(Until([&] { return worker_frames_held(w_) == 0; }));
	ASSERT_TRUE(Inject(5060, ""));
	EXPECT_EQ(Receive(c, &d), "");
	EXPECT_EQ(d.flags, 0);
}

// The device knows which member of a SO_REUSEPORT group Linux would choose.
TEST_F(WorkerTest, AGroupsDatagramGoesToWhomLinuxWouldChoose)
{
	Client *c[] = {Attach(0, 7), Attach(1, 8), Attach(2, 9)};

	for (uint32_t sock = 0; sock < 3; sock++) {
		worker_order o{};
		o.op = sock ? WORKER_KEY_INSERT : WORKER_KEY_REMOVE;
		o.sock = sock;
		o.key = BedKey(7);
		o.cookie = 100 + sock;
		ASSERT_EQ(worker_call(w_, &o), 0);
	}
	for (uint32_t i = 0; i < 20; i++) {
		uint32_t sock = 1 + i % 2;
		__atomic_store_n(&fake->receiver, 100 + sock, __ATOMIC_RELAXED);
		ASSERT_TRUE(Inject(7, "x"));
		udplane_rx_desc d;
		EXPECT_EQ(Receive(c[sock], &d), "x");
		c[sock]->Return(d.frame);
		EXPECT_FALSE(c[3 - sock]->Take(&d));
	}
}

TEST_F(WorkerTest, SignalsASleeperOnceAnArm)
{
	Client *c = Attach(0, 7);
	udplane_ring_arm(&c->my_rx);
	for (int i = 0; i < 3; i++)
		ASSERT_TRUE(Inject(7, "x"));
	ASSERT_TRUE(Settled());
	char buf[8];
	EXPECT_EQ(read(c->wake_fd[0], buf, sizeof(buf)), 1);
	EXPECT_FALSE(udplane_ring_is_armed(&c->my_rx));
	EXPECT_EQ(Count(UDPLANE_WORKER_WAKES_CLIENT), 1u);
}

TEST_F(WorkerTest, MarksASocketInPlaceOfASignalWhileNobodySleeps)
{
	constexpr uint32_t kSock = 3, kGroup = 61;
	Client *c = Attach(kSock, 7);
	char buf[8];
	udplane_ring_arm_as(&c->my_rx, UDPLANE_ARM_LIST + kGroup);
	ASSERT_TRUE(Inject(7, "x"));
	ASSERT_TRUE(Settled());
	EXPECT_EQ(c->ready->bits[kSock / 64], 1ull << kSock % 64);
	EXPECT_FALSE(udplane_ring_is_armed(&c->my_rx));
	EXPECT_EQ(Count(UDPLANE_WORKER_WAKES_CLIENT), 0u);
	EXPECT_EQ(c->ring->head.signals, 0u);

	c->ready->bits[kSock / 64] = 0;
	c->ready->sleepers[kGroup] = 1;
	udplane_ring_arm_as(&c->my_rx, UDPLANE_ARM_LIST + kGroup);
	ASSERT_TRUE(Inject(7, "x"));
	ASSERT_TRUE(Settled());
	EXPECT_EQ(c->ready->bits[kSock / 64], 1ull << kSock % 64);
	EXPECT_EQ(c->ring->head.signals, 1u);
	EXPECT_EQ(read(c->wake_fd[0], buf, sizeof(buf)), 1);
}

TEST_F(WorkerTest, IgnoresAnArmForAGroupThatCannotBe)
{
	Client *c = Attach(0, 7);
	for (uint32_t arm : {UDPLANE_ARM_LIST + UDPLANE_READY_GROUPS + 0u, UINT32_MAX}) {
		udplane_ring_arm_as(&c->my_rx, arm);
		ASSERT_TRUE(Inject(7, "x"));
		ASSERT_TRUE(Settled());
		EXPECT_FALSE(udplane_ring_is_armed(&c->my_rx));
	}
	EXPECT_EQ(c->ready->bits[0], 0u);
	EXPECT_EQ(Count(UDPLANE_WORKER_WAKES_CLIENT), 0u);
}

TEST_F(WorkerTest, CountsEveryDropUnderItsReason)
{
	Attach(0, 7);
	ASSERT_TRUE(Inject(7, "bad ip sum", [](uint8_t *p, uint32_t *) { p[24] ^= 1; }));
	ASSERT_TRUE(Inject(7, "bad udp sum", [](uint8_t *p, uint32_t *) { p[44] ^= 1; }));
	ASSERT_TRUE(Inject(7, "short", [](uint8_t *, uint32_t *len) { *len -= 2; }));
	ASSERT_TRUE(Inject(8, "nobody"));
	ASSERT_TRUE(Settled());
	EXPECT_EQ(Count(UDPLANE_WORKER_RX_DROP_IP_CHECKSUM), 1u);
	EXPECT_EQ(Count(UDPLANE_WORKER_RX_DROP_UDP_CHECKSUM), 1u);
	EXPECT_EQ(Count(UDPLANE_WORKER_RX_DROP_MALFORMED), 1u);
	EXPECT_EQ(Count(UDPLANE_WORKER_RX_DROP_NO_SOCKET), 1u);
}

TEST_F(WorkerTest, AFullRingDropsAndCounts)
{
	Client *c = Attach(0, 7);
	for (uint32_t i = 0; i < kRing + 10; i++)
		ASSERT_TRUE(Inject(7, "x"));
	ASSERT_TRUE(Settled());
	EXPECT_EQ(c->counters.counter[UDPLANE_SOCKET_RX_DELIVERED], kRing);
	EXPECT_EQ(c->counters.counter[UDPLANE_SOCKET_RX_DROP_RING_FULL], 10u);
}

TEST_F(WorkerTest, AClientThatKeepsFramesLeavesSomeForOthers)
{
	Client *hog = Attach(0, 7), *other = Attach(1, 8);
	uint32_t dropped_before = 0;
	for (int i = 0; i < 3000; i++) { // takes descriptors, never returns a frame
		Inject(7, "x");
		if (i % 100 == 0) {
			ASSERT_TRUE(Settled());
		}
		uint32_t n = udplane_ring_avail(&hog->my_rx, 1);
		if (n)
			udplane_ring_consume(&hog->my_rx, n);
	}
	ASSERT_TRUE(Settled());
	EXPECT_GT(Count(UDPLANE_WORKER_RX_DROP_QUOTA), dropped_before);
	EXPECT_LT(worker_frames_held(w_), kFrames * 3 / 4);
	ASSERT_TRUE(Inject(8, "still served"));
	EXPECT_EQ(Receive(other), "still served");
}

// Stopped and continued: what was diverted before a long stop is dropped under a name of its own,
// what comes after it is of a new epoch.
TEST_F(WorkerTest, GoesOnAfterAStopInANewEpoch)
{
	Client *c = Attach(0, 7);
	udplane_rx_desc d;
	ASSERT_TRUE(Inject(7, "before"));
	EXPECT_EQ(Receive(c, &d), "before");
	c->Return(d.frame);
	{
		Guard g;
		InjectLocked(7, "stale");
		fake->rx.back().flags = DEVICE_FRAME_STALE;
	}
	EXPECT_TRUE(Until([&] { return Count(UDPLANE_WORKER_RX_DROP_STALLED) == 1; }));
	{
		Guard g;
		fake->resume = true;
		InjectLocked(7, "after");
	}
	EXPECT_EQ(Receive(c, &d), "after");
	EXPECT_EQ(d.flags, UDPLANE_RX_SWITCHED);
	EXPECT_EQ(Count(UDPLANE_WORKER_STALLS), 1u);
	c->Return(d.frame);
}

TEST_F(WorkerTest, SendsWithRightHeaders)
{
	Client *c = Attach(2, 5060);
	c->Send(2, "ping", 4, inet_addr("192.0.2.2"), 9999);
	ASSERT_TRUE(Until([&] {
		Guard g;
		return fake->sent.size() == 1;
	}));
	const auto &f = fake->sent[0];
	packet_info info;
	ASSERT_EQ(packet_parse(f.data(), (uint32_t)f.size(), &info), PACKET_UDP);
	EXPECT_EQ(packet_verify(f.data(), &info, PACKET_CHECKSUM_WIRE), PACKET_UDP);
	EXPECT_EQ(memcmp(f.data(), kPeerMac, 6), 0);
	EXPECT_EQ(memcmp(f.data() + 6, kMac, 6), 0);
	EXPECT_EQ(info.src.v4_be, inet_addr("192.0.2.1"));
	EXPECT_EQ(info.src_port_be, htons(5060));
	EXPECT_EQ(info.dst_port_be, htons(9999));
	EXPECT_EQ(std::string((const char *)f.data() + info.payload_off, info.payload_len), "ping");
}

// IP_PMTUDISC_DONT: routers may fragment, so DF is off and no two datagrams have the same id.
TEST_F(WorkerTest, SendsWithoutDfWhereTheSocketSaysSo)
{
	Client *c = Attach(2, 5060);
	worker_order o{};
	o.op = WORKER_SOCKET_SOURCE;
	o.sock = 2;
	o.source.addr.port_be = htons(5060);
	c->Send(2, "df", 2, inet_addr("192.0.2.2"), 9);
	ASSERT_TRUE(Until([&] {
		Guard g;
		return fake->sent.size() == 1;
	}));
	o.source.no_df = true;
	ASSERT_EQ(worker_call(w_, &o), 0);
	for (int i = 0; i < 2; i++)
		c->Send(2, "no", 2, inet_addr("192.0.2.2"), 9);
	ASSERT_TRUE(Until([&] {
		Guard g;
		return fake->sent.size() == 3;
	}));
	EXPECT_EQ(fake->sent[0][20], 0x40);
	for (int i = 1; i < 3; i++) {
		packet_info info;
		EXPECT_EQ(fake->sent[i][20], 0);
		ASSERT_EQ(packet_parse(fake->sent[i].data(), (uint32_t)fake->sent[i].size(), &info),
			  PACKET_UDP);
	}
	EXPECT_NE(memcmp(&fake->sent[1][18], &fake->sent[2][18], 2), 0);
}

// What options and control data ask for.
class AskingTest : public WorkerTest
{
      protected:
	udplane_tx_desc Desc(bool six, uint16_t flags, uint16_t len)
	{
		udplane_tx_desc d{};
		d.sock = 2;
		d.len = len;
		d.dst_port_be = htons(9);
		d.flags = (uint16_t)(flags | (six ? UDPLANE_TX_IPV6 : 0));
		inet_pton(six ? AF_INET6 : AF_INET, six ? "2001:db8::2" : "192.0.2.2", d.dst);
		return d;
	}
	// The next frame that is sent.
	std::vector<uint8_t> Next()
	{
		std::vector<uint8_t> f;
		EXPECT_TRUE(Until([&] {
			Guard g;
			if (fake->sent.empty())
				return false;
			f = fake->sent.front();
			fake->sent.erase(fake->sent.begin());
			return true;
		}));
		return f;
	}
	// The event of a datagram that the kernel is to send.
	const worker_event *Slow()
	{
		const worker_event *ev = nullptr;
		EXPECT_TRUE(Until([&] { return (ev = worker_event_peek(w_)) != nullptr; }));
		EXPECT_EQ(ev->type, WORKER_EVENT_SLOW);
		return ev;
	}
};

TEST_F(AskingTest, HeadersAreAsAsked)
{
	Client *c = Attach(2, 7);
	for (bool six : {false, true}) {
		SCOPED_TRACE(six);
		udplane_tx_desc d = Desc(six, 0, 1);
		c->Queue(d, "x");
		std::vector<uint8_t> plain = Next();
		d.flags |= UDPLANE_TX_TOS | UDPLANE_TX_TTL | UDPLANE_TX_NO_CHECKSUM |
			   UDPLANE_TX_NO_LABEL | UDPLANE_TX_NO_DF;
		d.tos = 0xb9;
		d.ttl = 3;
		c->Queue(d, "x");
		std::vector<uint8_t> f = Next();
		ASSERT_EQ(f.size(), plain.size());
		packet_info info;
		ASSERT_EQ(packet_parse(f.data(), (uint32_t)f.size(), &info), PACKET_UDP);
		EXPECT_EQ(info.tos, 0xb9);
		EXPECT_EQ(info.ttl, 3);
		EXPECT_EQ(f[f.size() - 3] | f[f.size() - 2], 0) << "no checksum";
		EXPECT_NE(plain[f.size() - 3] | plain[f.size() - 2], 0);
		if (six) {
			EXPECT_EQ((f[15] & 0xf) | f[16] | f[17], 0) << "no label";
			EXPECT_NE((plain[15] & 0xf) | plain[16] | plain[17], 0);
		} else {
			EXPECT_EQ(f[20] & 0x40, 0) << "no DF";
			EXPECT_EQ(plain[20] & 0x40, 0x40);
		}
		d.flags = six ? UDPLANE_TX_IPV6 : 0;
		c->Queue(d, "x");
		EXPECT_EQ(Next(), plain) << "fields without their flags mean nothing";
	}
}

TEST_F(AskingTest, ASourceOfThisHostIsUsed)
{
	Client *c = Attach(2, 7);
	udplane_tx_desc d = Desc(false, UDPLANE_TX_SOURCE, 1);
	inet_pton(AF_INET, "192.0.2.1", &d.src4_be);
	c->Queue(d, "x");
	EXPECT_EQ(memcmp(Next().data() + 26, "\xc0\x00\x02\x01", 4), 0);
	uint8_t src[16];
	inet_pton(AF_INET6, "2001:db8::1", src);
	c->Queue(Desc(true, UDPLANE_TX_SOURCE, 3), std::string((char *)src, 16) + "six");
	std::vector<uint8_t> f = Next();
	ASSERT_EQ(f.size(), 65u);
	EXPECT_EQ(memcmp(f.data() + 22, src, 16), 0);
	EXPECT_EQ(memcmp(f.data() + 62, "six", 3), 0);
}

// The device sends nothing from it. Linux is asked, which knows whether this socket may.
TEST_F(AskingTest, AForeignSourceIsLeftToLinux)
{
	Client *c = Attach(2, 7);
	uint8_t good[16], src[16], none[16] = {};
	udplane_tx_desc d = Desc(false, UDPLANE_TX_SOURCE | UDPLANE_TX_TOS, 1);
	inet_pton(AF_INET, "192.0.2.66", &d.src4_be);
	d.tos = 4;
	c->Queue(d, "x");
	const worker_event *ev = Slow();
	EXPECT_EQ(ev->asked.flags, d.flags);
	EXPECT_EQ(ev->asked.tos, 4);
	EXPECT_EQ(memcmp(ev->asked.src, &d.src4_be, 4), 0);
	worker_event_done(w_);
	inet_pton(AF_INET6, "2001:db8::1", good);
	inet_pton(AF_INET6, "2001:db8::66", src);
	for (const uint8_t *a : {(const uint8_t *)src, (const uint8_t *)none}) {
		// the cache has the good one for the same descriptor
		c->Queue(Desc(true, UDPLANE_TX_SOURCE, 1), std::string((char *)good, 16) + "g");
		Next();
		c->Queue(Desc(true, UDPLANE_TX_SOURCE, 1), std::string((char *)a, 16) + "x");
		ev = Slow();
		EXPECT_EQ(memcmp(ev->asked.src, a, 16), 0);
		EXPECT_EQ(ev->payload[0], 'x');
		worker_event_done(w_);
	}
	d = Desc(false, UDPLANE_TX_TTL, 1);
	c->Queue(d, "x");
	Slow();
	worker_event_done(w_);
	Guard g;
	EXPECT_TRUE(fake->sent.empty());
}

TEST_F(AskingTest, ABoundSocketHasOneSource)
{
	Client *c = Attach(2, 7);
	worker_order o{};
	o.op = WORKER_SOCKET_SOURCE;
	o.sock = 2;
	o.source.addr.family = AF_INET;
	o.source.addr.port_be = htons(7);
	inet_pton(AF_INET, "192.0.2.1", o.source.addr.addr);
	ASSERT_EQ(worker_call(w_, &o), 0);
	udplane_tx_desc d = Desc(false, UDPLANE_TX_SOURCE, 1);
	inet_pton(AF_INET, "192.0.2.1", &d.src4_be);
	c->Queue(d, "x");
	Next();
	inet_pton(AF_INET, "192.0.2.2", &d.src4_be);
	c->Queue(d, "x");
	Slow();
	worker_event_done(w_);
}

// SO_TIMESTAMP and SO_RXQ_OVFL: only for the socket that asks, and where the device leaves room.
TEST_F(WorkerTest, StampsWhatASocketAsksToBeStamped)
{
	Client *c = Attach(2, 5060), *other = Attach(3, 5061);
	udplane_rx_desc d;
	worker_order o{};
	auto stamped = [&](Client *from, udplane_rx_front *front) {
		EXPECT_EQ(Receive(from, &d), "x");
		memcpy(front,
		       fake->frames.data() + (size_t)d.frame * kFrameSize + d.offset - 42 - 16,
		       sizeof(*front));
		from->Return(d.frame);
		return (d.flags & UDPLANE_RX_STAMPED) != 0;
	};
	udplane_rx_front front;

	fake->headroom = 64;
	o.op = WORKER_SOCKET_SOURCE;
	o.sock = 2;
	o.source.addr.port_be = htons(5060);
	ASSERT_TRUE(Inject(5060, "x"));
	EXPECT_FALSE(stamped(c, &front));
	o.source.stamp = true;
	ASSERT_EQ(worker_call(w_, &o), 0);
	for (uint32_t i = 0; i < kRing + 10; i++)
		ASSERT_TRUE(Inject(5060, "x"));
	ASSERT_TRUE(Settled());
	for (uint32_t i = 0; i < kRing; i++) {
		ASSERT_TRUE(stamped(c, &front));
		EXPECT_EQ(front.drops, 0u) << "they came before";
	}
	uint64_t before = clock_real_ns();
	ASSERT_TRUE(Inject(5060, "x"));
	ASSERT_TRUE(stamped(c, &front));
	EXPECT_GE(front.time_ns, before);
	EXPECT_LE(front.time_ns, clock_real_ns());
	EXPECT_EQ(front.drops, 10u);
	ASSERT_TRUE(Inject(5061, "x"));
	EXPECT_FALSE(stamped(other, &front)) << "it has not asked";
	ASSERT_TRUE(Settled());
	fake->headroom = 0;
	ASSERT_TRUE(Inject(5060, "x"));
	EXPECT_EQ(Receive(c, &d), "x");
	EXPECT_EQ(d.flags & UDPLANE_RX_STAMPED, 0) << "no room";
	c->Return(d.frame);
	fake->headroom = 64;
	o.source.stamp = false;
	ASSERT_EQ(worker_call(w_, &o), 0);
	ASSERT_TRUE(Inject(5060, "x"));
	EXPECT_FALSE(stamped(c, &front));
}

class PassingTest : public WorkerTest
{
      protected:
	void SetUp() override
	{
		ops_ = &kPassOps;
		WorkerTest::SetUp();
	}
	bool From(const char *src, const std::string &data)
	{
		return Inject(7, data, [src](uint8_t *p, uint32_t *) {
			uint32_t sum = 0, addr = inet_addr(src);
			memcpy(p + 26, &addr, 4);
			memset(p + 24, 0, 2); // header checksum again; no UDP checksum
			memset(p + 40, 0, 2);
			for (int i = 14; i < 34; i += 2)
				sum += (uint32_t)(p[i] << 8 | p[i + 1]);
			sum = (sum & 0xffff) + (sum >> 16);
			sum = ~(sum + (sum >> 16)) & 0xffff;
			p[24] = (uint8_t)(sum >> 8);
			p[25] = (uint8_t)sum;
		});
	}
};

// LAND: Linux drops a datagram whose source is one of its own addresses, so it is Linux that gets
// it.
TEST_F(PassingTest, OwnAndBroadcastSourcesAreTheKernels)
{
	Client *c = Attach(0, 7);
	ASSERT_TRUE(From("192.0.2.1", "land"));
	ASSERT_TRUE(From("192.0.2.255", "broadcast"));
	ASSERT_TRUE(From("203.0.113.9", "stranger"));
	udplane_rx_desc d;
	EXPECT_EQ(Receive(c, &d), "stranger");
	c->Return(d.frame);
	ASSERT_TRUE(Settled());
	EXPECT_EQ(Count(UDPLANE_WORKER_RX_PASSED), 2u);
}

TEST_F(WorkerTest, WhatHasNoFastRouteGoesToTheControlThread)
{
	Client *c = Attach(2, 5060);
	c->Send(2, "far", 3, inet_addr("203.0.113.1"), 9);
	const worker_event *ev = nullptr;
	ASSERT_TRUE(Until([&] { return (ev = worker_event_peek(w_)) != nullptr; }));
	EXPECT_EQ(ev->type, WORKER_EVENT_SLOW);
	EXPECT_EQ(ev->sock, 2u);
	EXPECT_EQ(std::string((const char *)ev->payload, ev->len), "far");
	worker_event_done(w_);
}

// A flood of slow sends stalls its sender's ring; it loses none.
TEST_F(WorkerTest, SlowSendsAreNeverDropped)
{
	Client *c = Attach(2, 5060);
	uint32_t got = 0, sent = 0;
	while (got < 1000) {
		while (sent < 1000 && udplane_ring_free(&c->my_tx, 1)) {
			char n[16];
			snprintf(n, sizeof(n), "%u", sent);
			c->Send(2, n, (uint16_t)strlen(n), inet_addr("203.0.113.1"), 9);
			sent++;
		}
		const worker_event *ev = nullptr;
		ASSERT_TRUE(Until([&] { return (ev = worker_event_peek(w_)) != nullptr; })) << got;
		ASSERT_EQ(std::string((const char *)ev->payload, ev->len), std::to_string(got));
		worker_event_done(w_);
		got++;
	}
}

} // namespace
