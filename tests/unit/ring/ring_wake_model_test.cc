// SPDX-License-Identifier: Apache-2.0
// Model check of sleep and wake in include/udplane/ring.h: every interleaving of a producer and a
// consumer, one load, store, swap, fence or signal at a time, on a machine whose stores wait in a
// buffer and become visible later (TSO as on x86; PSO, where stores to different words also
// overtake each other, is weaker). A fence, and a swap, waits until the buffer is empty.
//
//   producer (worker)                     consumer (client)
//     store prod                            load prod: something there? take it, store cons
//     fence                                 swap 1 into armed       udplane_ring_arm
//     load armed: not 1? done  \            fence                   (arm, too)
//     load cons: all taken?     > take_arm  load prod: something there?
//         done                  |               swap 0 into armed (disarm): was 0?
//     swap 0: was 1? signal    /                wait for the signal that comes; take it
//                                           else sleep until the signal
//
// Bad ends, searched for exhaustively: the consumer sleeps though entries are there and no one will
// signal (a lost wake-up), and a signal that nobody waits for is left over (wrong accounting). Each
// ingredient is then taken away to see that it is needed and that the model would find its loss.
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

namespace
{

struct Protocol {
	int entries = 3;	  // the producer publishes
	int burst = 1;		  // publishes a fence
	bool fence = true;	  // producer: between publish and take_arm
	bool recheck = true;	  // consumer: between arm and sleep
	bool look_at_cons = true; // take_arm: no signal to a consumer that has taken everything
	bool swap_is_barrier =
		true; // the swap of arm is visible before what follows looks at anything
	bool fence_in_arm = false; // and a fence after it
	bool disarm_waits = true;  // consumer: a lost arm's signal is waited for
	bool leave_armed = false;  // consumer: does not disarm but remembers; arm tells whether the
				   // last one still stands
	bool pso = false;
};

enum Word { kProd, kCons, kArmed, kAwake, kWords };
enum { kProducer, kConsumer, kThreads };
constexpr int kBuffer = 6; // stores; a full buffer holds up the next

struct Thread {
	uint8_t pc;
	uint8_t idx;	// published or taken so far
	uint8_t seen;	// last prod that was loaded
	uint8_t armed;	// leave_armed: an arm of mine has not been accounted for
	uint8_t tokens; // signals that will have come
	uint8_t buffered;
	struct {
		uint8_t word, value;
	} buffer[kBuffer];
};

struct State {
	uint8_t memory[kWords];
	uint8_t signals; // in the pipe
	Thread thread[kThreads];
};

std::string Pack(const State &s)
{
	return std::string(reinterpret_cast<const char *>(&s), sizeof(s));
}

// What one thread does to the machine.
class Cpu
{
      public:
	Cpu(State *s, int who) : s_(s), t_(&s->thread[who])
	{
	}

	uint8_t Load(Word w) const
	{
		for (int i = t_->buffered - 1; i >= 0; i--)
			if (t_->buffer[i].word == w)
				return t_->buffer[i].value;
		return s_->memory[w];
	}

	// Returns false if the buffer is full.
	bool Store(Word w, uint8_t value)
	{
		if (t_->buffered == kBuffer)
			return false;
		t_->buffer[t_->buffered].word = w;
		t_->buffer[t_->buffered++].value = value;
		return true;
	}

	// Whether a fence or a swap can be executed now: else something is flushed first.
	bool Drained() const
	{
		return t_->buffered == 0;
	}

	uint8_t Swap(Word w, uint8_t value)
	{
		uint8_t old = s_->memory[w];

		s_->memory[w] = value;
		return old;
	}

	void Flush(int i)
	{
		s_->memory[t_->buffer[i].word] = t_->buffer[i].value;
		for (; i + 1 < t_->buffered; i++)
			t_->buffer[i] = t_->buffer[i + 1];
		t_->buffered--;
		t_->buffer[t_->buffered] = {};
	}

	// The oldest store of its word, and on TSO of all.
	bool MayFlush(int i, bool pso) const
	{
		for (int k = 0; k < i; k++)
			if (!pso || t_->buffer[k].word == t_->buffer[i].word)
				return false;
		return i < t_->buffered;
	}

      private:
	State *s_;
	Thread *t_;
};

constexpr uint8_t kDone = 255;

// One step of a thread: false if it cannot go on now.
using Step = std::function<bool(const Protocol &, State *)>;

/* --- the ring's protocol: arm, take_arm --- */

bool ProducerStep(const Protocol &p, State *s)
{
	constexpr uint8_t kPublish = 0, kFence = 1, kLoadArmed = 2, kLoadCons = 3, kTake = 4,
			  kSignal = 5;
	Thread &t = s->thread[kProducer];
	Cpu cpu(s, kProducer);
	uint8_t next = t.idx == p.entries ? kDone : kPublish;

	switch (t.pc) {
	case kPublish:
		if (!cpu.Store(kProd, ++t.idx))
			return false;
		if (t.idx % p.burst == 0 || t.idx == p.entries)
			t.pc = kFence;
		return true;
	case kFence:
		if (p.fence && !cpu.Drained())
			return false;
		t.pc = kLoadArmed;
		return true;
	case kLoadArmed:
		t.pc = cpu.Load(kArmed) != 1 ? next : p.look_at_cons ? kLoadCons : kTake;
		return true;
	case kLoadCons: t.pc = cpu.Load(kCons) == t.idx ? next : kTake; return true;
	case kTake:
		if (!cpu.Drained())
			return false;
		t.pc = cpu.Swap(kArmed, 0) == 1 ? kSignal : next;
		return true;
	case kSignal:
		s->signals++;
		t.pc = next;
		return true;
	}
	return false;
}

bool ConsumerStep(const Protocol &p, State *s)
{
	constexpr uint8_t kLook = 0, kTake = 1, kArm = 2, kArmFence = 3, kRecheck = 4, kSleep = 5,
			  kDisarm = 6, kEat = 7, kLastDisarm = 8, kLastEat = 9;
	Thread &t = s->thread[kConsumer];
	Cpu cpu(s, kConsumer);
	bool standing;

	switch (t.pc) {
	case kLook:
		t.seen = cpu.Load(kProd);
		t.pc = t.seen != t.idx ? kTake : kArm;
		return true;
	case kTake:
		t.idx = t.seen;
		if (!cpu.Store(kCons, t.idx))
			return false;
		t.pc = t.idx == p.entries ? kLastDisarm : kLook;
		return true;
	case kArm:
		if (!p.swap_is_barrier) {
			if (!cpu.Store(kArmed,
				       1)) // the swap's store, which what follows may overtake
				return false;
		} else {
			if (!cpu.Drained())
				return false;
			standing = cpu.Swap(kArmed, 1) == 1;
			if (t.armed && !standing)
				t.tokens++;
			t.armed = p.leave_armed;
		}
		t.pc = kArmFence;
		return true;
	case kArmFence:
		if (p.fence_in_arm && !cpu.Drained())
			return false;
		t.pc = p.recheck ? kRecheck : kSleep;
		return true;
	case kRecheck:
		t.seen = cpu.Load(kProd);
		t.pc = t.seen == t.idx ? kSleep : p.leave_armed ? kTake : kDisarm;
		return true;
	case kSleep:
		// Tokens of earlier arms wake, too: that is a look in vain.
		if (!s->signals)
			return false;
		s->signals--;
		if (t.tokens)
			t.tokens--;
		else
			t.armed = 0;
		t.pc = kLook;
		return true;
	case kDisarm:
		if (!cpu.Drained())
			return false;
		t.pc = cpu.Swap(kArmed, 0) == 1 || !p.disarm_waits ? kTake : kEat;
		return true;
	case kEat:
		if (!s->signals)
			return false;
		s->signals--;
		t.pc = kTake;
		return true;
	case kLastDisarm:
		if (!cpu.Drained())
			return false;
		if (t.armed && cpu.Swap(kArmed, 0) != 1)
			t.tokens++;
		t.armed = 0;
		t.pc = kLastEat;
		return true;
	case kLastEat:
		if (t.tokens && !s->signals)
			return false;
		if (t.tokens) {
			t.tokens--;
			s->signals--;
		} else {
			t.pc = kDone;
		}
		return true;
	}
	return false;
}

/* --- the worker's: awake (udplane_worker_zone), doorbell eventfd --- */

bool ClientStep(const Protocol &p, State *s)
{
	constexpr uint8_t kPublish = 0, kFence = 1, kLoadAwake = 2, kRing = 3;
	Thread &t = s->thread[kProducer];
	Cpu cpu(s, kProducer);
	uint8_t next = t.idx == p.entries ? kDone : kPublish;

	switch (t.pc) {
	case kPublish:
		if (!cpu.Store(kProd, ++t.idx))
			return false;
		if (t.idx % p.burst == 0 || t.idx == p.entries)
			t.pc = kFence;
		return true;
	case kFence:
		if (p.fence && !cpu.Drained())
			return false;
		t.pc = kLoadAwake;
		return true;
	case kLoadAwake: t.pc = cpu.Load(kAwake) ? next : kRing; return true;
	case kRing:
		s->signals = 1; // an eventfd: however many, one wake-up
		t.pc = next;
		return true;
	}
	return false;
}

bool WorkerStep(const Protocol &p, State *s)
{
	constexpr uint8_t kLook = 0, kTake = 1, kNotAwake = 2, kFence = 3, kRecheck = 4, kSleep = 5,
			  kAwakeAgain = 6;
	Thread &t = s->thread[kConsumer];
	Cpu cpu(s, kConsumer);

	switch (t.pc) {
	case kLook:
		t.seen = cpu.Load(kProd);
		t.pc = t.seen != t.idx ? kTake : kNotAwake;
		return true;
	case kTake:
		t.idx = t.seen;
		t.pc = t.idx == p.entries ? kDone : kLook;
		return true;
	case kNotAwake:
		if (!cpu.Store(kAwake, 0))
			return false;
		t.pc = kFence;
		return true;
	case kFence:
		if (p.fence_in_arm && !cpu.Drained())
			return false;
		t.pc = p.recheck ? kRecheck : kSleep;
		return true;
	case kRecheck:
		t.seen = cpu.Load(kProd);
		t.pc = t.seen == t.idx ? kSleep : kAwakeAgain;
		return true;
	case kSleep:
		if (!s->signals)
			return false;
		s->signals = 0;
		t.pc = kAwakeAgain;
		return true;
	case kAwakeAgain:
		if (!cpu.Store(kAwake, 1))
			return false;
		t.pc = kLook;
		return true;
	}
	return false;
}

/* --- the search --- */

struct Result {
	size_t states = 0;
	bool lost_wakeup = false; // the consumer waits for a signal for ever
	bool left_over = false;	  // a signal or an arm that is not accounted for
	bool slept = false;	  // some way led through a sleep that ended
};

class Search
{
      public:
	Search(const Protocol &p, Step producer, Step consumer) : p_(p), step_{producer, consumer}
	{
	}

	Result Run()
	{
		State start = {};
		std::vector<State> open = {start};

		start.memory[kAwake] = 1;
		open[0] = start;
		seen_.insert(Pack(start));
		while (!open.empty()) {
			State s = open.back();
			open.pop_back();
			bool stuck = true;

			for (const State &next : Successors(s)) {
				stuck = false;
				if (seen_.insert(Pack(next)).second)
					open.push_back(next);
				result_.slept |= next.signals < s.signals;
			}
			if (stuck)
				End(s);
		}
		result_.states = seen_.size();
		return result_;
	}

      private:
	std::vector<State> Successors(const State &s)
	{
		std::vector<State> all;

		for (int who = 0; who < kThreads; who++) {
			State next = s;

			if (s.thread[who].pc != kDone && step_[who](p_, &next))
				all.push_back(next);
			for (int i = 0; i < s.thread[who].buffered; i++) {
				next = s;
				if (!Cpu(&next, who).MayFlush(i, p_.pso))
					continue;
				Cpu(&next, who).Flush(i);
				all.push_back(next);
			}
		}
		return all;
	}

	void End(const State &s)
	{
		if (s.thread[kProducer].pc != kDone || s.thread[kConsumer].pc != kDone)
			result_.lost_wakeup = true;
		else if (s.signals || s.memory[kArmed])
			result_.left_over = true;
	}

	Protocol p_;
	Step step_[kThreads];
	std::set<std::string> seen_;
	Result result_;
};

Result CheckRing(const Protocol &p)
{
	return Search(p, ProducerStep, ConsumerStep).Run();
}

// Runs a check for each number of entries and burst, on both machines.
template <typename F> void ForAll(Protocol p, F check)
{
	for (p.entries = 1; p.entries <= 5; p.entries++)
		for (p.burst = 1; p.burst <= p.entries; p.burst++)
			for (bool pso : {false, true}) {
				p.pso = pso;
				SCOPED_TRACE(std::to_string(p.entries) + " entries, bursts of " +
					     std::to_string(p.burst) + (pso ? ", PSO" : ", TSO"));
				check(p);
			}
}

TEST(RingWakeModel, NoWakeupIsLostAndEverySignalAccountedFor)
{
	size_t states = 0;

	for (bool leave_armed : {false, true})
		for (bool look_at_cons : {false, true}) {
			Protocol p;

			p.leave_armed = leave_armed;
			p.look_at_cons = look_at_cons;
			ForAll(p, [&](const Protocol &q) {
				Result r = CheckRing(q);

				EXPECT_FALSE(r.lost_wakeup);
				EXPECT_FALSE(r.left_over);
				EXPECT_TRUE(r.slept);
				states += r.states;
			});
		}
	EXPECT_GT(states, 10000u);
	RecordProperty("states", static_cast<int>(states));
}

TEST(RingWakeModel, NeedsTheFenceAfterPublish)
{
	Protocol p;

	p.fence = false;
	ForAll(p, [](const Protocol &q) { EXPECT_TRUE(CheckRing(q).lost_wakeup); });
}

TEST(RingWakeModel, NeedsTheLookAfterArm)
{
	Protocol p;

	p.recheck = false;
	ForAll(p, [](const Protocol &q) { EXPECT_TRUE(CheckRing(q).lost_wakeup); });
}

// C11's seq_cst swap orders itself among seq_cst operations only; arm64's swpal lets a later ldapr
// overtake its store.
TEST(RingWakeModel, NeedsABarrierInArm)
{
	Protocol p;

	p.swap_is_barrier = false;
	ForAll(p, [](const Protocol &q) { EXPECT_TRUE(CheckRing(q).lost_wakeup); });
	p.fence_in_arm = true;
	ForAll(p, [](const Protocol &q) { EXPECT_FALSE(CheckRing(q).lost_wakeup); });
}

TEST(RingWakeModel, DisarmMustWaitForALostArmsSignal)
{
	Protocol p;

	p.disarm_waits = false;
	ForAll(p, [](const Protocol &q) {
		Result r = CheckRing(q);

		EXPECT_FALSE(r.lost_wakeup) << "a signal too many wakes in vain";
		EXPECT_TRUE(r.left_over);
	});
}

TEST(DoorbellModel, NoWakeupIsLost)
{
	Protocol p;

	p.fence_in_arm = true;
	ForAll(p, [](const Protocol &q) {
		Result r = Search(q, ClientStep, WorkerStep).Run();

		EXPECT_FALSE(r.lost_wakeup);
		EXPECT_TRUE(r.slept);
	});
}

TEST(DoorbellModel, NeedsBothFencesAndTheLook)
{
	for (int without = 0; without < 3; without++) {
		Protocol p;

		p.fence = without != 0;
		p.fence_in_arm = without != 1;
		p.recheck = without != 2;
		ForAll(p, [&](const Protocol &q) {
			EXPECT_TRUE(Search(q, ClientStep, WorkerStep).Run().lost_wakeup)
				<< "without " << without;
		});
	}
}

} // namespace
