// SPDX-License-Identifier: Apache-2.0
// The device alone, on a net_ring that gives back what is sent: frames and mbufs are each other's,
// in any number of pieces, and none gets lost.
#include <rte_ring.h>

#include "tests/unit/dpdk/bed.h"

namespace
{

Bed *bed;

// One for all suites: EAL starts once.
class Device : public ::testing::Environment
{
	void SetUp() override
	{
		bed = new Bed("net_ring0");
	}
	void TearDown() override
	{
		delete bed;
	}
};
const ::testing::Environment *const made = ::testing::AddGlobalTestEnvironment(new Device);

class Ring : public ::testing::Test
{
      protected:
	void SetUp() override
	{
		ASSERT_NE(bed->dev, nullptr) << bed->error.text;
		wire_ = rte_ring_lookup("ETH_RXTX0_net_ring0");
		ASSERT_NE(wire_, nullptr);
	}
	void TearDown() override
	{
		EXPECT_EQ(Free(), kFrames);
	}
	const device_queue_ops *ops()
	{
		return bed->q->ops;
	}
	uint32_t Free()
	{
		return ops()->frames_free(bed->q);
	}
	uint32_t Receive(device_frame *out)
	{
		return ops()->rx_burst(bed->q, out, DEVICE_BURST);
	}
	void Put(const device_frame &f)
	{
		ops()->frames_put(bed->q, &f.frame, 1);
	}
	// A packet in pieces of these lengths appears on the wire. Byte i of it is i * 7.
	void Inject(const std::vector<uint16_t> &pieces)
	{
		rte_mbuf *head = nullptr, *last = nullptr;
		uint32_t at = 0;
		for (uint16_t len : pieces) {
			rte_mbuf *m = rte_pktmbuf_alloc(bed->d()->queue[0].pool);
			ASSERT_NE(m, nullptr);
			m->data_len = len;
			for (uint16_t i = 0; i < len; i++)
				rte_pktmbuf_mtod(m, uint8_t *)[i] = (uint8_t)(at++ * 7);
			if (last)
				last->next = m;
			if (!head)
				head = m;
			last = m;
		}
		head->pkt_len = at;
		head->nb_segs = (uint16_t)pieces.size();
		ASSERT_EQ(rte_ring_enqueue(wire_, head), 0);
	}
	rte_ring *wire_ = nullptr;
};

TEST_F(Ring, WhatIsSentComesBackInTheSameFrame)
{
	uint32_t idx[32];
	ASSERT_EQ(ops()->frames_get(bed->q, idx, 32), 32u);
	EXPECT_EQ(Free(), kFrames - 32);
	device_frame f[DEVICE_BURST] = {};
	for (uint32_t i = 0; i < 32; i++) {
		f[i].frame = idx[i];
		f[i].off = (uint16_t)bed->dev->tx_headroom;
		f[i].len = (uint16_t)(60 + i);
		memset(bed->At(f[i]), (int)i, f[i].len);
	}
	ASSERT_EQ(ops()->tx_burst(bed->q, f, 32), 32u);
	EXPECT_EQ(Free(), kFrames);
	device_frame back[DEVICE_BURST];
	ASSERT_EQ(Receive(back), 32u);
	for (uint32_t i = 0; i < 32; i++) {
		EXPECT_EQ(back[i].frame, idx[i]);
		EXPECT_EQ(back[i].len, 60 + i);
		EXPECT_EQ(bed->At(back[i])[back[i].len - 1], i);
		Put(back[i]);
	}
}

TEST_F(Ring, PiecesAreJoinedIntoOneFrame)
{
	device_frame f[DEVICE_BURST];
	Inject({700, 1, 800});
	Inject({100});
	ASSERT_EQ(Receive(f), 2u);
	ASSERT_EQ(f[0].len, 1501);
	for (uint32_t i = 0; i < 1501; i++)
		ASSERT_EQ(bed->At(f[0])[i], (uint8_t)(i * 7)) << i;
	EXPECT_EQ(f[1].len, 100);
	Put(f[0]);
	Put(f[1]);
}

// 1920 bytes are a frame's room; without a TAP to pass longer ones to they are dropped and counted.
TEST_F(Ring, LongerThanAFrameIsNotTruncated)
{
	device_frame f[DEVICE_BURST];
	uint64_t lost = bed->Counter(UDPLANE_DEVICE_RX_LOST_NO_FRAME);
	Inject({1900, 20});
	Inject({1900, 21});
	Inject({50});
	ASSERT_EQ(Receive(f), 2u);
	EXPECT_EQ(f[0].len, 1920);
	EXPECT_EQ(f[1].len, 50);
	EXPECT_EQ(bed->Counter(UDPLANE_DEVICE_RX_LOST_NO_FRAME), lost + 1);
	EXPECT_EQ(bed->Counter(UDPLANE_DEVICE_RX_SEEN), bed->Counter(UDPLANE_DEVICE_RX_DIVERTED));
	Put(f[0]);
	Put(f[1]);
}

// They are not the worker's, but to say that there was nothing would send it to sleep over the
// rest.
TEST_F(Ring, APacketBehindAnyNumberOfLongOnesIsFoundAtOnce)
{
	device_frame f[DEVICE_BURST];
	for (int i = 0; i < 500; i++)
		Inject({1900, 21});
	Inject({50});
	ASSERT_EQ(Receive(f), 1u);
	EXPECT_EQ(f[0].len, 50);
	Put(f[0]);
	for (int i = 0; i < 500; i++)
		Inject({1900, 21});
	EXPECT_EQ(Receive(f), 0u);
	EXPECT_EQ(rte_ring_count(wire_), 0u);
}

// The worker's lane to the TAP and from it, without the TAP: this test is its thread.
class Lane : public Ring
{
      protected:
	static constexpr uint32_t kSlots = 8, kSlotSize = 9088;
	void SetUp() override
	{
		Ring::SetUp();
		Make(&lane_.to_ring, &lane_.to, &thread_to_);
		Make(&lane_.from_ring, &thread_from_, &lane_.from);
		queue_ = &bed->d()->queue[0];
		queue_->lane = &lane_;
		queue_->takes_tap = true;
		queue_->tx_chains = true;
	}
	void TearDown() override
	{
		queue_->lane = nullptr;
		queue_->takes_tap = false;
		free(lane_.to_ring.head);
		free(lane_.from_ring.head);
		Ring::TearDown();
	}
	static void Make(tap_ring *r, udplane_ring *producer, udplane_ring *consumer)
	{
		r->head =
			BedAlloc<udplane_ring_head>(sizeof(udplane_ring_head) + kSlots * kSlotSize);
		r->slots = (uint8_t *)(r->head + 1);
		r->slot_size = kSlotSize;
		udplane_ring_init(producer, r->head, kSlots, 0);
		udplane_ring_init(consumer, r->head, kSlots, 0);
	}
	// A packet of this length from the kernel; byte i of it is i * 3.
	void FromKernel(uint32_t len)
	{
		uint8_t *slot =
			lane_.from_ring.slots +
			(size_t)udplane_ring_slot(&thread_from_, thread_from_.idx) * kSlotSize;
		*(uint32_t *)slot = len;
		for (uint32_t i = 0; i < len; i++)
			slot[4 + i] = (uint8_t)(i * 3);
		udplane_ring_publish(&thread_from_, 1);
	}
	dpdk_queue *queue_;
	struct tap_lane lane_ {
	};
	udplane_ring thread_to_, thread_from_;
};

TEST_F(Lane, WhatIsLongerThanAFrameGoesToTheTapWhole)
{
	device_frame f[DEVICE_BURST];
	uint64_t passed = bed->Counter(UDPLANE_DEVICE_RX_PASSED_JUMBO),
		 lost = bed->Counter(UDPLANE_DEVICE_RX_LOST_NO_FRAME);
	Inject({1900, 1900, 1900, 1900, 1414});
	EXPECT_EQ(Receive(f), 0u);
	ops()->tx_flush(bed->q);
	ASSERT_EQ(udplane_ring_avail(&thread_to_, 1), 1u);
	const uint8_t *slot = lane_.to_ring.slots +
			      (size_t)udplane_ring_slot(&thread_to_, thread_to_.idx) * kSlotSize;
	ASSERT_EQ(*(const uint32_t *)slot, 9014u);
	for (uint32_t i = 0; i < 9014; i++)
		ASSERT_EQ(slot[4 + i], (uint8_t)(i * 7)) << i;
	EXPECT_EQ(bed->Counter(UDPLANE_DEVICE_RX_PASSED_JUMBO), passed + 1);

	Inject({1900, 1900, 1900, 1900, 1500}); // 9100: longer than a slot, too
	EXPECT_EQ(Receive(f), 0u);
	EXPECT_EQ(bed->Counter(UDPLANE_DEVICE_RX_LOST_NO_FRAME), lost + 1);
	for (uint32_t i = 0; i < kSlots; i++)
		Inject({1900, 100}); // one more than there is room for
	EXPECT_EQ(Receive(f), 0u);
	EXPECT_EQ(bed->Counter(UDPLANE_DEVICE_RX_PASSED_JUMBO), passed + kSlots);
	EXPECT_EQ(bed->Counter(UDPLANE_DEVICE_RX_LOST_NO_FRAME), lost + 2);
	EXPECT_EQ(bed->Counter(UDPLANE_DEVICE_RX_SEEN),
		  bed->Counter(UDPLANE_DEVICE_RX_DIVERTED) + passed + kSlots);
}

TEST_F(Lane, WhatTheTapGivesIsSentInAsManyFramesAsItTakes)
{
	uint64_t sent = bed->Counter(UDPLANE_DEVICE_TAP_TX);
	const struct {
		uint32_t len;
		uint16_t segments;
	} packets[] = {{60, 1}, {1920, 1}, {1921, 2}, {3840, 2}, {9014, 5}};
	for (auto p : packets)
		FromKernel(p.len);
	EXPECT_EQ(ops()->tx_flush(bed->q), 5u) << "work: the worker looks again before it sleeps";
	EXPECT_FALSE(ops()->tx_pending(bed->q));
	EXPECT_EQ(bed->Counter(UDPLANE_DEVICE_TAP_TX), sent + 5);
	for (auto p : packets) {
		rte_mbuf *m = nullptr;
		ASSERT_EQ(rte_ring_dequeue(wire_, (void **)&m), 0);
		EXPECT_EQ(m->pkt_len, p.len);
		EXPECT_EQ(m->nb_segs, p.segments);
		uint32_t at = 0;
		for (rte_mbuf *s = m; s; s = s->next)
			for (uint32_t i = 0; i < s->data_len; i++, at++)
				ASSERT_EQ(rte_pktmbuf_mtod(s, uint8_t *)[i], (uint8_t)(at * 3))
					<< at;
		EXPECT_EQ(at, p.len);
		rte_pktmbuf_free(m);
	}
}

TEST_F(Lane, ANicThatSendsNoChainsDropsCountsAndGoesOn)
{
	uint64_t sent = bed->Counter(UDPLANE_DEVICE_TAP_TX),
		 invalid = bed->Counter(UDPLANE_DEVICE_TX_INVALID);
	queue_->tx_chains = false;
	FromKernel(1921);
	FromKernel(60);
	EXPECT_EQ(ops()->tx_flush(bed->q), 2u);
	EXPECT_EQ(bed->Counter(UDPLANE_DEVICE_TAP_TX), sent + 1);
	EXPECT_EQ(bed->Counter(UDPLANE_DEVICE_TX_INVALID), invalid + 1);
	device_frame f[DEVICE_BURST];
	ASSERT_EQ(Receive(f), 1u);
	EXPECT_EQ(f[0].len, 60);
	Put(f[0]);
}

// A packet of the TAP waits for frames as any other; it is neither lost nor sent in part.
TEST_F(Lane, WithoutFramesItStaysInTheTap)
{
	std::vector<uint32_t> taken(kFrames);
	uint32_t n = 0, got;
	while ((got = ops()->frames_get(bed->q, &taken[n], DEVICE_BURST)))
		n += got;
	ASSERT_EQ(n, kFrames);
	ops()->frames_put(bed->q, &taken[--n], 1);
	FromKernel(1921);
	EXPECT_EQ(ops()->tx_flush(bed->q), 0u);
	EXPECT_TRUE(ops()->tx_pending(bed->q));
	EXPECT_EQ(rte_ring_count(wire_), 0u);
	ops()->frames_put(bed->q, taken.data(), n);
	ops()->tx_flush(bed->q);
	EXPECT_FALSE(ops()->tx_pending(bed->q));
	rte_mbuf *m = nullptr;
	ASSERT_EQ(rte_ring_dequeue(wire_, (void **)&m), 0);
	EXPECT_EQ(m->pkt_len, 1921u);
	rte_pktmbuf_free(m);
}

// DPDK's own code refuses to put a tag into an mbuf that looks shared, and a driver that needs it
// (af_packet) goes on without the tag.
TEST_F(Ring, NoFrameLooksShared)
{
	std::vector<rte_mbuf *> all(kFrames);
	ASSERT_EQ(rte_pktmbuf_alloc_bulk(bed->d()->queue[0].pool, all.data(), kFrames), 0);
	for (rte_mbuf *m : all) {
		ASSERT_TRUE(RTE_MBUF_DIRECT(m));
		ASSERT_EQ(rte_mbuf_refcnt_read(m), 1);
	}
	rte_pktmbuf_free_bulk(all.data(), kFrames);
}

TEST_F(Ring, WhatNoDriverCouldSendIsCountedAndGivenBack)
{
	uint32_t idx[2];
	ASSERT_EQ(ops()->frames_get(bed->q, idx, 2), 2u);
	uint64_t before = bed->Counter(UDPLANE_DEVICE_TX_INVALID);
	device_frame f[2] = {{idx[0], 128, 13, 0}, {idx[1], 128, 1921, 0}};
	EXPECT_EQ(ops()->tx_burst(bed->q, f, 2), 1u);
	EXPECT_EQ(ops()->tx_burst(bed->q, f + 1, 1), 1u);
	EXPECT_EQ(bed->Counter(UDPLANE_DEVICE_TX_INVALID), before + 2);
}

TEST_F(Ring, EveryFrameCanBeTakenAndNoneTwice)
{
	std::vector<bool> seen(kFrames);
	std::vector<uint32_t> taken;
	uint32_t idx[DEVICE_BURST], n;
	while ((n = ops()->frames_get(bed->q, idx, DEVICE_BURST)))
		for (uint32_t i = 0; i < n; i++) {
			ASSERT_LT(idx[i], kFrames);
			ASSERT_FALSE(seen[idx[i]]);
			seen[idx[i]] = true;
			taken.push_back(idx[i]);
		}
	EXPECT_EQ(taken.size(), kFrames); // net_ring holds none for receiving
	EXPECT_EQ(Free(), 0u);
	ops()->frames_put(bed->q, taken.data(), (uint32_t)taken.size());
}

TEST_F(Ring, AFullWireLeavesTheRestWithTheCaller)
{
	uint32_t idx[DEVICE_BURST];
	device_frame f[DEVICE_BURST] = {};
	uint32_t sent = 0, n = DEVICE_BURST;
	while (n == DEVICE_BURST && sent < kFrames) {
		ASSERT_EQ(ops()->frames_get(bed->q, idx, DEVICE_BURST), DEVICE_BURST);
		for (uint32_t i = 0; i < DEVICE_BURST; i++)
			f[i] = {idx[i], 128, 60, 0};
		n = ops()->tx_burst(bed->q, f, DEVICE_BURST);
		sent += n;
	}
	EXPECT_EQ(Free(), kFrames - (DEVICE_BURST - n));
	ops()->frames_put(bed->q, idx + n, DEVICE_BURST - n);
	device_frame back[DEVICE_BURST];
	for (uint32_t got; (got = Receive(back));)
		for (uint32_t i = 0; i < got; i++)
			Put(back[i]);
}

TEST_F(Ring, WithoutATapPassingDropsCountsAndGivesBack)
{
	device_frame f[DEVICE_BURST];
	uint64_t full = bed->Counter(UDPLANE_DEVICE_TAP_RX_FULL);
	Inject({64});
	ASSERT_EQ(Receive(f), 1u);
	ops()->pass(bed->q, f, 1);
	EXPECT_EQ(bed->Counter(UDPLANE_DEVICE_TAP_RX_FULL), full + 1);
}

// No interrupt: a timer, that backs off to 10 ms and comes back with traffic.
TEST_F(Ring, ADriverWithoutInterruptsIsPolledByATimer)
{
	int fds[4];
	ASSERT_EQ(ops()->wait_fds(bed->q, fds, 4), 1u);
	EXPECT_EQ(fds[0], bed->d()->queue[0].timer_fd);
	for (int i = 0; i < 12; i++) {
		EXPECT_EQ(ops()->arm(bed->q), 0);
		ops()->disarm(bed->q);
	}
	EXPECT_EQ(bed->d()->queue[0].timer_us, 10000u);
	device_frame f[DEVICE_BURST];
	Inject({64});
	ASSERT_EQ(Receive(f), 1u);
	Put(f[0]);
	EXPECT_EQ(ops()->arm(bed->q), 0);
	EXPECT_EQ(bed->d()->queue[0].timer_us, 100u);
	ops()->disarm(bed->q);
}

// Without an IOMMU each page has its own bus address; shares of an odd number of workers begin in
// the middle of one.
TEST(Extent, NoneCrossesAPageAndNothingIsLeftOut)
{
	for (size_t page : {4096ul, 2ul << 20})
		for (uint64_t workers : {1u, 2u, 3u, 5u, 7u})
			for (uint64_t frame : {2048u, 4096u})
				for (uint64_t w = 0; w < workers; w++) {
					size_t at = 16384 * w / workers * frame,
					       end = 16384 * (w + 1) / workers * frame;
					while (at < end) {
						size_t n = dpdk_pool_extent(at, end, page);
						ASSERT_GT(n, 0u);
						ASSERT_EQ(n % frame, 0u);
						ASSERT_EQ(at / page, (at + n - 1) / page);
						at += n;
					}
					ASSERT_EQ(at, end);
				}
}

TEST_F(Ring, RingsAreNeverBelowTheDriversLeast)
{
	rte_eth_dev_info *info = &bed->d()->info, was = *info;
	EXPECT_EQ(dpdk_port_least_frames(bed->d()), 4u * DEVICE_BURST);
	info->tx_desc_lim.nb_min = 512; // vmxnet3's
	EXPECT_EQ(dpdk_port_least_frames(bed->d()), 2048u);
	info->rx_desc_lim.nb_min = 2000;
	EXPECT_EQ(dpdk_port_least_frames(bed->d()), 4096u);
	info->driver_name = "net_vmxnet3"; // fills two rings
	EXPECT_EQ(dpdk_port_least_frames(bed->d()), 8192u);
	device_memory mem = bed->d()->mem;
	struct error error = {};
	EXPECT_EQ(bed->dev->ops->attach(bed->dev, &mem, 1, &error), -EINVAL);
	EXPECT_STREQ(error.text,
		     "4096 frames for 1 workers: net_vmxnet3 needs 8192 a worker at least; "
		     "raise `frames` to 8192");
	*info = was;
}

TEST_F(Ring, FactsAreWholeLinesInAnyRoom)
{
	char text[4096];
	size_t len = bed->dev->ops->info(bed->dev, text, sizeof(text));
	EXPECT_NE(std::string(text).find("driver\tnet_ring\n"), std::string::npos);
	EXPECT_NE(std::string(text).find("promiscuous\tyes\n"), std::string::npos);
	EXPECT_EQ(strlen(text), len);
	for (size_t room = 1; room < len; room += 7) {
		size_t n = bed->dev->ops->info(bed->dev, text, room);
		ASSERT_LT(n, room);
		ASSERT_EQ(strlen(text), n);
		ASSERT_TRUE(n == 0 || text[n - 1] == '\n');
	}
}

} // namespace
