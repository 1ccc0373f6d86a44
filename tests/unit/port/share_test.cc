// SPDX-License-Identifier: Apache-2.0
// Groups from inside: members stand as Linux's sock_reuseport would have them, and share flows
// evenly.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <random>
#include <set>
#include <vector>

#include "sidecar/port/share.h"

namespace
{

class Share : public testing::Test
{
      protected:
	void SetUp() override
	{
		share_set_init(&set);
	}
	void TearDown() override
	{
		share_set_free(&set);
	}

	std::vector<uint32_t> Members(uint32_t group) const
	{
		const share &s = set.share[group];

		return {s.member, s.member + s.member_cnt};
	}

	share_set set;
};

// The caller knows whom Linux would choose. A socket that several processes have is several
// members.
TEST_F(Share, AMemberIsFoundByItsCookie)
{
	const uint64_t cookies[] = {11, 12, 13, 13, 99};
	uint32_t group;

	ASSERT_EQ(share_create(&set, 0, &group), 0);
	for (uint32_t sock = 1; sock < 4; sock++)
		ASSERT_EQ(share_add(&set, group, sock), 0);
	for (uint64_t hash = 0; hash <= UINT32_MAX; hash += UINT32_MAX / 16) {
		EXPECT_EQ(share_pick_named(&set, group, hash, 11, cookies), 0u);
		EXPECT_EQ(share_pick_named(&set, group, hash, 12, cookies), 1u);
		EXPECT_EQ(share_pick_named(&set, group, hash, 13, cookies),
			  hash >> 30 == 3 ? 3u : 2u);
		EXPECT_EQ(share_pick_named(&set, group, hash, 99, cookies),
			  share_pick(&set, group, hash))
			<< "it is no member";
	}
	share_destroy(&set, group);
}

// reuseport_add_sock() appends; __reuseport_detach_sock() moves the last member into the gap.
TEST_F(Share, RandomHistoriesAreAsInLinux)
{
	for (unsigned int seed = 0; seed < 100; seed++) {
		std::mt19937 rng(seed);
		std::vector<uint32_t> model = {1000};
		uint32_t group, limit = 2 + seed;

		ASSERT_EQ(share_create(&set, 1000, &group), 0);
		for (int step = 0; step < 300; step++) {
			uint32_t sock = rng() % limit;
			auto at = std::find(model.begin(), model.end(), sock);

			if (at == model.end()) {
				ASSERT_EQ(share_remove(&set, group, sock), -ENOENT);
				ASSERT_EQ(share_add(&set, group, sock), 0);
				model.push_back(sock);
			} else if (model.size() > 1) {
				ASSERT_EQ(share_add(&set, group, sock), -EEXIST);
				ASSERT_EQ(share_remove(&set, group, sock), 0);
				*at = model.back();
				model.pop_back();
			}
			ASSERT_EQ(Members(group), model) << "seed " << seed << " step " << step;
		}
		share_destroy(&set, group);
	}
}

TEST_F(Share, AFlowsMemberIsReciprocalScale)
{
	uint32_t group;

	ASSERT_EQ(share_create(&set, 10, &group), 0);
	ASSERT_EQ(share_add(&set, group, 11), 0);
	ASSERT_EQ(share_add(&set, group, 12), 0);
	EXPECT_EQ(share_pick(&set, group, 0), 10u);
	EXPECT_EQ(share_pick(&set, group, 0x55555555), 10u);
	EXPECT_EQ(share_pick(&set, group, 0x55555556), 11u);
	EXPECT_EQ(share_pick(&set, group, 0xaaaaaaaa), 11u);
	EXPECT_EQ(share_pick(&set, group, 0xaaaaaaab), 12u);
	EXPECT_EQ(share_pick(&set, group, 0xffffffff), 12u);
}

TEST_F(Share, SharesAreEqual)
{
	std::mt19937 rng(1);
	std::vector<uint32_t> cnt(7);
	uint32_t group;

	ASSERT_EQ(share_create(&set, 0, &group), 0);
	for (uint32_t sock = 1; sock < 7; sock++)
		ASSERT_EQ(share_add(&set, group, sock), 0);
	for (int i = 0; i < 70000; i++)
		cnt[share_pick(&set, group, rng())]++;
	for (uint32_t n : cnt)
		EXPECT_NEAR(n, 10000, 500);
}

TEST_F(Share, NumbersAreUsedAgain)
{
	std::set<uint32_t> numbers;
	uint32_t group[100], again;

	for (uint32_t i = 0; i < 100; i++) {
		ASSERT_EQ(share_create(&set, i, &group[i]), 0);
		numbers.insert(group[i]);
	}
	EXPECT_EQ(numbers.size(), 100u);
	EXPECT_EQ(set.live, 100u);
	for (uint32_t i = 0; i < 100; i += 3)
		share_destroy(&set, group[i]);
	for (uint32_t i = 0; i < 100; i += 3) {
		ASSERT_EQ(share_create(&set, 500 + i, &again), 0);
		EXPECT_TRUE(numbers.count(again)) << again;
		EXPECT_EQ(Members(again), std::vector<uint32_t>{500 + i});
	}
	EXPECT_EQ(set.live, 100u);
	for (uint32_t i = 1; i < 100; i += 3)
		EXPECT_EQ(Members(group[i]), std::vector<uint32_t>{i});
}

} // namespace
