// SPDX-License-Identifier: Apache-2.0
// A client may write anything anywhere in its channel, without harm to anybody else.
#include "tests/unit/worker/fixture.h"

namespace
{

class Hostile : public WorkerTest
{
      protected:
	// The misbehaving client is detected, reported once, and its neighbour is served as before.
	void ExpectCaught(Client *victim, uint16_t victim_port)
	{
		ASSERT_TRUE(Until([&] { return Count(UDPLANE_WORKER_CORRUPT) == 1; }));
		const worker_event *ev = nullptr;
		ASSERT_TRUE(Until([&] { return (ev = worker_event_peek(w_)) != nullptr; }));
		EXPECT_EQ(ev->type, WORKER_EVENT_CORRUPT);
		EXPECT_EQ(ev->channel_id, 0u);
		worker_event_done(w_);
		ASSERT_TRUE(Inject(victim_port, "fine"));
		EXPECT_EQ(Receive(victim), "fine");
		victim->Send(1, "out", 3, inet_addr("192.0.2.2"), 1);
		EXPECT_TRUE(Until([&] {
			Guard g;
			return !fake->sent.empty();
		}));
		EXPECT_EQ(worker_event_peek(w_), nullptr);
	}
};

TEST_F(Hostile, TxProducerIndexBeyondTheRing)
{
	Client *c = Attach(0, 7), *v = Attach(1, 8);
	__atomic_store_n(&c->tx->head.prod_idx, kTxSlots + 1, __ATOMIC_RELEASE);
	c->Bell();
	ExpectCaught(v, 8);
}
TEST_F(Hostile, RxConsumerIndexAheadOfTheProducer)
{
	Client *c = Attach(0, 7), *v = Attach(1, 8);
	__atomic_store_n(&c->ring->head.cons_idx, 1000, __ATOMIC_RELEASE);
	for (uint32_t i = 0; i < kRing + 1; i++)
		ASSERT_TRUE(Inject(7, "x"));
	ExpectCaught(v, 8);
}
TEST_F(Hostile, ReturnsAFrameItNeverHad)
{
	Client *c = Attach(0, 7), *v = Attach(1, 8);
	c->Return(17);
	ExpectCaught(v, 8);
}
TEST_F(Hostile, ReturnsAFrameOutOfRange)
{
	Client *c = Attach(0, 7), *v = Attach(1, 8);
	c->Return(UINT32_MAX);
	ExpectCaught(v, 8);
}
TEST_F(Hostile, ReturnsTwice)
{
	Client *c = Attach(0, 7), *v = Attach(1, 8);
	udplane_rx_desc d;
	ASSERT_TRUE(Inject(7, "x"));
	Receive(c, &d);
	c->Return(d.frame);
	c->Return(d.frame);
	ExpectCaught(v, 8);
}
TEST_F(Hostile, ReturnsItsNeighboursFrame)
{
	Client *c = Attach(0, 7), *v = Attach(1, 8);
	udplane_rx_desc d;
	ASSERT_TRUE(Inject(8, "x"));
	Receive(v, &d);
	c->Return(d.frame);
	ExpectCaught(v, 8);
}
TEST_F(Hostile, SendsFromItsNeighboursSocket)
{
	Client *c = Attach(0, 7), *v = Attach(1, 8);
	c->Send(1, "spoof", 5, inet_addr("192.0.2.2"), 1);
	ExpectCaught(v, 8);
}
TEST_F(Hostile, SendsFromASocketOutOfRange)
{
	Client *c = Attach(0, 7), *v = Attach(1, 8);
	c->Send(UINT32_MAX, "x", 1, inet_addr("192.0.2.2"), 1);
	ExpectCaught(v, 8);
}
TEST_F(Hostile, SendsMoreThanASlot)
{
	Client *c = Attach(0, 7), *v = Attach(1, 8);
	c->Send(0, "x", kFrameSize + 1, inet_addr("192.0.2.2"), 1);
	ExpectCaught(v, 8);
}

TEST_F(Hostile, AsksForWhatDoesNotExist)
{
	Client *c = Attach(0, 7), *v = Attach(1, 8);
	udplane_tx_desc d{};
	d.len = 1;
	d.dst_port_be = htons(1);
	d.flags = UDPLANE_TX_FLAGS + 1;
	c->Queue(d, "x");
	ExpectCaught(v, 8);
	EXPECT_EQ(Count(UDPLANE_WORKER_TX_DROP_INVALID), 1u);
}
TEST_F(Hostile, ASourceAndAPayloadAreMoreThanASlot)
{
	Client *c = Attach(0, 7), *v = Attach(1, 8);
	udplane_tx_desc d{};
	d.len = kFrameSize - 15;
	d.dst_port_be = htons(1);
	d.flags = UDPLANE_TX_IPV6 | UDPLANE_TX_SOURCE;
	c->Queue(d, "x");
	ExpectCaught(v, 8);
}

// The client's lie hits descriptors that the worker is writing: a race on purpose, and none of
// TSan's business.
__attribute__((noinline, no_sanitize_thread)) void Scribble(volatile uint32_t *word, uint32_t value)
{
	*word = value;
}

// Any value in any word: seeds print themselves on failure; the invariants in TearDown hold after
// each.
TEST_F(Hostile, RandomWordsEverywhere)
{
	Client *v = Attach(0, 8);
	for (uint32_t seed = 1; seed <= 200; seed++) {
		SCOPED_TRACE(seed);
		std::mt19937 rnd(seed);
		Client *c = Attach(1 + seed % 7, 7);
		uint32_t sock = 1 + seed % 7;
		for (int i = 0; i < 50; i++) {
			uint32_t value = rnd() % 3 ? rnd() % 300 : rnd();
			uint32_t *area[] = {(uint32_t *)c->tx, (uint32_t *)c->ret,
					    (uint32_t *)c->ring};
			uint32_t words[] = {64 + kTxSlots * 8, 64 + 256, 96 + kRing * 4};
			uint32_t a = rnd() % 3, word = rnd() % 4 ? (rnd() % 2 ? 0 : 32) + rnd() % 2
								 : rnd() % words[a];
			Scribble(&area[a][word], value);
			Inject(7, "x");
			c->Bell();
		}
		ASSERT_TRUE(Settled());
		port_key key{};
		key.local.family = AF_INET;
		key.local.port_be = htons(7);
		ASSERT_EQ(Call(WORKER_KEY_REMOVE, sock, nullptr, nullptr, &key), 0);
		ASSERT_EQ(Call(WORKER_SOCKET_REMOVE, sock), 0);
		ASSERT_EQ(Call(WORKER_LANE_REMOVE, 0, &c->lane), 0);
		clients_.pop_back();
		while (worker_event_peek(w_))
			worker_event_done(w_);
		udplane_rx_desc d;
		ASSERT_TRUE(Inject(8, "fine"));
		ASSERT_EQ(Receive(v, &d), "fine");
		v->Return(d.frame);
	}
}

// A ring that is full again at once: what counts is what stood in it when the order came.
class Refiller : public Hostile
{
      protected:
	void Fill(Client *c, uint32_t sock, const char *dst)
	{
		for (uint32_t i = 0; i < kTxSlots; i++) {
			c->tx->desc[i] = {};
			c->tx->desc[i].sock = sock;
			c->tx->desc[i].len = 1;
			c->tx->desc[i].dst_port_be = htons(9);
			uint32_t addr = inet_addr(dst);
			memcpy(c->tx->desc[i].dst, &addr, 4);
		}
		refill_ = std::thread([this, c] {
			while (!__atomic_load_n(&stop_, __ATOMIC_RELAXED)) {
				uint32_t cons = udplane_word_load(&c->tx->head.cons_idx);
				__atomic_store_n(&c->tx->head.prod_idx, cons + kTxSlots,
						 __ATOMIC_RELEASE);
			}
		});
		c->Bell();
	}
	void Stop()
	{
		__atomic_store_n(&stop_, true, __ATOMIC_RELAXED);
		refill_.join();
	}
	// As the control thread does it. How often it had to make room for events.
	uint32_t Flush(uint32_t sock)
	{
		worker_order o{};
		o.op = WORKER_SOCKET_FLUSH;
		o.sock = sock;
		for (uint32_t turns = 0;; turns++) {
			int err = worker_call(w_, &o);
			for (uint32_t n = worker_event_cnt(w_); n && worker_event_peek(w_); n--)
				worker_event_done(w_);
			if (err != -EAGAIN || turns == 100)
				return turns;
		}
	}
	void Remove(Client *c, uint32_t sock, uint16_t port)
	{
		port_key key = BedKey(port);
		EXPECT_EQ(Call(WORKER_KEY_REMOVE, sock, nullptr, nullptr, &key), 0);
		EXPECT_EQ(Call(WORKER_SOCKET_REMOVE, sock), 0);
		EXPECT_EQ(c->lane.socket_cnt, 0u);
	}
	std::thread refill_;
	bool stop_ = false;
};

TEST_F(Refiller, DoesNotKeepAFlushFromEnding)
{
	Client *c = Attach(0, 7);
	Fill(c, 0, "192.0.2.2");
	ASSERT_TRUE(Until([&] {
		Guard g;
		return !fake->sent.empty();
	}));
	EXPECT_EQ(Flush(0), 0u);
	Remove(c, 0, 7);
	Stop();
}

TEST_F(Refiller, OfSlowDatagramsDoesNotKeepARemovalFromHappening)
{
	Client *c = Attach(0, 7);
	Fill(c, 0, "203.0.113.1");
	EXPECT_LE(Flush(0), 4u);
	Remove(c, 0, 7);
	Stop();
	while (worker_event_peek(w_))
		worker_event_done(w_);
}

// A neighbour's flood of slow datagrams fills the event ring in each round; a few entries are left
// for who closes.
TEST_F(Refiller, OfSlowDatagramsLeavesRoomForItsNeighboursFlush)
{
	Client *c = Attach(0, 7), *honest = Attach(1, 8);
	Fill(c, 0, "203.0.113.1");
	ASSERT_TRUE(Until([&] { return worker_event_cnt(w_) >= 64; }));
	worker_order o{};
	o.op = WORKER_SOCKET_FLUSH;
	o.sock = 1;
	honest->Send(1, "last words", 10, inet_addr("203.0.113.1"), 9);
	EXPECT_EQ(worker_call(w_, &o), 0); // without an event taken
	bool heard = false;
	while (const worker_event *ev = worker_event_peek(w_)) {
		heard |= ev->type == WORKER_EVENT_SLOW && ev->sock == 1;
		worker_event_done(w_);
		if (heard)
			break;
	}
	EXPECT_TRUE(heard);
	Stop();
	while (worker_event_peek(w_))
		worker_event_done(w_);
}

// A second thread of the client writes every descriptor while the worker does: whatever the worker
// reads back may be that. The frame number is 8 GiB behind owner[], or one that the client does not
// have.
TEST_F(Hostile, RewritesDescriptorsBetweenStageAndPublish)
{
	for (uint32_t value : {0xf0000000u, kFrames - 1}) {
		SCOPED_TRACE(value);
		Client *c = Attach(0, 7);
		bool stop = false;
		std::thread writer([&] {
			while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
				for (uint32_t i = 0; i < kRing; i++)
					Scribble(&c->ring->desc[i].frame, value);
			}
		});
		for (int round = 0; round < 300; round++) {
			{
				Guard g;
				for (int i = 0; i < 64; i++)
					InjectLocked(7, "x");
			}
			EXPECT_TRUE(Until([&] {
				Guard g;
				return fake->rx.empty();
			}));
			uint32_t n = udplane_ring_avail(&c->my_rx, 1);
			if (n)
				udplane_ring_consume(&c->my_rx, n); // and never returns a frame
			if (round % 8 == 7) { // the worker takes them all back
				port_key key = BedKey(7);
				ASSERT_EQ(Call(WORKER_KEY_REMOVE, 0, nullptr, nullptr, &key), 0);
				ASSERT_EQ(Call(WORKER_SOCKET_REMOVE, 0), 0);
				ASSERT_EQ(Call(WORKER_LANE_REMOVE, 0, &c->lane), 0);
				udplane_ring_init(&c->my_rx, &c->ring->head, kRing, 0);
				c->ring->head = {};
				BedAttach(w_, c, 0, 7);
			}
		}
		__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
		writer.join();
		port_key key = BedKey(7);
		ASSERT_EQ(Call(WORKER_KEY_REMOVE, 0, nullptr, nullptr, &key), 0);
		ASSERT_EQ(Call(WORKER_SOCKET_REMOVE, 0), 0);
		ASSERT_EQ(Call(WORKER_LANE_REMOVE, 0, &c->lane), 0);
		clients_.clear();
		EXPECT_EQ(worker_frames_held(w_), 0u);
		Guard g;
		std::set<uint32_t> once(fake->free_frames.begin(), fake->free_frames.end());
		EXPECT_EQ(once.size(), fake->free_frames.size()) << "a frame was given back twice";
	}
}

} // namespace
