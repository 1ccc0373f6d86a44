/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/control/host.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

void host_parse_dev(FILE *f, const char *ifname, uint64_t *out)
{
	char line[512], name[32];
	uint64_t rx, tx;

	while (fgets(line, sizeof(line), f)) {
		/* name: bytes packets errs drop fifo frame compressed multicast | bytes packets ...
		 */
		if (sscanf(line, " %31[^: ]: %*u %" SCNu64 " %*u %*u %*u %*u %*u %*u %*u %" SCNu64,
			   name, &rx, &tx) != 3)
			continue;
		if (strcmp(name, ifname)) {
			out[UDPLANE_HOST_OTHER_RX] += rx;
			continue;
		}
		out[UDPLANE_HOST_INTERFACE_RX] += rx;
		out[UDPLANE_HOST_INTERFACE_TX] += tx;
	}
}

static void add(uint64_t *out, const char *name, uint64_t value)
{
	if (!strcmp(name, "InDatagrams"))
		out[UDPLANE_HOST_UDP_IN] += value;
	else if (!strcmp(name, "RcvbufErrors"))
		out[UDPLANE_HOST_UDP_IN_LOST] += value;
	else if (!strcmp(name, "OutDatagrams"))
		out[UDPLANE_HOST_UDP_OUT] += value;
}

/* A line of names, then a line of values, which both begin with "Udp:". */
void host_parse_snmp(FILE *f, uint64_t *out)
{
	char names[1024], values[1024], *name_at, *value_at, *name, *value;

	while (fgets(names, sizeof(names), f)) {
		if (strncmp(names, "Udp: ", 5))
			continue;
		if (!fgets(values, sizeof(values), f) || strncmp(values, "Udp: ", 5))
			return;
		name_at = names + 5;
		value_at = values + 5;
		while ((name = strsep(&name_at, " \n")) && (value = strsep(&value_at, " \n"))) {
			uint64_t n;

			if (sscanf(value, "%" SCNu64, &n) == 1)
				add(out, name, n);
		}
		return;
	}
}

void host_parse_snmp6(FILE *f, uint64_t *out)
{
	char line[128], name[64];
	uint64_t n;

	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "Udp6%63s %" SCNu64, name, &n) == 2)
			add(out, name, n);
}

void host_read(const char *ifname, uint64_t *out)
{
	FILE *f;

	memset(out, 0, UDPLANE_HOST_COUNTER_CNT * sizeof(*out));
	f = fopen("/proc/net/dev", "re");
	if (f) {
		host_parse_dev(f, ifname, out);
		fclose(f);
	}
	f = fopen("/proc/net/snmp", "re");
	if (f) {
		host_parse_snmp(f, out);
		fclose(f);
	}
	f = fopen("/proc/net/snmp6", "re");
	if (f) {
		host_parse_snmp6(f, out);
		fclose(f);
	}
}
