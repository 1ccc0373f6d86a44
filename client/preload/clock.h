/* SPDX-License-Identifier: Apache-2.0 */
/* The time limit of a wait, in the forms in which programs give it. */
#ifndef UDPLANE_PRELOAD_CLOCK_H
#define UDPLANE_PRELOAD_CLOCK_H

#include <stdint.h>
#include <time.h>
#include <udplane/clock.h>

#define NO_LIMIT UINT64_MAX

/* Each returns the time at which the wait ends; 0 if it must not wait; or NO_LIMIT. */
static inline uint64_t limit_after(uint64_t ns)
{
	return ns ? clock_now_ns() + ns : 0;
}
static inline uint64_t limit_ms(int ms)
{
	return ms < 0 ? NO_LIMIT : limit_after((uint64_t)ms * 1000000u);
}
static inline uint64_t limit_timespec(const struct timespec *ts)
{
	if (!ts)
		return NO_LIMIT;
	if ((uint64_t)ts->tv_sec > UINT64_MAX / 4000000000u)
		return NO_LIMIT;
	return limit_after((uint64_t)ts->tv_sec * 1000000000u + (uint64_t)ts->tv_nsec);
}
/* Returns how long to sleep: at most until the limit, and at most most_ns. */
static inline struct timespec limit_left(uint64_t limit, uint64_t most_ns)
{
	uint64_t now = clock_now_ns(), left = limit <= now ? 0 : limit - now;

	if (left > most_ns)
		left = most_ns;
	return (struct timespec){(time_t)(left / 1000000000u), (long)(left % 1000000000u)};
}

#endif
