// SPDX-License-Identifier: Apache-2.0
// Which options leave a socket on the fast path, and what becomes of it otherwise.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/in6.h>
#include <linux/net_tstamp.h>
#include <linux/sockios.h>
#include <netinet/udp.h>
#include <sys/ioctl.h>

#include "tests/unit/client/peer.h"

namespace
{
struct Case {
	const char *name;
	int level, option, value;
	bool fast;
};

class OptionTest : public ClientTest
{
};

TEST_F(OptionTest, KeptOrNot)
{
	const Case cases[] = {
		{"SO_RCVBUF", SOL_SOCKET, SO_RCVBUF, 100000, true},
		{"SO_SNDBUF", SOL_SOCKET, SO_SNDBUF, 100000, true},
		{"SO_BROADCAST", SOL_SOCKET, SO_BROADCAST, 1, true},
		{"SO_BUSY_POLL off", SOL_SOCKET, SO_BUSY_POLL, 0, true},
		{"IP_RECVERR", IPPROTO_IP, IP_RECVERR, 1, true},
		{"IP_MULTICAST_TTL", IPPROTO_IP, IP_MULTICAST_TTL, 3, true},
		{"IP_TOS off", IPPROTO_IP, IP_TOS, 0, true},
		{"IP_TOS", IPPROTO_IP, IP_TOS, 0x10, true},
		{"IP_TTL default", IPPROTO_IP, IP_TTL, -1, true},
		{"IP_TTL", IPPROTO_IP, IP_TTL, 3, true},
		{"IP_MTU_DISCOVER want", IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_WANT, true},
		{"IP_MTU_DISCOVER do", IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO, true},
		{"IP_PKTINFO off", IPPROTO_IP, IP_PKTINFO, 0, true},
		{"SO_PRIORITY", SOL_SOCKET, SO_PRIORITY, 3, true},
		{"IP_PKTINFO", IPPROTO_IP, IP_PKTINFO, 1, true},
		{"IP_RECVTTL", IPPROTO_IP, IP_RECVTTL, 1, true},
		{"IP_RECVTOS", IPPROTO_IP, IP_RECVTOS, 1, true},
		{"IP_RECVORIGDSTADDR", IPPROTO_IP, IP_RECVORIGDSTADDR, 1, true},
		{"IP_RECVOPTS", IPPROTO_IP, IP_RECVOPTS, 1, true},
		{"IP_RECVFRAGSIZE", IPPROTO_IP, IP_RECVFRAGSIZE, 1, true},
		{"IP_CHECKSUM", IPPROTO_IP, IP_CHECKSUM, 1, false},
		{"SO_TIMESTAMP", SOL_SOCKET, SO_TIMESTAMP, 1, true},
		{"SO_TIMESTAMPNS", SOL_SOCKET, SO_TIMESTAMPNS, 1, true},
		{"SO_TIMESTAMPING of receives", SOL_SOCKET, SO_TIMESTAMPING,
		 SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE, true},
		{"SO_TIMESTAMPING", SOL_SOCKET, SO_TIMESTAMPING, SOF_TIMESTAMPING_SOFTWARE, false},
		{"SO_TIMESTAMPING of sends", SOL_SOCKET, SO_TIMESTAMPING,
		 SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE, false},
		{"SO_RXQ_OVFL", SOL_SOCKET, SO_RXQ_OVFL, 1, true},
		{"SO_PEEK_OFF", SOL_SOCKET, SO_PEEK_OFF, 0, true},
		{"UDP_SEGMENT", IPPROTO_UDP, 103, 1000, true},
		{"UDP_GRO", IPPROTO_UDP, 104, 1, true},
		{"UDP_NO_CHECK6_TX", IPPROTO_UDP, 101, 1, true},
		{"UDP_NO_CHECK6_RX", IPPROTO_UDP, 102, 1, true},
		{"SO_NO_CHECK", SOL_SOCKET, SO_NO_CHECK, 1, true},
		{"SO_DONTROUTE", SOL_SOCKET, SO_DONTROUTE, 1, true},
		{"SO_MAX_PACING_RATE", SOL_SOCKET, SO_MAX_PACING_RATE, 1000000, true},
		{"UDP_CORK", IPPROTO_UDP, 1, 1, true},
		{"SO_INCOMING_CPU", SOL_SOCKET, SO_INCOMING_CPU, 0, true},
		{"IP_MINTTL", IPPROTO_IP, IP_MINTTL, 2, true},
	};

	for (const Case &c : cases) {
		SCOPED_TRACE(c.name);
		Peer *p = Start();
		int fd = Claimed();
		p->Deliver(Id(fd), "before");
		ASSERT_EQ(udplane_setsockopt(fd, c.level, c.option, &c.value, sizeof(c.value)), 0)
			<< strerror(errno);
		EXPECT_EQ(Status(fd).accelerated, c.fast) << Status(fd).text;
		if (!c.fast) {
			EXPECT_STREQ(Status(fd).reason, "socket_option");
			std::string name(c.name);
			EXPECT_EQ(std::string(Status(fd).text).find(name.substr(0, name.find(' '))),
				  0u)
				<< Status(fd).text;
			ASSERT_EQ(p->Count(UDPLANE_MSG_RELEASE), 1u);
			EXPECT_EQ(p->Requests().back().reason,
				  static_cast<uint32_t>(UDPLANE_REASON_OPTION));
			EXPECT_EQ(p->Requests().back().text, Status(fd).text);
		}
		EXPECT_TRUE(Readable(fd));
		SendKernel(fd, "after");
		EXPECT_EQ(Recv(fd), "before") << "what was in the ring comes first";
		EXPECT_TRUE(Readable(fd, 5000));
		EXPECT_EQ(Recv(fd), "after");
		EXPECT_FALSE(Readable(fd));
		EXPECT_EQ(p->FramesOut(), 0u);
		Close(fd);
		EXPECT_EQ(p->Socks().size(), 0u) << "closed for udplaned, too";
		peer_.reset();
		context_reset();
	}
}

// udplaned asks the kernel about a group that the library names: after a join, a filter and a
// leave, and after each claim.
TEST_F(OptionTest, GroupsAreNamedToUdplaned)
{
	Peer *p = Start();
	int fd = udplane_socket(AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_storage ss;
	socklen_t len = Address("127.0.0.1:0", &ss);
	struct ip_mreqn early = {{inet_addr("239.1.1.1")}, {0}, 1}, late = early;
	struct group_source_req block = {};

	ASSERT_EQ(udplane_setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &early, sizeof(early)), 0);
	EXPECT_EQ(p->Count(UDPLANE_MSG_MEMBER), 0u) << "not claimed yet";
	ASSERT_EQ(udplane_bind(fd, reinterpret_cast<struct sockaddr *>(&ss), len), 0);
	EXPECT_EQ(p->Count(UDPLANE_MSG_MEMBER), 1u);
	late.imr_multiaddr.s_addr = inet_addr("239.2.2.2");
	ASSERT_EQ(udplane_setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &late, sizeof(late)), 0);
	EXPECT_EQ(p->Count(UDPLANE_MSG_MEMBER), 2u);
	block.gsr_interface = 1;
	block.gsr_group.ss_family = block.gsr_source.ss_family = AF_INET;
	reinterpret_cast<struct sockaddr_in *>(&block.gsr_group)->sin_addr = late.imr_multiaddr;
	ASSERT_EQ(udplane_setsockopt(fd, IPPROTO_IP, MCAST_BLOCK_SOURCE, &block, sizeof(block)), 0);
	EXPECT_EQ(p->Count(UDPLANE_MSG_MEMBER), 3u);
	EXPECT_NE(udplane_setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &late, sizeof(late)), 0);
	EXPECT_EQ(p->Count(UDPLANE_MSG_MEMBER), 3u) << "the kernel has refused it";
	ASSERT_EQ(udplane_setsockopt(fd, IPPROTO_IP, IP_DROP_MEMBERSHIP, &late, sizeof(late)), 0);
	EXPECT_EQ(p->Count(UDPLANE_MSG_MEMBER), 4u);
	EXPECT_TRUE(Status(fd).accelerated);
	EXPECT_EQ(p->Count(UDPLANE_MSG_UPDATE), 0u);
	udplane_close(fd);
}

TEST_F(OptionTest, BeforeBindToo)
{
	Peer *p = Start();
	int fd = udplane_socket(AF_INET, SOCK_DGRAM, 0), on = 1;
	struct sockaddr_storage ss;
	socklen_t len = Address("127.0.0.1:0", &ss);

	ASSERT_EQ(udplane_setsockopt(fd, IPPROTO_IP, IP_CHECKSUM, &on, sizeof(on)), 0);
	ASSERT_EQ(udplane_bind(fd, reinterpret_cast<struct sockaddr *>(&ss), len), 0);
	EXPECT_STREQ(Status(fd).reason, "socket_option");
	EXPECT_STREQ(Status(fd).text, "IP_CHECKSUM was set");
	EXPECT_EQ(p->Count(UDPLANE_MSG_CLAIM), 0u);
	udplane_close(fd);
}

TEST_F(OptionTest, UnknownOnesAreNamedByNumber)
{
	Start();
	int fd = Claimed(), on = 1;

	ASSERT_EQ(udplane_setsockopt(fd, IPPROTO_IP, IP_CHECKSUM, &on, sizeof(on)), 0);
	EXPECT_STREQ(Status(fd).text, "IP_CHECKSUM was set");
	int fd2 = Claimed();
	ASSERT_EQ(udplane_setsockopt(fd2, IPPROTO_IP, 18 /* IP_PASSSEC */, &on, sizeof(on)), 0);
	EXPECT_STREQ(Status(fd2).text, "option 18 of level 0 was set");
}

TEST_F(OptionTest, FiltersAreTheKernels)
{
	Peer *p = Start();
	int fd = Claimed();
	struct sock_filter pass = BPF_STMT(BPF_RET | BPF_K, 0xffff);
	struct sock_fprog prog = {1, &pass};

	ASSERT_EQ(udplane_setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)), 0);
	EXPECT_STREQ(Status(fd).reason, "socket_filter");
	EXPECT_EQ(p->Requests().back().reason, static_cast<uint32_t>(UDPLANE_REASON_FILTER));
}

TEST_F(OptionTest, SharingIsUdplanedsToJudge)
{
	Peer *p = Start();
	int fd = Claimed(), on = 1;

	ASSERT_EQ(udplane_setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	EXPECT_EQ(p->Count(UDPLANE_MSG_UPDATE), 1u);
	EXPECT_TRUE(Status(fd).accelerated);
	p->on_done = [](struct udplane_done *d) {
		d->status = -EPERM;
		d->reason = UDPLANE_REASON_OTHER_DEVICE;
	};
	ASSERT_EQ(udplane_setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3), 0);
	EXPECT_STREQ(Status(fd).reason, "bound_to_other_device");
}

TEST_F(OptionTest, AFailedOneChangesNothing)
{
	Start();
	int fd = Claimed(), tos = 4;

	EXPECT_EQ(udplane_setsockopt(fd, IPPROTO_IP, 9999, &tos, sizeof(tos)), -1);
	EXPECT_EQ(errno, ENOPROTOOPT);
	EXPECT_TRUE(Status(fd).accelerated);
	EXPECT_EQ(udplane_setsockopt(fd, IPPROTO_IP, IP_TOS, &tos, 0), 0)
		<< "Linux takes that for 0";
	EXPECT_TRUE(Status(fd).accelerated);
}

TEST_F(OptionTest, AByteWillDo)
{
	Start();
	int fd = Claimed();
	unsigned char tos = 8, zero = 0;

	ASSERT_EQ(udplane_setsockopt(fd, IPPROTO_IP, IP_TOS, &tos, 1), 0);
	EXPECT_EQ(Sock(fd)->tx.wish.options[0].tos, 8);
	ASSERT_EQ(udplane_setsockopt(fd, IPPROTO_IP, IP_TOS, &zero, 1), 0);
	EXPECT_EQ(Sock(fd)->tx.wish.options[0].flags, 0);
	EXPECT_TRUE(Status(fd).accelerated);
}

TEST_F(OptionTest, SoErrorIsTaken)
{
	int fd = Open(), err = -1;
	socklen_t len = sizeof(err);
	struct sockaddr_storage ss;

	udplane_connect(fd, reinterpret_cast<struct sockaddr *>(&ss), Address("127.0.0.1:1", &ss));
	udplane_send(fd, "x", 1, 0);
	ASSERT_TRUE(Readable(fd, 5000));
	EXPECT_EQ(udplane_getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len), 0);
	EXPECT_EQ(err, ECONNREFUSED);
	EXPECT_EQ(udplane_getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len), 0);
	EXPECT_EQ(err, 0);
	EXPECT_FALSE(Readable(fd));
}

volatile sig_atomic_t signals;

// The kernel sends SIGIO for each datagram, even if earlier ones were not read.
TEST_F(OptionTest, SignalsComeForEachDatagram)
{
	Peer *p = Start();
	struct sigaction act = {}, before;

	act.sa_handler = [](int) { signals = signals + 1; };
	sigaction(SIGIO, &act, &before);
	for (bool by_ioctl : {false, true}) {
		int fd = Claimed(), on = 1;

		p->Deliver(Id(fd), "before");
		ASSERT_EQ(udplane_fcntl(fd, F_SETOWN, getpid()), 0);
		EXPECT_EQ(udplane_fcntl(fd, F_GETOWN), getpid());
		EXPECT_TRUE(Status(fd).accelerated);
		if (by_ioctl)
			ASSERT_EQ(udplane_ioctl(fd, FIOASYNC, &on), 0);
		else
			ASSERT_EQ(udplane_fcntl(fd, F_SETFL, O_ASYNC | O_NONBLOCK), 0);
		EXPECT_FALSE(Status(fd).accelerated);
		EXPECT_STREQ(Status(fd).reason, "socket_option");
		EXPECT_TRUE(udplane_fcntl(fd, F_GETFL) & O_ASYNC);
		for (int i = 0; i < 3; i++) {
			signals = 0;
			SendKernel(fd, std::to_string(i));
			EXPECT_TRUE(Until([] { return signals > 0; })) << i;
		}
		for (const char *text : {"before", "0", "1", "2"})
			EXPECT_EQ(Recv(fd), text);
	}
	sigaction(SIGIO, &before, nullptr);
}

TEST_F(OptionTest, ProcessGroupsOwnSocketsToo)
{
	int fd = Open(), plain_fd = socket(AF_INET, SOCK_DGRAM, 0);

	EXPECT_EQ(udplane_fcntl(fd, F_SETOWN, -getpgrp()), fcntl(plain_fd, F_SETOWN, -getpgrp()));
	EXPECT_EQ(udplane_fcntl(fd, F_GETOWN), -getpgrp());
	EXPECT_EQ(udplane_fcntl(fd, F_SETSIG, SIGUSR1), 0);
	EXPECT_EQ(udplane_fcntl(fd, F_GETSIG), SIGUSR1);
	close(plain_fd);
}

TEST_F(OptionTest, TheTimeOfTheLastDatagramIsTheKernels)
{
	Start();
	int fd = Claimed();
	struct timeval tv = {};

	EXPECT_EQ(udplane_ioctl(fd, SIOCGSTAMP, &tv), -1);
	EXPECT_EQ(errno, ENOENT) << "as Linux says it at the first time";
	EXPECT_FALSE(Status(fd).accelerated);
	SendKernel(fd, "x");
	EXPECT_EQ(Recv(fd), "x");
	EXPECT_EQ(udplane_ioctl(fd, SIOCGSTAMP, &tv), 0);
	EXPECT_NE(tv.tv_sec, 0);
}
} // namespace
