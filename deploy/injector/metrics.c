/* SPDX-License-Identifier: Apache-2.0 */
#include "deploy/injector/metrics.h"

#include <inttypes.h>

static const uint64_t bounds_us[METRICS_BUCKETS] = {100, 250, 500, 1000, 2500, 5000, 25000, 100000};

void metrics_add(struct metrics *metrics, enum admission_result result, uint64_t took_ns)
{
	unsigned int i = 0;

	while (i < METRICS_BUCKETS && took_ns > bounds_us[i] * 1000)
		i++;
	atomic_fetch_add(&metrics->buckets[i], 1);
	atomic_fetch_add(&metrics->sum_ns, took_ns);
	atomic_fetch_add(&metrics->results[result], 1);
}

static void head(struct text *out, const char *name, const char *type, const char *help)
{
	text_print(out, "# HELP udplane_injector_%s %s\n# TYPE udplane_injector_%s %s\n", name,
		   help, name, type);
}

static void print_durations(struct metrics *metrics, struct text *out)
{
	uint64_t sum_ns = atomic_load(&metrics->sum_ns), count = 0;
	unsigned int i;

	head(out, "review_duration_seconds", "histogram",
	     "Time from a review's last byte to its answer.");
	for (i = 0; i <= METRICS_BUCKETS; i++) {
		count += atomic_load(&metrics->buckets[i]);
		if (i < METRICS_BUCKETS)
			text_print(out,
				   "udplane_injector_review_duration_seconds_bucket{le=\"%" PRIu64
				   ".%06" PRIu64 "\"} %" PRIu64 "\n",
				   bounds_us[i] / 1000000, bounds_us[i] % 1000000, count);
	}
	text_print(out,
		   "udplane_injector_review_duration_seconds_bucket{le=\"+Inf\"} %" PRIu64 "\n"
		   "udplane_injector_review_duration_seconds_sum %" PRIu64 ".%09" PRIu64 "\n"
		   "udplane_injector_review_duration_seconds_count %" PRIu64 "\n",
		   count, sum_ns / 1000000000, sum_ns % 1000000000, count);
}

void metrics_print(struct metrics *metrics, time_t not_after, struct text *out)
{
	int i;

	head(out, "reviews_total", "counter", "Admission reviews by what came of them.");
	for (i = 0; i < ADMISSION_RESULTS; i++)
		text_print(out, "udplane_injector_reviews_total{result=\"%s\"} %" PRIu64 "\n",
			   admission_result_name((enum admission_result)i),
			   (uint64_t)atomic_load(&metrics->results[i]));
	head(out, "refused_requests_total", "counter", "Requests that were no reviews.");
	text_print(out, "udplane_injector_refused_requests_total %" PRIu64 "\n",
		   (uint64_t)atomic_load(&metrics->refused));
	print_durations(metrics, out);
	head(out, "certificate_reloads_total", "counter", "Changes of the certificate files.");
	text_print(out,
		   "udplane_injector_certificate_reloads_total{result=\"done\"} %" PRIu64 "\n"
		   "udplane_injector_certificate_reloads_total{result=\"failed\"} %" PRIu64 "\n",
		   (uint64_t)atomic_load(&metrics->reloads),
		   (uint64_t)atomic_load(&metrics->reload_failures));
	head(out, "certificate_expiry_timestamp_seconds", "gauge", "When the certificate ends.");
	text_print(out, "udplane_injector_certificate_expiry_timestamp_seconds %lld\n",
		   (long long)not_after);
}

void metrics_print_guard(struct guard_counts counts, struct text *out)
{
	head(out, "connections", "gauge", "Connections to the HTTPS port.");
	text_print(out, "udplane_injector_connections %u\n", counts.open);
	head(out, "connections_cut_total", "counter",
	     "Connections that were cut: for a newcomer or another's body, or past a deadline.");
	text_print(out,
		   "udplane_injector_connections_cut_total{reason=\"room\"} %" PRIu64 "\n"
		   "udplane_injector_connections_cut_total{reason=\"deadline\"} %" PRIu64 "\n",
		   counts.evicted, counts.expired);
}
