/* SPDX-License-Identifier: Apache-2.0 */
/* nftables as dumped by NFT_MSG_GETCHAIN and NFT_MSG_GETRULE. Sets and maps are not read: what
 * looks into one is met perhaps. Pure. */
#ifndef SIDECAR_ENVIRONMENT_RULES_NFT_H
#define SIDECAR_ENVIRONMENT_RULES_NFT_H

#include "sidecar/environment/rules.h"

struct nlmsghdr;

#ifdef __cplusplus
extern "C" {
#endif

/* ifname: our device's. Call it for all chains before the first rule. */
void rules_nft_chain(struct rules *r, const struct nlmsghdr *nlh, const char *ifname);
void rules_nft_rule(struct rules *r, const struct nlmsghdr *nlh);

#ifdef __cplusplus
}
#endif

#endif
