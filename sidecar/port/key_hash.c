/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/port/key_hash.h"

#include <errno.h>
#include <stdlib.h>

#define MIN_SLOTS 64u
#define MAX_SLOTS (1u << 30)

static uint32_t *slot_at(const struct key_hash *h, uint32_t i, unsigned int words)
{
	return h->slot + (size_t)i * (words + 1);
}

/* Returns the key's slot, or the empty slot where it belongs. */
static uint32_t find_slot(const struct key_hash *h, const uint64_t *secret, const uint32_t *key,
			  unsigned int words)
{
	uint32_t i = key_hash_of(secret, key, words) & h->mask;

	while (slot_at(h, i, words)[words] && !key_hash_equal(slot_at(h, i, words), key, words))
		i = (i + 1) & h->mask;
	return i;
}

static int resize(struct key_hash *h, const uint64_t *secret, unsigned int words, uint32_t slots)
{
	size_t slot_size = (words + 1) * sizeof(*h->slot);
	struct key_hash to = {.mask = slots - 1, .cnt = h->cnt};

	/* Aligned so that four IPv4 slots share a cache line. */
	if (posix_memalign((void **)&to.slot, 64, slots * slot_size))
		return -ENOMEM;
	memset(to.slot, 0, slots * slot_size);
	for (uint32_t i = 0; h->slot && i <= h->mask; i++) {
		const uint32_t *from = slot_at(h, i, words);

		if (from[words])
			memcpy(slot_at(&to, find_slot(&to, secret, from, words), words), from,
			       slot_size);
	}
	free(h->slot);
	*h = to;
	return 0;
}

int key_hash_reserve(struct key_hash *h, const uint64_t *secret, unsigned int words)
{
	uint32_t slots = h->slot ? h->mask + 1 : 0;

	if (h->cnt + 1 <= slots / 2)
		return 0;
	if (slots >= MAX_SLOTS)
		return -ENOMEM;
	return resize(h, secret, words, slots ? slots * 2 : MIN_SLOTS);
}

void key_hash_set(struct key_hash *h, const uint64_t *secret, const uint32_t *key,
		  unsigned int words, uint32_t value)
{
	uint32_t *slot = slot_at(h, find_slot(h, secret, key, words), words);

	if (!slot[words]) {
		memcpy(slot, key, words * sizeof(*key));
		h->cnt++;
	}
	slot[words] = value;
}

void key_hash_delete(struct key_hash *h, const uint64_t *secret, const uint32_t *key,
		     unsigned int words)
{
	uint32_t hole, i;

	if (!h->slot)
		return;
	i = hole = find_slot(h, secret, key, words);
	if (!slot_at(h, hole, words)[words])
		return;
	for (;;) {
		uint32_t *next, home;

		i = (i + 1) & h->mask;
		next = slot_at(h, i, words);
		if (!next[words])
			break;
		home = key_hash_of(secret, next, words) & h->mask;
		/* The entry may move back to the hole unless its home slot comes after the hole. */
		if (((i - home) & h->mask) < ((i - hole) & h->mask))
			continue;
		memcpy(slot_at(h, hole, words), next, (words + 1) * sizeof(*next));
		hole = i;
	}
	slot_at(h, hole, words)[words] = 0;
	h->cnt--;
	/* If there is no memory for the smaller table, the larger one stays. */
	if (h->mask + 1 > MIN_SLOTS && h->cnt < (h->mask + 1) / 8)
		(void)resize(h, secret, words, (h->mask + 1) / 2);
}

void key_hash_free(struct key_hash *h)
{
	free(h->slot);
	*h = (struct key_hash){0};
}
