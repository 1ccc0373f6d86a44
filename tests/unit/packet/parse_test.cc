// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <map>
#include <set>
#include <string>

#include "sidecar/packet/packet.h"
#include "tests/unit/packet/frames.h"

namespace
{

enum packet_verdict Parse(const Bytes &frame, struct packet_info *info)
{
	return packet_parse(frame.data(), static_cast<uint32_t>(frame.size()), info);
}

// The verdict of parse, then verify.
enum packet_verdict Judge(const Bytes &frame, enum packet_checksum_mode mode = PACKET_CHECKSUM_WIRE)
{
	struct packet_info info;
	const enum packet_verdict verdict = Parse(frame, &info);

	return verdict == PACKET_UDP ? packet_verify(frame.data(), &info, mode) : verdict;
}

TEST(Parse, Ipv4Fields)
{
	const Bytes frame = Frame4(Payload(100));
	struct packet_info info;

	memset(&info, 0xee, sizeof(info));
	ASSERT_EQ(PACKET_UDP, Parse(frame, &info));
	EXPECT_EQ(AF_INET, info.family);
	EXPECT_EQ(0, info.flags);
	EXPECT_EQ(63, info.ttl);
	EXPECT_EQ(0xb8, info.tos);
	EXPECT_EQ(14, info.l3_off);
	EXPECT_EQ(42, info.payload_off);
	EXPECT_EQ(100, info.payload_len);
	EXPECT_EQ(5353, ntohs(info.src_port_be));
	EXPECT_EQ(4660, ntohs(info.dst_port_be));
	EXPECT_EQ(0x0a010203u, ntohl(info.src.v4_be));
	EXPECT_EQ(0xc0a80709u, ntohl(info.dst.v4_be));
	for (int i = 4; i < 16; i++)
		EXPECT_EQ(0, info.src.bytes[i] | info.dst.bytes[i]);
}

TEST(Parse, Ipv6Fields)
{
	const Bytes frame = Frame6(Payload(100));
	struct packet_info info;

	memset(&info, 0xee, sizeof(info));
	ASSERT_EQ(PACKET_UDP, Parse(frame, &info));
	EXPECT_EQ(AF_INET6, info.family);
	EXPECT_EQ(0, info.flags);
	EXPECT_EQ(63, info.ttl);
	EXPECT_EQ(0xb8, info.tos);
	EXPECT_EQ(14, info.l3_off);
	EXPECT_EQ(62, info.payload_off);
	EXPECT_EQ(100, info.payload_len);
	EXPECT_EQ(5353, ntohs(info.src_port_be));
	EXPECT_EQ(4660, ntohs(info.dst_port_be));
	EXPECT_EQ(0, memcmp(info.src.bytes, &frame[22], 16));
	EXPECT_EQ(0, memcmp(info.dst.bytes, &frame[38], 16));
}

// Fields that differ in one frame only must not leave traces of what the struct held before.
TEST(Parse, DefinesEveryByte)
{
	for (const Bytes &frame : {Frame4(Payload(9)), Frame6(Payload(9))}) {
		struct packet_info a, b;

		memset(&a, 0x00, sizeof(a));
		memset(&b, 0xff, sizeof(b));
		ASSERT_EQ(PACKET_UDP, Parse(frame, &a));
		ASSERT_EQ(PACKET_UDP, Parse(frame, &b));
		EXPECT_EQ(0, memcmp(&a, &b, sizeof(a)));
	}
}

struct Case {
	const char *name;
	enum packet_verdict verdict;
	bool v6;
	std::function<void(Bytes *)> change; // of a good frame with 26 bytes of payload
};

void PrintTo(const Case &c, std::ostream *os)
{
	*os << c.name;
}

std::function<void(Bytes *)> Set4(size_t off, std::initializer_list<uint8_t> bytes)
{
	return [off, bytes = Bytes(bytes)](Bytes *f) {
		std::copy(bytes.begin(), bytes.end(), f->begin() + static_cast<long>(off));
		FixIpChecksum(f);
	};
}

std::function<void(Bytes *)> Set(size_t off, std::initializer_list<uint8_t> bytes)
{
	return [off, bytes = Bytes(bytes)](Bytes *f) {
		std::copy(bytes.begin(), bytes.end(), f->begin() + static_cast<long>(off));
	};
}

// A source or destination address, with both checksums made right again.
std::function<void(Bytes *)> Addr(size_t off, std::initializer_list<uint8_t> bytes)
{
	return [off, bytes = Bytes(bytes)](Bytes *f) {
		std::copy(bytes.begin(), bytes.end(), f->begin() + static_cast<long>(off));
		if (Get16(*f, 12) == 0x0800)
			FixIpChecksum(f);
		FixUdpChecksum(f);
	};
}

constexpr size_t kSrc4 = 26, kDst4 = 30, kSrc6 = 22, kDst6 = 38;

// clang-format off
const std::vector<Case> &Cases()
{
	static const std::vector<Case> cases = {
		{"v4", PACKET_UDP, false, [](Bytes *) {}},
		{"v6", PACKET_UDP, true, [](Bytes *) {}},
		{"v4_padding", PACKET_UDP, false, [](Bytes *f) { f->resize(f->size() + 20, 0xa5); }},
		{"v6_padding", PACKET_UDP, true, [](Bytes *f) { f->resize(f->size() + 20, 0xa5); }},
		{"v4_no_checksum", PACKET_UDP, false, Set(40, {0, 0})},
		{"v4_df_clear", PACKET_UDP, false, Set4(20, {0x00})},
		{"v4_reserved_flag", PACKET_UDP, false, Set4(20, {0x80})}, // Linux ignores it
		{"v4_ttl_0", PACKET_UDP, false, Set4(22, {0})},            // local delivery does not look
		{"v4_source_port_0", PACKET_UDP, false, Addr(34, {0, 0})},
		{"v4_source_1", PACKET_UDP, false, Addr(kSrc4, {1, 0, 0, 0})},
		{"v4_source_126", PACKET_UDP, false, Addr(kSrc4, {126, 255, 255, 255})},
		{"v4_source_128", PACKET_UDP, false, Addr(kSrc4, {128, 0, 0, 0})},
		{"v4_source_223", PACKET_UDP, false, Addr(kSrc4, {223, 255, 255, 255})},
		{"v4_source_240", PACKET_UDP, false, Addr(kSrc4, {240, 0, 0, 1})},
		{"v4_source_last_but_one", PACKET_UDP, false, Addr(kSrc4, {255, 255, 255, 254})},
		{"v4_destination_240", PACKET_UDP, false, Addr(kDst4, {240, 0, 0, 1})},
		{"v6_link_local", PACKET_UDP, true, Addr(kSrc6, {0xfe, 0x80})},
		{"v6_v4_compatible", PACKET_UDP, true, Addr(kSrc6, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 1, 2, 3})},
		{"v6_loopback_and_one", PACKET_UDP, true, Addr(kSrc6, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2})},

		{"arp", PACKET_PASS_NOT_IP, false, Set(12, {0x08, 0x06})},
		{"arp_broadcast", PACKET_PASS_NOT_IP, false,
		 [](Bytes *f) {
			 Set(0, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff})(f);
			 Set(12, {0x08, 0x06})(f);
		 }},
		{"llc_length", PACKET_PASS_NOT_IP, false, Set(12, {0x00, 0x2e})},
		{"vlan", PACKET_PASS_VLAN, false, Set(12, {0x81, 0x00})},
		{"vlan_stag", PACKET_PASS_VLAN, true, Set(12, {0x88, 0xa8})},
		{"v4_tcp", PACKET_PASS_NOT_UDP, false, Set4(23, {6})},
		{"v4_udplite", PACKET_PASS_NOT_UDP, false, Set4(23, {136})},
		{"v6_icmp", PACKET_PASS_NOT_UDP, true, Set(20, {58})},
		{"v6_no_next", PACKET_PASS_NOT_UDP, true, Set(20, {59})},
		{"v4_first_fragment", PACKET_PASS_FRAGMENT, false, Set4(20, {0x20, 0x00})},
		{"v4_last_fragment", PACKET_PASS_FRAGMENT, false, Set4(20, {0x00, 0x01})},
		{"v4_offset_high_bit", PACKET_PASS_FRAGMENT, false, Set4(20, {0x10, 0x00})},
		{"v6_fragment", PACKET_PASS_FRAGMENT, true, Set(20, {44})},
		{"v4_options", PACKET_PASS_OPTIONS, false, Set4(14, {0x46})},
		{"v4_most_options", PACKET_PASS_OPTIONS, false, Set4(14, {0x4f})},
		{"v6_hop_by_hop", PACKET_PASS_EXTENSION, true, Set(20, {0})},
		{"v6_routing", PACKET_PASS_EXTENSION, true, Set(20, {43})},
		{"v6_esp", PACKET_PASS_EXTENSION, true, Set(20, {50})},
		{"v6_ah", PACKET_PASS_EXTENSION, true, Set(20, {51})},
		{"v6_destination_options", PACKET_PASS_EXTENSION, true, Set(20, {60})},
		{"v6_mobility", PACKET_PASS_EXTENSION, true, Set(20, {135})},
		{"v6_hip", PACKET_PASS_EXTENSION, true, Set(20, {139})},
		{"v6_shim", PACKET_PASS_EXTENSION, true, Set(20, {140})},
		{"v4_broadcast_mac", PACKET_PASS_NOT_UNICAST, false, Set(0, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff})},
		{"v4_multicast_mac", PACKET_PASS_NOT_UNICAST, false, Set(0, {0x01, 0x00, 0x5e})},
		{"v6_multicast_mac", PACKET_PASS_NOT_UNICAST, true, Set(0, {0x33, 0x33})},
		{"v4_multicast_first", PACKET_PASS_NOT_UNICAST, false, Addr(kDst4, {224, 0, 0, 0})},
		{"v4_multicast_last", PACKET_PASS_NOT_UNICAST, false, Addr(kDst4, {239, 255, 255, 255})},
		{"v4_broadcast", PACKET_PASS_NOT_UNICAST, false, Addr(kDst4, {255, 255, 255, 255})},
		{"v4_dhcp", PACKET_PASS_NOT_UNICAST, false, Addr(kSrc4, {0, 0, 0, 0, 255, 255, 255, 255})},
		{"v6_multicast", PACKET_PASS_NOT_UNICAST, true, Addr(kDst6, {0xff, 0x02})},
		{"v4_source_0", PACKET_PASS_MARTIAN, false, Addr(kSrc4, {0, 1, 2, 3})},
		{"v4_source_127", PACKET_PASS_MARTIAN, false, Addr(kSrc4, {127, 0, 0, 1})},
		{"v4_source_multicast_first", PACKET_PASS_MARTIAN, false, Addr(kSrc4, {224, 0, 0, 0})},
		{"v4_source_multicast_last", PACKET_PASS_MARTIAN, false, Addr(kSrc4, {239, 255, 255, 255})},
		{"v4_source_broadcast", PACKET_PASS_MARTIAN, false, Addr(kSrc4, {255, 255, 255, 255})},
		{"v4_destination_0", PACKET_PASS_MARTIAN, false, Addr(kDst4, {0, 0, 0, 0})},
		{"v4_destination_127", PACKET_PASS_MARTIAN, false, Addr(kDst4, {127, 0, 0, 1})},
		{"v6_source_multicast", PACKET_PASS_MARTIAN, true, Addr(kSrc6, {0xff, 0x02})},
		{"v6_source_any", PACKET_PASS_MARTIAN, true, Addr(kSrc6, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})},
		{"v6_source_loopback", PACKET_PASS_MARTIAN, true, Addr(kSrc6, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1})},
		{"v6_source_v4_mapped", PACKET_PASS_MARTIAN, true,
		 Addr(kSrc6, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1})},
		{"v6_destination_any", PACKET_PASS_MARTIAN, true, Addr(kDst6, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})},
		{"v6_destination_loopback", PACKET_PASS_MARTIAN, true,
		 Addr(kDst6, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1})},
		{"v6_destination_v4_mapped", PACKET_PASS_MARTIAN, true,
		 Addr(kDst6, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 2, 3})},
		{"v4_udp_shorter", PACKET_PASS_ODD_LENGTH, false, Set(38, {0, 33})},
		{"v4_udp_minimal", PACKET_PASS_ODD_LENGTH, false, Set(38, {0, 8})},
		{"v6_udp_shorter", PACKET_PASS_ODD_LENGTH, true, Set(58, {0, 33})},
		{"v6_udp_length_0", PACKET_PASS_ODD_LENGTH, true, Set(58, {0, 0})}, // Linux: a jumbogram's

		{"v4_total_beyond_frame", PACKET_DROP_TRUNCATED, false, Set4(16, {0, 55})},
		{"v4_total_65535", PACKET_DROP_TRUNCATED, false, Set4(16, {0xff, 0xff})},
		{"v6_payload_beyond_frame", PACKET_DROP_TRUNCATED, true, Set(18, {0, 35})},
		{"v6_payload_65535", PACKET_DROP_TRUNCATED, true, Set(18, {0xff, 0xff})},
		{"v4_19_bytes_of_19", PACKET_DROP_TRUNCATED, false,
		 [](Bytes *f) {
			 Set4(16, {0, 19})(f);
			 f->resize(kIp + 19);
		 }},
		{"v4_version_6", PACKET_DROP_BAD_VERSION, false, Set4(14, {0x65})},
		{"v4_version_0", PACKET_DROP_BAD_VERSION, false, Set4(14, {0x05})},
		{"v6_version_4", PACKET_DROP_BAD_VERSION, true, Set(14, {0x45})},
		{"v4_ihl_4", PACKET_DROP_BAD_HEADER_LENGTH, false, Set4(14, {0x44})},
		{"v4_ihl_0", PACKET_DROP_BAD_HEADER_LENGTH, false, Set4(14, {0x40})},
		{"v4_total_19", PACKET_DROP_BAD_HEADER_LENGTH, false, Set4(16, {0, 19})},
		{"v4_total_0", PACKET_DROP_BAD_HEADER_LENGTH, false, Set4(16, {0, 0})},
		{"v4_total_20", PACKET_DROP_BAD_UDP_LENGTH, false, Set4(16, {0, 20})},
		{"v4_total_27", PACKET_DROP_BAD_UDP_LENGTH, false, Set4(16, {0, 27})},
		{"v6_payload_0", PACKET_DROP_BAD_UDP_LENGTH, true, Set(18, {0, 0})},
		{"v6_payload_7", PACKET_DROP_BAD_UDP_LENGTH, true, Set(18, {0, 7})},
		{"v4_total_27_udp_7", PACKET_DROP_BAD_UDP_LENGTH, false,
		 [](Bytes *f) {
			 Set4(16, {0, 27})(f);
			 Put16(f, 38, 7);
		 }},
		{"v6_payload_7_udp_7", PACKET_DROP_BAD_UDP_LENGTH, true,
		 [](Bytes *f) {
			 Put16(f, 18, 7);
			 Put16(f, 58, 7);
		 }},
		{"v4_udp_longer", PACKET_DROP_BAD_UDP_LENGTH, false, Set(38, {0, 35})},
		{"v4_udp_65535", PACKET_DROP_BAD_UDP_LENGTH, false, Set(38, {0xff, 0xff})},
		{"v4_udp_7", PACKET_DROP_BAD_UDP_LENGTH, false, Set(38, {0, 7})},
		{"v4_udp_0", PACKET_DROP_BAD_UDP_LENGTH, false, Set(38, {0, 0})},
		{"v6_udp_longer", PACKET_DROP_BAD_UDP_LENGTH, true, Set(58, {0, 35})},
		{"v6_udp_7", PACKET_DROP_BAD_UDP_LENGTH, true, Set(58, {0, 7})},
		// Longer than IP's total, though the frame's padding would hold it.
		{"v4_udp_in_padding", PACKET_DROP_BAD_UDP_LENGTH, false,
		 [](Bytes *f) {
			 f->resize(f->size() + 20, 0);
			 Put16(f, 38, 40);
		 }},
		{"v4_ip_checksum", PACKET_DROP_IP_CHECKSUM, false, [](Bytes *f) { (*f)[24] ^= 0x01; }},
		{"v4_ip_checksum_0", PACKET_DROP_IP_CHECKSUM, false, Set(24, {0, 0})},
		{"v4_header_bit", PACKET_DROP_IP_CHECKSUM, false, [](Bytes *f) { (*f)[33] ^= 0x80; }},
		{"v4_udp_checksum", PACKET_DROP_UDP_CHECKSUM, false, [](Bytes *f) { (*f)[40] ^= 0x01; }},
		{"v4_last_bit", PACKET_DROP_UDP_CHECKSUM, false, [](Bytes *f) { f->back() ^= 0x01; }},
		{"v4_port_bit", PACKET_DROP_UDP_CHECKSUM, false, [](Bytes *f) { (*f)[35] ^= 0x10; }},
		{"v6_udp_checksum", PACKET_DROP_UDP_CHECKSUM, true, [](Bytes *f) { (*f)[60] ^= 0x01; }},
		{"v6_last_bit", PACKET_DROP_UDP_CHECKSUM, true, [](Bytes *f) { f->back() ^= 0x01; }},
		{"v6_address_bit", PACKET_DROP_UDP_CHECKSUM, true, [](Bytes *f) { (*f)[53] ^= 0x02; }},
		{"v6_zero_checksum", PACKET_PASS_ZERO_CHECKSUM6, true, Set(60, {0, 0})},
	};
	return cases;
}
// clang-format on

class Verdict : public testing::TestWithParam<Case>
{
};

TEST_P(Verdict, IsAsSaid)
{
	Bytes frame = GetParam().v6 ? Frame6(Payload(26)) : Frame4(Payload(26));

	GetParam().change(&frame);
	EXPECT_STREQ(packet_verdict_name(GetParam().verdict), packet_verdict_name(Judge(frame)));
}

// A frame of the ring may begin anywhere.
TEST_P(Verdict, IsTheSameAtAnyAlignment)
{
	Bytes frame = GetParam().v6 ? Frame6(Payload(26)) : Frame4(Payload(26));

	GetParam().change(&frame);
	for (size_t off = 0; off < 64; off++) {
		Bytes moved(off, 0xcc);
		struct packet_info info;
		enum packet_verdict verdict;

		moved.insert(moved.end(), frame.begin(), frame.end());
		verdict = packet_parse(&moved[off], static_cast<uint32_t>(frame.size()), &info);
		if (verdict == PACKET_UDP)
			verdict = packet_verify(&moved[off], &info, PACKET_CHECKSUM_WIRE);
		ASSERT_EQ(GetParam().verdict, verdict) << off;
	}
}

INSTANTIATE_TEST_SUITE_P(Frames, Verdict, testing::ValuesIn(Cases()),
			 [](const testing::TestParamInfo<Case> &info) {
				 return std::string(info.param.name);
			 });

TEST(Verdicts, EachHasACase)
{
	std::set<enum packet_verdict> seen;

	for (const Case &c : Cases())
		seen.insert(c.verdict);
	EXPECT_EQ(static_cast<size_t>(PACKET_VERDICT_CNT), seen.size());
}

TEST(Verdicts, NamesAreDistinctAndSayTheClass)
{
	std::set<std::string> names;

	for (int i = 0; i < PACKET_VERDICT_CNT; i++) {
		const auto verdict = static_cast<enum packet_verdict>(i);
		const char *name = packet_verdict_name(verdict);

		ASSERT_NE(nullptr, name) << i;
		names.insert(name);
		EXPECT_EQ(packet_verdict_is_pass(verdict), strncmp(name, "pass_", 5) == 0) << name;
		EXPECT_EQ(packet_verdict_is_drop(verdict), strncmp(name, "drop_", 5) == 0) << name;
	}
	EXPECT_EQ(static_cast<size_t>(PACKET_VERDICT_CNT), names.size());
	EXPECT_EQ(nullptr, packet_verdict_name(PACKET_VERDICT_CNT));
	EXPECT_STREQ("udp", packet_verdict_name(PACKET_UDP));
}

// Cut anywhere, a frame is "truncated" and nothing behind the cut is read: the next page faults.
TEST(Truncation, AtEveryByte)
{
	for (const Bytes &frame : {Frame4(Payload(300)), Frame6(Payload(300))}) {
		Fenced memory(frame.size());

		for (size_t len = 0; len < frame.size(); len++) {
			uint8_t *p = memory.AtEnd(len);
			struct packet_info info;

			memcpy(p, frame.data(), len);
			ASSERT_STREQ("drop_truncated",
				     packet_verdict_name(
					     packet_parse(p, static_cast<uint32_t>(len), &info)))
				<< len;
		}
	}
}

// With lengths that were shortened to fit, verify must keep within the frame, too.
TEST(Truncation, VerifyReadsTheDatagramOnly)
{
	for (size_t n = 0; n < 200; n++) {
		for (const Bytes &frame : {Frame4(Payload(n)), Frame6(Payload(n))}) {
			Fenced memory(frame.size());
			uint8_t *p = memory.AtEnd(frame.size());
			struct packet_info info;

			memcpy(p, frame.data(), frame.size());
			ASSERT_EQ(PACKET_UDP,
				  packet_parse(p, static_cast<uint32_t>(frame.size()), &info));
			ASSERT_EQ(PACKET_UDP, packet_verify(p, &info, PACKET_CHECKSUM_WIRE)) << n;
		}
	}
}

TEST(Parse, LargestDatagrams)
{
	struct packet_info info;
	Bytes frame = Frame4(Payload(PACKET_PAYLOAD_MAX4));

	ASSERT_EQ(PACKET_UDP, Parse(frame, &info));
	EXPECT_EQ(PACKET_PAYLOAD_MAX4, info.payload_len);
	EXPECT_EQ(PACKET_UDP, packet_verify(frame.data(), &info, PACKET_CHECKSUM_WIRE));
	frame = Frame6(Payload(PACKET_PAYLOAD_MAX6));
	ASSERT_EQ(PACKET_UDP, Parse(frame, &info));
	EXPECT_EQ(PACKET_PAYLOAD_MAX6, info.payload_len);
	EXPECT_EQ(PACKET_UDP, packet_verify(frame.data(), &info, PACKET_CHECKSUM_WIRE));
}

TEST(Verify, EveryBitOfTheDatagramCounts)
{
	for (Bytes frame : {Frame4(Payload(61)), Frame6(Payload(61))}) {
		const size_t udp = frame.size() - 61 - 8;

		for (size_t bit = udp * 8; bit < frame.size() * 8; bit++) {
			if (bit / 8 == udp + 4 || bit / 8 == udp + 5)
				continue; // the length is parse's to judge
			frame[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
			ASSERT_EQ(PACKET_DROP_UDP_CHECKSUM, Judge(frame)) << bit;
			frame[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
		}
		ASSERT_EQ(PACKET_UDP, Judge(frame));
	}
}

// What a kernel on this host sends through a veth.
TEST(Verify, PartialChecksumIsForLocalFramesOnly)
{
	for (size_t n : {0u, 1u, 31u, 1400u}) {
		for (Bytes frame : {Frame4(Payload(n)), Frame6(Payload(n))}) {
			const size_t udp = frame.size() - n - 8;
			struct packet_info info;

			ASSERT_EQ(PACKET_UDP, Parse(frame, &info));
			EXPECT_EQ(PACKET_UDP,
				  packet_verify(frame.data(), &info, PACKET_CHECKSUM_LOCAL))
				<< "a whole one is good";
			EXPECT_EQ(0, info.flags);

			Put16(&frame, udp + 6, PseudoSum(frame));
			EXPECT_EQ(PACKET_DROP_UDP_CHECKSUM,
				  packet_verify(frame.data(), &info, PACKET_CHECKSUM_WIRE));
			EXPECT_EQ(0, info.flags);
			EXPECT_EQ(PACKET_UDP,
				  packet_verify(frame.data(), &info, PACKET_CHECKSUM_LOCAL));
			EXPECT_EQ(PACKET_F_PARTIAL_CHECKSUM, info.flags);

			info.flags = 0;
			Put16(&frame, udp + 6, PseudoSum(frame) ^ 1);
			EXPECT_EQ(PACKET_DROP_UDP_CHECKSUM,
				  packet_verify(frame.data(), &info, PACKET_CHECKSUM_LOCAL));
			EXPECT_EQ(0, info.flags);
		}
	}
}

// Frames that Linux 6.18 sent over a veth from [fd09::2]:7777 and 10.9.0.2:7777 to port 9999 of ::1
// and .1, 5 bytes of payload: with transmit checksumming left to the device, which never computes
// it, and without.
TEST(Verify, FramesOfTheKernel)
{
	// clang-format off
	const struct {
		Bytes frame;
		bool partial;
	} frames[] = {
		{{0x26, 0xc9, 0xe6, 0x64, 0xee, 0x95, 0xae, 0x7b, 0x21, 0xc7, 0xc6, 0x08, 0x08, 0x00, 0x45, 0x00,
		  0x00, 0x21, 0x00, 0x02, 0x40, 0x00, 0x40, 0x11, 0x26, 0xb6, 0x0a, 0x09, 0x00, 0x02, 0x0a, 0x09,
		  0x00, 0x01, 0x1e, 0x61, 0x27, 0x0f, 0x00, 0x0d, 0xe9, 0x57, 0x8e, 0x87, 0x82, 0x6f, 0xac}, false},
		{{0x26, 0xc9, 0xe6, 0x64, 0xee, 0x95, 0xae, 0x7b, 0x21, 0xc7, 0xc6, 0x08, 0x08, 0x00, 0x45, 0x00,
		  0x00, 0x21, 0xff, 0x87, 0x40, 0x00, 0x40, 0x11, 0x27, 0x30, 0x0a, 0x09, 0x00, 0x02, 0x0a, 0x09,
		  0x00, 0x01, 0x1e, 0x61, 0x27, 0x0f, 0x00, 0x0d, 0x14, 0x33, 0x49, 0x42, 0x05, 0x5d, 0x02}, true},
		{{0x26, 0xc9, 0xe6, 0x64, 0xee, 0x95, 0xae, 0x7b, 0x21, 0xc7, 0xc6, 0x08, 0x86, 0xdd, 0x60, 0x0b,
		  0x7d, 0xb7, 0x00, 0x0d, 0x11, 0x40, 0xfd, 0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		  0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0xfd, 0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		  0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x1e, 0x61, 0x27, 0x0f, 0x00, 0x0d, 0xe2, 0xb5, 0x1b, 0xbe,
		  0x0a, 0xd9, 0xb7}, false},
		{{0x26, 0xc9, 0xe6, 0x64, 0xee, 0x95, 0xae, 0x7b, 0x21, 0xc7, 0xc6, 0x08, 0x86, 0xdd, 0x60, 0x0b,
		  0x7d, 0xb7, 0x00, 0x0d, 0x11, 0x40, 0xfd, 0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		  0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0xfd, 0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		  0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x1e, 0x61, 0x27, 0x0f, 0x00, 0x0d, 0xfa, 0x34, 0x6c, 0x1e,
		  0x8f, 0x13, 0xc1}, true},
	};
	// clang-format on

	for (const auto &f : frames) {
		struct packet_info info;

		ASSERT_EQ(PACKET_UDP, Parse(f.frame, &info));
		EXPECT_EQ(5, info.payload_len);
		EXPECT_EQ(7777, ntohs(info.src_port_be));
		EXPECT_EQ(9999, ntohs(info.dst_port_be));
		EXPECT_EQ(f.partial ? PACKET_DROP_UDP_CHECKSUM : PACKET_UDP,
			  packet_verify(f.frame.data(), &info, PACKET_CHECKSUM_WIRE));
		EXPECT_EQ(PACKET_UDP, packet_verify(f.frame.data(), &info, PACKET_CHECKSUM_LOCAL));
		EXPECT_EQ(f.partial ? PACKET_F_PARTIAL_CHECKSUM : 0, info.flags);
	}
}

TEST(FlowHash, DependsOnEveryBitOfTheTupleAndTheSeed)
{
	for (const Bytes &frame : {Frame4(Payload(8)), Frame6(Payload(8))}) {
		struct packet_info info;
		uint32_t hash;
		int flips = 0, cases = 0;

		ASSERT_EQ(PACKET_UDP, Parse(frame, &info));
		hash = packet_flow_hash(&info, 42);
		EXPECT_EQ(hash, packet_flow_hash(&info, 42));
		EXPECT_NE(hash, packet_flow_hash(&info, 43));

		const auto flip = [&](void *field, int bits) {
			auto *p = static_cast<uint8_t *>(field);

			for (int bit = 0; bit < bits; bit++) {
				p[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
				EXPECT_NE(hash, packet_flow_hash(&info, 42));
				flips += __builtin_popcount(hash ^ packet_flow_hash(&info, 42));
				cases++;
				p[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
			}
		};
		flip(&info.src_port_be, 16);
		flip(&info.dst_port_be, 16);
		flip(&info.src, info.family == AF_INET ? 32 : 128);
		flip(&info.dst, info.family == AF_INET ? 32 : 128);
		EXPECT_NEAR(16.0, static_cast<double>(flips) / cases, 1.0)
			<< "half of the bits change";

		info.ttl--;
		info.tos++;
		info.payload_len++;
		EXPECT_EQ(hash, packet_flow_hash(&info, 42))
			<< "what is not the flow does not count";
	}
}

// Clients behind one address on successive ports, and successive addresses: both halves of the hash
// fill 64 buckets evenly.
TEST(FlowHash, SpreadsSimilarFlows)
{
	for (const Bytes &frame : {Frame4(Payload(8)), Frame6(Payload(8))}) {
		struct packet_info info;

		ASSERT_EQ(PACKET_UDP, Parse(frame, &info));
		for (bool by_port : {false, true}) {
			std::array<int, 64> low{}, high{};

			for (int i = 0; i < 6400; i++) {
				uint32_t hash;

				if (by_port)
					info.src_port_be = htons(static_cast<uint16_t>(1024 + i));
				else
					info.src.bytes
						[info.family == AF_INET
							 ? 3
							 : 15] = static_cast<uint8_t>(i),
							   info.src.bytes[info.family == AF_INET
										  ? 2
										  : 14] =
								   static_cast<uint8_t>(i >> 8);
				hash = packet_flow_hash(&info, 1);
				low[hash & 63]++;
				high[hash >> 26]++;
			}
			for (const auto &buckets : {low, high}) {
				double chi2 = 0;

				for (int cnt : buckets)
					chi2 += (cnt - 100.0) * (cnt - 100.0) / 100.0;
				EXPECT_LT(chi2, 125.0); // 63 degrees of freedom: p = 5e-6
			}
		}
	}
}

} // namespace
