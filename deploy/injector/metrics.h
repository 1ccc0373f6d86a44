/* SPDX-License-Identifier: Apache-2.0 */
/* Counters of admissions, for Prometheus. Any thread may add and read; each counter is atomic. */
#ifndef UDPLANE_DEPLOY_INJECTOR_METRICS_H
#define UDPLANE_DEPLOY_INJECTOR_METRICS_H

#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#include "deploy/injector/admission.h"
#include "deploy/injector/guard.h"
#include "deploy/injector/text.h"

#define METRICS_BUCKETS 8

struct metrics {
	atomic_uint_fast64_t results[ADMISSION_RESULTS];
	atomic_uint_fast64_t
		buckets[METRICS_BUCKETS + 1]; /* the last counts what exceeds all bounds */
	atomic_uint_fast64_t sum_ns;
	atomic_uint_fast64_t
		refused; /* requests that were not a POST of JSON, were too large, ... */
	atomic_uint_fast64_t reloads, reload_failures;
};

void metrics_add(struct metrics *metrics, enum admission_result result, uint64_t took_ns);

/* Append the counters to *out in the text exposition format. not_after: when the certificate
 * expires. */
void metrics_print(struct metrics *metrics, time_t not_after, struct text *out);
void metrics_print_guard(struct guard_counts counts, struct text *out);

#endif
