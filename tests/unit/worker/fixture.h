/* SPDX-License-Identifier: Apache-2.0 */
/* A worker with a device made of two rings in place of a NIC, and a client made of plain memory. */
#ifndef TESTS_UNIT_WORKER_FIXTURE_H
#define TESTS_UNIT_WORKER_FIXTURE_H

#include <poll.h>

#include <algorithm>
#include <memory>
#include <random>
#include <set>
#include <thread>

#include "tests/unit/worker/bed.h"

inline constexpr uint32_t kFrames = 1024, kFrameSize = 2048, kSockets = 8, kTxSlots = 64,
			  kRing = 256;
inline const uint8_t kMac[6] = {2, 0, 0, 0, 0, 1};

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
	uint64_t receiver = 0; // cookie of the socket that Linux would give it to
	uint16_t headroom = 0; // in front of what comes
	uint32_t meddle = 0;   // atomic: so many times something comes after it
	int super_error = 0;   // what tx_super returns
	uint32_t super_calls = 0;
	std::vector<size_t> supers; // numbers in `sent` of what came by them
};
inline FakeDevice *fake; // device_queue carries no user pointer; one device a test

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

inline uint32_t RxBurst(device_queue *q, device_frame *out, uint32_t max)
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
inline uint32_t TxBurst(device_queue *, const device_frame *in, uint32_t cnt)
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
inline void Nothing(device_queue *)
{
}
inline uint32_t FramesGet(device_queue *, uint32_t *f, uint32_t cnt)
{
	Guard g;
	uint32_t n = 0;
	while (n < cnt && !fake->free_frames.empty()) {
		f[n++] = fake->free_frames.back();
		fake->free_frames.pop_back();
	}
	return n;
}
inline void FramesPut(device_queue *, const uint32_t *f, uint32_t cnt)
{
	Guard g;
	fake->free_frames.insert(fake->free_frames.end(), f, f + cnt);
}
inline uint32_t FramesFree(device_queue *)
{
	Guard g;
	return (uint32_t)(fake->free_frames.size() + fake->rx.size());
}
inline uint32_t WaitFds(device_queue *, int *fds, uint32_t)
{
	fds[0] = fake->event;
	return 1;
}
inline uint32_t Flush(device_queue *)
{
	return 0;
}
inline int Arm(device_queue *)
{
	return 0;
}
inline void Engage(device_queue *)
{
	__atomic_store_n(&fake->engaged, true, __ATOMIC_RELAXED);
}
inline void Leave(device_queue *)
{
	fake->left = true;
}
inline bool Disengage(device_queue *)
{
	EXPECT_TRUE(fake->left) << "no notice given";
	fake->left = false;
	if (__atomic_load_n(&fake->meddle, __ATOMIC_SEQ_CST))
		return __atomic_sub_fetch(&fake->meddle, 1, __ATOMIC_SEQ_CST), false;
	__atomic_store_n(&fake->engaged, false, __ATOMIC_RELAXED);
	return true;
}
inline uint64_t LeftToKernel(device_queue *)
{
	return __atomic_load_n(&fake->left_to_kernel, __ATOMIC_RELAXED);
}
inline bool Pending(device_queue *)
{
	return false;
}
inline uint64_t Receiver(const uint8_t *, const device_frame *)
{
	return __atomic_load_n(&fake->receiver, __ATOMIC_RELAXED);
}
inline const device_queue_ops kOps = {
	RxBurst, TxBurst, Flush,     FramesGet,	   FramesPut, FramesFree, WaitFds,  Arm,    Nothing,
	Engage,	 Leave,	  Disengage, LeftToKernel, Pending,   nullptr,	  Receiver, nullptr};

// A super-packet is cut here. The UDP checksums stay what they were.
inline int TxSuper(device_queue *, device_super *s)
{
	Guard g;
	std::vector<uint8_t> payload;
	fake->super_calls++;
	if (fake->super_error)
		return fake->super_error;
	EXPECT_EQ(s->iov[1].iov_base, s->hdr);
	for (uint32_t i = 2; i < s->iov_cnt; i++) {
		const uint8_t *p = (const uint8_t *)s->iov[i].iov_base;
		payload.insert(payload.end(), p, p + s->iov[i].iov_len);
	}
	EXPECT_EQ((payload.size() + s->seg_len - 1) / s->seg_len, s->cnt);
	for (size_t at = 0; at < payload.size(); at += s->seg_len) {
		size_t end = std::min(payload.size(), at + s->seg_len);
		fake->sent.emplace_back(s->hdr, s->hdr + s->hdr_len);
		fake->sent.back().insert(fake->sent.back().end(), payload.begin() + (long)at,
					 payload.begin() + (long)end);
		fake->supers.push_back(fake->sent.size() - 1);
	}
	return 0;
}
inline const device_queue_ops kSuperOps = {
	RxBurst, TxBurst, Flush,     FramesGet,	   FramesPut, FramesFree, WaitFds,  Arm,    Nothing,
	Engage,	 Leave,	  Disengage, LeftToKernel, Pending,   nullptr,	  Receiver, TxSuper};

// A NIC of our own: what is not ours goes on to the kernel.
inline void Pass(device_queue *q, const device_frame *f, uint32_t cnt)
{
	for (uint32_t i = 0; i < cnt; i++)
		FramesPut(q, &f[i].frame, 1);
}
inline const device_queue_ops kPassOps = {
	RxBurst, TxBurst, Flush,     FramesGet,	   FramesPut, FramesFree, WaitFds, Arm,	   Nothing,
	Engage,	 Leave,	  Disengage, LeftToKernel, Pending,   Pass,	  nullptr, nullptr};

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
		fake->queue = {ops_, &fake->dev, 0, false, supers_, 3};
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
		struct error error = {};
		ASSERT_EQ(worker_start(&w_, &o, &error), 0) << error.text;
		Route();
	}
	void TearDown() override
	{
		if (!w_)
			return;
		for (uint32_t sock = 0; sock < kSockets; sock++)
			EXPECT_EQ(Call(WORKER_SOCKET_REMOVE, sock), 0);
		for (auto &c : clients_) {
			Call(WORKER_LANE_REMOVE, 0, &c->lane);
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
	int Call(worker_op op, uint32_t sock, worker_lane *lane = nullptr,
		 const worker_socket_info *info = nullptr, const port_key *key = nullptr,
		 uint16_t port = 0)
	{
		return BedCall(w_, op, sock, lane, info, key, port);
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
		uint8_t *p = fake->frames.data() + (size_t)frame * kFrameSize + fake->headroom;
		uint32_t len = (uint32_t)wire.size();
		memcpy(p, wire.data(), len);
		if (spoil)
			spoil(p, &len);
		fake->rx.push_back({frame, fake->headroom, (uint16_t)len, 0});
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
	uint32_t supers_ = 0; // datagrams that a super-packet may have
	std::unique_ptr<FakeDevice> device_;
	std::unique_ptr<udplane_worker_zone> zone_;
	std::vector<std::unique_ptr<Client>> clients_;
	worker *w_ = nullptr;
	route_table *route_ = nullptr;
};

#endif
