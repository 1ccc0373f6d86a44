// SPDX-License-Identifier: Apache-2.0
// Control messages with datagrams of the rings, saved ones and those unread at a fork().
#include <linux/in6.h>
#include <linux/net_tstamp.h>
#include <sys/wait.h>

#include <cstring>

#include "tests/unit/client/peer.h"

namespace
{
/* "payload level/type=hex level/type=hex ..."; "!ERRNO". */
std::string Control(int fd, int flags = 0, size_t room = 512, int *got_flags = nullptr)
{
	char data[100];
	alignas(8) uint8_t control[512];
	struct iovec iov = {data, sizeof(data)};
	struct msghdr h = {};
	std::string out;
	ssize_t n;

	h.msg_iov = &iov;
	h.msg_iovlen = 1;
	h.msg_control = control;
	h.msg_controllen = room;
	n = udplane_recvmsg(fd, &h, flags | MSG_DONTWAIT);
	if (n < 0)
		return "!" + std::to_string(errno);
	if (got_flags)
		*got_flags = h.msg_flags;
	out.assign(data, static_cast<size_t>(n));
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c)) {
		char hex[3];

		out += " " + std::to_string(c->cmsg_level) + "/" + std::to_string(c->cmsg_type) +
		       "=";
		for (size_t i = 0; i < c->cmsg_len - CMSG_LEN(0); i++) {
			snprintf(hex, sizeof(hex), "%02x", CMSG_DATA(c)[i]);
			out += hex;
		}
	}
	return out;
}

void On(int fd, int level, int name, int value = 1)
{
	ASSERT_EQ(udplane_setsockopt(fd, level, name, &value, sizeof(value)), 0) << strerror(errno);
}

/* ifindex 77, 10.1.2.3 twice */
const char kPktinfo[] = " 0/8=4d0000000a0102030a010203";
const char kPktinfo6[] = " 41/50=fe8000000000000000000000000100024d000000";
const char kMappedPktinfo6[] = " 41/50=00000000000000000000ffff0a0102034d000000";

class ControlTest : public ClientTest
{
};

TEST_F(ControlTest, WithoutOptionsThereIsNone)
{
	Peer *p = Start();
	int fd = Claimed(), flags;

	p->Deliver(Id(fd), "x");
	EXPECT_EQ(Control(fd, 0, 0, &flags), "x");
	EXPECT_EQ(flags, 0);
}

TEST_F(ControlTest, OfTheRing)
{
	Peer *p = Start();
	int fd = Claimed(), flags;

	On(fd, IPPROTO_IP, IP_PKTINFO);
	On(fd, IPPROTO_IP, IP_RECVTTL);
	On(fd, IPPROTO_IP, IP_RECVTOS);
	p->Deliver(Id(fd), "x");
	std::string all = std::string("x") + kPktinfo + " 0/2=21000000 0/1=2e";
	EXPECT_EQ(Control(fd, MSG_PEEK), all);
	EXPECT_EQ(Control(fd, MSG_PEEK, 40, &flags), std::string("x") + kPktinfo);
	EXPECT_EQ(flags, MSG_CTRUNC);
	EXPECT_EQ(Control(fd), all);
	On(fd, IPPROTO_IP, IP_PKTINFO, 0);
	p->Deliver(Id(fd), "x");
	EXPECT_EQ(Control(fd), "x 0/2=21000000 0/1=2e");
}

TEST_F(ControlTest, BothFamiliesOfOneSocket)
{
	Peer *p = Start();
	int fd = Claimed(SOCK_DGRAM | SOCK_NONBLOCK, AF_INET6);

	On(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO);
	On(fd, IPPROTO_IPV6, IPV6_RECVTCLASS);
	On(fd, IPPROTO_IPV6, IPV6_FLOWINFO);
	On(fd, IPPROTO_IPV6, IPV6_RECVORIGDSTADDR);
	On(fd, IPPROTO_IP, IP_RECVTTL);
	p->Deliver(Id(fd), "six", "[fe80::5]:5");
	EXPECT_EQ(Control(fd), std::string("six") + kPktinfo6 +
				       " 41/67=2e000000 41/11=02e10203 "
				       "41/74=0a00123400000000fe8000000000000000000000000100024d00"
				       "0000");
	p->Deliver(Id(fd), "four");
	EXPECT_EQ(Control(fd), std::string("four") + kMappedPktinfo6 + " 0/2=21000000");
}

TEST_F(ControlTest, SetBeforeBindOrBehindTheBack)
{
	Peer *p = Start();
	int fd = Open(), on = 1;
	int kfd = udplane_kernel_fd(fd);

	(void)kfd;
	Close(fd);
	fd = udplane_socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	On(fd, IPPROTO_IP, IP_RECVTTL);
	ASSERT_EQ(setsockopt(udplane_kernel_fd(fd), IPPROTO_IP, IP_RECVTOS, &on, sizeof(on)), 0);
	struct sockaddr_storage ss;
	socklen_t len = Address("127.0.0.1:0", &ss);
	ASSERT_EQ(udplane_bind(fd, reinterpret_cast<struct sockaddr *>(&ss), len), 0);
	ASSERT_TRUE(Until([&] { return Status(fd).accelerated; })) << Status(fd).text;
	p->Deliver(Id(fd), "x");
	EXPECT_EQ(Control(fd), "x 0/2=21000000 0/1=2e");
	udplane_close(fd);
}

TEST_F(ControlTest, StampsAreAskedForAndTold)
{
	Peer *p = Start();
	int fd = Claimed();

	On(fd, SOL_SOCKET, SO_TIMESTAMPNS);
	EXPECT_EQ(p->Count(UDPLANE_MSG_UPDATE), 1u);
	On(fd, SOL_SOCKET, SO_RXQ_OVFL);
	EXPECT_EQ(p->Count(UDPLANE_MSG_UPDATE), 2u);
	EXPECT_TRUE(Status(fd).accelerated);
	p->Deliver(Id(fd), "x", "10.9.9.9:999", UDPLANE_RX_STAMPED);
	EXPECT_EQ(Control(fd), "x 1/35=00f1536500000000"
			       "15cd5b0700000000 1/40=05000000");
	p->Deliver(Id(fd), "x");
	EXPECT_EQ(Control(fd).find("x 1/35="), 0u) << "now";
	p->Deliver(Id(fd), "x", "[fe80::5]:5", UDPLANE_RX_STAMPED);
	EXPECT_EQ(Control(fd), "x 1/35=00f1536500000000"
			       "15cd5b0700000000 1/40=05000000");
}

TEST_F(ControlTest, SavedOnesHaveThemToo)
{
	Peer *p = Start();
	int fd = Claimed();

	On(fd, IPPROTO_IP, IP_PKTINFO);
	On(fd, SOL_SOCKET, SO_RXQ_OVFL);
	p->Deliver(Id(fd), "ring", "10.9.9.9:999", UDPLANE_RX_STAMPED);
	On(fd, IPPROTO_IP, IP_CHECKSUM); /* the kernel path for good */
	ASSERT_FALSE(Status(fd).accelerated);
	std::string want = std::string("ring 1/40=05000000") + kPktinfo;
	EXPECT_EQ(Control(fd, MSG_PEEK), want);
	EXPECT_EQ(Control(fd), want);
	SendKernel(fd, "kernel"); /* by 127.0.0.1 and interface 1 */
	ASSERT_TRUE(Readable(fd, 5000));
	EXPECT_EQ(Control(fd), "kernel 0/8=010000007f0000017f000001");
}

/* What the kernel had is older than what the ring has: it is saved with its messages. */
TEST_F(ControlTest, SavedFromTheKernel)
{
	Peer *p = Start();
	int fd = Claimed();

	On(fd, IPPROTO_IP, IP_PKTINFO);
	SendKernel(fd, "kernel");
	p->Deliver(Id(fd), "ring", "10.9.9.9:999", UDPLANE_RX_SWITCHED);
	On(fd, IPPROTO_IP, IP_CHECKSUM);
	EXPECT_EQ(Control(fd), "kernel 0/8=010000007f0000017f000001");
	EXPECT_EQ(Control(fd), std::string("ring") + kPktinfo);
}

/* Drops of the rings count like those of the kernel socket, on either path, for ever. */
TEST_F(ControlTest, DropsOfBothPathsAreOneSum)
{
	Peer *p = Start();
	int fd = Claimed();
	auto *z = reinterpret_cast<uint8_t *>(p->Stats());
	auto *counters =
		reinterpret_cast<struct udplane_socket_counters *>(z + p->Stats()->counters_off) +
		Id(fd);

	On(fd, SOL_SOCKET, SO_RXQ_OVFL);
	On(fd, SOL_SOCKET, SO_TIMESTAMPNS);
	On(fd, IPPROTO_IP, IP_PKTINFO);
	auto kernel = [&](size_t room) {
		SendKernel(fd, "kernel");
		EXPECT_TRUE(Readable(fd, 5000));
		std::string all = Control(fd, 0, room);
		size_t stamp = all.find(" 1/35="); /* the time, which is not known */
		return stamp == std::string::npos ? all : all.erase(stamp, 38);
	};
	const std::string pktinfo = " 0/8=010000007f0000017f000001";
	EXPECT_EQ(kernel(512), "kernel" + pktinfo);
	__atomic_store_n(&counters->counter[UDPLANE_SOCKET_RX_DROP_RING_FULL], 3, __ATOMIC_RELAXED);
	__atomic_store_n(&counters->counter[UDPLANE_SOCKET_RX_DROP_QUOTA], 4, __ATOMIC_RELAXED);
	EXPECT_EQ(kernel(512), "kernel 1/40=07000000" + pktinfo);
	EXPECT_EQ(kernel(CMSG_SPACE(16)), "kernel");
	EXPECT_EQ(kernel(CMSG_SPACE(16) + CMSG_SPACE(4)), "kernel 1/40=07000000");
	On(fd, IPPROTO_IP, IP_CHECKSUM); /* the kernel path for good */
	ASSERT_FALSE(Status(fd).accelerated);
	EXPECT_EQ(kernel(512), "kernel 1/40=07000000" + pktinfo);
}

std::string GroDatagrams(int fd, size_t room, int flags = 0)
{
	std::vector<char> data(70000);
	alignas(8) uint8_t control[64];
	struct iovec iov[3] = {{data.data(), 1}, {data.data() + 1, 0}, {data.data() + 1, room - 1}};
	struct msghdr h = {};
	int size = 0;

	h.msg_iov = iov;
	h.msg_iovlen = 3;
	h.msg_control = control;
	h.msg_controllen = sizeof(control);
	ssize_t n = udplane_recvmsg(fd, &h, MSG_DONTWAIT | flags);
	if (n < 0)
		return "!" + std::to_string(errno);
	struct cmsghdr *c = CMSG_FIRSTHDR(&h);
	if (c) {
		EXPECT_EQ(c->cmsg_level, IPPROTO_UDP);
		EXPECT_EQ(c->cmsg_type, 104);
		EXPECT_EQ(c->cmsg_len, CMSG_LEN(sizeof(int)));
		memcpy(&size, CMSG_DATA(c), sizeof(int));
	}
	return std::string(data.data(), static_cast<size_t>(n)) + (size ? "/" : "") +
	       (size ? std::to_string(size) : "") + (h.msg_flags & MSG_TRUNC ? " cut" : "");
}

TEST_F(ControlTest, DatagramsAreJoinedAsGroJoins)
{
	Peer *p = Start();
	int fd = Claimed();
	uint32_t id = Id(fd);

	On(fd, IPPROTO_UDP, 104);
	EXPECT_TRUE(Status(fd).accelerated);
	uint64_t before = Status(fd).fast_rx;
	for (const char *text : {"aaa", "bbb", "cc", "dd", "eee", ""})
		p->Deliver(id, text);
	p->Deliver(id, "fff", "10.9.9.9:998"); /* another port */
	p->Deliver(id, "ggg", "10.9.9.8:998"); /* another address */
	p->Deliver(id, "hhh", "10.9.9.8:998");
	p->Deliver(id, "iii", "10.9.9.8:998", UDPLANE_RX_SWITCHED); /* and the kernel's between */
	EXPECT_EQ(GroDatagrams(fd, 9, MSG_PEEK), "aaabbbcc/3");
	EXPECT_EQ(GroDatagrams(fd, 9), "aaabbbcc/3") << "the shorter one is the last";
	EXPECT_EQ(GroDatagrams(fd, 9), "dd") << "the next is longer";
	EXPECT_EQ(GroDatagrams(fd, 9), "eee");
	EXPECT_EQ(GroDatagrams(fd, 9), "");
	EXPECT_EQ(GroDatagrams(fd, 9), "fff");
	EXPECT_EQ(GroDatagrams(fd, 9), "ggghhh/3");
	EXPECT_EQ(GroDatagrams(fd, 9), "iii");
	EXPECT_EQ(GroDatagrams(fd, 9), "!" + std::to_string(EAGAIN));
	EXPECT_EQ(Status(fd).fast_rx - before, 10u);
	EXPECT_EQ(p->FramesOut(), 0u);
}

TEST_F(ControlTest, NothingIsJoinedThatDoesNotFit)
{
	Peer *p = Start();
	int fd = Claimed(SOCK_DGRAM | SOCK_NONBLOCK, AF_INET6);

	On(fd, IPPROTO_UDP, 104);
	for (int i = 0; i < 5; i++)
		p->Deliver(Id(fd), "abc", "[fe80::5]:5");
	EXPECT_EQ(GroDatagrams(fd, 7), "abcabc/3");
	EXPECT_EQ(GroDatagrams(fd, 2), "ab cut");
	EXPECT_EQ(GroDatagrams(fd, 2, MSG_PEEK), "ab cut");
	EXPECT_EQ(GroDatagrams(fd, 100), "abcabc/3");
	EXPECT_EQ(p->FramesOut(), 0u);
	/* as many as Linux joins, at most */
	for (int i = 0; i < 60; i++)
		p->Deliver(Id(fd), std::string(1200, 'x'), "[fe80::5]:5");
	size_t got = 0;
	for (int calls = 0; got < 60 * 1200; calls++) {
		std::string text = GroDatagrams(fd, 65536);
		ASSERT_NE(text[0], '!');
		got += text.substr(0, text.find('/')).size();
		ASSERT_LT(calls, 5);
	}
	EXPECT_EQ(got, 60u * 1200u);
}

TEST_F(ControlTest, OverAFork)
{
	Peer *p = Start();
	int fd = Claimed(), status = -1;

	On(fd, IPPROTO_IP, IP_PKTINFO);
	SendKernel(fd, "kernel");
	p->Deliver(Id(fd), "ring", "10.9.9.9:999", UDPLANE_RX_SWITCHED);
	pid_t pid = fork();
	if (!pid) {
		bool good = Control(fd) == "kernel 0/8=010000007f0000017f000001";

		_exit(good && Control(fd) == std::string("ring") + kPktinfo ? 0 : 1);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
	EXPECT_EQ(Control(fd), "!" + std::to_string(EAGAIN));
}
} // namespace
