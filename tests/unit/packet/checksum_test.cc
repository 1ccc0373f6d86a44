// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <random>
#include <thread>

#include "sidecar/packet/checksum_internal.h"
#include "sidecar/packet/packet.h"
#include "tests/unit/packet/frames.h"

namespace
{

constexpr size_t kMax = 2100;

// Each variant that this CPU can run, in the shape of the public functions. Below
// CHECKSUM_SHORT_MAX all share the short ones.
struct Variant {
	const char *name;
	uint64_t (*sum)(const uint8_t *, size_t);
	uint64_t (*copy)(uint8_t *, const uint8_t *, size_t);
	bool usable;

	uint16_t Sum(const uint8_t *p, size_t n, uint32_t start) const
	{
		if (sum == nullptr)
			return checksum_fold(checksum_partial(p, n, start));
		return checksum_fold(checksum_fold64(
			(n < CHECKSUM_SHORT_MAX ? checksum_short : sum)(p, n) + start));
	}
	uint16_t Copy(uint8_t *d, const uint8_t *p, size_t n, uint32_t start) const
	{
		if (copy == nullptr)
			return checksum_fold(checksum_copy(d, p, n, start));
		return checksum_fold(checksum_fold64(
			(n < CHECKSUM_SHORT_MAX ? checksum_short_copy : copy)(d, p, n) + start));
	}
};

class Checksum : public testing::TestWithParam<Variant>
{
	void SetUp() override
	{
		if (!GetParam().usable)
			GTEST_SKIP() << "this CPU lacks " << GetParam().name;
	}
};

// The naive sum in the byte order that the code's opaque sums have.
uint16_t Expected(const uint8_t *p, size_t n, uint32_t start)
{
	return Swap(NaiveSum(p, n, Swap(checksum_fold(start))));
}

TEST_P(Checksum, Rfc1071Example)
{
	const uint8_t data[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};

	EXPECT_EQ(0xddf2, Swap(GetParam().Sum(data, sizeof(data), 0)));
}

TEST_P(Checksum, EmptyIsTheStartValue)
{
	uint8_t byte = 0xaa;

	EXPECT_EQ(0, GetParam().Sum(&byte, 0, 0));
	EXPECT_EQ(0x1234, GetParam().Sum(&byte, 0, 0x1234));
	EXPECT_EQ(0x1234, GetParam().Copy(&byte, &byte, 0, 0x1234));
	EXPECT_EQ(0xaa, byte);
}

TEST_P(Checksum, EveryLengthBetweenFences)
{
	const Bytes data = Payload(kMax);
	Fenced src(kMax), dst(kMax);

	for (size_t n = 0; n <= kMax; n++) {
		const uint32_t start = static_cast<uint32_t>(n * 0x9e3779b1u);

		for (bool at_end : {false, true}) {
			uint8_t *s = at_end ? src.AtEnd(n) : src.Begin();
			uint8_t *d = at_end ? dst.AtEnd(n) : dst.Begin();

			memcpy(s, data.data(), n);
			memset(d, 0, n);
			ASSERT_EQ(Expected(s, n, start), GetParam().Sum(s, n, start)) << n;
			ASSERT_EQ(Expected(s, n, start), GetParam().Copy(d, s, n, start)) << n;
			ASSERT_EQ(0, memcmp(d, s, n)) << n;
		}
	}
}

TEST_P(Checksum, RandomLengthsAndAlignments)
{
	std::mt19937 random(20);
	const Bytes data = Payload(kMax + 64, 7);
	Bytes dst(kMax + 128);

	for (int i = 0; i < 20000; i++) {
		const size_t n = random() % (i % 2 ? 80 : kMax), from = random() % 64,
			     to = 1 + random() % 63;
		const uint32_t start = static_cast<uint32_t>(random());

		memset(dst.data(), 0x5a, dst.size());
		ASSERT_EQ(Expected(&data[from], n, start), GetParam().Sum(&data[from], n, start))
			<< n << " at " << from;
		ASSERT_EQ(Expected(&data[from], n, start),
			  GetParam().Copy(&dst[to], &data[from], n, start))
			<< n << " at " << from;
		ASSERT_EQ(0, memcmp(&dst[to], &data[from], n));
		ASSERT_EQ(0x5a, dst[to - 1]);
		ASSERT_EQ(0x5a, dst[to + n]);
	}
}

// All ones make every carry there is; 0xffff and not 0 is the sum of anything that is not all zero.
TEST_P(Checksum, Carries)
{
	for (size_t n = 2; n <= 65535; n += n < kMax ? 2 : 1022) {
		const Bytes ones(n, 0xff), zeros(n, 0);

		ASSERT_EQ(0xffff, GetParam().Sum(ones.data(), n, 0)) << n;
		ASSERT_EQ(0xffff, GetParam().Sum(ones.data(), n, 0xffffffff)) << n;
		ASSERT_EQ(0, GetParam().Sum(zeros.data(), n, 0)) << n;
		ASSERT_EQ(0xffff, GetParam().Sum(zeros.data(), n, 0xffffffff)) << n;
	}
}

TEST_P(Checksum, SumsChain)
{
	const Bytes data = Payload(1500, 3);

	for (size_t cut = 0; cut <= data.size(); cut += 2) {
		const uint32_t first = checksum_partial(data.data(), cut, 0);

		ASSERT_EQ(Expected(data.data(), data.size(), 0),
			  GetParam().Sum(&data[cut], data.size() - cut, first))
			<< cut;
	}
}

// A client may write its payload while the worker copies it. The frame then holds some mixture, and
// the sum must be that mixture's.
TEST_P(Checksum, CopyOfChangingSourceSumsWhatItWrote)
{
	static volatile uint8_t src[256];
	std::atomic<bool> stop{false};
	uint64_t torn = 0;
	std::thread writer([&stop] {
		for (uint8_t value = 0; !stop.load(std::memory_order_relaxed); value++)
			for (auto &b : src)
				b = value;
	});
	const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(300);

	while (std::chrono::steady_clock::now() < deadline && !HasFailure()) {
		for (size_t n = 1; n <= sizeof(src); n++) {
			uint8_t dst[sizeof(src)];
			const uint16_t sum =
				GetParam().Copy(dst, const_cast<const uint8_t *>(src), n, 0);

			EXPECT_EQ(Expected(dst, n, 0), sum) << n;
			torn += dst[0] != dst[n - 1];
		}
	}
	stop.store(true);
	writer.join();
	RecordProperty("torn", static_cast<int>(torn));
}

INSTANTIATE_TEST_SUITE_P(
	Variants, Checksum,
	testing::Values(Variant{"public", nullptr, nullptr, true},
			Variant{"baseline", checksum_long_baseline, checksum_long_copy_baseline,
				true}
#ifdef __x86_64__
			,
			Variant{"avx2", checksum_long_avx2, checksum_long_copy_avx2,
				__builtin_cpu_supports("avx2") != 0}
#endif
			),
	[](const testing::TestParamInfo<Variant> &info) { return info.param.name; });

TEST(ChecksumFold, Carries)
{
	EXPECT_EQ(0, checksum_fold(0));
	EXPECT_EQ(0xffff, checksum_fold(0xffff));
	EXPECT_EQ(1, checksum_fold(0x10000));
	EXPECT_EQ(0xffff, checksum_fold(0xffffffff));
	EXPECT_EQ(1, checksum_fold(0xffff0001)); // 0xffff + 1 carries around
	EXPECT_EQ(2, checksum_fold(0xffff0002));
}

TEST(ChecksumFold, From64Bits)
{
	EXPECT_EQ(0u, checksum_fold64(0));
	EXPECT_EQ(0xffffffffu, checksum_fold64(0xffffffffffffffff));
	EXPECT_EQ(1u, checksum_fold64(0xffffffff00000001));
	EXPECT_EQ(0xffffffffu, checksum_fold64(0xfffffffe00000001));
}

} // namespace
