/* SPDX-License-Identifier: Apache-2.0 */
#include "client/ctl/names.h"

#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define UDPLANE_COUNTER(id, name, help) {name, help},
static const struct counter_name device_entry[] = {
#include "udplane/counters_device.h"
};
static const struct counter_name worker_entry[] = {
#include "udplane/counters_worker.h"
};
static const struct counter_name socket_entry[] = {
#include "udplane/counters_socket.h"
};
static const struct counter_name control_entry[] = {
#include "udplane/counters_control.h"
};
static const struct counter_name host_entry[] = {
#include "udplane/counters_host.h"
};
static const struct counter_name recent_entry[] = {
#include "udplane/counters_recent.h"
};
#undef UDPLANE_COUNTER

const struct counter_names device_counters = {device_entry, COUNT(device_entry)};
const struct counter_names worker_counters = {worker_entry, COUNT(worker_entry)};
const struct counter_names socket_counters = {socket_entry, COUNT(socket_entry)};
const struct counter_names control_counters = {control_entry, COUNT(control_entry)};
const struct counter_names host_counters = {host_entry, COUNT(host_entry)};
const struct counter_names recent_counters = {recent_entry, COUNT(recent_entry)};

static const struct counter_name reasons[] = {
#define UDPLANE_REASON(id, name, help) {name, help},
#include "udplane/reasons.h"
#undef UDPLANE_REASON
};

static const char *pick(const char *const *names, size_t cnt, uint32_t i)
{
	return i < cnt ? names[i] : "unknown";
}

const char *backend_name(uint32_t backend)
{
	static const char *const names[] = {"kernel", "af_xdp", "vfio"};

	return pick(names, COUNT(names), backend);
}

const char *mode_name(uint32_t mode)
{
	static const char *const names[] = {"balanced", "latency", "powersave"};

	return pick(names, COUNT(names), mode);
}

const char *state_name(uint32_t state)
{
	static const char *const names[] = {"starting", "running", "leaving", "gone"};

	return pick(names, COUNT(names), state);
}

const char *socket_state_name(uint32_t state)
{
	static const char *const names[] = {"free", "active", "pending", "kernel"};

	return pick(names, COUNT(names), state);
}

const char *reason_name(uint32_t reason)
{
	return reason < COUNT(reasons) ? reasons[reason].name : "unknown";
}

const char *reason_help(uint32_t reason)
{
	return reason < COUNT(reasons)
		       ? reasons[reason].help
		       : "udplaned is newer than this udplanectl: use the one of its version";
}

const char *name_after(const char *name, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncmp(name, prefix, len) ? NULL : name + len;
}

uint64_t counters_sum(const struct counter_names *names, const uint64_t *value, const char *prefix)
{
	uint64_t sum = 0;
	uint32_t i;

	for (i = 0; i < names->cnt; i++)
		if (name_after(names->entry[i].name, prefix))
			sum += value[i];
	return sum;
}
