// SPDX-License-Identifier: Apache-2.0
#include "sidecar/control/evidence.h"

#include <gtest/gtest.h>

#include <functional>

namespace
{

using Sample = evidence_sample;

// A device that works, one second later each time: `more` adds what happened.
struct World {
	World()
	{
		s.facts.attached = s.facts.can_generic = true;
		s.facts.queue_cnt = s.queue_used = 1;
		s.claims = true;
		Look([](Sample *) {});
	}
	uint32_t Look(const std::function<void(Sample *)> &more)
	{
		more(&s);
		return evidence_look(&e, &s);
	}
	// What is found from the second look on; nothing may be found before.
	uint32_t Found(const std::function<void(Sample *)> &more)
	{
		EXPECT_EQ(Look(more) & ~EVIDENCE_SEEN, 0u);
		uint32_t found = Look(more);
		EXPECT_EQ(Look(more), found);
		return found;
	}
	evidence e{};
	Sample s{};
};

void ByXdp(Sample *s, uint32_t n)
{
	s->host[UDPLANE_HOST_INTERFACE_RX] += n;
	s->device[UDPLANE_DEVICE_RX_SEEN] += n;
	s->device[UDPLANE_DEVICE_RX_DIVERTED] += n;
	s->facts.rx_put += n;
}

void PastXdp(Sample *s, uint32_t n)
{
	s->host[UDPLANE_HOST_INTERFACE_RX] += n;
	s->host[UDPLANE_HOST_UDP_IN] += n;
}

TEST(Evidence, AllIsWell)
{
	World w;
	EXPECT_EQ(w.Found([](Sample *) {}), 0u);
	EXPECT_EQ(w.Found([](Sample *s) { ByXdp(s, 100000); }), EVIDENCE_SEEN);
	EXPECT_EQ(w.Found([](Sample *s) { // resting
		ByXdp(s, 0);
		s->host[UDPLANE_HOST_INTERFACE_RX] += 500;
		s->host[UDPLANE_HOST_UDP_IN] += 500;
		s->device[UDPLANE_DEVICE_RX_SEEN] += 500;
		s->device[UDPLANE_DEVICE_RX_PASSED_IDLE] += 500;
	}),
		  EVIDENCE_SEEN);
}

TEST(Evidence, DeliveredPastTheProgram)
{
	World w;
	EXPECT_EQ(w.Found([](Sample *s) { PastXdp(s, 1000); }), EVIDENCE_BYPASSED);
	EXPECT_EQ(w.Found([](Sample *s) { ByXdp(s, 1000); }), EVIDENCE_SEEN);
}

TEST(Evidence, SomeComesByTheProgramStill)
{ // the host's own traffic takes the way of old
	World w;
	EXPECT_EQ(w.Found([](Sample *s) {
		PastXdp(s, 1000);
		ByXdp(s, 50);
	}),
		  EVIDENCE_BYPASSED);
}

TEST(Evidence, WhatProvesNothing)
{
	const std::function<void(Sample *)> cases[] = {
		[](Sample *s) { PastXdp(s, EVIDENCE_FEW - 1); },
		[](Sample *s) {
			s->host[UDPLANE_HOST_INTERFACE_RX] += 5000;
		}, // no kernel socket got anything
		[](Sample *s) { s->host[UDPLANE_HOST_UDP_IN] += 5000; }, // by another interface
		[](Sample *s) { // counts read one after the other, in a flood of TCP
			s->host[UDPLANE_HOST_INTERFACE_RX] += 500000;
			s->device[UDPLANE_DEVICE_RX_SEEN] += 490000;
			s->host[UDPLANE_HOST_UDP_IN] += 20;
		},
		[](Sample *s) {
			s->claims = false;
			PastXdp(s, 1000);
		},
	};
	for (auto &c : cases) {
		World w;
		EXPECT_EQ(w.Found(c), 0u) << &c - cases;
	}
	World w; // alternating
	for (int i = 0; i < 10; i++) {
		EXPECT_EQ(w.Look([](Sample *s) { PastXdp(s, 1000); }), 0u);
		EXPECT_EQ(w.Look([](Sample *s) { ByXdp(s, 1000); }), EVIDENCE_SEEN);
	}
}

TEST(Evidence, BlackHole)
{
	World w;
	EXPECT_EQ(w.Found([](Sample *s) {
		ByXdp(s, 1);
		s->facts.rx_put -= 1;
	}),
		  EVIDENCE_BLACK_HOLE | EVIDENCE_SEEN);
	World slow; // a worker that does not run: the ring fills, then frames are lost, and counted
	EXPECT_EQ(slow.Found([](Sample *s) {
		ByXdp(s, 100);
		s->facts.rx_put -= 100;
		s->device[UDPLANE_DEVICE_RX_LOST_RING_FULL] += 100;
	}),
		  EVIDENCE_SEEN);
}

TEST(Evidence, TxStuck)
{
	World w;
	w.Look([](Sample *s) { s->facts.tx_waiting = 7; });
	EXPECT_EQ(w.Found([](Sample *) {}), EVIDENCE_TX_STUCK);
	EXPECT_EQ(w.Look([](Sample *s) { s->facts.tx_taken++; }), 0u);
	EXPECT_EQ(w.Found([](Sample *s) { s->facts.tx_taken++; }), 0u); // slow, but it goes on
}

TEST(Evidence, DetachedAtOnceAndQueuesWhenTheyStay)
{
	World w;
	EXPECT_EQ(w.Look([](Sample *s) { s->facts.attached = false; }), EVIDENCE_DETACHED);
	w.s.facts.attached = true;
	EXPECT_EQ(w.Found([](Sample *s) { s->facts.queue_cnt = 4; }), EVIDENCE_MORE_QUEUES);
	EXPECT_EQ(w.Look([](Sample *s) { s->facts.queue_cnt = 1; }), 0u);
}

TEST(Evidence, ForgetBeginsAnew)
{
	World w;
	w.Look([](Sample *s) { PastXdp(s, 1000); });
	evidence_forget(&w.e);
	EXPECT_EQ(w.Look([](Sample *s) { PastXdp(s, 1000); }), 0u);
	EXPECT_EQ(w.Look([](Sample *s) { PastXdp(s, 1000); }), 0u);
	EXPECT_EQ(w.Look([](Sample *s) { PastXdp(s, 1000); }), EVIDENCE_BYPASSED);
}

} // namespace
