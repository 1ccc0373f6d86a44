/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks whether this machine or container is fit for backend af_xdp on an interface, in two steps:
 * af_xdp_facts_read() asks the kernel, and preflight_af_xdp() judges. Tests can thus run the second
 * step without a real machine. Each check says "ok" or what to do.
 *
 * Packet filter rules, IPsec policies, traffic control and cgroup programs are judged by a module
 * of their own, which may add its checks to the same struct preflight by preflight_add().
 *
 * Threads: any, but one at a time per interface. The caller owns all memory.
 */
#ifndef PREFLIGHT_AF_XDP_H
#define PREFLIGHT_AF_XDP_H

#include <net/if.h>

#include "include/preflight/preflight.h"

#ifdef __cplusplus
extern "C" {
#endif

enum af_xdp_try {
	AF_XDP_TRY_NOT, /* attaching was not tried */
	AF_XDP_TRY_NATIVE,
	AF_XDP_TRY_GENERIC, /* native mode was refused with try_err */
	AF_XDP_TRY_NONE,    /* both modes were refused, generic mode with try_err */
};

struct af_xdp_facts {
	unsigned int kernel_major, kernel_minor;
	bool btf;
	uint64_t caps;	  /* effective capabilities, as bits */
	int socket_err;	  /* 0, or errno of opening an AF_XDP socket */
	uint64_t memlock; /* bytes that may be locked; UINT64_MAX if unlimited */

	char interface[IFNAMSIZ];
	bool exists;
	bool ethernet, up, running;
	uint32_t mtu, rx_queues;
	bool peer_elsewhere;   /* the other end is in another network namespace */
	char kind[32];	       /* "veth", "bond", ...; "" if not a software device */
	char driver[32];       /* as ethtool shows it; "" if unknown */
	char master[IFNAMSIZ]; /* the device of which it is a port; "" if none */
	char master_kind[32];  /* "bridge", ... */
	uint32_t xdp_id;       /* id of the attached XDP program; 0 if none */
	char xdp_name[32];     /* name of that program; "" if unknown */
	/* The larger value of "all" and the interface. 0: off, 1: strict, 2: loose, -1: unknown. */
	int rp_filter;

	enum af_xdp_try try_;
	int try_err;
};

/*
 * Reads the facts in this network namespace. Also tries to attach a program that passes every
 * frame, and detaches it at once, unless a program is attached already.
 *
 * root:   as in preflight_options
 * attach: try this on every device. If false, try it only on software devices (veth, ...), since
 *         the driver of a NIC may take the link down for it.
 */
void af_xdp_facts_read(struct af_xdp_facts *facts, const char *interface, const char *root,
		       bool attach);

/* Adds the checks to *p. Pure. bytes: packet memory that udplaned will lock. */
void preflight_af_xdp(struct preflight *p, const struct af_xdp_facts *facts, uint64_t bytes);

#ifdef __cplusplus
}
#endif

#endif
