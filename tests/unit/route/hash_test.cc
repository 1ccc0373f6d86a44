// SPDX-License-Identifier: Apache-2.0
// Addresses that a neighbour chooses must not meet in one slot of route_map.
#include <gtest/gtest.h>

#include <random>
#include <set>
#include <vector>

extern "C" {
#include "sidecar/route/route_table.h"
}

namespace
{

using Key = struct route_key;

constexpr uint32_t kSlots = 8192;
constexpr uint32_t kKeys = kSlots / 2;
/* Throwing as many keys at random, 39 % of the slots are hit: 3224. */
constexpr size_t kDistinct = 2900;

size_t Distinct(const route_secret &secret, const std::vector<Key> &keys)
{
	const route_map m = {nullptr, &secret, kSlots - 1, 0};
	std::set<uint32_t> seen;

	for (const Key &k : keys)
		seen.insert(route_map_hash(&m, k, 128) & m.mask);
	return seen.size();
}

template <class F> void EverySecretSpreads(const char *what, F key)
{
	std::mt19937_64 random(1);
	std::vector<Key> keys;

	for (uint32_t i = 0; i < kKeys; i++)
		keys.push_back(key(i));
	for (int i = 0; i < 200; i++) {
		const route_secret secret = {{random(), random(), random(), random()}};

		ASSERT_GT(Distinct(secret, keys), kDistinct) << what << ", secret " << i;
	}
}

/* The factor that wyhash's constant made 0, for any other factor. */
TEST(RouteHash, AddressesThatMadeAFactorZero)
{
	constexpr uint64_t kZero = 0xa0761d6478bd642full ^ 128;

	EverySecretSpreads("upper halves", [](uint64_t i) { return Key{i << 40, kZero}; });
	EverySecretSpreads("random upper halves", [](uint64_t i) {
		return Key{i * 0x9e3779b97f4a7c15ull, kZero};
	});
}

TEST(RouteHash, AddressesInARow)
{
	EverySecretSpreads("lower halves", [](uint64_t i) { return Key{0xfe80ull << 48, i}; });
	EverySecretSpreads("IPv4", [](uint64_t i) { return Key{(0x0a000000 + i) << 32, 0}; });
	EverySecretSpreads("subnets", [](uint64_t i) {
		return Key{0x20010db8ull << 32 | i << 16, 0};
	});
	EverySecretSpreads("the other half's complement", [](uint64_t i) { return Key{i, ~i}; });
	EverySecretSpreads("one bit", [](uint64_t i) { return Key{i << 8, 1ull << (i % 64)}; });
}

} // namespace
