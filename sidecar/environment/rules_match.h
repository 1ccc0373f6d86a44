/* SPDX-License-Identifier: Apache-2.0 */
/* Matches one test against a class of datagrams, for rules.c. Pure. */
#ifndef SIDECAR_ENVIRONMENT_RULES_MATCH_H
#define SIDECAR_ENVIRONMENT_RULES_MATCH_H

#include "sidecar/environment/rules.h"

enum match { NEVER, PERHAPS, SURELY };

/* steps: incremented by the number of elements that were looked at. */
enum match match_test(const struct rules *r, const struct rules_class *c,
		      const struct rules_test *t, uint32_t *steps);
/* Returns true if the test looks at that address only. */
bool match_is_address(const struct rules_class *c, const struct rules_test *t, bool source);
/* Returns what narrower classes know and the test looks at: RULES_VARIES_*. */
uint32_t match_varies(const struct rules *r, const struct rules_class *c,
		      const struct rules_test *t);
/* Returns true if the test's result depends on earlier datagrams. */
bool match_state(const struct rules *r, const struct rules_test *t);

/* The elements that a lookup may find. If the key holds an own address and the class has several,
 * they are found for each address: match_variants() goes through these. */
struct match_walk {
	const struct rules *r;
	const struct rules_set *set;
	uint8_t bytes[RULES_KEY], known[RULES_KEY]; /* of the key */
	uint32_t at, end;
	bool rest; /* the element for all other keys is still to come */
	enum match best;
	uint32_t *steps;
};

/* Returns false if the set's elements are unknown. */
bool match_readable(const struct rules *r, const struct rules_lookup *l);
uint32_t match_variants(const struct rules *r, const struct rules_class *c,
			const struct rules_lookup *l);
void match_start(struct match_walk *w, const struct rules *r, const struct rules_class *c,
		 const struct rules_lookup *l, uint32_t variant, uint32_t *steps);
/* Returns the next element that is met surely or perhaps, or NULL. */
const struct rules_element *match_next(struct match_walk *w, enum match *m);

#endif
