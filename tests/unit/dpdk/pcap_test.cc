// SPDX-License-Identifier: Apache-2.0
// A captured file with known answers goes through device and worker: what is delivered, passed,
// dropped, and what is sent.
#include <cstdio>

#include "tests/unit/dpdk/bed.h"

namespace
{

using Frame = std::vector<uint8_t>;

void Write32(FILE *f, uint32_t v)
{
	ASSERT_EQ(fwrite(&v, 4, 1, f), 1u);
}

void WritePcap(const std::string &path, const std::vector<Frame> &frames)
{
	FILE *f = fopen(path.c_str(), "wb");
	ASSERT_NE(f, nullptr);
	for (uint32_t v : {0xa1b2c3d4u, 0x00040002u, 0u, 0u, 65535u, 1u})
		Write32(f, v);
	for (const Frame &p : frames) {
		for (uint32_t v : {0u, 0u, (uint32_t)p.size(), (uint32_t)p.size()})
			Write32(f, v);
		ASSERT_EQ(fwrite(p.data(), 1, p.size(), f), p.size());
	}
	fclose(f);
}

std::vector<Frame> ReadPcap(const std::string &path)
{
	std::vector<Frame> out;
	FILE *f = fopen(path.c_str(), "rb");
	uint32_t head[4];
	if (!f || fseek(f, 24, SEEK_SET))
		return out;
	while (fread(head, 16, 1, f) == 1) {
		out.emplace_back(head[2]);
		if (fread(out.back().data(), 1, head[2], f) != head[2])
			break;
	}
	fclose(f);
	return out;
}

Frame Spoil(Frame f, size_t at, uint8_t bits)
{
	f[at] ^= bits;
	return f;
}

Frame Vlan(Frame f, uint8_t type_high = 0x81, uint8_t type_low = 0x00)
{
	f.insert(f.begin() + 12, {type_high, type_low, 0x00, 0x05});
	return f;
}

// One byte of the IPv4 header is another, and its checksum right again.
Frame Ip4(Frame f, size_t at, uint8_t value)
{
	f[at] = value;
	f[24] = f[25] = 0;
	uint32_t sum = 0;
	for (size_t i = 14; i < 14u + (f[14] & 15) * 4; i += 2)
		sum += (uint32_t)f[i] << 8 | f[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	f[24] = (uint8_t)(~sum >> 8);
	f[25] = (uint8_t)~sum;
	return f;
}

Frame Options4(Frame f)
{
	f.insert(f.begin() + 34, {1, 1, 1, 1}); // no operation, four times
	f[17] = (uint8_t)(f[17] + 4);
	return Ip4(f, 14, 0x46);
}

// A header between IPv6 and UDP: 44 is that of a fragment, 60 are destination options.
Frame Extension6(Frame f, uint8_t type)
{
	f.insert(f.begin() + 54, {17, 0, 0, type == 44 ? (uint8_t)1 : (uint8_t)0, 0, 0, 0, 9});
	f[19] = (uint8_t)(f[19] + 8);
	f[20] = type;
	return f;
}

Frame Cut(Frame f, size_t len)
{
	f.resize(len);
	return f;
}

// One frame of each kind that matters, and what becomes of it.
struct Kind {
	const char *name;
	Frame frame;
	enum { DELIVERED, PASSED, IP_SUM, UDP_SUM, MALFORMED } answer;
	std::string payload = ""; // if delivered
};

std::vector<Kind> Kinds(const uint8_t *mac)
{
	const uint8_t other[6] = {2, 9, 9, 9, 9, 9};
	const std::string fox = "the quick brown fox", large(1472, 'L'), jumbo(1800, 'J');
	const char *own6 = "2001:db8::1";
	Frame good = UdpFrame(mac, 5000, fox), good6 = UdpFrame(mac, 5000, fox, own6), arp(60, 0);
	memset(arp.data(), 0xff, 6);
	arp[12] = 0x08;
	arp[13] = 0x06;
	Frame padded = good;
	padded.resize(64, 0xee);
	Frame icmp6 = good6;
	icmp6[20] = 58;
	return {
		{"plain", good, Kind::DELIVERED, fox},
		{"padded to Ethernet's minimum", padded, Kind::DELIVERED, fox},
		{"large", UdpFrame(mac, 5000, large), Kind::DELIVERED, large},
		{"empty", UdpFrame(mac, 5000, ""), Kind::DELIVERED, ""},
		{"no UDP checksum", Spoil(Spoil(good, 40, good[40]), 41, good[41]), Kind::DELIVERED,
		 fox},
		{"longer than Ethernet's usual, in one frame", UdpFrame(mac, 5000, jumbo),
		 Kind::DELIVERED, jumbo},
		{"IPv6", good6, Kind::DELIVERED, fox},
		{"IPv6, large", UdpFrame(mac, 5000, large, own6), Kind::DELIVERED, large},
		{"IPv6, empty", UdpFrame(mac, 5000, "", own6), Kind::DELIVERED, ""},

		{"other port", UdpFrame(mac, 5001, "nobody here"), Kind::PASSED},
		{"other MAC", UdpFrame(other, 5000, "x"), Kind::PASSED},
		{"other address", UdpFrame(mac, 5000, "x", "192.0.2.77"), Kind::PASSED},
		{"subnet broadcast", UdpFrame(mac, 5000, "x", "192.0.2.255"), Kind::PASSED},
		{"multicast", UdpFrame(mac, 5000, "x", "239.1.1.1"), Kind::PASSED},
		{"VLAN", Vlan(good), Kind::PASSED},
		{"VLAN, provider's", Vlan(Vlan(good), 0x88, 0xa8), Kind::PASSED},
		{"VLAN, IPv6", Vlan(good6), Kind::PASSED},
		{"ARP", arp, Kind::PASSED},
		{"TCP", Ip4(good, 23, 6), Kind::PASSED},
		{"ICMP", Ip4(good, 23, 1), Kind::PASSED},
		{"first fragment", Ip4(good, 20, 0x20), Kind::PASSED},
		{"later fragment", Ip4(Ip4(good, 20, 0x20), 21, 185), Kind::PASSED},
		{"last fragment", Ip4(Ip4(good, 20, 0), 21, 185), Kind::PASSED},
		{"IPv4 options", Options4(good), Kind::PASSED},
		{"source 127.0.0.1", Ip4(good, 26, 127), Kind::PASSED},
		{"IPv6, other port", UdpFrame(mac, 5001, "x", own6), Kind::PASSED},
		{"IPv6, other address", UdpFrame(mac, 5000, "x", "2001:db8::77"), Kind::PASSED},
		{"IPv6, multicast", UdpFrame(mac, 5000, "x", "ff02::1"), Kind::PASSED},
		{"IPv6, fragment", Extension6(good6, 44), Kind::PASSED},
		{"IPv6, extension header", Extension6(good6, 60), Kind::PASSED},
		{"ICMPv6", icmp6, Kind::PASSED},

		{"IP checksum", Spoil(good, 24, 1), Kind::IP_SUM},
		{"TTL changed on its way", Spoil(good, 22, 1), Kind::IP_SUM},
		{"UDP checksum", Spoil(good, 41, 1), Kind::UDP_SUM},
		{"payload changed", Spoil(good, 45, 0x10), Kind::UDP_SUM},
		{"IPv6, UDP checksum", Spoil(good6, 61, 1), Kind::UDP_SUM},
		{"IPv6, address changed", Spoil(good6, 37, 1),
		 Kind::UDP_SUM}, // the source's last byte
		{"IPv6, payload changed", Spoil(good6, 70, 4), Kind::UDP_SUM},
		{"IPv6, no UDP checksum", Spoil(Spoil(good6, 60, good6[60]), 61, good6[61]),
		 Kind::PASSED},

		{"truncated in the payload", Cut(good, good.size() - 5), Kind::MALFORMED},
		{"truncated in the UDP header", Cut(good, 14 + 20 + 7), Kind::MALFORMED},
		{"truncated in the IP header", Cut(good, 14 + 19), Kind::MALFORMED},
		{"truncated in the Ethernet header", Cut(good, 13), Kind::MALFORMED},
		{"IPv6, truncated in the payload", Cut(good6, good6.size() - 1), Kind::MALFORMED},
		{"IPv6, truncated in the IP header", Cut(good6, 14 + 39), Kind::MALFORMED},
		{"UDP length above IP's", Spoil(good, 38, 0x40), Kind::MALFORMED},
		{"header length below 20", Ip4(good, 14, 0x44), Kind::MALFORMED},
		{"IPv6 said, version 4", Spoil(good6, 14, 0x20), Kind::MALFORMED},
	};
}

// net_pcap takes the MAC of its files' order: 02:70:63:61:70:00.
constexpr uint8_t kMac[6] = {0x02, 0x70, 0x63, 0x61, 0x70, 0x00};
constexpr uint32_t kRepeat = 40;

TEST(Pcap, KnownAnswers)
{
	const std::string in = "in.pcap", out = "out.pcap";
	ASSERT_EQ(chdir(testing::TempDir().c_str()),
		  0); // Bazel's path twice is more than the key `device` holds
	std::vector<Kind> kinds = Kinds(kMac);
	std::vector<Frame> all;
	uint64_t want[5] = {};
	for (uint32_t r = 0; r < kRepeat; r++)
		for (const Kind &k : kinds) {
			all.push_back(k.frame);
			want[k.answer]++;
		}
	WritePcap(in, all);
	const uint8_t former[6] = {0x02, 0,    0,
				   0,	 0x0a, 0x0a}; // which this driver cannot set: its own stays
	WorkerBed bed("net_pcap0,rx_pcap=" + in + ",tx_pcap=" + out, former);
	ASSERT_NE(bed.dev, nullptr) << bed.error.text;
	ASSERT_EQ(memcmp(bed.dev->mac, kMac, 6), 0);

	std::vector<std::string> payloads; // in order
	for (const Kind &k : kinds)
		if (k.answer == Kind::DELIVERED)
			payloads.push_back(k.payload);
	std::string data;
	uint64_t got = 0;
	ASSERT_TRUE(Until([&] {
		while (bed.Receive(&data))
			EXPECT_EQ(data, payloads[got++ % payloads.size()]) << got;
		return got == want[Kind::DELIVERED] &&
		       bed.Count(UDPLANE_WORKER_RX_FRAMES) == all.size();
	})) << bed.Count(UDPLANE_WORKER_RX_FRAMES)
	    << " of " << all.size();
	EXPECT_EQ(bed.Count(UDPLANE_WORKER_RX_DELIVERED), want[Kind::DELIVERED]);
	EXPECT_EQ(bed.Count(UDPLANE_WORKER_RX_PASSED), want[Kind::PASSED]);
	EXPECT_EQ(bed.Count(UDPLANE_WORKER_RX_DROP_IP_CHECKSUM), want[Kind::IP_SUM]);
	EXPECT_EQ(bed.Count(UDPLANE_WORKER_RX_DROP_UDP_CHECKSUM), want[Kind::UDP_SUM]);
	EXPECT_EQ(bed.Count(UDPLANE_WORKER_RX_DROP_MALFORMED), want[Kind::MALFORMED]);
	EXPECT_EQ(bed.Counter(UDPLANE_DEVICE_RX_SEEN), all.size());
	bed.ExpectConservation();

	// Sending: it goes out with the right checksums.
	udplane_tx_desc *d = &bed.tx->desc[0];
	d->sock = kSock;
	d->len = 4;
	d->dst_port_be = htons(9);
	inet_pton(AF_INET, "192.0.2.2", d->dst);
	memcpy(bed.payload.data(), "ping", 4);
	udplane_ring_publish(&bed.my_tx, 1);
	bed.Bell();
	ASSERT_TRUE(Until([&] { return bed.Count(UDPLANE_WORKER_TX_SENT) == 1; }));
	ASSERT_TRUE(Until([&] { return bed.Counter(UDPLANE_DEVICE_TX_DONE) == 1; }));
	bed.Stop();
	EXPECT_EQ(bed.q->ops->frames_free(bed.q), kFrames);
	bed.dev->ops->close(bed.dev); // which closes the file
	bed.dev = nullptr;
	std::vector<Frame> sent = ReadPcap(out);
	ASSERT_EQ(sent.size(), 1u);
	packet_info info;
	ASSERT_EQ(packet_parse(sent[0].data(), (uint32_t)sent[0].size(), &info), PACKET_UDP);
	EXPECT_EQ(packet_verify(sent[0].data(), &info, PACKET_CHECKSUM_WIRE), PACKET_UDP);
	EXPECT_EQ(info.src_port_be, htons(5000));
	EXPECT_EQ(memcmp(sent[0].data() + info.payload_off, "ping", 4), 0);
}

} // namespace
