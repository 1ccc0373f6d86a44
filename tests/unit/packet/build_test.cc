// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <gtest/gtest.h>

#include "sidecar/packet/packet.h"
#include "tests/unit/packet/frames.h"

namespace
{

// The flow and destination of Frame4 and Frame6.
struct packet_flow Flow(int family)
{
	struct packet_flow flow = {};
	const uint8_t src6[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2};

	flow.family = static_cast<uint8_t>(family);
	flow.ttl = 63;
	flow.tos = 0xb8;
	flow.df = true;
	flow.src_mac[0] = flow.dst_mac[0] = 2;
	flow.src_mac[5] = 1;
	flow.dst_mac[5] = 2;
	flow.flow_label = 0xabcde;
	flow.src_port_be = htons(5353);
	if (family == AF_INET)
		flow.src.v4_be = htonl(0x0a010203);
	else
		memcpy(flow.src.bytes, src6, sizeof(src6));
	return flow;
}

struct packet_endpoint Destination(int family)
{
	struct packet_endpoint dst = {};
	const uint8_t dst6[16] = {0xfd, 0x00, 0, 0x0a, 0, 0x0b, 0, 0, 0, 0, 0, 0, 0, 9, 0xff, 0xfe};

	dst.port_be = htons(4660);
	if (family == AF_INET)
		dst.addr.v4_be = htonl(0xc0a80709);
	else
		memcpy(dst.addr.bytes, dst6, sizeof(dst6));
	return dst;
}

Bytes BuildFrame(const struct packet_flow &flow, const struct packet_endpoint &dst,
		 const Bytes &payload, uint16_t ip_id)
{
	struct packet_template tmpl;
	Bytes frame(payload.size() + 128, 0x5a);
	uint32_t len;

	memset(&tmpl, 0x77, sizeof(tmpl));
	packet_template_init(&tmpl, &flow);
	EXPECT_EQ(flow.family == AF_INET ? PACKET_HDR_LEN4 : PACKET_HDR_LEN6, tmpl.hdr_len);
	len = packet_build(frame.data(), &tmpl, &dst, payload.data(),
			   static_cast<uint16_t>(payload.size()), ip_id);
	EXPECT_EQ(tmpl.hdr_len + payload.size(), len);
	for (size_t i = len; i < frame.size(); i++)
		EXPECT_EQ(0x5a, frame[i]) << "wrote behind the frame";
	frame.resize(len);
	return frame;
}

class Build : public testing::TestWithParam<int>
{
};

TEST_P(Build, EqualsTheHandMadeFrameAtEveryLength)
{
	for (size_t n = 0; n <= 1472; n++) {
		const Bytes payload = Payload(n, static_cast<unsigned>(n));
		const Bytes want = GetParam() == AF_INET ? Frame4(payload) : Frame6(payload);

		ASSERT_EQ(want,
			  BuildFrame(Flow(GetParam()), Destination(GetParam()), payload, 0xbeef))
			<< n;
	}
}

TEST_P(Build, EqualsTheHandMadeFrameAtTheLargestLength)
{
	const Bytes payload =
		Payload(GetParam() == AF_INET ? PACKET_PAYLOAD_MAX4 : PACKET_PAYLOAD_MAX6);
	const Bytes want = GetParam() == AF_INET ? Frame4(payload) : Frame6(payload);

	ASSERT_TRUE(want == BuildFrame(Flow(GetParam()), Destination(GetParam()), payload, 0xbeef));
}

TEST_P(Build, ParsesAndVerifiesAgain)
{
	const struct packet_flow flow = Flow(GetParam());
	const struct packet_endpoint dst = Destination(GetParam());

	for (size_t n = 0; n <= 1472; n++) {
		const Bytes payload = Payload(n, static_cast<unsigned>(n + 1));
		const Bytes frame = BuildFrame(flow, dst, payload, static_cast<uint16_t>(n * 7));
		struct packet_info info;

		ASSERT_EQ(PACKET_UDP,
			  packet_parse(frame.data(), static_cast<uint32_t>(frame.size()), &info))
			<< n;
		ASSERT_EQ(PACKET_UDP, packet_verify(frame.data(), &info, PACKET_CHECKSUM_WIRE))
			<< n;
		ASSERT_EQ(n, info.payload_len);
		ASSERT_EQ(GetParam(), info.family);
		ASSERT_EQ(flow.ttl, info.ttl);
		ASSERT_EQ(flow.tos, info.tos);
		ASSERT_EQ(flow.src_port_be, info.src_port_be);
		ASSERT_EQ(dst.port_be, info.dst_port_be);
		ASSERT_EQ(0, memcmp(&flow.src, &info.src, sizeof(info.src)));
		ASSERT_EQ(0, memcmp(&dst.addr, &info.dst, sizeof(info.dst)));
		ASSERT_TRUE(std::equal(payload.begin(), payload.end(),
				       frame.begin() + info.payload_off));
	}
}

// Every value that a template or a call can hold goes to its place and into the sums: compared with
// sums made afresh.
TEST_P(Build, AnyFlow)
{
	unsigned seed = 99;
	const auto random = [&seed] {
		seed = seed * 1103515245 + 12345;
		return seed >> 8;
	};

	for (int i = 0; i < 5000; i++) {
		struct packet_flow flow = Flow(GetParam());
		struct packet_endpoint dst = {};
		const auto ip_id = static_cast<uint16_t>(random());
		const size_t addr_len = GetParam() == AF_INET ? 4 : 16;

		flow.ttl = static_cast<uint8_t>(random());
		flow.tos = static_cast<uint8_t>(random());
		flow.df = random() & 1;
		flow.flow_label = random() & 0xfffff;
		flow.src_port_be = static_cast<uint16_t>(random());
		dst.port_be = static_cast<uint16_t>(random());
		for (size_t b = 0; b < 6; b++)
			flow.src_mac[b] = static_cast<uint8_t>(random()),
			flow.dst_mac[b] = static_cast<uint8_t>(random());
		for (size_t b = 0; b < addr_len; b++)
			flow.src.bytes[b] = static_cast<uint8_t>(random() % 5 ? random() : 0xff),
			dst.addr.bytes[b] = static_cast<uint8_t>(random() % 5 ? random() : 0xff);

		const Bytes payload = Payload(random() % 90, random());
		const Bytes frame = BuildFrame(flow, dst, payload, ip_id);
		Bytes want = GetParam() == AF_INET ? Frame4(payload) : Frame6(payload);

		std::copy_n(flow.dst_mac, 6, want.begin());
		std::copy_n(flow.src_mac, 6, want.begin() + 6);
		if (GetParam() == AF_INET) {
			want[15] = flow.tos;
			want[22] = flow.ttl;
			Put16(&want, 18, ip_id);
			want[20] = flow.df ? 0x40 : 0;
			std::copy_n(flow.src.bytes, 4, want.begin() + 26);
			std::copy_n(dst.addr.bytes, 4, want.begin() + 30);
			FixIpChecksum(&want);
		} else {
			Put16(&want, 14, 0x6000u | flow.tos << 4 | flow.flow_label >> 16);
			Put16(&want, 16, flow.flow_label);
			want[21] = flow.ttl;
			std::copy_n(flow.src.bytes, 16, want.begin() + 22);
			std::copy_n(dst.addr.bytes, 16, want.begin() + 38);
		}
		memcpy(&want[GetParam() == AF_INET ? kUdp4 : kUdp6], &flow.src_port_be, 2);
		memcpy(&want[GetParam() == AF_INET ? kUdp4 + 2 : kUdp6 + 2], &dst.port_be, 2);
		FixUdpChecksum(&want);
		ASSERT_EQ(want, frame) << i;
	}
}

// Two payload bytes run through all values, so one of them makes the sum 0xffff and its complement
// 0, which means "none".
TEST_P(Build, ZeroChecksumIsSentAsAllOnes)
{
	const size_t field = GetParam() == AF_INET ? kUdp4 + 6 : kUdp6 + 6;
	struct packet_flow flow = Flow(GetParam());
	struct packet_endpoint dst = Destination(GetParam());
	struct packet_template tmpl;
	uint8_t frame[PACKET_HDR_LEN6 + 2];
	int all_ones = 0;

	packet_template_init(&tmpl, &flow);
	for (unsigned value = 0; value <= 0xffff; value++) {
		const uint8_t payload[2] = {static_cast<uint8_t>(value >> 8),
					    static_cast<uint8_t>(value)};
		const uint32_t len = packet_build(frame, &tmpl, &dst, payload, 2, 0);
		struct packet_info info;

		ASSERT_NE(0, frame[field] | frame[field + 1]) << value;
		if (frame[field] == 0xff && frame[field + 1] == 0xff) {
			all_ones++;
			ASSERT_EQ(PACKET_UDP, packet_parse(frame, len, &info));
			ASSERT_EQ(PACKET_UDP, packet_verify(frame, &info, PACKET_CHECKSUM_WIRE));
		}
	}
	EXPECT_EQ(1, all_ones);
}

TEST_P(Build, IntoUnalignedFramesAndOutOfFencedPayload)
{
	struct packet_flow flow = Flow(GetParam());
	struct packet_endpoint dst = Destination(GetParam());
	struct packet_template tmpl;
	Fenced payload_memory(1500), frame_memory(1600);

	packet_template_init(&tmpl, &flow);
	for (size_t n = 0; n <= 1472; n++) {
		const Bytes payload = Payload(n);
		const Bytes want = GetParam() == AF_INET ? Frame4(payload) : Frame6(payload);
		uint8_t *from = payload_memory.AtEnd(n),
			*frame = frame_memory.AtEnd(tmpl.hdr_len + n);

		std::copy(payload.begin(), payload.end(), from);
		ASSERT_EQ(want.size(),
			  packet_build(frame, &tmpl, &dst, from, static_cast<uint16_t>(n), 0xbeef));
		ASSERT_EQ(0, memcmp(want.data(), frame, want.size())) << n;
	}
}

// The headers of the whole: as those of one datagram of that length, but for the sum.
TEST_P(Build, ASuperPacketHasThePseudoHeadersSum)
{
	const bool four = GetParam() == AF_INET;
	for (size_t n : {1u, 2u, 99u, 1472u, 40000u, 65473u}) {
		const Bytes payload = Payload(n, static_cast<unsigned>(n));
		Bytes want = four ? Frame4(payload) : Frame6(payload);
		Bytes head(64, 0x5a);
		struct packet_template tmpl;
		const struct packet_flow flow = Flow(GetParam());
		const struct packet_endpoint dst = Destination(GetParam());

		packet_template_init(&tmpl, &flow);
		ASSERT_EQ(tmpl.hdr_len, packet_build_super(head.data(), &tmpl, &dst,
							   static_cast<uint16_t>(n), 0xbeef));
		EXPECT_EQ(Bytes(head.begin() + tmpl.hdr_len, head.end()),
			  Bytes(head.size() - tmpl.hdr_len, 0x5a));
		Put16(&want, tmpl.hdr_len - 2u, PseudoSum(want));
		EXPECT_EQ(Bytes(want.begin(), want.begin() + tmpl.hdr_len),
			  Bytes(head.begin(), head.begin() + tmpl.hdr_len))
			<< n;
	}
}

INSTANTIATE_TEST_SUITE_P(Families, Build, testing::Values(AF_INET, AF_INET6),
			 [](const testing::TestParamInfo<int> &info) {
				 return info.param == AF_INET ? "v4" : "v6";
			 });

} // namespace
