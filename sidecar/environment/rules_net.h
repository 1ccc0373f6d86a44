/* SPDX-License-Identifier: Apache-2.0 */
/* IPsec policies and traffic control, as rules. Pure. */
#ifndef SIDECAR_ENVIRONMENT_RULES_NET_H
#define SIDECAR_ENVIRONMENT_RULES_NET_H

#include "sidecar/environment/rules.h"

struct nlmsghdr;

#ifdef __cplusplus
extern "C" {
#endif

/* Of a dump of XFRM_MSG_GETPOLICY. Policies that allow are passed over: what others forbid beside
 * them counts. */
void rules_xfrm_policy(struct rules *r, const struct nlmsghdr *nlh);
/* The answer to XFRM_MSG_GETDEFAULT. */
void rules_xfrm_default(struct rules *r, const struct nlmsghdr *nlh);

/* Of a dump of RTM_GETQDISC. Returns how many numbers it wrote to parent[2]: where filters of ours
 * may hang (tcmsg.tcm_parent). */
uint32_t rules_tc_qdisc(struct rules *r, const struct nlmsghdr *nlh, int ifindex,
			uint32_t parent[2]);
/* Of a dump of RTM_GETTFILTER with that parent. */
void rules_tc_filter(struct rules *r, const struct nlmsghdr *nlh, uint32_t parent);
/* A program of the tcx kind hangs there. */
void rules_tc_program(struct rules *r, bool ingress);

#ifdef __cplusplus
}
#endif

#endif
