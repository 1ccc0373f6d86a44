// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "sidecar/control/message.h"
#include <udplane/abi.h>

namespace
{

struct Packet {
	alignas(8) char bytes[1024] = {};
	Packet(uint16_t type, uint16_t len, uint32_t seq)
	{
		udplane_msg m{type, len, seq};
		memcpy(bytes, &m, sizeof(m));
	}
};

int Check(const Packet &p, size_t len, bool welcomed, bool observer, uint32_t fds,
	  std::string *why = nullptr)
{
	struct error error = {};
	int r = message_check(p.bytes, len, welcomed, observer, fds, &error);
	EXPECT_EQ(r == 0, error.text[0] != 0); // a refusal always says why
	if (why)
		*why = error.text;
	return r;
}

constexpr uint16_t kHello = UDPLANE_HELLO_LEN_MIN, kClaim = sizeof(udplane_claim),
		   kReq = sizeof(udplane_sock_req), kMember = sizeof(udplane_member);

TEST(Message, WhatAClientMaySend)
{
	EXPECT_EQ(Check({UDPLANE_MSG_HELLO, kHello, 1}, kHello, false, true, 0), UDPLANE_MSG_HELLO);
	EXPECT_EQ(Check({UDPLANE_MSG_HELLO, kHello, 1}, kHello, true, true, 0),
		  UDPLANE_MSG_HELLO); // an observer refreshes
	EXPECT_EQ(Check({UDPLANE_MSG_CLAIM, kClaim, 1}, kClaim, true, false, 1), UDPLANE_MSG_CLAIM);
	EXPECT_EQ(Check({UDPLANE_MSG_UPDATE, kReq, 1}, kReq, true, false, 0), UDPLANE_MSG_UPDATE);
	EXPECT_EQ(Check({UDPLANE_MSG_RELEASE, kReq, 1}, kReq, true, false, 0), UDPLANE_MSG_RELEASE);
	EXPECT_EQ(Check({UDPLANE_MSG_MEMBER, kMember, 1}, kMember, true, false, 0),
		  UDPLANE_MSG_MEMBER);
	EXPECT_EQ(Check({UDPLANE_MSG_MEMBER, kMember - 1, 1}, kMember - 1, true, false, 0), 0);
}

TEST(Message, ObserversCaptureAndClientsDoNot)
{
	constexpr uint16_t kCapture = sizeof(udplane_capture);
	EXPECT_EQ(Check({UDPLANE_MSG_CAPTURE, kCapture, 2}, kCapture, true, true, 0),
		  UDPLANE_MSG_CAPTURE);
	EXPECT_EQ(Check({UDPLANE_MSG_CAPTURE, kCapture, 2}, kCapture, true, false, 0), 0);
	EXPECT_EQ(Check({UDPLANE_MSG_CAPTURE, kCapture, 2}, kCapture, false, true, 0), 0);
	EXPECT_EQ(Check({UDPLANE_MSG_CAPTURE, kCapture - 1, 2}, kCapture - 1, true, true, 0), 0);
	EXPECT_EQ(Check({UDPLANE_MSG_CAPTURE, kCapture, 2}, kCapture, true, true, 1), 0);
}

TEST(Message, ANewerMinorMayBeLonger)
{
	EXPECT_EQ(Check({UDPLANE_MSG_CLAIM, kClaim + 8, 1}, kClaim + 8, true, false, 1),
		  UDPLANE_MSG_CLAIM);
}

TEST(Message, WrongLengths)
{
	for (size_t len = 0; len < kClaim; len++)
		EXPECT_EQ(Check({UDPLANE_MSG_CLAIM, (uint16_t)len, 1}, len, true, false, 1), 0)
			<< len;
	EXPECT_EQ(Check({UDPLANE_MSG_CLAIM, kClaim, 1}, kClaim + 1, true, false, 1), 0);
	EXPECT_EQ(Check({UDPLANE_MSG_CLAIM, UDPLANE_MSG_MAX + 1, 1}, UDPLANE_MSG_MAX + 1, true,
			false, 1),
		  0);
}

TEST(Message, WrongTypes)
{
	for (uint32_t type = 0; type < 65536; type++) {
		if (type == UDPLANE_MSG_UPDATE || type == UDPLANE_MSG_RELEASE ||
		    type == UDPLANE_MSG_MEMBER) /* shorter ones */
			continue;
		ASSERT_EQ(Check({(uint16_t)type, kReq, 1}, kReq, true, false, 0), 0) << type;
	}
}

TEST(Message, WrongOrderAndDescriptors)
{
	std::string why;
	EXPECT_EQ(Check({UDPLANE_MSG_CLAIM, kClaim, 1}, kClaim, false, true, 1), 0); // before HELLO
	EXPECT_EQ(Check({UDPLANE_MSG_CLAIM, kClaim, 1}, kClaim, true, true, 1), 0);  // an observer
	EXPECT_EQ(Check({UDPLANE_MSG_HELLO, kHello, 1}, kHello, true, false, 0), 0); // twice
	EXPECT_EQ(Check({UDPLANE_MSG_HELLO, kHello, 0}, kHello, false, true, 0), 0); // seq 0
	EXPECT_EQ(Check({UDPLANE_MSG_HELLO, kHello, 1}, kHello, false, true, 1),
		  0); // a descriptor too many
	EXPECT_EQ(Check({UDPLANE_MSG_CLAIM, kClaim, 1}, kClaim, true, false, 0, &why), 0);
	EXPECT_NE(why.find("CLAIM with 0 descriptors; expected 1"), std::string::npos) << why;
}

} // namespace
