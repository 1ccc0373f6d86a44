// SPDX-License-Identifier: Apache-2.0
// The device alone, on a net_ring that gives back what is sent: frames and mbufs are each other's, in any number of pieces, and none
// gets lost.
#include <rte_ring.h>

#include "tests/unit/dpdk/bed.h"

namespace {

class Ring : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { bed_ = new Bed("net_ring0"); }
  static void TearDownTestSuite() { delete bed_; }
  void SetUp() override {
    ASSERT_NE(bed_->dev, nullptr) << bed_->text;
    wire_ = rte_ring_lookup("ETH_RXTX0_net_ring0");
    ASSERT_NE(wire_, nullptr);
  }
  void TearDown() override { EXPECT_EQ(Free(), kFrames); }
  const device_queue_ops *ops() { return bed_->q->ops; }
  uint32_t Free() { return ops()->frames_free(bed_->q); }
  uint32_t Receive(device_frame *out) { return ops()->rx_burst(bed_->q, out, DEVICE_BURST); }
  void Put(const device_frame &f) { ops()->frames_put(bed_->q, &f.frame, 1); }
  // A packet in pieces of these lengths appears on the wire. Byte i of it is i * 7.
  void Inject(const std::vector<uint16_t> &pieces) {
    rte_mbuf *head = nullptr, *last = nullptr;
    uint32_t at = 0;
    for (uint16_t len : pieces) {
      rte_mbuf *m = rte_pktmbuf_alloc(bed_->d()->queue[0].pool);
      ASSERT_NE(m, nullptr);
      m->data_len = len;
      for (uint16_t i = 0; i < len; i++) rte_pktmbuf_mtod(m, uint8_t *)[i] = (uint8_t)(at++ * 7);
      if (last) last->next = m;
      if (!head) head = m;
      last = m;
    }
    head->pkt_len = at;
    head->nb_segs = (uint16_t)pieces.size();
    ASSERT_EQ(rte_ring_enqueue(wire_, head), 0);
  }
  static Bed *bed_;
  rte_ring *wire_ = nullptr;
};
Bed *Ring::bed_;

TEST_F(Ring, WhatIsSentComesBackInTheSameFrame) {
  uint32_t idx[32];
  ASSERT_EQ(ops()->frames_get(bed_->q, idx, 32), 32u);
  EXPECT_EQ(Free(), kFrames - 32);
  device_frame f[DEVICE_BURST] = {};
  for (uint32_t i = 0; i < 32; i++) {
    f[i].frame = idx[i];
    f[i].off = (uint16_t)bed_->dev->tx_headroom;
    f[i].len = (uint16_t)(60 + i);
    memset(bed_->At(f[i]), (int)i, f[i].len);
  }
  ASSERT_EQ(ops()->tx_burst(bed_->q, f, 32), 32u);
  EXPECT_EQ(Free(), kFrames);
  device_frame back[DEVICE_BURST];
  ASSERT_EQ(Receive(back), 32u);
  for (uint32_t i = 0; i < 32; i++) {
    EXPECT_EQ(back[i].frame, idx[i]);
    EXPECT_EQ(back[i].len, 60 + i);
    EXPECT_EQ(bed_->At(back[i])[back[i].len - 1], i);
    Put(back[i]);
  }
}

TEST_F(Ring, PiecesAreJoinedIntoOneFrame) {
  device_frame f[DEVICE_BURST];
  Inject({700, 1, 800});
  Inject({100});
  ASSERT_EQ(Receive(f), 2u);
  ASSERT_EQ(f[0].len, 1501);
  for (uint32_t i = 0; i < 1501; i++) ASSERT_EQ(bed_->At(f[0])[i], (uint8_t)(i * 7)) << i;
  EXPECT_EQ(f[1].len, 100);
  Put(f[0]);
  Put(f[1]);
}

// 1920 bytes are a frame's room; without a TAP to pass longer ones to they are dropped and counted.
TEST_F(Ring, LongerThanAFrameIsNotTruncated) {
  device_frame f[DEVICE_BURST];
  uint64_t lost = bed_->Counter(UDPLANE_DEVICE_RX_LOST_NO_FRAME);
  Inject({1900, 20});
  Inject({1900, 21});
  Inject({50});
  ASSERT_EQ(Receive(f), 2u);
  EXPECT_EQ(f[0].len, 1920);
  EXPECT_EQ(f[1].len, 50);
  EXPECT_EQ(bed_->Counter(UDPLANE_DEVICE_RX_LOST_NO_FRAME), lost + 1);
  EXPECT_EQ(bed_->Counter(UDPLANE_DEVICE_RX_SEEN), bed_->Counter(UDPLANE_DEVICE_RX_DIVERTED));
  Put(f[0]);
  Put(f[1]);
}

TEST_F(Ring, WhatNoDriverCouldSendIsCountedAndGivenBack) {
  uint32_t idx[2];
  ASSERT_EQ(ops()->frames_get(bed_->q, idx, 2), 2u);
  uint64_t before = bed_->Counter(UDPLANE_DEVICE_TX_INVALID);
  device_frame f[2] = {{idx[0], 128, 13, 0}, {idx[1], 128, 1921, 0}};
  EXPECT_EQ(ops()->tx_burst(bed_->q, f, 2), 1u);
  EXPECT_EQ(ops()->tx_burst(bed_->q, f + 1, 1), 1u);
  EXPECT_EQ(bed_->Counter(UDPLANE_DEVICE_TX_INVALID), before + 2);
}

TEST_F(Ring, EveryFrameCanBeTakenAndNoneTwice) {
  std::vector<bool> seen(kFrames);
  std::vector<uint32_t> taken;
  uint32_t idx[DEVICE_BURST], n;
  while ((n = ops()->frames_get(bed_->q, idx, DEVICE_BURST)))
    for (uint32_t i = 0; i < n; i++) {
      ASSERT_LT(idx[i], kFrames);
      ASSERT_FALSE(seen[idx[i]]);
      seen[idx[i]] = true;
      taken.push_back(idx[i]);
    }
  EXPECT_EQ(taken.size(), kFrames);  // net_ring holds none for receiving
  EXPECT_EQ(Free(), 0u);
  ops()->frames_put(bed_->q, taken.data(), (uint32_t)taken.size());
}

TEST_F(Ring, AFullWireLeavesTheRestWithTheCaller) {
  uint32_t idx[DEVICE_BURST];
  device_frame f[DEVICE_BURST] = {};
  uint32_t sent = 0, n = DEVICE_BURST;
  while (n == DEVICE_BURST && sent < kFrames) {
    ASSERT_EQ(ops()->frames_get(bed_->q, idx, DEVICE_BURST), DEVICE_BURST);
    for (uint32_t i = 0; i < DEVICE_BURST; i++) f[i] = {idx[i], 128, 60, 0};
    n = ops()->tx_burst(bed_->q, f, DEVICE_BURST);
    sent += n;
  }
  EXPECT_EQ(Free(), kFrames - (DEVICE_BURST - n));
  ops()->frames_put(bed_->q, idx + n, DEVICE_BURST - n);
  device_frame back[DEVICE_BURST];
  for (uint32_t got; (got = Receive(back));)
    for (uint32_t i = 0; i < got; i++) Put(back[i]);
}

TEST_F(Ring, WithoutATapPassingDropsCountsAndGivesBack) {
  device_frame f[DEVICE_BURST];
  uint64_t full = bed_->Counter(UDPLANE_DEVICE_TAP_RX_FULL);
  Inject({64});
  ASSERT_EQ(Receive(f), 1u);
  ops()->pass(bed_->q, f, 1);
  EXPECT_EQ(bed_->Counter(UDPLANE_DEVICE_TAP_RX_FULL), full + 1);
}

// No interrupt: a timer, that backs off to 10 ms and comes back with traffic.
TEST_F(Ring, ADriverWithoutInterruptsIsPolledByATimer) {
  int fds[4];
  ASSERT_EQ(ops()->wait_fds(bed_->q, fds, 4), 1u);
  EXPECT_EQ(fds[0], bed_->d()->queue[0].timer_fd);
  for (int i = 0; i < 12; i++) {
    EXPECT_EQ(ops()->arm(bed_->q), 0);
    ops()->disarm(bed_->q);
  }
  EXPECT_EQ(bed_->d()->queue[0].timer_us, 10000u);
  device_frame f[DEVICE_BURST];
  Inject({64});
  ASSERT_EQ(Receive(f), 1u);
  Put(f[0]);
  EXPECT_EQ(ops()->arm(bed_->q), 0);
  EXPECT_EQ(bed_->d()->queue[0].timer_us, 100u);
  ops()->disarm(bed_->q);
}

TEST_F(Ring, FactsAreWholeLinesInAnyRoom) {
  char text[4096];
  size_t len = bed_->dev->ops->info(bed_->dev, text, sizeof(text));
  EXPECT_NE(std::string(text).find("driver\tnet_ring\n"), std::string::npos);
  EXPECT_EQ(strlen(text), len);
  for (size_t room = 1; room < len; room += 7) {
    size_t n = bed_->dev->ops->info(bed_->dev, text, room);
    ASSERT_LT(n, room);
    ASSERT_EQ(strlen(text), n);
    ASSERT_TRUE(n == 0 || text[n - 1] == '\n');
  }
}

}  // namespace
