// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "client/ctl/args.h"
#include "client/ctl/json.h"
#include "client/ctl/verb.h"
#include "deploy/preflight/preflight.h"

/* Of udplaned's default, 16384 frames of 2 KiB, and as in sidecar/device/vfio/target.h. */
#define DEFAULT_BYTES (32u << 20)
#define DEFAULT_DPDK_BYTES (20u << 20)

static const char usage[] =
	"Usage: udplanectl preflight [--device ADDR] [--noiommu] [--json]\n"
	"Is this machine, or container, fit for the backend vfio? Checks IOMMU, group, driver,\n"
	"device nodes, locked memory, TAP, hugepages and CPUs, and says for each: ok, or what to "
	"do.\n"
	"Changes nothing and needs no udplaned. Exit status: 0 fit (warnings or not), 1 not.\n"
	"\n"
	"  --device ADDR        PCI address such as 0000:03:02.1; without: the machine alone\n"
	"  --noiommu            as udplaned with vfio_noiommu on\n"
	"  --json               for programs\n" //
	VERB_COMMON_USAGE;

static void print_checks(const struct preflight *p)
{
	for (uint32_t i = 0; i < p->cnt; i++)
		printf("%-4s %-10s %s\n", preflight_verdict_name(p->check[i].verdict),
		       p->check[i].name, p->check[i].text);
}

int verb_preflight(const char *socket, int argc, char **argv)
{
	struct preflight_options o = {.hugepage_bytes = DEFAULT_BYTES, .dpdk_bytes = DEFAULT_DPDK_BYTES};
	bool json = false;
	const struct flag flags[] = {
		{"device", FLAG_TEXT, &o.device, 0},
		{"noiommu", FLAG_SWITCH, &o.noiommu, 0},
		{"json", FLAG_SWITCH, &json, 0},
		{0},
	};
	struct args a = {"preflight", usage, flags, &socket, NULL, NULL};
	struct preflight p;
	int ret = args_parse(&a, argc, argv);

	if (ret)
		return verb_args_status(ret);
	preflight_run(&p, &o);
	if (json)
		json_preflight(stdout, &p);
	else
		print_checks(&p);
	return preflight_worst(&p) == PREFLIGHT_BAD ? EXIT_BAD : 0;
}
