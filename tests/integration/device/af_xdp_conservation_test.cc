// SPDX-License-Identifier: Apache-2.0
/* The AF_XDP device: each frame and each datagram is counted once, and no frame is lost. */
#include "tests/integration/device/af_xdp_fixture.h"

#include <sys/wait.h>

TEST_F(AfXdp, FloodIsConserved)
{
	start();
	for (const char *addrs :
	     {"--src-ip 10.99.0.2 --dst-ip 10.99.0.1", "--src-ip fd99::2 --dst-ip fd99::1"}) {
		pid_t child = fork();

		if (!child)
			_exit(flood(std::string(addrs) +
				    " --dport 5055-5064 --sport-count 100 --count 300000") != 0);
		int status = -1;

		EXPECT_TRUE(within(30000, [&] {
			put(burst());
			return waitpid(child, &status, WNOHANG) == child;
		}));
		EXPECT_EQ(status, 0);
	}
	drain();
	expect_conserved();
	std::vector<uint64_t> c = counters();

	EXPECT_GT(received[0], 1000u);
	EXPECT_GT(c[UDPLANE_DEVICE_RX_PASSED_UNCLAIMED], 50000u);
	EXPECT_EQ(c[UDPLANE_DEVICE_RX_LOST_NO_FRAME], 0u) << "a slow worker shows as a full ring";
	EXPECT_EQ(frames_free(), mem.frame_cnt);
}

/* Nobody polls: the ring fills, each further frame is counted, and the frames in the ring are still
 * there. */
TEST_F(AfXdp, FullRingIsCounted)
{
	start();
	ASSERT_EQ(flood("--src-ip 10.99.0.2 --dst-ip 10.99.0.1 --dport 5060 --count 100000 --rate "
			"500000"),
		  0);
	drain();
	expect_conserved();
	EXPECT_EQ(received[0], 2048u);
	EXPECT_GT(counters()[UDPLANE_DEVICE_RX_LOST_RING_FULL], 10000u);
	EXPECT_EQ(counters()[UDPLANE_DEVICE_RX_LOST_NO_FRAME], 0u);
	EXPECT_EQ(frames_free(), mem.frame_cnt);
}

/* The clients hold every frame: what comes is lost and counted; when they give back, it goes on. */
TEST_F(AfXdp, NoFreeFrameIsCounted)
{
	std::vector<device_frame> held;
	std::vector<uint32_t> mine(256);

	start(1, 256);
	mine.resize(queue()->ops->frames_get(queue(), mine.data(), 256));
	EXPECT_EQ(mine.size(), 128u) << "half is for receiving";
	KernelSocket peer(true, false, 0);

	for (uint32_t n = 0; n < 500; n++)
		peer.send(here4, claimed_port, numbered(n));
	EXPECT_TRUE(within(2000, [&] {
		for (const device_frame &f : burst())
			held.push_back(f);
		return counters()[UDPLANE_DEVICE_RX_DIVERTED] == 500 && held.size() == 128;
	}));
	EXPECT_EQ(counters()[UDPLANE_DEVICE_RX_LOST_NO_FRAME], 372u);
	EXPECT_EQ(frames_free(), 0u);
	expect_conserved();
	put(held);
	queue()->ops->frames_put(queue(), mine.data(), mine.size());
	drain(20);
	for (uint32_t n = 0; n < 50; n++)
		peer.send(here4, claimed_port, numbered(n));
	EXPECT_EQ(receive(50).size(), 50u);
	expect_conserved();
	EXPECT_EQ(frames_free(), 256u);
}

TEST_F(AfXdp, SendingIsConserved)
{
	start(1, 4096);
	KernelSocket peer(true, false, 9);
	uint32_t sent = 0;
	Bytes frame;

	peer.send(here4, claimed_port, numbered(0));
	within(2000, [&] { /* a frame to copy: turned round, to port 9 */
			   for (const device_frame &f : burst()) {
				   turn_round(at(f), f.len);
				   frame.assign(at(f), at(f) + f.len);
				   put({f});
			   }
			   return !frame.empty();
	});
	ASSERT_FALSE(frame.empty());
	while (sent < 50000) {
		uint32_t idx[64], n = queue()->ops->frames_get(queue(), idx, 64);
		std::vector<device_frame> f;

		for (uint32_t i = 0; i < n; i++) {
			f.push_back({idx[i], 100, (uint16_t)frame.size(), 0});
			memcpy(at(f.back()), frame.data(), frame.size());
		}
		transmit(f);
		sent += n;
	}
	EXPECT_TRUE(within(2000, [&] {
		queue()->ops->tx_flush(queue());
		queue()->ops->tx_burst(queue(), nullptr, 0);
		return !queue()->ops->tx_pending(queue()) &&
		       counters()[UDPLANE_DEVICE_TX_DONE] == sent;
	}));
	EXPECT_EQ(counters()[UDPLANE_DEVICE_TX_INVALID], 0u);
	EXPECT_EQ(frames_free(), mem.frame_cnt);
	EXPECT_GT(peer.receive().size(), sent / 2); /* the peer's own queue may overflow */
}

TEST_F(AfXdp, InvalidFramesComeBack)
{
	start(1, 256);
	uint32_t idx[3];

	ASSERT_EQ(queue()->ops->frames_get(queue(), idx, 3), 3u);
	transmit({{idx[0], 0, 13, 0}, {idx[1], 2000, 49, 0}, {idx[2], 65535, 65535, 0}});
	EXPECT_EQ(counters()[UDPLANE_DEVICE_TX_INVALID], 3u);
	EXPECT_EQ(frames_free(), 256u);
	EXPECT_FALSE(queue()->ops->tx_pending(queue()));
}

/* Each flow stays on its queue; every queue's frames stay with its worker. */
TEST_F(AfXdp, TwoQueuesTwoWorkers)
{
	start(2, 8192);
	EXPECT_EQ(dev->queue_cnt, 2u);
	for (int cpu : {0, 1})
		ASSERT_EQ(flood("--cpu " +
				std::to_string(cpu % (int)sysconf(_SC_NPROCESSORS_ONLN)) +
				" --src-ip 10.99.0.2 --dst-ip 10.99.0.1 --dport 5060 --count 20000 "
				"--rate 1000000"),
			  0);
	drain();
	expect_conserved();
	EXPECT_GT(received[0], 0u);
	EXPECT_TRUE(received[1] > 0 || sysconf(_SC_NPROCESSORS_ONLN) == 1);
	EXPECT_EQ(frames_free(0), 4096u);
	EXPECT_EQ(frames_free(1), 4096u);
}

TEST_F(AfXdp, TwoQueuesOneWorker)
{
	start(1, 8192);
	int fds[4];

	EXPECT_EQ(queue()->ops->wait_fds(queue(), fds, 4), 2u);
	for (int cpu : {0, 1})
		ASSERT_EQ(flood("--cpu " +
				std::to_string(cpu % (int)sysconf(_SC_NPROCESSORS_ONLN)) +
				" --src-ip 10.99.0.2 --dst-ip 10.99.0.1 --dport 5060 --count 20000 "
				"--rate 1000000"),
			  0);
	drain();
	expect_conserved();
	EXPECT_EQ(frames_free(), 8192u);
}

TEST_F(AfXdp, TwoQueuesThreeWorkersRefused)
{
	ASSERT_EQ(try_open(), 0) << error.text;
	EXPECT_EQ(try_attach(3), -EINVAL);
	EXPECT_NE(strstr(error.text, "3 workers for 2 receive queues of va"), nullptr)
		<< error.text;
}
