// SPDX-License-Identifier: Apache-2.0
// The key hash against std::map, and how long its probes become for keys in sequence (port ranges,
// subnets), for any secret.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <random>

#include "sidecar/port/key_hash.h"

namespace
{

using Key = std::array<uint32_t, KEY_HASH_WORDS_MAX>;

struct Hash {
	unsigned int words;
	std::array<uint64_t, KEY_HASH_SECRETS> secret;
	key_hash h = {};

	Hash(unsigned int w, unsigned int seed) : words(w)
	{
		std::mt19937_64 rng(seed);

		for (uint64_t &s : secret)
			s = rng();
	}
	~Hash()
	{
		key_hash_free(&h);
	}
	void Set(const Key &key, uint32_t value)
	{
		ASSERT_EQ(key_hash_reserve(&h, secret.data(), words), 0);
		key_hash_set(&h, secret.data(), key.data(), words, value);
	}
	uint32_t Find(const Key &key) const
	{
		return h.slot ? key_hash_find(&h, secret.data(), key.data(), words) : 0;
	}
	void Delete(const Key &key)
	{
		key_hash_delete(&h, secret.data(), key.data(), words);
	}
	const uint32_t *Slot(uint32_t i) const
	{
		return h.slot + size_t{i} * (words + 1);
	}
	// Slots looked at until the key in slot i is found.
	uint32_t Probes(uint32_t i) const
	{
		return ((i - key_hash_of(secret.data(), Slot(i), words)) & h.mask) + 1;
	}
};

void RandomHistory(unsigned int words, unsigned int seed, uint32_t keys)
{
	std::map<Key, uint32_t> model;
	std::mt19937 rng(seed);
	Hash hash(words, seed);

	for (uint32_t step = 0; step < keys * 8; step++) {
		Key key = {};
		// Grows in the first half, shrinks in the second.
		bool insert = rng() % 100 < (step < keys * 4 ? 70 : 30);

		key[rng() % words] = rng() % keys;
		if (insert) {
			model[key] = step + 1;
			hash.Set(key, step + 1);
		} else {
			model.erase(key);
			hash.Delete(key);
		}
		ASSERT_EQ(hash.h.cnt, model.size());
		ASSERT_EQ(hash.Find(key), insert ? step + 1 : 0);
		if (step % keys != 0)
			continue;
		for (auto &[k, v] : model)
			ASSERT_EQ(hash.Find(k), v);
	}
	for (auto &[k, v] : model) {
		ASSERT_EQ(hash.Find(k), v);
		hash.Delete(k);
		ASSERT_EQ(hash.Find(k), 0u);
	}
	ASSERT_EQ(hash.h.cnt, 0u);
	ASSERT_LE(hash.h.mask + 1, 64u) << "gave its memory back";
}

TEST(KeyHash, RandomHistories)
{
	for (unsigned int seed = 0; seed < 40; seed++)
		for (uint32_t keys : {5, 40, 1000}) {
			RandomHistory(KEY_HASH_WORDS_4, seed, keys);
			RandomHistory(KEY_HASH_WORDS_6, seed, keys);
		}
}

TEST(KeyHash, DeleteOfNothing)
{
	Hash hash(KEY_HASH_WORDS_4, 1);

	hash.Delete(Key{1});
	EXPECT_EQ(hash.Find(Key{1}), 0u);
	hash.Set(Key{1}, 1);
	hash.Delete(Key{2});
	EXPECT_EQ(hash.Find(Key{1}), 1u);
}

// After much change a table probes no longer than a new one: no tombstones.
TEST(KeyHash, ProbesStayShort)
{
	constexpr uint32_t kCnt = 4096; // half of the slots
	const char *pattern[] = {"ports", "peer ports", "peers of a subnet",
				 "peers of many subnets", "local addresses"};

	for (unsigned int words : {KEY_HASH_WORDS_4, KEY_HASH_WORDS_6})
		for (int p = 0; p < 5; p++)
			for (unsigned int seed = 0; seed < 200; seed++) {
				Hash hash(words, seed);
				uint32_t half = words / 2; // first word of the peer's address
				uint64_t sum = 0;
				uint32_t longest = 0;
				auto key = [&](uint32_t i) {
					Key k = {};

					k[0] = 0x0100000a;
					k[words - 1] = 0x5111;
					if (p == 0)
						k[words - 1] = __builtin_bswap16(i + 1);
					else if (p == 1)
						k[words - 1] |= uint32_t{__builtin_bswap16(i + 1)}
								<< 16;
					else if (p == 2)
						k[half + (words > 3) * 3] =
							__builtin_bswap32(0x0b000000 + i);
					else if (p == 3)
						k[half] = __builtin_bswap32(0x0b000000 + (i << 8));
					else
						k[0] = __builtin_bswap32(0x0a000000 + i);
					return k;
				};

				for (uint32_t i = 0; i < kCnt; i++)
					hash.Set(key(i), 1);
				for (uint32_t i = kCnt; i < 2 * kCnt; i++) {
					hash.Delete(key(i - kCnt));
					hash.Set(key(i), 1);
				}
				ASSERT_EQ(hash.h.mask + 1, 2 * kCnt);
				for (uint32_t i = 0; i <= hash.h.mask; i++)
					if (hash.Slot(i)[words]) {
						sum += hash.Probes(i);
						longest = std::max(longest, hash.Probes(i));
					}
				// 1.5 expected at half load.
				EXPECT_LT(1.0 * sum / kCnt, 1.65)
					<< pattern[p] << ", seed " << seed;
				EXPECT_LT(longest, 80u) << pattern[p] << ", seed " << seed;
			}
}

} // namespace
