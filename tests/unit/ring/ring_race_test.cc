// SPDX-License-Identifier: Apache-2.0
// include/udplane/ring.h between two threads, under ThreadSanitizer too: content and order through
// the wrap of the indices, sleep and wake over a real pipe, the sequence lock.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <udplane/ring.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>
#include <thread>
#include <vector>

namespace
{

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr uint32_t kEntries = 200000;
#else
constexpr uint32_t kEntries = 600000;
#endif
constexpr uint32_t kWakeRounds = 200000;
constexpr int kDeadlineMs = 10000; // for one wait: far beyond any scheduling noise

// Shared memory and the two views of it. Wraps after half of the entries.
struct Shared {
	udplane_ring_head head = {};
	udplane_ring prod, cons;
	std::vector<uint64_t> slot;

	Shared(uint32_t size, uint32_t entries) : slot(size)
	{
		uint32_t start = 0u - entries / 2;

		udplane_ring_init(&prod, &head, size, start);
		udplane_ring_init(&cons, &head, size, start);
		head.prod_idx = head.cons_idx = start;
	}
};

// Entry n's content; a slot that is read too early or overwritten too soon has another.
uint64_t Content(uint32_t n)
{
	return (n + 1) * 0x9e3779b97f4a7c15ull;
}

// Waits a little; on a shared core the peer must get its turn.
void Pause(int *spins)
{
	udplane_pause();
	if (++*spins % 16 == 0)
		sched_yield();
}

// Puts this thread on the first or last of the CPUs, so that the two ends run at the same time
// where they can.
void Pin(const cpu_set_t &may, bool first)
{
	cpu_set_t one;
	int cpu;

	for (cpu = first ? 0 : CPU_SETSIZE - 1; !CPU_ISSET(cpu, &may); cpu += first ? 1 : -1)
		;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
}

void Produce(Shared *s, uint32_t entries, unsigned int seed)
{
	std::mt19937 rng(seed);
	int spins = 0;

	for (uint32_t n = 0; n < entries;) {
		uint32_t want = 1 + rng() % s->slot.size();
		uint32_t free = udplane_ring_free(&s->prod, want);

		ASSERT_NE(free, UDPLANE_RING_CORRUPT);
		want = std::min({want, free, entries - n});
		if (!want) {
			if (testing::Test::HasFailure())
				return; // the other end has given up
			Pause(&spins);
			continue;
		}
		for (uint32_t i = 0; i < want; i++)
			s->slot[udplane_ring_slot(&s->prod, s->prod.idx + i)] = Content(n++);
		udplane_ring_publish(&s->prod, want);
	}
}

void Consume(Shared *s, uint32_t entries, unsigned int seed)
{
	std::mt19937 rng(seed);
	int spins = 0;

	for (uint32_t n = 0; n < entries;) {
		uint32_t want = 1 + rng() % s->slot.size();
		uint32_t avail = udplane_ring_avail(&s->cons, want);

		ASSERT_NE(avail, UDPLANE_RING_CORRUPT);
		want = std::min(want, avail);
		if (!want) {
			if (testing::Test::HasFailure())
				return; // the other end has given up
			Pause(&spins);
			continue;
		}
		for (uint32_t i = 0; i < want; i++)
			ASSERT_EQ(s->slot[udplane_ring_slot(&s->cons, s->cons.idx + i)],
				  Content(n++));
		udplane_ring_consume(&s->cons, want);
	}
}

TEST(RingRace, ContentAndOrder)
{
	for (uint32_t size : {1, 2, 8, 64, 1024}) {
		// A ring of one hands over each entry by itself.
		uint32_t entries = size < 8 ? kEntries / 10 : kEntries;
		Shared s(size, entries);
		std::thread producer(Produce, &s, entries, size);

		Consume(&s, entries, size + 1);
		producer.join();
		EXPECT_EQ(udplane_ring_avail(&s.cons, 1), 0u);
	}
}

/* --- sleep and wake --- */

struct WakeCounts {
	uint64_t signals = 0;  // written to the pipe by the producer
	uint64_t arms = 0;     // by the consumer
	uint64_t taken = 0;    // of these, by the producer, as the consumer concludes
	uint64_t disarmed = 0; // of these, taken back
	uint64_t sleeps = 0;   // ended by a signal
	uint64_t met = 0;      // the look after an arm found something
};

// Up to 16 pauses, but at times many more: a write() that wakes an idle virtual CPU takes the
// producer some 10 us, and a consumer that never spun as long would sleep at every publish.
uint32_t RandomSpin(std::mt19937 *rng)
{
	uint32_t longest = 16u << (*rng)() % 7;

	return (*rng)() % longest;
}

class Sleeper
{
      public:
	Sleeper(Shared *s, int pipe_fd, uint32_t entries, unsigned int seed, WakeCounts *c)
	    : s_(s), fd_(pipe_fd), entries_(entries), rng_(seed), c_(c)
	{
	}

	void Run()
	{
		while (n_ < entries_ && !testing::Test::HasFailure()) {
			if (Take() || TakeSoon())
				continue;
			Arm();
			if (Take()) {
				c_->met++;
				// Came before the sleep. Take the arm back, or let it stand while
				// we work on.
				if (rng_() % 2)
					Disarm();
				continue;
			}
			WaitForSignal();
			if (owed_) {
				owed_--; // an earlier arm's: this one may stand
			} else {
				armed_ = false;
				c_->taken++;
			}
			c_->sleeps++;
		}
		if (armed_)
			Disarm();
		for (; owed_ && !testing::Test::HasFailure(); owed_--)
			WaitForSignal();
	}

      private:
	bool Take()
	{
		uint32_t avail = udplane_ring_avail(&s_->cons, 1);

		if (avail == UDPLANE_RING_CORRUPT)
			ADD_FAILURE() << "corrupt";
		if (!avail || avail == UDPLANE_RING_CORRUPT)
			return false;
		for (uint32_t i = 0; i < avail; i++)
			EXPECT_EQ(s_->slot[udplane_ring_slot(&s_->cons, s_->cons.idx + i)],
				  Content(n_++));
		udplane_ring_consume(&s_->cons, avail);
		return true;
	}

	// Spins for about as long as the producer takes for its next, so that an arm may meet a
	// publish.
	bool TakeSoon()
	{
		for (uint32_t spin = RandomSpin(&rng_); spin > 0; spin--) {
			udplane_pause();
			if (udplane_ring_avail(&s_->cons, 1) != 0)
				return Take();
		}
		return false;
	}

	void Owe()
	{
		c_->taken++;
		owed_++;
	}

	void Arm()
	{
		bool standing = udplane_ring_arm(&s_->cons);

		EXPECT_TRUE(armed_ || !standing);
		if (armed_ && !standing)
			Owe();
		c_->arms += !standing;
		armed_ = true;
	}

	void Disarm()
	{
		if (udplane_ring_disarm(&s_->cons))
			c_->disarmed++;
		else
			Owe();
		armed_ = false;
	}

	void WaitForSignal()
	{
		pollfd p = {fd_, POLLIN, 0};
		char byte;

		ASSERT_EQ(poll(&p, 1, kDeadlineMs), 1) << "lost wake-up after " << n_ << " entries";
		ASSERT_EQ(read(fd_, &byte, 1), 1);
	}

	Shared *s_;
	int fd_;
	uint32_t entries_, n_ = 0;
	std::mt19937 rng_;
	WakeCounts *c_;
	bool armed_ = false;
	uint64_t owed_ = 0; // signals of arms that the producer took while we were not asleep
};

// Publishes one or a few at random moments around those at which the consumer finds the ring empty.
void Waker(Shared *s, cpu_set_t may, int pipe_fd, uint32_t entries, unsigned int seed,
	   WakeCounts *c)
{
	std::mt19937 rng(seed);
	int spins = 0;

	Pin(may, false);
	for (uint32_t n = 0; n < entries && !testing::Test::HasFailure();) {
		uint32_t cnt = std::min<uint32_t>(1 + rng() % 3, entries - n);

		for (uint32_t pause = RandomSpin(&rng); pause > 0; pause--)
			udplane_pause();
		if (udplane_ring_free(&s->prod, cnt) < cnt) {
			Pause(&spins);
			continue;
		}
		for (uint32_t i = 0; i < cnt; i++)
			s->slot[udplane_ring_slot(&s->prod, s->prod.idx + i)] = Content(n++);
		udplane_ring_publish(&s->prod, cnt);
		udplane_fence();
		if (udplane_ring_take_arm(&s->prod)) {
			c->signals++;
			ASSERT_EQ(write(pipe_fd, "w", 1), 1);
		}
	}
}

TEST(RingRace, NoWakeupIsLostAndEverySignalIsAnArms)
{
	constexpr uint32_t kPerRun = 20000;
	WakeCounts all;
	cpu_set_t may;

	ASSERT_EQ(sched_getaffinity(0, sizeof(may), &may), 0);
	Pin(may, true);
	for (unsigned int seed = 0; seed < kWakeRounds / kPerRun && !testing::Test::HasFailure();
	     seed++) {
		uint32_t entries = 2 * kPerRun; // two a publish on average
		Shared s(seed % 2 ? 4 : 64, entries);
		WakeCounts prod, cons;
		int fds[2];
		pollfd left;

		ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
		std::thread producer(Waker, &s, may, fds[1], entries, 2 * seed, &prod);
		Sleeper(&s, fds[0], entries, 2 * seed + 1, &cons).Run();
		producer.join();
		left = {fds[0], POLLIN, 0};
		EXPECT_EQ(poll(&left, 1, 0), 0) << "a signal too many";
		EXPECT_EQ(prod.signals, cons.taken);
		EXPECT_EQ(cons.arms, cons.taken + cons.disarmed);
		EXPECT_FALSE(udplane_ring_is_armed(&s.cons));
		all.arms += cons.arms;
		all.disarmed += cons.disarmed;
		all.sleeps += cons.sleeps;
		all.met += cons.met;
		close(fds[0]);
		close(fds[1]);
	}
	sched_setaffinity(0, sizeof(may), &may);
	printf("%llu arms, %llu sleeps; a publish met an arm %llu times, %llu arms taken back\n",
	       (unsigned long long)all.arms, (unsigned long long)all.sleeps,
	       (unsigned long long)all.met, (unsigned long long)all.disarmed);
}

/* --- sequence lock --- */

TEST(RingRace, SequenceLockGivesWholeCopies)
{
	constexpr uint64_t kWrites = kEntries / 4;
	uint32_t seq = UINT32_MAX - 1001; // even; wraps on the way
	uint64_t data[8] = {};
	uint64_t last = 0, copies = 0;
	int spins = 0;
	std::thread writer([&] {
		for (uint64_t n = 1; n <= kWrites; n++) {
			udplane_seq_begin(&seq);
			for (uint64_t &word : data)
				udplane_store64(&word, n);
			udplane_seq_end(&seq);
			if (n % 512 == 0)
				sched_yield();
		}
	});

	while (last < kWrites) {
		uint32_t seen = udplane_seq_read(&seq);
		uint64_t copy[8];

		for (int i = 0; i < 8; i++)
			copy[i] = udplane_load64(&data[i]);
		if (udplane_seq_retry(&seq, seen)) {
			Pause(&spins);
			continue;
		}
		for (uint64_t word : copy)
			EXPECT_EQ(word, copy[0]);
		EXPECT_GE(copy[0], last);
		last = copy[0];
		copies++;
		if (testing::Test::HasFailure())
			break;
	}
	writer.join();
	EXPECT_GT(copies, 0u);
}

} // namespace
