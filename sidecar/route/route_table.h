/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to sidecar/route: the table that route_build.c makes and route.c reads.
 *
 * Addresses are 128-bit keys (hi, lo) in host order; IPv4 fills the upper 32 bits of hi. A fib is
 * one hash table of prefixes of every length, and a list of the lengths present, longest first. A
 * lookup probes once per length. The local table is merged in: Linux asks it first, so prefixes of
 * main that lie inside one of its prefixes are left out.
 */
#ifndef SIDECAR_ROUTE_ROUTE_TABLE_H
#define SIDECAR_ROUTE_ROUTE_TABLE_H

#include "sidecar/route/route.h"
#include <stdint.h>
#include <string.h>

#define ROUTE_NONE UINT32_MAX

/* Two words, so that masking and comparing take two operations each. */
struct route_key {
	uint64_t hi, lo;
};

struct route_slot {
	struct route_key key;
	uint32_t len; /* bits; ROUTE_NONE if the slot is free */
	uint32_t value;
};

struct route_secret {
	uint64_t word[4];
};

struct route_map { /* open addressing, at most half full */
	struct route_slot *slots;
	const struct route_secret *secret; /* of its table */
	uint32_t mask;
	uint32_t cnt;
};

struct route_fib {
	struct route_map map;
	uint32_t root;	   /* entry of the prefix of length 0 */
	uint32_t mask_cnt; /* other lengths present */
	struct {
		struct route_key key;
		uint32_t len;
	} mask[128];
};

#define ROUTE_NEIGH_DST (ROUTE_NONE - 1) /* the destination is the next hop */

enum { ROUTE_THROW = ROUTE_VERDICT_CNT }; /* ask the next table */
enum { ROUTE_MAX_SOURCES = 16 };

struct route_entry {	 /* what a prefix leads to */
	uint8_t verdict; /* enum route_verdict, or ROUTE_THROW */
	uint8_t hop_limit;
	uint16_t mtu;
	uint32_t neigh; /* index; ROUTE_NEIGH_DST; or ROUTE_NONE if the gateway is not resolved */
	bool has_src;	/* if false: for IPv4 no source fits, for IPv6 see route_sources */
	bool has_gateway;
	bool origin; /* IPv4: Linux accepts sources inside the prefix */
	uint8_t gateway_family;
	uint8_t src[16];
	uint8_t gateway[16];
};

/* IPv6 source addresses from which only the longest common prefix with the destination selects.
 * Empty if the selection is uncertain. */
struct route_sources {
	uint32_t cnt;
	struct {
		struct route_key key;
		uint8_t prefix_len;
		uint8_t addr[16];
	} a[ROUTE_MAX_SOURCES];
};

enum { ROUTE_MAX_SELECTED = 16 };

struct route_selected { /* a prefix that a policy rule names */
	uint8_t len, addr[16];
};

/* Effect of a family's policy rules on our datagrams, which have no mark and no requested
 * interface. See route_rules.c. */
struct route_policy {
	bool slow; /* every destination is slow */
	/* destinations without a route in main are looked up in table default, and then nowhere */
	bool fallback;
	uint32_t min_len; /* shorter routes of main are skipped */
	uint32_t dst_cnt, src_cnt, table_cnt;
	/* destinations that another table may decide */
	struct route_selected dst[ROUTE_MAX_SELECTED];
	/* source addresses for which another table may decide */
	struct route_selected src[ROUTE_MAX_SELECTED];
	uint32_t table[ROUTE_MAX_SELECTED]; /* other tables that are asked */
	const struct route_rule *why;	    /* the first rule that makes something slow, or NULL */
};
void route_policy_judge(const struct route_input *in, uint8_t family, struct route_policy *out);
/* Writes the rule as ip-rule(8) shows it. */
void route_rule_text(const struct route_rule *r, char *text, size_t len);

#define ROUTE_FILTER_BITS 4096
#define ROUTE_NOTE_LEN	  160

#define ROUTE_OWN_USABLE 1 /* not tentative: may be a source */
#define ROUTE_OWN_DEVICE 2 /* on our device */

struct route_table {
	struct route_fib fib[2];     /* local and main; IPv4, IPv6 */
	struct route_fib fallback;   /* IPv4, table default */
	struct route_entry *entries; /* [0] means no route */
	uint32_t entry_cnt;
	uint16_t min_mtu[2];	 /* of the fast entries, IPv4 and IPv6 */
	struct route_map own[2]; /* value: ROUTE_OWN_* */
	struct route_map neigh_map[2];
	struct route_neigh *neighs;
	uint8_t *used; /* one per neighbour; workers set, the control thread clears */
	uint32_t neigh_cnt;
	struct route_sources src_global, src_link;
	struct route_selected src_slow[2]
				      [ROUTE_MAX_SELECTED]; /* sources that a policy rule names */
	uint32_t src_slow_cnt[2];
	bool origin_all; /* any source may be invalid; otherwise only those whose bit is set */
	uint64_t origin_filter[ROUTE_FILTER_BITS / 64];
	bool excludes6; /* some IPv6 sources are excluded: entries with ROUTE_SLOW_RULES */
	char note[ROUTE_NOTE_LEN];
	uint64_t generation;
	struct route_secret secret;
};

static inline struct route_key route_key(uint8_t family, const void *addr)
{
	struct route_key k;
	uint32_t a;

	if (family == 2 /* AF_INET */) {
		memcpy(&a, addr, 4);
		return (struct route_key){(uint64_t)__builtin_bswap32(a) << 32, 0};
	}
	memcpy(&k, addr, 16);
	return (struct route_key){__builtin_bswap64(k.hi), __builtin_bswap64(k.lo)};
}

static inline struct route_key route_mask(uint32_t len)
{
	return (struct route_key){
		len >= 64 ? ~0ull
		: len	  ? ~0ull << (64 - len)
			  : 0,
		len >= 128 ? ~0ull
		: len > 64 ? ~0ull << (128 - len)
			   : 0,
	};
}

static inline struct route_key route_key_and(struct route_key a, struct route_key b)
{
	return (struct route_key){a.hi & b.hi, a.lo & b.lo};
}

static inline bool route_key_equal(struct route_key a, struct route_key b)
{
	return !((a.hi ^ b.hi) | (a.lo ^ b.lo));
}

static inline bool route_is_link_local(struct route_key k) /* fe80::/10 */
{
	return k.hi >> 54 == 0xfe80u >> 6;
}

static inline uint64_t route_mix(uint64_t a, uint64_t b)
{
	__uint128_t p = (__uint128_t)a * b;

	return (uint64_t)p ^ (uint64_t)(p >> 64);
}

/* Like key_hash_of() (sidecar/port). Both factors are secret: otherwise somebody who chooses a
 * neighbour's address could make one factor 0, and all such addresses would collide. */
static inline uint32_t route_map_hash(const struct route_map *m, struct route_key key, uint32_t len)
{
	const uint64_t *secret = m->secret->word;
	uint64_t sum = route_mix(key.hi ^ secret[0], key.lo ^ secret[1] ^ len);

	return (uint32_t)route_mix(sum ^ secret[2], secret[3]);
}

static inline uint32_t route_map_find(const struct route_map *m, struct route_key key, uint32_t len)
{
	uint32_t i;

	for (i = route_map_hash(m, key, len) & m->mask;; i = (i + 1) & m->mask) {
		const struct route_slot *s = &m->slots[i];

		if (s->len == len && route_key_equal(s->key, key))
			return s->value;
		if (s->len == ROUTE_NONE)
			return ROUTE_NONE;
	}
}

/* Returns the filter's bit for an IPv4 source in host order. */
static inline uint32_t route_filter_bit(uint32_t addr)
{
	return (addr * 0x9e3779b1u) >> 20;
}

static inline uint32_t route_fib_find(const struct route_fib *f, struct route_key key)
{
	uint32_t i, value;

	for (i = 0; i < f->mask_cnt; i++) {
		value = route_map_find(&f->map, route_key_and(key, f->mask[i].key), f->mask[i].len);
		if (value != ROUTE_NONE)
			return value;
	}
	return f->root;
}

/* route_source.c */

/* Writes the IPv4 source that Linux uses for a route without prefsrc (inet_select_addr). Returns
 * false if there is none or it is uncertain. */
bool route_source4(const struct route_input *in, const struct route_route *r, uint8_t src[16]);
/* Writes the IPv6 sources for destinations of global and of link-local scope. */
void route_source6(const struct route_input *in, struct route_sources *global,
		   struct route_sources *link);

#endif
