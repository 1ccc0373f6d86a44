/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this network namespace and the control groups of clients would do to datagrams beside
 * routing: packet filters, address translation, IPsec policies, traffic control, BPF programs.
 * Asked of the kernel at the start and at each change that it tells (nftables in slices: the rules
 * are the former ones until environment_process() says that all is read); what it does not tell
 * (iptables-legacy, tcx and control-group programs, ends of translated flows) is looked at by
 * environment_poll(), once a second. Control thread only.
 *
 * Not known here: IPVS, BPF programs of netfilter links, what the host does at its end of a veth,
 * netkit.
 */
#ifndef SIDECAR_ENVIRONMENT_ENVIRONMENT_H
#define SIDECAR_ENVIRONMENT_ENVIRONMENT_H

#include "sidecar/environment/judge.h"

#ifdef __cplusplus
extern "C" {
#endif

struct environment;

/* trusted: 1 << enum judge_kind: not looked at, because the administrator has declared that it
 * concerns no datagrams. device_asks: as in judge.h. 0 or -errno, with text. */
int environment_open(struct environment **out, int ifindex, const char *ifname, uint32_t trusted,
		     bool device_asks, char *text, size_t text_len);
void environment_close(struct environment *e);
int environment_fd(const struct environment *e); /* readable: call environment_process() */

/* True: judgements may have changed. */
bool environment_process(struct environment *e);
bool environment_poll(struct environment *e);
bool environment_set_addresses(struct environment *e, const uint8_t (*addr)[16], uint32_t cnt);
/* IPv4 (mapped): of these addresses those from which the fast path sends what is bound to none;
 * none: any. */
bool environment_set_sources(struct environment *e, const uint8_t (*addr)[16], uint32_t cnt);

const struct judge_world *environment_world(const struct environment *e);

/* A control group of cgroup v2: that of a process, or our own where it cannot be seen from here
 * (whose programs from the ancestors are the same); -1: there is none. The caller closes it. */
int environment_cgroup_open(int top, int pid);
/* The top of cgroup2 as this process sees it, to be closed by the caller; -1: there is none. May
 * take CAP_SYS_ADMIN. */
int environment_cgroup_top(void);
/* JUDGE_SEND4 ... of the programs that act in it, its ancestors' included. */
uint32_t environment_cgroup_programs(const struct environment *e, int cgroup_fd);

#ifdef __cplusplus
}
#endif

#endif
