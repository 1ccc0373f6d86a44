/* SPDX-License-Identifier: Apache-2.0 */
/* Names and meanings of the numbers in the stats zone, from the tables in include/udplane.
 * Read-only data. */
#ifndef UDPLANE_CLIENT_CTL_NAMES_H
#define UDPLANE_CLIENT_CTL_NAMES_H

#include <stdint.h>

#include "udplane/abi.h"

#ifdef __cplusplus
extern "C" {
#endif

struct counter_name {
	const char *name, *help;
};

/* A table in the order of its enum, and the number of its entries. */
struct counter_names {
	const struct counter_name *entry;
	uint32_t cnt;
};

extern const struct counter_names device_counters, worker_counters, socket_counters,
	control_counters, host_counters, recent_counters;

/* These never return NULL. The name of a number that this build does not know is "unknown". */
const char *backend_name(uint32_t backend);
const char *mode_name(uint32_t mode);
const char *state_name(uint32_t state);
const char *socket_state_name(uint32_t state);
const char *reason_name(uint32_t reason);
const char *reason_help(uint32_t reason); /* what to do */

/* Returns the sum of the counters whose names start with `prefix`. */
uint64_t counters_sum(const struct counter_names *names, const uint64_t *value, const char *prefix);

/* Returns the part of `name` after `prefix`, or NULL if `name` does not start with `prefix`. */
const char *name_after(const char *name, const char *prefix);

#ifdef __cplusplus
}
#endif

#endif
