/* SPDX-License-Identifier: Apache-2.0 */
/* IPsec policies and traffic control, as rules. Pure. */
#ifndef SIDECAR_ENVIRONMENT_RULES_NET_H
#define SIDECAR_ENVIRONMENT_RULES_NET_H

#include "sidecar/environment/rules.h"

struct nlmsghdr;

#ifdef __cplusplus
extern "C" {
#endif

/* Adds an answer to XFRM_MSG_GETPOLICY. Policies that allow are skipped, since policies next to
 * them may still forbid. */
void rules_xfrm_policy(struct rules *r, const struct nlmsghdr *nlh);
/* Adds the answer to XFRM_MSG_GETDEFAULT. */
void rules_xfrm_default(struct rules *r, const struct nlmsghdr *nlh);

/* Adds an answer to RTM_GETQDISC. Returns how many numbers it wrote to parent[2]: where filters
 * that concern us may be attached (tcmsg.tcm_parent). */
uint32_t rules_tc_qdisc(struct rules *r, const struct nlmsghdr *nlh, int ifindex,
			uint32_t parent[2]);
/* Adds an answer to RTM_GETTFILTER for that parent. */
void rules_tc_filter(struct rules *r, const struct nlmsghdr *nlh, uint32_t parent);
/* Adds a tcx program. */
void rules_tc_program(struct rules *r, bool ingress);

#ifdef __cplusplus
}
#endif

#endif
