/* SPDX-License-Identifier: Apache-2.0 */
/* See spin.h. */
#include "client/preload/spin.h"
#include "client/attach.h"
#include "client/base.h"
#include "client/context.h"
#include <sched.h>
#include <udplane/clock.h>
#include <udplane/ring.h>

/* Fewer CPUs than a worker, this thread and one more. */
static bool must_yield(void)
{
	static uint32_t spins;
	static bool yield;
	cpu_set_t set;

	if (context.yield >= 0)
		return context.yield;
	if (__atomic_fetch_add(&spins, 1, __ATOMIC_RELAXED) % 4096 == 0)
		__atomic_store_n(&yield,
				 sched_getaffinity(0, sizeof(set), &set) || CPU_COUNT(&set) < 3,
				 __ATOMIC_RELAXED);
	return __atomic_load_n(&yield, __ATOMIC_RELAXED);
}

void spin_begin(struct spin *s, uint64_t limit_ns)
{
	uint64_t now = clock_now_ns();

	s->end_ns = now + context.spin_ns < limit_ns ? now + context.spin_ns : limit_ns;
	s->look_ns = now + RX_SPIN_KERNEL_EARLY_NS;
	s->turns = 0;
	s->yield = must_yield();
}

bool spin_more(struct spin *s)
{
	s->turns++;
	if (s->yield)
		sched_yield();
	else
		udplane_pause();
	return (!s->yield && s->turns % 16) || clock_now_ns() < s->end_ns;
}

bool spin_look_due(struct spin *s)
{
	uint64_t now;

	if (!s->yield && s->turns % 16)
		return false;
	now = clock_now_ns();
	if (now < s->look_ns)
		return false;
	s->look_ns = now + RX_SPIN_KERNEL_NS;
	return true;
}
