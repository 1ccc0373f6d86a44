// SPDX-License-Identifier: Apache-2.0
// Groups from inside: after every change each bucket belongs to one member, and no member has over one more than another.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <random>
#include <set>
#include <vector>

#include "sidecar/port/share.h"

namespace {

const uint64_t kSecret[KEY_HASH_SECRETS] = { 0x9e3779b97f4a7c15, 0xbf58476d1ce4e5b9, 0x94d049bb133111eb, 0xd6e8feb86659fd93,
					     0xa0761d6478bd642f, 0xe7037ed1a0b428db, 0x8ebc6af09c88c6e3, 0x589965cc75374cc3 };

class Groups {
public:
	Groups()
	{
		share_set_init(&set, kSecret);
	}
	~Groups()
	{
		share_set_free(&set);
	}
	share_set set;
};

void Check(const share_set &set, uint32_t group, const std::set<uint32_t> &members)
{
	const share &s = set.share[group];
	std::vector<bool> seen(s.bucket_cnt);
	uint32_t total = 0, q = s.bucket_cnt / members.size();

	ASSERT_EQ(s.member_cnt, members.size());
	ASSERT_GE(s.bucket_cnt, (s.member_cnt <= 1024 ? 32 : 4) * s.member_cnt);
	ASSERT_EQ(s.heavy, s.bucket_cnt % s.member_cnt);
	for (uint32_t m = 0; m < s.member_cnt; m++) {
		uint32_t cnt = 0;

		ASSERT_TRUE(members.count(s.member[m].sock));
		for (uint32_t b = s.member[m].first; b != UINT32_MAX; b = s.next[b]) {
			ASSERT_LT(b, s.bucket_cnt);
			ASSERT_FALSE(seen[b]);
			seen[b] = true;
			ASSERT_EQ(s.bucket[b], s.member[m].sock);
			cnt++;
		}
		ASSERT_EQ(cnt, q + (m < s.heavy));
		total += cnt;
	}
	ASSERT_EQ(total, s.bucket_cnt);
}

TEST(Share, RandomHistories)
{
	for (unsigned int seed = 0; seed < 100; seed++) {
		std::mt19937 rng(seed);
		std::set<uint32_t> members = { 1000 };
		Groups g;
		uint32_t group, limit = 2 + seed;

		ASSERT_EQ(share_create(&g.set, 1000, &group), 0);
		for (int step = 0; step < 300; step++) {
			uint32_t sock = rng() % limit;

			if (!members.count(sock)) {
				ASSERT_EQ(share_remove(&g.set, group, sock), -ENOENT);
				ASSERT_EQ(share_add(&g.set, group, sock), 0);
				members.insert(sock);
			} else if (members.size() > 1) {
				ASSERT_EQ(share_add(&g.set, group, sock), -EEXIST);
				ASSERT_EQ(share_remove(&g.set, group, sock), 0);
				members.erase(sock);
			}
			ASSERT_NO_FATAL_FAILURE(Check(g.set, group, members)) << "seed " << seed << " step " << step;
		}
	}
}

// Up through every size and down again, first in and last in first out.
TEST(Share, EverySize)
{
	for (bool first : { false, true }) {
		std::set<uint32_t> members = { 0 };
		Groups g;
		uint32_t group;

		ASSERT_EQ(share_create(&g.set, 0, &group), 0);
		for (uint32_t sock = 1; sock < 300; sock++) {
			ASSERT_EQ(share_add(&g.set, group, sock), 0);
			members.insert(sock);
			ASSERT_NO_FATAL_FAILURE(Check(g.set, group, members));
		}
		while (members.size() > 1) {
			uint32_t sock = first ? *members.begin() : *members.rbegin();

			ASSERT_EQ(share_remove(&g.set, group, sock), 0);
			members.erase(sock);
			ASSERT_NO_FATAL_FAILURE(Check(g.set, group, members));
		}
	}
}

TEST(Share, NumbersAreUsedAgain)
{
	std::set<uint32_t> numbers;
	uint32_t group[100], again;
	Groups g;

	for (uint32_t i = 0; i < 100; i++) {
		ASSERT_EQ(share_create(&g.set, i, &group[i]), 0);
		ASSERT_EQ(share_add(&g.set, group[i], 1000), 0);
		numbers.insert(group[i]);
	}
	EXPECT_EQ(numbers.size(), 100u);
	for (uint32_t i = 0; i < 100; i += 3)
		share_destroy(&g.set, group[i]);
	for (uint32_t i = 0; i < 100; i += 3) {
		ASSERT_EQ(share_create(&g.set, i, &again), 0);
		EXPECT_LT(again, 100u);
		ASSERT_EQ(share_add(&g.set, again, 1000), 0) << "its members had gone with it";
	}
	ASSERT_EQ(share_create(&g.set, 5, &again), 0);
	EXPECT_EQ(again, 100u);
	for (uint32_t i = 1; i < 100; i += 3)
		ASSERT_NO_FATAL_FAILURE(Check(g.set, group[i], { i, 1000 }));
}

// Ten thousand sockets on one port: the last to leave has all buckets to give away, and that must be soon done.
TEST(Share, ALargeGroupStaysSmall)
{
	Groups g;
	std::set<uint32_t> members = { 0 };
	uint32_t group;

	ASSERT_EQ(share_create(&g.set, 0, &group), 0);
	for (uint32_t sock = 1; sock < 10000; sock++) {
		ASSERT_EQ(share_add(&g.set, group, sock), 0);
		members.insert(sock);
		if (sock % 1000 == 0 || sock == 1024)
			Check(g.set, group, members);
	}
	EXPECT_EQ(g.set.share[group].bucket_cnt, 65536u);
	while (members.size() > 1) {
		ASSERT_EQ(share_remove(&g.set, group, *members.begin()), 0);
		members.erase(members.begin());
		if (members.size() % 1000 == 1)
			Check(g.set, group, members);
	}
}

// The bucket is hash * cnt / 2^32: flows with the same upper bits stay together, the extremes are in range.
TEST(Share, PicksByTheUpperBits)
{
	Groups g;
	uint32_t group;

	ASSERT_EQ(share_create(&g.set, 1, &group), 0);
	ASSERT_EQ(share_add(&g.set, group, 2), 0);
	ASSERT_EQ(g.set.share[group].bucket_cnt, 64u);
	for (uint32_t b = 0; b < 64; b++) {
		EXPECT_EQ(share_pick(&g.set, group, b << 26), g.set.share[group].bucket[b]);
		EXPECT_EQ(share_pick(&g.set, group, (b << 26) + 0x3ffffff), g.set.share[group].bucket[b]);
	}
}

} // namespace
