/* SPDX-License-Identifier: Apache-2.0 */
/* The time as all of udplane measures it, by CLOCK_MONOTONIC. It does not jump, it is comparable
 * across threads and processes, and reading it needs no system call (vDSO). No function here fails
 * or sets errno. */
#ifndef UDPLANE_CLOCK_H
#define UDPLANE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_read_ns(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Returns the time in nanoseconds. */
static inline uint64_t clock_now_ns(void)
{
	return clock_read_ns(CLOCK_MONOTONIC);
}

/* Returns the same time in milliseconds. */
static inline uint64_t clock_now_ms(void)
{
	return clock_now_ns() / 1000000u;
}

/* Returns the same time in nanoseconds, up to a tick (1-10 ms) late, at a quarter of the cost. */
static inline uint64_t clock_coarse_ns(void)
{
	return clock_read_ns(CLOCK_MONOTONIC_COARSE);
}

/* Returns the time of day in nanoseconds since 1970, by which the kernel stamps datagrams. It may
 * jump. */
static inline uint64_t clock_real_ns(void)
{
	return clock_read_ns(CLOCK_REALTIME);
}

/* Returns the CPU time of the calling thread in nanoseconds. It does not advance while another
 * thread runs on the core. Makes a system call, which takes 0.2 us. */
static inline uint64_t clock_thread_ns(void)
{
	return clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
}

#endif
