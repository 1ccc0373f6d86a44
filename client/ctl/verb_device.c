/* SPDX-License-Identifier: Apache-2.0 */
// udplanectl device: shows the device that udplaned drives, and its counters.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/ctl/json.h"
#include "client/ctl/names.h"
#include "client/ctl/snapshot.h"
#include "client/ctl/verb.h"

#define NAME_WIDTH 28

static const char usage[] =
	"Usage: udplanectl device [--json]\n"
	"The device that udplaned drives: driver, queues, offloads, interrupts, link, and every\n"
	"counter that is not zero, the driver's own (xstats) among them.\n"
	"\n"
	"  --json               for programs; zeros, too\n" //
	VERB_COMMON_USAGE;

static void print_device(const struct snapshot *s)
{
	printf("%-*s %s\n", NAME_WIDTH, "backend", backend_name(s->backend));
	printf("%-*s %s\n", NAME_WIDTH, "why", s->backend_text);
	if (!s->device[0])
		return;
	printf("%-*s %s (index %d), MTU %u\n", NAME_WIDTH, "interface", s->ifname, s->ifindex,
	       s->mtu);
	printf("%-*s %s\n", NAME_WIDTH, "attached", s->device);
	if (s->mode_text[0])
		printf("%-*s %s\n", NAME_WIDTH, "note", s->mode_text);
	for (const char *line = s->info; *line;) {
		int len = (int)strcspn(line, "\n"), name = (int)strcspn(line, "\t\n");
		int value = name < len ? name + 1 : len;

		printf("%-*.*s %.*s\n", NAME_WIDTH, name, line, len - value, line + value);
		line += len + (line[len] == '\n');
	}
	for (uint32_t i = 0; i < device_counters.cnt; i++)
		if (s->device_counter[i])
			printf("%-*s %" PRIu64 "\n", NAME_WIDTH, device_counters.entry[i].name,
			       s->device_counter[i]);
}

static int show(const struct snapshot *s, bool json)
{
	if (json)
		return json_device(stdout, s);
	print_device(s);
	return 0;
}

int verb_device(const char *socket, int argc, char **argv)
{
	return verb_show("device", usage, socket, argc, argv, show);
}
