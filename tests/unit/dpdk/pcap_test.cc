// SPDX-License-Identifier: Apache-2.0
// A captured file with known answers goes through device and worker: what is delivered, passed, dropped, and what is sent.
#include <cstdio>

#include "tests/unit/dpdk/bed.h"

namespace {

using Frame = std::vector<uint8_t>;

void Write32(FILE *f, uint32_t v) { ASSERT_EQ(fwrite(&v, 4, 1, f), 1u); }

void WritePcap(const std::string &path, const std::vector<Frame> &frames) {
  FILE *f = fopen(path.c_str(), "wb");
  ASSERT_NE(f, nullptr);
  for (uint32_t v : {0xa1b2c3d4u, 0x00040002u, 0u, 0u, 65535u, 1u}) Write32(f, v);
  for (const Frame &p : frames) {
    for (uint32_t v : {0u, 0u, (uint32_t)p.size(), (uint32_t)p.size()}) Write32(f, v);
    ASSERT_EQ(fwrite(p.data(), 1, p.size(), f), p.size());
  }
  fclose(f);
}

std::vector<Frame> ReadPcap(const std::string &path) {
  std::vector<Frame> out;
  FILE *f = fopen(path.c_str(), "rb");
  uint32_t head[4];
  if (!f || fseek(f, 24, SEEK_SET)) return out;
  while (fread(head, 16, 1, f) == 1) {
    out.emplace_back(head[2]);
    if (fread(out.back().data(), 1, head[2], f) != head[2]) break;
  }
  fclose(f);
  return out;
}

Frame Spoil(Frame f, size_t at, uint8_t bits) {
  f[at] ^= bits;
  return f;
}

Frame Vlan(const Frame &f) {
  Frame v = f;
  v.insert(v.begin() + 12, {0x81, 0x00, 0x00, 0x05});
  return v;
}

// One frame of each kind that matters, and what becomes of it.
struct Kind {
  const char *name;
  Frame frame;
  enum { DELIVERED, PASSED, IP_SUM, UDP_SUM, MALFORMED } answer;
};

std::vector<Kind> Kinds(const uint8_t *mac) {
  const uint8_t other[6] = {2, 9, 9, 9, 9, 9};
  Frame good = UdpFrame(mac, 5000, "the quick brown fox"), arp(60, 0), tcp = good, fragment = good, icmp = good;
  memset(arp.data(), 0xff, 6);
  arp[12] = 0x08;
  arp[13] = 0x06;
  auto set = [](Frame *f, size_t at, uint8_t v) {  // one byte of the IP header, checksum kept right
    uint16_t old = (uint16_t)((*f)[at & ~1ul] << 8 | (*f)[at | 1]), sum = (uint16_t)((*f)[24] << 8 | (*f)[25]);
    (*f)[at] = v;
    uint16_t now = (uint16_t)((*f)[at & ~1ul] << 8 | (*f)[at | 1]);
    uint32_t s = (uint16_t)~sum + (uint16_t)~old + now;
    s = (s & 0xffff) + (s >> 16);
    s = (s & 0xffff) + (s >> 16);
    (*f)[24] = (uint8_t)(~s >> 8);
    (*f)[25] = (uint8_t)~s;
  };
  set(&tcp, 23, 6);
  set(&icmp, 23, 1);
  set(&fragment, 20, 0x20);
  Frame truncated = good;
  truncated.resize(good.size() - 5);
  Frame padded = good;
  padded.resize(64, 0xee);
  return {
      {"plain", good, Kind::DELIVERED},
      {"padded to Ethernet's minimum", padded, Kind::DELIVERED},
      {"large", UdpFrame(mac, 5000, std::string(1472, 'L')), Kind::DELIVERED},
      {"empty", UdpFrame(mac, 5000, ""), Kind::DELIVERED},
      {"no UDP checksum", Spoil(Spoil(good, 40, good[40]), 41, good[41]), Kind::DELIVERED},
      {"two buffers, one frame", UdpFrame(mac, 5000, std::string(1800, 'J')), Kind::DELIVERED},
      {"other port", UdpFrame(mac, 5001, "nobody here"), Kind::PASSED},
      {"other MAC", UdpFrame(other, 5000, "x"), Kind::PASSED},
      {"other address", UdpFrame(mac, 5000, "x", "192.0.2.77"), Kind::PASSED},
      {"subnet broadcast", UdpFrame(mac, 5000, "x", "192.0.2.255"), Kind::PASSED},
      {"multicast", UdpFrame(mac, 5000, "x", "239.1.1.1"), Kind::PASSED},
      {"VLAN", Vlan(good), Kind::PASSED},
      {"ARP", arp, Kind::PASSED},
      {"TCP", tcp, Kind::PASSED},
      {"ICMP", icmp, Kind::PASSED},
      {"fragment", fragment, Kind::PASSED},
      {"IP checksum", Spoil(good, 24, 1), Kind::IP_SUM},
      {"UDP checksum", Spoil(good, 41, 1), Kind::UDP_SUM},
      {"payload changed", Spoil(good, 45, 0x10), Kind::UDP_SUM},
      {"truncated", truncated, Kind::MALFORMED},
  };
}

// net_pcap takes the MAC of its files' order: 02:70:63:61:70:00.
constexpr uint8_t kMac[6] = {0x02, 0x70, 0x63, 0x61, 0x70, 0x00};
constexpr uint32_t kRepeat = 40;

TEST(Pcap, KnownAnswers) {
  const std::string in = "in.pcap", out = "out.pcap";
  ASSERT_EQ(chdir(testing::TempDir().c_str()), 0);  // Bazel's path twice is more than the key `device` holds
  std::vector<Kind> kinds = Kinds(kMac);
  std::vector<Frame> all;
  uint64_t want[5] = {};
  for (uint32_t r = 0; r < kRepeat; r++)
    for (const Kind &k : kinds) {
      all.push_back(k.frame);
      want[k.answer]++;
    }
  WritePcap(in, all);
  WorkerBed bed("net_pcap0,rx_pcap=" + in + ",tx_pcap=" + out);
  ASSERT_NE(bed.dev, nullptr) << bed.text;
  ASSERT_EQ(memcmp(bed.dev->mac, kMac, 6), 0);

  // The payloads, in order, of those that are to be delivered.
  std::vector<std::string> payloads = {"the quick brown fox", "the quick brown fox",  std::string(1472, 'L'),
                                       "",                    "the quick brown fox", std::string(1800, 'J')};
  std::string data;
  uint64_t got = 0;
  ASSERT_TRUE(Until([&] {
    while (bed.Receive(&data)) EXPECT_EQ(data, payloads[got++ % payloads.size()]) << got;
    return got == want[Kind::DELIVERED] && bed.Count(UDPLANE_WORKER_RX_FRAMES) == all.size();
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
  bed.dev->ops->close(bed.dev);  // which closes the file
  bed.dev = nullptr;
  std::vector<Frame> sent = ReadPcap(out);
  ASSERT_EQ(sent.size(), 1u);
  packet_info info;
  ASSERT_EQ(packet_parse(sent[0].data(), (uint32_t)sent[0].size(), &info), PACKET_UDP);
  EXPECT_EQ(packet_verify(sent[0].data(), &info, PACKET_CHECKSUM_WIRE), PACKET_UDP);
  EXPECT_EQ(info.src_port_be, htons(5000));
  EXPECT_EQ(memcmp(sent[0].data() + info.payload_off, "ping", 4), 0);
}

}  // namespace
