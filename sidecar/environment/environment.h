/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Linux would do to datagrams besides routing them: packet filters, address translation, IPsec
 * policies, traffic control, and BPF programs, as set up in this network namespace and in the
 * control groups of clients.
 *
 * The kernel is asked at the start and after each change that it reports. nftables is read in
 * slices: until environment_process() says that all is read, the former rules hold. What the kernel
 * does not report (iptables-legacy, IPVS, tcx and control-group programs, the end of translated
 * flows) is checked by environment_poll(), which the caller calls once per second. Control thread
 * only.
 *
 * Not known here: BPF programs of netfilter links, what the host does at its end of a veth,
 * netkit.
 */
#ifndef SIDECAR_ENVIRONMENT_ENVIRONMENT_H
#define SIDECAR_ENVIRONMENT_ENVIRONMENT_H

#include "include/base/error.h"
#include "sidecar/environment/judge.h"

#ifdef __cplusplus
extern "C" {
#endif

struct environment;

/* Reads everything once. trusted: bits 1 << enum judge_kind of kinds that are not looked at,
 * because the administrator has declared that they concern no datagrams. device_asks: as in
 * judge.h. Returns 0, or -errno with `error` set. */
int environment_open(struct environment **out, int ifindex, const char *ifname, uint32_t trusted,
		     bool device_asks, struct error *error);
void environment_close(struct environment *e);
int environment_fd(const struct environment *e); /* readable: call environment_process() */

/* These return true if judgements may have changed. addr: addresses of this namespace, IPv4
 * mapped. */
bool environment_process(struct environment *e);
bool environment_poll(struct environment *e);
bool environment_set_addresses(struct environment *e, const uint8_t (*addr)[16], uint32_t cnt);
/* addr: those IPv4 addresses (mapped) from which the fast path sends datagrams of sockets that are
 * bound to no address. cnt 0 means that it may be any address. */
bool environment_set_sources(struct environment *e, const uint8_t (*addr)[16], uint32_t cnt);

const struct judge_world *environment_world(const struct environment *e);

/* Opens the cgroup v2 control group of a process. If that group cannot be seen from here, opens our
 * own; the programs of their common ancestors are the same. Returns a descriptor that the caller
 * closes, or -1 if there is none. */
int environment_cgroup_open(int top, int pid);
/* Opens the root of cgroup2 as this process sees it. Returns a descriptor that the caller closes,
 * or -1 if there is none. May need CAP_SYS_ADMIN. */
int environment_cgroup_top(void);
/* Returns the bits JUDGE_SEND4 and so on of the programs that act in the group, including those of
 * its ancestors. */
uint32_t environment_cgroup_programs(const struct environment *e, int cgroup_fd);

#ifdef __cplusplus
}
#endif

#endif
