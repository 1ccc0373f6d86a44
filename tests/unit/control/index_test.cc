// SPDX-License-Identifier: Apache-2.0
// What a claimed socket must know of the others: which are the same, which are rivals; compared
// with a walk over all of them.
#include "sidecar/control/index.h"

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <cstring>
#include <deque>
#include <random>
#include <set>
#include <vector>

namespace
{

struct Index : testing::Test {
	void SetUp() override
	{
		ASSERT_EQ(index_init(&x, 100), 0);
	}
	void TearDown() override
	{
		for (auto &i : items)
			index_remove(&i);
		index_free(&x);
	}

	index_item *Add(uint64_t cookie, bool reuseport, uint16_t port, uint16_t peer_port = 0)
	{
		items.emplace_back();
		index_item *i = &items.back();
		memset(i, 0, sizeof(*i));
		i->key.local.family = AF_INET;
		i->key.local.addr[0] = 10;
		i->key.local.port_be = htons(port);
		if (peer_port) {
			i->key.peer.family = AF_INET;
			i->key.peer.addr[0] = 11;
			i->key.peer.port_be = htons(peer_port);
		}
		i->cookie = cookie;
		i->reuseport = reuseport;
		EXPECT_EQ(index_insert(&x, i), 0);
		return i;
	}

	sock_index x{};
	std::deque<index_item> items;
};

TEST_F(Index, FindsAllClaimsOfOneKernelSocket)
{
	auto *a = Add(7, false, 5060), *b = Add(7, false, 5060);
	Add(8, false, 5060);
	std::set<index_item *> got;
	for (auto *i = index_cookie(&x, 7); i; i = index_cookie_next(i))
		got.insert(i);
	EXPECT_EQ(got, (std::set<index_item *>{a, b}));
	EXPECT_EQ(index_cookie(&x, 9), nullptr);
	index_remove(a);
	EXPECT_EQ(index_cookie(&x, 7), b);
	index_remove(b);
	EXPECT_EQ(index_cookie(&x, 7), nullptr);
	index_remove(b); // once more: nothing
}

TEST_F(Index, TwoKernelSocketsUnderOneKeyAreRivalsUnlessBothAreReuseport)
{
	auto *a = Add(1, true, 5060), *b = Add(2, true, 5060);
	EXPECT_EQ(index_rival(a), nullptr);
	EXPECT_FALSE(index_contested(a->group));
	auto *c = Add(3, false, 5060);
	EXPECT_EQ(index_rival(a), c);
	EXPECT_EQ(index_rival(b), c);
	EXPECT_NE(index_rival(c), nullptr);
	EXPECT_TRUE(index_contested(a->group));
	index_remove(c);
	EXPECT_EQ(index_rival(a), nullptr);
	EXPECT_FALSE(index_contested(a->group));
}

TEST_F(Index, OneKernelSocketOfTwoProcessesIsNoRivalToItself)
{
	auto *a = Add(1, false, 5060);
	Add(1, false, 5060);
	EXPECT_EQ(index_rival(a), nullptr);
	EXPECT_FALSE(index_contested(a->group));
}

TEST_F(Index, AnotherPeerIsAnotherKey)
{
	auto *listener = Add(1, false, 5060), *a = Add(2, false, 5060, 1000),
	     *b = Add(3, false, 5060, 1001);
	EXPECT_EQ(index_rival(listener), nullptr);
	EXPECT_EQ(index_rival(a), nullptr);
	EXPECT_EQ(index_find(&x, &b->key), b->group);
	index_port *p = &x.port[htons(5060)];
	EXPECT_EQ(LIST_FIRST(&p->unconnected), listener);
	EXPECT_EQ(LIST_NEXT(listener, by_port), nullptr);
	EXPECT_NE(LIST_FIRST(&p->connected), nullptr);
	index_remove(b);
	EXPECT_EQ(index_find(&x, &b->key), nullptr);
}

// A newcomer sees the rivals that it has, they do not see it yet.
TEST_F(Index, AFreshSocketIsNoRivalYet)
{
	auto *listener = Add(1, false, 5060), *newcomer = Add(2, false, 5060);
	newcomer->fresh = true;
	EXPECT_EQ(index_rival(listener), nullptr);
	EXPECT_EQ(index_rival(newcomer), listener);
	EXPECT_TRUE(index_contested(listener->group));
	newcomer->fresh = false;
	EXPECT_EQ(index_rival(listener), newcomer);
}

TEST_F(Index, AgreesWithAWalkOverAll)
{
	std::mt19937 rng(1);
	std::vector<index_item *> in;
	for (int round = 0; round < 3000; round++) {
		if (in.size() < 60 && rng() % 2) {
			in.push_back(Add(1 + rng() % 12, rng() % 2,
					 static_cast<uint16_t>(1 + rng() % 3),
					 static_cast<uint16_t>(rng() % 3)));
		} else if (!in.empty()) {
			size_t n = rng() % in.size();
			index_remove(in[n]);
			in.erase(in.begin() + static_cast<long>(n));
		}
		for (auto *i : in) {
			bool rival = false, contested = false;
			for (auto *o : in) {
				bool same = !memcmp(&o->key, &i->key, sizeof(o->key));
				rival |= same && o->cookie != i->cookie &&
					 !(o->reuseport && i->reuseport);
				for (auto *p : in)
					contested |= same &&
						     !memcmp(&p->key, &i->key, sizeof(p->key)) &&
						     o->cookie != p->cookie &&
						     !(o->reuseport && p->reuseport);
			}
			ASSERT_EQ(index_rival(i) != nullptr, rival);
			if (round % 50 == 0) {
				ASSERT_EQ(index_contested(i->group), contested);
			}
		}
	}
}

} // namespace
