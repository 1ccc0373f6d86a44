/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks whether this machine or container is fit to give a device to udplaned by VFIO (for AF_XDP
 * see af_xdp.h). Reads /sys, /proc and /dev, and changes nothing. Each check says "ok" or what to
 * do. `udplanectl preflight` uses it, and so does udplaned when it starts.
 *
 * Threads: any. The caller owns all memory.
 */
#ifndef PREFLIGHT_PREFLIGHT_H
#define PREFLIGHT_PREFLIGHT_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PREFLIGHT_MAX  40
#define PREFLIGHT_TEXT 320

enum preflight_verdict { PREFLIGHT_OK, PREFLIGHT_WARN, PREFLIGHT_BAD };

struct preflight_check {
	char name[16];
	enum preflight_verdict verdict;
	char text[PREFLIGHT_TEXT]; /* what was found and, if it is not ok, what to do */
};

struct preflight {
	struct preflight_check check[PREFLIGHT_MAX];
	uint32_t cnt;
};

struct preflight_options {
	const char *device;	 /* PCI address 0000:03:02.1; NULL or "" for the machine alone */
	const char *root;	 /* where tests keep a tree of their own; NULL or "" for / */
	uint64_t hugepage_bytes; /* of the frames zone; 0 to report what there is */
	uint64_t dpdk_bytes;	 /* that DPDK takes in addition */
	bool hugepages_required;
	bool noiommu; /* the user asked for no-IOMMU mode */
};

/* Checks everything that backend vfio needs. */
void preflight_run(struct preflight *p, const struct preflight_options *o);
/* Checks the machine alone, hugepages and CPUs, for any backend. Adds the checks to *p. */
void preflight_memory(struct preflight *p, const struct preflight_options *o);
/* Adds a check, unless PREFLIGHT_MAX checks are there already. */
void preflight_add(struct preflight *p, const char *name, enum preflight_verdict v, const char *fmt,
		   ...) __attribute__((format(printf, 4, 5)));
const char *preflight_verdict_name(enum preflight_verdict v); /* "ok", "warn", "bad" */
/* Returns the worst verdict of all checks. */
enum preflight_verdict preflight_worst(const struct preflight *p);

#ifdef __cplusplus
}
#endif

#endif
