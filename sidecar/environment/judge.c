/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/environment/judge.h"

#include <arpa/inet.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define SENDING	  (RULES_OUTPUT | RULES_POSTROUTING | RULES_EGRESS)
#define RECEIVING (RULES_INGRESS | RULES_PREROUTING | RULES_INPUT)
#define OURS_MAX  64 /* own addresses that a wildcard socket is judged by; if more, any */

static const enum udplane_reason reasons[JUDGE_RULES] = {
	[JUDGE_NETFILTER] = UDPLANE_REASON_NETFILTER,
	[JUDGE_IPSEC] = UDPLANE_REASON_IPSEC,
	[JUDGE_TRAFFIC_CONTROL] = UDPLANE_REASON_TRAFFIC_CONTROL,
};

void judge_free(struct judge_world *w)
{
	for (uint32_t i = 0; i < JUDGE_RULES; i++)
		rules_free(&w->rules[i]);
	ipvs_free(&w->ipvs);
	free(w->ours);
	free(w->sources);
	w->ours = w->sources = NULL;
	w->ours_cnt = w->source_cnt = 0;
}

/* ---- classes ---- */

/* Own addresses of one family at which a socket may receive, or from which it may send. IPv4 is in
 * the first bytes. */
struct own {
	uint8_t addr[OURS_MAX][16];
	uint32_t cnt; /* 0 if unknown, or too many */
};

static void own_of(const struct judge_world *w, uint8_t family, bool in, struct own *o)
{
	bool some = !in && family == AF_INET && w->source_cnt;
	uint8_t(*addr)[16] = some ? w->sources : w->ours;
	uint32_t cnt = some ? w->source_cnt : w->ours_cnt;

	o->cnt = 0;
	for (uint32_t i = 0; i < cnt; i++) {
		bool v4 = udplane_addr_is_mapped(addr[i]);

		if (v4 != (family == AF_INET))
			continue;
		if (o->cnt == OURS_MAX) {
			o->cnt = 0;
			return;
		}
		memset(o->addr[o->cnt], 0, 16);
		memcpy(o->addr[o->cnt++], v4 ? addr[i] + 12 : addr[i], v4 ? 4 : 16);
	}
}

static void through_device(const struct judge_world *w, struct rules_class *c, bool in)
{
	c->iif_known = c->oif_known = c->mark_known =
		true; /* a rule that sets a mark is an effect itself */
	if (in) {
		c->iif = (uint32_t)w->ifindex;
		memcpy(c->iifname, w->ifname, sizeof(c->iifname));
	} else {
		c->oif = (uint32_t)w->ifindex;
		memcpy(c->oifname, w->ifname, sizeof(c->oifname));
	}
}

static const void *bound_to(const struct judge_socket *s, uint8_t family)
{
	return s && s->local->family == family && !udplane_addr_is_any(s->local) ? s->local->addr
										 : NULL;
}

/* The class of what a socket sends. s NULL, here and below, means any of our sockets. */
static void sending(const struct judge_world *w, const struct judge_socket *s, uint8_t family,
		    const struct own *own, struct rules_class *c)
{
	const void *local = bound_to(s, family);

	rules_class_init(c, family);
	rules_class_source(c, local, s ? s->port_be : 0);
	if (!local) {
		c->saddr = own->addr;
		c->saddr_cnt = own->cnt;
	}
	through_device(w, c, false);
	c->saddr_type = RTN_LOCAL;
	c->daddr_type = RTN_UNICAST; /* the rest is no fast destination */
	c->hooks = SENDING;
	c->by_destination = true;
}

static void receiving(const struct judge_world *w, const struct judge_socket *s, uint8_t family,
		      const struct own *own, struct rules_class *c)
{
	const void *local = bound_to(s, family);

	rules_class_init(c, family);
	rules_class_destination(c, local, s ? s->port_be : 0);
	if (!local) {
		c->daddr = own->addr;
		c->daddr_cnt = own->cnt;
	}
	if (s && s->peer->family == family)
		rules_class_source(c, s->peer->addr, s->peer->port_be);
	through_device(w, c, true);
	c->daddr_type = RTN_LOCAL;
	c->hooks = RECEIVING;
}

/* The class of what arrives for any destination and may be redirected to one of our sockets.
 * port_be 0 means any port. */
static void redirected(const struct judge_world *w, uint8_t family, uint16_t port_be,
		       struct rules_class *c)
{
	rules_class_init(c, family);
	c->hooks = RULES_PREROUTING;
	c->nat_only = c->to_ours = true;
	c->to_port_be = port_be;
	c->ours = (const void *)w->ours;
	c->ours_cnt = w->ours_cnt;
}

/* ---- what does not depend on the socket ---- */

void judge_exclude(struct rules_prefix *list, uint32_t *cnt, const struct rules_prefix *p)
{
	if (rules_prefix_add(list, cnt, RULES_PREFIXES / 2, p))
		return;
	list[0] = (struct rules_prefix){.family = p->family}; /* everything */
	*cnt = 1;
}

/* Each family may use half of the room. from: where its part begins. */
static void exclude_one(struct judge_world *w, uint32_t from, const struct rules_prefix *p)
{
	uint32_t cnt = w->excluded_cnt - from;

	judge_exclude(w->excluded + from, &cnt, p);
	w->excluded_cnt = from + cnt;
}

static void exclude(struct judge_world *w, uint32_t from, const struct rules_result *r)
{
	for (uint32_t i = 0; i < r->prefix_cnt; i++)
		exclude_one(w, from, &r->prefix[i]);
	if (r->prefix_cnt && !w->excluded_text[0])
		memcpy(w->excluded_text, r->where_text, sizeof(w->excluded_text));
}

static void ipvs_text(const struct ipvs_end *e, const char *what, char text[UDPLANE_TEXT_LEN])
{
	char addr[INET6_ADDRSTRLEN];

	inet_ntop(e->family, e->addr, addr, sizeof(addr));
	snprintf(text, UDPLANE_TEXT_LEN, "IPVS %s %s port %u (ipvsadm -Ln)", what, addr,
		 ntohs(e->port_be));
}

static void exclude_ipvs(struct judge_world *w, uint8_t family, uint32_t from)
{
	for (uint32_t i = 0; i < w->ipvs.end_cnt; i++) {
		const struct ipvs_end *e = &w->ipvs.end[i];
		struct rules_prefix p = {.family = family, .len = family == AF_INET ? 32 : 128};

		if (e->family != family)
			continue;
		memcpy(p.addr, e->addr, sizeof(p.addr));
		exclude_one(w, from, &p);
		if (!w->excluded_text[0])
			ipvs_text(e, e->server ? "sends to" : "balances", w->excluded_text);
	}
}

/* Excludes no peers where the rest is decided without them: a rule for one peer then counts for
 * all. */
static void prepare_family(struct judge_world *w, uint8_t family)
{
	uint32_t six = family == AF_INET6, from = w->excluded_cnt;
	struct rules_result res;
	struct rules_class c;
	struct own own;

	own_of(w, family, true,
	       &own); /* a socket may be bound to any of them, and send from there */
	for (uint32_t kind = 0; kind < JUDGE_RULES; kind++) {
		sending(w, NULL, family, &own, &c);
		c.source_varies = true;
		rules_ask(&w->rules[kind], &c, &w->any[kind][six][0]);
		exclude(w, from, &w->any[kind][six][0]);
		receiving(w, NULL, family, &own, &c);
		c.destination_varies = true;
		c.by_source = kind == JUDGE_NETFILTER;
		rules_ask(&w->rules[kind], &c, &w->any[kind][six][1]);
		exclude(w, from, &w->any[kind][six][1]);
	}
	exclude_ipvs(w, family, from);
	redirected(w, family, 0, &c);
	memset(w->redirect_port[six], 0, sizeof(w->redirect_port[six]));
	c.ports = w->redirect_port[six];
	rules_ask(&w->rules[JUDGE_NETFILTER], &c, &res);
	w->redirects[six] = res.any_port;
	rules_class_init(&c, family); /* of any sender */
	c.nat_only = true;
	c.hooks = SENDING | RECEIVING;
	rules_ask(&w->rules[JUDGE_NETFILTER], &c, &res);
	w->translates |= (res.effects & (RULES_SNAT | RULES_DNAT | RULES_OTHER)) != 0;
	c.hooks = RULES_POSTROUTING | RULES_INPUT;
	rules_ask(&w->rules[JUDGE_NETFILTER], &c, &res);
	w->foreign[six].snat = (res.effects & (RULES_SNAT | RULES_OTHER)) != 0;
	snprintf(w->foreign[six].text, UDPLANE_TEXT_LEN,
		 "%.105s: answers to others' datagrams may come to its port", res.text);
}

void judge_prepare(struct judge_world *w)
{
	w->translates = false;
	w->excluded_cnt = 0;
	w->excluded_text[0] = 0;
	memset(w->foreign, 0, sizeof(w->foreign));
	prepare_family(w, AF_INET);
	prepare_family(w, AF_INET6);
}

/* ---- a socket ---- */

static void no_rx(struct judge_verdict *v, enum udplane_reason why, const char *text)
{
	if (v->rx)
		return;
	v->rx = why;
	snprintf(v->rx_text, sizeof(v->rx_text), "%s", text);
}

static void no_tx(struct judge_verdict *v, enum udplane_reason why, const char *text)
{
	if (v->tx)
		return;
	v->tx = why;
	snprintf(v->tx_text, sizeof(v->tx_text), "%s", text);
}

/* Returns true if a datagram for another destination may be redirected to this socket, whose
 * answers must then be translated back. */
static void judge_redirection(const struct judge_world *w, const struct judge_socket *s,
			      uint8_t family, struct judge_verdict *v)
{
	bool six = family == AF_INET6;
	uint16_t port = ntohs(s->port_be);
	struct rules_result res;
	struct rules_class c;

	if (!w->redirects[six] && !(w->redirect_port[six][port / 64] >> port % 64 & 1))
		return;
	redirected(w, family, s->port_be, &c);
	rules_ask(&w->rules[JUDGE_NETFILTER], &c, &res);
	if (res.effects)
		no_tx(v, UDPLANE_REASON_NETFILTER, res.text);
}

static bool is_ours(const struct judge_world *w, const struct ipvs_end *e)
{
	uint8_t addr[16];

	udplane_addr_to_mapped(addr, e->family, e->addr);
	for (uint32_t i = 0; i < w->ours_cnt; i++)
		if (!memcmp(w->ours[i], addr, sizeof(addr)))
			return true;
	return false;
}

static void judge_ipvs(const struct judge_world *w, const struct judge_socket *s, uint8_t family,
		       struct judge_verdict *v)
{
	const void *local = bound_to(s, family);
	char text[UDPLANE_TEXT_LEN];

	for (uint32_t i = 0; i < w->ipvs.end_cnt; i++) {
		const struct ipvs_end *e = &w->ipvs.end[i];

		if (e->family != family || (e->port_be && e->port_be != s->port_be) ||
		    (local && memcmp(local, e->addr, family == AF_INET ? 4 : 16)))
			continue;
		if (!e->server) {
			ipvs_text(e, "balances", text);
			no_rx(v, UDPLANE_REASON_NETFILTER, text);
		} else if (is_ours(w, e)) {
			ipvs_text(e, "sends to", text);
			no_tx(v, UDPLANE_REASON_NETFILTER, text);
		}
	}
}

static const char *text_of(const struct rules_result *r)
{
	return r->text[0] ? r->text : r->where_text;
}

/* Returns the answer for this socket, which may be the one for any socket. */
static const struct rules_result *ask(const struct judge_world *w, const struct judge_socket *s,
				      uint8_t family, uint32_t kind, bool in,
				      struct rules_result *room)
{
	const struct rules_result *any = &w->any[kind][family == AF_INET6][in];
	bool wild = !bound_to(s, family) && s->peer->family != family &&
		    (in || family != AF_INET || !w->source_cnt);
	struct rules_class c;
	struct own own;

	if (!any->effects || !(any->varies & ~(wild ? RULES_VARIES_ADDRESS : 0u)))
		return any;
	own_of(w, family, in, &own);
	if (in)
		receiving(w, s, family, &own, &c);
	else
		sending(w, s, family, &own, &c);
	c.by_source = in && kind == JUDGE_NETFILTER;
	rules_ask(&w->rules[kind], &c, room);
	return room;
}

/* Returns true if all peers that a result names are excluded. */
static bool covered(const struct judge_world *w, const struct rules_result *r)
{
	for (uint32_t i = 0; i < r->prefix_cnt; i++) {
		uint32_t k = 0;

		while (k < w->excluded_cnt && !rules_prefix_holds(&w->excluded[k], &r->prefix[i]))
			k++;
		if (k == w->excluded_cnt)
			return false;
	}
	return true;
}

/* A rule that ties the directions together and concerns some peers only ties them for these peers:
 * they are excluded as destinations and as sources. */
static void judge_rules(const struct judge_world *w, const struct judge_socket *s, uint8_t family,
			uint32_t kind, struct judge_verdict *v)
{
	struct rules_result room;
	const struct rules_result *res = ask(w, s, family, kind, false, &room);

	if (res->all || !covered(w, res))
		no_tx(v, reasons[kind], text_of(res));
	if (res->state_all || (!w->device_asks && res->nat_all))
		no_rx(v, reasons[kind], text_of(res));
	res = ask(w, s, family, kind, true, &room);
	if (res->all || !covered(w, res))
		no_rx(v, reasons[kind], text_of(res));
	if (res->state_all || (res->state && !covered(w, res)) || res->effects & RULES_SNAT)
		no_tx(v, reasons[kind], text_of(res));
}

static void judge_family(const struct judge_world *w, const struct judge_socket *s, uint8_t family,
			 struct judge_verdict *v)
{
	bool six = family == AF_INET6;

	for (uint32_t kind = 0; kind < JUDGE_RULES; kind++)
		judge_rules(w, s, family, kind, v);
	judge_redirection(w, s, family, v);
	judge_ipvs(w, s, family, v);
	if (w->foreign[six].snat && !w->device_asks)
		no_rx(v, UDPLANE_REASON_NETFILTER, w->foreign[six].text);
}

static void judge_programs(const struct judge_socket *s, struct judge_verdict *v)
{
	static const struct {
		uint32_t bits;
		bool rx, tx, connected;
		const char *text;
	} table[] = {
		{JUDGE_SEND4 | JUDGE_SEND6, false, true, false,
		 "a sendmsg program of its control group may change where it sends to"},
		{JUDGE_CONNECT4 | JUDGE_CONNECT6, true, true, true,
		 "a connect program of its control group may have changed its peer"},
		{JUDGE_RECV4 | JUDGE_RECV6, true, false, false,
		 "a recvmsg program of its control group may change from where it receives"},
		{JUDGE_PEER4 | JUDGE_PEER6, true, true, true,
		 "a getpeername program of its control group may hide its peer"},
		{JUDGE_SKB_IN, true, false, false,
		 "an ingress program of its control group may drop or count what it receives"},
		{JUDGE_SKB_OUT, false, true, false,
		 "an egress program of its control group may drop or count what it sends"},
	};
	const uint32_t six = JUDGE_SEND6 | JUDGE_RECV6 | JUDGE_CONNECT6 | JUDGE_PEER6;
	const uint32_t four = JUDGE_SEND4 | JUDGE_RECV4 | JUDGE_CONNECT4 | JUDGE_PEER4;
	uint32_t have = s->programs & ~((s->v6 ? 0 : six) | (s->v4 ? 0 : four));

	for (uint32_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (!(have & table[i].bits) || (table[i].connected && !s->peer->family))
			continue;
		if (table[i].rx)
			no_rx(v, UDPLANE_REASON_CGROUP_PROGRAM, table[i].text);
		if (table[i].tx)
			no_tx(v, UDPLANE_REASON_CGROUP_PROGRAM, table[i].text);
	}
}

static const char flows_text[] =
	"translated UDP flows are still tracked: /proc/net/nf_conntrack, conntrack -L";

/* Groups are rarely the concern of rules. Whatever may match them counts, for any sender. */
enum udplane_reason judge_group(const struct judge_world *w, const struct udplane_addr *group,
				char text[UDPLANE_TEXT_LEN])
{
	struct rules_result res;
	struct rules_class c;

	for (uint32_t kind = 0; kind < JUDGE_RULES; kind++) {
		rules_class_init(&c, group->family);
		rules_class_destination(&c, group->addr, group->port_be);
		through_device(w, &c, true);
		c.daddr_type = udplane_addr_is_multicast(group) ? RTN_MULTICAST : RTN_BROADCAST;
		c.hooks = RECEIVING;
		rules_ask(&w->rules[kind], &c, &res);
		if (!w->blind[kind][0] && !res.effects)
			continue;
		snprintf(text, UDPLANE_TEXT_LEN, "%s",
			 w->blind[kind][0] ? w->blind[kind] : text_of(&res));
		return reasons[kind];
	}
	return UDPLANE_REASON_NONE;
}

void judge_socket(const struct judge_world *w, const struct judge_socket *s,
		  struct judge_verdict *out)
{
	memset(out, 0, sizeof(*out));
	judge_programs(s, out);
	for (uint32_t kind = 0; kind < JUDGE_RULES; kind++) {
		if (w->blind[kind][0]) {
			no_rx(out, reasons[kind], w->blind[kind]);
			no_tx(out, reasons[kind], w->blind[kind]);
		}
	}
	if (w->ipvs_blind[0]) {
		no_rx(out, UDPLANE_REASON_NETFILTER, w->ipvs_blind);
		no_tx(out, UDPLANE_REASON_NETFILTER, w->ipvs_blind);
	}
	if (w->nat_flows && !w->device_asks)
		no_rx(out, UDPLANE_REASON_NETFILTER, flows_text);
	if (w->nat_flows)
		no_tx(out, UDPLANE_REASON_NETFILTER, flows_text);
	if (s->v4)
		judge_family(w, s, AF_INET, out);
	if (s->v6)
		judge_family(w, s, AF_INET6, out);
}
