// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <string>

extern "C" {
#include "sidecar/memory/memzone.h"
}

namespace {

TEST(Memzone, OrdinaryPagesAreSealedAgainstResizing) {
  memzone z{};
  char text[160];
  ASSERT_EQ(memzone_create(&z, "test", 5000, MEMZONE_SMALL_ONLY, -1, text, sizeof(text)), 0) << text;
  EXPECT_EQ(z.len, 8192u);
  EXPECT_EQ(text[0], 0);
  EXPECT_NE(ftruncate(z.fd, 4096), 0);
  EXPECT_NE(ftruncate(z.fd, 65536), 0);
  memset(z.addr, 1, z.len);
  memzone_destroy(&z);
  EXPECT_EQ(z.addr, nullptr);
  memzone_destroy(&z);  // twice is harmless
}

TEST(Memzone, AReadOnlyZoneIsReadOnlyForEverybodyElse) {
  memzone z{};
  char text[160];
  ASSERT_EQ(memzone_create(&z, "test", 4096, MEMZONE_SMALL_ONLY, -1, text, sizeof(text)), 0) << text;
  ASSERT_EQ(memzone_seal_readonly(&z), 0);
  EXPECT_EQ(mmap(nullptr, z.len, PROT_READ | PROT_WRITE, MAP_SHARED, z.fd, 0), MAP_FAILED);
  std::string path = "/proc/self/fd/" + std::to_string(z.fd);
  int again = open(path.c_str(), O_RDWR);  // root reopens it: still sealed
  ASSERT_GE(again, 0);
  EXPECT_EQ(mmap(nullptr, z.len, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0), MAP_FAILED);
  EXPECT_LT(write(again, "x", 1), 0);
  void *ro = mmap(nullptr, z.len, PROT_READ, MAP_SHARED, z.fd, 0);
  ASSERT_NE(ro, MAP_FAILED);
  EXPECT_NE(mprotect(ro, z.len, PROT_READ | PROT_WRITE), 0);
  *(char *)z.addr = 42;  // our own mapping still writes
  EXPECT_EQ(*(volatile char *)ro, 42);
  munmap(ro, z.len);
  close(again);
  memzone_destroy(&z);
}

// More hugepages than any machine has: auto falls back and says why, required fails and says why.
TEST(Memzone, WithoutHugepagesItSaysSo) {
  memzone z{};
  char text[160];
  EXPECT_NE(memzone_create(&z, "big", 1ull << 45, MEMZONE_HUGE_ONLY, -1, text, sizeof(text)), 0);
  EXPECT_NE(std::string(text).find("vm.nr_hugepages"), std::string::npos) << text;
  EXPECT_EQ(z.addr, nullptr);
}

}  // namespace
