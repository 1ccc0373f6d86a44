// SPDX-License-Identifier: Apache-2.0
// A DPDK virtual device with frames in ordinary memory, and, if wanted, the worker on it with one client. EAL starts once in a process,
// so each test program has one device.
#ifndef TESTS_UNIT_DPDK_BED_H
#define TESTS_UNIT_DPDK_BED_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

extern "C" {
#include "sidecar/base/clock.h"
#include "sidecar/device/dpdk/dpdk.h"
#include "sidecar/worker/worker.h"
}

constexpr uint32_t kFrames = 4096, kFrameSize = 2048, kRing = 1024, kTxSlots = 512, kSock = 1;
constexpr uint8_t kPeerMac[6] = {2, 0, 0, 0, 0, 2};

struct Bed {
  config cfg{};
  device *dev = nullptr;
  device_queue *q = nullptr;
  uint8_t *frames = nullptr;
  char text[512] = "";

  explicit Bed(const std::string &vdev) {
    config_set_defaults(&cfg);
    snprintf(cfg.device, sizeof(cfg.device), "%s", vdev.c_str());
    cfg.hugepages = CONFIG_HUGEPAGES_OFF;
    frames = (uint8_t *)mmap((void *)(256ull << 30), (size_t)kFrames * kFrameSize, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (dpdk_open(&dev, &cfg, false, text, sizeof(text))) return;
    device_memory mem{frames, (size_t)kFrames * kFrameSize, 4096, kFrames, kFrameSize};
    if (dev->ops->attach(dev, &mem, 1, text, sizeof(text))) {
      dev->ops->close(dev);
      dev = nullptr;
      return;
    }
    q = dev->ops->queue(dev, 0);
  }
  ~Bed() {
    if (dev) dev->ops->close(dev);
    munmap(frames, (size_t)kFrames * kFrameSize);
  }
  dpdk *d() { return to_dpdk(dev); }
  uint8_t *At(const device_frame &f) { return frames + (size_t)f.frame * kFrameSize + f.off; }
  uint64_t Counter(udplane_device_counter c) {
    uint64_t v[UDPLANE_DEVICE_COUNTER_CNT] = {};
    dev->ops->counters(dev, v);
    return v[c];
  }
};

inline bool Until(const std::function<bool()> &ok, int seconds = 10) {
  for (uint64_t end = clock_now_ns() + (uint64_t)seconds * 1000000000ull; clock_now_ns() < end;) {
    if (ok()) return true;
    sched_yield();
  }
  return ok();
}

// Nothing is received before the socket is there. Benchmarks measure the bare driver through `closed`, on the worker's own thread.
struct Gate {
  bool open = false;
  uint32_t (*closed)(device_queue *q) = [](device_queue *) { return 0u; };
  uint32_t (*opened)(device_queue *q, device_frame *out, uint32_t max) = dpdk_queue_ops.rx_burst;
  int cpu = -1;  // of the worker; with one of its own it need not yield
  uint64_t spin_ns = 50000;
};
inline Gate gate;
inline uint32_t GatedRx(device_queue *q, device_frame *out, uint32_t max) {
  return __atomic_load_n(&gate.open, __ATOMIC_ACQUIRE) ? __atomic_load_n(&gate.opened, __ATOMIC_RELAXED)(q, out, max) : gate.closed(q);
}

// The worker on a bed, with a client that holds UDP port 5000 on 192.0.2.1.
struct WorkerBed : Bed {
  worker *w = nullptr;
  udplane_worker_zone *zone;
  udplane_socket_counters counters{};
  route_table *route = nullptr;
  worker_channel ch{};
  udplane_tx_ring *tx;
  udplane_return_ring *ret;
  udplane_rx_ring *ring;
  udplane_ring my_tx, my_ret, my_rx;
  std::vector<uint8_t> payload = std::vector<uint8_t>(kTxSlots * kFrameSize);
  int pipe_fd[2];

  template <class T>
  static T *Alloc(size_t n) {
    size_t len = (n + 127) / 128 * 128;
    return (T *)memset(aligned_alloc(128, len), 0, len);
  }
  explicit WorkerBed(const std::string &vdev) : Bed(vdev) {
    zone = Alloc<udplane_worker_zone>(sizeof(udplane_worker_zone));
    tx = Alloc<udplane_tx_ring>(sizeof(udplane_tx_ring) + kTxSlots * sizeof(udplane_tx_desc));
    ret = Alloc<udplane_return_ring>(sizeof(udplane_return_ring) + kFrames * 4);
    ring = Alloc<udplane_rx_ring>(sizeof(udplane_rx_ring) + kRing * sizeof(udplane_rx_desc));
    if (dev) Start();
  }
  ~WorkerBed() {
    Stop();
    for (void *p : {(void *)zone, (void *)tx, (void *)ret, (void *)ring}) free(p);
  }
  void Stop() {
    if (!w) return;
    port_key key = Key();
    EXPECT_EQ(Call(WORKER_KEY_REMOVE, nullptr, &key), 0);
    EXPECT_EQ(Call(WORKER_SOCKET_REMOVE), 0);
    EXPECT_EQ(Call(WORKER_CHANNEL_REMOVE), 0);
    worker_stop(w);
    w = nullptr;
    route_table_destroy(route);
    for (int fd : {ch.doorbell_fd, pipe_fd[0], pipe_fd[1]}) close(fd);
  }
  uint64_t Count(udplane_worker_counter c) { return udplane_load64(&zone->counter[c]); }
  int Call(worker_op op, const worker_socket_info *info = nullptr, const port_key *key = nullptr) {
    worker_order o{};
    o.op = op;
    o.sock = kSock;
    o.channel = &ch;
    o.info = info;
    o.source.port_be = htons(5000);
    o.route = route;
    if (key) o.key = *key;
    return worker_call(w, &o);
  }
  static port_key Key() {
    port_key key{};
    key.family = AF_INET;
    key.port_be = htons(5000);
    return key;
  }
  void MakeRoute() {
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
    inet_pton(AF_INET, "192.0.2.0", r.dst);
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
    in.routes = &r;
    in.neighs = &n;
    in.addr_cnt = in.route_cnt = in.neigh_cnt = 1;
    route = route_table_build(&in);
  }
  void Start() {
    worker_options o{};
    o.worker_cnt = 1;
    o.queue = q;
    o.zone = zone;
    o.frames = frames;
    o.frame_cnt = kFrames;
    o.frame_size = kFrameSize;
    o.frames_reserved = 1024;
    o.socket_max = 8;
    o.checksum = PACKET_CHECKSUM_WIRE;
    o.spin_ns = gate.spin_ns;
    o.yield = gate.cpu < 0;
    o.cpu = gate.cpu;
    o.ttl4 = o.hop_limit6 = 64;
    MakeRoute();
    ch.id = 0;
    udplane_ring_init(&ch.tx, &tx->head, kTxSlots, 0);
    udplane_ring_init(&ch.ret, &ret->head, kFrames, 0);
    udplane_ring_init(&my_tx, &tx->head, kTxSlots, 0);
    udplane_ring_init(&my_ret, &ret->head, kFrames, 0);
    udplane_ring_init(&my_rx, &ring->head, kRing, 0);
    ch.tx_desc = tx->desc;
    ch.ret_frame = ret->frame;
    ch.tx_payload = payload.data();
    ch.tx_slot_size = kFrameSize;
    ch.doorbell_fd = eventfd(0, EFD_NONBLOCK);
    ASSERT_EQ(pipe2(pipe_fd, O_NONBLOCK), 0);
    static device_queue_ops gated;
    gated = dpdk_queue_ops;
    gated.rx_burst = GatedRx;
    q->ops = &gated;
    ASSERT_EQ(worker_start(&w, &o, text, sizeof(text)), 0) << text;
    worker_socket_info info{&ch, ring, kRing, pipe_fd[1], &counters};
    port_key key = Key();
    ASSERT_EQ(Call(WORKER_ROUTE), 0);
    ASSERT_EQ(Call(WORKER_CHANNEL_ADD), 0);
    ASSERT_EQ(Call(WORKER_SOCKET_ADD, &info), 0);
    ASSERT_EQ(Call(WORKER_KEY_INSERT, nullptr, &key), 0);
    __atomic_store_n(&gate.open, true, __ATOMIC_RELEASE);
  }
  // Takes a datagram and gives its frame back. "" and false: none.
  bool Receive(std::string *out) {
    if (udplane_ring_avail(&my_rx, 1) == 0) return false;
    udplane_rx_desc d = ring->desc[udplane_ring_slot(&my_rx, my_rx.idx)];
    udplane_ring_consume(&my_rx, 1);
    out->assign((const char *)frames + (size_t)d.frame * kFrameSize + d.offset, d.len);
    ret->frame[udplane_ring_slot(&my_ret, my_ret.idx)] = d.frame;
    udplane_ring_publish(&my_ret, 1);
    return true;
  }
  void Bell() {
    uint64_t one = 1;
    ASSERT_EQ(write(ch.doorbell_fd, &one, 8), 8);
  }
  void ExpectConservation() {
    uint64_t drops = 0;
    for (auto c : {UDPLANE_WORKER_RX_DROP_MALFORMED, UDPLANE_WORKER_RX_DROP_IP_CHECKSUM, UDPLANE_WORKER_RX_DROP_UDP_CHECKSUM,
                   UDPLANE_WORKER_RX_DROP_NO_SOCKET, UDPLANE_WORKER_RX_DROP_RING_FULL, UDPLANE_WORKER_RX_DROP_QUOTA,
                   UDPLANE_WORKER_MARTIANS})
      drops += Count(c);
    EXPECT_EQ(Count(UDPLANE_WORKER_RX_FRAMES), Count(UDPLANE_WORKER_RX_DELIVERED) + Count(UDPLANE_WORKER_RX_PASSED) + drops);
  }
};

// A UDP frame from 192.0.2.2:1000 to 192.0.2.1:port for the MAC given.
inline std::vector<uint8_t> UdpFrame(const uint8_t *mac, uint16_t port, const std::string &data, const char *dst = "192.0.2.1") {
  packet_flow f{};
  f.family = AF_INET;
  f.ttl = 64;
  memcpy(f.src_mac, kPeerMac, 6);
  memcpy(f.dst_mac, mac, 6);
  f.src_port_be = htons(1000);
  inet_pton(AF_INET, "192.0.2.2", f.src.bytes);
  packet_template t;
  packet_template_init(&t, &f);
  packet_endpoint to{};
  inet_pton(AF_INET, dst, to.addr.bytes);
  to.port_be = htons(port);
  std::vector<uint8_t> p(data.size() + 64);
  p.resize(packet_build(p.data(), &t, &to, data.data(), (uint16_t)data.size(), 0));
  return p;
}

#endif
