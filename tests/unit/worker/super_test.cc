// SPDX-License-Identifier: Apache-2.0
// Which datagrams of a TX ring go as one packet.
#include <numeric>

#include "tests/unit/worker/fixture.h"

namespace
{

class SuperTest : public WorkerTest
{
      protected:
	SuperTest()
	{
		ops_ = &kSuperOps;
		supers_ = DEVICE_SUPER_MAX;
	}
	static udplane_tx_desc Desc(uint16_t len, uint16_t flags = 0)
	{
		udplane_tx_desc d{};
		d.sock = 2;
		d.len = len;
		d.dst_port_be = htons(9);
		d.flags = flags;
		inet_pton(flags & UDPLANE_TX_IPV6 ? AF_INET6 : AF_INET,
			  flags & UDPLANE_TX_IPV6 ? "2001:db8::2" : "192.0.2.2", d.dst);
		return d;
	}
	// The worker finds all of them at once.
	void Send(Client *c, const std::vector<udplane_tx_desc> &all)
	{
		ASSERT_LE(all.size(), kTxSlots);
		for (size_t i = 0; i < all.size(); i++) {
			uint32_t slot = udplane_ring_slot(&c->my_tx, c->my_tx.idx + (uint32_t)i);
			uint32_t skip = (all[i].flags & UDPLANE_TX_SOURCE) ? 16 : 0;
			c->tx->desc[slot] = all[i];
			memset(c->payload.data() + (size_t)slot * kFrameSize + skip, (int)('a' + i),
			       all[i].len);
		}
		udplane_ring_publish(&c->my_tx, (uint32_t)all.size());
		c->Bell();
	}
	// Waits until so many were sent, and returns which of them went by super-packets.
	std::vector<size_t> Supers(size_t cnt)
	{
		EXPECT_TRUE(Until([&] {
			Guard g;
			return fake->sent.size() >= cnt;
		}));
		Guard g;
		EXPECT_EQ(fake->sent.size(), cnt);
		return fake->supers;
	}
	// Each has its own letter, so this says that all came, once and in order.
	void ExpectOrder(size_t cnt)
	{
		Guard g;
		for (size_t i = 0; i < cnt; i++)
			EXPECT_EQ(fake->sent[i].back(), (uint8_t)('a' + i)) << i;
	}
	static std::vector<size_t> Range(size_t from, size_t to)
	{
		std::vector<size_t> r(to - from);
		std::iota(r.begin(), r.end(), from);
		return r;
	}
};

TEST_F(SuperTest, ARunGoesAsOne)
{
	Client *c = Attach(2, 7);
	Send(c, std::vector<udplane_tx_desc>(20, Desc(100)));
	EXPECT_EQ(Supers(20), Range(0, 20));
	ExpectOrder(20);
	EXPECT_EQ(Count(UDPLANE_WORKER_TX_SUPERS), 1u);
	EXPECT_EQ(Count(UDPLANE_WORKER_TX_SUPER_DATAGRAMS), 20u);
	EXPECT_EQ(Count(UDPLANE_WORKER_TX_SENT), 20u);
	EXPECT_EQ(Count(UDPLANE_WORKER_TX_BYTES), 2000u);
	EXPECT_EQ(c->counters.counter[UDPLANE_SOCKET_TX_SENT], 20u);
	EXPECT_EQ(c->counters.counter[UDPLANE_SOCKET_TX_BYTES], 2000u);
}

TEST_F(SuperTest, TooFewGoAsFrames)
{
	Client *c = Attach(2, 7);
	Send(c, {Desc(100), Desc(100)});
	EXPECT_TRUE(Supers(2).empty());
	EXPECT_EQ(fake->super_calls, 0u);
}

TEST_F(SuperTest, AShorterOneEndsIt)
{
	Client *c = Attach(2, 7);
	Send(c, {Desc(100), Desc(100), Desc(100), Desc(99), Desc(100), Desc(101), Desc(1)});
	EXPECT_EQ(Supers(7), Range(0, 4));
	ExpectOrder(7);
	EXPECT_EQ(Count(UDPLANE_WORKER_TX_BYTES), 601u);
}

TEST_F(SuperTest, LongPayloadsAreGatheredWhereTheyAre)
{
	Client *c = Attach(2, 7);
	std::vector<udplane_tx_desc> all(50, Desc(1472));
	Send(c, all);
	Supers(50);
	ExpectOrder(50);
	// 64 KiB hold 44 of them.
	EXPECT_EQ(Count(UDPLANE_WORKER_TX_SUPERS), 2u);
	EXPECT_EQ(Count(UDPLANE_WORKER_TX_SUPER_DATAGRAMS), 50u);
	Guard g;
	for (const auto &f : fake->sent)
		EXPECT_EQ(f.size(), 42u + 1472);
}

TEST_F(SuperTest, WhatDiffersEndsIt)
{
	struct {
		const char *what;
		std::function<void(udplane_tx_desc *)> change;
	} kinds[] = {
		{"port", [](udplane_tx_desc *d) { d->dst_port_be = htons(10); }},
		{"address", [](udplane_tx_desc *d) { d->dst[3] = 1; }},
		{"tos",
		 [](udplane_tx_desc *d) {
			 d->flags = UDPLANE_TX_TOS;
			 d->tos = 4;
		 }},
		{"df", [](udplane_tx_desc *d) { d->flags = UDPLANE_TX_NO_DF; }},
		{"empty", [](udplane_tx_desc *d) { d->len = 0; }},
		{"source",
		 [](udplane_tx_desc *d) {
			 d->flags = UDPLANE_TX_SOURCE;
			 d->src4_be = inet_addr("192.0.2.1");
		 }},
	};
	Client *c = Attach(2, 7);
	for (auto &k : kinds) {
		SCOPED_TRACE(k.what);
		std::vector<udplane_tx_desc> all(9, Desc(10));
		k.change(&all[4]);
		uint64_t before = Count(UDPLANE_WORKER_TX_SUPERS),
			 sent = Count(UDPLANE_WORKER_TX_TAKEN);
		Send(c, all);
		ASSERT_TRUE(Until([&] { return Count(UDPLANE_WORKER_TX_TAKEN) == sent + 9; }));
		EXPECT_EQ(Count(UDPLANE_WORKER_TX_SUPERS), before + 2);
		while (worker_event_peek(w_)) // an address may have no fast route
			worker_event_done(w_);
	}
}

TEST_F(SuperTest, WithoutChecksumsTheyGoAsFrames)
{
	Client *c = Attach(2, 7);
	Send(c, std::vector<udplane_tx_desc>(9, Desc(10, UDPLANE_TX_NO_CHECKSUM)));
	EXPECT_TRUE(Supers(9).empty());
}

TEST_F(SuperTest, AnIpv6SourceIsTheSameForAll)
{
	Client *c = Attach(2, 7);
	std::vector<udplane_tx_desc> all(9, Desc(10, UDPLANE_TX_IPV6 | UDPLANE_TX_SOURCE));
	in6_addr own;
	inet_pton(AF_INET6, "2001:db8::1", &own);
	for (size_t i = 0; i < kTxSlots; i++)
		memcpy(c->payload.data() + i * kFrameSize, &own, 16);
	c->payload[4 * kFrameSize + 15] = 9; // not of this host: left to the kernel
	Send(c, all);
	EXPECT_EQ(Supers(8), Range(0, 8));
	EXPECT_EQ(Count(UDPLANE_WORKER_TX_SUPERS), 2u);
	Guard g;
	for (const auto &f : fake->sent) {
		ASSERT_EQ(f.size(), 72u);
		EXPECT_EQ(memcmp(&f[22], &own, 16), 0);
	}
	while (worker_event_peek(w_))
		worker_event_done(w_);
}

TEST_F(SuperTest, FramesBeforeItAreGivenToTheDeviceFirst)
{
	Client *c = Attach(2, 7);
	std::vector<udplane_tx_desc> all = {Desc(20), Desc(10)};
	all.insert(all.end(), 10, Desc(30));
	all.push_back(Desc(40));
	Send(c, all);
	EXPECT_EQ(Supers(13), Range(2, 12));
	ExpectOrder(13);
}

// Nothing is lost, and a refusal is not asked for again within a burst.
TEST_F(SuperTest, WhatIsRefusedGoesAsFrames)
{
	for (int error : {-ENOBUFS, -EAGAIN}) {
		SCOPED_TRACE(error);
		Client *c = clients_.empty() ? Attach(2, 7) : clients_[0].get();
		uint64_t refused = Count(UDPLANE_WORKER_TX_SUPER_REFUSED);
		{
			Guard g;
			fake->sent.clear();
			fake->super_calls = 0;
			fake->super_error = error;
		}
		Send(c, std::vector<udplane_tx_desc>(20, Desc(100)));
		EXPECT_TRUE(Supers(20).empty());
		ExpectOrder(20);
		EXPECT_EQ(fake->super_calls, 1u);
		EXPECT_EQ(Count(UDPLANE_WORKER_TX_SUPER_REFUSED) - refused, error == -ENOBUFS);
	}
}

TEST_F(SuperTest, NoneWhileTheDeviceWantsNone)
{
	Client *c = Attach(2, 7);
	__atomic_store_n(&fake->queue.supers, 0, __ATOMIC_RELAXED);
	Send(c, std::vector<udplane_tx_desc>(20, Desc(100)));
	EXPECT_TRUE(Supers(20).empty());
	EXPECT_EQ(fake->super_calls, 0u);
	ExpectOrder(20);
}

// Routers may fragment: no two datagrams have the same id.
TEST_F(SuperTest, IdsOfDatagramsWithoutDfAreNotUsedTwice)
{
	Client *c = Attach(2, 7);
	std::vector<udplane_tx_desc> all(11, Desc(10, UDPLANE_TX_NO_DF));
	all[10].len = 20;
	Send(c, all);
	EXPECT_EQ(Supers(11), Range(0, 10));
	Guard g;
	auto id = [&](size_t i) { return fake->sent[i][18] << 8 | fake->sent[i][19]; };
	EXPECT_EQ(id(10), id(0) + 10) << "the device counts up from the first";
}

TEST_F(SuperTest, AnotherClientsSocketIsRefused)
{
	Attach(3, 8);
	Client *c = Attach(2, 7);
	std::vector<udplane_tx_desc> all(20, Desc(100));
	for (auto &d : all)
		d.sock = 3;
	Send(c, all);
	const worker_event *ev = nullptr;
	ASSERT_TRUE(Until([&] { return (ev = worker_event_peek(w_)) != nullptr; }));
	EXPECT_EQ(ev->type, WORKER_EVENT_CORRUPT);
	worker_event_done(w_);
	EXPECT_EQ(fake->super_calls, 0u);
}

} // namespace
