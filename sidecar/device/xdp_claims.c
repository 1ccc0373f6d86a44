/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/device/xdp_claims.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define KEY_WORDS KEY_HASH_WORDS_6
_Static_assert(sizeof(struct xdp_conn_key) == KEY_WORDS * sizeof(uint32_t), "a key of key_hash");

#define KEYS	    4	    /* of a claim, at most */
#define FLAG_SHARED 0x10000 /* the port's bit in shared_port; the other flags are XDP_PORT_* */
#define FLAG_MEMBER 0x20000 /* an entry of the map of members */

/*
 * References are counted in one table with keys of one form. A specific or connected claim has two
 * references: to its own key, and to the flag that makes the program search the map for its port.
 * This flag, like that of a wildcard claim, belongs to a port: its key has no address, and holds
 * the flag in place of the peer's address. A claim that may share its port has a reference to its
 * cookie, and to FLAG_SHARED if it does share it.
 */
static struct xdp_conn_key flag_key(uint16_t port_be, uint32_t flag)
{
	return (struct xdp_conn_key){.port_be = port_be, .peer.word_be[3] = flag};
}

static struct xdp_conn_key member_key(uint64_t cookie)
{
	struct xdp_conn_key key = {.peer.word_be[3] = FLAG_MEMBER};

	memcpy(key.peer.word_be, &cookie, sizeof(cookie));
	return key;
}

static bool is_any(const struct xdp_addr *a)
{
	return !(a->word_be[0] | a->word_be[1] | a->word_be[2] | a->word_be[3]);
}

static bool is_flag(const struct xdp_conn_key *key)
{
	return is_any(&key->addr);
}

static bool is_addr(const struct xdp_conn_key *key)
{
	return !is_flag(key) && is_any(&key->peer);
}

/* A socket may be bound to such an address, too: that is another key. */
static struct xdp_conn_key group_key(const struct xdp_addr *addr, uint16_t port_be)
{
	return (struct xdp_conn_key){.addr = *addr, .port_be = port_be, .peer_port_be = 1};
}

static bool is_group(const struct xdp_conn_key *key)
{
	return is_addr(key) && key->peer_port_be;
}

static uint32_t ref_cnt(const struct xdp_claims *c, const struct xdp_conn_key *key)
{
	return c->ref.slot ? key_hash_find(&c->ref, c->secret, (const void *)key, KEY_WORDS) : 0;
}

static void ref_set(struct xdp_claims *c, const struct xdp_conn_key *key, uint32_t cnt)
{
	if (cnt)
		key_hash_set(&c->ref, c->secret, (const void *)key, KEY_WORDS, cnt);
	else
		key_hash_delete(&c->ref, c->secret, (const void *)key, KEY_WORDS);
}

int xdp_claims_init(struct xdp_claims *c, uint32_t claim_max)
{
	memset(c, 0, sizeof(*c));
	c->ref_max = KEYS * claim_max;
	return getrandom(c->secret, sizeof(c->secret), 0) == sizeof(c->secret) ? 0 : -errno;
}

void xdp_claims_free(struct xdp_claims *c)
{
	key_hash_free(&c->ref);
}

static bool is_v4(const struct xdp_addr *a)
{
	return !a->word_be[0] && !a->word_be[1] && a->word_be[2] == htonl(0xffff);
}

static void set_flag(struct xdp_claims *c, uint16_t port_be, uint16_t flag, bool on)
{
	uint16_t *port = &c->shared->port[port_be];

	__atomic_store_n(port, on ? *port | flag : *port & ~flag, __ATOMIC_RELEASE);
}

/* Returns the flag of the address's slot, or 0 if it has none. */
static uint16_t slot_flag(const struct xdp_shared *s, const struct xdp_addr *a)
{
	for (int i = 0; i < XDP_LOCAL_FAST; i++) {
		if (is_v4(a) ? s->local4_be[i] == a->word_be[3]
			     : !memcmp(s->local6[i], a, sizeof(*a)))
			return is_v4(a) ? XDP_PORT_SLOT4(i) : XDP_PORT_SLOT6(i);
	}
	return 0;
}

static int write_map(int fd, const void *key, bool on)
{
	uint8_t one = 1;
	int err = on ? bpf_map_update_elem(fd, key, &one, BPF_ANY) : bpf_map_delete_elem(fd, key);

	return err == -E2BIG ? -ENOSPC : err; /* a full hash map */
}

/* The program looks for groups only while there are any. */
static void count_groups(struct xdp_shared *s, uint16_t flag, bool on)
{
	if (flag & (XDP_PORT_GROUP4 | XDP_PORT_GROUP6))
		__atomic_store_n(&s->groups, s->groups + (on ? 1u : -1u), __ATOMIC_RELEASE);
}

/* The program asks who receives only while there are such ports. */
static void set_shared(struct xdp_shared *s, uint16_t port_be, bool on)
{
	__u64 *word = &s->shared_port[port_be / 64], bit = 1ull << port_be % 64;

	__atomic_store_n(word, on ? *word | bit : *word & ~bit, __ATOMIC_RELEASE);
	__atomic_store_n(&s->shared, on ? s->shared + 1 : s->shared - 1, __ATOMIC_RELEASE);
}

static int publish_flag(struct xdp_claims *c, const struct xdp_conn_key *key, bool on)
{
	uint32_t flag = key->peer.word_be[3];

	if (flag == FLAG_MEMBER)
		return write_map(c->member_fd, key->peer.word_be, on);
	if (flag == FLAG_SHARED) {
		set_shared(c->shared, key->port_be, on);
		return 0;
	}
	set_flag(c, key->port_be, (uint16_t)flag, on);
	count_groups(c->shared, (uint16_t)flag, on);
	return 0;
}

/* Adds one key to what the program diverts, or removes it. Returns 0 or -errno. */
static int publish(struct xdp_claims *c, const struct xdp_conn_key *key, bool on)
{
	struct xdp_addr_key addr = {
		.addr = key->addr, .port_be = key->port_be, .group = is_group(key)};
	int err;

	if (!c->shared)
		return 0;
	if (is_flag(key))
		return publish_flag(c, key, on);
	if (!is_addr(key))
		return write_map(c->conn_fd, key, on);
	err = write_map(c->addr_fd, &addr, on);
	if (is_group(key))
		return err;
	if (!err || !on) /* diverting datagrams of which the worker is not told would lose them */
		set_flag(c, key->port_be, slot_flag(c->shared, &key->addr), on);
	return err;
}

static int insert_key(struct xdp_claims *c, const struct xdp_conn_key *key)
{
	uint32_t before = ref_cnt(c, key);
	int err;

	if (!before) {
		if (c->ref.cnt >= c->ref_max)
			return -ENOSPC;
		err = key_hash_reserve(&c->ref, c->secret, KEY_WORDS);
		if (!err)
			err = publish(c, key, true);
		if (err)
			return err;
	}
	ref_set(c, key, before + 1);
	return 0;
}

static void remove_key(struct xdp_claims *c, const struct xdp_conn_key *key)
{
	uint32_t left = ref_cnt(c, key) - 1;

	ref_set(c, key, left);
	if (!left)
		publish(c, key, false);
}

static struct xdp_addr to_addr(uint8_t family, const void *ip)
{
	struct xdp_addr to;

	udplane_addr_to_mapped((uint8_t *)&to, family, ip);
	return to;
}

/* As to_keys(), for what diverts. */
static int to_own_keys(const struct device_claim *claim, struct xdp_conn_key key[2])
{
	const struct udplane_addr *local = &claim->local, *peer = &claim->peer;
	bool any = udplane_addr_is_any(local), connected = peer->family != 0;
	bool v6 = local->family == AF_INET6;

	if (local->family != AF_INET && !v6)
		return -EINVAL;
	if (!local->port_be || (connected && (any || peer->family != local->family)))
		return -EINVAL;
	if (any) {
		key[0] = flag_key(local->port_be, v6 ? XDP_PORT_WILD6 : XDP_PORT_WILD4);
		return 1;
	}
	key[0] = (struct xdp_conn_key){.addr = to_addr(local->family, local->addr),
				       .port_be = local->port_be};
	if (!connected) {
		key[1] = flag_key(local->port_be, v6 ? XDP_PORT_ADDR6 : XDP_PORT_ADDR4);
		if (claim->broadcast || udplane_addr_is_multicast(local)) {
			key[0] = group_key(&key[0].addr, local->port_be);
			key[1] = flag_key(local->port_be, v6 ? XDP_PORT_GROUP6 : XDP_PORT_GROUP4);
		}
		return 2;
	}
	key[0].peer = to_addr(peer->family, peer->addr);
	key[0].peer_port_be = peer->port_be;
	key[1] = flag_key(local->port_be, v6 ? XDP_PORT_CONN6 : XDP_PORT_CONN4);
	return 2;
}

/* Writes the keys of a claim in the order in which the program is to see them: its name among those
 * that share the port, its own key, and the flag that makes the program look for it. Returns how
 * many, or -EINVAL. */
static int to_keys(const struct device_claim *claim, struct xdp_conn_key key[KEYS])
{
	int n = 0, own;

	if (claim->cookie)
		key[n++] = member_key(claim->cookie);
	if (claim->cookie && claim->shared)
		key[n++] = flag_key(claim->local.port_be, FLAG_SHARED);
	own = to_own_keys(claim, key + n);
	return own < 0 ? own : n + own;
}

int xdp_claims_insert(struct xdp_claims *c, const struct device_claim *claim)
{
	struct xdp_conn_key key[KEYS];
	int n = to_keys(claim, key), i, err = n < 0 ? n : 0;

	for (i = 0; i < n && !err; i++)
		err = insert_key(c, &key[i]);
	for (i--; err && i > 0; i--)
		remove_key(c, &key[i - 1]);
	return err;
}

int xdp_claims_remove(struct xdp_claims *c, const struct device_claim *claim)
{
	struct xdp_conn_key key[KEYS];
	int n = to_keys(claim, key);

	if (n < 0)
		return n;
	for (int i = 0; i < n; i++)
		if (!ref_cnt(c, &key[i]))
			return -ENOENT;
	while (n > 0)
		remove_key(c, &key[--n]);
	return 0;
}

static bool is_unicast(const struct xdp_addr *a)
{
	uint32_t v4 = ntohl(a->word_be[3]);

	if (is_v4(a))
		return v4 >> 24 != 0 && v4 >> 24 != 127 && v4 >> 28 < 0xe;
	if (!a->word_be[0] && !a->word_be[1] && !a->word_be[2])
		return false; /* ::, ::1, and the obsolete ::a.b.c.d */
	return ((const uint8_t *)a)[0] != 0xff;
}

static bool contains(const struct xdp_addr *set, uint32_t cnt, const struct xdp_addr *a)
{
	for (uint32_t i = 0; i < cnt; i++)
		if (!memcmp(&set[i], a, sizeof(*a)))
			return true;
	return false;
}

/* Clears the slots of addresses that are not in the set. Clears their flags on all ports first. An
 * address that stays keeps its slot. */
static void clear_slots(struct xdp_shared *s, const struct xdp_addr *set, uint32_t cnt)
{
	uint16_t gone = 0;

	for (int i = 0; i < XDP_LOCAL_FAST; i++) {
		struct xdp_addr a4 = to_addr(AF_INET, &s->local4_be[i]);

		if (!contains(set, cnt, &a4))
			gone |= XDP_PORT_SLOT4(i);
		if (!contains(set, cnt, (const struct xdp_addr *)s->local6[i]))
			gone |= XDP_PORT_SLOT6(i);
	}
	for (uint32_t port = 0; port < 65536; port++)
		if (s->port[port] & gone)
			__atomic_store_n(&s->port[port], s->port[port] & ~gone, __ATOMIC_RELEASE);
	for (int i = 0; i < XDP_LOCAL_FAST; i++) {
		if (gone & XDP_PORT_SLOT4(i))
			__atomic_store_n(&s->local4_be[i], 0, __ATOMIC_RELEASE);
		if (gone & XDP_PORT_SLOT6(i))
			memset(s->local6[i], 0, sizeof(s->local6[i]));
	}
}

/* Gives new addresses the free slots. Returns true if every address has a slot. */
static bool fill_slots(struct xdp_shared *s, const struct xdp_addr *set, uint32_t cnt)
{
	bool all = true;

	for (uint32_t n = 0; n < cnt; n++) {
		bool v4 = is_v4(&set[n]);
		int i = 0;

		if (slot_flag(s, &set[n]))
			continue;
		while (i < XDP_LOCAL_FAST &&
		       (v4 ? s->local4_be[i] : s->local6[i][0] | s->local6[i][1]))
			i++;
		if (i == XDP_LOCAL_FAST)
			all = false;
		else if (v4)
			__atomic_store_n(&s->local4_be[i], set[n].word_be[3], __ATOMIC_RELEASE);
		else
			memcpy(s->local6[i], &set[n], 16);
	}
	return all;
}

/* Sets the slots' flags on the ports where claims name their addresses. */
static void flag_slots(struct xdp_claims *c)
{
	const struct xdp_conn_key *key;

	for (uint32_t i = 0; (key = key_hash_next(&c->ref, &i, KEY_WORDS));)
		if (is_addr(key) && !is_group(key))
			set_flag(c, key->port_be, slot_flag(c->shared, &key->addr), true);
}

/* The map holds all addresses, including those in slots, so that its contents depend on the set
 * alone. */
static int publish_local(struct xdp_claims *c, const struct xdp_addr *set, uint32_t cnt)
{
	bool all;
	int err = 0;

	if (!c->shared)
		return 0;
	for (uint32_t i = 0; i < cnt && !err; i++)
		err = write_map(c->local_fd, &set[i], true);
	if (err)
		return err;
	clear_slots(c->shared, set, cnt);
	all = fill_slots(c->shared, set, cnt);
	__atomic_store_n(&c->shared->local_more, !all, __ATOMIC_RELEASE);
	flag_slots(c);
	return 0;
}

int xdp_claims_set_local(struct xdp_claims *c, const uint8_t (*addrs)[16], uint32_t cnt)
{
	struct xdp_addr set[XDP_LOCAL_MAX], old[XDP_LOCAL_MAX];
	uint32_t n = 0, old_cnt = c->local_cnt;
	int err;

	for (uint32_t i = 0; i < cnt; i++) {
		struct xdp_addr a = to_addr(AF_INET6, addrs[i]);

		if (!is_unicast(&a) || contains(set, n, &a))
			continue;
		if (n == XDP_LOCAL_MAX)
			return -ENOSPC;
		set[n++] = a;
	}
	err = publish_local(c, set, n);
	if (err)
		return err;
	memcpy(old, c->local, old_cnt * sizeof(old[0]));
	memcpy(c->local, set, n * sizeof(set[0]));
	c->local_cnt = n;
	for (uint32_t i = 0; i < old_cnt && c->shared; i++)
		if (!contains(set, n, &old[i]))
			bpf_map_delete_elem(c->local_fd, &old[i]);
	return 0;
}

static struct xdp_source_key source_key(const struct device_source *s)
{
	return (struct xdp_source_key){.len = s->len, .addr_be = s->addr_be};
}

/* Returns true if all sources are valid except single addresses. Then the filter separates them
 * from most other sources. */
static bool few_sources(const struct device_source *s, uint32_t cnt)
{
	for (uint32_t i = 0; i < cnt; i++)
		if (s[i].valid != (s[i].len == 0))
			return false;
		else if (s[i].len && s[i].len != 32)
			return false;
	return cnt && s[cnt - 1].len == 0;
}

/* Sets the filter's bits of single addresses. clear: clears all other bits. */
static void write_filter(struct xdp_shared *shared, const struct device_source *s, uint32_t cnt,
			 bool clear)
{
	uint64_t bits[XDP_SOURCE_BITS / 64] = {0};

	for (uint32_t i = 0; i < cnt; i++)
		if (s[i].len == 32)
			bits[XDP_SOURCE_BIT(s[i].addr_be) / 64] |=
				1ull << (XDP_SOURCE_BIT(s[i].addr_be) % 64);
	for (uint32_t i = 0; i < XDP_SOURCE_BITS / 64; i++)
		__atomic_store_n(&shared->source_filter[i],
				 clear ? bits[i] : shared->source_filter[i] | bits[i],
				 __ATOMIC_RELEASE);
}

/* Longer prefixes come first: an exception from a shorter prefix is in the map before that prefix
 * is. */
static int publish_sources(struct xdp_claims *c, const struct device_source *s, uint32_t cnt)
{
	bool all = !few_sources(s, cnt);
	int err = 0;

	if (!c->shared || !cnt)
		return 0;
	for (uint32_t i = 0; i < cnt && !err; i++) {
		struct xdp_source_key key = source_key(&s[i]);
		uint8_t valid = s[i].valid;

		err = bpf_map_update_elem(c->source_fd, &key, &valid, BPF_ANY);
	}
	if (all || err)
		__atomic_store_n(&c->shared->source_all, 1, __ATOMIC_RELEASE);
	if (err)
		return err;
	write_filter(c->shared, s, cnt, false);
	__atomic_store_n(&c->shared->source_all, all, __ATOMIC_RELEASE);
	write_filter(c->shared, s, cnt, true);
	return 0;
}

static int compare_sources(const void *a, const void *b)
{
	const struct device_source *x = a, *y = b;

	if (x->len != y->len)
		return x->len > y->len ? -1 : 1;
	return x->addr_be < y->addr_be ? -1 : x->addr_be > y->addr_be;
}

static void delete_sources(struct xdp_claims *c, const struct device_source *s, uint32_t cnt)
{
	for (uint32_t i = 0; i < cnt && c->shared; i++) {
		struct xdp_source_key key = source_key(&s[i]);

		bpf_map_delete_elem(c->source_fd, &key);
	}
}

static bool same_sources(const struct xdp_claims *c, const struct device_source *s, uint32_t cnt)
{
	for (uint32_t i = 0; i < cnt && cnt == c->source_cnt; i++)
		if (compare_sources(&c->source[i], &s[i]) || c->source[i].valid != s[i].valid)
			return false;
	return cnt == c->source_cnt;
}

int xdp_claims_set_sources(struct xdp_claims *c, const struct device_source *s, uint32_t cnt)
{
	static const struct device_source nobody = {.len = 0, .valid = false};
	bool fits = cnt <= XDP_SOURCE_MAX;
	int err;

	if (!fits) {
		s = &nobody;
		cnt = 1;
	}
	if (same_sources(c, s, cnt))
		return fits ? 0 : -ENOSPC;
	err = publish_sources(c, s, cnt);
	if (err) { /* the next call starts from scratch; until then no source is valid */
		delete_sources(c, s, cnt);
		delete_sources(c, c->source, c->source_cnt);
		c->source_cnt = 0;
		return err;
	}
	for (uint32_t i = 0; i < c->source_cnt && c->shared; i++) {
		struct xdp_source_key key = source_key(&c->source[i]);

		if (!bsearch(&c->source[i], s, cnt, sizeof(*s), compare_sources))
			bpf_map_delete_elem(c->source_fd, &key);
	}
	memcpy(c->source, s, cnt * sizeof(*s));
	c->source_cnt = cnt;
	return fits ? 0 : -ENOSPC;
}

static struct xdp_excluded_key excluded_key(const struct device_prefix6 *p)
{
	struct xdp_excluded_key key = {.len = p->len};

	memcpy(&key.addr, p->addr, sizeof(key.addr));
	return key;
}

static bool has_excluded(const struct device_prefix6 *set, uint32_t cnt,
			 const struct device_prefix6 *p)
{
	for (uint32_t i = 0; i < cnt; i++)
		if (set[i].len == p->len && !memcmp(set[i].addr, p->addr, 16))
			return true;
	return false;
}

static int publish_excluded(struct xdp_claims *c, const struct device_prefix6 *p, uint32_t cnt)
{
	const uint8_t one = 1;
	uint32_t how = cnt ? XDP_EXCLUDED_SOME : XDP_EXCLUDED_NONE;
	int err = 0;

	if (!c->shared)
		return 0;
	for (uint32_t i = 0; i < cnt && !err; i++) {
		struct xdp_excluded_key key = excluded_key(&p[i]);

		err = bpf_map_update_elem(c->excluded_fd, &key, &one, BPF_ANY);
	}
	__atomic_store_n(&c->shared->excluded6, err ? XDP_EXCLUDED_ALL : how, __ATOMIC_RELEASE);
	return err;
}

/* Deletes the first set except for prefixes that are also in the second. */
static void delete_excluded(struct xdp_claims *c, const struct device_prefix6 *p, uint32_t cnt,
			    const struct device_prefix6 *keep, uint32_t keep_cnt)
{
	for (uint32_t i = 0; i < cnt && c->shared; i++) {
		struct xdp_excluded_key key = excluded_key(&p[i]);

		if (!has_excluded(keep, keep_cnt, &p[i]))
			bpf_map_delete_elem(c->excluded_fd, &key);
	}
}

int xdp_claims_set_excluded(struct xdp_claims *c, const struct device_prefix6 *p, uint32_t cnt)
{
	static const struct device_prefix6 all = {.len = 0};
	bool fits = cnt <= XDP_EXCLUDED_MAX;
	int err;

	if (!fits) {
		p = &all;
		cnt = 1;
	}
	err = publish_excluded(c, p, cnt);
	if (err) { /* all of IPv6 stays excluded until the next call, by another program too */
		delete_excluded(c, p, cnt, NULL, 0);
		p = &all;
		cnt = 1;
	}
	delete_excluded(c, c->excluded, c->excluded_cnt, p, cnt);
	memcpy(c->excluded, p, cnt * sizeof(*p));
	c->excluded_cnt = cnt;
	if (err)
		return err;
	return fits ? 0 : -ENOSPC;
}

void xdp_claims_set_translated(struct xdp_claims *c, bool on)
{
	c->translated = on;
	if (c->shared)
		__atomic_store_n(&c->shared->translated, on, __ATOMIC_RELAXED);
}

int xdp_claims_use(struct xdp_claims *c, struct xdp_shared *shared, int local_fd, int addr_fd,
		   int conn_fd, int source_fd, int excluded_fd, int member_fd)
{
	const struct xdp_conn_key *key;
	int err;

	c->shared = shared;
	c->local_fd = local_fd;
	c->addr_fd = addr_fd;
	c->conn_fd = conn_fd;
	c->source_fd = source_fd;
	c->excluded_fd = excluded_fd;
	c->member_fd = member_fd;
	if (!shared)
		return 0;
	shared->translated = c->translated;
	err = publish_local(c, c->local, c->local_cnt);
	if (!err)
		err = publish_sources(c, c->source, c->source_cnt);
	if (!err)
		err = publish_excluded(c, c->excluded, c->excluded_cnt);
	for (int pass = 0; pass < 2; pass++) /* publish the flags last */
		for (uint32_t i = 0; !err && (key = key_hash_next(&c->ref, &i, KEY_WORDS));)
			if (is_flag(key) == (pass == 1))
				err = publish(c, key, true);
	return err;
}
