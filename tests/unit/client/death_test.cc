// SPDX-License-Identifier: Apache-2.0
// udplaned dies, leaves, comes back: no datagram that was in a ring is lost or doubled, and sockets
// go on.
#include <arpa/inet.h>
#include <fcntl.h>
#include <unistd.h>

#include "tests/unit/client/peer.h"

namespace
{
class DeathTest : public ClientTest
{
      protected:
	/* n datagrams into the TX ring of fd, for the plain socket on loopback. */
	void Queue(int fd, int from, int n)
	{
		const uint8_t loopback[4] = {127, 0, 0, 1};
		struct sockaddr_storage ss;
		socklen_t len = Address("10.1.2.3:1", &ss);

		for (int i = from; i < from + n; i++) {
			std::string s = std::to_string(i);
			ASSERT_EQ(udplane_sendto(fd, s.data(), s.size(), 0,
						 reinterpret_cast<struct sockaddr *>(&ss), len),
				  static_cast<ssize_t>(s.size()));
		}
		peer_->Redirect(loopback, plain_port());
	}
	/* The library has noticed. */
	void Notice(int fd)
	{
		ASSERT_TRUE(Until([&] { return !strcmp(Status(fd).reason, "no_sidecar"); }));
	}
	void Restart()
	{
		peer_.reset();
		peer_.reset(new Peer(path_));
	}
};

TEST_F(DeathTest, WhatWasNotTakenIsSentByTheKernelInOrder)
{
	Peer::Options o;
	o.start = 0xfffffffau;
	Peer *p = Start(o);
	p->SetPrefix("10.0.0.0/8");
	int a = Claimed(), b = Claimed();

	Queue(a, 0, 10);
	Queue(b, 100, 5);
	Queue(a, 10, 10);
	ASSERT_EQ(p->Take(4).size(), 4u); // 0 to 3 were sent by the worker
	p->Die();
	Notice(a);
	std::vector<int> from_a, from_b;
	for (int i = 0; i < 21; i++) {
		int n = atoi(PlainRecv().c_str());
		(n >= 100 ? from_b : from_a).push_back(n);
	}
	ASSERT_EQ(from_a.size(), 16u);
	for (size_t i = 0; i < 16; i++)
		EXPECT_EQ(from_a[i], static_cast<int>(i) + 4);
	ASSERT_EQ(from_b.size(), 5u);
	for (size_t i = 0; i < 5; i++)
		EXPECT_EQ(from_b[i], static_cast<int>(i) + 100);
	EXPECT_FALSE(Readable(plain())) << "nothing twice";
	EXPECT_EQ(Status(a).fast_tx, 4u);
	EXPECT_EQ(Status(a).kernel_tx, 16u);
}

/* The kernel sends it as it would have gone by the ring, though the options are others by then. */
TEST_F(DeathTest, WhatWasNotTakenKeepsItsOptions)
{
	Peer *p = Start();
	p->on_welcome = [](struct udplane_welcome *w) { w->minor = 2; };
	p->SetPrefix("10.0.0.0/8");
	int fd = Claimed();
	auto set = [](int to, int level, int name, int value) {
		ASSERT_EQ(udplane_setsockopt(to, level, name, &value, sizeof(value)), 0);
	};
	const int on = 1;

	setsockopt(plain(), IPPROTO_IP, IP_RECVTOS, &on, sizeof(on));
	setsockopt(plain(), IPPROTO_IP, IP_RECVTTL, &on, sizeof(on));
	set(fd, IPPROTO_IP, IP_TOS, 0x28);
	set(fd, IPPROTO_IP, IP_TTL, 9);
	Queue(fd, 12345, 1);
	set(fd, IPPROTO_IP, IP_TOS, 0x48);
	set(fd, IPPROTO_IP, IP_TTL, 11);
	set(fd, IPPROTO_UDP, 103 /* UDP_SEGMENT */, 2);
	ASSERT_TRUE(Status(fd).accelerated);
	p->Die();
	Notice(fd);
	ASSERT_TRUE(Readable(plain(), 5000));
	char data[16];
	alignas(8) uint8_t control[128];
	struct iovec iov = {data, sizeof(data)};
	struct msghdr h = {};
	int tos = 0, ttl = 0;

	h.msg_iov = &iov;
	h.msg_iovlen = 1;
	h.msg_control = control;
	h.msg_controllen = sizeof(control);
	EXPECT_EQ(recvmsg(plain(), &h, MSG_DONTWAIT), 5);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c)) {
		if (c->cmsg_type == IP_TOS)
			tos = *CMSG_DATA(c);
		if (c->cmsg_type == IP_TTL)
			memcpy(&ttl, CMSG_DATA(c), sizeof(ttl));
	}
	EXPECT_EQ(tos, 0x28);
	EXPECT_EQ(ttl, 9);
	EXPECT_FALSE(Readable(plain())) << "nothing twice";
}

TEST_F(DeathTest, WhatALivingWorkerMaySendIsNotSentTwice)
{
	Peer *p = Start();
	p->SetPrefix("10.0.0.0/8");
	int a = Claimed(), b = Claimed();

	Queue(a, 0, 3);
	p->silent = true; // the control thread hangs, the worker does not
	Close(b);
	EXPECT_TRUE(Until([&] {
		Recv(a);
		return Sock(a)->tx.lane == nullptr;
	}));
	EXPECT_EQ(p->Take().size(), 3u);
	EXPECT_FALSE(Readable(plain()));
}

TEST_F(DeathTest, ASendThatFindsTheRingFullNotices)
{
	Peer::Options o;
	o.tx_slots = 8;
	Peer *p = Start(o);
	p->SetPrefix("10.0.0.0/8");
	int fd = Claimed();

	Queue(fd, 0, 8);
	p->Die();
	struct sockaddr_storage ss;
	socklen_t len = Address("10.1.2.3:1", &ss);
	udplane_sendto(fd, "later", 5, 0, reinterpret_cast<struct sockaddr *>(&ss), len);
	for (int i = 0; i < 8; i++) // before the call has returned
		EXPECT_EQ(PlainRecv(), std::to_string(i));
	EXPECT_EQ(Sock(fd)->tx.lane, nullptr);
}

TEST_F(DeathTest, WhatWasInTheRingIsStillRead)
{
	Peer *p = Start();
	int fd = Claimed();

	p->Deliver(Id(fd), "0");
	p->Deliver(Id(fd), "1");
	p->Deliver(Id(fd), "2", "10.1.2.3:9");
	p->Die();
	SendKernel(fd, "3");
	Notice(fd);
	EXPECT_TRUE(Readable(fd));
	EXPECT_EQ(Recv(fd), "0");
	EXPECT_EQ(Recv(fd, MSG_PEEK), "1");
	struct udplane_pkt pkts[4];
	ASSERT_EQ(udplane_recv_burst(fd, pkts, 4, 0), 3);
	EXPECT_EQ(memcmp(pkts[0].data, "1", 1), 0);
	EXPECT_EQ(memcmp(pkts[1].data, "2", 1), 0);
	EXPECT_EQ(pkts[1].peer.port_be, htons(9));
	EXPECT_EQ(memcmp(pkts[2].data, "3", 1), 0);
	udplane_release(fd, pkts, 3);
	EXPECT_FALSE(Readable(fd));
	EXPECT_EQ(Recv(fd), "!EAGAIN");
}

TEST_F(DeathTest, OrderHoldsEvenIfASwitchWasPending)
{
	Peer *p = Start();
	int fd = Claimed();

	SendKernel(fd, "0");
	p->Deliver(Id(fd), "1", "10.0.0.1:1", UDPLANE_RX_SWITCHED);
	p->Die();
	Notice(fd);
	EXPECT_EQ(Recv(fd), "0");
	EXPECT_EQ(Recv(fd), "1");
}

TEST_F(DeathTest, AReaderAsleepInPollIsToldAndFindsNothing)
{
	Peer *p = Start();
	int fd = Claimed();

	p->Die();
	EXPECT_TRUE(Readable(fd, 5000))
		<< "the wake socket hangs up: the one readiness that is not exact";
	EXPECT_TRUE(Until([&] {
		EXPECT_EQ(Recv(fd), "!EAGAIN");
		return !Readable(fd);
	}));
	SendKernel(fd, "x");
	EXPECT_TRUE(Readable(fd));
	EXPECT_EQ(Recv(fd), "x");
}

TEST_F(DeathTest, AReaderAsleepInRecvGoesOnWithTheKernel)
{
	Peer *p = Start();
	int fd = Claimed(SOCK_DGRAM);
	Receiver r(fd);

	ASSERT_TRUE(Until([&] { return Visitors(fd) > 0; }));
	p->Die();
	SendKernel(fd, "x");
	EXPECT_EQ(r.Join(), "x");
}

TEST_F(DeathTest, GoodbyeIsWellTaken)
{
	Peer *p = Start();
	p->SetPrefix("10.0.0.0/8");
	int fd = Claimed();

	p->Deliver(Id(fd), "0");
	Queue(fd, 0, 1);
	p->Take();
	p->Goodbye();
	EXPECT_EQ(Recv(fd), "0");
	Notice(fd);
	EXPECT_EQ(Recv(fd), "!EAGAIN");
	EXPECT_FALSE(Readable(plain()));
}

// A thread may have put an entry into the ring after udplaned looked for the last time; it was not
// taken, so it is sent.
TEST_F(DeathTest, WhatCameBehindTheLastLookIsSent)
{
	Peer *p = Start();
	p->SetPrefix("10.0.0.0/8");
	int fd = Claimed();

	Queue(fd, 0, 2);
	p->Take(1);
	p->Goodbye();
	Notice(fd);
	EXPECT_EQ(PlainRecv(), "1");
}

TEST_F(DeathTest, ComesBack)
{
	Start();
	int fd = Claimed(), other = Claimed();

	for (int i = 0; i < 5; i++) {
		peer_->Deliver(Id(fd), "last of " + std::to_string(i));
		peer_->Die();
		Notice(fd);
		SendKernel(fd, "kernel");
		EXPECT_EQ(Recv(fd), "last of " + std::to_string(i));
		EXPECT_EQ(Recv(fd), "kernel");
		Restart();
		ASSERT_TRUE(Until([&] {
			Recv(fd);
			Recv(other);
			return Status(fd).accelerated && Status(other).accelerated;
		}));
		EXPECT_EQ(peer_->Attaches(), 1u);
		ASSERT_TRUE(peer_->Deliver(Id(fd), "new"));
		EXPECT_TRUE(Readable(fd));
		EXPECT_EQ(Recv(fd), "new");
		EXPECT_FALSE(Readable(fd));
	}
}

TEST_F(DeathTest, ASleeperInRecvFindsTheNewOneWithinASecondOrSo)
{
	int fd = Open(SOCK_DGRAM);
	Receiver r(fd);

	peer_.reset(new Peer(path_));
	EXPECT_TRUE(Until([&] { return peer_->Socks().size() == 1; }));
	ASSERT_TRUE(Until([&] { return peer_->Armed(peer_->Socks()[0]); }));
	peer_->Deliver(peer_->Socks()[0], "fast");
	EXPECT_EQ(r.Join(), "fast");
}

TEST_F(DeathTest, ZonesAreUnmappedWhenNothingIsHeld)
{
	Peer *p = Start();
	int fd = Claimed();
	struct udplane_pkt pkt;
	auto mapped = [] {
		FILE *f = fopen("/proc/self/maps", "re");
		char line[512];
		int n = 0;
		while (fgets(line, sizeof(line), f))
			n += strstr(line, "memfd:peer") != nullptr;
		fclose(f);
		return n;
	};
	int with = mapped();

	p->Deliver(Id(fd), "held");
	p->Deliver(Id(fd), "unread");
	ASSERT_EQ(udplane_recv_burst(fd, &pkt, 1, 0), 1);
	p->Die();
	Notice(fd);
	EXPECT_EQ(mapped(), with);
	EXPECT_EQ(memcmp(pkt.data, "held", 4), 0);
	udplane_release(fd, &pkt, 1);
	EXPECT_EQ(mapped(), with - 3) << "stats, frames, channel";
	EXPECT_EQ(Recv(fd), "unread");
}

TEST_F(DeathTest, NonsenseIndicesDetach)
{
	Peer *p = Start();
	p->SetPrefix("10.0.0.0/8");
	int fd = Claimed();
	auto *ring = const_cast<struct udplane_rx_ring *>(p->Ring(Id(fd)));

	udplane_store32(&ring->head.prod_idx, 0x80000000u);
	EXPECT_EQ(Recv(fd), "!EAGAIN");
	SendKernel(fd, "kernel");
	EXPECT_EQ(Recv(fd), "kernel");
	EXPECT_TRUE(Until([&] {
		Recv(fd);
		return !Readable(fd);
	}));
}

TEST_F(DeathTest, AClosedConnectionDuringARequestIsSurvived)
{
	Peer *p = Start();
	int fd = Claimed();

	p->silent = true;
	Close(fd); // no answer to RELEASE
	p->silent = false;
	int next = Open();
	EXPECT_TRUE(Until([&] {
		Recv(next);
		return Status(next).accelerated;
	}));
}
} // namespace
