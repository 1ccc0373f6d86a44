/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hash table from keys of a few 32-bit words to a 32-bit value that is never 0: open addressing,
 * linear probing, a power of two of slots, at most half of them full. Deleting moves the following
 * entries back, so there are no tombstones, and a table that has changed often is as fast as a new
 * one.
 *
 *   slot: | key[0] ... key[words - 1] | value |     value 0 if empty
 *
 * A slot takes 16 bytes for an IPv4 key (four per cache line) and 40 for an IPv6 key. A peer on the
 * network may influence which keys there are (connected sockets), so the hash uses a secret: nobody
 * outside can provoke long probe sequences.
 *
 * `words` is 3 or 9 and the same in all calls for one table; where it is a constant, key_hash_find
 * compiles to straight-line code. A table belongs to one thread. Only key_hash_reserve and
 * key_hash_delete allocate; key_hash_set never does and never fails.
 */
#ifndef SIDECAR_PORT_KEY_HASH_H
#define SIDECAR_PORT_KEY_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KEY_HASH_WORDS_4   3 /* local, peer, ports */
#define KEY_HASH_WORDS_6   9
#define KEY_HASH_WORDS_MAX KEY_HASH_WORDS_6
#define KEY_HASH_SECRETS   8

struct key_hash {
	uint32_t *slot; /* NULL until a key is added */
	uint32_t mask;	/* slots - 1 */
	uint32_t cnt;	/* keys */
};

/* Makes room for one more key. Returns 0, or -ENOMEM, and then nothing has changed. */
int key_hash_reserve(struct key_hash *h, const uint64_t *secret, unsigned int words);
/* Adds a key or replaces its value. Before adding a new key, call key_hash_reserve. value must not
 * be 0. */
void key_hash_set(struct key_hash *h, const uint64_t *secret, const uint32_t *key,
		  unsigned int words, uint32_t value);
/* Removes a key; does nothing if it is not there. Frees memory after most keys have been
 * removed. */
void key_hash_delete(struct key_hash *h, const uint64_t *secret, const uint32_t *key,
		     unsigned int words);
void key_hash_free(struct key_hash *h);

static inline uint64_t key_hash_mix(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Does not use memcpy, so that the caller's words stay in registers (if they were stored singly and
 * loaded as a pair, the stall would cost 5 ns). */
static inline uint64_t key_hash_pair(const uint32_t *word)
{
	return word[0] | (uint64_t)word[1] << 32;
}

static inline __attribute__((always_inline)) bool
key_hash_equal(const uint32_t *a, const uint32_t *b, unsigned int words)
{
	if (words == KEY_HASH_WORDS_4)
		return key_hash_pair(a) == key_hash_pair(b) && a[2] == b[2];
	return !memcmp(a, b, words * sizeof(*a));
}

/* The last round costs 1 ns and is needed: without it, consecutive keys (a port range, peers of one
 * subnet) took tens to hundreds of probes per lookup with one secret in a hundred; with it, every
 * pattern and secret tried took 1.5 (docs/measurements.md). */
static inline __attribute__((always_inline)) uint32_t
key_hash_of(const uint64_t *secret, const uint32_t *key, unsigned int words)
{
	uint64_t sum;

	if (words == KEY_HASH_WORDS_4) {
		sum = key_hash_mix(key_hash_pair(key) ^ secret[0], key[2] ^ secret[1]);
	} else {
		sum = key_hash_mix(key_hash_pair(key) ^ secret[0],
				   key_hash_pair(key + 2) ^ secret[1]) ^
		      key_hash_mix(key_hash_pair(key + 4) ^ secret[2],
				   key_hash_pair(key + 6) ^ secret[3]);
		sum = key_hash_mix(sum ^ secret[4], key[8] ^ secret[5]);
	}
	return key_hash_mix(sum ^ secret[6], secret[7]);
}

/* Iterates over all keys, in no particular order; none may be added or deleted in between. *i must
 * be 0 before the first call. Returns the next key, or NULL after the last. */
static inline const void *key_hash_next(const struct key_hash *h, uint32_t *i, unsigned int words)
{
	while (h->slot && *i <= h->mask) {
		const uint32_t *slot = h->slot + (size_t)(*i)++ * (words + 1);

		if (slot[words])
			return slot;
	}
	return NULL;
}

/* Returns the value, or 0 if there is no such key. slot must not be NULL: the table must have held
 * a key before. */
static inline __attribute__((always_inline)) uint32_t key_hash_find(const struct key_hash *h,
								    const uint64_t *secret,
								    const uint32_t *key,
								    unsigned int words)
{
	uint32_t i = key_hash_of(secret, key, words) & h->mask;

	for (;; i = (i + 1) & h->mask) {
		const uint32_t *slot = h->slot + (size_t)i * (words + 1);

		if (!slot[words] || key_hash_equal(slot, key, words))
			return slot[words];
	}
}

#ifdef __cplusplus
}
#endif

#endif
