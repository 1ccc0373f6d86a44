/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crowd N ADDRESS PORT: claims N SO_REUSEPORT sockets on one port, then exits without releasing
 * them. Prints two lines of JSON: how many were claimed, and how long one claim took at the
 * beginning and at the end (microseconds, the median of 100); and how long others waited for an
 * answer at most until udplaned had released all (milliseconds; negative: one got none), and how
 * long that took.
 */
#include "tests/attack/hostile.h"

#define SOME 100

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median_us(const double *took)
{
	double some[SOME];

	memcpy(some, took, sizeof(some));
	qsort(some, SOME, sizeof(*some), by_value);
	return some[SOME / 2] * 1e6;
}

static int claim_all(struct hostile *h, int cnt, const char *ip, uint16_t port, double *took)
{
	struct hostile_socket s;

	for (int i = 0; i < cnt; i++) {
		int fd = hostile_udp(ip, port, SO_REUSEPORT), err;
		double begin = hostile_now();

		err = hostile_claim(h, fd, &s, 5000);
		took[i] = hostile_now() - begin;
		if (err) {
			fprintf(stderr, "claim %d: %d %s\n", i, err, s.claimed.text);
			return i;
		}
	}
	return cnt;
}

static uint64_t claimed_now(const struct udplane_stats_zone *z)
{
	return __atomic_load_n(&z->control_counter[UDPLANE_CONTROL_SOCKETS], __ATOMIC_RELAXED);
}

int main(int argc, char **argv)
{
	static struct hostile h;
	int cnt = argc == 4 ? atoi(argv[1]) : 0, got;
	double *took = calloc((size_t)cnt + 1, sizeof(*took)), begin, wait, most = 0;
	uint64_t before;

	if (cnt < SOME)
		return 2;
	hostile_all_descriptors();
	if (hostile_attach(&h, 0, 5000))
		return 1;
	before = claimed_now((const void *)h.stats);
	got = claim_all(&h, cnt, argv[2], (uint16_t)atoi(argv[3]), took);
	printf("{\"claimed\": %d, \"first_us\": %.0f, \"last_us\": %.0f}\n", got, median_us(took),
	       median_us(took + got - SOME));
	fflush(stdout);
	begin = hostile_now();
	close(h.fd);
	do {
		wait = hostile_ask_as_observer(10000);
		most = wait < 0 || wait > most ? wait : most;
	} while (wait >= 0 && claimed_now((const void *)h.stats) > before &&
		 hostile_now() < begin + 20);
	printf("{\"answer_ms\": %.1f, \"released_ms\": %.0f, \"left\": %lu}\n", most * 1e3,
	       (hostile_now() - begin) * 1e3,
	       (unsigned long)(claimed_now((const void *)h.stats) - before));
	return 0;
}
