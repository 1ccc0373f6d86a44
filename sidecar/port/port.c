/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/port/port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "sidecar/port/key_hash.h"
#include "sidecar/port/share.h"

#define PORTS 65536

/* A value says where a key leads: the number of a socket or group, and flags. 0 if it leads
 * nowhere. */
#define VALUE_NUMBER	 (PORT_SOCK_MAX - 1) /* number of the socket, or of the group */
#define VALUE_GROUP	 (1u << 24)
#define VALUE_USED	 (1u << 25)
#define VALUE_RANK_SHIFT 26
#define VALUE_RANK	 (3u << VALUE_RANK_SHIFT)
#define VALUE_ALL	 (VALUE_NUMBER | VALUE_GROUP | VALUE_USED | VALUE_RANK)
/* An entry of the port array holds the wildcard's value and these flags. */
#define ENTRY_SPECIFIC	(1u << 28)
#define ENTRY_CONNECTED (1u << 29)

/* What a property adds to Linux's score within a step of the lookup. */
#define RANK_DEVICE 2
#define RANK_FAMILY 1
#define RANKS	    4

enum { V4, V6, FAMILIES };
enum kind { SPECIFIC, CONNECTED, WILDCARD };

struct port_table {
	/* Indexed by the port in host order, so that neighbouring ports share cache lines. */
	uint32_t entry[FAMILIES][PORTS];
	struct key_hash keys[FAMILIES]; /* specific and connected */
	struct share_set shares;
	uint64_t secret[KEY_HASH_SECRETS];
	uint32_t size;
	/* Lookups do not use the fields below. */
	/* [port], number of distinct keys; NULL until there is one */
	uint32_t *key_cnt[FAMILIES][WILDCARD];
	/* values that are hidden by one of a higher rank */
	struct key_hash standby[FAMILIES][RANKS - 1];
};

/* --- where a key goes --- */

/* A place where a key is looked up. A dual-stack wildcard has two. */
struct place {
	int family;
	enum kind kind;
	unsigned int rank;
	uint16_t port;
	/* as lookup_4 and lookup_6 build them; the addresses of a wildcard are 0 */
	uint32_t word[KEY_HASH_WORDS_MAX];
};

static const unsigned int words_of[FAMILIES] = {KEY_HASH_WORDS_4, KEY_HASH_WORDS_6};

static bool is_zero(const uint8_t *addr, unsigned int len)
{
	static const uint8_t zero[16];

	return !memcmp(addr, zero, len);
}

static bool is_valid(const struct port_key *key)
{
	const struct udplane_addr *local = &key->local, *peer = &key->peer;
	unsigned int len = local->family == AF_INET ? 4 : 16;

	if (!local->port_be || (local->family != AF_INET && local->family != AF_INET6))
		return false;
	if (local->family == AF_INET6 && (key->mapped || udplane_addr_is_mapped(local->addr)))
		return false;
	if (!port_key_connected(key))
		return true;
	return peer->family == local->family && peer->port_be && !is_zero(local->addr, len) &&
	       !is_zero(peer->addr, len);
}

static struct place place_of(const struct port_key *key)
{
	const struct udplane_addr *local = &key->local;
	bool v4 = local->family == AF_INET;
	unsigned int len = v4 ? 4 : 16, words = v4 ? KEY_HASH_WORDS_4 : KEY_HASH_WORDS_6;
	struct place p = {.family = v4 ? V4 : V6, .port = ntohs(local->port_be)};

	p.kind = port_key_connected(key)     ? CONNECTED
		 : is_zero(local->addr, len) ? WILDCARD
					     : SPECIFIC;
	p.rank = key->device ? RANK_DEVICE : 0;
	if (v4 ? !key->mapped : key->v6only && p.kind == WILDCARD)
		p.rank += RANK_FAMILY;
	memcpy(p.word, local->addr, len);
	p.word[words - 1] = local->port_be;
	if (p.kind == CONNECTED) {
		memcpy((uint8_t *)p.word + len, key->peer.addr, len);
		p.word[words - 1] |= (uint32_t)key->peer.port_be << 16;
	}
	return p;
}

/* Writes a dual-stack wildcard's second place, which ranks after AF_INET ones. Returns false if the
 * key has no second place. */
static bool dual_place_of(const struct port_key *key, struct place *p)
{
	if (key->local.family != AF_INET6 || key->v6only || port_key_connected(key) ||
	    !udplane_addr_is_any(&key->local))
		return false;
	*p = (struct place){
		.family = V4,
		.kind = WILDCARD,
		.rank = key->device ? RANK_DEVICE : 0,
		.port = ntohs(key->local.port_be),
		.word = {[KEY_HASH_WORDS_4 - 1] = key->local.port_be},
	};
	return true;
}

/* --- values at a place: the one in front --- */

static unsigned int rank_of(uint32_t value)
{
	return (value & VALUE_RANK) >> VALUE_RANK_SHIFT;
}

static uint32_t hash_get(const struct port_table *t, const struct key_hash *h,
			 const struct place *p)
{
	return h->slot ? key_hash_find(h, t->secret, p->word, words_of[p->family]) : 0;
}

static uint32_t front_get(const struct port_table *t, const struct place *p)
{
	if (p->kind == WILDCARD)
		return t->entry[p->family][p->port] & VALUE_ALL;
	return hash_get(t, &t->keys[p->family], p);
}

static int front_reserve(struct port_table *t, const struct place *p)
{
	uint32_t **cnt;

	if (p->kind == WILDCARD)
		return 0;
	cnt = &t->key_cnt[p->family][p->kind];
	if (!*cnt)
		*cnt = calloc(PORTS, sizeof(**cnt));
	if (!*cnt)
		return -ENOMEM;
	return key_hash_reserve(&t->keys[p->family], t->secret, words_of[p->family]);
}

/* Sets the value in front. There must have been one, or front_reserve must have made room. value 0:
 * the last socket of this key is gone. */
static void front_set(struct port_table *t, const struct place *p, uint32_t value)
{
	uint32_t *entry = &t->entry[p->family][p->port];
	uint32_t flag = p->kind == CONNECTED ? ENTRY_CONNECTED : ENTRY_SPECIFIC;
	struct key_hash *h = &t->keys[p->family];
	uint32_t before = h->cnt;

	if (p->kind == WILDCARD) {
		*entry = (*entry & ~VALUE_ALL) | value;
	} else if (value) {
		key_hash_set(h, t->secret, p->word, words_of[p->family], value);
		t->key_cnt[p->family][p->kind][p->port] += h->cnt - before;
		*entry |= flag;
	} else {
		key_hash_delete(h, t->secret, p->word, words_of[p->family]);
		if (!--t->key_cnt[p->family][p->kind][p->port])
			*entry &= ~flag;
	}
}

/* --- values at a place: those that the one in front hides --- */

static uint32_t standby_get(const struct port_table *t, const struct place *p, unsigned int rank)
{
	return rank < RANKS - 1 ? hash_get(t, &t->standby[p->family][rank], p) : 0;
}

static int standby_reserve(struct port_table *t, const struct place *p, unsigned int rank)
{
	return key_hash_reserve(&t->standby[p->family][rank], t->secret, words_of[p->family]);
}

static void standby_set(struct port_table *t, const struct place *p, unsigned int rank,
			uint32_t value)
{
	struct key_hash *h = &t->standby[p->family][rank];

	if (value)
		key_hash_set(h, t->secret, p->word, words_of[p->family], value);
	else
		key_hash_delete(h, t->secret, p->word, words_of[p->family]);
}

/* Removes and returns the highest value that was hidden behind `rank`; returns 0 if there is
 * none. */
static uint32_t standby_pop(struct port_table *t, const struct place *p, unsigned int rank)
{
	while (rank-- > 0) {
		uint32_t value = standby_get(t, p, rank);

		if (value) {
			standby_set(t, p, rank, 0);
			return value;
		}
	}
	return 0;
}

/* --- sockets of a value and place --- */

static uint32_t value_of(uint32_t number, uint32_t flags, unsigned int rank)
{
	return number | flags | VALUE_USED | rank << VALUE_RANK_SHIFT;
}

static int value_add(struct port_table *t, uint32_t *value, uint32_t sock)
{
	uint32_t first = *value & VALUE_NUMBER, group;
	int ret;

	if (*value & VALUE_GROUP)
		return share_add(&t->shares, first, sock);
	if (first == sock)
		return -EEXIST;
	ret = share_create(&t->shares, first, &group);
	if (ret)
		return ret;
	ret = share_add(&t->shares, group, sock);
	if (ret)
		share_destroy(&t->shares, group);
	else
		*value = value_of(group, VALUE_GROUP, rank_of(*value));
	return ret;
}

static int value_remove(struct port_table *t, uint32_t *value, uint32_t sock)
{
	uint32_t number = *value & VALUE_NUMBER;
	int ret;

	if (!*value || (!(*value & VALUE_GROUP) && number != sock))
		return -ENOENT;
	if (!(*value & VALUE_GROUP)) {
		*value = 0;
		return 0;
	}
	ret = share_remove(&t->shares, number, sock);
	if (!ret && t->shares.share[number].member_cnt == 1) {
		*value = value_of(t->shares.share[number].member[0], 0, rank_of(*value));
		share_destroy(&t->shares, number);
	}
	return ret;
}

/* Adds the first socket of its rank at this place. front: the value that is in front now. */
static int place_open(struct port_table *t, const struct place *p, uint32_t front, uint32_t sock)
{
	uint32_t value = value_of(sock, 0, p->rank);
	unsigned int hidden;
	int ret;

	if (!front) {
		ret = front_reserve(t, p);
		if (!ret)
			front_set(t, p, value);
		return ret;
	}
	hidden = rank_of(front) < p->rank ? rank_of(front) : p->rank;
	ret = standby_reserve(t, p, hidden);
	if (ret)
		return ret;
	standby_set(t, p, hidden, hidden == p->rank ? value : front);
	if (hidden != p->rank)
		front_set(t, p, value);
	return 0;
}

static int place_insert(struct port_table *t, const struct place *p, uint32_t sock)
{
	uint32_t front = front_get(t, p);
	bool in_front = front && rank_of(front) == p->rank;
	uint32_t value = in_front ? front : standby_get(t, p, p->rank);
	int ret;

	if (!value)
		return place_open(t, p, front, sock);
	ret = value_add(t, &value, sock);
	if (ret)
		return ret;
	if (in_front)
		front_set(t, p, value);
	else
		standby_set(t, p, p->rank, value);
	return 0;
}

static int place_remove(struct port_table *t, const struct place *p, uint32_t sock)
{
	uint32_t front = front_get(t, p);
	bool in_front = front && rank_of(front) == p->rank;
	uint32_t value = in_front ? front : standby_get(t, p, p->rank);
	int ret = value_remove(t, &value, sock);

	if (ret)
		return ret;
	if (in_front)
		front_set(t, p, value ? value : standby_pop(t, p, p->rank));
	else
		standby_set(t, p, p->rank, value);
	return 0;
}

/* --- public parts --- */

struct port_table *port_table_create(void)
{
	struct port_table *t;

	if (posix_memalign((void **)&t, 64, sizeof(*t)))
		return NULL;
	memset(t, 0, sizeof(*t));
	share_set_init(&t->shares);
	/* getrandom never returns fewer than 64 bytes, and fails only if the kernel does not
	 * support it. */
	if (getrandom(t->secret, sizeof(t->secret), 0) != sizeof(t->secret)) {
		free(t);
		return NULL;
	}
	return t;
}

void port_table_destroy(struct port_table *t)
{
	if (!t)
		return;
	for (int family = 0; family < FAMILIES; family++) {
		key_hash_free(&t->keys[family]);
		for (int rank = 0; rank < RANKS - 1; rank++)
			key_hash_free(&t->standby[family][rank]);
		for (int kind = 0; kind < WILDCARD; kind++)
			free(t->key_cnt[family][kind]);
	}
	share_set_free(&t->shares);
	free(t);
}

int port_table_insert(struct port_table *t, const struct port_key *key, uint32_t sock)
{
	struct place p, dual;
	int ret;

	if (sock >= PORT_SOCK_MAX || !is_valid(key))
		return -EINVAL;
	p = place_of(key);
	ret = place_insert(t, &p, sock);
	if (!ret && dual_place_of(key, &dual)) {
		ret = place_insert(t, &dual, sock);
		if (ret)
			place_remove(t, &p, sock);
	}
	if (!ret)
		t->size++;
	return ret;
}

int port_table_remove(struct port_table *t, const struct port_key *key, uint32_t sock)
{
	struct place p, dual;
	int ret;

	if (sock >= PORT_SOCK_MAX || !is_valid(key))
		return -EINVAL;
	p = place_of(key);
	ret = place_remove(t, &p, sock);
	if (ret)
		return ret;
	if (dual_place_of(key, &dual))
		place_remove(t, &dual, sock);
	t->size--;
	return 0;
}

/* Returns the value of the connected key, otherwise that of the specific one, or 0 if there is
 * neither. */
static uint32_t lookup_4(const struct port_table *t, const struct port_tuple *d, uint32_t entry)
{
	uint32_t word[KEY_HASH_WORDS_4] = {0};
	uint32_t value = 0;

	memcpy(word, d->dst, 4);
	if (entry & ENTRY_CONNECTED) {
		memcpy(word + 1, d->src, 4);
		word[2] = d->dst_port_be | (uint32_t)d->src_port_be << 16;
		value = key_hash_find(&t->keys[V4], t->secret, word, KEY_HASH_WORDS_4);
	}
	if (!value && entry & ENTRY_SPECIFIC) {
		word[1] = 0;
		word[2] = d->dst_port_be;
		value = key_hash_find(&t->keys[V4], t->secret, word, KEY_HASH_WORDS_4);
	}
	return value;
}

static uint32_t lookup_6(const struct port_table *t, const struct port_tuple *d, uint32_t entry)
{
	uint32_t word[KEY_HASH_WORDS_6] = {0};
	uint32_t value = 0;

	memcpy(word, d->dst, 16);
	if (entry & ENTRY_CONNECTED) {
		memcpy(word + 4, d->src, 16);
		word[8] = d->dst_port_be | (uint32_t)d->src_port_be << 16;
		value = key_hash_find(&t->keys[V6], t->secret, word, KEY_HASH_WORDS_6);
	}
	if (!value && entry & ENTRY_SPECIFIC) {
		memset(word + 4, 0, 16);
		word[8] = d->dst_port_be;
		value = key_hash_find(&t->keys[V6], t->secret, word, KEY_HASH_WORDS_6);
	}
	return value;
}

static inline uint32_t pick_sock(const struct port_table *t, uint32_t value,
				 const struct port_tuple *d)
{
	if (value & VALUE_GROUP && d->cookie)
		return share_pick_named(&t->shares, value & VALUE_NUMBER, d->hash, d->cookie,
					d->cookies);
	if (value & VALUE_GROUP)
		return share_pick(&t->shares, value & VALUE_NUMBER, d->hash);
	return value & VALUE_USED ? value & VALUE_NUMBER : PORT_NONE;
}

/* Not inline, so that the common case, a single wildcard, has no registers to save. */
static __attribute__((noinline)) uint32_t lookup_keyed(const struct port_table *t,
						       const struct port_tuple *d, uint32_t entry)
{
	uint32_t value = d->family == AF_INET ? lookup_4(t, d, entry) : lookup_6(t, d, entry);

	return pick_sock(t, value ? value : entry, d);
}

uint32_t port_table_lookup(const struct port_table *t, const struct port_tuple *d)
{
	uint32_t entry = t->entry[d->family == AF_INET ? V4 : V6][ntohs(d->dst_port_be)];

	if (entry & (ENTRY_CONNECTED | ENTRY_SPECIFIC))
		return lookup_keyed(t, d, entry);
	return pick_sock(t, entry, d);
}

uint32_t port_table_groups(const struct port_table *t)
{
	return t->shares.live;
}

uint32_t port_table_size(const struct port_table *t)
{
	return t->size;
}
