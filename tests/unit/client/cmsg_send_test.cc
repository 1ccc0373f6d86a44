// SPDX-License-Identifier: Apache-2.0
// Control data as Linux reads it: what the fast path can do, and what is left to the kernel.
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "client/cmsg_send.h"
#include <udplane/abi.h>

namespace
{
std::string Message(int level, int type, const std::string &data, size_t len = 0)
{
	struct cmsghdr c = {};

	c.cmsg_len = len ? len : CMSG_LEN(data.size());
	c.cmsg_level = level;
	c.cmsg_type = type;
	std::string s(reinterpret_cast<char *>(&c), sizeof(c));
	s += data;
	s.resize(CMSG_SPACE(data.size()));
	return s;
}

std::string Int(int v)
{
	return std::string(reinterpret_cast<char *>(&v), sizeof(v));
}

std::string Info4(int ifindex, const std::string &spec)
{
	return Int(ifindex) + spec + std::string(4, '\0');
}

class CmsgSend : public ::testing::Test
{
      protected:
	bool Parse(const std::string &control, bool six = false, int domain = 0)
	{
		// of the exact size and odd address, so that a read beyond is seen
		std::vector<char> copy(control.size() + 1);
		memcpy(copy.data() + 1, control.data(), control.size());
		return cmsg_send_parse(copy.data() + 1, control.size(),
				       domain ? domain
				       : six  ? AF_INET6
					      : AF_INET,
				       six, &c_);
	}
	struct cmsg_send c_;
};

TEST_F(CmsgSend, IPv4)
{
	EXPECT_TRUE(Parse(""));
	EXPECT_EQ(c_.flags, 0);
	EXPECT_TRUE(Parse(Message(IPPROTO_IP, IP_TOS, Int(0x12)) +
			  Message(IPPROTO_IP, IP_TTL, Int(9))));
	EXPECT_EQ(c_.flags, UDPLANE_TX_TOS | UDPLANE_TX_TTL);
	EXPECT_EQ(c_.tos, 0x12);
	EXPECT_EQ(c_.ttl, 9);
	EXPECT_TRUE(Parse(Message(IPPROTO_IP, IP_TOS, "\xff")));
	EXPECT_EQ(c_.tos, 0xff);
	EXPECT_TRUE(Parse(Message(IPPROTO_IP, IP_PKTINFO, Info4(3, "\x0a\x01\x02\x03"))));
	EXPECT_EQ(c_.flags, UDPLANE_TX_SOURCE);
	EXPECT_EQ(c_.ifindex, 3u);
	EXPECT_EQ(memcmp(c_.src, "\x0a\x01\x02\x03\0\0\0\0\0\0\0\0\0\0\0\0", 16), 0);
	EXPECT_TRUE(Parse(Message(IPPROTO_IP, IP_PKTINFO, Info4(3, std::string(4, '\0')))));
	EXPECT_EQ(c_.flags, 0);
	EXPECT_TRUE(c_.any_source);
	EXPECT_TRUE(Parse(Message(IPPROTO_UDP, 103, std::string("\xe8\x03", 2))));
	EXPECT_TRUE(c_.segment);
	EXPECT_EQ(c_.segment_size, 1000);
	EXPECT_TRUE(Parse(Message(IPPROTO_IPV6, 1234, "x"))) << "Linux passes over it";
	EXPECT_TRUE(Parse("short")) << "Linux does not look at less than a header";
}

TEST_F(CmsgSend, IPv6)
{
	std::string addr("\xfd\x99\0\0\0\0\0\0\0\0\0\0\0\0\0\x01", 16);

	EXPECT_TRUE(Parse(Message(IPPROTO_IPV6, IPV6_TCLASS, Int(0x12)) +
				  Message(IPPROTO_IPV6, IPV6_HOPLIMIT, Int(9)) +
				  Message(IPPROTO_IPV6, IPV6_PKTINFO, addr + Int(4)) +
				  Message(IPPROTO_IPV6, 62 /* IPV6_DONTFRAG */, Int(1)),
			  true));
	EXPECT_EQ(c_.flags, UDPLANE_TX_TOS | UDPLANE_TX_TTL | UDPLANE_TX_SOURCE);
	EXPECT_EQ(c_.ifindex, 4u);
	EXPECT_EQ(std::string(reinterpret_cast<char *>(c_.src), 16), addr);
	EXPECT_TRUE(c_.dont_fragment);
	EXPECT_TRUE(Parse(Message(IPPROTO_IP, IP_TOS, "bad"), true)) << "Linux passes over it";
	addr[0] = '\xfe';
	addr[1] = '\x80';
	EXPECT_FALSE(Parse(Message(IPPROTO_IPV6, IPV6_PKTINFO, addr + Int(4)), true));
}

TEST_F(CmsgSend, MappedSources)
{
	std::string addr("\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x01\x02\x03", 16);
	std::string m = Message(IPPROTO_IPV6, IPV6_PKTINFO, addr + Int(0));

	EXPECT_TRUE(Parse(m, false, AF_INET6));
	EXPECT_EQ(c_.flags, UDPLANE_TX_SOURCE);
	EXPECT_EQ(memcmp(c_.src, "\x0a\x01\x02\x03", 4), 0);
	EXPECT_FALSE(Parse(m, true)) << "not for an IPv6 destination";
	EXPECT_TRUE(Parse(m, false, AF_INET)) << "Linux passes over it";
	EXPECT_EQ(c_.flags, 0);
	addr[10] = 0;
	EXPECT_FALSE(Parse(Message(IPPROTO_IPV6, IPV6_PKTINFO, addr + Int(0)), false, AF_INET6));
}

TEST_F(CmsgSend, TheKernelsOwn)
{
	const std::string bad4[] = {
		Message(IPPROTO_IP, IP_TOS, "xy"),
		Message(IPPROTO_IP, IP_TOS, Int(256)),
		Message(IPPROTO_IP, IP_TOS, Int(-1)),
		Message(IPPROTO_IP, IP_TTL, Int(0)),
		Message(IPPROTO_IP, IP_TTL, Int(256)),
		Message(IPPROTO_IP, IP_PKTINFO, "short"),
		Message(IPPROTO_IP, IP_RETOPTS, "x"),
		Message(IPPROTO_UDP, 103, "abcd"),
		Message(IPPROTO_UDP, 104, "ab"),
		Message(SOL_SOCKET, SO_MARK, Int(0)),
		Message(12345, 1, "x"),
		Message(IPPROTO_IP, IP_TOS, Int(1), 3),
		Message(IPPROTO_IP, IP_TOS, Int(1), 1000),
		Message(IPPROTO_IP, IP_TOS, Int(1), SIZE_MAX),
		std::string(CMSG_SEND_MAX + 1, '\0'),
	};

	for (const std::string &m : bad4) {
		EXPECT_FALSE(Parse(m));
		EXPECT_FALSE(Parse(Message(IPPROTO_IP, IP_TTL, Int(1)) + m));
	}
	for (int v : {-1, 256})
		for (int type : {IPV6_TCLASS, IPV6_HOPLIMIT})
			EXPECT_FALSE(Parse(Message(IPPROTO_IPV6, type, Int(v)), true));
	EXPECT_FALSE(Parse(Message(IPPROTO_IPV6, 62, Int(2)), true));
	EXPECT_FALSE(Parse(Message(IPPROTO_IPV6, IPV6_RTHDR, Int(2)), true));
}
} // namespace
