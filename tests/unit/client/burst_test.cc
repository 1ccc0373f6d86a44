// SPDX-License-Identifier: Apache-2.0
// Receive in place and release, reserve and submit, on both paths.
#include "tests/unit/client/peer.h"

namespace
{
class BurstTest : public ClientTest
{
      protected:
	struct udplane_addr To(const std::string &text)
	{
		struct sockaddr_storage ss;
		struct udplane_addr p;

		Address(text, &ss);
		udplane_addr_from_sockaddr(&p, &ss, sizeof(ss));
		return p;
	}
	void Fill(struct udplane_buf *b, const std::string &payload, const std::string &to)
	{
		memcpy(b->data, payload.data(), payload.size());
		b->len = static_cast<uint32_t>(payload.size());
		b->peer = To(to);
	}
};

std::string Text(const struct udplane_pkt &p)
{
	return std::string(static_cast<const char *>(p.data), p.len);
}

TEST_F(BurstTest, ReceivesInPlace)
{
	Peer *p = Start();
	int fd = Claimed();
	struct udplane_pkt pkts[8];

	EXPECT_EQ(udplane_recv_burst(fd, pkts, 8, 0), -1);
	EXPECT_EQ(errno, EAGAIN);
	p->Deliver(Id(fd), "one", "10.1.2.3:4");
	p->Deliver(Id(fd), "two", "10.1.2.4:5");
	SendKernel(fd, "kernel");
	ASSERT_EQ(udplane_recv_burst(fd, pkts, 8, 0), 3);
	EXPECT_EQ(Text(pkts[0]), "one");
	EXPECT_EQ(pkts[0].flags, 0u);
	EXPECT_EQ(pkts[0].peer.family, AF_INET);
	EXPECT_EQ(pkts[0].peer.port_be, htons(4));
	EXPECT_EQ(memcmp(pkts[0].peer.addr, "\x0a\x01\x02\x03", 4), 0);
	EXPECT_EQ(Text(pkts[2]), "kernel");
	EXPECT_EQ(pkts[2].flags, UDPLANE_PKT_KERNEL);
	EXPECT_EQ(pkts[2].peer.port_be, htons(plain_port()));
	EXPECT_EQ(p->FramesOut(), 2u);
	EXPECT_FALSE(Readable(fd));
	udplane_release(fd, pkts + 1, 2);
	EXPECT_EQ(p->FramesOut(), 1u);
	udplane_release(fd, pkts, 1);
	EXPECT_EQ(p->FramesOut(), 0u);
}

TEST_F(BurstTest, PacketsOutliveSocketAndUdplaned)
{
	Peer *p = Start();
	int fd = Claimed();
	struct udplane_pkt pkts[2];

	p->Deliver(Id(fd), "one");
	p->Deliver(Id(fd), "two");
	ASSERT_EQ(udplane_recv_burst(fd, pkts, 2, 0), 2);
	Close(fd);
	udplane_release(fd, pkts, 1);
	EXPECT_EQ(p->FramesOut(), 1u);
	p->Die();
	context_reset();
	EXPECT_EQ(Text(pkts[1]), "two");
	udplane_release(fd, pkts + 1, 1);
}

TEST_F(BurstTest, ReturnsFramesThroughTheirOwnLane)
{
	Peer::Options o;
	o.workers = 4;
	Peer *p = Start(o);
	int fd = Claimed();
	struct udplane_pkt pkts[32];

	for (uint32_t i = 0; i < 20; i++)
		p->Deliver(Id(fd), std::to_string(i), "10.0.0.1:1", 0, i % 4);
	ASSERT_EQ(udplane_recv_burst(fd, pkts, 32, 0), 20);
	for (int i = 19; i >= 0; i--)
		udplane_release(fd, pkts + i, 1); // any order
	EXPECT_EQ(p->FramesOut(), 0u);
}

TEST_F(BurstTest, WaitsWithoutASidecarToo)
{
	int fd = Open(SOCK_DGRAM);
	struct udplane_pkt pkts[4];
	int n = 0;

	std::thread t([&] { n = udplane_recv_burst(fd, pkts, 4, 0); });
	SendKernel(fd, "x");
	t.join();
	ASSERT_EQ(n, 1);
	EXPECT_EQ(Text(pkts[0]), "x");
	udplane_release(fd, pkts, 1);
	EXPECT_EQ(udplane_recv_burst(fd, pkts, 4, MSG_DONTWAIT), -1);
	EXPECT_EQ(errno, EAGAIN);
	EXPECT_EQ(udplane_recv_burst(fd, pkts, 4, MSG_PEEK), -1);
	EXPECT_EQ(errno, EINVAL);
}

TEST_F(BurstTest, LargeKernelDatagramsAreWhole)
{
	int fd = Open();
	struct udplane_pkt pkts[40];
	std::string big(60000, 'b');

	SendKernel(fd, big);
	SendKernel(fd, "small");
	ASSERT_EQ(udplane_recv_burst(fd, pkts, 40, 0), 2);
	EXPECT_EQ(Text(pkts[0]), big);
	EXPECT_EQ(Text(pkts[1]), "small");
	udplane_release(fd, pkts, 2);
}

TEST_F(BurstTest, SubmitsInPlace)
{
	Peer *p = Start();
	p->SetPrefix("10.0.0.0/8");
	int fd = Claimed();
	struct udplane_buf bufs[8];

	ASSERT_EQ(udplane_reserve(fd, bufs, 8), 8);
	for (int i = 0; i < 8; i++) {
		EXPECT_GE(bufs[i].size, 1472u);
		Fill(&bufs[i], std::to_string(i), "10.1.2.3:4");
	}
	EXPECT_EQ(udplane_submit(fd, bufs, 5), 5);
	std::vector<Sent> s = p->Take();
	ASSERT_EQ(s.size(), 5u);
	for (size_t i = 0; i < 5; i++)
		EXPECT_EQ(s[i].payload, std::to_string(i));
	ASSERT_EQ(udplane_reserve(fd, bufs, 8), 8);
	EXPECT_EQ(udplane_submit(fd, bufs, 0), 0);
	EXPECT_EQ(udplane_submit(fd, bufs, 1), -1) << "nothing is reserved";
	EXPECT_EQ(errno, EINVAL);
	EXPECT_EQ(p->Take().size(), 0u);
}

TEST_F(BurstTest, WhatTheRingMayNotCarryLeavesThroughTheKernel)
{
	Peer::Options o;
	o.start = 0xfffffffdu;
	Peer *p = Start(o);
	p->SetPrefix("10.0.0.0/8");
	int fd = Claimed();
	struct udplane_buf bufs[9];
	std::string plain = "127.0.0.1:" + std::to_string(plain_port());
	size_t k = 0;

	ASSERT_EQ(udplane_reserve(fd, bufs, 9), 9);
	for (int i = 0; i < 9; i++)
		Fill(&bufs[i], std::to_string(i), i % 3 == 1 ? plain : "10.1.2.3:4");
	EXPECT_EQ(udplane_submit(fd, bufs, 9), 9);
	std::vector<Sent> s = p->Take();
	ASSERT_EQ(s.size(), 6u);
	for (int i = 0; i < 9; i++)
		EXPECT_EQ(i % 3 == 1 ? PlainRecv() : s[k++].payload, std::to_string(i));
	EXPECT_EQ(Status(fd).fast_tx, 6u);
	EXPECT_EQ(Status(fd).kernel_tx, 3u);
}

TEST_F(BurstTest, AnErrorInTheMiddleStopsThere)
{
	Peer *p = Start();
	p->SetPrefix("10.0.0.0/8");
	int fd = Claimed();
	struct udplane_buf bufs[3];

	ASSERT_EQ(udplane_reserve(fd, bufs, 3), 3);
	Fill(&bufs[0], "0", "10.1.2.3:4");
	Fill(&bufs[1], "1", "10.1.2.3:0");
	Fill(&bufs[2], "2", "10.1.2.3:4");
	EXPECT_EQ(udplane_submit(fd, bufs, 3), 1);
	EXPECT_EQ(errno, EINVAL);
	EXPECT_EQ(p->Take().size(), 1u);
	ASSERT_EQ(udplane_reserve(fd, bufs, 3), 3);
	Fill(&bufs[0], "0", "[fd00::1]:4");
	EXPECT_EQ(udplane_submit(fd, bufs, 1), -1);
	EXPECT_TRUE(errno == EAFNOSUPPORT || errno == EINVAL) << strerrorname_np(errno);
	bufs[0].len = 1 << 20;
	ASSERT_EQ(udplane_reserve(fd, bufs, 1), 1);
	bufs[0].len = bufs[0].size + 1;
	EXPECT_EQ(udplane_submit(fd, bufs, 1), -1);
	EXPECT_EQ(errno, EMSGSIZE);
	EXPECT_EQ(udplane_send(fd, "x", 1, 0), -1) << "no lock is left behind";
}

// Between reserve and submit a thread may do whatever it likes.
TEST_F(BurstTest, OtherCallsOfTheThreadGoOnMeanwhile)
{
	Peer *p = Start();
	p->SetPrefix("10.0.0.0/8");
	int fd = Claimed(), other = Claimed();
	std::string plain = "127.0.0.1:" + std::to_string(plain_port());
	struct sockaddr_storage ss;
	socklen_t len = Address(plain, &ss);
	struct udplane_buf bufs[2], more[2];

	ASSERT_EQ(udplane_reserve(fd, bufs, 2), 2);
	for (int i = 0; i < 2; i++)
		Fill(&bufs[i], std::to_string(i), "10.1.2.3:4");
	EXPECT_EQ(udplane_reserve(fd, more, 2), -1) << "this socket's reservation stands";
	EXPECT_EQ(errno, EINVAL);
	for (int s : {fd, other}) { // the kernel path: the ring's slots are taken
		EXPECT_EQ(
			udplane_sendto(s, "k", 1, 0, reinterpret_cast<struct sockaddr *>(&ss), len),
			1);
		EXPECT_EQ(PlainRecv(), "k");
	}
	ASSERT_EQ(udplane_reserve(other, more, 2), 2);
	Fill(&more[0], "other", plain);
	EXPECT_EQ(udplane_submit(other, more, 1), 1);
	EXPECT_EQ(PlainRecv(), "other");
	p->Deliver(Id(fd), "in");
	EXPECT_EQ(Recv(fd), "in");
	Status(fd);
	EXPECT_EQ(udplane_submit(fd, bufs, 2), 2);
	std::vector<Sent> s = p->Take();
	ASSERT_EQ(s.size(), 2u);
	EXPECT_EQ(s[1].payload, "1");

	ASSERT_EQ(udplane_reserve(fd, bufs, 2), 2); // given up by close
	EXPECT_EQ(udplane_close(fd), 0);
	EXPECT_EQ(udplane_submit(fd, bufs, 1), -1);
	EXPECT_EQ(errno, EBADF);
	ASSERT_EQ(udplane_sendto(other, "o", 1, 0, reinterpret_cast<struct sockaddr *>(&ss), len),
		  1);
	EXPECT_EQ(PlainRecv(), "o");
}

TEST_F(BurstTest, WhatIsReservedWhileUdplanedDiesGoesOutThroughTheKernel)
{
	Peer *p = Start();
	p->SetPrefix("127.0.0.0/8");
	int fd = Claimed();
	struct udplane_buf bufs[2];

	ASSERT_EQ(udplane_reserve(fd, bufs, 2), 2);
	ASSERT_NE(Sock(fd)->tx.burst_lane, nullptr);
	for (int i = 0; i < 2; i++)
		Fill(&bufs[i], std::to_string(i), "127.0.0.1:" + std::to_string(plain_port()));
	p->Die();
	EXPECT_TRUE(Until([&] {
		Recv(fd); // finds out, and buries
		return Sock(fd)->tx.lane == nullptr;
	}));
	EXPECT_EQ(udplane_submit(fd, bufs, 2), 2);
	EXPECT_EQ(PlainRecv(), "0");
	EXPECT_EQ(PlainRecv(), "1");
}

TEST_F(BurstTest, AnotherThreadsReservationIsWaitedFor)
{
	Peer *p = Start();
	p->SetPrefix("10.0.0.0/8");
	int fd = Claimed();
	struct udplane_buf bufs[1], mine[1];
	std::atomic<bool> reserved{false}, go{false};

	std::thread t([&] {
		ASSERT_EQ(udplane_reserve(fd, bufs, 1), 1);
		Fill(&bufs[0], "theirs", "10.1.2.3:4");
		reserved = true;
		while (!go)
			sched_yield();
		EXPECT_EQ(udplane_submit(fd, bufs, 1), 1);
	});
	while (!reserved)
		sched_yield();
	EXPECT_EQ(udplane_reserve(fd, mine, 1), -1);
	EXPECT_EQ(errno, EAGAIN);
	EXPECT_EQ(udplane_submit(fd, bufs, 1), -1);
	EXPECT_EQ(errno, EINVAL);
	std::thread later([&] {
		EXPECT_EQ(udplane_recv(fd, nullptr, 0, MSG_DONTWAIT), -1); // goes on
		usleep(1000); // so that close is inside, mostly
		go = true;
	});
	EXPECT_EQ(udplane_close(fd), 0); // not before their submit
	EXPECT_TRUE(go);
	t.join();
	later.join();
	EXPECT_EQ(p->Take().size(), 1u);
	EXPECT_EQ(udplane_reserve(fd, mine, 1), -1);
	EXPECT_EQ(errno, EBADF);
}

TEST_F(BurstTest, TheKernelPathTakesReservedBuffers)
{
	int fd = Open();
	struct udplane_buf bufs[100];
	std::string plain = "127.0.0.1:" + std::to_string(plain_port());
	struct sockaddr_storage ss;
	socklen_t len = Address(plain, &ss);

	int n = udplane_reserve(fd, bufs, 100);
	ASSERT_GT(n, 0);
	for (int i = 0; i < 5; i++)
		Fill(&bufs[i], std::to_string(i), plain);
	EXPECT_EQ(udplane_submit(fd, bufs, 5), 5);
	for (int i = 0; i < 5; i++)
		EXPECT_EQ(PlainRecv(), std::to_string(i));
	ASSERT_EQ(udplane_connect(fd, reinterpret_cast<struct sockaddr *>(&ss), len), 0);
	ASSERT_GE(udplane_reserve(fd, bufs, 1), 1);
	Fill(&bufs[0], "connected", plain);
	bufs[0].peer.family = 0;
	EXPECT_EQ(udplane_submit(fd, bufs, 1), 1);
	EXPECT_EQ(PlainRecv(), "connected");
}
} // namespace
