// SPDX-License-Identifier: Apache-2.0
// include/udplane/ring.h in one thread. Two threads: ring_race_test.cc; all interleavings of sleep
// and wake: ring_wake_model_test.cc.
#include <gtest/gtest.h>
#include <udplane/ring.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

namespace
{

// Index 0, the wrap of signed numbers, and every place of the wrap of unsigned ones within rings of
// up to 16 entries.
std::vector<uint32_t> Starts()
{
	std::vector<uint32_t> starts = {0, 1, 5, 0x7ffffffe, 0x7fffffff, 0x80000000};

	for (uint32_t i = 1; i <= 18; i++)
		starts.push_back(0u - i);
	return starts;
}

struct Pair {
	udplane_ring_head head = {};
	udplane_ring prod, cons;

	Pair(uint32_t size, uint32_t start)
	{
		udplane_ring_init(&prod, &head, size, start);
		udplane_ring_init(&cons, &head, size, start);
		head.prod_idx = head.cons_idx = start;
	}
};

TEST(Ring, FillsAndEmptiesAtEveryStart)
{
	for (uint32_t size : {1, 2, 4, 8, 16})
		for (uint32_t start : Starts()) {
			Pair p(size, start);

			for (int round = 0; round < 3; round++) {
				for (uint32_t n = 0; n < size; n++) {
					ASSERT_EQ(udplane_ring_free(&p.prod, size), size - n);
					ASSERT_EQ(udplane_ring_avail(&p.cons, size), n);
					udplane_ring_publish(&p.prod, 1);
				}
				ASSERT_EQ(udplane_ring_free(&p.prod, 1), 0u) << "full";
				ASSERT_EQ(udplane_ring_avail(&p.cons, size), size);
				for (uint32_t n = 0; n < size; n++) {
					udplane_ring_consume(&p.cons, 1);
					ASSERT_EQ(udplane_ring_free(&p.prod, size), n + 1);
				}
				ASSERT_EQ(udplane_ring_avail(&p.cons, 1), 0u) << "empty";
			}
			EXPECT_EQ(p.head.prod_idx, start + 3 * size);
			EXPECT_EQ(p.head.cons_idx, start + 3 * size);
		}
}

TEST(Ring, SlotsFollowTheIndexThroughTheWrap)
{
	for (uint32_t size : {1, 2, 16, 1 << 30}) {
		Pair p(size, 0);

		EXPECT_EQ(udplane_ring_slot(&p.prod, 0), 0u);
		EXPECT_EQ(udplane_ring_slot(&p.prod, UINT32_MAX), size - 1);
		EXPECT_EQ(udplane_ring_slot(&p.prod, UINT32_MAX + 1u), 0u);
		EXPECT_EQ(udplane_ring_slot(&p.prod, size), 0u);
	}
}

// Random batches against plain arithmetic; entries come out as they went in.
TEST(Ring, RandomBatchesKeepContentAndCount)
{
	for (unsigned int seed = 0; seed < 200; seed++) {
		std::mt19937 rng(seed);
		uint32_t size = 1u << rng() % 6, start = 0u - rng() % 1000;
		std::vector<uint32_t> slot(size);
		uint32_t in = start, out = start;
		Pair p(size, start);

		for (int step = 0; step < 2000; step++) {
			uint32_t want = rng() % (size + 2);

			if (rng() % 2) {
				uint32_t free = udplane_ring_free(&p.prod, want);

				// The cached index may hide some, but never so many that `want`
				// fails.
				ASSERT_LE(free, size - (in - out));
				ASSERT_GE(free, std::min(want, size - (in - out)));
				want = std::min(want, free);
				for (uint32_t i = 0; i < want; i++)
					slot[udplane_ring_slot(&p.prod, p.prod.idx + i)] = in++;
				udplane_ring_publish(&p.prod, want);
			} else {
				uint32_t avail = udplane_ring_avail(&p.cons, want);

				ASSERT_LE(avail, in - out);
				ASSERT_GE(avail, std::min(want, in - out));
				want = std::min(want, avail);
				for (uint32_t i = 0; i < want; i++)
					ASSERT_EQ(slot[udplane_ring_slot(&p.cons, p.cons.idx + i)],
						  out++);
				udplane_ring_consume(&p.cons, want);
			}
			ASSERT_EQ(p.head.prod_idx, in);
			ASSERT_EQ(p.head.cons_idx, out);
		}
	}
}

// Shared memory is looked at only when what is known does not do.
TEST(Ring, LooksAtSharedMemoryOnlyWhenItMust)
{
	Pair p(8, 0xfffffffc);

	udplane_ring_publish(&p.prod, 6);
	p.head.cons_idx = 0x12345678; // impossible: each reader reports it
	EXPECT_EQ(udplane_ring_free(&p.prod, 0), 2u);
	EXPECT_EQ(udplane_ring_free(&p.prod, 2), 2u);
	EXPECT_EQ(udplane_ring_free(&p.prod, 3), UDPLANE_RING_CORRUPT);
	p.head.cons_idx = 0xfffffffe;
	EXPECT_EQ(udplane_ring_free(&p.prod, 2), 2u);
	EXPECT_EQ(udplane_ring_free(&p.prod, 3), 4u);

	EXPECT_EQ(udplane_ring_avail(&p.cons, 0), 0u);
	EXPECT_EQ(udplane_ring_avail(&p.cons, 1), 6u);
	p.head.prod_idx = 0x12345678;
	EXPECT_EQ(udplane_ring_avail(&p.cons, 6), 6u);
	EXPECT_EQ(udplane_ring_avail(&p.cons, 7), UDPLANE_RING_CORRUPT);
}

// Every index that the peer may write near the own one and at the far places, at every fill level.
std::vector<uint32_t> Deltas()
{
	std::vector<uint32_t> deltas;

	for (uint32_t d = 0; d <= 70; d++) {
		deltas.push_back(d);
		deltas.push_back(0u - d);
	}
	for (int bit = 7; bit < 32; bit++)
		for (uint32_t d : {0u, 1u, UINT32_MAX})
			deltas.push_back((1u << bit) + d);
	return deltas;
}

TEST(Ring, ProducerDetectsEveryImpossibleIndex)
{
	for (uint32_t size : {1, 2, 4, 8, 16, 32})
		for (uint32_t start : Starts())
			for (uint32_t used = 0; used <= size; used++)
				for (uint32_t d : Deltas()) {
					Pair p(size, start);

					udplane_ring_publish(&p.prod, used);
					p.head.cons_idx = p.prod.idx - d; // d entries would be left
					uint32_t free = udplane_ring_free(&p.prod, UINT32_MAX);

					if (d <= size) {
						ASSERT_EQ(free, size - d);
						continue;
					}
					ASSERT_EQ(free, UDPLANE_RING_CORRUPT);
					ASSERT_EQ(udplane_ring_free(&p.prod, UINT32_MAX),
						  UDPLANE_RING_CORRUPT);
					ASSERT_EQ(p.prod.idx, start + used);
					ASSERT_EQ(p.prod.peer, start) << "nonsense is not kept";
					ASSERT_EQ(p.head.prod_idx, start + used);
				}
}

TEST(Ring, ConsumerDetectsEveryImpossibleIndex)
{
	for (uint32_t size : {1, 2, 4, 8, 16, 32})
		for (uint32_t start : Starts())
			for (uint32_t taken = 0; taken <= size; taken++)
				for (uint32_t d : Deltas()) {
					Pair p(size, start);

					udplane_ring_publish(&p.prod, size);
					ASSERT_EQ(udplane_ring_avail(&p.cons, 1), size);
					udplane_ring_consume(&p.cons, taken);
					p.head.prod_idx =
						p.cons.idx + d; // d entries would be there
					uint32_t avail = udplane_ring_avail(&p.cons, UINT32_MAX);

					if (d <= size) {
						ASSERT_EQ(avail, d);
						continue;
					}
					ASSERT_EQ(avail, UDPLANE_RING_CORRUPT);
					ASSERT_EQ(udplane_ring_avail(&p.cons, UINT32_MAX),
						  UDPLANE_RING_CORRUPT);
					ASSERT_EQ(p.cons.idx, start + taken);
					ASSERT_EQ(p.cons.peer, start + size);
					ASSERT_EQ(p.head.cons_idx, start + taken);
				}
}

// A peer that goes back within range harms only itself: what is offered stays within the ring.
TEST(Ring, PeerThatGoesBackStaysInRange)
{
	for (unsigned int seed = 0; seed < 100; seed++) {
		std::mt19937 rng(seed);
		Pair p(8, 0u - rng() % 20);

		for (int step = 0; step < 500; step++) {
			p.head.cons_idx = p.prod.idx - rng() % 9;
			uint32_t free = udplane_ring_free(&p.prod, rng() % 10);
			ASSERT_LE(free, 8u);
			udplane_ring_publish(&p.prod, rng() % (free + 1));
			ASSERT_LE(p.prod.idx - p.prod.peer, 8u);

			p.head.prod_idx = p.cons.idx + rng() % 9;
			uint32_t avail = udplane_ring_avail(&p.cons, rng() % 10);
			ASSERT_LE(avail, 8u);
			udplane_ring_consume(&p.cons, rng() % (avail + 1));
			ASSERT_LE(p.cons.peer - p.cons.idx, 8u);
		}
	}
}

/* --- sleep and wake --- */

// Whether the producer must signal after publishing cnt.
bool Publish(Pair *p, uint32_t cnt)
{
	udplane_ring_publish(&p->prod, cnt);
	udplane_fence();
	return udplane_ring_take_arm(&p->prod);
}

TEST(RingArm, OneSignalAnArm)
{
	Pair p(8, 0xfffffffd);

	EXPECT_FALSE(Publish(&p, 1)) << "not armed";
	EXPECT_FALSE(udplane_ring_arm(&p.cons)) << "none stood before";
	EXPECT_TRUE(udplane_ring_is_armed(&p.cons));
	EXPECT_TRUE(Publish(&p, 1));
	EXPECT_FALSE(udplane_ring_is_armed(&p.cons));
	EXPECT_FALSE(Publish(&p, 1)) << "once an arm";
	EXPECT_FALSE(udplane_ring_disarm(&p.cons)) << "the producer has taken it";
	EXPECT_FALSE(udplane_ring_arm(&p.cons));
	EXPECT_TRUE(Publish(&p, 1));
}

TEST(RingArm, DisarmTakesItBack)
{
	Pair p(8, 0);

	EXPECT_FALSE(udplane_ring_disarm(&p.cons));
	udplane_ring_arm(&p.cons);
	EXPECT_TRUE(udplane_ring_disarm(&p.cons));
	EXPECT_FALSE(udplane_ring_is_armed(&p.cons));
	EXPECT_FALSE(Publish(&p, 1));
	EXPECT_FALSE(udplane_ring_disarm(&p.cons));
}

TEST(RingArm, ArmTellsWhetherTheLastOneStands)
{
	Pair p(8, 0);

	EXPECT_FALSE(udplane_ring_arm(&p.cons));
	EXPECT_TRUE(udplane_ring_arm(&p.cons)) << "no signal is due for the first";
	EXPECT_TRUE(Publish(&p, 1));
	EXPECT_FALSE(udplane_ring_arm(&p.cons)) << "one signal is due";
}

TEST(RingArm, NoSignalToAConsumerThatHasTakenEverything)
{
	Pair p(8, 0xffffffff);

	udplane_ring_publish(&p.prod, 2);
	ASSERT_EQ(udplane_ring_avail(&p.cons, 1), 2u);
	udplane_ring_consume(&p.cons, 2);
	udplane_ring_arm(&p.cons);
	udplane_fence();
	EXPECT_FALSE(udplane_ring_take_arm(&p.prod)) << "it has seen what this would be for";
	EXPECT_TRUE(udplane_ring_is_armed(&p.cons)) << "and its arm stands for the next";
	EXPECT_TRUE(Publish(&p, 1));

	// One entry not yet given back: the signal is due.
	ASSERT_EQ(udplane_ring_avail(&p.cons, 1), 1u);
	udplane_ring_arm(&p.cons);
	udplane_fence();
	EXPECT_TRUE(udplane_ring_take_arm(&p.prod));
}

// `armed` is the other side's to write; only 1 is an arm.
TEST(RingArm, NonsenseIsNoArm)
{
	for (uint32_t nonsense : {2u, 3u, 0x80000000u, UINT32_MAX}) {
		Pair p(8, 0);

		p.head.armed = nonsense;
		EXPECT_FALSE(Publish(&p, 1));
		EXPECT_FALSE(udplane_ring_is_armed(&p.cons));
		EXPECT_FALSE(udplane_ring_disarm(&p.cons));
		p.head.armed = nonsense;
		EXPECT_FALSE(udplane_ring_arm(&p.cons));
		EXPECT_TRUE(udplane_ring_is_armed(&p.cons));
	}
}

/* --- counters and sequence lock --- */

TEST(Words, StoreLoadCount)
{
	uint32_t flag = 7;
	uint64_t counter = UINT64_MAX - 1;

	EXPECT_EQ(udplane_load32(&flag), 7u);
	udplane_store32(&flag, UINT32_MAX);
	EXPECT_EQ(udplane_load32(&flag), UINT32_MAX);
	udplane_count(&counter, 3);
	EXPECT_EQ(udplane_load64(&counter), 1u);
	udplane_store64(&counter, 5);
	EXPECT_EQ(udplane_load64(&counter), 5u);
}

TEST(SequenceLock, TellsTornCopies)
{
	// Also through the wrap of the sequence number.
	for (uint32_t start : {0u, 2u, UINT32_MAX - 1}) {
		uint32_t seq = start, seen = udplane_seq_read(&seq);

		EXPECT_FALSE(udplane_seq_retry(&seq, seen)) << "nobody wrote";
		udplane_seq_begin(&seq);
		EXPECT_EQ(seq, start + 1);
		EXPECT_TRUE(udplane_seq_retry(&seq, seen)) << "began before the writer";
		seen = udplane_seq_read(&seq);
		EXPECT_TRUE(udplane_seq_retry(&seq, seen)) << "began while it wrote";
		udplane_seq_end(&seq);
		EXPECT_EQ(seq, start + 2);
		EXPECT_TRUE(udplane_seq_retry(&seq, seen)) << "began while it wrote, ended after";
		seen = udplane_seq_read(&seq);
		EXPECT_FALSE(udplane_seq_retry(&seq, seen));
	}
}

} // namespace
