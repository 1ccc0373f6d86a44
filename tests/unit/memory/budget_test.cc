// SPDX-License-Identifier: Apache-2.0
// The byte budget: where its limits come from, what it refuses, and that a session gets no more
// than its share.
#include "sidecar/memory/budget.h"

#include <errno.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

extern "C" {
#include "sidecar/memory/memzone.h"
}

namespace
{

constexpr uint64_t kMiB = 1 << 20;

struct Budget : testing::Test {
	void SetUp() override
	{
		char name[] = "/tmp/budget.XXXXXX";
		ASSERT_NE(mkdtemp(name), nullptr);
		dir = name;
	}
	void TearDown() override
	{
		std::filesystem::remove_all(dir);
	}

	void Write(const std::string &path, const std::string &text)
	{
		std::filesystem::create_directories(
			std::filesystem::path(dir + path).parent_path());
		std::ofstream(dir + path) << text << "\n";
	}
	void Init(uint64_t configured = 0)
	{
		budget_init(&b, configured, (dir + "/cgroup").c_str(), (dir + "/self").c_str());
	}
	int Take(uint64_t len, uint64_t *owner = nullptr)
	{
		return budget_take(&b, owner, len, false, &error);
	}

	std::string dir;
	memory_budget b{};
	struct error error = {};
};

TEST_F(Budget, VersionTwoTheLeastOnTheWayUpCounts)
{
	Write("/self", "0::/pod/sidecar");
	Write("/cgroup/pod/sidecar/memory.max", "max");
	Write("/cgroup/pod/memory.max", "536870912");
	Write("/cgroup/pod/hugetlb.2MB.max", "67108864");
	Init();
	EXPECT_EQ(b.small_max, 448 * kMiB) << "an eighth of 512 MiB is kept";
	EXPECT_EQ(b.huge_max, 64 * kMiB);
	EXPECT_EQ(b.max, UINT64_MAX);
}

TEST_F(Budget, InANamespaceOfItsOwnTheContainersCgroupIsTheRoot)
{
	Write("/self", "0::/");
	Write("/cgroup/memory.max", "134217728");
	Init();
	EXPECT_EQ(b.small_max, 104 * kMiB) << "24 MiB at least are kept";
}

TEST_F(Budget, VersionOneHasAHierarchyForEachController)
{
	Write("/self", "9:cpu,cpuacct:/x\n5:memory:/pod/sidecar\n4:hugetlb:/pod\n0::/other");
	Write("/cgroup/memory/memory.limit_in_bytes", "9223372036854771712");
	Write("/cgroup/memory/pod/memory.limit_in_bytes", "1073741824");
	Write("/cgroup/memory/pod/sidecar/memory.limit_in_bytes", "268435456");
	Write("/cgroup/hugetlb/pod/hugetlb.2MB.limit_in_bytes", "33554432");
	Init();
	EXPECT_EQ(b.small_max, (256 - 32) * kMiB);
	EXPECT_EQ(b.huge_max, 32 * kMiB);
}

TEST_F(Budget, ATinyLimitLeavesHalfOfItself)
{
	Write("/self", "0::/");
	Write("/cgroup/memory.max", "33554432");
	Init();
	EXPECT_EQ(b.small_max, 16 * kMiB);
}

TEST_F(Budget, WithoutALimitHalfOfTheMachine)
{
	Write("/self", "0::/");
	Init();
	EXPECT_GT(b.small_max, 64 * kMiB);
	EXPECT_LT(b.small_max, 1ull << 50);
	EXPECT_EQ(b.huge_max, UINT64_MAX);
}

TEST_F(Budget, WhatWouldBeTooMuchIsRefusedWithAllThatOneMustKnow)
{
	Write("/self", "0::/");
	Init(10 * kMiB);
	EXPECT_EQ(Take(8 * kMiB), 0);
	EXPECT_EQ(Take(4 * kMiB), -EDQUOT);
	EXPECT_STREQ(error.text,
		     "4096 KiB more would be too much: 8 of 10 MiB are used; raise memory_max");
	EXPECT_EQ(Take(2 * kMiB), 0);
	budget_give(&b, nullptr, 8 * kMiB, false);
	EXPECT_EQ(Take(4 * kMiB), 0);
	Write("/cgroup/memory.max", "134217728");
	Init();
	EXPECT_EQ(Take(105 * kMiB), -EDQUOT);
	EXPECT_STREQ(error.text,
		     "107520 KiB more would be too much: 0 of 104 MiB are used; raise the "
		     "container's memory limit, 128 MiB");
}

TEST_F(Budget, WhatBoundsHugepagesIsNamed)
{
	Write("/self", "0::/");
	Write("/cgroup/hugetlb.2MB.max", "4194304");
	Init();
	b.huge = 4 * kMiB;
	EXPECT_EQ(budget_take(&b, nullptr, 2 * kMiB, true, &error), -EDQUOT);
	EXPECT_STREQ(error.text,
		     "2048 KiB more would be too much: 4 of 4 MiB are used; the container's "
		     "hugepages-2Mi limit");
	b.huge_max = UINT64_MAX;
	EXPECT_EQ(budget_take(&b, nullptr, 1ull << 50, true, &error), -EDQUOT)
		<< "no machine has so many";
	EXPECT_NE(strstr(error.text, "; the machine has no more free hugepages"), nullptr)
		<< error.text;
}

TEST_F(Budget, ASessionGetsHalfOfWhatIsLeftAtMost)
{
	uint64_t first = 0, second = 0;
	int n = 0;

	Write("/self", "0::/");
	Init(100 * kMiB);
	while (Take(kMiB, &first) == 0)
		n++;
	EXPECT_EQ(n, 50);
	EXPECT_STREQ(error.text,
		     "this process has 50 MiB already, and may have half of what is left (50 "
		     "of 100 MiB are used; raise memory_max)");
	for (n = 0; Take(kMiB, &second) == 0;)
		n++;
	EXPECT_EQ(n, 25);
	uint64_t third = 0;
	EXPECT_EQ(Take(24 * kMiB, &third), 0) << "a newcomer's first is not measured by the half";
	budget_give(&b, &first, first, false);
	EXPECT_EQ(first, 0u);
	EXPECT_EQ(budget_left(&b, false), 51 * kMiB);
}

TEST_F(Budget, TheFirstFourMiBAreNotMeasuredByTheHalf)
{
	uint64_t owner = 0;

	Write("/self", "0::/");
	Init(5 * kMiB);
	EXPECT_EQ(Take(2 * kMiB, &owner), 0);
	EXPECT_EQ(Take(2 * kMiB, &owner), 0);
	EXPECT_EQ(Take(1, &owner), -EDQUOT);
	EXPECT_EQ(Take(kMiB), 0) << "nobody's";
}

TEST_F(Budget, AZoneCountsWhileItHasPages)
{
	uint64_t owner = 0;
	memzone z{};

	Write("/self", "0::/");
	Init(kMiB);
	z.budget = &b;
	z.owner = &owner;
	ASSERT_EQ(memzone_create(&z, "test", 300000, MEMZONE_SMALL_ONLY, -1, &error), 0)
		<< error.text;
	EXPECT_EQ(b.small, 303104u);
	EXPECT_EQ(owner, b.small);
	memset(z.addr, 7, z.len);
	memzone_empty(&z);
	memzone_empty(&z);
	EXPECT_EQ(b.small, 0u);
	uint64_t other = 0;
	ASSERT_EQ(Take(900000, &other), 0);
	EXPECT_EQ(memzone_fill(&z, &error), -EDQUOT) << "what it had is somebody else's now";
	budget_give(&b, &other, 900000, false);
	ASSERT_EQ(memzone_fill(&z, &error), 0) << error.text;
	EXPECT_EQ(static_cast<char *>(z.addr)[1000], 0);
	EXPECT_EQ(b.small, 303104u);
	memzone_destroy(&z);
	EXPECT_EQ(b.small, 0u);
	memzone big{};
	big.budget = &b;
	EXPECT_EQ(memzone_create(&big, "test", 2 * kMiB, MEMZONE_SMALL_ONLY, -1, &error), -EDQUOT);
	EXPECT_EQ(big.addr, nullptr);
}

} // namespace
