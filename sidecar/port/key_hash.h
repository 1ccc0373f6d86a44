/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hash from keys of a few 32-bit words to a 32-bit value that is never 0: open addressing, linear
 * probing, a power of two of slots, at most half of them full. Deleting shifts the followers back,
 * so there are no tombstones and a table that has seen much change is as fast as a new one.
 *
 *   slot: | key[0] ... key[words - 1] | value |     value 0: empty
 *
 * A slot of an IPv4 key has 16 bytes (four to a cache line), of an IPv6 key 40. A peer on the
 * network may choose what becomes a key (connected sockets), so the hash is keyed with a secret:
 * nobody outside can aim at long probes.
 *
 * `words` is 3 or 9 and the same in all calls for one table; where it is a constant, key_hash_find
 * compiles to straight code. Threads: one owner. Only key_hash_reserve and key_hash_delete
 * allocate; key_hash_set never does and never fails.
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
	uint32_t *slot; /* NULL: never used */
	uint32_t mask;	/* slots - 1 */
	uint32_t cnt;	/* keys */
};

/* Room for one more key. 0 or -ENOMEM (nothing has changed). */
int key_hash_reserve(struct key_hash *h, const uint64_t *secret, unsigned int words);
/* Adds or replaces; after key_hash_reserve where the key is new. value: not 0. */
void key_hash_set(struct key_hash *h, const uint64_t *secret, const uint32_t *key,
		  unsigned int words, uint32_t value);
/* Nothing happens if the key is not there. Gives memory back after most keys have gone. */
void key_hash_delete(struct key_hash *h, const uint64_t *secret, const uint32_t *key,
		     unsigned int words);
void key_hash_free(struct key_hash *h);

static inline uint64_t key_hash_mix(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Not by memcpy: a caller's words shall stay in registers (stored singly and loaded as a pair they
 * cost a stall of 5 ns). */
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

/* The last round costs 1 ns and is needed: without it, keys in sequence (a port range, peers of one
 * subnet) made one secret in a hundred give tens to hundreds of probes a lookup; with it, every
 * pattern and secret tried gave 1.5 (docs/measurements.md). */
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

/* All keys, in no order, while none is added or deleted: *i is 0 before the first call. NULL: that
 * were all. */
static inline const void *key_hash_next(const struct key_hash *h, uint32_t *i, unsigned int words)
{
	while (h->slot && *i <= h->mask) {
		const uint32_t *slot = h->slot + (size_t)(*i)++ * (words + 1);

		if (slot[words])
			return slot;
	}
	return NULL;
}

/* The value, or 0. Only for a table that has held a key at some time: slot is not NULL. */
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
