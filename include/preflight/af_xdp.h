/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is this machine, or container, fit for backend af_xdp on an interface? In two steps, so that the
 * second can be tested without any machine: af_xdp_facts_read() asks the kernel, preflight_af_xdp()
 * judges, and says for each thing: ok, or what to do.
 *
 * Rules of packet filters, IPsec policies, traffic control and programs of cgroups are judged by
 * their own module, which may add its checks to the same struct preflight by preflight_add().
 *
 * Threads: any, one at a time for an interface; memory is the caller's.
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
	AF_XDP_TRY_GENERIC, /* native was refused: try_err */
	AF_XDP_TRY_NONE,    /* both were: try_err of the last */
};

struct af_xdp_facts {
	unsigned int kernel_major, kernel_minor;
	bool btf;
	uint64_t caps;	  /* effective ones */
	int socket_err;	  /* 0, or errno of an AF_XDP socket */
	uint64_t memlock; /* bytes that may be locked; UINT64_MAX: any */

	char interface[IFNAMSIZ];
	bool exists;
	bool ethernet, up, running;
	uint32_t mtu, rx_queues;
	bool peer_elsewhere;   /* the other end is in another network namespace */
	char kind[32];	       /* "veth", "bond", ...; "": a device of its own */
	char driver[32];       /* as ethtool says; "" unknown */
	char master[IFNAMSIZ]; /* it is a port of; "" of none */
	char master_kind[32];  /* "bridge", ... */
	uint32_t xdp_id;       /* of the XDP program attached; 0: none */
	char xdp_name[32];     /* "" unknown */
	/* the larger of "all" and the interface's: 0 off, 1 strict, 2 loose; -1 unknown */
	int rp_filter;

	enum af_xdp_try try_;
	int try_err;
};

/*
 * Reads them in this network namespace. attach: attaches a program that passes everything, and
 * takes it away at once, unless there is one; without it only on software devices (veth, ...), as a
 * NIC's driver may take the link down for it. `root` as in preflight_options.
 */
void af_xdp_facts_read(struct af_xdp_facts *facts, const char *interface, const char *root,
		       bool attach);

/* Adds its checks. Pure. `bytes` of packet memory want to be locked. */
void preflight_af_xdp(struct preflight *p, const struct af_xdp_facts *facts, uint64_t bytes);

#ifdef __cplusplus
}
#endif

#endif
