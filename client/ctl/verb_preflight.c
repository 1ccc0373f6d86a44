/* SPDX-License-Identifier: Apache-2.0 */
// udplanectl preflight: checks whether this machine is fit for AF_XDP on an interface, or for a NIC
// by VFIO.
#include <stdio.h>

#include "client/ctl/args.h"
#include "client/ctl/json.h"
#include "client/ctl/verb.h"
#include "include/preflight/af_xdp.h"
#include "include/preflight/memory_need.h"
#include "include/preflight/preflight.h"

static const char usage[] =
	"Usage: udplanectl preflight --interface IF [--attach] [--json]\n"
	"       udplanectl preflight [--device ADDR] [--noiommu] [--json]\n"
	"Is this machine, or container, fit for the backend af_xdp on an interface, or vfio? Says "
	"for\n"
	"each thing that matters: ok, or what to do. Needs no udplaned. Exit status: 0 fit "
	"(warnings\n"
	"or not), 1 not.\n"
	"af_xdp: kernel, capabilities, locked memory, the interface's kind, MTU, queues, XDP "
	"program\n"
	"and native XDP, hugepages, CPUs. vfio: IOMMU, group, driver, device nodes, locked "
	"memory,\n"
	"TAP, hugepages, CPUs.\n"
	"\n"
	"  --interface IF       of this network namespace, such as eth0\n"
	"  --attach             attach an XDP program for a moment to a NIC, too, whose driver may "
	"take\n"
	"                       the link down for it; veth and the like are tried without\n"
	"  --device ADDR        PCI address such as 0000:03:02.1; without: the machine alone\n"
	"  --noiommu            as udplaned with vfio_noiommu on\n"
	"  --json               for programs\n" //
	VERB_COMMON_USAGE;

static void print_checks(const struct preflight *p)
{
	for (uint32_t i = 0; i < p->cnt; i++)
		printf("%-4s %-13s %s\n", preflight_verdict_name(p->check[i].verdict),
		       p->check[i].name, p->check[i].text);
}

static void check_interface(struct preflight *p, const char *interface, bool attach,
			    struct preflight_options *o)
{
	struct af_xdp_facts facts;

	o->dpdk_bytes = 0;
	p->cnt = 0;
	af_xdp_facts_read(&facts, interface, NULL, attach);
	preflight_af_xdp(p, &facts, o->hugepage_bytes);
	preflight_memory(p, o);
}

int verb_preflight(const char *socket, int argc, char **argv)
{
	struct preflight_options o = {.hugepage_bytes = memory_need_frames(MEMORY_NEED_FRAMES, 0),
				      .dpdk_bytes = memory_need_dpdk(MEMORY_NEED_FRAMES)};
	const char *interface = NULL;
	bool json = false, attach = false;
	const struct flag flags[] = {
		{"interface", FLAG_TEXT, &interface, 0}, {"attach", FLAG_SWITCH, &attach, 0},
		{"device", FLAG_TEXT, &o.device, 0},	 {"noiommu", FLAG_SWITCH, &o.noiommu, 0},
		{"json", FLAG_SWITCH, &json, 0},	 {0},
	};
	struct args a = {"preflight", usage, flags, &socket, NULL, NULL};
	struct preflight p;
	int ret = args_parse(&a, argc, argv);

	if (ret)
		return verb_args_status(ret);
	if (interface && (o.device || o.noiommu)) {
		fprintf(stderr, "udplanectl: preflight: --interface is of backend af_xdp, --device "
				"and --noiommu of vfio: ask for one of them\n");
		return EXIT_USAGE;
	}
	if (interface)
		check_interface(&p, interface, attach, &o);
	else
		preflight_run(&p, &o);
	if (json)
		json_preflight(stdout, &p);
	else
		print_checks(&p);
	return preflight_worst(&p) == PREFLIGHT_BAD ? EXIT_BAD : 0;
}
