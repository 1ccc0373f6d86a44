/* SPDX-License-Identifier: Apache-2.0 */
/* Private to sidecar/environment: what rules.c takes from rules_set.c. */
#ifndef SIDECAR_ENVIRONMENT_RULES_SET_H
#define SIDECAR_ENVIRONMENT_RULES_SET_H

#include "sidecar/environment/rules.h"

uint64_t rules_hash(const char *make, uint8_t family, const char *table, const char *name);
/* Makes room for one more. Returns false if there is no memory, and r->failed is set. */
bool rules_grow(struct rules *r, void **items, uint32_t cnt, uint32_t *room, size_t size);
uint32_t rules_index_find(const struct rules_index *x, uint64_t hash); /* RULES_NONE: none */
bool rules_index_put(struct rules *r, struct rules_index *x, uint64_t hash, uint32_t number);

#endif
