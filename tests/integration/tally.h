/* SPDX-License-Identifier: Apache-2.0 */
/* What has come of datagrams that are numbered from 0. */
#ifndef TESTS_INTEGRATION_TALLY_H
#define TESTS_INTEGRATION_TALLY_H

#include <stdint.h>

#define MOST (1u << 27) /* numbers */

struct tally {
	uint8_t *seen; /* bitmap of MOST */
	uint64_t received, duplicates, reordered;
	uint32_t next;		  /* highest number so far, plus one */
	uint64_t last_ns, gap_ns; /* gap: longest time between two */
};

static inline void tally_note(struct tally *t, uint32_t n, uint64_t now)
{
	if (n >= MOST)
		return;
	t->received++;
	if (t->last_ns && now - t->last_ns > t->gap_ns)
		t->gap_ns = now - t->last_ns;
	t->last_ns = now;
	if (t->seen[n >> 3] & (1 << (n & 7)))
		t->duplicates++;
	else if (n < t->next)
		t->reordered++;
	t->seen[n >> 3] |= (uint8_t)(1 << (n & 7));
	if (n >= t->next)
		t->next = n + 1;
}

#endif
