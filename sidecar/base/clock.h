/* SPDX-License-Identifier: Apache-2.0 */
#ifndef UDPLANE_SIDECAR_BASE_CLOCK_H
#define UDPLANE_SIDECAR_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* CLOCK_MONOTONIC in nanoseconds: no system call (vDSO), does not jump, comparable across threads
 * and processes. */
static inline uint64_t clock_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* CPU time of the calling thread in nanoseconds: stands still while another thread has the core. A
 * system call, 0.2 us. */
static inline uint64_t clock_thread_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

#endif
