// SPDX-License-Identifier: Apache-2.0
// RX rings of one client: the lowest free place first, and empty segments give their pages back.
extern "C" {
#include "sidecar/control/rings.h"
}

#include <gtest/gtest.h>

#include <sys/stat.h>

#include <vector>

namespace
{

struct Place {
	ring_place place;
	uint32_t cls;
};

struct Rings : testing::Test {
	void SetUp() override
	{
		b.max = b.small_max = b.huge_max = 64 << 20;
		channel.budget = &b;
		channel.owner = &owner;
		ASSERT_EQ(memzone_create(&channel, "test", 4096, MEMZONE_SMALL_ONLY, -1, &error), 0)
			<< error.text;
		rings_init(&pool, &channel, 4096, 1, 64);
	}
	void TearDown() override
	{
		rings_free(&pool);
		memzone_destroy(&channel);
		EXPECT_EQ(b.small, 0u);
		EXPECT_EQ(owner, 0u);
	}
	Place Get()
	{
		Place p;
		int fd;
		EXPECT_EQ(rings_get(&pool, MEMZONE_SMALL_ONLY, -1, &p.place, &p.cls, &fd, &error),
			  0)
			<< error.text;
		return p;
	}
	uint32_t *Word(const Place &p, size_t off)
	{
		return reinterpret_cast<uint32_t *>(rings_at(&pool, p.place, p.cls, 0).addr + off);
	}
	uint32_t *Prod(const Place &p)
	{
		return Word(p, offsetof(udplane_rx_ring, head.prod_idx));
	}
	uint32_t *Cons(const Place &p)
	{
		return Word(p, offsetof(udplane_rx_ring, head.cons_idx));
	}
	void Put(const Place &p)
	{
		rings_put(&pool, p.place, p.cls);
	}
	uint64_t Pages(uint32_t segment)
	{
		struct stat st;
		return fstat(pool.seg[segment]->fd, &st)
			       ? 0
			       : static_cast<uint64_t>(st.st_blocks) * 512;
	}
	void Seconds(int n)
	{
		while (n--)
			rings_shrink(&pool);
	}

	memory_budget b{};
	uint64_t owner = 0;
	memzone channel{};
	ring_pool pool{};
	struct error error = {};
};

TEST_F(Rings, OneSocketCostsNoTwoMiB)
{
	Get();
	EXPECT_EQ(owner, 4096u + (128 << 10));
}

TEST_F(Rings, TheLowestFreePlaceIsTakenFirst)
{
	std::vector<Place> all;
	for (int i = 0; i < 2000; i++)
		all.push_back(Get());
	ASSERT_GT(pool.seg_cnt, 4u);
	Put(all[1900]);
	Put(all[1000]);
	Put(all[50]);
	Place p = Get();
	EXPECT_EQ(p.place.segment, all[50].place.segment);
	EXPECT_EQ(p.place.off, all[50].place.off);
	p = Get();
	EXPECT_EQ(p.place.segment, all[1000].place.segment);
	EXPECT_EQ(p.place.off, all[1000].place.off);
}

TEST_F(Rings, EmptySegmentsGiveTheirPagesBackAndGetNewOnes)
{
	std::vector<Place> all;
	for (int i = 0; i < 2000; i++)
		all.push_back(Get());
	uint64_t peak = b.small;
	uint32_t last = pool.seg_cnt - 1;
	ASSERT_GT(Pages(last), 0u);
	while (all.size() > 1) {
		Put(all.back());
		all.pop_back();
	}
	rings_shrink(&pool);
	EXPECT_EQ(b.small, peak) << "not at once: the client reads its rings to the end";
	Seconds(3);
	EXPECT_EQ(b.small, 4096u + (128 << 10)) << "the segment that is in use stays";
	EXPECT_EQ(Pages(last), 0u);
	for (int i = 1; i < 2000; i++) {
		Place p = Get();
		ASSERT_EQ(*Prod(p), 0u);
		*Prod(p) = *Cons(p) = 77;
	}
	EXPECT_EQ(b.small, peak);
	EXPECT_EQ(pool.seg_cnt - 1, last) << "the same segments";
}

TEST_F(Rings, WhatTheClientHasNotReadYetStaysForHalfAMinute)
{
	Place p = Get();
	*Prod(p) = 5;
	Put(p);
	Seconds(10);
	EXPECT_GT(Pages(1), 0u);
	*Cons(p) = 5;
	Seconds(1);
	EXPECT_EQ(Pages(1), 0u);
	p = Get();
	*Prod(p) = 5;
	Put(p);
	Seconds(31);
	EXPECT_EQ(Pages(1), 0u);
}

TEST_F(Rings, WhatIsCutFromAnEmptySegmentHasPages)
{
	Put(Get()); // one of the large ones
	Seconds(3);
	ASSERT_EQ(Pages(1), 0u);
	pool.rings = CONTROL_BIG_RINGS; // the next is of the other size: no place is free
	Place p = Get();
	EXPECT_EQ(p.cls, 1u);
	EXPECT_EQ(p.place.segment, 1u);
	EXPECT_GT(Pages(1), 0u);
	EXPECT_EQ(owner, 4096u + (128 << 10));
}

TEST_F(Rings, WithoutRoomASegmentStaysEmptyAndTheRefusalSaysWhy)
{
	Place p = Get();
	int fd;
	Put(p);
	Seconds(3);
	b.max = 64 << 10;
	EXPECT_EQ(rings_get(&pool, MEMZONE_SMALL_ONLY, -1, &p.place, &p.cls, &fd, &error), -EDQUOT);
	EXPECT_NE(std::string(error.text).find("raise memory_max"), std::string::npos)
		<< error.text;
	b.max = 64 << 20;
	p = Get();
	EXPECT_EQ(p.place.segment, 1u);
}

/* A client counts the segments that it is told of: a claim that is refused after one was made must
 * not leave a gap. */
TEST_F(Rings, ASegmentThatNobodyWasToldOfIsUnmade)
{
	for (int i = 0; i < 3; i++) {
		const Place p = Get();

		EXPECT_EQ(p.place.segment, 1u);
		Put(p);
		rings_unmake_segment(&pool);
	}
	EXPECT_EQ(Get().place.segment, 1u);
	EXPECT_EQ(Get().place.segment, 1u); /* told of now */
}

TEST_F(Rings, TheSegmentBeforeTheOneThatIsUnmadeGoesOn)
{
	std::vector<Place> first = {Get()};

	while (pool.used + pool.cls[pool.rings < CONTROL_BIG_RINGS ? 0 : 1].len <= pool.seg[1]->len)
		first.push_back(Get());
	const uint32_t used = pool.used;
	const Place p = Get();

	EXPECT_EQ(p.place.segment, 2u);
	Put(first[20]); /* free places of other segments stay */
	Put(p);
	rings_unmake_segment(&pool);
	EXPECT_EQ(pool.used, used);
	EXPECT_EQ(Get().place.off, first[20].place.off);
	EXPECT_EQ(Get().place.segment, 2u);
}

/* The pages of 10 000 sockets in one go would keep other clients waiting. */
TEST_F(Rings, SegmentsAreFreedOneAtATime)
{
	while (pool.seg_cnt < 4)
		Get();
	for (uint32_t left = 3; left; left--) {
		const uint64_t had = owner;

		EXPECT_TRUE(rings_free_some(&pool));
		EXPECT_EQ(pool.seg_cnt, left);
		EXPECT_LT(owner, had);
	}
	EXPECT_FALSE(rings_free_some(&pool));
}

} // namespace
