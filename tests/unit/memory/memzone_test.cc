// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <string>

extern "C" {
#include "sidecar/memory/guard.h"
#include "sidecar/memory/memzone.h"
}

namespace
{

TEST(Memzone, OrdinaryPagesAreSealedAgainstResizing)
{
	memzone z{};
	struct error error = {};
	ASSERT_EQ(memzone_create(&z, "test", 5000, MEMZONE_SMALL_ONLY, -1, &error), 0)
		<< error.text;
	EXPECT_EQ(z.len, 8192u);
	EXPECT_EQ(error.text[0], 0);
	EXPECT_NE(ftruncate(z.fd, 4096), 0);
	EXPECT_NE(ftruncate(z.fd, 65536), 0);
	memset(z.addr, 1, z.len);
	memzone_destroy(&z);
	EXPECT_EQ(z.addr, nullptr);
	memzone_destroy(&z); // twice is harmless
}

TEST(Memzone, AReadOnlyZoneIsReadOnlyForEverybodyElse)
{
	memzone z{};
	struct error error = {};
	ASSERT_EQ(memzone_create(&z, "test", 4096, MEMZONE_SMALL_ONLY, -1, &error), 0)
		<< error.text;
	ASSERT_EQ(memzone_seal_readonly(&z), 0);
	EXPECT_EQ(mmap(nullptr, z.len, PROT_READ | PROT_WRITE, MAP_SHARED, z.fd, 0), MAP_FAILED);
	std::string path = "/proc/self/fd/" + std::to_string(z.fd);
	int again = open(path.c_str(), O_RDWR); // root reopens it: still sealed
	ASSERT_GE(again, 0);
	EXPECT_EQ(mmap(nullptr, z.len, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0), MAP_FAILED);
	EXPECT_LT(write(again, "x", 1), 0);
	void *ro = mmap(nullptr, z.len, PROT_READ, MAP_SHARED, z.fd, 0);
	ASSERT_NE(ro, MAP_FAILED);
	EXPECT_NE(mprotect(ro, z.len, PROT_READ | PROT_WRITE), 0);
	*(char *)z.addr = 42; // our own mapping still writes
	EXPECT_EQ(*(volatile char *)ro, 42);
	munmap(ro, z.len);
	close(again);
	memzone_destroy(&z);
}

// A file that shrinks under its mapping raises SIGBUS at the next access, as a punched hole does
// when no page is left.
TEST(Guard, AnAccessBeyondWhatIsLeftReadsZeros)
{
	ASSERT_EQ(guard_install(), 0);
	int fd = memfd_create("guard", 0);
	ASSERT_EQ(ftruncate(fd, 8192), 0);
	char *p = (char *)mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(p, MAP_FAILED);
	memset(p, 7, 8192);
	ASSERT_EQ(guard_add(p, 8192, 4096), 0);
	ASSERT_EQ(ftruncate(fd, 4096), 0);
	EXPECT_EQ(*(volatile char *)(p + 5000), 0);
	*(volatile char *)(p + 5000) = 1;
	EXPECT_EQ(*(volatile char *)(p + 100), 7);
	EXPECT_EQ(guard_hits(), 1u);
	guard_remove(p);
	munmap(p, 8192);
	close(fd);
}

TEST(GuardDeathTest, AnotherBusErrorEndsTheProcessAsItShould)
{
	ASSERT_EQ(guard_install(), 0);
	int fd = memfd_create("guard", 0);
	char *p = (char *)mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			       0); // of nothing
	ASSERT_NE(p, MAP_FAILED);
	EXPECT_EXIT(*(volatile char *)p = 1, testing::KilledBySignal(SIGBUS), "");
	munmap(p, 4096);
	close(fd);
}

// More hugepages than any machine has: auto falls back and says why, required fails and says why.
TEST(Memzone, WithoutHugepagesItSaysSo)
{
	memzone z{};
	struct error error = {};
	EXPECT_NE(memzone_create(&z, "big", 1ull << 45, MEMZONE_HUGE_ONLY, -1, &error), 0);
	EXPECT_NE(std::string(error.text).find("vm.nr_hugepages"), std::string::npos) << error.text;
	EXPECT_EQ(z.addr, nullptr);
}

} // namespace
