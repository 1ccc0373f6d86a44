/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/environment/rules_match.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <netinet/in.h>
#include <string.h>

/* ---- what a class knows ---- */

static void know(uint8_t *bytes, uint8_t *known, const void *value, size_t len)
{
	memcpy(bytes, value, len);
	memset(known, 0xff, len);
}

void rules_class_init(struct rules_class *c, uint8_t family)
{
	memset(c, 0, sizeof(*c));
	c->family = family;
	if (family == AF_INET) {
		c->net[9] = IPPROTO_UDP;
		c->net_known[9] = 0xff;
	} else {
		c->net[6] = IPPROTO_UDP;
		c->net_known[6] = 0xff;
	}
}

void rules_class_source(struct rules_class *c, const void *addr, uint16_t port_be)
{
	uint32_t off = c->family == AF_INET ? 12 : 8;

	if (addr)
		know(c->net + off, c->net_known + off, addr, c->family == AF_INET ? 4 : 16);
	if (port_be)
		know(c->udp, c->udp_known, &port_be, 2);
}

void rules_class_destination(struct rules_class *c, const void *addr, uint16_t port_be)
{
	uint32_t off = c->family == AF_INET ? 16 : 24;

	if (addr)
		know(c->net + off, c->net_known + off, addr, c->family == AF_INET ? 4 : 16);
	if (port_be)
		know(c->udp + 2, c->udp_known + 2, &port_be, 2);
}

static void meta_bytes(const struct rules_class *c, uint8_t key, uint8_t *bytes, uint8_t *known)
{
	const uint8_t nfproto = c->family == AF_INET ? NFPROTO_IPV4 : NFPROTO_IPV6,
		      proto = IPPROTO_UDP;
	const uint16_t type = htons(c->family == AF_INET ? 0x0800 : 0x86dd);

	switch (key) {
	case RULES_META_NFPROTO: know(bytes, known, &nfproto, 1); break;
	case RULES_META_L4PROTO: know(bytes, known, &proto, 1); break;
	case RULES_META_PROTOCOL: know(bytes, known, &type, 2); break;
	case RULES_META_IIF:
		if (c->iif_known)
			know(bytes, known, &c->iif, 4);
		break;
	case RULES_META_OIF:
		if (c->oif_known)
			know(bytes, known, &c->oif, 4);
		break;
	case RULES_META_IIFNAME:
		if (c->iif_known)
			know(bytes, known, c->iifname, 16);
		break;
	case RULES_META_OIFNAME:
		if (c->oif_known)
			know(bytes, known, c->oifname, 16);
		break;
	case RULES_META_MARK:
		if (c->mark_known)
			know(bytes, known, &c->mark, 4);
		break;
	case RULES_META_SADDR_TYPE:
		if (c->saddr_type)
			know(bytes, known, &c->saddr_type, 4);
		break;
	case RULES_META_DADDR_TYPE:
		if (c->daddr_type)
			know(bytes, known, &c->daddr_type, 4);
		break;
	}
}

/* Returns what the class knows about the bytes that the test looks at. */
static void class_bytes(const struct rules_class *c, const struct rules_test *t, uint8_t bytes[16],
			uint8_t known[16])
{
	memset(bytes, 0, 16);
	memset(known, 0, 16);
	if (t->space == RULES_META) {
		meta_bytes(c, t->off, bytes, known);
		return;
	}
	for (uint32_t i = 0; i < t->len; i++) {
		uint32_t at = t->off + i;

		if (t->space == RULES_NET && at < sizeof(c->net)) {
			bytes[i] = c->net[at];
			known[i] = c->net_known[at];
		} else if (t->space == RULES_UDP && at < sizeof(c->udp)) {
			bytes[i] = c->udp[at];
			known[i] = c->udp_known[at];
		}
	}
}

static enum match negate(enum match m)
{
	return m == NEVER ? SURELY : m == SURELY ? NEVER : PERHAPS;
}

static enum match equal(const struct rules_test *t, const uint8_t *bytes, const uint8_t *known)
{
	bool all = true;

	for (uint32_t i = 0; i < t->len; i++) {
		uint8_t mask = t->mask[i], certain = mask & known[i];

		if (((bytes[i] & mask) ^ t->flip[i] ^ t->lo[i]) & (uint8_t)(certain | ~mask))
			return NEVER;
		all &= certain == mask;
	}
	return all ? SURELY : PERHAPS;
}

static enum match ordered(const struct rules_test *t, const uint8_t *bytes, const uint8_t *known)
{
	uint8_t v[16];
	int lo, hi;
	bool met = false;

	for (uint32_t i = 0; i < t->len; i++) {
		if ((t->mask[i] & known[i]) != t->mask[i])
			return PERHAPS;
		v[i] = (bytes[i] & t->mask[i]) ^ t->flip[i];
	}
	lo = memcmp(v, t->lo, t->len);
	hi = memcmp(v, t->hi, t->len);
	switch (t->op) {
	case RULES_LT: met = lo < 0; break;
	case RULES_LE: met = lo <= 0; break;
	case RULES_GT: met = lo > 0; break;
	case RULES_GE: met = lo >= 0; break;
	case RULES_IN: met = lo >= 0 && hi <= 0; break;
	case RULES_OUT: met = lo < 0 || hi > 0; break;
	}
	return met ? SURELY : NEVER;
}

static enum match compare(const struct rules_test *t, const uint8_t *bytes, const uint8_t *known)
{
	switch (t->op) {
	case RULES_EQ: return equal(t, bytes, known);
	case RULES_NE: return negate(equal(t, bytes, known));
	case RULES_PERHAPS: return PERHAPS;
	case RULES_NEVER: return NEVER;
	default: return ordered(t, bytes, known);
	}
}

bool match_is_address(const struct rules_class *c, const struct rules_test *t, bool source)
{
	uint32_t len = c->family == AF_INET ? 4 : 16;
	uint32_t off = c->family == AF_INET ? (source ? 12 : 16) : (source ? 8 : 24);

	return t->space == RULES_NET && t->off >= off && t->off + t->len <= off + len;
}

static struct rules_class variant_of(const struct rules_class *c, bool source, uint32_t i)
{
	struct rules_class one = *c;

	if (source)
		rules_class_source(&one, c->saddr[i], 0);
	else
		rules_class_destination(&one, c->daddr[i], 0);
	return one;
}

/* The address is one of several. */
static enum match any_of(const struct rules_class *c, const struct rules_test *t, bool source)
{
	uint32_t cnt = source ? c->saddr_cnt : c->daddr_cnt, met[3] = {0};
	uint8_t bytes[16], known[16];

	for (uint32_t i = 0; i < cnt; i++) {
		struct rules_class one = variant_of(c, source, i);

		class_bytes(&one, t, bytes, known);
		met[compare(t, bytes, known)]++;
	}
	return met[SURELY] == cnt ? SURELY : met[NEVER] == cnt ? NEVER : PERHAPS;
}

/* ---- sets ---- */

bool match_readable(const struct rules *r, const struct rules_lookup *l)
{
	const struct rules_set *s = &r->sets[l->set];

	return s->finished && !s->unread && !s->changing;
}

/* Returns which list of own addresses the key holds: 0 for none, 1 for sources, 2 for
 * destinations. */
static int listed(const struct rules *r, const struct rules_class *c, const struct rules_lookup *l)
{
	for (uint32_t i = 0; i < l->part_cnt; i++) {
		if (c->saddr_cnt && match_is_address(c, &r->parts[l->part + i], true))
			return 1;
		if (c->daddr_cnt && match_is_address(c, &r->parts[l->part + i], false))
			return 2;
	}
	return 0;
}

uint32_t match_variants(const struct rules *r, const struct rules_class *c,
			const struct rules_lookup *l)
{
	int list = listed(r, c, l);

	return list == 1 ? c->saddr_cnt : list == 2 ? c->daddr_cnt : 1;
}

/* The bytes between the parts are zero. */
static void fill_key(struct match_walk *w, const struct rules_class *c,
		     const struct rules_lookup *l)
{
	uint8_t bytes[16], known[16];

	memset(w->bytes, 0, sizeof(w->bytes));
	memset(w->known, 0xff, sizeof(w->known));
	for (uint32_t i = 0; i < l->part_cnt; i++) {
		const struct rules_test *p = &w->r->parts[l->part + i];

		class_bytes(c, p, bytes, known);
		for (uint32_t b = 0; b < p->len; b++) {
			w->bytes[p->at + b] = (uint8_t)((bytes[b] & p->mask[b]) ^ p->flip[b]);
			w->known[p->at + b] = known[b] | (uint8_t)~p->mask[b];
		}
	}
}

static const uint8_t *lo_of(const struct match_walk *w, const struct rules_element *e)
{
	return w->r->keys + e->key;
}

static const uint8_t *hi_of(const struct match_walk *w, const struct rules_element *e)
{
	return w->r->keys + e->key + (w->set->ranges ? w->set->key_len : 0);
}

/* Returns the first element whose lower or upper key is not below the limit, or with `above`, is
 * beyond it. */
static uint32_t bound(const struct match_walk *w, const uint8_t *limit, bool above)
{
	uint32_t from = w->set->first, cnt = w->set->cnt;

	while (cnt) {
		const struct rules_element *e = &w->r->elements[from + cnt / 2];
		int d = memcmp(above ? lo_of(w, e) : hi_of(w, e), limit, w->set->key_len);

		if (above ? d <= 0 : d < 0) {
			from += cnt / 2 + 1;
			cnt -= cnt / 2 + 1;
		} else {
			cnt /= 2;
		}
	}
	return from;
}

void match_start(struct match_walk *w, const struct rules *r, const struct rules_class *c,
		 const struct rules_lookup *l, uint32_t variant, uint32_t *steps)
{
	int list = listed(r, c, l);
	uint8_t lowest[RULES_KEY], highest[RULES_KEY];

	w->r = r;
	w->set = &r->sets[l->set];
	w->steps = steps;
	w->best = NEVER;
	w->rest = w->set->has_rest;
	if (list) {
		struct rules_class one = variant_of(c, list == 1, variant);

		fill_key(w, &one, l);
	} else {
		fill_key(w, c, l);
	}
	w->at = w->set->first;
	w->end = w->set->first + w->set->cnt;
	if (w->set->field_cnt && w->set->ranges)
		return; /* the fields overlap, so all elements are looked at */
	for (uint32_t i = 0; i < w->set->key_len; i++) {
		lowest[i] = w->bytes[i] & w->known[i];
		highest[i] = lowest[i] | (uint8_t)~w->known[i];
	}
	w->at = bound(w, lowest, false);
	w->end = bound(w, highest, true);
}

static enum match match_point(const struct match_walk *w, const uint8_t *key)
{
	bool all = true;

	for (uint32_t i = 0; i < w->set->key_len; i++) {
		if ((w->bytes[i] ^ key[i]) & w->known[i])
			return NEVER;
		all &= w->known[i] == 0xff;
	}
	return all ? SURELY : PERHAPS;
}

static enum match match_range(const struct match_walk *w, const uint8_t *lo, const uint8_t *hi,
			      uint32_t from, uint32_t len)
{
	uint8_t lowest[RULES_KEY], highest[RULES_KEY];

	for (uint32_t i = 0; i < len; i++) {
		lowest[i] = w->bytes[from + i] & w->known[from + i];
		highest[i] = lowest[i] | (uint8_t)~w->known[from + i];
	}
	if (memcmp(highest, lo + from, len) < 0 || memcmp(lowest, hi + from, len) > 0)
		return NEVER;
	return memcmp(lowest, lo + from, len) >= 0 && memcmp(highest, hi + from, len) <= 0
		       ? SURELY
		       : PERHAPS;
}

static enum match match_element(const struct match_walk *w, const struct rules_element *e)
{
	const uint8_t *lo = lo_of(w, e), *hi = hi_of(w, e);
	enum match all = SURELY;
	uint32_t from = 0;

	if (!w->set->ranges)
		return match_point(w, lo);
	if (!w->set->field_cnt)
		return match_range(w, lo, hi, 0, w->set->key_len);
	for (uint32_t i = 0; i < w->set->field_cnt && all != NEVER; i++) {
		enum match m = match_range(w, lo, hi, from, w->set->field[i]);

		all = m < all ? m : all;
		from += (w->set->field[i] + 3u) & ~3u;
	}
	return all;
}

const struct rules_element *match_next(struct match_walk *w, enum match *m)
{
	while (w->at < w->end) {
		const struct rules_element *e = &w->r->elements[w->at++];

		++*w->steps;
		*m = match_element(w, e);
		if (*m == SURELY && w->set->doubtful)
			*m = PERHAPS;
		w->best = *m > w->best ? *m : w->best;
		if (*m != NEVER)
			return e;
	}
	*m = negate(w->best);
	if (!w->rest || *m == NEVER)
		return NULL;
	w->rest = false;
	if (*m == SURELY && w->set->doubtful)
		*m = PERHAPS;
	return &w->set->rest;
}

static enum match match_lookup(const struct rules *r, const struct rules_class *c,
			       const struct rules_lookup *l, uint32_t *steps)
{
	const struct rules_set *set = &r->sets[l->set];
	uint32_t met[3] = {0}, cnt = match_variants(r, c, l);
	enum match all;

	if (!match_readable(r, l))
		return PERHAPS;
	for (uint32_t i = 0; i < cnt; i++) {
		enum match best = NEVER, m;
		struct match_walk w;

		match_start(&w, r, c, l, i, steps);
		while (best != SURELY && match_next(&w, &m)) {
			best = m > best ? m : best;
			if (!set->ranges && !set->has_rest)
				break; /* all points are met equally surely */
		}
		met[best]++;
	}
	all = met[SURELY] == cnt ? SURELY : met[NEVER] == cnt ? NEVER : PERHAPS;
	return l->invert ? negate(all) : all;
}

/* ---- tests ---- */

enum match match_test(const struct rules *r, const struct rules_class *c,
		      const struct rules_test *t, uint32_t *steps)
{
	uint8_t bytes[16], known[16];
	enum match m;

	if (t->op == RULES_SET)
		return match_lookup(r, c, &r->lookups[t->lookup], steps);
	class_bytes(c, t, bytes, known);
	m = compare(t, bytes, known);
	if (m != PERHAPS || t->op == RULES_PERHAPS)
		return m;
	if (c->saddr_cnt && match_is_address(c, t, true))
		return any_of(c, t, true);
	if (c->daddr_cnt && match_is_address(c, t, false))
		return any_of(c, t, false);
	return m;
}

static bool knows(const struct rules_class *c, const struct rules_test *t)
{
	uint8_t bytes[16], known[16];

	class_bytes(c, t, bytes, known);
	for (uint32_t i = 0; i < t->len; i++)
		if (t->mask[i] & ~known[i])
			return false;
	return true;
}

static uint32_t may_vary(const struct rules_class *c, const struct rules_test *t)
{
	bool port =
		(c->source_varies && t->off < 2) || (c->destination_varies && t->off + t->len > 2);

	if (t->op == RULES_PERHAPS || t->space == RULES_META)
		return 0;
	if (t->space == RULES_UDP)
		return port ? RULES_VARIES_PORT : 0;
	return (c->source_varies && !match_is_address(c, t, false)) ||
			       (c->destination_varies && !match_is_address(c, t, true))
		       ? RULES_VARIES_ADDRESS
		       : 0;
}

uint32_t match_varies(const struct rules *r, const struct rules_class *c,
		      const struct rules_test *t)
{
	const struct rules_lookup *l;
	uint32_t varies = 0;

	if (t->op != RULES_SET)
		return may_vary(c, t);
	l = &r->lookups[t->lookup];
	for (uint32_t i = 0; i < l->part_cnt; i++) {
		const struct rules_test *p = &r->parts[l->part + i];

		if (!knows(c, p))
			varies |= may_vary(c, p);
	}
	return varies;
}

bool match_state(const struct rules *r, const struct rules_test *t)
{
	const struct rules_lookup *l;
	bool state = false;

	if (t->op != RULES_SET)
		return t->state;
	l = &r->lookups[t->lookup];
	for (uint32_t i = 0; i < l->part_cnt; i++)
		state |= r->parts[l->part + i].state;
	return state || r->sets[l->set].changing;
}
