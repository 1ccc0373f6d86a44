/* SPDX-License-Identifier: Apache-2.0 */
/* One test, and a class of datagrams: for rules.c. Pure. */
#ifndef SIDECAR_ENVIRONMENT_RULES_MATCH_H
#define SIDECAR_ENVIRONMENT_RULES_MATCH_H

#include "sidecar/environment/rules.h"

enum match { NEVER, PERHAPS, SURELY };

/* steps: counts the elements looked at. */
enum match match_test(const struct rules *r, const struct rules_class *c,
		      const struct rules_test *t, uint32_t *steps);
/* Does the test look at that address only? */
bool match_is_address(const struct rules_class *c, const struct rules_test *t, bool source);
/* Does it look at what narrower classes know? RULES_VARIES_* */
uint32_t match_varies(const struct rules *r, const struct rules_class *c,
		      const struct rules_test *t);
/* Does its result depend on what was sent or received before? */
bool match_state(const struct rules *r, const struct rules_test *t);

/* The elements that a lookup may find. Of a class with several own addresses that the key holds,
 * for each of them: match_variants() walks. */
struct match_walk {
	const struct rules *r;
	const struct rules_set *set;
	uint8_t bytes[RULES_KEY], known[RULES_KEY]; /* of the key */
	uint32_t at, end;
	bool rest; /* the element for everything else is still to come */
	enum match best;
	uint32_t *steps;
};

/* False: what is in the set is not known. */
bool match_readable(const struct rules *r, const struct rules_lookup *l);
uint32_t match_variants(const struct rules *r, const struct rules_class *c,
			const struct rules_lookup *l);
void match_start(struct match_walk *w, const struct rules *r, const struct rules_class *c,
		 const struct rules_lookup *l, uint32_t variant, uint32_t *steps);
/* The next that is met, at least perhaps; NULL: no more. */
const struct rules_element *match_next(struct match_walk *w, enum match *m);

#endif
