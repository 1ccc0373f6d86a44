/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packet filter rules (nftables, and iptables of either make) in one form, and the question that is
 * asked of them: can any rule that has an effect meet a datagram of this kind? Pure; rules_nft.c
 * and rules_xt.c fill it from what the kernel dumps.
 *
 * A rule is a conjunction of tests on bytes of the headers or on metadata. A class of datagrams
 * knows some of these bytes, so a test is met surely, perhaps, or never. What is not understood is
 * met perhaps, and an unknown target has an effect: a doubt costs speed only.
 *
 * A set is looked into: exact keys, ranges, and maps of verdicts, by what the class knows of the
 * key. What datagrams themselves add to (dynset) is met perhaps.
 *
 * Counters and logging count as no effect: rules that merely count do not see what the fast path
 * carries.
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

/* Bytes of names of tables, chains and targets; longer ones are cut in texts, and compared by their
 * hash. */
#define RULES_NAME     64
#define RULES_PREFIXES 48     /* destinations kept apart; more are joined to shorter prefixes */
#define RULES_SOURCES  16     /* gathered at most; sources of more count as all */
#define RULES_KEY      64     /* bytes of a set's key */
#define RULES_FIELDS   16     /* of a set's key */
#define RULES_ELEMENTS 262144 /* of all sets together; a set that does not fit counts as unread */

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
	RULES_SET, /* what a lookup finds */
	RULES_PERHAPS,
	RULES_NEVER
};

struct rules_test {
	uint8_t space;	  /* enum rules_space */
	uint8_t off;	  /* in the header; enum rules_meta */
	uint8_t len;	  /* bytes, 1..16 */
	uint8_t op;	  /* enum rules_op */
	uint8_t at;	  /* as a part of a key: where it is there */
	bool state;	  /* unknown, and it depends on what was sent or received before */
	uint32_t lookup;  /* RULES_SET */
	uint8_t mask[16]; /* applied to the packet's bytes, then xor */
	uint8_t flip[16];
	uint8_t lo[16], hi[16]; /* EQ ... GE: lo; IN, OUT: both, inclusive */
};

#define RULES_DROP  0x1 /* or reject, queue */
#define RULES_DNAT  0x2 /* redirect, too */
#define RULES_SNAT  0x4 /* masquerade, too */
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
	RULES_MAP /* that of the element which a lookup finds */
};

#define RULES_NONE UINT32_MAX

struct rules_rule {
	uint32_t test, test_cnt;
	uint32_t effect_tests;	   /* so many of its tests stand before the first effect */
	uint32_t effects;	   /* RULES_DROP ... */
	uint32_t verdict;	   /* enum rules_verdict */
	uint32_t target;	   /* chain of JUMP, GOTO; lookup of MAP */
	uint32_t next;		   /* in the same chain */
	bool to_known, port_known; /* of a DNAT */
	bool to_host;		   /* a DNAT to this host itself: redirect */
	uint8_t to[16];
	uint16_t to_port_be;
	char what[24]; /* names the effect */
};

/* Hooks that a base chain can stand at, as bits. */
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
	uint64_t hash;	      /* of make, family, table and name */
	uint8_t family;	      /* NFPROTO_* */
	uint32_t hook;	      /* RULES_INGRESS ...; 0: no base chain */
	bool nat;	      /* type nat: the first datagram of a flow only */
	bool drop;	      /* policy */
	bool other_device;    /* hooked to devices, ours not among them */
	uint32_t first, last; /* rules; RULES_NONE: none */
};

/* Elements of an exact set are points, those of others inclusive ranges: of the key as one number,
 * or of each field where it has several. */
struct rules_element {
	uint32_t key;	 /* in rules.keys: key_len bytes, twice in sets with ranges */
	uint32_t target; /* as of a rule */
	uint8_t verdict; /* enum rules_verdict, of a map of verdicts */
	/* until rules_finish(): where a range ends, that is in front of it; a range that knows
	 * its end */
	bool end, whole;
};

struct rules_set {
	uint64_t hash;	   /* of family, table and name */
	uint64_t identity; /* of a set that never changes; 0: it may */
	uint32_t key_len;
	uint8_t field[RULES_FIELDS]; /* bytes, each padded to 4 in the key */
	uint32_t field_cnt;	     /* 0: one number */
	bool ranges, verdicts;
	bool unread;   /* its elements are not known */
	bool changing; /* datagrams add to it and take from it */
	bool doubtful; /* elements may be gone without a word, or not match: timeouts, limits */
	bool finished;
	uint32_t first, cnt; /* elements, in order of their keys */
	bool has_rest;
	struct rules_element rest; /* for what no other one matches; it has no key */
};

/* A look into a set: a test, or a rule's verdict. */
struct rules_lookup {
	uint32_t set;
	uint32_t part, part_cnt; /* what the key is made of: tests with `at` */
	bool invert;
};

struct rules_index { /* open addressing */
	struct {
		uint64_t hash;
		uint32_t number; /* RULES_NONE: free */
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
	bool failed; /* an allocation did: nothing here can be relied on */
};

void rules_free(struct rules *r);

/* For the parsers. NULL or RULES_NONE: no memory, and r->failed. Pointers hold until the next call.
 */
struct rules_chain *rules_add_chain(struct rules *r, const char *make, uint8_t family,
				    const char *table, const char *name);
uint32_t rules_find_chain(const struct rules *r, const char *make, uint8_t family,
			  const char *table, const char *name);
struct rules_rule *rules_add_rule(struct rules *r, uint32_t chain);
/* To the rule added last. */
struct rules_test *rules_add_test(struct rules *r, const struct rules_test *t);
void rules_perhaps(struct rules *r, bool state);
void rules_effect(struct rules *r, uint32_t effect, const char *what);
struct rules_set *rules_add_set(struct rules *r, uint8_t family, const char *table,
				const char *name);
uint32_t rules_find_set(const struct rules *r, uint8_t family, const char *table, const char *name);
/* To the set, whose elements come one after another. hi NULL: a point, or the begin of a range
 * whose end comes as an element of its own. e: verdict, target, end. */
void rules_add_element(struct rules *r, uint32_t set, const struct rules_element *e,
		       const uint8_t *lo, const uint8_t *hi);
/* RULES_NONE: no memory. Its parts follow, in the order of the key. */
uint32_t rules_add_lookup(struct rules *r, uint32_t set, bool invert);
void rules_add_part(struct rules *r, const struct rules_test *part); /* of the lookup added last */
/* Of the set added last, whose chains are there: takes the elements over from a set of the same
 * identity. False: there is none. */
bool rules_reuse_set(struct rules *r, uint64_t identity, const struct rules *old);
/* All of its elements are read once more. */
void rules_empty_set(struct rules *r, uint32_t set);
/* False: no memory, and `to` is empty. */
bool rules_copy(struct rules *to, const struct rules *from);
/* When all elements are there; sets count as unread before. */
void rules_finish(struct rules *r);

/* A class of datagrams: UDP, one family. */
struct rules_class {
	uint8_t family;			/* AF_INET, AF_INET6 */
	uint8_t net[40], net_known[40]; /* header, and which bits of it are known */
	uint8_t udp[8], udp_known[8];
	bool iif_known, oif_known, mark_known;
	uint32_t iif, oif, mark; /* index 0: certainly none */
	char iifname[16], oifname[16];
	const uint8_t (*saddr)[16],
		(*daddr)[16]; /* one of these, where it is not known; NULL: any */
	uint32_t saddr_cnt, daddr_cnt;
	uint32_t saddr_type, daddr_type; /* RTN_LOCAL ...; 0: not known */
	uint32_t hooks;			 /* that it passes */
	bool nat_only;			 /* ask chains of type nat only */
	bool by_destination; /* gather destinations instead of saying "all" where rules name them */
	bool by_source;	     /* or sources, where their rules say nothing of the own port */
	/* own addresses, IPv4 mapped: a DNAT to none of them concerns no socket of ours */
	const uint8_t (*ours)[16];
	uint32_t ours_cnt;
	bool to_ours;	     /* count DNAT only if it may lead to one of ours and to the port */
	uint16_t to_port_be; /* 0: any */
	uint64_t *ports;     /* to_ours: a bit for each port that a DNAT names, of 65536; or NULL */
	bool source_varies,
		destination_varies; /* the class stands for narrower ones: note if that matters */
};

void rules_class_init(struct rules_class *c, uint8_t family);
/* addr: 4 or 16 bytes, NULL: unknown; port_be 0: unknown. */
void rules_class_source(struct rules_class *c, const void *addr, uint16_t port_be);
void rules_class_destination(struct rules_class *c, const void *addr, uint16_t port_be);

struct rules_prefix {
	uint8_t addr[16]; /* IPv4 in the first four bytes */
	uint8_t family, len;
};

#define RULES_VARIES_PORT    0x1 /* one that knows its own port */
#define RULES_VARIES_ADDRESS 0x2 /* or its own address */

struct rules_result {
	uint32_t effects;	     /* that some datagram of the class may meet */
	bool all;		     /* whatever its peer */
	uint32_t varies;	     /* a narrower class may fare better: RULES_VARIES_* */
	bool state;		     /* what was sent or received before has a say in some effect */
	bool state_all;		     /* in one that does not depend on the peer */
	bool nat_all;		     /* SNAT or DNAT, whatever the peer */
	bool any_port;		     /* not only what is in `ports` */
	char text[UDPLANE_TEXT_LEN]; /* names the first rule that makes it `all` */
	char where_text[UDPLANE_TEXT_LEN];	    /* names the first that has an effect by peer */
	struct rules_prefix prefix[RULES_PREFIXES]; /* by_destination, by_source: of these */
	uint32_t prefix_cnt;
};

void rules_ask(const struct rules *r, const struct rules_class *c, struct rules_result *out);

/* Is b within a? */
bool rules_prefix_holds(const struct rules_prefix *a, const struct rules_prefix *b);
/* Adds a prefix to an ordered list; where there are more than max (RULES_PREFIXES at most), the two
 * that have most in common become one. False: no two have anything in common. */
bool rules_prefix_add(struct rules_prefix *p, uint32_t *cnt, uint32_t max,
		      const struct rules_prefix *one);

#ifdef __cplusplus
}
#endif

#endif
