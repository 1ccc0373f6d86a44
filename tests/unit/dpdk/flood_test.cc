// SPDX-License-Identifier: Apache-2.0
// A hundred million unclaimed frames, and a few claimed ones: nothing stops, nothing
// slows, nothing leaks.
#include "tests/unit/dpdk/bed.h"

namespace
{

// UDPLANE_FLOOD_MILLIONS: 100 takes about 10 s.
uint64_t FloodFrames()
{
	const char *s = getenv("UDPLANE_FLOOD_MILLIONS");
	return (s ? strtoull(s, nullptr, 10) : 100) * 1000000;
}

std::vector<uint8_t> claimed, stray;
uint64_t made;

// net_null hands out frames as they are: every 1024th becomes one for the client.
uint16_t Fill(uint16_t, uint16_t, rte_mbuf **m, uint16_t n, uint16_t, void *)
{
	for (uint16_t i = 0; i < n; i++) {
		const auto &f = ++made % 1024 ? stray : claimed;
		memcpy(rte_pktmbuf_mtod(m[i], void *), f.data(), 64);
		m[i]->data_len = 64;
		m[i]->pkt_len = 64;
	}
	return n;
}

TEST(Flood, UnclaimedFramesDoNotStopIt)
{
	WorkerBed bed("net_null0,size=64");
	ASSERT_NE(bed.dev, nullptr) << bed.error.text;
	claimed = UdpFrame(bed.dev->mac, 5000, std::string(22, 'c'));
	stray = UdpFrame(bed.dev->mac, 6000, std::string(22, 's'));
	ASSERT_EQ(claimed.size(), 64u);
	ASSERT_NE(rte_eth_add_rx_callback(bed.d()->port, 0, Fill, nullptr), nullptr);

	const uint64_t total = FloodFrames(), part = total / 10;
	uint64_t base = bed.Count(UDPLANE_WORKER_RX_FRAMES), delivered[10], rate[10], got = 0;
	std::string data;
	for (int i = 0; i < 10; i++) {
		uint64_t start = clock_now_ns(), before = bed.Count(UDPLANE_WORKER_RX_DELIVERED);
		ASSERT_TRUE(Until(
			[&] {
				while (bed.Receive(&data)) {
					got++;
					if (data != std::string(22, 'c'))
						ADD_FAILURE() << data;
				}
				return bed.Count(UDPLANE_WORKER_RX_FRAMES) - base >=
				       part * (uint64_t)(i + 1);
			},
			60));
		delivered[i] = bed.Count(UDPLANE_WORKER_RX_DELIVERED) - before;
		rate[i] = part * 1000 / (clock_now_ns() - start + 1);
		printf("%d0 %%: %lu M frames/s, %lu delivered\n", i + 1, (unsigned long)rate[i],
		       (unsigned long)delivered[i]);
	}
	EXPECT_GT(delivered[9],
		  part / 1024 / 2); // some may meet a full ring while this thread is not scheduled
	EXPECT_GT(got, 0u);
	EXPECT_GE(rate[9] * 4, rate[1]); // other tests share the machine: only a collapse counts
	bed.Stop();
	bed.ExpectConservation();
	EXPECT_EQ(bed.q->ops->frames_free(bed.q), kFrames);
}

} // namespace
