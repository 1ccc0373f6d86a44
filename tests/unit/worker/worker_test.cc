// SPDX-License-Identifier: Apache-2.0
// The worker with a device made of two rings in place of a NIC, and a client made of plain memory:
// what is delivered, what is counted, and that a client can write anything anywhere in its channel
// without harm to anybody else.
#include <poll.h>

#include <memory>
#include <random>
#include <set>
#include <thread>

#include "tests/unit/worker/bed.h"

namespace
{

constexpr uint32_t kFrames = 1024, kFrameSize = 2048, kSockets = 8, kTxSlots = 64, kRing = 256;
const uint8_t kMac[6] = {2, 0, 0, 0, 0, 1};

// ---- a device: frames go in by inject(), sent ones come out in `sent`; both sides lock, nobody is
// in a hurry here ----
struct FakeDevice {
	device dev{};
	device_queue queue{};
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	std::vector<uint32_t> free_frames;
	std::vector<device_frame> rx;
	std::vector<std::vector<uint8_t>> sent;
	std::vector<uint8_t> frames = std::vector<uint8_t>(kFrames * kFrameSize);
	int event = eventfd(0, EFD_NONBLOCK);
	bool engaged = false;
	bool left = false; // the worker's notice
	bool tx_full = false;
	bool resume = false; // the kernel had taken over while the worker was stopped
	uint64_t left_to_kernel = 0;
	uint32_t meddle = 0; // atomic: so many times something comes after it
};
FakeDevice *fake; // device_queue carries no user pointer; one device a test

struct Guard {
	Guard()
	{
		pthread_mutex_lock(&fake->lock);
	}
	~Guard()
	{
		pthread_mutex_unlock(&fake->lock);
	}
};

uint32_t RxBurst(device_queue *q, device_frame *out, uint32_t max)
{
	Guard g;
	uint32_t n = 0;
	q->resumed = fake->resume;
	fake->resume = false;
	while (n < max && !fake->rx.empty()) {
		out[n++] = fake->rx.front();
		fake->rx.erase(fake->rx.begin());
	}
	if (fake->rx.empty()) {
		uint64_t v;
		(void)!read(fake->event, &v, 8);
	}
	return n;
}
uint32_t TxBurst(device_queue *, const device_frame *in, uint32_t cnt)
{
	Guard g;
	if (fake->tx_full)
		return 0;
	for (uint32_t i = 0; i < cnt; i++) {
		const uint8_t *p =
			fake->frames.data() + (size_t)in[i].frame * kFrameSize + in[i].off;
		fake->sent.emplace_back(p, p + in[i].len);
		fake->free_frames.push_back(in[i].frame);
	}
	return cnt;
}
void Nothing(device_queue *)
{
}
uint32_t FramesGet(device_queue *, uint32_t *f, uint32_t cnt)
{
	Guard g;
	uint32_t n = 0;
	while (n < cnt && !fake->free_frames.empty()) {
		f[n++] = fake->free_frames.back();
		fake->free_frames.pop_back();
	}
	return n;
}
void FramesPut(device_queue *, const uint32_t *f, uint32_t cnt)
{
	Guard g;
	fake->free_frames.insert(fake->free_frames.end(), f, f + cnt);
}
uint32_t FramesFree(device_queue *)
{
	Guard g;
	return (uint32_t)(fake->free_frames.size() + fake->rx.size());
}
uint32_t WaitFds(device_queue *, int *fds, uint32_t)
{
	fds[0] = fake->event;
	return 1;
}
uint32_t Flush(device_queue *)
{
	return 0;
}
int Arm(device_queue *)
{
	return 0;
}
void Engage(device_queue *)
{
	__atomic_store_n(&fake->engaged, true, __ATOMIC_RELAXED);
}
void Leave(device_queue *)
{
	fake->left = true;
}
bool Disengage(device_queue *)
{
	EXPECT_TRUE(fake->left) << "no notice given";
	fake->left = false;
	if (__atomic_load_n(&fake->meddle, __ATOMIC_SEQ_CST))
		return __atomic_sub_fetch(&fake->meddle, 1, __ATOMIC_SEQ_CST), false;
	__atomic_store_n(&fake->engaged, false, __ATOMIC_RELAXED);
	return true;
}
uint64_t LeftToKernel(device_queue *)
{
	return __atomic_load_n(&fake->left_to_kernel, __ATOMIC_RELAXED);
}
bool Pending(device_queue *)
{
	return false;
}
const device_queue_ops kOps = {RxBurst,	   TxBurst,   Flush,	    FramesGet, FramesPut,
			       FramesFree, WaitFds,   Arm,	    Nothing,   Engage,
			       Leave,	   Disengage, LeftToKernel, Pending,   nullptr};

// A NIC of our own: what is not ours goes on to the kernel.
void Pass(device_queue *q, const device_frame *f, uint32_t cnt)
{
	for (uint32_t i = 0; i < cnt; i++)
		FramesPut(q, &f[i].frame, 1);
}
const device_queue_ops kPassOps = {RxBurst,    TxBurst,	  Flush,	FramesGet, FramesPut,
				   FramesFree, WaitFds,	  Arm,		Nothing,   Engage,
				   Leave,      Disengage, LeftToKernel, Pending,   Pass};

struct Client : BedClient {
	explicit Client(uint32_t id) : BedClient(id, {kFrames, kFrameSize, kTxSlots, kRing})
	{
	}
};

class WorkerTest : public ::testing::Test
{
      protected:
	void SetUp() override
	{
		Start(UDPLANE_MODE_LATENCY, 2000000000ull);
	}
	void Start(udplane_mode mode, uint64_t spin_ns, uint64_t burst_spin_ns = 0)
	{
		device_.reset(new FakeDevice);
		fake = device_.get();
		fake->queue = {ops_, &fake->dev, 0, false};
		memcpy(fake->dev.mac, kMac, 6);
		fake->dev.can_disengage = true;
		for (uint32_t i = 0; i < kFrames; i++)
			fake->free_frames.push_back(i);
		zone_.reset(new udplane_worker_zone());
		worker_options o{};
		o.worker_cnt = 1;
		o.queue = &fake->queue;
		o.zone = zone_.get();
		o.frames = fake->frames.data();
		o.frame_cnt = kFrames;
		o.frame_size = kFrameSize;
		o.frames_reserved = 64;
		o.socket_max = kSockets;
		o.checksum = PACKET_CHECKSUM_WIRE;
		o.mode = mode;
		o.spin_ns = spin_ns;
		o.burst_spin_ns = burst_spin_ns;
		o.yield = true;
		o.cpu = -1;
		o.ttl4 = o.hop_limit6 = 64;
		char text[160];
		ASSERT_EQ(worker_start(&w_, &o, text, sizeof(text)), 0) << text;
		Route();
	}
	void TearDown() override
	{
		if (!w_)
			return;
		for (uint32_t sock = 0; sock < kSockets; sock++)
			EXPECT_EQ(Call(WORKER_SOCKET_REMOVE, sock), 0);
		for (auto &c : clients_) {
			Call(WORKER_CHANNEL_REMOVE, 0, &c->ch);
		}
		// Whatever happened: every frame is back, and every frame received is accounted
		// for.
		EXPECT_EQ(worker_frames_held(w_), 0u);
		EXPECT_EQ(worker_frames_free(w_), kFrames);
		ExpectConservation(zone_.get());
		worker_stop(w_);
		route_table_destroy(route_);
	}
	uint64_t Count(udplane_worker_counter c)
	{
		return udplane_load64(&zone_->counter[c]);
	}
	int Call(worker_op op, uint32_t sock, worker_channel *ch = nullptr,
		 const worker_socket_info *info = nullptr, const port_key *key = nullptr,
		 uint16_t port = 0)
	{
		return BedCall(w_, op, sock, ch, info, key, port);
	}
	void Route()
	{
		route_ = BedRoute();
		ASSERT_NE(route_, nullptr);
		ASSERT_EQ(BedUseRoute(w_, route_), 0);
	}
	Client *Attach(uint32_t sock, uint16_t port)
	{
		clients_.emplace_back(new Client((uint32_t)clients_.size()));
		Client *c = clients_.back().get();
		BedAttach(w_, c, sock, port);
		return c;
	}
	// A frame from 192.0.2.2:1000 to 192.0.2.1:port comes by the wire.
	bool Inject(uint16_t port, const std::string &data,
		    std::function<void(uint8_t *, uint32_t *)> spoil = nullptr)
	{
		Guard g;
		return InjectLocked(port, data, spoil);
	}
	bool InjectLocked(uint16_t port, const std::string &data,
			  std::function<void(uint8_t *, uint32_t *)> spoil = nullptr)
	{
		std::vector<uint8_t> wire = UdpFrame(kMac, port, data);
		if (fake->free_frames.empty())
			return false;
		uint32_t frame = fake->free_frames.back();
		fake->free_frames.pop_back();
		uint8_t *p = fake->frames.data() + (size_t)frame * kFrameSize;
		uint32_t len = (uint32_t)wire.size();
		memcpy(p, wire.data(), len);
		if (spoil)
			spoil(p, &len);
		fake->rx.push_back({frame, 0, (uint16_t)len, 0});
		uint64_t one = 1;
		(void)!write(fake->event, &one, 8);
		return true;
	}
	bool Settled()
	{
		return Until([&] {
			       Guard g;
			       return fake->rx.empty();
		       }) &&
		       Call(WORKER_DRAIN, 0) == 0;
	}
	std::string Receive(Client *c, udplane_rx_desc *out = nullptr)
	{
		udplane_rx_desc d;
		if (!Until([&] { return c->Take(&d); }))
			return "(nothing)";
		if (out)
			*out = d;
		Guard g;
		return std::string((const char *)fake->frames.data() +
					   (size_t)d.frame * kFrameSize + d.offset,
				   d.len);
	}
	const device_queue_ops *ops_ = &kOps;
	std::unique_ptr<FakeDevice> device_;
	std::unique_ptr<udplane_worker_zone> zone_;
	std::vector<std::unique_ptr<Client>> clients_;
	worker *w_ = nullptr;
	route_table *route_ = nullptr;
};

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

TEST_F(WorkerTest, AHoarderLeavesFramesForOthers)
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
	o.source.port_be = htons(5060);
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
			memset(p + 24, 0, 2); // header checksum anew; none of UDP
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

class Liar : public WorkerTest
{
      protected:
	// The liar is found out, reported once, and its neighbour is served as before.
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

TEST_F(Liar, TxProducerIndexBeyondTheRing)
{
	Client *c = Attach(0, 7), *v = Attach(1, 8);
	__atomic_store_n(&c->tx->head.prod_idx, kTxSlots + 1, __ATOMIC_RELEASE);
	c->Bell();
	ExpectCaught(v, 8);
}
TEST_F(Liar, RxConsumerIndexAheadOfTheProducer)
{
	Client *c = Attach(0, 7), *v = Attach(1, 8);
	__atomic_store_n(&c->ring->head.cons_idx, 1000, __ATOMIC_RELEASE);
	for (uint32_t i = 0; i < kRing + 1; i++)
		ASSERT_TRUE(Inject(7, "x"));
	ExpectCaught(v, 8);
}
TEST_F(Liar, ReturnsAFrameItNeverHad)
{
	Client *c = Attach(0, 7), *v = Attach(1, 8);
	c->Return(17);
	ExpectCaught(v, 8);
}
TEST_F(Liar, ReturnsAFrameOutOfRange)
{
	Client *c = Attach(0, 7), *v = Attach(1, 8);
	c->Return(UINT32_MAX);
	ExpectCaught(v, 8);
}
TEST_F(Liar, ReturnsTwice)
{
	Client *c = Attach(0, 7), *v = Attach(1, 8);
	udplane_rx_desc d;
	ASSERT_TRUE(Inject(7, "x"));
	Receive(c, &d);
	c->Return(d.frame);
	c->Return(d.frame);
	ExpectCaught(v, 8);
}
TEST_F(Liar, ReturnsItsNeighboursFrame)
{
	Client *c = Attach(0, 7), *v = Attach(1, 8);
	udplane_rx_desc d;
	ASSERT_TRUE(Inject(8, "x"));
	Receive(v, &d);
	c->Return(d.frame);
	ExpectCaught(v, 8);
}
TEST_F(Liar, SendsFromItsNeighboursSocket)
{
	Client *c = Attach(0, 7), *v = Attach(1, 8);
	c->Send(1, "spoof", 5, inet_addr("192.0.2.2"), 1);
	ExpectCaught(v, 8);
}
TEST_F(Liar, SendsFromASocketOutOfRange)
{
	Client *c = Attach(0, 7), *v = Attach(1, 8);
	c->Send(UINT32_MAX, "x", 1, inet_addr("192.0.2.2"), 1);
	ExpectCaught(v, 8);
}
TEST_F(Liar, SendsMoreThanASlot)
{
	Client *c = Attach(0, 7), *v = Attach(1, 8);
	c->Send(0, "x", kFrameSize + 1, inet_addr("192.0.2.2"), 1);
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
TEST_F(Liar, RandomWordsEverywhere)
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
		key.family = AF_INET;
		key.port_be = htons(7);
		ASSERT_EQ(Call(WORKER_KEY_REMOVE, sock, nullptr, nullptr, &key), 0);
		ASSERT_EQ(Call(WORKER_SOCKET_REMOVE, sock), 0);
		ASSERT_EQ(Call(WORKER_CHANNEL_REMOVE, 0, &c->ch), 0);
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
class Refiller : public Liar
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
		EXPECT_EQ(c->ch.socket_cnt, 0u);
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
TEST_F(Liar, RewritesDescriptorsBetweenStageAndPublish)
{
	for (uint32_t value : {0xf0000000u, kFrames - 1}) {
		SCOPED_TRACE(value);
		Client *c = Attach(0, 7);
		bool stop = false;
		std::thread liar([&] {
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
				ASSERT_EQ(Call(WORKER_CHANNEL_REMOVE, 0, &c->ch), 0);
				udplane_ring_init(&c->my_rx, &c->ring->head, kRing, 0);
				c->ring->head = {};
				BedAttach(w_, c, 0, 7);
			}
		}
		__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
		liar.join();
		port_key key = BedKey(7);
		ASSERT_EQ(Call(WORKER_KEY_REMOVE, 0, nullptr, nullptr, &key), 0);
		ASSERT_EQ(Call(WORKER_SOCKET_REMOVE, 0), 0);
		ASSERT_EQ(Call(WORKER_CHANNEL_REMOVE, 0, &c->ch), 0);
		clients_.clear();
		EXPECT_EQ(worker_frames_held(w_), 0u);
		Guard g;
		std::set<uint32_t> once(fake->free_frames.begin(), fake->free_frames.end());
		EXPECT_EQ(once.size(), fake->free_frames.size()) << "a frame was given back twice";
	}
}

class Sleeper : public WorkerTest
{
      protected:
	void SetUp() override
	{
		Start(UDPLANE_MODE_BALANCED, 1000);
	}
	bool Asleep()
	{
		return Until([&] {
			return !udplane_load32(&zone_->awake) &&
			       udplane_load64(&zone_->counter[UDPLANE_WORKER_SLEEPS]) > sleeps_;
		});
	}
	uint64_t sleeps_ = 0;
};

TEST_F(Sleeper, BalancedModeLeavesTheKernelInChargeUntilADoorbell)
{
	Client *c = Attach(0, 7);
	ASSERT_TRUE(Until([&] { return !udplane_load32(&zone_->awake); }));
	EXPECT_TRUE(Until([&] { return !__atomic_load_n(&fake->engaged, __ATOMIC_RELAXED); }));
	EXPECT_EQ(udplane_load32(&zone_->engaged), 0u);
	for (int i = 0; i < 100; i++) {
		c->Send(0, "x", 1, inet_addr("192.0.2.2"), 1); // rings the bell
		ASSERT_TRUE(Until([&] {
			Guard g;
			return fake->sent.size() == (size_t)i + 1;
		})) << i;
	}
	EXPECT_TRUE(Until([&] {
		c->Bell(); // now and then it is really asleep when the bell rings, and counts it
		return Count(UDPLANE_WORKER_DOORBELLS) > 0;
	}));
}

// The device takes nothing for longer than the worker stays awake for it, and does not say when
// there is room again.
TEST_F(Sleeper, WhatTheDeviceDoesNotTakeGoesOutLater)
{
	Client *c = Attach(0, 7);
	{
		Guard g;
		fake->tx_full = true;
	}
	for (int i = 0; i < 40; i++)
		c->Send(0, "x", 1, inet_addr("192.0.2.2"), 1);
	uint64_t sleeps = Count(UDPLANE_WORKER_SLEEPS);
	ASSERT_TRUE(Until([&] {
		return Count(UDPLANE_WORKER_SLEEPS) > sleeps && !udplane_load32(&zone_->awake);
	}));
	{
		Guard g;
		EXPECT_EQ(fake->sent.size(), 0u);
		fake->tx_full = false;
	}
	EXPECT_TRUE(Until([&] {
		Guard g;
		return fake->sent.size() == 40;
	}));
}

// Something comes between its notice and its leaving: it stays, and gives notice again.
TEST_F(Sleeper, WhatComesAfterTheNoticeKeepsItEngaged)
{
	Client *c = Attach(0, 7);
	for (int i = 0; i < 20; i++) {
		__atomic_store_n(&fake->meddle, 3, __ATOMIC_SEQ_CST);
		ASSERT_TRUE(Until([&] {
			c->Bell();
			return __atomic_load_n(&fake->meddle, __ATOMIC_SEQ_CST) == 0;
		})) << i;
		ASSERT_TRUE(Until([&] { // the last bell may engage it once more
			return !udplane_load32(&zone_->engaged) &&
			       !__atomic_load_n(&fake->engaged, __ATOMIC_RELAXED);
		})) << i;
	}
}

// After a burst it lies down engaged, and disengages when no other has come for a while. What is a
// burst depends on time, so in each of these tests there are as many as it takes.
class Bursts : public WorkerTest
{
      protected:
	void SetUp() override
	{
		Start(UDPLANE_MODE_BALANCED, 1000, 10000);
		client_ = Attach(0, 7);
	}
	bool Disengaged()
	{
		return Until([&] { return !udplane_load32(&zone_->engaged); });
	}
	bool Engage()
	{
		return Until([&] {
			client_->Bell();
			return udplane_load32(&zone_->engaged) == 1;
		});
	}
	bool LiesDownEngaged()
	{
		EXPECT_TRUE(Until([&] { return !udplane_load32(&zone_->awake); }));
		return udplane_load32(&zone_->engaged) == 1;
	}
	Client *client_;
};

TEST_F(Bursts, AreMetEngagedAsleep)
{
	ASSERT_TRUE(Disengaged());
	EXPECT_TRUE(Until([&] {
		udplane_rx_desc d{};
		EXPECT_TRUE(Engage());
		{
			Guard g;
			for (int i = 0; i < 40; i++)
				EXPECT_TRUE(InjectLocked(7, "x"));
		}
		for (int i = 0; i < 40; i++) {
			EXPECT_EQ(Receive(client_, &d), "x");
			client_->Return(d.frame);
		}
		return LiesDownEngaged();
	}));
	EXPECT_TRUE(Disengaged()) << "it is to stay so for a while, not for ever";
}

TEST_F(Bursts, AreSeenWhereTheKernelGotThem)
{
	EXPECT_TRUE(Until([&] {
		EXPECT_TRUE(Disengaged());
		__atomic_add_fetch(&fake->left_to_kernel, 1u << 30, __ATOMIC_RELAXED);
		EXPECT_TRUE(Engage());
		return LiesDownEngaged();
	}));
	EXPECT_TRUE(Disengaged());
}

// What waits in a ring is older than what the kernel would deliver next: the kernel takes over when
// the rings are empty, not before.
class Reader : public Sleeper
{
      protected:
	void SetUp() override
	{
		Start(UDPLANE_MODE_BALANCED, 5000000);
	} // long enough to be seen awake
};

TEST_F(Reader, FindsTheFastPathEngagedUntilEverythingIsRead)
{
	Client *c = Attach(0, 7);
	ASSERT_TRUE(Until([&] { return !udplane_load32(&zone_->engaged); }));
	for (int i = 0; i < 20; i++) {
		ASSERT_TRUE(Until([&] {
			c->Bell();
			return udplane_load32(&zone_->engaged) == 1;
		}));
		ASSERT_TRUE(Inject(7, "x"));
		ASSERT_TRUE(Until([&] { return udplane_ring_avail(&c->my_rx, 1) != 0; }));
		uint64_t sleeps = Count(UDPLANE_WORKER_SLEEPS);
		c->Bell(); // one more spin, and it lies down again
		ASSERT_TRUE(Until([&] {
			return Count(UDPLANE_WORKER_SLEEPS) > sleeps &&
			       !udplane_load32(&zone_->awake);
		}));
		ASSERT_EQ(udplane_load32(&zone_->engaged), 1u) << i;
		udplane_rx_desc d;
		ASSERT_EQ(Receive(c, &d), "x");
		ASSERT_EQ(d.flags, UDPLANE_RX_SWITCHED);
		c->Return(d.frame); // rings the bell
		ASSERT_TRUE(Until([&] { return udplane_load32(&zone_->engaged) == 0; })) << i;
	}
}

// Nobody rings for a client that has gone: the worker looks by itself, or it would stay engaged for
// good.
TEST_F(Sleeper, LiesDownWhenTheClientThatHadNotReadIsGone)
{
	Client *c = Attach(0, 7);
	ASSERT_TRUE(Until([&] {
		c->Bell();
		return udplane_load32(&zone_->engaged) == 1;
	}));
	ASSERT_TRUE(Inject(7, "x"));
	ASSERT_TRUE(Until([&] { return udplane_ring_avail(&c->my_rx, 1) != 0; }));
	uint64_t sleeps = Count(UDPLANE_WORKER_SLEEPS);
	ASSERT_TRUE(Until([&] {
		return Count(UDPLANE_WORKER_SLEEPS) > sleeps && !udplane_load32(&zone_->awake);
	}));
	ASSERT_EQ(udplane_load32(&zone_->engaged), 1u);
	port_key key = BedKey(7);
	ASSERT_EQ(Call(WORKER_KEY_REMOVE, 0, nullptr, nullptr, &key), 0);
	ASSERT_EQ(Call(WORKER_SOCKET_REMOVE, 0), 0);
	EXPECT_TRUE(Until([&] { return udplane_load32(&zone_->engaged) == 0; }));
}

// The device was detached for a while: what the kernel got is older than what comes now, for every
// socket.
TEST_F(WorkerTest, AfterASwitchTheFirstDatagramOfEachSocketSaysSo)
{
	Client *c[2] = {Attach(0, 7), Attach(1, 8)};
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 2; i++) {
			for (int n = 0; n < 2; n++) {
				ASSERT_TRUE(Inject((uint16_t)(7 + i), "x"));
				udplane_rx_desc d;
				ASSERT_EQ(Receive(c[i], &d), "x");
				EXPECT_EQ(d.flags, n == 0 ? UDPLANE_RX_SWITCHED : 0) << round;
				c[i]->Return(d.frame);
			}
		}
		ASSERT_EQ(Call(WORKER_SWITCHED, 0), 0);
	}
}

// The control thread carries orders out itself while the worker sleeps: nobody is woken for them.
// Linux would give the flows of a SO_REUSEPORT group to other sockets than the worker does: it
// keeps them while there is a group.
TEST_F(Sleeper, AGroupKeepsTheFastPathEngaged)
{
	Attach(0, 7);
	Attach(1, 8);
	port_key key = BedKey(7);
	for (int i = 0; i < 5; i++) {
		ASSERT_TRUE(Until([&] {
			udplane_rx_desc
				d; // the last round's datagram may be delivered as late as now
			for (auto &c : clients_) {
				while (c->Take(&d))
					c->Return(d.frame);
			}
			return !udplane_load32(&zone_->engaged) && !udplane_load32(&zone_->awake);
		})) << i;
		ASSERT_EQ(Call(WORKER_KEY_INSERT, 1, nullptr, nullptr, &key), 0);
		ASSERT_TRUE(Until([&] { return udplane_load32(&zone_->engaged) != 0; }))
			<< "no doorbell is needed";
		uint64_t sleeps = Count(UDPLANE_WORKER_SLEEPS);
		ASSERT_TRUE(Until([&] { return !udplane_load32(&zone_->awake); }));
		Inject(7, "x");
		ASSERT_TRUE(Until([&] {
			return Count(UDPLANE_WORKER_SLEEPS) > sleeps &&
			       !udplane_load32(&zone_->awake);
		}));
		ASSERT_EQ(udplane_load32(&zone_->engaged), 1u);
		ASSERT_TRUE(__atomic_load_n(&fake->engaged, __ATOMIC_RELAXED));
		ASSERT_EQ(Call(WORKER_KEY_REMOVE, 1, nullptr, nullptr, &key), 0);
	}
}

TEST_F(Sleeper, OrdersDoNotWakeIt)
{
	Attach(0, 7);
	ASSERT_TRUE(Until([&] { return !udplane_load32(&zone_->awake); }));
	ASSERT_TRUE(Until([&] {
		return Count(UDPLANE_WORKER_SLEEPS) > 0 || !udplane_load32(&zone_->awake);
	}));
	for (int i = 0; i < 1000; i++) {
		port_key key{};
		key.family = AF_INET;
		key.port_be = htons((uint16_t)(100 + i));
		ASSERT_EQ(Call(WORKER_KEY_INSERT, 0, nullptr, nullptr, &key), 0);
		ASSERT_EQ(Call(WORKER_KEY_REMOVE, 0, nullptr, nullptr, &key), 0);
	}
}

} // namespace
