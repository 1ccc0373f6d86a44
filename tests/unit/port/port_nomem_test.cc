// SPDX-License-Identifier: Apache-2.0
// Every allocation of the port table may fail: -ENOMEM then, and nothing has changed. The linker
// puts our malloc and its kin in place of libc's (--wrap, BUILD.bazel).
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <random>
#include <vector>

#include "tests/unit/port/port_test_util.h"

namespace
{
int g_left = INT_MAX; // allocations until failure; only while g_armed
bool g_armed;

bool Fails()
{
	return g_armed && g_left-- <= 0;
}
} // namespace

extern "C" {
void *__real_malloc(size_t);
void *__real_calloc(size_t, size_t);
void *__real_realloc(void *, size_t);
int __real_posix_memalign(void **, size_t, size_t);

void *__wrap_malloc(size_t size)
{
	return Fails() ? nullptr : __real_malloc(size);
}
void *__wrap_calloc(size_t n, size_t size)
{
	return Fails() ? nullptr : __real_calloc(n, size);
}
void *__wrap_realloc(void *p, size_t size)
{
	return Fails() ? nullptr : __real_realloc(p, size);
}
int __wrap_posix_memalign(void **p, size_t align, size_t size)
{
	return Fails() ? ENOMEM : __real_posix_memalign(p, align, size);
}
}

namespace
{

port_key RandomKey(std::mt19937 *rng)
{
	bool v4 = (*rng)() % 2;
	uint16_t port = 1 + (*rng)() % 40;
	port_key key;

	switch ((*rng)() % 3) {
	case 0:
		key = Bound(v4 ? AF_INET : AF_INET6, "", port);
		key.v6only = !v4 && (*rng)() % 2;
		break;
	case 1: key = Bound(v4 ? AF_INET : AF_INET6, v4 ? "10.0.0.1" : "fd00::1", port); break;
	default:
		key = v4 ? Connected(AF_INET, "10.0.0.1", port, "192.0.2.1", 1 + (*rng)() % 50)
			 : Connected(AF_INET6, "fd00::1", port, "2001:db8::1", 1 + (*rng)() % 50);
	}
	key.device = (*rng)() % 3 == 0;
	key.mapped = v4 && (*rng)() % 3 == 0;
	return key;
}

// What the table answers to a fixed set of questions.
std::vector<uint32_t> Answers(const Table &t)
{
	Address src4 = Addr("192.0.2.1"), dst4 = Addr("10.0.0.1"), src6 = Addr("2001:db8::1"),
		dst6 = Addr("fd00::1");
	std::vector<uint32_t> answers;

	for (uint16_t port = 1; port <= 40; port++)
		for (uint32_t i = 0; i < 16; i++) {
			uint16_t sport = 1 + port % 50;
			uint32_t hash = i << 28;

			answers.push_back(t.Lookup(AF_INET, src4, sport, dst4, port, hash));
			answers.push_back(t.Lookup(AF_INET, src4, 99, src4, port, hash));
			answers.push_back(t.Lookup(AF_INET6, src6, sport, dst6, port, hash));
			answers.push_back(t.Lookup(AF_INET6, src6, 99, src6, port, hash));
		}
	return answers;
}

TEST(PortNoMemory, CreateFails)
{
	g_armed = true;
	g_left = 0;
	port_table *t = port_table_create();
	g_armed = false;
	EXPECT_EQ(t, nullptr);
}

TEST(PortNoMemory, InsertChangesNothingWhenItFails)
{
	int failures = 0;

	for (unsigned int seed = 0; seed < 20; seed++) {
		std::mt19937 rng(seed);
		Table t;

		for (uint32_t sock = 0; sock < 400; sock++) {
			port_key key = RandomKey(&rng);
			std::vector<uint32_t> before = Answers(t);
			uint32_t size = t.size();
			int ret = -ENOMEM;

			for (int allowed = 0; ret; allowed++) {
				g_left = allowed;
				g_armed = true;
				ret = t.Insert(key, sock);
				g_armed = false;
				if (!ret)
					break;
				ASSERT_EQ(ret, -ENOMEM);
				failures++;
				ASSERT_EQ(t.size(), size);
				// Buckets may have been split for the member that did not come; the
				// flows have not moved.
				ASSERT_EQ(Answers(t), before)
					<< "seed " << seed << " sock " << sock;
				ASSERT_EQ(t.Remove(key, sock), -ENOENT);
			}
			ASSERT_EQ(t.size(), size + 1);
		}
	}
	EXPECT_GT(failures, 1000);
}

TEST(PortNoMemory, RemoveNeedsNone)
{
	std::mt19937 rng(1);
	std::vector<port_key> keys;
	Table t;

	for (uint32_t sock = 0; sock < 3000; sock++) {
		keys.push_back(RandomKey(&rng));
		ASSERT_EQ(t.Insert(keys.back(), sock), 0);
	}
	g_left = 0;
	g_armed = true;
	for (uint32_t sock = 0; sock < keys.size(); sock++) {
		int ret = t.Remove(keys[sock], sock);

		if (!ret)
			continue;
		g_armed = false;
		FAIL() << ret;
	}
	g_armed = false;
	EXPECT_EQ(t.size(), 0u);
	for (uint32_t answer : Answers(t))
		ASSERT_EQ(answer, PORT_NONE);
}

} // namespace
