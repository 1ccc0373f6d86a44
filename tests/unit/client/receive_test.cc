// SPDX-License-Identifier: Apache-2.0
// What comes out of rings, saved datagrams and kernel socket, in which order, and how the calls
// report it.
#include <sys/ioctl.h>

#include <linux/filter.h>

#include "tests/unit/client/peer.h"

namespace
{
constexpr uint32_t kNearWrap = 0xfffffff0u;

struct Got {
	ssize_t len;
	std::string payload, from;
	socklen_t fromlen;
};

Got RecvFrom(int fd, int flags = 0, size_t room = 2048)
{
	std::string buf(room, 0);
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	ssize_t n = udplane_recvfrom(fd, &buf[0], room, flags,
				     reinterpret_cast<struct sockaddr *>(&ss), &len);

	if (n < 0)
		return {n, strerrorname_np(errno), "", 0};
	buf.resize(std::min<size_t>(static_cast<size_t>(n), room));
	return {n, buf, Text(reinterpret_cast<struct sockaddr *>(&ss)), len};
}

class ReceiveTest : public ClientTest
{
};

TEST_F(ReceiveTest, DeliversPayloadAndSender)
{
	Peer *p = Start();
	int fd = Claimed();

	ASSERT_TRUE(p->Deliver(Id(fd), "hello", "10.1.2.3:4567"));
	Got g = RecvFrom(fd);
	EXPECT_EQ(g.payload, "hello");
	EXPECT_EQ(g.from, "10.1.2.3:4567");
	EXPECT_EQ(g.fromlen, sizeof(struct sockaddr_in));
	EXPECT_EQ(RecvFrom(fd).payload, "EAGAIN");
	EXPECT_EQ(p->FramesOut(), 0u);
	EXPECT_EQ(Status(fd).fast_rx, 1u);
}

TEST_F(ReceiveTest, IPv6SendersHaveScopeOnlyIfLinkLocal)
{
	Peer *p = Start();
	int fd = Claimed(SOCK_DGRAM | SOCK_NONBLOCK, AF_INET6);

	p->Deliver(Id(fd), "a", "[fd00::7]:1");
	p->Deliver(Id(fd), "b", "[fe80::7]:2");
	p->Deliver(Id(fd), "c", "10.1.2.3:3");
	Got g = RecvFrom(fd);
	EXPECT_EQ(g.from, "[fd00::7]:1");
	EXPECT_EQ(g.fromlen, sizeof(struct sockaddr_in6));
	EXPECT_EQ(RecvFrom(fd).from, "[fe80::7%77]:2");
	EXPECT_EQ(RecvFrom(fd).from, "[::ffff:10.1.2.3]:3");
}

TEST_F(ReceiveTest, ZeroLengthIsADatagram)
{
	Peer *p = Start();
	int fd = Claimed();

	p->Deliver(Id(fd), "");
	p->Deliver(Id(fd), "x");
	EXPECT_EQ(RecvFrom(fd).len, 0);
	EXPECT_EQ(RecvFrom(fd).payload, "x");
}

TEST_F(ReceiveTest, TruncatesAsLinuxDoes)
{
	Peer *p = Start();
	int fd = Claimed();
	char small[4];
	struct iovec iov = {small, 3};
	struct msghdr mh = {};

	mh.msg_iov = &iov;
	mh.msg_iovlen = 1;
	mh.msg_control = &mh; // room for control data: there is none
	mh.msg_controllen = 8;
	p->Deliver(Id(fd), "0123456789");
	EXPECT_EQ(udplane_recvmsg(fd, &mh, 0), 3);
	EXPECT_EQ(mh.msg_flags, MSG_TRUNC);
	EXPECT_EQ(mh.msg_controllen, 0u);
	p->Deliver(Id(fd), "0123456789");
	EXPECT_EQ(udplane_recvmsg(fd, &mh, MSG_TRUNC), 10);
	EXPECT_EQ(mh.msg_flags, MSG_TRUNC);
	p->Deliver(Id(fd), "012");
	EXPECT_EQ(udplane_recvmsg(fd, &mh, MSG_CMSG_CLOEXEC), 3);
	EXPECT_EQ(mh.msg_flags, MSG_CMSG_CLOEXEC);
	EXPECT_EQ(std::string(small, 3), "012");
}

TEST_F(ReceiveTest, ScattersOverBuffers)
{
	Peer *p = Start();
	int fd = Claimed();
	char a[3], b[4], c[9];
	struct iovec iov[] = {{a, 3}, {nullptr, 0}, {b, 4}, {c, 9}};
	struct msghdr mh = {};

	mh.msg_iov = iov;
	mh.msg_iovlen = 4;
	p->Deliver(Id(fd), "0123456789");
	EXPECT_EQ(udplane_recvmsg(fd, &mh, 0), 10);
	EXPECT_EQ(std::string(a, 3) + std::string(b, 4) + std::string(c, 3), "0123456789");
	EXPECT_EQ(mh.msg_flags, 0);
}

TEST_F(ReceiveTest, ShortNameBufferGetsAPartAndTheWholeLength)
{
	Peer *p = Start();
	int fd = Claimed();
	struct sockaddr_in in;
	char buf[8];
	socklen_t len = 4;

	memset(&in, 0x55, sizeof(in));
	p->Deliver(Id(fd), "x", "10.1.2.3:258");
	EXPECT_EQ(udplane_recvfrom(fd, buf, sizeof(buf), 0,
				   reinterpret_cast<struct sockaddr *>(&in), &len),
		  1);
	EXPECT_EQ(len, sizeof(in));
	EXPECT_EQ(in.sin_family, AF_INET);
	EXPECT_EQ(in.sin_port, htons(258));
	EXPECT_EQ(in.sin_addr.s_addr, 0x55555555u);
}

TEST_F(ReceiveTest, WrapsAroundTheIndex)
{
	Peer::Options o;
	o.start = kNearWrap;
	o.ring_size = 8;
	Peer *p = Start(o);
	int fd = Claimed();

	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 5; i++)
			ASSERT_TRUE(p->Deliver(Id(fd), std::to_string(round * 5 + i)));
		for (int i = 0; i < 5; i++)
			ASSERT_EQ(Recv(fd), std::to_string(round * 5 + i));
		ASSERT_EQ(Recv(fd), "!EAGAIN");
		ASSERT_EQ(p->FramesOut(), 0u);
	}
}

TEST_F(ReceiveTest, RingsInSegmentsWorkToo)
{
	Peer::Options o;
	o.segments = true;
	o.workers = 2;
	Peer *p = Start(o);
	int a = Claimed(), b = Claimed();

	p->Deliver(Id(a), "a0");
	p->Deliver(Id(b), "b1", "10.0.0.1:1", 0, 1);
	EXPECT_EQ(Recv(a), "a0");
	EXPECT_EQ(Recv(a), "!EAGAIN");
	EXPECT_EQ(Recv(b), "b1");
}

TEST_F(ReceiveTest, TakesWorkersInTurns)
{
	Peer::Options o;
	o.workers = 3;
	Peer *p = Start(o);
	int fd = Claimed();
	std::string all;

	for (uint32_t w = 0; w < 3; w++)
		for (int i = 0; i < 2; i++)
			p->Deliver(Id(fd), std::string(1, static_cast<char>('a' + w)), "10.0.0.1:1",
				   0, w);
	for (int i = 0; i < 6; i++)
		all += Recv(fd);
	EXPECT_EQ(all, "abcabc");
	EXPECT_EQ(Recv(fd), "!EAGAIN");
	EXPECT_EQ(p->FramesOut(), 0u);
}

TEST_F(ReceiveTest, LooksAtTheKernelSocketWhenRingsAreEmpty)
{
	Peer *p = Start();
	int fd = Claimed();

	SendKernel(fd, "kernel");
	p->Deliver(Id(fd), "ring");
	EXPECT_EQ(Recv(fd), "ring");
	EXPECT_EQ(Recv(fd), "kernel");
	EXPECT_EQ(Recv(fd), "!EAGAIN");
	EXPECT_EQ(Status(fd).kernel_rx, 1u);
	EXPECT_EQ(p->Ring(Id(fd))->kernel_rx, 1u);
}

TEST_F(ReceiveTest, LooksAtTheKernelSocketNowAndThenUnderFlood)
{
	Peer *p = Start();
	int fd = Claimed();
	int seen = 0;

	SendKernel(fd, "kernel");
	for (int i = 0; i < 200 && !seen; i++) {
		p->Deliver(Id(fd), "ring");
		p->Deliver(Id(fd), "ring"); // the ring is never empty
		if (Recv(fd) == "kernel")
			seen = i;
		else if (i % 2)
			Recv(fd);
	}
	EXPECT_GT(seen, 30);
	EXPECT_LE(seen, 64);
}

// With several queues: one worker serves, the queue of another is the kernel's.
TEST_F(ReceiveTest, ABusyKernelPathWakesTheWorkerWhoseQueueItIs)
{
	Peer::Options o;

	o.workers = 2;
	Peer *p = Start(o);
	int fd = Claimed();

	for (uint32_t i = 0; i < RX_ENGAGE_CNT; i++)
		SendKernel(fd, "k");
	for (uint32_t i = 0; i < RX_ENGAGE_CNT; i++)
		EXPECT_EQ(Recv(fd), "k");
	EXPECT_FALSE(p->DoorbellRang(0) || p->DoorbellRang(1))
		<< "all are engaged: these are not from their queues";
	p->Disengage(1);
	for (uint32_t i = 0; i < RX_ENGAGE_CNT; i++)
		SendKernel(fd, "k");
	for (uint32_t i = 0; i < RX_ENGAGE_CNT; i++)
		EXPECT_EQ(Recv(fd), "k");
	EXPECT_FALSE(p->DoorbellRang(0));
	EXPECT_TRUE(p->DoorbellRang(1));
}

TEST_F(ReceiveTest, EmptiesTheKernelSocketBeforeTheSwitch)
{
	Peer *p = Start();
	int fd = Claimed();
	std::string all;

	p->Deliver(Id(fd), "0");
	SendKernel(fd, "1");
	SendKernel(fd, "2");
	p->Deliver(Id(fd), "3", "10.0.0.1:1", UDPLANE_RX_SWITCHED);
	p->Deliver(Id(fd), "4");
	for (int i = 0; i < 5; i++)
		all += Recv(fd);
	EXPECT_EQ(all, "01234");
	EXPECT_EQ(Recv(fd), "!EAGAIN");
}

TEST_F(ReceiveTest, ABatchKeepsTheOrderAcrossTheSwitch)
{
	Peer *p = Start();
	int fd = Claimed();
	struct mmsghdr vec[8] = {};
	struct iovec iov[8];
	char buf[8][4];
	std::string all;

	p->Deliver(Id(fd), "0");
	SendKernel(fd, "1");
	SendKernel(fd, "2");
	p->Deliver(Id(fd), "3", "10.0.0.1:1", UDPLANE_RX_SWITCHED);
	p->Deliver(Id(fd), "4");
	for (int i = 0; i < 8; i++) {
		iov[i] = {buf[i], sizeof(buf[i])};
		vec[i].msg_hdr.msg_iov = &iov[i];
		vec[i].msg_hdr.msg_iovlen = 1;
	}
	ASSERT_EQ(udplane_recvmmsg(fd, vec, 8, 0, nullptr), 5);
	for (int i = 0; i < 5; i++)
		all += std::string(buf[i], vec[i].msg_len);
	EXPECT_EQ(all, "01234");
}

TEST_F(ReceiveTest, PeekShowsWhatComesNextWhereverItIs)
{
	Peer *p = Start();
	int fd = Claimed();

	p->Deliver(Id(fd), "ring");
	EXPECT_EQ(Recv(fd, MSG_PEEK), "ring");
	EXPECT_EQ(Recv(fd, MSG_PEEK | MSG_TRUNC), "ring");
	EXPECT_EQ(p->FramesOut(), 1u);
	EXPECT_EQ(Recv(fd), "ring");
	// What was peeked in the kernel socket comes next, even if the ring has got something
	// since.
	SendKernel(fd, "a long kernel datagram");
	EXPECT_EQ(Recv(fd, MSG_PEEK), "a long kernel datagram");
	p->Deliver(Id(fd), "ring");
	EXPECT_EQ(Recv(fd, MSG_PEEK), "a long kernel datagram");
	EXPECT_EQ(Recv(fd), "a long kernel datagram");
	EXPECT_EQ(Recv(fd), "ring");
	EXPECT_EQ(Recv(fd, MSG_PEEK), "!EAGAIN");
}

static int PeekOffset(int fd)
{
	int off = -2;
	socklen_t len = sizeof(off);

	udplane_getsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &off, &len);
	return off;
}

static void SetPeekOffset(int fd, int off)
{
	ASSERT_EQ(udplane_setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &off, sizeof(off)), 0);
}

TEST_F(ReceiveTest, PeekOffsetCountsTheBytesOfRingAndKernelSocket)
{
	Peer *p = Start();
	int fd = Claimed();

	p->Deliver(Id(fd), "first");
	SetPeekOffset(fd, 2); // while it waits
	EXPECT_TRUE(Status(fd).accelerated);
	EXPECT_EQ(Recv(fd, MSG_PEEK), "rst");
	EXPECT_EQ(PeekOffset(fd), 5);
	EXPECT_EQ(Recv(fd, MSG_PEEK), "!EAGAIN");
	EXPECT_TRUE(Readable(fd)) << "as in Linux: it is not empty";
	SendKernel(fd, "second");
	EXPECT_EQ(Recv(fd, MSG_PEEK), "second");
	p->Deliver(Id(fd), "third");
	EXPECT_EQ(Recv(fd, MSG_PEEK), "third");
	EXPECT_EQ(PeekOffset(fd), 16);
	EXPECT_EQ(Recv(fd), "first");
	EXPECT_EQ(PeekOffset(fd), 11);
	EXPECT_EQ(Recv(fd, MSG_PEEK), "!EAGAIN");
	EXPECT_EQ(Recv(fd), "second");
	EXPECT_EQ(Recv(fd), "third");
	EXPECT_EQ(PeekOffset(fd), 0);
	SetPeekOffset(fd, -1);
	p->Deliver(Id(fd), "fourth");
	EXPECT_EQ(Recv(fd, MSG_PEEK), "fourth");
	EXPECT_EQ(Recv(fd, MSG_PEEK), "fourth");
	EXPECT_EQ(Recv(fd), "fourth");
	EXPECT_EQ(PeekOffset(fd), -1);
	EXPECT_EQ(p->FramesOut(), 0u);
}

TEST_F(ReceiveTest, PeekOffsetGoesBackByWhatIsReceivedFromTheRing)
{
	Peer *p = Start();
	int fd = Claimed();
	struct udplane_pkt pkts[4];

	SetPeekOffset(fd, 100);
	p->Deliver(Id(fd), "first");
	p->Deliver(Id(fd), "second");
	p->Deliver(Id(fd), "third");
	EXPECT_EQ(Recv(fd), "first");
	EXPECT_EQ(PeekOffset(fd), 95);
	ASSERT_EQ(udplane_recv_burst(fd, pkts, 4, MSG_DONTWAIT), 2);
	EXPECT_EQ(PeekOffset(fd), 84);
	udplane_release(fd, pkts, 2);
}

// The descriptor is readable, but the call waits for what comes behind.
TEST_F(ReceiveTest, PeekBehindWhatHasArrivedWaits)
{
	Peer *p = Start();
	int fd = Claimed(SOCK_DGRAM);
	char b[8];

	SetPeekOffset(fd, 5);
	p->Deliver(Id(fd), "first");
	std::thread late([&] {
		ASSERT_TRUE(Until([&] { return p->Armed(Id(fd)); }));
		p->Deliver(Id(fd), "second");
	});
	EXPECT_EQ(udplane_recv(fd, b, sizeof(b), MSG_PEEK), 6);
	late.join();
	EXPECT_EQ(Recv(fd), "first");
	EXPECT_EQ(Recv(fd), "second");
}

TEST_F(ReceiveTest, PeekInTheRingHoldsAgainstAKernelLookThatIsDue)
{
	Peer *p = Start();
	int fd = Claimed();

	for (int i = 0; i < 63; i++) {
		p->Deliver(Id(fd), "x");
		ASSERT_EQ(Recv(fd), "x");
	}
	p->Deliver(Id(fd), "y");
	p->Deliver(Id(fd), "ring");
	ASSERT_EQ(Recv(fd), "y"); // the 64th in a row
	int n = -1;
	EXPECT_EQ(udplane_ioctl(fd, FIONREAD, &n), 0);
	EXPECT_EQ(n, 4);
	SendKernel(fd, "kernel");
	EXPECT_EQ(Recv(fd), "ring");
	EXPECT_EQ(Recv(fd), "kernel");
}

TEST_F(ReceiveTest, FionreadTellsTheNextLength)
{
	Peer *p = Start();
	int fd = Claimed();
	int n = -1;

	EXPECT_EQ(udplane_ioctl(fd, FIONREAD, &n), 0);
	EXPECT_EQ(n, 0);
	SendKernel(fd, "kernel");
	EXPECT_EQ(udplane_ioctl(fd, FIONREAD, &n), 0);
	EXPECT_EQ(n, 6);
	p->Deliver(Id(fd), "ring");
	EXPECT_EQ(Recv(fd), "kernel"); // it was told of
	EXPECT_EQ(udplane_ioctl(fd, FIONREAD, &n), 0);
	EXPECT_EQ(n, 4);
	EXPECT_EQ(Recv(fd), "ring");
	p->Deliver(Id(fd), "switched", "10.0.0.1:1", UDPLANE_RX_SWITCHED);
	EXPECT_EQ(udplane_ioctl(fd, FIONREAD, &n), 0);
	EXPECT_EQ(n, 8);
	EXPECT_EQ(Recv(fd), "switched");
}

TEST_F(ReceiveTest, FionreadTellsOfAnEmptyDatagramOfTheKernel)
{
	Peer *p = Start();
	int fd = Claimed();
	int n = -1;

	SendKernel(fd, "");
	p->Deliver(Id(fd), "switched", "10.0.0.1:1", UDPLANE_RX_SWITCHED);
	EXPECT_EQ(udplane_ioctl(fd, FIONREAD, &n), 0);
	EXPECT_EQ(n, 0);
	EXPECT_EQ(Recv(fd), "");
	EXPECT_EQ(udplane_ioctl(fd, FIONREAD, &n), 0);
	EXPECT_EQ(n, 8);
	EXPECT_EQ(Recv(fd), "switched");
}

TEST_F(ReceiveTest, RecvmmsgFillsFromAllSources)
{
	Peer *p = Start();
	int fd = Claimed();
	struct mmsghdr vec[100] = {};
	struct iovec iov[100];
	struct sockaddr_in name[100];
	char buf[100][8];

	for (int i = 0; i < 100; i++) {
		iov[i] = {buf[i], sizeof(buf[i])};
		vec[i].msg_hdr.msg_iov = &iov[i];
		vec[i].msg_hdr.msg_iovlen = 1;
		vec[i].msg_hdr.msg_name = &name[i];
		vec[i].msg_hdr.msg_namelen = sizeof(name[i]);
	}
	for (int i = 0; i < 50; i++)
		ASSERT_TRUE(p->Deliver(Id(fd), std::to_string(i),
				       "10.0.0.1:" + std::to_string(1000 + i)));
	for (int i = 50; i < 60; i++)
		SendKernel(fd, std::to_string(i));
	ASSERT_EQ(udplane_recvmmsg(fd, vec, 100, MSG_DONTWAIT, nullptr), 60);
	for (int i = 0; i < 60; i++) {
		EXPECT_EQ(std::string(buf[i], vec[i].msg_len), std::to_string(i));
		EXPECT_EQ(name[i].sin_port,
			  htons(i < 50 ? static_cast<uint16_t>(1000 + i) : plain_port()));
	}
	EXPECT_EQ(p->FramesOut(), 0u);
	EXPECT_EQ(udplane_recvmmsg(fd, vec, 100, MSG_DONTWAIT, nullptr), -1);
	EXPECT_EQ(errno, EAGAIN);
}

TEST_F(ReceiveTest, RecvmmsgKnowsItsFlagsAndTimeout)
{
	Peer *p = Start();
	int fd = Claimed(SOCK_DGRAM);
	struct mmsghdr vec[4] = {};
	struct iovec iov[4];
	struct timespec ts = {0, 0};
	char buf[4][8];

	for (int i = 0; i < 4; i++) {
		iov[i] = {buf[i], sizeof(buf[i])};
		vec[i].msg_hdr.msg_iov = &iov[i];
		vec[i].msg_hdr.msg_iovlen = 1;
	}
	p->Deliver(Id(fd), "1");
	p->Deliver(Id(fd), "2");
	p->Deliver(Id(fd), "3");
	EXPECT_EQ(udplane_recvmmsg(fd, vec, 4, 0, &ts), 1); // time is up after the first
	EXPECT_EQ(udplane_recvmmsg(fd, vec, 4, MSG_WAITFORONE, nullptr), 2);
	ts = {0, 1000000000};
	EXPECT_EQ(udplane_recvmmsg(fd, vec, 4, 0, &ts), -1);
	EXPECT_EQ(errno, EINVAL);
	// Without flags it waits for all of them.
	std::thread t([&] {
		for (int i = 0; i < 4; i++) {
			ASSERT_TRUE(Until([&] { return p->Armed(Id(fd)); }));
			p->Deliver(Id(fd), "x");
		}
	});
	EXPECT_EQ(udplane_recvmmsg(fd, vec, 4, 0, nullptr), 4);
	t.join();
}

TEST_F(ReceiveTest, AnErrorAfterTheFirstDatagramIsKeptForTheNextCall)
{
	Peer *p = Start();
	int fd = Claimed();
	struct mmsghdr vec[4] = {};
	struct iovec iov[4];
	char buf[4][8];
	struct sockaddr_storage ss;
	socklen_t len = Address("127.0.0.1:1", &ss);

	for (int i = 0; i < 4; i++) {
		iov[i] = {buf[i], sizeof(buf[i])};
		vec[i].msg_hdr.msg_iov = &iov[i];
		vec[i].msg_hdr.msg_iovlen = 1;
	}
	ASSERT_EQ(udplane_connect(fd, reinterpret_cast<struct sockaddr *>(&ss), len), 0);
	ASSERT_EQ(udplane_send(fd, "x", 1, 0),
		  1); // no socket there: ECONNREFUSED is on its way back
	ASSERT_TRUE(Readable(fd, 5000));
	p->Deliver(Id(fd), "1");
	EXPECT_EQ(udplane_recvmmsg(fd, vec, 4, 0, nullptr), 1);
	EXPECT_TRUE(Readable(fd));
	EXPECT_EQ(udplane_recvmmsg(fd, vec, 4, 0, nullptr), -1);
	EXPECT_EQ(errno, ECONNREFUSED);
	EXPECT_FALSE(Readable(fd));
}

TEST_F(ReceiveTest, NonsenseDescriptorsAreSkipped)
{
	Peer *p = Start();
	int fd = Claimed();
	struct udplane_rx_desc d = {};

	d.frame = 1u << 30;
	d.offset = 256;
	d.len = 10;
	p->PutRaw(Id(fd), d);
	d.frame = 3;
	d.offset = 2000;
	d.len = 100;
	p->PutRaw(Id(fd), d);
	d.offset = 40; // no room for IPv6 headers
	d.flags = UDPLANE_RX_IPV6;
	p->PutRaw(Id(fd), d);
	p->Deliver(Id(fd), "good");
	EXPECT_EQ(Recv(fd), "good");
	EXPECT_EQ(Recv(fd), "!EAGAIN");
}

TEST_F(ReceiveTest, TimesOut)
{
	Start();
	int fd = Claimed(SOCK_DGRAM);
	struct timeval tv = {0, 20000};

	ASSERT_EQ(udplane_setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), 0);
	EXPECT_TRUE(Status(fd).accelerated);
	uint64_t start = clock_now_ns();
	EXPECT_EQ(Recv(fd), "!EAGAIN");
	EXPECT_GE(clock_now_ns() - start, 20000000u);
}

TEST_F(ReceiveTest, OddArgumentsGetTheKernelsAnswer)
{
	Peer *p = Start();
	int fd = Claimed();
	struct iovec iov[2] = {{nullptr, SIZE_MAX}, {nullptr, 1}};
	struct msghdr mh = {};
	char buf[4];
	struct sockaddr_in in;
	socklen_t len = static_cast<socklen_t>(-1);

	p->Deliver(Id(fd), "kept");
	mh.msg_iov = iov;
	mh.msg_iovlen = 2;
	EXPECT_EQ(udplane_recvmsg(fd, &mh, 0), -1);
	EXPECT_EQ(errno, EINVAL);
	mh.msg_iovlen = 2000;
	EXPECT_EQ(udplane_recvmsg(fd, &mh, 0), -1);
	EXPECT_EQ(errno, EMSGSIZE);
	EXPECT_EQ(udplane_recv(fd, buf, 4, MSG_ERRQUEUE), -1);
	EXPECT_EQ(errno, EAGAIN);
	EXPECT_EQ(udplane_recv(-1, buf, 4, 0), -1);
	EXPECT_EQ(errno, EBADF);
	EXPECT_EQ(Recv(fd), "kept");
	/* found out only after the datagram was taken, which is lost */
	p->Deliver(Id(fd), "lost");
	EXPECT_EQ(udplane_recvfrom(fd, buf, 4, 0, reinterpret_cast<struct sockaddr *>(&in), &len),
		  -1);
	EXPECT_EQ(errno, EINVAL);
	EXPECT_EQ(Recv(fd, MSG_DONTWAIT), "!EAGAIN");
}

/* The same with a plain socket: results, errno, and whether the datagram was taken. */
TEST_F(ReceiveTest, PointersThatCannotBe)
{
	Peer *p = Start();
	p->SetPrefix("10.0.0.0/8");
	p->Awake(true);
	int fd = Claimed();
	static char *const bad[] = {nullptr, reinterpret_cast<char *>(16),
				    reinterpret_cast<char *>(UINT64_MAX << 47)};
	struct sockaddr_storage to;
	socklen_t to_len = Address("127.0.0.1:" + std::to_string(plain_port()), &to), tx_len;
	struct sockaddr_storage fast;
	tx_len = Address("10.1.2.3:1", &fast);
	auto *plain_to = reinterpret_cast<struct sockaddr *>(&to),
	     *fast_to = reinterpret_cast<struct sockaddr *>(&fast);
	struct sockaddr_in in;
	char buf[8];

	for (char *b : bad) {
		struct iovec iov = {b, 4}, good = {buf, sizeof(buf)};
		struct msghdr mh = {};
		struct mmsghdr two[2] = {};
		socklen_t len;

		mh.msg_iov = &iov;
		mh.msg_iovlen = 1;
		two[0].msg_hdr.msg_iov = &good;
		two[0].msg_hdr.msg_iovlen = 1;
		two[1].msg_hdr = mh;
		const std::vector<std::pair<std::function<ssize_t()>, std::function<ssize_t()>>>
			calls = {
				{[&] { return udplane_recv(fd, b, 4, 0); },
				 [&] { return recv(plain(), b, 4, MSG_DONTWAIT); }},
				{[&] { return udplane_recv(fd, b, 0, 0); },
				 [&] { return recv(plain(), b, 0, MSG_DONTWAIT); }},
				{[&] { return udplane_recv(fd, b, 4, MSG_PEEK); },
				 [&] { return recv(plain(), b, 4, MSG_PEEK | MSG_DONTWAIT); }},
				{[&] { return udplane_recvmsg(fd, &mh, 0); },
				 [&] { return recvmsg(plain(), &mh, MSG_DONTWAIT); }},
				{[&] {
					 return udplane_recvmsg(
						 fd, reinterpret_cast<struct msghdr *>(b), 0);
				 },
				 [&] {
					 return recvmsg(plain(),
							reinterpret_cast<struct msghdr *>(b),
							MSG_DONTWAIT);
				 }},
				{[&] {
					 return udplane_recvmmsg(
						 fd, reinterpret_cast<struct mmsghdr *>(b), 3, 0,
						 nullptr);
				 },
				 [&] {
					 return recvmmsg(plain(),
							 reinterpret_cast<struct mmsghdr *>(b), 3,
							 MSG_DONTWAIT, nullptr);
				 }},
				{[&] { return udplane_recvmmsg(fd, two, 2, 0, nullptr); },
				 [&] { return recvmmsg(plain(), two, 2, MSG_DONTWAIT, nullptr); }},
				{[&] {
					 return udplane_recvfrom(
						 fd, buf, 4, 0,
						 reinterpret_cast<struct sockaddr *>(&in),
						 reinterpret_cast<socklen_t *>(b));
				 },
				 [&] {
					 return recvfrom(plain(), buf, 4, MSG_DONTWAIT,
							 reinterpret_cast<struct sockaddr *>(&in),
							 reinterpret_cast<socklen_t *>(b));
				 }},
				{[&] {
					 len = sizeof(in);
					 return b ? udplane_recvfrom(
							    fd, buf, 4, 0,
							    reinterpret_cast<struct sockaddr *>(b),
							    &len)
						  : -1;
				 },
				 [&] {
					 len = sizeof(in);
					 return b ? recvfrom(plain(), buf, 4, MSG_DONTWAIT,
							     reinterpret_cast<struct sockaddr *>(b),
							     &len)
						  : -1;
				 }},
				{[&] { return udplane_sendto(fd, b, 4, 0, fast_to, tx_len); },
				 [&] { return sendto(plain(), b, 4, 0, fast_to, tx_len); }},
				{[&] {
					 return udplane_sendto(
						 fd, buf, 4, 0,
						 reinterpret_cast<struct sockaddr *>(b), tx_len);
				 },
				 [&] {
					 return sendto(plain(), buf, 4, 0,
						       reinterpret_cast<struct sockaddr *>(b),
						       to_len);
				 }},
				{[&] {
					 return udplane_sendmsg(
						 fd, reinterpret_cast<struct msghdr *>(b), 0);
				 },
				 [&] {
					 return sendmsg(plain(),
							reinterpret_cast<struct msghdr *>(b), 0);
				 }},
				{[&] {
					 return udplane_sendmmsg(
						 fd, reinterpret_cast<struct mmsghdr *>(b), 1, 0);
				 },
				 [&] {
					 return sendmmsg(plain(),
							 reinterpret_cast<struct mmsghdr *>(b), 1,
							 0);
				 }},
			};
		for (size_t i = 0; i < calls.size(); i++) {
			p->Deliver(Id(fd), "one");
			ASSERT_EQ(sendto(plain(), "one", 3, 0, plain_to, to_len), 3);
			errno = 0;
			ssize_t ours = calls[i].first();
			int our_errno = errno;
			errno = 0;
			ssize_t kernels = calls[i].second();
			EXPECT_EQ(ours, kernels) << i << " with " << static_cast<void *>(b);
			EXPECT_EQ(our_errno, errno) << i << " with " << static_cast<void *>(b);
			int left = 0, kernels_left = 0;
			while (Recv(fd) == "one")
				left++;
			while (recv(plain(), buf, 4, MSG_DONTWAIT) >= 0)
				kernels_left++;
			EXPECT_EQ(left, kernels_left) << i << " with " << static_cast<void *>(b);
		}
	}
	EXPECT_EQ(udplane_sendmsg(-1, nullptr, 0), -1);
	EXPECT_EQ(errno, EBADF);
	EXPECT_EQ(p->FramesOut(), 0u);
}

TEST_F(ReceiveTest, ANegativeTimeoutDoesNotWait)
{
	for (bool sidecar : {false, true}) {
		if (sidecar)
			Start();
		int fd = Open(SOCK_DGRAM);
		struct timeval tv = {-1, 0};

		context.spin_ns = 1000000;
		EXPECT_EQ(udplane_setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), 0);
		EXPECT_EQ(Recv(fd), "!EAGAIN");
		SendKernel(fd, "here");
		EXPECT_EQ(Recv(fd), "here");
		tv = {0, 0};
		EXPECT_EQ(udplane_setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), 0);
		Receiver waits(fd);
		ASSERT_TRUE(Until([&] { return Visitors(fd) == 1; }));
		SendKernel(fd, "later");
		EXPECT_EQ(waits.Join(), "later");
	}
}

// A socket that moves is read in the order in which things came: what is older in the kernel
// socket, the ring, what the kernel gets then.
TEST_F(ReceiveTest, KeepsTheOrderWhenItMoves)
{
	Peer *p = Start();
	int on = 1;

	for (const char *how : {"option", "shutdown", "connect", "filter"}) {
		int fd = Claimed();

		SendKernel(fd, "1");
		p->Deliver(Id(fd), "2", "10.0.0.1:1", UDPLANE_RX_SWITCHED);
		p->Deliver(Id(fd), "3");
		if (*how == 'o') {
			ASSERT_EQ(udplane_setsockopt(fd, IPPROTO_IP, IP_CHECKSUM, &on, sizeof(on)),
				  0);
		} else if (*how == 's') {
			udplane_shutdown(fd, SHUT_WR);
		} else if (*how == 'f') {
			struct sock_filter all = {BPF_RET | BPF_K, 0, 0, 0xffff};
			struct sock_fprog prog = {1, &all};
			ASSERT_EQ(udplane_setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog,
						     sizeof(prog)),
				  0);
		} else {
			struct sockaddr_storage ss;
			socklen_t len = Address("127.0.0.1:" + std::to_string(plain_port()), &ss);
			ASSERT_EQ(
				udplane_connect(fd, reinterpret_cast<struct sockaddr *>(&ss), len),
				0);
		}
		EXPECT_TRUE(Readable(fd)) << how;
		SendKernel(fd, "4");
		for (const char *text : {"1", "2", "3", "4"})
			EXPECT_EQ(Recv(fd), text) << how;
		EXPECT_FALSE(Readable(fd)) << how;
	}
	EXPECT_EQ(p->FramesOut(), 0u);
}

// The first datagram since the claim, which is marked, is still on its way when the socket moves;
// the kernel gets the next before it is read.
TEST_F(ReceiveTest, KeepsTheOrderOfWhatComesWhileItMoves)
{
	Peer *p = Start();
	int fd = Claimed(), on = 1;
	uint32_t id = Id(fd);

	SendKernel(fd, "1");
	p->on_done = [&](struct udplane_done *) {
		p->Put(id, "2", "10.0.0.1:1", UDPLANE_RX_SWITCHED, 0);
	};
	ASSERT_EQ(udplane_setsockopt(fd, IPPROTO_IP, IP_CHECKSUM, &on, sizeof(on)), 0);
	p->on_done = nullptr;
	SendKernel(fd, "3");
	for (const char *text : {"1", "2", "3"})
		EXPECT_EQ(Recv(fd), text);
}

// What was shown comes first, wherever it lay.
TEST_F(ReceiveTest, WhatWasPeekedAtComesFirstAfterAMove)
{
	Peer *p = Start();
	int fd = Claimed(), on = 1;

	SendKernel(fd, "1");
	EXPECT_EQ(Recv(fd, MSG_PEEK), "1");
	p->Deliver(Id(fd), "2");
	ASSERT_EQ(udplane_setsockopt(fd, IPPROTO_IP, IP_CHECKSUM, &on, sizeof(on)), 0);
	SendKernel(fd, "3");
	for (const char *text : {"1", "2", "3"})
		EXPECT_EQ(Recv(fd), text);
}
} // namespace
