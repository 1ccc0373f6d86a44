/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/environment/reader.h"

#include "sidecar/environment/attrs.h"
#include "sidecar/environment/rules_nft.h"
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <udplane/clock.h>

#define CHUNK 65536

#define NOTES 64

enum phase { IDLE, TABLES, CHAINS, SETS, ELEMENTS, RULES, DONE };

struct table {
	uint8_t family;
	char name[NFT_NAME_MAXLEN];
	uint64_t handle; /* unique among all tables since boot */
};

struct set_name {
	uint8_t family;
	char table[NFT_NAME_MAXLEN], name[NFT_NAME_MAXLEN];
};

struct reader {
	struct mnl_socket *socket;
	char ifname[16];
	enum phase phase;
	uint32_t seq;
	bool torn;
	bool sets_only;
	uint16_t generation; /* of the first message */
	bool any;
	struct rules rules;
	const struct rules *old;
	struct table *tables;
	struct set_name
		*sets; /* sets whose elements are to be read; those before set_at are done */
	uint32_t table_cnt, table_room, set_cnt, set_room, set_at;
	struct set_name note[NOTES];
	uint32_t note_cnt;
	char buf[CHUNK] __attribute__((aligned(8)));
};

/* ---- what comes ---- */

static void *add(struct reader *r, void **items, uint32_t *cnt, uint32_t *room, size_t size)
{
	void *bigger;

	if (*cnt == *room) {
		bigger = realloc(*items, (*room ? 2 * *room : 64) * size);
		if (!bigger) {
			r->rules.failed = true;
			return NULL;
		}
		*items = bigger;
		*room = *room ? 2 * *room : 64;
	}
	return (uint8_t *)*items + size * (*cnt)++;
}

static uint64_t be64_of(const struct nlattr *n)
{
	uint64_t v = 0;

	if (n && mnl_attr_get_payload_len(n) >= sizeof(v))
		memcpy(&v, mnl_attr_get_payload(n), sizeof(v));
	return be64toh(v);
}

static void take_table(struct reader *r, uint8_t family, const struct attrs *a)
{
	struct table *t = add(r, (void **)&r->tables, &r->table_cnt, &r->table_room, sizeof(*t));

	if (!t)
		return;
	t->family = family;
	t->handle = be64_of(a->at[NFTA_TABLE_HANDLE]);
	attrs_string(a->at[NFTA_TABLE_NAME], t->name, sizeof(t->name));
}

/* Returns 0 if it has none, or the set may change. */
static uint64_t identity_of(const struct reader *r, uint8_t family, const char *table,
			    const struct attrs *a)
{
	const uint32_t fixed = NFT_SET_ANONYMOUS | NFT_SET_CONSTANT;
	uint64_t handle = be64_of(a->at[NFTA_SET_HANDLE]);

	if (!handle || (attrs_be32(a, NFTA_SET_FLAGS, 0) & fixed) != fixed)
		return 0;
	for (uint32_t i = 0; i < r->table_cnt; i++)
		if (r->tables[i].family == family && !strcmp(r->tables[i].name, table))
			return r->tables[i].handle
				       ? r->tables[i].handle * 0x9e3779b97f4a7c15ull ^ handle
				       : 0;
	return 0;
}

static void take_set(struct reader *r, uint8_t family, const struct attrs *a,
		     const struct nlmsghdr *nlh)
{
	char table[NFT_NAME_MAXLEN];
	struct set_name *n;

	rules_nft_set(&r->rules, nlh);
	if (r->rules.failed)
		return;
	attrs_string(a->at[NFTA_SET_TABLE], table, sizeof(table));
	if (rules_reuse_set(&r->rules, identity_of(r, family, table, a), r->old))
		return;
	n = add(r, (void **)&r->sets, &r->set_cnt, &r->set_room, sizeof(*n));
	if (!n)
		return;
	n->family = family;
	memcpy(n->table, table, sizeof(table));
	attrs_string(a->at[NFTA_SET_NAME], n->name, sizeof(n->name));
}

static void take(struct reader *r, const struct nlmsghdr *nlh)
{
	const struct nfgenmsg *g = mnl_nlmsg_get_payload(nlh);
	struct attrs a;

	if (!attrs_of_message(&a, nlh, sizeof(*g)))
		return;
	r->torn |= r->any && r->generation != g->res_id;
	r->generation = g->res_id;
	r->any = true;
	switch (r->phase) {
	case TABLES: take_table(r, g->nfgen_family, &a); break;
	case CHAINS: rules_nft_chain(&r->rules, nlh, r->ifname); break;
	case SETS: take_set(r, g->nfgen_family, &a, nlh); break;
	case ELEMENTS: rules_nft_elements(&r->rules, nlh); break;
	case RULES: rules_nft_rule(&r->rules, nlh); break;
	default: break;
	}
}

/* ---- what is asked ---- */

static int request(struct reader *r, enum phase phase)
{
	static const uint16_t type[] = {[TABLES] = NFT_MSG_GETTABLE,
					[CHAINS] = NFT_MSG_GETCHAIN,
					[SETS] = NFT_MSG_GETSET,
					[ELEMENTS] = NFT_MSG_GETSETELEM,
					[RULES] = NFT_MSG_GETRULE};
	uint8_t buf[1024] __attribute__((aligned(8)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *g;

	nlh->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type[phase]);
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	nlh->nlmsg_seq = ++r->seq;
	g = mnl_nlmsg_put_extra_header(nlh, sizeof(*g));
	g->nfgen_family = NFPROTO_UNSPEC;
	g->version = NFNETLINK_V0;
	if (phase == ELEMENTS) {
		const struct set_name *n = &r->sets[r->set_at++];

		g->nfgen_family = n->family;
		mnl_attr_put_strz(nlh, NFTA_SET_ELEM_LIST_TABLE, n->table);
		mnl_attr_put_strz(nlh, NFTA_SET_ELEM_LIST_SET, n->name);
	}
	r->phase = phase;
	return mnl_socket_sendto(r->socket, nlh, nlh->nlmsg_len) < 0 ? -errno : 0;
}

/* Continues after the end of a dump. Returns 1 if everything is read. */
static int go_on(struct reader *r)
{
	switch (r->phase) {
	case TABLES: return request(r, CHAINS);
	case CHAINS: return request(r, SETS);
	case SETS:
	case ELEMENTS:
		if (r->set_at < r->set_cnt)
			return request(r, ELEMENTS);
		return r->sets_only ? 1 : request(r, RULES);
	default: return 1;
	}
}

static bool is_absent(int err)
{
	return err == -EINVAL || err == -EOPNOTSUPP || err == -EPROTONOSUPPORT ||
	       err == -EAFNOSUPPORT;
}

/* Returns 1 if everything is read. */
static int take_end(struct reader *r, const struct nlmsghdr *nlh)
{
	int err = -EPROTO;

	if (nlh->nlmsg_type == NLMSG_DONE)
		return go_on(r);
	if (nlh->nlmsg_len >= MNL_ALIGN(sizeof(*nlh)) + 4)
		memcpy(&err, mnl_nlmsg_get_payload(nlh), sizeof(err));
	if (err == -ENOENT && r->phase == ELEMENTS)
		return -EINTR; /* the set was removed during the reading */
	return is_absent(err) || err == -ENOENT ? 1 : err ? err : -EPROTO;
}

/* Reads one chunk. Returns 0 if there is more, 1 if everything is read. */
static int take_chunk(struct reader *r)
{
	ssize_t got = recv(mnl_socket_get_fd(r->socket), r->buf, sizeof(r->buf),
			   MSG_TRUNC | MSG_DONTWAIT);
	const struct nlmsghdr *nlh;
	const void *at = r->buf;
	uint32_t len = (uint32_t)got;

	if (got < 0)
		return -errno;
	if (got > (ssize_t)sizeof(r->buf))
		return -EMSGSIZE;
	while ((nlh = attrs_next_message(&at, &len))) {
		if (nlh->nlmsg_seq != r->seq)
			continue;
		r->torn |= (nlh->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
		if (nlh->nlmsg_type == NLMSG_ERROR || nlh->nlmsg_type == NLMSG_DONE)
			return take_end(r, nlh);
		if (nlh->nlmsg_type >= NLMSG_MIN_TYPE)
			take(r, nlh);
	}
	return 0;
}

/* ---- the caller's side ---- */

static void forget(struct reader *r)
{
	rules_free(&r->rules);
	r->table_cnt = r->set_cnt = r->set_at = 0;
	r->torn = r->any = r->sets_only = false;
	r->phase = IDLE;
}

int reader_open(struct reader **out, const char *ifname)
{
	struct reader *r = calloc(1, sizeof(*r));

	*out = r;
	if (!r)
		return -ENOMEM;
	memcpy(r->ifname, ifname, strnlen(ifname, sizeof(r->ifname) - 1));
	r->socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!r->socket || mnl_socket_bind(r->socket, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	return 0;
}

void reader_close(struct reader *r)
{
	if (!r)
		return;
	if (r->socket)
		mnl_socket_close(r->socket);
	forget(r);
	free(r->tables);
	free(r->sets);
	free(r);
}

int reader_fd(const struct reader *r)
{
	return mnl_socket_get_fd(r->socket);
}

bool reader_busy(const struct reader *r)
{
	return r->phase != IDLE;
}

static void drain(struct reader *r)
{
	while (recv(reader_fd(r), r->buf, sizeof(r->buf), MSG_DONTWAIT) > 0)
		;
}

bool reader_note(struct reader *r, uint8_t family, const char *table, const char *name)
{
	struct set_name *n = r->note;

	for (; n < r->note + r->note_cnt; n++)
		if (n->family == family && !strcmp(n->table, table) && !strcmp(n->name, name))
			return true;
	if (r->note_cnt == NOTES)
		return false;
	n->family = family;
	snprintf(n->table, sizeof(n->table), "%s", table);
	snprintf(n->name, sizeof(n->name), "%s", name);
	r->note_cnt++;
	return true;
}

bool reader_has_notes(const struct reader *r)
{
	return r->note_cnt;
}

int reader_start(struct reader *r, const struct rules *old)
{
	int err;

	drain(r); /* the rest of a dump; otherwise the next request would be refused */
	forget(r);
	r->note_cnt = 0;
	r->old = old;
	err = request(r, TABLES);
	if (err)
		forget(r);
	return err;
}

int reader_more(struct reader *r)
{
	int err;

	r->sets_only = true;
	r->torn = r->any = false;
	r->set_cnt = r->set_at = 0;
	for (uint32_t i = 0; i < r->note_cnt; i++) {
		const struct set_name *n = &r->note[i];
		uint32_t set = rules_find_set(&r->rules, n->family, n->table, n->name);
		struct set_name *to;

		if (set == RULES_NONE)
			continue; /* the set comes with the part that is not read yet */
		to = add(r, (void **)&r->sets, &r->set_cnt, &r->set_room, sizeof(*to));
		if (!to)
			return -ENOMEM;
		*to = *n;
		rules_empty_set(&r->rules, set);
	}
	r->note_cnt = 0;
	r->phase = ELEMENTS;
	err = go_on(r);
	if (err > 0)
		r->phase = DONE;
	return err < 0 ? err : 0;
}

int reader_start_sets(struct reader *r, const struct rules *old)
{
	int err;

	drain(r);
	forget(r);
	r->old = old;
	err = rules_copy(&r->rules, old) ? reader_more(r) : -ENOMEM;
	if (err)
		forget(r);
	return err;
}

int reader_step(struct reader *r, uint64_t ns)
{
	uint64_t until = clock_now_ns() + ns;
	int err;

	if (r->phase == DONE)
		return 1;
	if (!reader_busy(r)) {
		drain(r);
		return 0;
	}
	do
		err = take_chunk(r);
	while (!err && clock_now_ns() < until);
	if (err == -EAGAIN)
		return 0;
	if (err > 0)
		r->phase = DONE;
	else if (err)
		forget(r);
	return err;
}

bool reader_torn(const struct reader *r)
{
	return r->torn;
}

void reader_take(struct reader *r, struct rules *out)
{
	if (out) {
		rules_finish(&r->rules);
		*out = r->rules;
		memset(&r->rules, 0, sizeof(r->rules));
	}
	forget(r);
}
