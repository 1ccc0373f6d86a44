// SPDX-License-Identifier: Apache-2.0
// The reading end of captures, pcapng, and filters.
#include "client/ctl/capture.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "client/ctl/filter.h"
#include "client/ctl/pcapng.h"

namespace
{

constexpr uint32_t kSlots = 8, kSlot = 128;

struct Zone {
	explicit Zone(uint32_t rings)
	{
		layout.ring_cnt = rings;
		layout.slot_cnt = kSlots;
		layout.slot_size = kSlot;
		layout.ring_len = sizeof(udplane_capture_ring) + kSlots * kSlot;
		layout.len = rings * layout.ring_len;
		bytes.resize(layout.len / 64 + 1);
		capture_open(&reader, &layout, bytes.data());
	}
	udplane_capture_ring *Ring(uint32_t i)
	{
		return (udplane_capture_ring *)((uint8_t *)bytes.data() + i * layout.ring_len);
	}
	void Put(uint32_t i, uint64_t time, uint16_t len)
	{
		udplane_ring_head *h = &Ring(i)->head;
		udplane_capture_record r{};
		r.time_ns = time;
		r.captured_len = len;
		memcpy(Ring(i)->slot + h->prod_idx % kSlots * kSlot, &r, sizeof(r));
		h->prod_idx++;
	}
	struct alignas(64) Line {
		uint8_t byte[64];
	};
	udplane_captured layout{};
	std::vector<Line> bytes;
	capture_reader reader;
	udplane_capture_record head;
	const uint8_t *data;
};

TEST(CaptureReader, TheOldestComesFirst)
{
	Zone z(2);
	z.Put(0, 10, 60);
	z.Put(0, 40, 60);
	z.Put(1, 20, 60);
	z.Put(1, 30, 60);
	EXPECT_EQ(capture_look(&z.reader), 4u);
	for (uint64_t time : {10, 20, 30, 40}) {
		ASSERT_TRUE(capture_next(&z.reader, &z.head, &z.data));
		EXPECT_EQ(z.head.time_ns, time);
	}
	EXPECT_FALSE(capture_next(&z.reader, &z.head, &z.data));
	EXPECT_EQ(z.Ring(0)->head.cons_idx, 2u);
	EXPECT_EQ(z.Ring(1)->head.cons_idx, 2u);
}

TEST(CaptureReader, ASlotIsGivenBackAfterUse)
{
	Zone z(1);
	for (uint32_t i = 0; i < kSlots; i++)
		z.Put(0, i, 60);
	capture_look(&z.reader);
	ASSERT_TRUE(capture_next(&z.reader, &z.head, &z.data));
	EXPECT_EQ(z.Ring(0)->head.cons_idx, 0u); // its frame is still being looked at
	ASSERT_TRUE(capture_next(&z.reader, &z.head, &z.data));
	EXPECT_EQ(z.Ring(0)->head.cons_idx, 1u);
	EXPECT_EQ(capture_look(&z.reader), kSlots - 2);
	EXPECT_EQ(z.Ring(0)->head.cons_idx, 2u);
}

TEST(CaptureReader, ImpossibleValuesAreNotFollowed)
{
	Zone z(1);
	z.Put(0, 1, UINT16_MAX);
	capture_look(&z.reader);
	ASSERT_TRUE(capture_next(&z.reader, &z.head, &z.data));
	EXPECT_EQ(z.head.captured_len, kSlot - sizeof(udplane_capture_record));
	z.Ring(0)->head.prod_idx = 1000;
	EXPECT_EQ(capture_look(&z.reader), 0u);
	EXPECT_FALSE(capture_next(&z.reader, &z.head, &z.data));
}

TEST(CaptureReader, CountsAreSums)
{
	Zone z(2);
	z.Ring(0)->seen = 3;
	z.Ring(1)->seen = 4;
	z.Ring(1)->missed = 2;
	uint64_t seen, missed;
	capture_counts(&z.reader, &seen, &missed);
	EXPECT_EQ(seen, 7u);
	EXPECT_EQ(missed, 2u);
}

// Every block has its length at both ends, and all together are the file.
TEST(Pcapng, BlocksAreWhole)
{
	char *file = nullptr;
	size_t len = 0;
	FILE *f = open_memstream(&file, &len);
	pcapng_begin(f, "udplanectl", "eth0", "", 100);
	for (uint32_t n = 0; n < 9; n++) {
		struct pcapng_packet p = {};
		p.data = "12345678";
		p.captured_len = n;
		p.len = n + 1;
		p.dropped = n & 1;
		p.comment[0] = n & 2 ? "a comment" : "";
		pcapng_packet(f, &p);
	}
	pcapng_end(f, 1, 2, 3, nullptr);
	fclose(f);
	std::vector<uint32_t> kinds;
	for (size_t at = 0; at < len;) {
		uint32_t word[2], last;
		ASSERT_LE(at + 12, len);
		memcpy(word, file + at, sizeof(word));
		ASSERT_EQ(word[1] % 4, 0u);
		ASSERT_LE(at + word[1], len);
		memcpy(&last, file + at + word[1] - 4, sizeof(last));
		ASSERT_EQ(last, word[1]);
		kinds.push_back(word[0]);
		at += word[1];
	}
	EXPECT_EQ(kinds.size(), 12u);
	EXPECT_EQ(kinds.front(), 0x0a0d0d0au);
	EXPECT_EQ(kinds.back(), 5u);
	free(file);
}

TEST(Filter, MatchesOrSaysWhatIsWrong)
{
	struct error error = {};
	struct filter *f = nullptr;
	uint8_t frame[60] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45};
	frame[23] = 17;
	frame[36] = 0x13;
	frame[37] = 0xc4; // to port 5060
	ASSERT_EQ(filter_compile(&f, "udp dst port 5060", 65535, &error), 0) << error.text;
	EXPECT_TRUE(filter_match(f, frame, sizeof(frame), sizeof(frame)));
	frame[37]++;
	EXPECT_FALSE(filter_match(f, frame, sizeof(frame), sizeof(frame)));
	EXPECT_FALSE(filter_match(f, frame, 20, sizeof(frame))); // cut before the port
	filter_free(f);
	EXPECT_EQ(filter_compile(&f, "udp port (", 65535, &error), -EINVAL);
	EXPECT_NE(strstr(error.text, "filter \"udp port (\": "), nullptr) << error.text;
}

} // namespace
