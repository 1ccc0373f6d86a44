// SPDX-License-Identifier: Apache-2.0
// Which path a datagram takes, and that it arrives there whole and in order.
#include <arpa/inet.h>
#include <fcntl.h>

#include "tests/unit/client/peer.h"

namespace
{
ssize_t SendTo(int fd, const std::string &payload, const std::string &to, int flags = 0)
{
	struct sockaddr_storage ss;
	socklen_t len = Address(to, &ss);

	return udplane_sendto(fd, payload.data(), payload.size(), flags,
			      reinterpret_cast<struct sockaddr *>(&ss), len);
}

class SendTest : public ClientTest
{
      protected:
	/* Sends, and says whether it went through the ring. */
	bool Fast(int fd, const std::string &to, size_t len = 10, int flags = 0)
	{
		uint64_t before = Status(fd).fast_tx;

		SendTo(fd, std::string(len, 'x'), to, flags);
		bool fast = Status(fd).fast_tx == before + 1;
		EXPECT_EQ(peer_->Take().size(), fast ? 1u : 0u);
		return fast;
	}
	/* A socket on the wildcard, claimed. */
	int Any(int domain = AF_INET, bool v6only = false)
	{
		int fd = udplane_socket(domain, SOCK_DGRAM | SOCK_NONBLOCK, 0), one = 1;
		struct sockaddr_storage ss;
		socklen_t len = Address(domain == AF_INET ? "0.0.0.0:0" : "[::]:0", &ss);

		if (v6only) {
			EXPECT_EQ(udplane_setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one,
						     sizeof(one)),
				  0);
		}
		EXPECT_EQ(udplane_bind(fd, reinterpret_cast<struct sockaddr *>(&ss), len), 0);
		EXPECT_TRUE(Status(fd).accelerated) << Status(fd).text;
		return fd;
	}
};

TEST_F(SendTest, PutsPayloadAndDestinationIntoTheRing)
{
	Peer *p = Start();
	p->SetPrefix("10.0.0.0/8");
	int fd = Any();

	EXPECT_EQ(SendTo(fd, "hello", "10.1.2.3:4567"), 5);
	EXPECT_EQ(SendTo(fd, "", "10.1.2.4:4568"), 0);
	std::vector<Sent> s = p->Take();
	ASSERT_EQ(s.size(), 2u);
	EXPECT_EQ(s[0].payload, "hello");
	EXPECT_EQ(s[0].port, 4567);
	EXPECT_EQ(s[0].sock, Id(fd));
	EXPECT_FALSE(s[0].ipv6);
	EXPECT_EQ(memcmp(s[0].dst, "\x0a\x01\x02\x03", 4), 0);
	EXPECT_EQ(s[1].payload, "");
	EXPECT_EQ(s[1].dst[3], 4);
	udplane_close(fd);
}

TEST_F(SendTest, GathersBuffersAndSendsMany)
{
	Peer *p = Start();
	p->SetPrefix("0.0.0.0/0");
	int fd = Any();
	char a[] = "ab", b[] = "cde";
	struct iovec iov[] = {{a, 2}, {nullptr, 0}, {b, 3}};
	struct sockaddr_storage ss;
	struct mmsghdr vec[3] = {};

	for (auto &v : vec) {
		v.msg_hdr.msg_name = &ss;
		v.msg_hdr.msg_namelen = Address("192.0.2.1:53", &ss);
		v.msg_hdr.msg_iov = iov;
		v.msg_hdr.msg_iovlen = 3;
	}
	EXPECT_EQ(udplane_sendmmsg(fd, vec, 3, 0), 3);
	EXPECT_EQ(udplane_sendmsg(fd, &vec[0].msg_hdr, MSG_NOSIGNAL), 5);
	std::vector<Sent> s = p->Take();
	ASSERT_EQ(s.size(), 4u);
	for (const Sent &m : s)
		EXPECT_EQ(m.payload, "abcde");
	EXPECT_EQ(vec[2].msg_len, 5u);
	udplane_close(fd);
}

TEST_F(SendTest, OnlyListedUnicastIsFast)
{
	Peer *p = Start();
	int fd = Any();

	EXPECT_FALSE(Fast(fd, "10.1.2.3:1")) << "no prefix yet";
	p->SetPrefix("10.0.0.0/8");
	p->SetPrefix("192.168.7.0/25", true);
	EXPECT_TRUE(Fast(fd, "10.1.2.3:1"));
	EXPECT_FALSE(Fast(fd, "11.1.2.3:1"));
	EXPECT_TRUE(Fast(fd, "192.168.7.1:1"));
	EXPECT_FALSE(Fast(fd, "192.168.7.0:1")) << "network address";
	EXPECT_FALSE(Fast(fd, "192.168.7.127:1")) << "broadcast address";
	EXPECT_FALSE(Fast(fd, "192.168.7.128:1"));
	EXPECT_FALSE(Fast(fd, "10.1.2.3:0")) << "EINVAL is the kernel's";
	p->SetPrefix("0.0.0.0/0");
	EXPECT_TRUE(Fast(fd, "11.1.2.3:1"));
	EXPECT_FALSE(Fast(fd, "192.168.7.127:1"))
		<< "broadcast even if the default route covers it";
	EXPECT_FALSE(Fast(fd, "224.0.0.1:1"));
	EXPECT_FALSE(Fast(fd, "255.255.255.255:1"));
	EXPECT_FALSE(Fast(fd, "127.0.0.1:1"));
	EXPECT_FALSE(Fast(fd, "0.0.0.0:1"));
	p->ClearPrefixes();
	EXPECT_FALSE(Fast(fd, "10.1.2.3:1")) << "the copy follows";
	udplane_close(fd);
}

TEST_F(SendTest, HolesAreTheKernels)
{
	Peer *p = Start();
	int fd = Any();

	p->SetPrefix("0.0.0.0/0");
	p->SetPrefix("10.0.0.0/8", false, true); /* unreachable */
	p->SetPrefix("10.1.0.0/16");
	EXPECT_TRUE(Fast(fd, "11.1.2.3:1"));
	EXPECT_FALSE(Fast(fd, "10.2.2.3:1"));
	EXPECT_TRUE(Fast(fd, "10.1.2.3:1")) << "the longest prefix decides";
	p->Row(Id(fd))->tx_reason = UDPLANE_REASON_NOT_LOCAL;
	EXPECT_FALSE(Fast(fd, "11.1.2.3:1")) << "udplaned says that the socket sends by the kernel";
	p->Row(Id(fd))->tx_reason = UDPLANE_REASON_NONE;
	EXPECT_TRUE(Fast(fd, "11.1.2.3:1"));
	udplane_close(fd);
}

TEST_F(SendTest, NotToItself)
{
	Peer *p = Start();
	p->SetPrefix("0.0.0.0/0");
	int fd = Claimed(); // bound to 127.0.0.1

	memcpy(Sock(fd)->tx.local.addr, "\x0a\x01\x02\x03", 4); // as if bound to 10.1.2.3
	EXPECT_FALSE(Fast(fd, "10.1.2.3:1"));
	EXPECT_TRUE(Fast(fd, "10.1.2.4:1"));
}

TEST_F(SendTest, IPv6Destinations)
{
	Peer *p = Start();
	int fd = Any(AF_INET6), only = Any(AF_INET6, true);

	p->SetPrefix("fd00::/17");
	p->SetPrefix("fe80::/64");
	p->SetPrefix("10.0.0.0/8");
	EXPECT_TRUE(Fast(fd, "[fd00::1]:1"));
	EXPECT_FALSE(Fast(fd, "[fd00:8000::1]:1"));
	EXPECT_FALSE(Fast(fd, "[fe80::1]:1")) << "no scope";
	EXPECT_FALSE(Fast(fd, "[fe80::1%76]:1")) << "another interface";
	EXPECT_TRUE(Fast(fd, "[fe80::1%77]:1"));
	EXPECT_TRUE(Fast(fd, "[::ffff:10.1.2.3]:1"));
	EXPECT_FALSE(Fast(only, "[::ffff:10.1.2.3]:1"));
	p->SetPrefix("::/0");
	EXPECT_FALSE(Fast(fd, "[ff02::1]:1"));
	EXPECT_FALSE(Fast(fd, "[::1]:1"));
	EXPECT_FALSE(Fast(fd, "[::]:1"));
	EXPECT_TRUE(Fast(fd, "[2001:db8::1]:1"));
	EXPECT_FALSE(Fast(fd, "10.1.2.3:1")) << "an AF_INET name on an AF_INET6 socket";
	SendTo(fd, "six", "[2001:db8::1]:9");
	SendTo(fd, "four", "[::ffff:10.1.2.3]:9");
	std::vector<Sent> s = p->Take();
	ASSERT_EQ(s.size(), 2u);
	EXPECT_TRUE(s[0].ipv6);
	EXPECT_EQ(s[0].dst[0], 0x20);
	EXPECT_FALSE(s[1].ipv6);
	EXPECT_EQ(s[1].dst[0], 10);
	udplane_close(fd);
	udplane_close(only);
}

TEST_F(SendTest, LengthsThatFitOnePacket)
{
	Peer *p = Start();
	p->SetPrefix("0.0.0.0/0");
	p->SetPrefix("::/0");
	int fd = Any(), six = Any(AF_INET6);

	EXPECT_TRUE(Fast(fd, "10.1.2.3:1", 1472));
	EXPECT_FALSE(Fast(fd, "10.1.2.3:1", 1473));
	EXPECT_TRUE(Fast(six, "[fd00::1]:1", 1452));
	EXPECT_FALSE(Fast(six, "[fd00::1]:1", 1453));
	EXPECT_TRUE(Fast(six, "[::ffff:10.1.2.3]:1", 1472));
	p->Stats()->mtu = 9000;
	EXPECT_TRUE(Fast(fd, "10.1.2.3:1", 2048));
	EXPECT_FALSE(Fast(fd, "10.1.2.3:1", 2049)) << "larger than a slot";
	udplane_close(fd);
	udplane_close(six);
}

TEST_F(SendTest, FlagsAndControlDataTakeTheKernelPath)
{
	Peer *p = Start();
	p->SetPrefix("0.0.0.0/0");
	int fd = Any();
	char control[64] = {}, byte = 'x';
	struct iovec iov = {&byte, 1};
	struct sockaddr_storage ss;
	struct msghdr mh = {};

	EXPECT_TRUE(Fast(fd, "10.1.2.3:1", 1, MSG_DONTWAIT | MSG_NOSIGNAL));
	EXPECT_TRUE(Fast(fd, "10.1.2.3:1", 1, MSG_CONFIRM)) << "neighbours are refreshed anyway";
	EXPECT_FALSE(Fast(fd, "10.1.2.3:1", 1, MSG_DONTROUTE));
	mh.msg_name = &ss;
	mh.msg_namelen = Address("10.1.2.3:1", &ss);
	mh.msg_iov = &iov;
	mh.msg_iovlen = 1;
	mh.msg_control = control;
	mh.msg_controllen = sizeof(control);
	udplane_sendmsg(fd, &mh, 0);
	EXPECT_EQ(p->Take().size(), 0u);
	udplane_close(fd);
}

TEST_F(SendTest, AfterMsgMoreTheKernelHasItAll)
{
	Peer *p = Start();
	p->SetPrefix("0.0.0.0/0");
	int fd = Claimed();
	std::string to = "127.0.0.1:" + std::to_string(plain_port());

	EXPECT_EQ(SendTo(fd, "one ", to, MSG_MORE), 4);
	EXPECT_EQ(udplane_send(fd, "two ", 4, MSG_MORE), 4);
	EXPECT_EQ(udplane_send(fd, "three", 5, 0), 5);
	EXPECT_EQ(PlainRecv(), "one two three");
	EXPECT_TRUE(Fast(fd, "10.1.2.3:1"));
}

TEST_F(SendTest, ErrorsAreLinuxs)
{
	Peer *p = Start();
	p->SetPrefix("0.0.0.0/0");
	int fd = Any();
	char big[70000] = {};

	EXPECT_EQ(udplane_send(fd, "x", 1, 0), -1);
	EXPECT_EQ(errno, EDESTADDRREQ);
	EXPECT_EQ(SendTo(fd, "x", "10.1.2.3:0"), -1);
	EXPECT_EQ(errno, EINVAL);
	EXPECT_EQ(SendTo(fd, "x", "255.255.255.255:1"), -1);
	EXPECT_TRUE(errno == EACCES || errno == ENETUNREACH) << errno;
	struct sockaddr_storage ss;
	Address("10.1.2.3:1", &ss);
	EXPECT_EQ(udplane_sendto(fd, big, sizeof(big), 0, reinterpret_cast<struct sockaddr *>(&ss),
				 sizeof(struct sockaddr_in)),
		  -1);
	EXPECT_EQ(errno, EMSGSIZE);
	EXPECT_EQ(udplane_sendto(fd, big, 1, 0, reinterpret_cast<struct sockaddr *>(&ss), 3), -1);
	EXPECT_EQ(errno, EINVAL);
	EXPECT_EQ(udplane_sendto(fd, big, 1, 0, reinterpret_cast<struct sockaddr *>(&ss), 0), -1);
	EXPECT_EQ(errno, EINVAL);
	EXPECT_EQ(udplane_send(99999, big, 1, 0), -1);
	EXPECT_EQ(errno, EBADF);
	udplane_close(fd);
}

TEST_F(SendTest, ConnectedSocketsNeedNoName)
{
	Peer *p = Start();
	p->SetPrefix("0.0.0.0/0");
	int fd = Claimed();
	struct sockaddr_storage ss;
	socklen_t len = Address("127.0.0.1:" + std::to_string(plain_port()), &ss);

	ASSERT_EQ(udplane_connect(fd, reinterpret_cast<struct sockaddr *>(&ss), len), 0);
	EXPECT_EQ(p->Count(UDPLANE_MSG_UPDATE), 1u);
	EXPECT_EQ(udplane_send(fd, "x", 1, 0), 1);
	EXPECT_EQ(PlainRecv(), "x") << "the peer is on loopback";
	// As if the peer were 10.1.2.3: loopback sockets cannot connect there.
	struct sock *s = Sock(fd);
	memcpy(s->tx.peer.addr, "\x0a\x01\x02\x03", 4);
	s->tx.peer_fast = true;
	EXPECT_EQ(udplane_send(fd, "y", 1, 0), 1);
	ASSERT_EQ(p->Take().size(), 1u);
	EXPECT_TRUE(Fast(fd, "10.9.9.9:1")) << "a name goes before the peer";
}

TEST_F(SendTest, APendingErrorIsReportedBeforeTheNextSend)
{
	Peer *p = Start();
	p->SetPrefix("0.0.0.0/0");
	int fd = Claimed();
	struct sockaddr_storage ss;
	socklen_t len = Address("127.0.0.1:1", &ss);

	ASSERT_EQ(udplane_connect(fd, reinterpret_cast<struct sockaddr *>(&ss), len), 0);
	struct sock *s = Sock(fd);
	ASSERT_EQ(udplane_send(fd, "x", 1, 0), 1); // through the kernel, to nobody
	ASSERT_TRUE(Readable(fd, 5000));
	memcpy(s->tx.peer.addr, "\x0a\x01\x02\x03", 4);
	s->tx.peer_fast = true;
	s->tx.error_ticks = 0;
	EXPECT_EQ(udplane_send(fd, "y", 1, 0), -1);
	EXPECT_EQ(errno, ECONNREFUSED);
	EXPECT_EQ(p->Take().size(), 0u);
	EXPECT_EQ(udplane_send(fd, "y", 1, 0), 1);
	EXPECT_EQ(p->Take().size(), 1u);
}

TEST_F(SendTest, AFullRingIsWaitedForThenTheKernelSends)
{
	Peer::Options o;
	o.tx_slots = 8;
	o.start = 0xfffffffcu;
	Peer *p = Start(o);
	p->SetPrefix("10.0.0.0/8");
	int fd = Any();

	for (int i = 0; i < 8; i++)
		ASSERT_EQ(SendTo(fd, std::to_string(i), "10.1.2.3:1"), 1);
	uint64_t start = clock_now_ns();
	SendTo(fd, "8", "10.1.2.3:1"); // the kernel's result does not matter
	EXPECT_GE(clock_now_ns() - start, static_cast<uint64_t>(TX_FULL_WAIT_NONBLOCK_NS));
	EXPECT_EQ(Sock(fd)->tx.kernel_tx_full, 1u);
	EXPECT_EQ(p->Ring(Id(fd))->kernel_tx_full, 1u);
	std::vector<Sent> s = p->Take();
	ASSERT_EQ(s.size(), 8u);
	for (int i = 0; i < 8; i++)
		EXPECT_EQ(s[static_cast<size_t>(i)].payload, std::to_string(i));
	EXPECT_TRUE(Fast(fd, "10.1.2.3:1"));
	udplane_close(fd);
}

TEST_F(SendTest, ABlockingSocketWaitsLongerForRoom)
{
	Peer::Options o;
	o.tx_slots = 8;
	Peer *p = Start(o);
	p->SetPrefix("10.0.0.0/8");
	int fd = Any();

	ASSERT_EQ(udplane_fcntl(fd, F_SETFL, 0L), 0);
	for (int i = 0; i < 8; i++)
		ASSERT_EQ(SendTo(fd, std::to_string(i), "10.1.2.3:1"), 1);
	uint64_t start = clock_now_ns();
	SendTo(fd, "8", "10.1.2.3:1");
	EXPECT_GE(clock_now_ns() - start, static_cast<uint64_t>(TX_FULL_WAIT_NS));
	EXPECT_EQ(p->Take().size(), 8u);
	udplane_close(fd);
}

TEST_F(SendTest, AWorkerThatMakesRoomIsWaitedFor)
{
	Peer::Options o;
	o.tx_slots = 8;
	Peer *p = Start(o);
	p->SetPrefix("10.0.0.0/8");
	int fd = Any();
	size_t got = 0;
	std::atomic<size_t> elsewhere{
		0}; // through the kernel, which has no route: the worker was too slow

	std::thread worker([&] {
		EXPECT_TRUE(Until([&] { return (got += p->Take(3).size()) + elsewhere >= 1000; }));
	});
	for (int i = 0; i < 1000; i++)
		elsewhere += SendTo(fd, "x", "10.1.2.3:1") < 0;
	worker.join();
	EXPECT_EQ(got, Status(fd).fast_tx);
	udplane_close(fd);
}

TEST_F(SendTest, MixedBatchesKeepTheirOrderOnEachPath)
{
	Peer *p = Start();
	p->SetPrefix("10.0.0.0/8");
	int fd = Claimed();
	struct sockaddr_storage fast, slow;
	socklen_t len = Address("10.1.2.3:1", &fast);
	struct mmsghdr vec[40] = {};
	struct iovec iov[40];
	char num[40][4];

	Address("127.0.0.1:" + std::to_string(plain_port()), &slow);
	for (int i = 0; i < 40; i++) {
		iov[i] = {num[i], static_cast<size_t>(snprintf(num[i], 4, "%d", i))};
		vec[i].msg_hdr.msg_name = i % 5 < 2 ? &slow : &fast;
		vec[i].msg_hdr.msg_namelen = len;
		vec[i].msg_hdr.msg_iov = &iov[i];
		vec[i].msg_hdr.msg_iovlen = 1;
	}
	ASSERT_EQ(udplane_sendmmsg(fd, vec, 40, 0), 40);
	std::vector<Sent> s = p->Take();
	ASSERT_EQ(s.size(), 24u);
	size_t k = 0;
	for (int i = 0; i < 40; i++) {
		if (i % 5 < 2)
			EXPECT_EQ(PlainRecv(), std::to_string(i));
		else
			EXPECT_EQ(s[k++].payload, std::to_string(i));
		EXPECT_EQ(vec[i].msg_len, i < 10 ? 1u : 2u);
	}
}

TEST_F(SendTest, ASleepingWorkerIsWokenForBurstsOnly)
{
	Peer *p = Start();
	p->SetPrefix("10.0.0.0/8");
	int fd = Any();
	struct sockaddr_storage ss;
	socklen_t len = Address("10.1.2.3:1", &ss);
	struct mmsghdr vec[TX_ENGAGE_BURST] = {};
	char byte = 'x';
	struct iovec iov = {&byte, 1};

	p->Awake(false);
	EXPECT_FALSE(Fast(fd, "10.1.2.3:1"));
	EXPECT_FALSE(p->DoorbellRang());
	for (auto &v : vec) {
		v.msg_hdr.msg_name = &ss;
		v.msg_hdr.msg_namelen = len;
		v.msg_hdr.msg_iov = &iov;
		v.msg_hdr.msg_iovlen = 1;
	}
	ASSERT_EQ(udplane_sendmmsg(fd, vec, TX_ENGAGE_BURST, 0), TX_ENGAGE_BURST);
	EXPECT_TRUE(p->DoorbellRang());
	// As long as something waits there, the next go behind it.
	ASSERT_EQ(SendTo(fd, "y", "10.1.2.3:1"), 1);
	EXPECT_EQ(p->Take().size(), TX_ENGAGE_BURST + 1u);
	EXPECT_TRUE(p->DoorbellRang());
	// Singles in quick succession do, too.
	uint64_t before = Status(fd).fast_tx;
	EXPECT_TRUE(Until([&] {
		SendTo(fd, "z", "10.1.2.3:1");
		return Status(fd).fast_tx > before;
	}));
	EXPECT_TRUE(p->DoorbellRang());
	udplane_close(fd);
}

// A NIC of udplaned's own: there the kernel's way leads through the TAP to the same worker.
TEST_F(SendTest, AnEngagedWorkerThatSleepsIsWokenForEach)
{
	Peer *p = Start();
	p->SetPrefix("10.0.0.0/8");
	int fd = Any();

	p->Awake(false, true);
	EXPECT_TRUE(Fast(fd, "10.1.2.3:1"));
	EXPECT_TRUE(p->DoorbellRang());
	udplane_close(fd);
}

TEST_F(SendTest, ModeLatencyWakesForEach)
{
	Peer::Options o;
	o.mode = UDPLANE_MODE_LATENCY;
	Peer *p = Start(o);
	p->SetPrefix("10.0.0.0/8");
	int fd = Any();

	p->Awake(false);
	EXPECT_TRUE(Fast(fd, "10.1.2.3:1"));
	EXPECT_TRUE(p->DoorbellRang());
	udplane_close(fd);
}

TEST_F(SendTest, ASocketThatUdplanedGaveBackSendsThroughTheKernel)
{
	Peer *p = Start();
	p->SetPrefix("10.0.0.0/8");
	int fd = Any();

	p->Row(Id(fd))->state = UDPLANE_SOCKET_PENDING;
	EXPECT_TRUE(Fast(fd, "10.1.2.3:1"));
	p->Row(Id(fd))->state = UDPLANE_SOCKET_KERNEL;
	p->Row(Id(fd))->reason = UDPLANE_REASON_SHARED;
	EXPECT_FALSE(Fast(fd, "10.1.2.3:1"));
	EXPECT_STREQ(Status(fd).reason, "shared_with_plain_socket");
	EXPECT_FALSE(Status(fd).accelerated);
	udplane_close(fd);
}

TEST_F(SendTest, StopsAtOnceWhenUdplanedIsLeaving)
{
	Peer *p = Start();
	p->SetPrefix("10.0.0.0/8");
	int fd = Any();

	EXPECT_TRUE(Fast(fd, "10.1.2.3:1"));
	udplane_store32(&p->Stats()->state, UDPLANE_STATE_LEAVING);
	EXPECT_FALSE(Fast(fd, "10.1.2.3:1"));
	udplane_close(fd);
}

TEST_F(SendTest, AnAutomaticallyBoundSocketIsClaimedAfterItsFirstSend)
{
	Peer *p = Start();
	p->SetPrefix("10.0.0.0/8");
	int fd = udplane_socket(AF_INET, SOCK_DGRAM, 0);

	EXPECT_STREQ(Status(fd).reason, "not_bound");
	EXPECT_EQ(SendTo(fd, "first", "127.0.0.1:" + std::to_string(plain_port())), 5);
	EXPECT_TRUE(Status(fd).accelerated);
	EXPECT_EQ(PlainRecv(), "first");
	EXPECT_TRUE(Fast(fd, "10.1.2.3:1"));
	udplane_close(fd);
}
} // namespace
