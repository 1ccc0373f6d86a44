// SPDX-License-Identifier: Apache-2.0
// Copies for observers: what they hold, and that an observer costs others nothing.
#include "tests/unit/worker/fixture.h"

namespace
{

constexpr uint32_t kSlots = 64, kSnap = 96;

struct Observer {
	explicit Observer(worker *w, uint16_t port = 0, uint32_t snap_len = kSnap) : w_(w)
	{
		size_t len = sizeof(udplane_capture_ring) + kSlots * Slot();
		zone = BedAlloc<udplane_capture_ring>(len);
		udplane_ring_init(&mine, &zone->head, kSlots, 0);
		udplane_ring_init(&capture.ring, &zone->head, kSlots, 0);
		capture.zone = foreign_of(zone);
		capture.slot_size = Slot();
		capture.snap_len = snap_len;
		capture.port_be = htons(port);
		Order(WORKER_CAPTURE_ADD);
	}
	~Observer()
	{
		Order(WORKER_CAPTURE_REMOVE);
		free(zone);
	}
	static uint32_t Slot()
	{
		return sizeof(udplane_capture_record) + kSnap;
	}
	void Order(worker_op op)
	{
		worker_order o{};
		o.op = op;
		o.capture = &capture;
		EXPECT_EQ(worker_call(w_, &o), 0);
	}
	bool Take(udplane_capture_record *head, std::string *frame)
	{
		uint32_t n = udplane_ring_avail(&mine, 1);
		if (!n || n == UDPLANE_RING_CORRUPT)
			return false;
		const uint8_t *at = zone->slot + udplane_ring_slot(&mine, mine.idx) * Slot();
		memcpy(head, at, sizeof(*head));
		frame->assign((const char *)at + sizeof(*head), head->captured_len);
		udplane_ring_consume(&mine, 1);
		return true;
	}
	worker *w_;
	udplane_capture_ring *zone;
	udplane_ring mine;
	worker_capture capture{};
};

std::string Payload(const std::string &frame)
{
	return frame.size() > 42 ? frame.substr(42) : "";
}

TEST_F(WorkerTest, ACaptureHoldsWhatWasDeliveredAndWhyTheRestWasNot)
{
	Client *c = Attach(3, 7);
	Observer all(w_), one(w_, 7, 50);
	udplane_capture_record head;
	std::string frame;
	ASSERT_TRUE(Inject(7, "delivered"));
	EXPECT_EQ(Receive(c), "delivered");
	ASSERT_TRUE(Inject(7, "bad udp sum", [](uint8_t *p, uint32_t *) { p[44] ^= 1; }));
	ASSERT_TRUE(Inject(8, "nobody"));
	ASSERT_TRUE(Settled());
	ASSERT_TRUE(all.Take(&head, &frame));
	EXPECT_EQ(Payload(frame), "delivered");
	EXPECT_EQ(head.sock, 3u);
	EXPECT_EQ(head.reason, 0);
	EXPECT_EQ(head.flags, 0);
	EXPECT_EQ(head.len, 42 + strlen("delivered"));
	EXPECT_GT(head.time_ns, 0u);
	ASSERT_TRUE(all.Take(&head, &frame));
	EXPECT_EQ(head.reason, UDPLANE_WORKER_RX_DROP_UDP_CHECKSUM);
	EXPECT_EQ(head.sock, UDPLANE_CAPTURE_NO_SOCKET);
	ASSERT_TRUE(all.Take(&head, &frame));
	EXPECT_EQ(Payload(frame), "nobody");
	EXPECT_EQ(head.reason, UDPLANE_WORKER_RX_DROP_NO_SOCKET);
	EXPECT_FALSE(all.Take(&head, &frame));
	ASSERT_TRUE(one.Take(&head, &frame)); // cut at 50 bytes
	EXPECT_EQ(Payload(frame), "deliver" + std::string("e"));
	EXPECT_EQ(head.len, 42 + strlen("delivered"));
	ASSERT_TRUE(one.Take(&head, &frame));
	EXPECT_FALSE(one.Take(&head, &frame)); // port 8 is not its business
}

TEST_F(WorkerTest, ACaptureHoldsWhatWasSent)
{
	Client *c = Attach(2, 5060);
	Observer o(w_, 9);
	udplane_capture_record head;
	std::string frame;
	c->Send(2, "out", 3, inet_addr("192.0.2.2"), 9);
	c->Send(2, "elsewhere", 9, inet_addr("192.0.2.2"), 10);
	ASSERT_TRUE(Until([&] {
		Guard g;
		return fake->sent.size() == 2;
	}));
	ASSERT_TRUE(Until([&] { return o.Take(&head, &frame); }));
	EXPECT_EQ(head.flags, UDPLANE_CAPTURE_SENT);
	EXPECT_EQ(head.sock, 2u);
	{
		Guard g;
		EXPECT_EQ(frame, std::string(fake->sent[0].begin(), fake->sent[0].end()));
	}
	EXPECT_FALSE(o.Take(&head, &frame));
}

// An observer that does not read loses copies, which are counted; the client loses nothing.
TEST_F(WorkerTest, AnObserverThatDoesNotReadHoldsNobodyUp)
{
	Client *c = Attach(0, 7);
	Observer o(w_);
	for (uint32_t i = 0; i < kSlots + 10; i++)
		ASSERT_TRUE(Inject(7, std::to_string(i)));
	for (uint32_t i = 0; i < kSlots + 10; i++)
		EXPECT_EQ(Receive(c), std::to_string(i));
	ASSERT_TRUE(Settled());
	EXPECT_EQ(udplane_load64(&o.zone->seen), kSlots + 10u);
	EXPECT_EQ(udplane_load64(&o.zone->missed), 10u);
	EXPECT_EQ(Count(UDPLANE_WORKER_RX_DROP_RING_FULL), 0u);
}

TEST_F(WorkerTest, AnObserverThatWritesNonsenseGetsNothingMore)
{
	Client *c = Attach(0, 7);
	Observer o(w_);
	__atomic_store_n(&o.zone->head.cons_idx, 12345u, __ATOMIC_RELEASE);
	for (uint32_t i = 0; i < 2 * kSlots; i++) {
		ASSERT_TRUE(Inject(7, "x"));
		EXPECT_EQ(Receive(c), "x");
	}
	ASSERT_TRUE(Settled());
	EXPECT_EQ(udplane_load64(&o.zone->seen), 2 * kSlots);
	EXPECT_GE(udplane_load64(&o.zone->missed), kSlots);
}

} // namespace
