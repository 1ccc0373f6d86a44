/* SPDX-License-Identifier: Apache-2.0 */
/* nftables as dumped by NFT_MSG_GETCHAIN, GETSET, GETSETELEM and GETRULE. Pure. */
#ifndef SIDECAR_ENVIRONMENT_RULES_NFT_H
#define SIDECAR_ENVIRONMENT_RULES_NFT_H

#include "sidecar/environment/rules.h"

struct nlmsghdr;

#ifdef __cplusplus
extern "C" {
#endif

/* Call these in this order: all chains, all sets, the elements of each set, all rules; then
 * rules_finish(). ifname: our device's name. */
void rules_nft_chain(struct rules *r, const struct nlmsghdr *nlh, const char *ifname);
void rules_nft_set(struct rules *r, const struct nlmsghdr *nlh);
void rules_nft_elements(struct rules *r, const struct nlmsghdr *nlh);
void rules_nft_rule(struct rules *r, const struct nlmsghdr *nlh);

#ifdef __cplusplus
}
#endif

#endif
