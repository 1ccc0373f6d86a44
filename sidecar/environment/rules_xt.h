/* SPDX-License-Identifier: Apache-2.0 */
/* x_tables: the tables of iptables-legacy, and the matches and targets that iptables-nft embeds in
 * nftables. Pure. */
#ifndef SIDECAR_ENVIRONMENT_RULES_XT_H
#define SIDECAR_ENVIRONMENT_RULES_XT_H

#include "sidecar/environment/rules.h"

#ifdef __cplusplus
extern "C" {
#endif

/* These add to the rule that was added last. */
void rules_xt_match(struct rules *r, const char *name, uint32_t rev, const void *data,
		    uint32_t len);
void rules_xt_target(struct rules *r, const char *name, uint32_t rev, const void *data,
		     uint32_t len, uint8_t family);

/* What IPT_SO_GET_INFO and IPT_SO_GET_ENTRIES return for a table. Hooks are numbered as
 * NF_INET_*. */
struct rules_xt_table {
	const char *name;
	uint32_t valid_hooks, hook_entry[5], underflow[5];
	const void *entries;
	uint32_t size; /* bytes */
};

/* family: AF_INET or AF_INET6. Returns false if the entries are invalid; what was added must then
 * be dropped. */
bool rules_xt_add(struct rules *r, uint8_t family, const struct rules_xt_table *t);

/* A hash of the entries without their counters, to see whether anything has changed. */
uint64_t rules_xt_hash(uint8_t family, const struct rules_xt_table *t);

#ifdef __cplusplus
}
#endif

#endif
