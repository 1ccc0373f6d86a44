// SPDX-License-Identifier: Apache-2.0
// The descriptor is readable exactly if there is something to read, after every call, in every
// order of events.
#include <poll.h>

#include "tests/unit/client/peer.h"

#include <random>

namespace
{
class ReadinessTest : public ClientTest
{
};

TEST_F(ReadinessTest, FollowsTheRing)
{
	Peer *p = Start();
	int fd = Claimed();

	EXPECT_FALSE(Readable(fd));
	p->Deliver(Id(fd), "1");
	EXPECT_TRUE(Readable(fd));
	p->Deliver(Id(fd), "2");
	EXPECT_EQ(p->Tokens(), 1u) << "one signal an arm";
	EXPECT_EQ(Recv(fd), "1");
	EXPECT_TRUE(Readable(fd));
	EXPECT_EQ(Recv(fd), "2");
	EXPECT_FALSE(Readable(fd)) << "no call is needed to find out";
	p->Deliver(Id(fd), "3");
	EXPECT_TRUE(Readable(fd));
	EXPECT_EQ(Recv(fd), "3");
	EXPECT_FALSE(Readable(fd));
}

TEST_F(ReadinessTest, FollowsTheKernelSocket)
{
	Start();
	int fd = Claimed();

	SendKernel(fd, "1");
	EXPECT_TRUE(Readable(fd));
	EXPECT_EQ(Recv(fd), "1");
	EXPECT_FALSE(Readable(fd));
}

TEST_F(ReadinessTest, PeekTakesNothingAway)
{
	Peer *p = Start();
	int fd = Claimed();

	p->Deliver(Id(fd), "1");
	EXPECT_EQ(Recv(fd, MSG_PEEK), "1");
	EXPECT_TRUE(Readable(fd));
	EXPECT_EQ(Recv(fd), "1");
	EXPECT_FALSE(Readable(fd));
}

// The worker has published but not signalled yet when the client takes the datagram: no token may
// be left over.
TEST_F(ReadinessTest, ASignalThatComesLateIsNotGiven)
{
	Peer *p = Start();
	int fd = Claimed();

	p->Put(Id(fd), "1", "10.0.0.1:1", 0, 0);
	EXPECT_EQ(Recv(fd), "1");
	p->Signal(Id(fd));
	EXPECT_EQ(p->Tokens(), 0u);
	EXPECT_FALSE(Readable(fd));
	p->Deliver(Id(fd), "2");
	EXPECT_TRUE(Readable(fd));
}

// As before, but the next datagram is there already: it must be signalled.
TEST_F(ReadinessTest, ASignalForWhatIsLeftIsGiven)
{
	Peer *p = Start();
	int fd = Claimed();

	p->Put(Id(fd), "1", "10.0.0.1:1", 0, 0);
	p->Put(Id(fd), "2", "10.0.0.1:1", 0, 0);
	EXPECT_EQ(Recv(fd), "1");
	p->Signal(Id(fd));
	EXPECT_TRUE(Readable(fd));
	EXPECT_EQ(Recv(fd), "2");
	EXPECT_FALSE(Readable(fd));
}

// A spinner takes the arms back, so nobody signals; what it leaves in the ring must show all the
// same.
TEST_F(ReadinessTest, WhatASpinnerLeavesBehindShows)
{
	Peer *p = Start();
	int fd = Claimed(SOCK_DGRAM);
	uint32_t id = Id(fd);

	context.spin_ns = 1000000000;
	Receiver r(fd);
	ASSERT_TRUE(Until([&] { return !p->Armed(id); }));
	for (int i = 0; i < 3; i++)
		p->Put(id, std::to_string(i), "10.0.0.1:1", 0, 0);
	p->Signal(id);
	EXPECT_EQ(r.Join(), "0");
	// The spinner may have been quick and have taken 0 before 1 came; then 1 was signalled.
	EXPECT_TRUE(Readable(fd, 5000));
	EXPECT_EQ(Recv(fd), "1");
	EXPECT_TRUE(Readable(fd));
	EXPECT_EQ(Recv(fd), "2");
	EXPECT_FALSE(Readable(fd));
	EXPECT_TRUE(p->Armed(id));
}

TEST_F(ReadinessTest, ASpinnerIsNotSignalled)
{
	Peer *p = Start();
	int fd = Claimed(SOCK_DGRAM);
	uint32_t id = Id(fd);

	context.spin_ns = 5000000000;
	Receiver r(fd);
	ASSERT_TRUE(Until([&] { return !p->Armed(id); }));
	p->Deliver(id, "x");
	EXPECT_EQ(r.Join(), "x");
	EXPECT_EQ(p->Tokens(), 0u);
	EXPECT_FALSE(Readable(fd));
}

TEST_F(ReadinessTest, ASpinnerLooksAtTheKernelSocket)
{
	Peer *p = Start();
	int fd = Claimed(SOCK_DGRAM);
	uint32_t id = Id(fd);

	context.spin_ns = 5000000000;
	for (int i = 0; i < 20; i++) {
		Receiver r(fd);
		if (i % 2) { // it spins already
			ASSERT_TRUE(Until([&] { return !p->Armed(id); }));
		}
		SendKernel(fd, "kernel");
		ASSERT_EQ(r.Join(), "kernel");
		ASSERT_FALSE(Readable(fd));
	}
}

TEST_F(ReadinessTest, ASleeperIsWoken)
{
	Peer *p = Start();
	int fd = Claimed(SOCK_DGRAM);

	for (int i = 0; i < 100; i++) {
		Receiver r(fd);
		p->Deliver(Id(fd), std::to_string(i));
		ASSERT_EQ(r.Join(), std::to_string(i));
		ASSERT_FALSE(Readable(fd));
	}
}

TEST_F(ReadinessTest, ASleeperIsWokenByTheKernelSocket)
{
	Start();
	int fd = Claimed(SOCK_DGRAM);
	Receiver r(fd);

	SendKernel(fd, "kernel");
	EXPECT_EQ(r.Join(), "kernel");
}

TEST_F(ReadinessTest, ManyWorkersShareOnePipe)
{
	Peer::Options o;
	o.workers = 4;
	Peer *p = Start(o);
	int fd = Claimed();

	for (uint32_t w = 0; w < 4; w++)
		p->Deliver(Id(fd), std::to_string(w), "10.0.0.1:1", 0, w);
	EXPECT_EQ(p->Tokens(), 4u);
	for (uint32_t w = 0; w < 4; w++) {
		EXPECT_TRUE(Readable(fd));
		EXPECT_EQ(Recv(fd), std::to_string(w));
	}
	EXPECT_FALSE(Readable(fd));
	for (uint32_t w = 0; w < 4; w++)
		EXPECT_TRUE(p->Armed(Id(fd), w));
}

// Anything in any order; after each step the descriptor must tell the truth.
TEST_F(ReadinessTest, HoldsForRandomOrders)
{
	Peer::Options o;
	o.workers = 2;
	o.ring_size = 8;
	o.start = 0xffffff80u;
	Peer *p = Start(o);
	int fd = Claimed();
	uint32_t id = Id(fd), late = 0;
	std::mt19937 rng(1);
	int here = 0;

	for (int step = 0; step < 20000; step++) {
		uint32_t w = rng() % 2;
		struct udplane_pkt pkts[3];
		int n;

		switch (rng() % 9) {
		case 0:
		case 1:
			here += p->Deliver(id, "x", "10.0.0.1:1",
					   rng() % 16 == 0 ? UDPLANE_RX_SWITCHED : 0, w);
			break;
		case 2: // published, signal delayed by one step
			here += p->Put(id, "x", "10.0.0.1:1", 0, w);
			late |= 1u << w;
			continue;
		case 3:
			SendKernel(fd, "k");
			here++;
			break;
		case 4:
			if (Recv(fd, MSG_PEEK) == "!EAGAIN") {
				ASSERT_EQ(here, 0) << step;
			}
			break;
		case 5:
		case 6:
			if (Recv(fd) != "!EAGAIN") {
				here--;
			} else {
				ASSERT_EQ(here, 0) << step;
			}
			break;
		case 7:
			n = udplane_recv_burst(fd, pkts, 3, 0);
			if (n > 0) {
				here -= n;
				udplane_release(fd, pkts, static_cast<unsigned int>(n));
			}
			ASSERT_TRUE(n == 3 || here == 0)
				<< step << ": a short burst means that all is empty";
			break;
		case 8:
			if (rng() % 8 == 0)
				while (Recv(fd) != "!EAGAIN")
					here--;
			break;
		}
		for (uint32_t i = 0; i < 2; i++)
			if (late & 1u << i)
				p->Signal(id, i);
		late = 0;
		ASSERT_EQ(Readable(fd), here > 0) << "step " << step << ", " << here << " to read";
	}
	while (Recv(fd) != "!EAGAIN")
		here--;
	EXPECT_EQ(here, 0);
	EXPECT_EQ(p->FramesOut(), 0u);
}

// The error queue is not for a receive to take: a loop that looks for data alone must not go round
// for ever, nor miss any.
class ErrorQueueTest : public ReadinessTest, public ::testing::WithParamInterface<bool>
{
      protected:
	// An ICMP error comes to fd.
	void Refuse(int fd)
	{
		struct sockaddr_storage to;
		socklen_t len = Address("127.0.0.1:9", &to);
		struct pollfd p = {udplane_kernel_fd(fd), 0, 0};

		ASSERT_EQ(udplane_sendto(fd, "x", 1, 0, reinterpret_cast<struct sockaddr *>(&to),
					 len),
			  1);
		ASSERT_EQ(poll(&p, 1, 5000), 1);
	}
	// Receives while fd is readable; how often it was.
	int Rounds(int fd)
	{
		int n = 0;

		while (n < 1000 && Readable(fd)) {
			last_ = Recv(fd);
			n++;
		}
		return n;
	}
	int ReadErrorQueue(int fd)
	{
		char byte;
		struct iovec iov = {&byte, 1};
		struct msghdr h = {};

		h.msg_iov = &iov;
		h.msg_iovlen = 1;
		return static_cast<int>(udplane_recvmsg(fd, &h, MSG_ERRQUEUE));
	}
	std::string last_;
};

TEST_P(ErrorQueueTest, DoesNotMakeALoopSpin)
{
	Peer *p = GetParam() ? Start() : nullptr;
	int fd = Open(), on = 1;

	ASSERT_EQ(udplane_setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on)), 0);
	ASSERT_EQ(Status(fd).accelerated, GetParam() ? 1 : 0);
	Refuse(fd);
	EXPECT_TRUE(Readable(fd));
	EXPECT_EQ(Recv(fd), "!ECONNREFUSED");
	EXPECT_LE(Rounds(fd), 2);
	for (int i = 0; i < 3; i++) {
		SendKernel(fd, "x");
		EXPECT_TRUE(Readable(fd));
		EXPECT_LE(Rounds(fd), 2);
		if (p) {
			p->Deliver(Id(fd), "y");
			EXPECT_TRUE(Readable(fd));
			EXPECT_EQ(Recv(fd), "y");
			EXPECT_LE(Rounds(fd), 2);
		}
	}
	Refuse(fd);
	EXPECT_TRUE(Readable(fd)) << "another one";
	EXPECT_EQ(Recv(fd), "!ECONNREFUSED");
	EXPECT_LE(Rounds(fd), 2);
	EXPECT_EQ(ReadErrorQueue(fd), 1);
	EXPECT_TRUE(Readable(fd)) << "one is left";
	EXPECT_EQ(ReadErrorQueue(fd), 1);
	EXPECT_FALSE(Readable(fd));
}

TEST_P(ErrorQueueTest, DoesNotMakeABlockingReceiveSpin)
{
	if (GetParam())
		Start();
	int fd = Open(SOCK_DGRAM), on = 1;
	struct timeval tv = {0, 300000};
	struct timespec cpu = {};

	ASSERT_EQ(udplane_setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on)), 0);
	Refuse(fd);
	EXPECT_EQ(Recv(fd), "!ECONNREFUSED");
	ASSERT_EQ(udplane_setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), 0);
	std::thread([&] {
		EXPECT_EQ(Recv(fd), "!EAGAIN");
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
	}).join();
	EXPECT_LT(cpu.tv_nsec, 100000000) << "of 300 ms";
	Receiver r(fd);
	SendKernel(fd, "x");
	EXPECT_EQ(r.Join(), "x");
}

INSTANTIATE_TEST_SUITE_P(Paths, ErrorQueueTest, ::testing::Bool());
} // namespace
