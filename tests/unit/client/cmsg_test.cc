// SPDX-License-Identifier: Apache-2.0
// Control messages beside those that Linux gives for the same datagram: every byte, for every
// length of the buffer.
#include <arpa/inet.h>
#include <linux/in6.h>
#include <linux/net_tstamp.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <poll.h>

#include <cstring>
#include <random>

#include "client/cmsg.h"
#include "tests/unit/client/peer.h"

namespace
{
constexpr size_t kRoom = 640;
struct Option {
	int level, name, value;
};

const Option kBoth[] = {
	{SOL_SOCKET, SO_TIMESTAMP_OLD, 1},
	{SOL_SOCKET, SO_TIMESTAMP_NEW, 1},
	{SOL_SOCKET, SO_TIMESTAMPNS_OLD, 1},
	{SOL_SOCKET, SO_TIMESTAMPNS_NEW, 1},
	{SOL_SOCKET, SO_TIMESTAMPING_OLD, SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE},
	{SOL_SOCKET, SO_TIMESTAMPING_NEW, SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE},
	{SOL_SOCKET, SO_RXQ_OVFL, 1},
	{IPPROTO_IP, IP_PKTINFO, 1},
	{IPPROTO_IP, IP_RECVTTL, 1},
	{IPPROTO_IP, IP_RECVTOS, 1},
	{IPPROTO_IP, IP_RECVOPTS, 1},
	{IPPROTO_IP, IP_RETOPTS, 1},
	{IPPROTO_IP, IP_RECVORIGDSTADDR, 1},
	{IPPROTO_IP, IP_RECVFRAGSIZE, 1},
	{IPPROTO_IP, IP_MINTTL, 255},
};
const Option kIpv6[] = {
	{IPPROTO_IPV6, IPV6_RECVPKTINFO, 1},	 {IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1},
	{IPPROTO_IPV6, IPV6_RECVTCLASS, 1},	 {IPPROTO_IPV6, IPV6_FLOWINFO, 1},
	{IPPROTO_IPV6, IPV6_2292PKTINFO, 1},	 {IPPROTO_IPV6, IPV6_2292HOPLIMIT, 1},
	{IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, 1}, {IPPROTO_IPV6, IPV6_RECVFRAGSIZE, 1},
	{IPPROTO_IPV6, IPV6_RECVPATHMTU, 1},	 {IPPROTO_IPV6, IPV6_MINHOPCOUNT, 255},
};

struct Got {
	uint8_t bytes[kRoom];
	size_t len;
	int flags;
};

/* What Linux gives with so many bytes of room. The datagram stays. */
Got Linux(int fd, size_t room)
{
	Got got;
	char c;
	struct iovec iov = {&c, 1};
	struct msghdr h = {};

	memset(got.bytes, 0xa5, sizeof(got.bytes));
	h.msg_iov = &iov;
	h.msg_iovlen = 1;
	h.msg_control = got.bytes;
	h.msg_controllen = room;
	EXPECT_EQ(recvmsg(fd, &h, MSG_PEEK), 1);
	got.len = h.msg_controllen;
	got.flags = h.msg_flags;
	return got;
}

Got Ours(uint32_t wants, const struct cmsg_info &info, size_t room)
{
	Got got;
	struct msghdr h = {};

	memset(got.bytes, 0xa5, sizeof(got.bytes));
	h.msg_control = got.bytes;
	cmsg_write(&h, room, wants, &info);
	got.len = h.msg_controllen;
	got.flags = h.msg_flags;
	return got;
}

void Same(const Got &ours, const Got &kernels, size_t room)
{
	ASSERT_EQ(ours.len, kernels.len) << room;
	ASSERT_EQ(ours.flags, kernels.flags) << room;
	ASSERT_EQ(memcmp(ours.bytes, kernels.bytes, kRoom), 0) << room;
}

/* Takes what only the kernel knows from its messages: the time, and the flow label, which it
 * chooses. */
void Learn(Got *got, struct cmsg_info *info)
{
	struct msghdr h = {};

	h.msg_control = got->bytes;
	h.msg_controllen = got->len;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c)) {
		int64_t t[2] = {};

		if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_FLOWINFO)
			memcpy(&info->flowinfo_be, CMSG_DATA(c), 4);
		if (c->cmsg_level != SOL_SOCKET)
			continue;
		memcpy(t, CMSG_DATA(c), sizeof(t));
		switch (c->cmsg_type) {
		case SO_TIMESTAMP_OLD:
		case SO_TIMESTAMP_NEW:
			info->stamp_ns = static_cast<uint64_t>(t[0] * 1000000000 + t[1] * 1000);
			break;
		default: info->stamp_ns = static_cast<uint64_t>(t[0] * 1000000000 + t[1]);
		}
	}
}

class CmsgTest : public ::testing::TestWithParam<const char *>
{
      protected:
	bool Mapped() const
	{
		return !strcmp(GetParam(), "mapped");
	}
	int Domain() const
	{
		return strcmp(GetParam(), "ipv4") ? AF_INET6 : AF_INET;
	}
	bool Ipv4() const
	{
		return Domain() == AF_INET || Mapped();
	}

	void SetUp() override
	{
		const char *any = Domain() == AF_INET ? "0.0.0.0:0" : "[::]:0";
		const char *lo = Ipv4() ? "127.0.0.1:0" : "[::1]:0";
		struct sockaddr_storage ss;
		socklen_t len = Address(any, &ss);
		int ttl = kTtl, tos = kTos;

		sock_ = static_cast<struct sock *>(aligned_alloc(128, sizeof(struct sock)));
		memset(static_cast<void *>(sock_), 0, sizeof(*sock_));
		sock_->kfd = socket(Domain(), SOCK_DGRAM, 0);
		sock_->domain = static_cast<uint16_t>(Domain());
		ASSERT_EQ(bind(sock_->kfd, reinterpret_cast<struct sockaddr *>(&ss), len), 0);
		getsockname(sock_->kfd, reinterpret_cast<struct sockaddr *>(&ss), &len);
		port_be_ = reinterpret_cast<struct sockaddr_in *>(&ss)->sin_port; // the same place
		len = Address(lo, &ss);
		reinterpret_cast<struct sockaddr_in *>(&ss)->sin_port = port_be_;
		peer_ = socket(ss.ss_family, SOCK_DGRAM, 0);
		ASSERT_EQ(connect(peer_, reinterpret_cast<struct sockaddr *>(&ss), len), 0);
		if (Ipv4()) {
			setsockopt(peer_, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl));
			setsockopt(peer_, IPPROTO_IP, IP_TOS, &tos, sizeof(tos));
		} else {
			setsockopt(peer_, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &ttl, sizeof(ttl));
			setsockopt(peer_, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos));
		}
	}
	void TearDown() override
	{
		close(sock_->kfd);
		close(peer_);
		free(sock_);
	}

	std::vector<Option> Options() const
	{
		std::vector<Option> all(std::begin(kBoth), std::end(kBoth));

		if (Domain() == AF_INET6)
			all.insert(all.end(), std::begin(kIpv6), std::end(kIpv6));
		return all;
	}

	struct cmsg_info Info() const
	{
		struct cmsg_info info = {};

		info.ifindex = static_cast<int>(if_nametoindex("lo"));
		info.dst_port_be = port_be_;
		info.family = Ipv4() ? AF_INET : AF_INET6;
		info.ttl = kTtl;
		info.tos = kTos;
		if (Ipv4())
			memcpy(info.dst, "\x7f\0\0\1", 4);
		else
			info.dst[15] = 1;
		return info;
	}

	void Set(const Option &o)
	{
		ASSERT_EQ(setsockopt(sock_->kfd, o.level, o.name, &o.value, sizeof(o.value)), 0)
			<< o.level << " " << o.name << ": " << strerror(errno);
	}

	/* With the options as they are: one datagram, read with every length of the buffer. */
	void Compare()
	{
		struct cmsg_info info = Info();
		char c;

		cmsg_read_options(sock_);
		ASSERT_EQ(send(peer_, "x", 1, 0), 1);
		Got all = Linux(sock_->kfd, kRoom);
		ASSERT_LT(all.len, kRoom);
		Learn(&all, &info);
		for (size_t room = 0; room <= all.len + 16; room++)
			Same(Ours(sock_->rx.wants, info, room), Linux(sock_->kfd, room), room);
		ASSERT_EQ(recv(sock_->kfd, &c, 1, 0), 1);
		/* and what the kernel wrote, when it is copied */
		for (size_t room = 0; room <= all.len + 16; room++) {
			Got copy = all;
			struct msghdr h = {};

			memset(copy.bytes, 0xa5, kRoom);
			h.msg_control = copy.bytes;
			cmsg_copy(&h, room, all.bytes, all.len, 0);
			copy.len = h.msg_controllen;
			copy.flags = h.msg_flags;
			Same(copy, Ours(sock_->rx.wants, info, room), room);
		}
	}

	struct sock *sock_ = nullptr;
	int peer_ = -1;
	uint16_t port_be_ = 0;
};

TEST_P(CmsgTest, EachOptionAlone)
{
	for (Option o : Options()) {
		SCOPED_TRACE(std::to_string(o.level) + " " + std::to_string(o.name));
		Set(o);
		Compare();
		o.value = 0;
		Set(o);
		cmsg_read_options(sock_);
		EXPECT_EQ(sock_->rx.wants, 0u);
		if (HasFatalFailure())
			return;
	}
}

TEST_P(CmsgTest, AnyOfThemTogether)
{
	std::mt19937 random(12345);

	for (int turn = 0; turn < 60; turn++) {
		SCOPED_TRACE(turn);
		for (Option o : Options()) {
			o.value = turn && random() % 2 ? 0 : o.value;
			Set(o);
		}
		Compare();
		if (HasFatalFailure())
			return;
	}
}

TEST_P(CmsgTest, NoBufferAtAll)
{
	struct cmsg_info info = Info();
	struct msghdr h = {};

	cmsg_write(&h, 0, 0, &info);
	EXPECT_EQ(h.msg_flags, 0);
	cmsg_write(&h, 100, CMSG_WANT_STAMP, &info);
	EXPECT_EQ(h.msg_flags, MSG_CTRUNC);
	EXPECT_EQ(h.msg_controllen, 0u);
	h.msg_flags = 0;
	h.msg_control = reinterpret_cast<void *>(8); /* EFAULT, which the kernel ignores */
	cmsg_write(&h, 100, CMSG_WANT_STAMP, &info);
	EXPECT_EQ(h.msg_flags, 0);
	EXPECT_EQ(h.msg_controllen, 0u);
}

/* A datagram that came before the option was set. */
TEST_P(CmsgTest, WithoutStampTheTimeIsNow)
{
	struct cmsg_info info = Info();
	int64_t before = time(nullptr), t[2];

	Got got = Ours(CMSG_WANT_STAMP, info, kRoom);
	ASSERT_EQ(got.len, CMSG_SPACE(16));
	memcpy(t, got.bytes + CMSG_LEN(0), sizeof(t));
	EXPECT_GE(t[0], before);
	EXPECT_LE(t[0], before + 10);
	EXPECT_EQ(Ours(CMSG_WANT_STAMPING, info, kRoom).len, 0u);
	EXPECT_EQ(Ours(CMSG_WANT_STAMP | CMSG_WANT_STAMPING, info, kRoom).len,
		  CMSG_SPACE(16) + CMSG_SPACE(48));
}

TEST_P(CmsgTest, DropsAreToldOnceThereAreAny)
{
	struct cmsg_info info = Info();

	EXPECT_EQ(Ours(CMSG_WANT_DROPS, info, kRoom).len, 0u);
	info.drops = 7;
	Got got = Ours(CMSG_WANT_DROPS, info, kRoom);
	ASSERT_EQ(got.len, CMSG_SPACE(4));
	EXPECT_EQ(memcmp(got.bytes + CMSG_LEN(0), &info.drops, 4), 0);
}

/* Linux gives the interface with addresses that mean nothing without it. Loopback has no route to
 * groups, so the kernel's answers are noted here. */
TEST(CmsgScopeTest, OfDestinations)
{
	const struct Case {
		const char *dst;
		uint32_t scope;
	} cases[] = {{"fe80::1", 7},	{"febf::1", 7},	   {"fec0::1", 0},    {"fd00::1", 0},
		     {"ff02::7777", 7}, {"ff12::7777", 7}, {"ff05::7777", 0}, {"ff0e::7777", 0}};

	for (const Case &c : cases) {
		struct cmsg_info info = {};
		struct sockaddr_in6 to;

		info.ifindex = 7;
		info.family = AF_INET6;
		inet_pton(AF_INET6, c.dst, info.dst);
		const Got got = Ours(CMSG_WANT_ORIGDST6, info, kRoom);
		ASSERT_EQ(got.len, CMSG_SPACE(sizeof(to)));
		memcpy(&to, got.bytes + CMSG_LEN(0), sizeof(to));
		EXPECT_EQ(to.sin6_scope_id, c.scope) << c.dst;
	}
}

INSTANTIATE_TEST_SUITE_P(Families, CmsgTest, ::testing::Values("ipv4", "ipv6", "mapped"));
} // namespace
