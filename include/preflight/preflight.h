/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is this machine, or container, fit to give a device to udplaned by VFIO (af_xdp.h: by AF_XDP)?
 * Reads /sys, /proc and /dev and says for each thing that matters: ok, or what to do. Changes
 * nothing. Shared by `udplanectl preflight` and udplaned, which runs it at its start.
 *
 * Threads: any; memory is the caller's.
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
	char text[PREFLIGHT_TEXT]; /* what was found; if not ok, what to do */
};

struct preflight {
	struct preflight_check check[PREFLIGHT_MAX];
	uint32_t cnt;
};

struct preflight_options {
	const char *device;	 /* PCI address 0000:03:02.1; NULL or "": the machine alone */
	const char *root;	 /* "" or NULL: /; tests have a tree of their own */
	uint64_t hugepage_bytes; /* of the frames zone; 0: just say what there is */
	uint64_t dpdk_bytes;	 /* that DPDK takes beside it */
	bool hugepages_required;
	bool noiommu; /* asked for by name */
};

/* All that backend vfio wants. */
void preflight_run(struct preflight *p, const struct preflight_options *o);
/* Of the machine alone: hugepages and CPUs, for any backend. Adds to p. */
void preflight_memory(struct preflight *p, const struct preflight_options *o);
/* Adds a check; one too many is left out. */
void preflight_add(struct preflight *p, const char *name, enum preflight_verdict v, const char *fmt,
		   ...) __attribute__((format(printf, 4, 5)));
const char *preflight_verdict_name(enum preflight_verdict v); /* "ok", "warn", "bad" */
/* The worst of all. */
enum preflight_verdict preflight_worst(const struct preflight *p);

#ifdef __cplusplus
}
#endif

#endif
