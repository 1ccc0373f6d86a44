// SPDX-License-Identifier: Apache-2.0
#include "deploy/injector/guard.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

namespace
{

std::set<int> cut_fds;

int Cut(int fd, int)
{
	cut_fds.insert(fd);
	return 0;
}

constexpr uint64_t kSecond = 1000000000;

class Guard : public testing::Test
{
      protected:
	void SetUp() override
	{
		cut_fds.clear();
		Make({.connections = 8,
		      .per_address = 4,
		      .bytes = 1000,
		      .small = 0,
		      .first_s = 10,
		      .request_s = 30,
		      .idle_s = 90,
		      .cut = Cut});
	}
	void TearDown() override
	{
		guard_destroy(guard_);
	}
	void Make(const struct guard_limits &limits)
	{
		guard_destroy(guard_);
		guard_ = guard_create(&limits);
		ASSERT_TRUE(guard_);
	}
	/* Its descriptor is the number of those before it. */
	struct guard_connection *Open(const std::string &address, uint64_t now_s = 0)
	{
		struct sockaddr_in6 in6 = {};
		struct sockaddr_in in = {};
		const struct sockaddr *any = reinterpret_cast<struct sockaddr *>(&in);

		in.sin_family = AF_INET;
		in6.sin6_family = AF_INET6;
		if (inet_pton(AF_INET6, address.c_str(), &in6.sin6_addr) == 1)
			any = reinterpret_cast<struct sockaddr *>(&in6);
		else
			EXPECT_EQ(inet_pton(AF_INET, address.c_str(), &in.sin_addr), 1);
		return guard_open(guard_, next_fd_++, any, now_s * kSecond);
	}
	std::vector<struct guard_connection *> Open(const std::string &address, int count,
						    uint64_t now_s)
	{
		std::vector<struct guard_connection *> opened;

		while (count--)
			opened.push_back(Open(address, now_s));
		return opened;
	}
	struct guard *guard_ = nullptr;
	int next_fd_ = 0;
};

using Fds = std::set<int>;

TEST_F(Guard, AnAddressAboveItsShareLosesItsOldest)
{
	Open("10.0.0.1", 4, 1);
	EXPECT_EQ(cut_fds, Fds{});
	Open("10.0.0.1", 2);
	EXPECT_EQ(cut_fds, Fds{0});
	Open("10.0.0.2", 2);
	EXPECT_EQ(cut_fds, Fds{0});
}

TEST_F(Guard, WhoHasTheMostMakesRoom)
{
	Open("10.0.0.1", 1, 0);
	Open("10.0.0.2", 3, 1);
	Open("10.0.0.3", 4, 2);
	EXPECT_EQ(cut_fds, Fds{});
	Open("10.0.0.4", 3);
	EXPECT_EQ(cut_fds, Fds{4});
	EXPECT_EQ(guard_counts(guard_).evicted, 1u);
}

TEST_F(Guard, IdleOnesGoBeforeHandshakesAndThoseBeforeRequests)
{
	auto c = Open("10.0.0.1", 4, 1);

	guard_begin(guard_, c[0], kSecond);
	guard_begin(guard_, c[3], 2 * kSecond);
	guard_end(guard_, c[3], 3 * kSecond);
	Open("10.0.0.1", 4);
	EXPECT_EQ(cut_fds, Fds{3});
	Open("10.0.0.1", 5);
	EXPECT_EQ(cut_fds, (Fds{3, 1}));
	Open("10.0.0.1", 6);
	Open("10.0.0.1", 7);
	EXPECT_EQ(cut_fds, (Fds{3, 1, 2, 4}));
}

TEST_F(Guard, TheNewcomerStays)
{
	auto c = Open("10.0.0.1", 4, 1);

	for (auto *connection : c)
		guard_begin(guard_, connection, kSecond);
	Open("10.0.0.1", 1);
	EXPECT_EQ(cut_fds, Fds{0});
}

TEST_F(Guard, IPv4IsOneAddressInBothFamilies)
{
	Open("10.0.0.1", 2, 1);
	Open("::ffff:10.0.0.1", 2, 1);
	Open("2001:db8::1", 2, 1);
	EXPECT_EQ(cut_fds, Fds{});
	Open("10.0.0.1", 2);
	EXPECT_EQ(cut_fds.size(), 1u);
}

TEST_F(Guard, DeadlinesAreNotMoved)
{
	auto *first = Open("10.0.0.1", 100), *request = Open("10.0.0.2", 100),
	     *idle = Open("10.0.0.3", 100);

	guard_begin(guard_, request, 105 * kSecond);
	guard_begin(guard_, idle, 105 * kSecond);
	guard_end(guard_, idle, 106 * kSecond);
	guard_sweep(guard_, 110 * kSecond);
	EXPECT_EQ(cut_fds, Fds{});
	guard_sweep(guard_, 111 * kSecond);
	EXPECT_EQ(cut_fds, Fds{0});
	guard_sweep(guard_, 136 * kSecond);
	EXPECT_EQ(cut_fds, (Fds{0, 1}));
	guard_sweep(guard_, 197 * kSecond);
	EXPECT_EQ(cut_fds, (Fds{0, 1, 2}));
	EXPECT_EQ(guard_counts(guard_).expired, 3u);
	EXPECT_EQ(guard_counts(guard_).open, 3u);
	for (auto *connection : {first, request, idle})
		guard_close(guard_, connection);
	EXPECT_EQ(guard_counts(guard_).open, 0u);
}

TEST_F(Guard, ACutOneIsCutOnceAndCountsNoMore)
{
	auto c = Open("10.0.0.1", 5, 0);

	EXPECT_EQ(cut_fds, Fds{0});
	guard_begin(guard_, c[0], 0);
	guard_end(guard_, c[0], 0);
	guard_sweep(guard_, 1000 * kSecond);
	EXPECT_EQ(guard_counts(guard_).evicted, 1u);
	EXPECT_EQ(guard_counts(guard_).expired, 4u);
	cut_fds.clear();
	guard_sweep(guard_, 2000 * kSecond);
	EXPECT_EQ(cut_fds, Fds{});
}

TEST_F(Guard, TheLargestRequestOfTheHeaviestAddressMakesRoom)
{
	auto *small = Open("10.0.0.1"), *large = Open("10.0.0.2"), *other = Open("10.0.0.2"),
	     *more = Open("10.0.0.1");

	EXPECT_TRUE(guard_reserve(guard_, small, 300));
	EXPECT_TRUE(guard_reserve(guard_, large, 350));
	EXPECT_TRUE(guard_reserve(guard_, other, 250));
	EXPECT_TRUE(guard_reserve(guard_, more, 200));
	EXPECT_EQ(cut_fds, Fds{1});
	/* It still exists. */
	EXPECT_FALSE(guard_reserve(guard_, more, 300));
	guard_close(guard_, large);
	EXPECT_EQ(guard_counts(guard_).bytes, 550u);
	guard_end(guard_, small, 0);
	guard_end(guard_, other, 0);
	EXPECT_EQ(guard_counts(guard_).bytes, 0u);
}

TEST_F(Guard, SmallOnesGetInWhileTheVictimIsGoing)
{
	Make({.connections = 8,
	      .per_address = 8,
	      .bytes = 1000,
	      .small = 50,
	      .first_s = 1,
	      .request_s = 1,
	      .idle_s = 1,
	      .cut = Cut});
	auto *large = Open("10.0.0.2"), *next = Open("10.0.0.2"), *small = Open("10.0.0.1");

	EXPECT_TRUE(guard_reserve(guard_, large, 900));
	EXPECT_TRUE(guard_reserve(guard_, next, 340));
	EXPECT_EQ(cut_fds, Fds{0});
	EXPECT_TRUE(guard_reserve(guard_, small, 50));
	EXPECT_FALSE(guard_reserve(guard_, small, 1));
}

TEST_F(Guard, WhoIsTheLargestIsRefused)
{
	auto *one = Open("10.0.0.1"), *other = Open("10.0.0.2");

	EXPECT_TRUE(guard_reserve(guard_, other, 100));
	EXPECT_TRUE(guard_reserve(guard_, one, 600));
	EXPECT_FALSE(guard_reserve(guard_, one, 600));
	EXPECT_EQ(cut_fds, Fds{});
	EXPECT_EQ(guard_counts(guard_).bytes, 100u);
}

TEST_F(Guard, MoreThanItHasRoomForAreCut)
{
	for (int i = 0; i < 8 + GUARD_SPARE; i++)
		EXPECT_TRUE(Open("10.0.0." + std::to_string(i)));
	EXPECT_FALSE(Open("10.0.1.1"));
	EXPECT_TRUE(cut_fds.count(8 + GUARD_SPARE));
	guard_begin(guard_, nullptr, 0);
	guard_end(guard_, nullptr, 0);
	EXPECT_FALSE(guard_reserve(guard_, nullptr, 1));
	guard_close(guard_, nullptr);
}

} // namespace
