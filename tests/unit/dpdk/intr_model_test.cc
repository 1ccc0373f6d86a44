// SPDX-License-Identifier: Apache-2.0
// Going to sleep, as a model small enough to try every interleaving: the worker's steps (sleep.c:
// worker_sleep, disengage; intr.c: dpdk_arm), a NIC, a client with its doorbell, and the TAP
// thread. A worker that waits while something lies there and no signal is on its way has lost a
// wake-up. Without the poll after the arm the model finds one, for each of the three.
#include <gtest/gtest.h>

#include <set>
#include <tuple>

namespace
{

enum Step { POLL, CLEAR_AWAKE, ARM, REPOLL, WAIT, REARM, DISARM, STEPS };

struct State {
	int step = POLL;      // what the worker does next
	bool found = false;   // the last poll brought something
	bool packet = false;  // in the NIC's queue
	bool request = false; // in the client's TX ring
	bool frame = false;   // in the TAP's ring
	bool awake = true;    // zone->awake
	bool nic_armed = false, tap_armed = false;
	bool nic_event = false, bell = false,
	     tap_event = false; // descriptors in the worker's epoll
	int bell_due = 0;	// client: 1 published, has not looked at `awake` yet
	int tap_due = 0;	// TAP thread: likewise with the arm
	int packets = 2, requests = 1, frames = 1; // still to come

	auto key() const
	{
		return std::make_tuple(step, found, packet, request, frame, awake, nic_armed,
				       tap_armed, nic_event, bell, tap_event, bell_due, tap_due,
				       std::make_tuple(packets, requests, frames));
	}
	bool operator<(const State &o) const
	{
		return key() < o.key();
	}
};

struct Model {
	bool repoll; // the step under test
	std::set<State> seen;
	bool lost = false;

	static void Poll(State *s)
	{
		s->found = s->packet || s->request || s->frame;
		s->packet = s->request = s->frame = false;
	}

	// Returns false if it sleeps.
	bool Worker(State *s)
	{
		switch (s->step) {
		case POLL:
			Poll(s);
			s->step = s->found ? POLL : CLEAR_AWAKE;
			return true;
		case CLEAR_AWAKE:
			s->awake = false;
			s->step = ARM;
			return true;
		case ARM:
			s->nic_armed = s->tap_armed = true;
			s->step = repoll ? REPOLL : WAIT;
			return true;
		case REPOLL:
			Poll(s);
			s->step = s->found ? DISARM : WAIT;
			return true;
		case WAIT:
			if (!s->nic_event && !s->bell && !s->tap_event)
				return false;
			s->step = s->bell ? DISARM : REARM;
			return true;
		case REARM: // it may have been for nothing: another look before it spins
			s->nic_armed = s->tap_armed = s->nic_event = s->tap_event = false;
			s->step = ARM;
			return true;
		default:
			s->nic_armed = s->tap_armed = s->nic_event = s->tap_event = s->bell = false;
			s->awake = true;
			s->step = POLL;
			return true;
		}
	}

	void Explore(State s)
	{
		if (!seen.insert(s).second)
			return;
		State t = s;
		bool runs = Worker(&t);
		if (runs)
			Explore(t);
		// It sleeps, something is there, and no signal is owed any more.
		if (!runs && (s.packet || s.request || s.frame) && !s.bell_due && !s.tap_due)
			lost = true;
		if (s.packets) { // a NIC raises its interrupt only when armed, and only once an arm
			t = s;
			t.packets--;
			t.packet = true;
			if (t.nic_armed) {
				t.nic_event = true;
				t.nic_armed = false;
			}
			Explore(t);
		}
		if (s.requests && !s.bell_due) {
			t = s;
			t.requests--;
			t.request = true;
			t.bell_due = 1;
			Explore(t);
		}
		if (s.bell_due) {
			t = s;
			t.bell_due = 0;
			t.bell |= !t.awake;
			Explore(t);
		}
		if (s.frames && !s.tap_due) {
			t = s;
			t.frames--;
			t.frame = true;
			t.tap_due = 1;
			Explore(t);
		}
		if (s.tap_due) {
			t = s;
			t.tap_due = 0;
			if (t.tap_armed) {
				t.tap_event = true;
				t.tap_armed = false;
			}
			Explore(t);
		}
	}
};

bool Loses(bool repoll, int packets, int requests, int frames, size_t *states = nullptr)
{
	Model m{repoll, {}, false};
	State s;
	s.packets = packets;
	s.requests = requests;
	s.frames = frames;
	m.Explore(s);
	if (states)
		*states = m.seen.size();
	return m.lost;
}

TEST(IntrModel, NoInterleavingLosesAWakeUp)
{
	size_t states = 0;
	EXPECT_FALSE(Loses(true, 3, 3, 3, &states));
	EXPECT_GT(states, 1000u);
	printf("%zu states\n", states);
}

TEST(IntrModel, WithoutThePollAfterTheArmOneGetsLost)
{
	EXPECT_TRUE(Loses(false, 1, 0, 0));
	EXPECT_TRUE(Loses(false, 0, 1, 0));
	EXPECT_TRUE(Loses(false, 0, 0, 1));
}

} // namespace
