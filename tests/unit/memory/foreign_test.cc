// SPDX-License-Identifier: Apache-2.0
// Memory that a client can write is not a pointer: code that forgets that does not compile. And a
// load is one load.
#include <gtest/gtest.h>

#include <cstring>
#include <type_traits>
#include <utility>

extern "C" {
#include "sidecar/memory/foreign.h"
}

namespace
{

template <class T, class = void> struct Dereferences : std::false_type {
};
template <class T>
struct Dereferences<T, std::void_t<decltype(*std::declval<T>())>> : std::true_type {
};

template <class T, class = void> struct Indexes : std::false_type {
};
template <class T> struct Indexes<T, std::void_t<decltype(std::declval<T>()[0])>> : std::true_type {
};

template <class T, class = void> struct IsCopied : std::false_type {
};
template <class T>
struct IsCopied<T, std::void_t<decltype(memcpy(std::declval<void *>(), std::declval<T>(), 1))>>
    : std::true_type {
};

static_assert(Dereferences<uint32_t *>::value && Indexes<uint32_t *>::value &&
		      IsCopied<uint32_t *>::value,
	      "the checks find what they look for");
static_assert(!Dereferences<foreign>::value && !Indexes<foreign>::value &&
		      !IsCopied<foreign>::value,
	      "no pointer");
static_assert(!std::is_convertible<foreign, const void *>::value &&
		      !std::is_convertible<foreign, uintptr_t>::value,
	      "nor does it become one");
static_assert(
	std::is_volatile<std::remove_pointer_t<decltype(foreign_ring_head(foreign{}))>>::value,
	"a ring's control word is read as often as it says, and no more");

TEST(Foreign, LoadsAndStores)
{
	alignas(8) uint8_t memory[32] = {};
	foreign f = foreign_at(foreign_of(memory), 8);
	uint64_t copy[2];

	foreign_store64(f, 0, 0x1122334455667788);
	foreign_store64(f, 8, 1);
	EXPECT_EQ(foreign_load64(f, 0), 0x1122334455667788u);
	EXPECT_EQ(foreign_load32(f, 4), 0x11223344u);
	foreign_copy(copy, f, sizeof(copy));
	EXPECT_EQ(copy[1], 1u);
	foreign_zero(f, 8);
	EXPECT_EQ(foreign_load64(f, 0), 0u);
	EXPECT_EQ(foreign_load64(f, 8), 1u);
}

} // namespace
