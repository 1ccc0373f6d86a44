// SPDX-License-Identifier: Apache-2.0
// The worker with a device made of two rings in place of a NIC, and a client made of plain memory: what is delivered, what is counted,
// and that a client can write anything anywhere in its channel without harm to anybody else.
#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <vector>

extern "C" {
#include "sidecar/base/clock.h"
#include "sidecar/worker/worker.h"
}

namespace {

constexpr uint32_t kFrames = 1024, kFrameSize = 2048, kSockets = 8, kTxSlots = 64, kRing = 256;
const uint8_t kMac[6] = {2, 0, 0, 0, 0, 1}, kPeerMac[6] = {2, 0, 0, 0, 0, 2};

// ---- a device: frames go in by inject(), sent ones come out in `sent`; both sides lock, nobody is in a hurry here ----
struct FakeDevice {
  device dev{};
  device_queue queue{};
  pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  std::vector<uint32_t> free_frames;
  std::vector<device_frame> rx;
  std::vector<std::vector<uint8_t>> sent;
  std::vector<uint8_t> frames = std::vector<uint8_t>(kFrames * kFrameSize);
  int event = eventfd(0, EFD_NONBLOCK);
  bool engaged = false;
};
FakeDevice *fake;  // device_queue carries no user pointer; one device a test

struct Guard {
  Guard() { pthread_mutex_lock(&fake->lock); }
  ~Guard() { pthread_mutex_unlock(&fake->lock); }
};

uint32_t RxBurst(device_queue *, device_frame *out, uint32_t max) {
  Guard g;
  uint32_t n = 0;
  while (n < max && !fake->rx.empty()) {
    out[n++] = fake->rx.front();
    fake->rx.erase(fake->rx.begin());
  }
  if (fake->rx.empty()) {
    uint64_t v;
    (void)!read(fake->event, &v, 8);
  }
  return n;
}
uint32_t TxBurst(device_queue *, const device_frame *in, uint32_t cnt) {
  Guard g;
  for (uint32_t i = 0; i < cnt; i++) {
    const uint8_t *p = fake->frames.data() + (size_t)in[i].frame * kFrameSize + in[i].off;
    fake->sent.emplace_back(p, p + in[i].len);
    fake->free_frames.push_back(in[i].frame);
  }
  return cnt;
}
void Nothing(device_queue *) {}
uint32_t FramesGet(device_queue *, uint32_t *f, uint32_t cnt) {
  Guard g;
  uint32_t n = 0;
  while (n < cnt && !fake->free_frames.empty()) {
    f[n++] = fake->free_frames.back();
    fake->free_frames.pop_back();
  }
  return n;
}
void FramesPut(device_queue *, const uint32_t *f, uint32_t cnt) {
  Guard g;
  fake->free_frames.insert(fake->free_frames.end(), f, f + cnt);
}
uint32_t FramesFree(device_queue *) {
  Guard g;
  return (uint32_t)(fake->free_frames.size() + fake->rx.size());
}
uint32_t WaitFds(device_queue *, int *fds, uint32_t) {
  fds[0] = fake->event;
  return 1;
}
int Arm(device_queue *) { return 0; }
void Engage(device_queue *, bool on) { __atomic_store_n(&fake->engaged, on, __ATOMIC_RELAXED); }
bool Pending(device_queue *) { return false; }
const device_queue_ops kOps = {RxBurst, TxBurst, Nothing, FramesGet, FramesPut, FramesFree, WaitFds, Arm, Nothing, Engage, Pending, nullptr};

// ---- a client ----
struct Client {
  explicit Client(uint32_t id) {
    tx = Alloc<udplane_tx_ring>(sizeof(udplane_tx_ring) + kTxSlots * sizeof(udplane_tx_desc));
    ret = Alloc<udplane_return_ring>(sizeof(udplane_return_ring) + kFrames * 4);
    ring = Alloc<udplane_rx_ring>(sizeof(udplane_rx_ring) + kRing * sizeof(udplane_rx_desc));
    payload.resize(kTxSlots * kFrameSize);
    ch.id = id;
    udplane_ring_init(&ch.tx, &tx->head, kTxSlots, 0);
    udplane_ring_init(&ch.ret, &ret->head, kFrames, 0);
    ch.tx_desc = tx->desc;
    ch.ret_frame = ret->frame;
    ch.tx_payload = payload.data();
    ch.tx_slot_size = kFrameSize;
    ch.doorbell_fd = eventfd(0, EFD_NONBLOCK);
    udplane_ring_init(&my_tx, &tx->head, kTxSlots, 0);
    udplane_ring_init(&my_ret, &ret->head, kFrames, 0);
    udplane_ring_init(&my_rx, &ring->head, kRing, 0);
    EXPECT_EQ(pipe2(pipe_fd, O_NONBLOCK), 0);
  }
  ~Client() {
    for (int fd : {ch.doorbell_fd, pipe_fd[0], pipe_fd[1]}) close(fd);
    free(tx);
    free(ret);
    free(ring);
  }
  template <class T>
  static T *Alloc(size_t n) {
    void *p = aligned_alloc(128, (n + 127) / 128 * 128);
    memset(p, 0, (n + 127) / 128 * 128);
    return (T *)p;
  }
  void Bell() { EXPECT_EQ(write(ch.doorbell_fd, &one, 8), 8); }
  void Send(uint32_t sock, const std::string &data, uint16_t len, uint32_t dst_be, uint16_t port) {
    ASSERT_GE(udplane_ring_free(&my_tx, 1), 1u);
    uint32_t slot = udplane_ring_slot(&my_tx, my_tx.idx);
    udplane_tx_desc *d = &tx->desc[slot];
    memset(d, 0, sizeof(*d));
    d->sock = sock;
    d->len = len;
    d->dst_port_be = htons(port);
    memcpy(d->dst, &dst_be, 4);
    memcpy(payload.data() + slot * kFrameSize, data.data(), data.size());
    udplane_ring_publish(&my_tx, 1);
    Bell();
  }
  void Return(uint32_t frame) {
    ret->frame[udplane_ring_slot(&my_ret, my_ret.idx)] = frame;
    udplane_ring_publish(&my_ret, 1);
    Bell();
  }
  udplane_tx_ring *tx;
  udplane_return_ring *ret;
  udplane_rx_ring *ring;
  std::vector<uint8_t> payload;
  worker_channel ch{};
  udplane_ring my_tx, my_ret, my_rx;
  udplane_socket_counters counters{};
  int pipe_fd[2];
  uint64_t one = 1;
};

class WorkerTest : public ::testing::Test {
 protected:
  void SetUp() override { Start(UDPLANE_MODE_LATENCY, 2000000000ull); }
  void Start(udplane_mode mode, uint64_t spin_ns) {
    device_.reset(new FakeDevice);
    fake = device_.get();
    fake->queue = {&kOps, &fake->dev, 0};
    memcpy(fake->dev.mac, kMac, 6);
    fake->dev.can_disengage = true;
    for (uint32_t i = 0; i < kFrames; i++) fake->free_frames.push_back(i);
    zone_.reset(new udplane_worker_zone());
    worker_options o{};
    o.worker_cnt = 1;
    o.queue = &fake->queue;
    o.zone = zone_.get();
    o.frames = fake->frames.data();
    o.frame_cnt = kFrames;
    o.frame_size = kFrameSize;
    o.frames_reserved = 64;
    o.socket_max = kSockets;
    o.checksum = PACKET_CHECKSUM_WIRE;
    o.mode = mode;
    o.spin_ns = spin_ns;
    o.yield = true;
    o.cpu = -1;
    o.ttl4 = o.hop_limit6 = 64;
    char text[160];
    ASSERT_EQ(worker_start(&w_, &o, text, sizeof(text)), 0) << text;
    Route();
  }
  void TearDown() override {
    if (!w_) return;
    for (auto &c : clients_) {
      if (c->ch.tx_desc) Call(WORKER_CHANNEL_REMOVE, 0, &c->ch);
    }
    // Whatever happened: every frame is back, and every frame received is accounted for.
    EXPECT_EQ(worker_frames_held(w_), 0u);
    EXPECT_EQ(worker_frames_free(w_), kFrames);
    EXPECT_EQ(Count(UDPLANE_WORKER_RX_FRAMES),
              Count(UDPLANE_WORKER_RX_DELIVERED) + Count(UDPLANE_WORKER_RX_PASSED) + Count(UDPLANE_WORKER_RX_DROP_MALFORMED) +
                  Count(UDPLANE_WORKER_RX_DROP_IP_CHECKSUM) + Count(UDPLANE_WORKER_RX_DROP_UDP_CHECKSUM) +
                  Count(UDPLANE_WORKER_RX_DROP_NO_SOCKET) + Count(UDPLANE_WORKER_RX_DROP_RING_FULL) +
                  Count(UDPLANE_WORKER_RX_DROP_QUOTA) + Count(UDPLANE_WORKER_MARTIANS));
    EXPECT_EQ(Count(UDPLANE_WORKER_TX_TAKEN), Count(UDPLANE_WORKER_TX_SENT) + Count(UDPLANE_WORKER_TX_SLOW) +
                                                  Count(UDPLANE_WORKER_TX_DROP_INVALID) + Count(UDPLANE_WORKER_TX_DROP_NO_FRAME) +
                                                  Count(UDPLANE_WORKER_TX_DROP_SLOW_FULL));
    worker_stop(w_);
    route_table_destroy(route_);
  }
  uint64_t Count(udplane_worker_counter c) { return udplane_load64(&zone_->counter[c]); }
  int Call(worker_op op, uint32_t sock, worker_channel *ch = nullptr, const worker_socket_info *info = nullptr,
           const port_key *key = nullptr, uint16_t port = 0) {
    worker_order o{};
    o.op = op;
    o.sock = sock;
    o.channel = ch;
    o.info = info;
    o.source.port_be = htons(port);
    if (key) o.key = *key;
    return worker_call(w_, &o);
  }
  void Route() {
    route_addr addr{};
    addr.family = AF_INET;
    addr.prefix_len = 24;
    addr.ifindex = 1;
    inet_pton(AF_INET, "192.0.2.1", addr.addr);
    route_route r{};
    r.family = AF_INET;
    r.prefix_len = 24;
    r.type = RTN_UNICAST;
    r.scope = RT_SCOPE_LINK;
    r.ifindex = 1;
    r.table = RT_TABLE_MAIN;
    r.has_prefsrc = true;
    inet_pton(AF_INET, "192.0.2.0", r.dst);
    inet_pton(AF_INET, "192.0.2.1", r.prefsrc);
    route_neigh n{};
    n.family = AF_INET;
    n.ifindex = 1;
    n.state = NUD_PERMANENT;
    inet_pton(AF_INET, "192.0.2.2", n.addr);
    memcpy(n.mac, kPeerMac, 6);
    route_input in{};
    in.ifindex = 1;
    in.mtu = 1500;
    in.up = true;
    in.addrs = &addr;
    in.addr_cnt = 1;
    in.routes = &r;
    in.route_cnt = 1;
    in.neighs = &n;
    in.neigh_cnt = 1;
    route_ = route_table_build(&in);
    ASSERT_NE(route_, nullptr);
    worker_order o{};
    o.op = WORKER_ROUTE;
    o.route = route_;
    worker_call(w_, &o);
  }
  Client *Attach(uint32_t sock, uint16_t port) {
    clients_.emplace_back(new Client((uint32_t)clients_.size()));
    Client *c = clients_.back().get();
    EXPECT_EQ(Call(WORKER_CHANNEL_ADD, 0, &c->ch), 0);
    worker_socket_info info{&c->ch, c->ring, kRing, c->pipe_fd[1], &c->counters};
    EXPECT_EQ(Call(WORKER_SOCKET_ADD, sock, nullptr, &info, nullptr, port), 0);
    port_key key{};
    key.family = AF_INET;
    key.port_be = htons(port);
    EXPECT_EQ(Call(WORKER_KEY_INSERT, sock, nullptr, nullptr, &key), 0);
    return c;
  }
  // A frame from 192.0.2.2:1000 to 192.0.2.1:port comes by the wire.
  bool Inject(uint16_t port, const std::string &data, std::function<void(uint8_t *, uint32_t *)> spoil = nullptr) {
    packet_flow f{};
    f.family = AF_INET;
    f.ttl = 64;
    memcpy(f.src_mac, kPeerMac, 6);
    memcpy(f.dst_mac, kMac, 6);
    f.src_port_be = htons(1000);
    inet_pton(AF_INET, "192.0.2.2", f.src.bytes);
    packet_template t;
    packet_template_init(&t, &f);
    packet_endpoint to{};
    inet_pton(AF_INET, "192.0.2.1", to.addr.bytes);
    to.port_be = htons(port);
    Guard g;
    if (fake->free_frames.empty()) return false;
    uint32_t frame = fake->free_frames.back();
    fake->free_frames.pop_back();
    uint8_t *p = fake->frames.data() + (size_t)frame * kFrameSize;
    uint32_t len = packet_build(p, &t, &to, data.data(), (uint16_t)data.size(), 0);
    if (spoil) spoil(p, &len);
    fake->rx.push_back({frame, 0, (uint16_t)len, 0});
    uint64_t one = 1;
    (void)!write(fake->event, &one, 8);
    return true;
  }
  static bool Until(std::function<bool()> ok) {
    for (uint64_t end = clock_now_ns() + 5000000000ull; clock_now_ns() < end;) {
      if (ok()) return true;
      sched_yield();
    }
    return ok();
  }
  bool Settled() {
    return Until([&] {
      Guard g;
      return fake->rx.empty();
    }) && Call(WORKER_DRAIN, 0) == 0;
  }
  std::string Receive(Client *c, udplane_rx_desc *out = nullptr) {
    if (!Until([&] { return udplane_ring_avail(&c->my_rx, 1) != 0; })) return "(nothing)";
    udplane_rx_desc d = c->ring->desc[udplane_ring_slot(&c->my_rx, c->my_rx.idx)];
    udplane_ring_consume(&c->my_rx, 1);
    if (out) *out = d;
    Guard g;
    return std::string((const char *)fake->frames.data() + (size_t)d.frame * kFrameSize + d.offset, d.len);
  }
  std::unique_ptr<FakeDevice> device_;
  std::unique_ptr<udplane_worker_zone> zone_;
  std::vector<std::unique_ptr<Client>> clients_;
  worker *w_ = nullptr;
  route_table *route_ = nullptr;
};

TEST_F(WorkerTest, DeliversInPlaceAndTakesFramesBack) {
  Client *c = Attach(3, 5060);
  ASSERT_TRUE(Inject(5060, "hello"));
  udplane_rx_desc d;
  EXPECT_EQ(Receive(c, &d), "hello");
  EXPECT_EQ(d.src4_be, inet_addr("192.0.2.2"));
  EXPECT_EQ(d.src_port_be, htons(1000));
  EXPECT_EQ(d.flags, UDPLANE_RX_SWITCHED);  // the first since the claim
  ASSERT_TRUE(Settled());
  EXPECT_EQ(worker_frames_held(w_), 1u);
  c->Return(d.frame);
  EXPECT_TRUE(Until([&] { return worker_frames_held(w_) == 0; }));
  ASSERT_TRUE(Inject(5060, ""));
  EXPECT_EQ(Receive(c, &d), "");
  EXPECT_EQ(d.flags, 0);
}

TEST_F(WorkerTest, SignalsASleeperOnceAnArm) {
  Client *c = Attach(0, 7);
  udplane_ring_arm(&c->my_rx);
  for (int i = 0; i < 3; i++) ASSERT_TRUE(Inject(7, "x"));
  ASSERT_TRUE(Settled());
  char buf[8];
  EXPECT_EQ(read(c->pipe_fd[0], buf, sizeof(buf)), 1);
  EXPECT_FALSE(udplane_ring_is_armed(&c->my_rx));
  EXPECT_EQ(Count(UDPLANE_WORKER_WAKES_CLIENT), 1u);
}

TEST_F(WorkerTest, CountsEveryDropUnderItsReason) {
  Attach(0, 7);
  ASSERT_TRUE(Inject(7, "bad ip sum", [](uint8_t *p, uint32_t *) { p[24] ^= 1; }));
  ASSERT_TRUE(Inject(7, "bad udp sum", [](uint8_t *p, uint32_t *) { p[44] ^= 1; }));
  ASSERT_TRUE(Inject(7, "short", [](uint8_t *, uint32_t *len) { *len -= 2; }));
  ASSERT_TRUE(Inject(8, "nobody"));
  ASSERT_TRUE(Settled());
  EXPECT_EQ(Count(UDPLANE_WORKER_RX_DROP_IP_CHECKSUM), 1u);
  EXPECT_EQ(Count(UDPLANE_WORKER_RX_DROP_UDP_CHECKSUM), 1u);
  EXPECT_EQ(Count(UDPLANE_WORKER_RX_DROP_MALFORMED), 1u);
  EXPECT_EQ(Count(UDPLANE_WORKER_RX_DROP_NO_SOCKET), 1u);
}

TEST_F(WorkerTest, AFullRingDropsAndCounts) {
  Client *c = Attach(0, 7);
  for (uint32_t i = 0; i < kRing + 10; i++) ASSERT_TRUE(Inject(7, "x"));
  ASSERT_TRUE(Settled());
  EXPECT_EQ(c->counters.counter[UDPLANE_SOCKET_RX_DELIVERED], kRing);
  EXPECT_EQ(c->counters.counter[UDPLANE_SOCKET_RX_DROP_RING_FULL], 10u);
}

TEST_F(WorkerTest, AHoarderLeavesFramesForOthers) {
  Client *hog = Attach(0, 7), *other = Attach(1, 8);
  uint32_t dropped_before = 0;
  for (int i = 0; i < 3000; i++) {  // takes descriptors, never returns a frame
    Inject(7, "x");
    if (i % 100 == 0) {
      ASSERT_TRUE(Settled());
    }
    uint32_t n = udplane_ring_avail(&hog->my_rx, 1);
    if (n) udplane_ring_consume(&hog->my_rx, n);
  }
  ASSERT_TRUE(Settled());
  EXPECT_GT(Count(UDPLANE_WORKER_RX_DROP_QUOTA), dropped_before);
  EXPECT_LT(worker_frames_held(w_), kFrames * 3 / 4);
  ASSERT_TRUE(Inject(8, "still served"));
  EXPECT_EQ(Receive(other), "still served");
}

TEST_F(WorkerTest, SendsWithRightHeaders) {
  Client *c = Attach(2, 5060);
  c->Send(2, "ping", 4, inet_addr("192.0.2.2"), 9999);
  ASSERT_TRUE(Until([&] {
    Guard g;
    return fake->sent.size() == 1;
  }));
  const auto &f = fake->sent[0];
  packet_info info;
  ASSERT_EQ(packet_parse(f.data(), (uint32_t)f.size(), &info), PACKET_UDP);
  EXPECT_EQ(packet_verify(f.data(), &info, PACKET_CHECKSUM_WIRE), PACKET_UDP);
  EXPECT_EQ(memcmp(f.data(), kPeerMac, 6), 0);
  EXPECT_EQ(memcmp(f.data() + 6, kMac, 6), 0);
  EXPECT_EQ(info.src.v4_be, inet_addr("192.0.2.1"));
  EXPECT_EQ(info.src_port_be, htons(5060));
  EXPECT_EQ(info.dst_port_be, htons(9999));
  EXPECT_EQ(std::string((const char *)f.data() + info.payload_off, info.payload_len), "ping");
}

TEST_F(WorkerTest, WhatHasNoFastRouteGoesToTheControlThread) {
  Client *c = Attach(2, 5060);
  c->Send(2, "far", 3, inet_addr("203.0.113.1"), 9);
  const worker_event *ev = nullptr;
  ASSERT_TRUE(Until([&] { return (ev = worker_event_peek(w_)) != nullptr; }));
  EXPECT_EQ(ev->type, WORKER_EVENT_SLOW);
  EXPECT_EQ(ev->sock, 2u);
  EXPECT_EQ(std::string((const char *)ev->payload, ev->len), "far");
  worker_event_done(w_);
}

// A flood of slow sends stalls its sender's ring; it loses none.
TEST_F(WorkerTest, SlowSendsAreNeverDropped) {
  Client *c = Attach(2, 5060);
  uint32_t got = 0, sent = 0;
  while (got < 1000) {
    while (sent < 1000 && udplane_ring_free(&c->my_tx, 1)) {
      char n[16];
      snprintf(n, sizeof(n), "%u", sent);
      c->Send(2, n, (uint16_t)strlen(n), inet_addr("203.0.113.1"), 9);
      sent++;
    }
    const worker_event *ev = nullptr;
    ASSERT_TRUE(Until([&] { return (ev = worker_event_peek(w_)) != nullptr; })) << got;
    ASSERT_EQ(std::string((const char *)ev->payload, ev->len), std::to_string(got));
    worker_event_done(w_);
    got++;
  }
}

class Liar : public WorkerTest {
 protected:
  // The liar is found out, reported once, and its neighbour is served as before.
  void ExpectCaught(Client *victim, uint16_t victim_port) {
    ASSERT_TRUE(Until([&] { return Count(UDPLANE_WORKER_CORRUPT) == 1; }));
    const worker_event *ev = nullptr;
    ASSERT_TRUE(Until([&] { return (ev = worker_event_peek(w_)) != nullptr; }));
    EXPECT_EQ(ev->type, WORKER_EVENT_CORRUPT);
    EXPECT_EQ(ev->channel_id, 0u);
    worker_event_done(w_);
    ASSERT_TRUE(Inject(victim_port, "fine"));
    EXPECT_EQ(Receive(victim), "fine");
    victim->Send(1, "out", 3, inet_addr("192.0.2.2"), 1);
    EXPECT_TRUE(Until([&] {
      Guard g;
      return !fake->sent.empty();
    }));
    EXPECT_EQ(worker_event_peek(w_), nullptr);
  }
};

TEST_F(Liar, TxProducerIndexBeyondTheRing) {
  Client *c = Attach(0, 7), *v = Attach(1, 8);
  __atomic_store_n(&c->tx->head.prod_idx, kTxSlots + 1, __ATOMIC_RELEASE);
  c->Bell();
  ExpectCaught(v, 8);
}
TEST_F(Liar, RxConsumerIndexAheadOfTheProducer) {
  Client *c = Attach(0, 7), *v = Attach(1, 8);
  __atomic_store_n(&c->ring->head.cons_idx, 1000, __ATOMIC_RELEASE);
  for (uint32_t i = 0; i < kRing + 1; i++) ASSERT_TRUE(Inject(7, "x"));
  ExpectCaught(v, 8);
}
TEST_F(Liar, ReturnsAFrameItNeverHad) {
  Client *c = Attach(0, 7), *v = Attach(1, 8);
  c->Return(17);
  ExpectCaught(v, 8);
}
TEST_F(Liar, ReturnsAFrameOutOfRange) {
  Client *c = Attach(0, 7), *v = Attach(1, 8);
  c->Return(UINT32_MAX);
  ExpectCaught(v, 8);
}
TEST_F(Liar, ReturnsTwice) {
  Client *c = Attach(0, 7), *v = Attach(1, 8);
  udplane_rx_desc d;
  ASSERT_TRUE(Inject(7, "x"));
  Receive(c, &d);
  c->Return(d.frame);
  c->Return(d.frame);
  ExpectCaught(v, 8);
}
TEST_F(Liar, ReturnsItsNeighboursFrame) {
  Client *c = Attach(0, 7), *v = Attach(1, 8);
  udplane_rx_desc d;
  ASSERT_TRUE(Inject(8, "x"));
  Receive(v, &d);
  c->Return(d.frame);
  ExpectCaught(v, 8);
}
TEST_F(Liar, SendsFromItsNeighboursSocket) {
  Client *c = Attach(0, 7), *v = Attach(1, 8);
  c->Send(1, "spoof", 5, inet_addr("192.0.2.2"), 1);
  ExpectCaught(v, 8);
}
TEST_F(Liar, SendsFromASocketOutOfRange) {
  Client *c = Attach(0, 7), *v = Attach(1, 8);
  c->Send(UINT32_MAX, "x", 1, inet_addr("192.0.2.2"), 1);
  ExpectCaught(v, 8);
}
TEST_F(Liar, SendsMoreThanASlot) {
  Client *c = Attach(0, 7), *v = Attach(1, 8);
  c->Send(0, "x", kFrameSize + 1, inet_addr("192.0.2.2"), 1);
  ExpectCaught(v, 8);
}

// Any value in any word: seeds print themselves on failure; the invariants in TearDown hold after each.
TEST_F(Liar, RandomWordsEverywhere) {
  Client *v = Attach(0, 8);
  for (uint32_t seed = 1; seed <= 200; seed++) {
    SCOPED_TRACE(seed);
    std::mt19937 rnd(seed);
    Client *c = Attach(1 + seed % 7, 7);
    uint32_t sock = 1 + seed % 7;
    for (int i = 0; i < 50; i++) {
      uint32_t value = rnd() % 3 ? rnd() % 300 : rnd();
      uint32_t *area[] = {(uint32_t *)c->tx, (uint32_t *)c->ret, (uint32_t *)c->ring};
      uint32_t words[] = {64 + kTxSlots * 8, 64 + 256, 96 + kRing * 4};
      uint32_t a = rnd() % 3, word = rnd() % 4 ? (rnd() % 2 ? 0 : 32) + rnd() % 2 : rnd() % words[a];
      __atomic_store_n(&area[a][word], value, __ATOMIC_RELEASE);
      Inject(7, "x");
      c->Bell();
    }
    ASSERT_TRUE(Settled());
    port_key key{};
    key.family = AF_INET;
    key.port_be = htons(7);
    ASSERT_EQ(Call(WORKER_KEY_REMOVE, sock, nullptr, nullptr, &key), 0);
    ASSERT_EQ(Call(WORKER_SOCKET_REMOVE, sock), 0);
    ASSERT_EQ(Call(WORKER_CHANNEL_REMOVE, 0, &c->ch), 0);
    clients_.pop_back();
    while (worker_event_peek(w_)) worker_event_done(w_);
    udplane_rx_desc d;
    ASSERT_TRUE(Inject(8, "fine"));
    ASSERT_EQ(Receive(v, &d), "fine");
    v->Return(d.frame);
  }
}

class Sleeper : public WorkerTest {
 protected:
  void SetUp() override { Start(UDPLANE_MODE_BALANCED, 1000); }
  bool Asleep() {
    return Until([&] { return !udplane_load32(&zone_->awake) && udplane_load64(&zone_->counter[UDPLANE_WORKER_SLEEPS]) > sleeps_; });
  }
  uint64_t sleeps_ = 0;
};

TEST_F(Sleeper, BalancedModeLeavesTheKernelInChargeUntilADoorbell) {
  Client *c = Attach(0, 7);
  ASSERT_TRUE(Until([&] { return !udplane_load32(&zone_->awake); }));
  EXPECT_TRUE(Until([&] { return !__atomic_load_n(&fake->engaged, __ATOMIC_RELAXED); }));
  EXPECT_EQ(udplane_load32(&zone_->engaged), 0u);
  for (int i = 0; i < 100; i++) {
    c->Send(0, "x", 1, inet_addr("192.0.2.2"), 1);  // rings the bell
    ASSERT_TRUE(Until([&] {
      Guard g;
      return fake->sent.size() == (size_t)i + 1;
    })) << i;
  }
  EXPECT_TRUE(Until([&] {
    c->Bell();  // now and then it is really asleep when the bell rings, and counts it
    return Count(UDPLANE_WORKER_DOORBELLS) > 0;
  }));
}

// What waits in a ring is older than what the kernel would deliver next: the kernel takes over when the rings are empty, not before.
class Reader : public Sleeper {
 protected:
  void SetUp() override { Start(UDPLANE_MODE_BALANCED, 5000000); }  // long enough to be seen awake
};

TEST_F(Reader, FindsTheFastPathEngagedUntilEverythingIsRead) {
  Client *c = Attach(0, 7);
  ASSERT_TRUE(Until([&] { return !udplane_load32(&zone_->engaged); }));
  for (int i = 0; i < 20; i++) {
    ASSERT_TRUE(Until([&] {
      c->Bell();
      return udplane_load32(&zone_->engaged) == 1;
    }));
    ASSERT_TRUE(Inject(7, "x"));
    ASSERT_TRUE(Until([&] { return udplane_ring_avail(&c->my_rx, 1) != 0; }));
    uint64_t sleeps = Count(UDPLANE_WORKER_SLEEPS);
    c->Bell();  // one more spin, and it lies down again
    ASSERT_TRUE(Until([&] { return Count(UDPLANE_WORKER_SLEEPS) > sleeps && !udplane_load32(&zone_->awake); }));
    ASSERT_EQ(udplane_load32(&zone_->engaged), 1u) << i;
    udplane_rx_desc d;
    ASSERT_EQ(Receive(c, &d), "x");
    ASSERT_EQ(d.flags, UDPLANE_RX_SWITCHED);
    c->Return(d.frame);  // rings the bell
    ASSERT_TRUE(Until([&] { return udplane_load32(&zone_->engaged) == 0; })) << i;
  }
}

// The control thread carries orders out itself while the worker sleeps: nobody is woken for them.
TEST_F(Sleeper, OrdersDoNotWakeIt) {
  Attach(0, 7);
  ASSERT_TRUE(Until([&] { return !udplane_load32(&zone_->awake); }));
  ASSERT_TRUE(Until([&] { return Count(UDPLANE_WORKER_SLEEPS) > 0 || !udplane_load32(&zone_->awake); }));
  for (int i = 0; i < 1000; i++) {
    port_key key{};
    key.family = AF_INET;
    key.port_be = htons((uint16_t)(100 + i));
    ASSERT_EQ(Call(WORKER_KEY_INSERT, 0, nullptr, nullptr, &key), 0);
    ASSERT_EQ(Call(WORKER_KEY_REMOVE, 0, nullptr, nullptr, &key), 0);
  }
}

}  // namespace
