/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packet filter rules (nftables and both kinds of iptables) in one form, and the question that is
 * asked about them: can any rule with an effect match a datagram of this kind? Pure; rules_nft.c
 * and rules_xt.c fill it from the kernel's dumps.
 *
 * A rule is a conjunction of tests on bytes of the headers or on metadata. Of a class of datagrams
 * some of these bytes are known, so a test is met surely, perhaps, or never. A test that is not
 * understood is perhaps met, and an unknown target has an effect: a doubt only costs speed.
 *
 * Sets are evaluated: exact keys, ranges and verdict maps, by what the class knows of the key. Sets
 * that datagrams change (dynset) are perhaps met.
 *
 * Counters and logging count as no effect: rules that only count do not see the datagrams of the
 * fast path.
 */
#ifndef SIDECAR_ENVIRONMENT_RULES_H
#define SIDECAR_ENVIRONMENT_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <udplane/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Length of the names of tables, chains and targets, in bytes. Longer ones are cut in texts, and
 * compared by their hash. */
#define RULES_NAME 64
#define RULES_PREFIXES \
	48 /* destinations that are kept separately; more are joined to shorter prefixes */
#define RULES_SOURCES 16 /* sources that are gathered; if there are more, all sources count */
#define RULES_KEY     64 /* bytes of a set's key */
#define RULES_FIELDS  16 /* fields of a set's key */
#define RULES_ELEMENTS \
	262144 /* elements of all sets together; a set that does not fit counts as unread */

enum rules_space { RULES_NET, RULES_UDP, RULES_META };
enum rules_meta {
	RULES_META_NFPROTO,  /* 1 byte */
	RULES_META_L4PROTO,  /* 1 byte */
	RULES_META_PROTOCOL, /* EtherType, big-endian */
	RULES_META_IIF,	     /* index, host order */
	RULES_META_OIF,
	RULES_META_IIFNAME, /* 16 bytes, padded with zeros */
	RULES_META_OIFNAME,
	RULES_META_MARK,       /* host order */
	RULES_META_SADDR_TYPE, /* RTN_LOCAL ..., 4 bytes, host order */
	RULES_META_DADDR_TYPE,
	RULES_META_OTHER, /* unknown */
};

enum rules_op {
	RULES_EQ,
	RULES_NE,
	RULES_LT,
	RULES_LE,
	RULES_GT,
	RULES_GE,
	RULES_IN,
	RULES_OUT,
	RULES_SET, /* the result of a lookup */
	RULES_PERHAPS,
	RULES_NEVER
};

struct rules_test {
	uint8_t space;	  /* enum rules_space */
	uint8_t off;	  /* offset in the header; or enum rules_meta */
	uint8_t len;	  /* bytes, 1..16 */
	uint8_t op;	  /* enum rules_op */
	uint8_t at;	  /* for a part of a key: its offset in the key */
	bool state;	  /* unknown, and dependent on earlier datagrams */
	uint32_t lookup;  /* RULES_SET */
	uint8_t mask[16]; /* applied to the packet's bytes before xor */
	uint8_t flip[16];
	uint8_t lo[16], hi[16]; /* EQ ... GE: lo; IN, OUT: both, inclusive */
};

#define RULES_DROP  0x1 /* also reject and queue */
#define RULES_DNAT  0x2 /* also redirect */
#define RULES_SNAT  0x4 /* also masquerade */
#define RULES_MARK  0x8
#define RULES_OTHER 0x10
#define RULES_ADD   0x20 /* to a set */

enum rules_verdict {
	RULES_CONTINUE,
	RULES_ACCEPT,
	RULES_STOP /* dropped, queued */,
	RULES_RETURN,
	RULES_JUMP,
	RULES_GOTO,
	RULES_MAP /* the verdict of the element that a lookup finds */
};

#define RULES_NONE UINT32_MAX

struct rules_rule {
	uint32_t test, test_cnt;
	uint32_t effect_tests;	   /* number of its tests before the first effect */
	uint32_t effects;	   /* RULES_DROP ... */
	uint32_t verdict;	   /* enum rules_verdict */
	uint32_t target;	   /* chain of JUMP, GOTO; lookup of MAP */
	uint32_t next;		   /* in the same chain */
	bool to_known, port_known; /* target of a DNAT */
	bool to_host;		   /* DNAT to this host itself (redirect) */
	uint8_t to[16];
	uint16_t to_port_be;
	char what[24]; /* describes the effect */
};

/* Hooks of base chains, as bits. */
#define RULES_INGRESS	  0x1
#define RULES_PREROUTING  0x2
#define RULES_INPUT	  0x4
#define RULES_FORWARD	  0x8
#define RULES_OUTPUT	  0x10
#define RULES_POSTROUTING 0x20
#define RULES_EGRESS	  0x40

struct rules_chain {
	char make[12]; /* "nft", "iptables", "ip6tables" */
	char table[RULES_NAME], name[RULES_NAME];
	uint64_t hash;	      /* hash of make, family, table and name */
	uint8_t family;	      /* NFPROTO_* */
	uint32_t hook;	      /* RULES_INGRESS ...; 0 if it is not a base chain */
	bool nat;	      /* type nat, which sees only the first datagram of a flow */
	bool drop;	      /* policy */
	bool other_device;    /* hooked to other devices only */
	uint32_t first, last; /* list of rules; RULES_NONE if empty */
};

/* Elements of an exact set are points; those of other sets are inclusive ranges, of the key as one
 * number or of each field if it has several. */
struct rules_element {
	uint32_t key;	 /* offset in rules.keys: key_len bytes, twice that in sets with ranges */
	uint32_t target; /* as in a rule */
	uint8_t verdict; /* enum rules_verdict, in a verdict map */
	/* until rules_finish(): this element marks the end of the range that begins at the element
	 * before it */
	bool end, whole;
};

struct rules_set {
	uint64_t hash;	   /* hash of family, table and name */
	uint64_t identity; /* identity of a set that never changes; 0 if it may change */
	uint32_t key_len;
	uint8_t field[RULES_FIELDS]; /* length in bytes; each field is padded to 4 in the key */
	uint32_t field_cnt;	     /* 0 if the key is one number */
	bool ranges, verdicts;
	bool unread;   /* its elements are unknown */
	bool changing; /* datagrams add and remove elements */
	bool doubtful; /* elements may disappear without notice, or not match: timeouts, limits */
	bool finished;
	uint32_t first, cnt; /* elements, ordered by key */
	bool has_rest;
	struct rules_element rest; /* for keys that match no other element; it has no key */
};

/* A lookup in a set: a test, or a rule's verdict. */
struct rules_lookup {
	uint32_t set;
	uint32_t part, part_cnt; /* the parts of the key: tests with `at` */
	bool invert;
};

struct rules_index { /* open addressing */
	struct {
		uint64_t hash;
		uint32_t number; /* RULES_NONE if free */
	} * slot;
	uint32_t size, cnt;
};

struct rules {
	struct rules_test *tests, *parts;
	struct rules_rule *rules;
	struct rules_chain *chains;
	struct rules_set *sets;
	struct rules_element *elements;
	struct rules_lookup *lookups;
	uint8_t *keys;
	uint32_t test_cnt, test_room, part_cnt, part_room, rule_cnt, rule_room, chain_cnt,
		chain_room;
	uint32_t set_cnt, set_room, element_cnt, element_room, lookup_cnt, lookup_room;
	uint32_t key_cnt, key_room;
	struct rules_index chain_index, set_index, identity_index;
	bool failed; /* an allocation failed; the rules cannot be relied on */
};

void rules_free(struct rules *r);

/* For the parsers. They return NULL or RULES_NONE if there is no memory, and r->failed is set.
 * Pointers are valid until the next call. */
struct rules_chain *rules_add_chain(struct rules *r, const char *make, uint8_t family,
				    const char *table, const char *name);
uint32_t rules_find_chain(const struct rules *r, const char *make, uint8_t family,
			  const char *table, const char *name);
struct rules_rule *rules_add_rule(struct rules *r, uint32_t chain);
/* These add to the rule that was added last. */
struct rules_test *rules_add_test(struct rules *r, const struct rules_test *t);
void rules_perhaps(struct rules *r, bool state);
void rules_effect(struct rules *r, uint32_t effect, const char *what);
struct rules_set *rules_add_set(struct rules *r, uint8_t family, const char *table,
				const char *name);
uint32_t rules_find_set(const struct rules *r, uint8_t family, const char *table, const char *name);
/* Adds an element to the set whose elements are being added. hi NULL means a point, or the begin of
 * a range whose end comes as a separate element. e: verdict, target, end. */
void rules_add_element(struct rules *r, uint32_t set, const struct rules_element *e,
		       const uint8_t *lo, const uint8_t *hi);
/* Returns RULES_NONE if there is no memory. Its parts must follow, in the order of the key. */
uint32_t rules_add_lookup(struct rules *r, uint32_t set, bool invert);
void rules_add_part(struct rules *r,
		    const struct rules_test *part); /* of the lookup that was added last */
/* Takes the elements of the set that was added last, whose chains must exist, over from a set of
 * the same identity in `old`. Returns false if there is none. */
bool rules_reuse_set(struct rules *r, uint64_t identity, const struct rules *old);
/* Drops the set's elements, before all of them are read again. */
void rules_empty_set(struct rules *r, uint32_t set);
/* Returns false if there is no memory; `to` is then empty. */
bool rules_copy(struct rules *to, const struct rules *from);
/* Call it once all elements are added; until then sets count as unread. */
void rules_finish(struct rules *r);

/* A class of UDP datagrams of one family. */
struct rules_class {
	uint8_t family;			/* AF_INET, AF_INET6 */
	uint8_t net[40], net_known[40]; /* header bits, and which of them are known */
	uint8_t udp[8], udp_known[8];
	bool iif_known, oif_known, mark_known;
	uint32_t iif, oif, mark; /* index 0 means certainly no interface */
	char iifname[16], oifname[16];
	const uint8_t (*saddr)[16],
		(*daddr)[16]; /* one of these if the header does not say; NULL means any */
	uint32_t saddr_cnt, daddr_cnt;
	uint32_t saddr_type, daddr_type; /* RTN_LOCAL ...; 0 if unknown */
	uint32_t hooks;			 /* the hooks that it passes */
	bool nat_only;			 /* ask chains of type nat only */
	bool by_destination; /* gather destinations instead of saying "all" where rules name them */
	bool by_source;	     /* or sources, for rules that do not look at the own port */
	/* own addresses, IPv4 mapped; a DNAT to another address concerns none of our sockets */
	const uint8_t (*ours)[16];
	uint32_t ours_cnt;
	bool to_ours;	     /* count a DNAT only if it may lead to one of ours and to the port */
	uint16_t to_port_be; /* 0: any */
	uint64_t *ports;     /* to_ours: ports that a DNAT names, one bit each; or NULL */
	bool source_varies,
		destination_varies; /* for narrower classes, too: note if that matters */
};

void rules_class_init(struct rules_class *c, uint8_t family);
/* addr: 4 or 16 bytes, or NULL if unknown. port_be: 0 if unknown. */
void rules_class_source(struct rules_class *c, const void *addr, uint16_t port_be);
void rules_class_destination(struct rules_class *c, const void *addr, uint16_t port_be);

struct rules_prefix {
	uint8_t addr[16]; /* IPv4 in the first four bytes */
	uint8_t family, len;
};

#define RULES_VARIES_PORT    0x1 /* a class that knows its own port */
#define RULES_VARIES_ADDRESS 0x2 /* a class that knows its own address */

struct rules_result {
	uint32_t effects;	     /* effects that some datagram of the class may meet */
	bool all;		     /* effects do not depend on the peer */
	uint32_t varies;	     /* a narrower class may meet fewer effects: RULES_VARIES_* */
	bool state;		     /* some effect depends on earlier datagrams */
	bool state_all;		     /* and that effect does not depend on the peer */
	bool nat_all;		     /* SNAT or DNAT for any peer */
	bool any_port;		     /* DNAT to any port, not only to those in `ports` */
	char text[UDPLANE_TEXT_LEN]; /* names the first rule that makes it `all` */
	char where_text[UDPLANE_TEXT_LEN]; /* the first rule whose effect depends on the peer */
	struct rules_prefix
		prefix[RULES_PREFIXES]; /* with by_destination or by_source: the peers */
	uint32_t prefix_cnt;
};

void rules_ask(const struct rules *r, const struct rules_class *c, struct rules_result *out);

/* Returns true if b is within a. */
bool rules_prefix_holds(const struct rules_prefix *a, const struct rules_prefix *b);
/* Adds a prefix to an ordered list. If the list then has more than max (at most RULES_PREFIXES),
 * the two that have most in common become one. Returns false if no two have anything in common. */
bool rules_prefix_add(struct rules_prefix *p, uint32_t *cnt, uint32_t max,
		      const struct rules_prefix *one);

#ifdef __cplusplus
}
#endif

#endif
