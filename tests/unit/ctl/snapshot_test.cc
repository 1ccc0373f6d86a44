// SPDX-License-Identifier: Apache-2.0
#include "client/ctl/snapshot.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <random>
#include <thread>

#include "tests/unit/ctl/image.h"
#include "udplane/ring.h"

namespace
{

TEST(Snapshot, CopiesWhatIsThere)
{
	Image image;
	udplane_socket_zone *k = image.claim("10.0.0.1", 5060, UDPLANE_SOCKET_ACTIVE);
	k->client[0] = 11;
	k->client[3] = 14;
	image.claim("::", 5061, UDPLANE_SOCKET_FREE);
	image.claim("::", 5062, UDPLANE_SOCKET_PENDING, UDPLANE_REASON_SHARED, "beside pid 3");
	image.counters(0, 0)[UDPLANE_SOCKET_RX_DELIVERED] = 5;
	image.counters(0, 1)[UDPLANE_SOCKET_RX_DELIVERED] = 6;
	image.counters(2, 1)[UDPLANE_SOCKET_TX_SENT] = 7;
	image.ask(5060);
	image.ask(65535);

	Shot shot(image);
	ASSERT_EQ(0, shot.ret) << shot.error.text;
	EXPECT_STREQ("eth0", shot.s.ifname);
	EXPECT_EQ(2u, shot.s.worker_cnt);
	EXPECT_EQ(1, shot.s.worker[1].cpu);
	ASSERT_EQ(2u, shot.s.socket_cnt);
	EXPECT_EQ(0u, shot.s.sockets[0].id);
	EXPECT_EQ(11u, shot.s.sockets[0].counter[UDPLANE_SOCKET_RX_DELIVERED]);
	EXPECT_EQ(11u, shot.s.sockets[0].kernel_rx);
	EXPECT_EQ(14u, shot.s.sockets[0].engages);
	EXPECT_EQ(2u, shot.s.sockets[1].id);
	EXPECT_EQ(7u, shot.s.sockets[1].counter[UDPLANE_SOCKET_TX_SENT]);
	EXPECT_STREQ("beside pid 3", shot.s.sockets[1].text);
	EXPECT_TRUE(snapshot_has_port(&shot.s, 5060));
	EXPECT_TRUE(snapshot_has_port(&shot.s, 65535));
	EXPECT_FALSE(snapshot_has_port(&shot.s, 5061));
}

TEST(Snapshot, TextsAreCutAndHarmless)
{
	Image image;
	udplane_socket_zone *k = image.claim("10.0.0.1", 5060, UDPLANE_SOCKET_KERNEL);
	memset(k->text, 'x', sizeof(k->text));
	memcpy(k->comm, "\033[2Jevil\xff\n", 11);

	Shot shot(image);
	ASSERT_EQ(0, shot.ret);
	EXPECT_EQ(sizeof(k->text), strlen(shot.s.sockets[0].text));
	EXPECT_STREQ("?[2Jevil??", shot.s.sockets[0].comm);
}

TEST(Snapshot, NewerMinorWithLongerEntriesIsFine)
{
	Image image(1, 16); /* room for 8 entries of twice the size */
	image.zone()->minor = 7;
	image.zone()->socket_max = 8;
	image.zone()->socket_len = 2 * sizeof(udplane_socket_zone);
	*image.socket(2) = udplane_socket_zone{};
	image.socket(2)->state = UDPLANE_SOCKET_ACTIVE;
	image.socket(2)->pid = 5;
	image.zone()->socket_high = 2;

	Shot shot(image);
	ASSERT_EQ(0, shot.ret) << shot.error.text;
	ASSERT_EQ(1u, shot.s.socket_cnt);
	EXPECT_EQ(1u, shot.s.sockets[0].id);
	EXPECT_EQ(5, shot.s.sockets[0].pid);
}

TEST(Snapshot, AnotherMajorIsNamed)
{
	Image image;
	image.zone()->major = 9;
	Shot shot(image);
	EXPECT_EQ(-EPROTONOSUPPORT, shot.ret);
	EXPECT_NE(nullptr, strstr(shot.error.text, "ABI 9"));
}

void expect_refused(void (*spoil)(udplane_stats_zone *), const char *word)
{
	Image image;
	spoil(image.zone());
	Shot shot(image);
	EXPECT_EQ(-EPROTO, shot.ret) << word;
	EXPECT_NE(nullptr, strstr(shot.error.text, word)) << shot.error.text;
}

TEST(Snapshot, WrongLayoutsAreRefused)
{
	using Z = udplane_stats_zone;
	expect_refused([](Z *z) { z->magic++; }, "magic");
	expect_refused([](Z *z) { z->worker_cnt = UDPLANE_MAX_WORKERS + 1; }, "worker_cnt");
	expect_refused([](Z *z) { z->worker_off = 0; }, "worker_off");
	expect_refused([](Z *z) { z->worker_off += 4; }, "worker_off");
	expect_refused([](Z *z) { z->worker_off = UINT32_MAX; }, "worker_off");
	expect_refused([](Z *z) { z->socket_len = 8; }, "socket_len");
	expect_refused([](Z *z) { z->socket_len = UINT32_MAX; }, "socket_len");
	expect_refused([](Z *z) { z->socket_len = UINT32_MAX - 7; }, "socket_off");
	expect_refused([](Z *z) { z->socket_max = UINT32_MAX; }, "socket_max");
	expect_refused([](Z *z) { z->socket_off = UINT32_MAX - 7; }, "socket_off");
	expect_refused([](Z *z) { z->counters_off += 8192 + 8; }, "counters_off");
	expect_refused([](Z *z) { z->ports_off += 8; }, "ports_off");
	expect_refused([](Z *z) { z->socket_high = z->socket_max + 1; }, "socket_high");
}

TEST(Snapshot, EveryLengthIsSafe)
{
	Image image;
	for (size_t len = 0; len < image.size(); len += 8) {
		void *exact = malloc(len ? len : 1); /* ASan watches its end */
		struct snapshot s = {};
		struct error error;

		memcpy(exact, image.words.data(), len);
		EXPECT_EQ(-EPROTO, snapshot_read(&s, exact, len, &error)) << len;
		free(exact);
	}
}

/* The image ends at a page that cannot be read. */
TEST(Snapshot, GarbageNeverLeadsOutOfIt)
{
	Image image;
	size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
	size_t room = (image.size() + page - 1) / page * page;
	auto *map = static_cast<char *>(mmap(nullptr, room + page, PROT_READ | PROT_WRITE,
					     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	std::mt19937_64 random(1);

	ASSERT_NE(MAP_FAILED, static_cast<void *>(map));
	ASSERT_EQ(0, mprotect(map + room, page, PROT_NONE));
	char *at = map + room - image.size();
	for (int round = 0; round < 20000; round++) {
		struct snapshot s = {};
		struct error error;

		memcpy(at, image.words.data(), image.size());
		auto *z = reinterpret_cast<udplane_stats_zone *>(at);
		uint32_t *field[] = {&z->worker_cnt, &z->socket_max,  &z->worker_off,
				     &z->socket_off, &z->socket_len,  &z->counters_off,
				     &z->ports_off,  &z->socket_high, &z->prefix_cnt,
				     &z->backend,    &z->mode,	      &z->state,
				     &z->info_off,   &z->info_size};
		for (int i = 0; i < 3; i++) {
			uint64_t r = random();
			uint32_t *f = field[r % (sizeof(field) / sizeof(field[0]))];
			*f = r >> 8 & 1 ? static_cast<uint32_t>(r >> 32)
					: *f + static_cast<uint32_t>(r >> 32) % 512 * 8;
		}
		if (!snapshot_read(&s, at, image.size(), &error))
			snapshot_free(&s);
	}
	munmap(map, room + page);
}

TEST(Snapshot, TornEntryIsReadAgain)
{
	Image image(1, 1);
	udplane_socket_zone *k = image.claim("10.0.0.1", 1, UDPLANE_SOCKET_ACTIVE);
	std::atomic<bool> stop{false};

	memset(k->text, 'a', 100);
	k->pid = 'a';
	std::thread writer([&] {
		for (char c = 'b'; !stop; c = c == 'z' ? 'a' : static_cast<char>(c + 1)) {
			udplane_seq_begin(&k->seq);
			memset(k->text, c, 100);
			k->pid = c;
			udplane_seq_end(&k->seq);
			std::this_thread::yield();
		}
	});
	for (int round = 0; round < 2000; round++) {
		Shot shot(image);
		ASSERT_EQ(0, shot.ret);
		if (shot.s.sockets[0].torn)
			continue; /* the writer was never off the core */
		ASSERT_EQ(std::string(100, static_cast<char>(shot.s.sockets[0].pid)),
			  shot.s.sockets[0].text);
	}
	stop = true;
	writer.join();
}

TEST(Snapshot, WriterThatDiedInsideDoesNotHangUs)
{
	Image image;
	image.claim("10.0.0.1", 1, UDPLANE_SOCKET_ACTIVE)->seq = 3;
	image.zone()->prefix_seq = 1;
	Shot shot(image);
	ASSERT_EQ(0, shot.ret);
	EXPECT_TRUE(shot.s.sockets[0].torn);
}

TEST(Snapshot, Conservation)
{
	Image image;
	uint64_t *d = image.zone()->device_counter;
	d[UDPLANE_DEVICE_RX_SEEN] = 1000;
	d[UDPLANE_DEVICE_RX_DIVERTED] = 700;
	d[UDPLANE_DEVICE_RX_PASSED_NOT_UDP] = 100;
	d[UDPLANE_DEVICE_RX_PASSED_IDLE] = 200;
	d[UDPLANE_DEVICE_RX_LOST_NO_FRAME] = 10;
	for (uint32_t w = 0; w < 2; w++) {
		uint64_t *v = image.worker(w)->counter;
		v[UDPLANE_WORKER_RX_DELIVERED] = 300;
		v[UDPLANE_WORKER_RX_PASSED] = 20;
		v[UDPLANE_WORKER_RX_DROP_QUOTA] = 3;
		v[UDPLANE_WORKER_MARTIANS] = 2;
	}
	Shot shot(image);
	struct conservation c = snapshot_conservation(&shot.s);
	EXPECT_EQ(1000u, c.received);
	EXPECT_EQ(600u, c.delivered);
	EXPECT_EQ(340u, c.passed);
	EXPECT_EQ(20u, c.dropped);
	EXPECT_EQ(40, c.in_flight);
}

} // namespace
