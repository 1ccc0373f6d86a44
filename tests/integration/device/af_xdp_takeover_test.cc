// SPDX-License-Identifier: Apache-2.0
/* The AF_XDP device: the kernel takes over when it is detached, or its owner is killed. */
#include "tests/integration/device/af_xdp_fixture.h"

#include <signal.h>
#include <sys/wait.h>

#include <map>

/* Numbered datagrams all the while: each arrives once, through the device before and through the
 * kernel after. The sender is at most so far ahead of us that no queue overflows. */
TEST_F(AfXdp, DetachLosesNothing)
{
	const uint32_t total = 20000, ahead = 100;
	auto *taken = static_cast<volatile uint32_t *>(
		mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));

	start();
	KernelSocket mine(false, false, claimed_port), peer(true, false, 0);
	std::map<uint32_t, int> seen;
	uint32_t by_kernel = 0;
	auto collect = [&] {
		for (const Bytes &b : receive(1, 0))
			seen[*reinterpret_cast<const uint32_t *>(b.data())]++;
		for (const Bytes &b : mine.receive()) {
			seen[*reinterpret_cast<const uint32_t *>(b.data())]++;
			by_kernel++;
		}
		*taken = seen.size();
	};

	pid_t child = fork();

	if (!child) {
		for (uint32_t n = 0; n < total; n++) {
			while (n - *taken > ahead)
				sched_yield();
			while (peer.send(here4, claimed_port, numbered(n)) < 0)
				;
		}
		_exit(0);
	}
	within(10000, [&] {
		collect();
		return seen.size() > total / 4;
	});
	EXPECT_EQ(by_kernel, 0u);
	device_af_xdp.detach(dev);
	device_af_xdp.detach(dev);
	EXPECT_TRUE(within(10000, [&] {
		collect();
		return seen.size() == total;
	})) << seen.size();
	EXPECT_GT(by_kernel, total / 4);
	for (const auto &one : seen)
		EXPECT_EQ(one.second, 1) << "datagram " << one.first;
	kill(child, SIGKILL);
	waitpid(child, nullptr, 0);
	expect_conserved();
	EXPECT_GT(counters()[UDPLANE_DEVICE_RX_DIVERTED], total / 4) << "counters stay readable";
}

TEST_F(AfXdp, KilledTheKernelTakesOver)
{
	KernelSocket mine(false, false, claimed_port), peer(true, false, 0);

	for (int round = 0; round < 5; round++) {
		int ready[2];

		ASSERT_EQ(pipe(ready), 0);
		pid_t child = fork();

		if (!child) {
			start();
			if (HasFailure() || write(ready[1], "x", 1) != 1)
				_exit(1);
			for (;;)
				put(burst());
		}
		char c;

		close(ready[1]);
		ASSERT_EQ(read(ready[0], &c, 1), 1)
			<< "round " << round << ": bound again at once, too";
		close(ready[0]);
		peer.send(here4, claimed_port, numbered(round));
		EXPECT_EQ(mine.receive(1, 20).size(), 0u) << "diverted";
		kill(child, SIGKILL);
		uint64_t start_ms = clock_now_ms();

		EXPECT_TRUE(within(2000, [&] {
			peer.send(here4, claimed_port, numbered(round));
			return !mine.receive().empty();
		}));
		EXPECT_LT(clock_now_ms() - start_ms, 100u);
		mine.receive(SIZE_MAX, 20);
		waitpid(child, nullptr, 0);
	}
	start();
	peer.send(here4, claimed_port, numbered(9));
	EXPECT_EQ(receive(1).size(), 1u);
}
