/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports that several sockets share (SO_REUSEADDR, SO_REUSEPORT): which of the claimed ones may be
 * diverted.
 *
 * Clients wait for answers of this thread, so a claim must not cost more than a constant, however
 * many sockets there are. The rest is done a bit per turn of the loop (shared_work):
 *
 * - A connected socket loses datagrams only to one with the same four-tuple, and Linux says which
 *   socket has that: one question (claim_winner).
 *
 * - For an unconnected socket, the sockets on the port that do not use udplane count, as of the
 *   last listing, which is SCAN_EVERY_NS old at most.
 *
 * - Rivals are two claimed sockets with one key. A new one is `fresh` for FRESH_NS: a server that
 *   binds a socket beside its listener to connect() it at once (DTLS, TURN, QUIC) must not stop
 *   the listener each time. Until then the new socket waits, and the others do not.
 */
#include "sidecar/base/log.h"
#include "sidecar/control/internal.h"
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <udplane/clock.h>
#include <unistd.h>

#define FRESH_NS      20000000ull   /* bind() to connect() takes some 100 us */
#define SCAN_EVERY_NS 500000000ull  /* from one listing to the next */
#define SCAN_SOON_NS  100000000ull  /* the same where something has changed */
#define SCAN_SHARE    50	    /* listings take no more of the thread's time than 1 / this */
#define SCAN_PORTS    8		    /* more ports than these are listed all at once */
#define KNOWN_NS      2000000000ull /* an older listing is not used */
#define LOOK_AGAIN    64 /* a port with fewer sockets is listed at each claim: it is quick */
#define LOOK_STEPS    16 /* answers of the kernel that a claim waits for */

/* ---- sockets that do not use udplane, by port ---- */

struct others {
	struct claim_other *o;
	uint32_t cnt, room;
	uint32_t seen; /* sockets listed, ours included */
	bool many;     /* some were left out */
};

struct shared_port {
	TAILQ_ENTRY(shared_port) link;
	uint16_t port_be;
	bool collecting;    /* for `next` */
	bool changed;	    /* `now` is not what its sockets were settled by */
	uint64_t listed_ns; /* when `now` was; 0: never */
	struct others now, next;
};

static struct sock *sock_of_item(struct index_item *i)
{
	return (struct sock *)((char *)i - offsetof(struct sock, item));
}

static void others_add(struct others *l, const struct claim_other *o)
{
	if (l->cnt == l->room) {
		uint32_t room = l->room ? 2 * l->room : 8;
		struct claim_other *more =
			room > DECIDE_OTHERS_MAX ? NULL : realloc(l->o, room * sizeof(*more));

		l->many |= !more;
		if (!more)
			return;
		l->o = more;
		l->room = room;
	}
	l->o[l->cnt++] = *o;
}

static bool others_remove(struct others *l, uint64_t cookie)
{
	for (uint32_t i = 0; i < l->cnt; i++) {
		if (l->o[i].cookie != cookie)
			continue;
		l->o[i] = l->o[--l->cnt];
		return true;
	}
	return false;
}

static bool others_differ(const struct others *a, const struct others *b)
{
	return a->cnt != b->cnt || a->many != b->many ||
	       (a->cnt && memcmp(a->o, b->o, a->cnt * sizeof(*a->o)));
}

static struct shared_port *port_of(struct control *c, uint16_t port_be)
{
	struct shared_port *p = c->shared.port[port_be];

	if (p)
		return p;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->port_be = port_be;
	c->shared.port[port_be] = p;
	TAILQ_INSERT_TAIL(&c->shared.ports, p, link);
	c->shared.port_cnt++;
	work_at(c, clock_now_ns() + SCAN_EVERY_NS);
	return p;
}

static void port_free(struct control *c, struct shared_port *p)
{
	TAILQ_REMOVE(&c->shared.ports, p, link);
	c->shared.port[p->port_be] = NULL;
	c->shared.port_cnt--;
	free(p->now.o);
	free(p->next.o);
	free(p);
}

/* ---- sockets to be decided about again ---- */

static void todo_remove(struct control *c, struct sock *k)
{
	if (k->todo == TODO_SETTLE)
		TAILQ_REMOVE(&c->shared.settle, k, todo_link);
	else if (k->todo == TODO_FRESH)
		TAILQ_REMOVE(&c->shared.fresh, k, todo_link);
	k->todo = TODO_NONE;
}

void shared_mark(struct control *c, struct sock *k)
{
	if (k->todo != TODO_NONE || k->fd < 0)
		return;
	k->todo = TODO_SETTLE;
	TAILQ_INSERT_TAIL(&c->shared.settle, k, todo_link);
	work_at(c, 0);
}

static void mark_list(struct control *c, const struct index_list *list, bool waiting)
{
	struct index_item *i;

	LIST_FOREACH(i, list, by_key)
		if (!waiting || sock_of_item(i)->state == UDPLANE_SOCKET_PENDING)
			shared_mark(c, sock_of_item(i));
}

/* waiting: mark only those that are not diverted. */
static void mark_group(struct control *c, const struct index_group *g, bool waiting)
{
	mark_list(c, &g->alone, waiting);
	mark_list(c, &g->sharing, waiting);
}

/* Marks claimed sockets with the four-tuple of a connected socket without udplane. */
static void mark_same_tuple(struct control *c, const struct claim_other *o)
{
	for (int flags = 0; flags < 8; flags++) {
		struct port_key key;
		const struct index_group *g;

		memset(&key, 0, sizeof(key));
		key.local = o->local;
		key.peer = o->peer;
		key.mapped = flags & 1;
		key.v6only = flags & 2;
		key.device = flags & 4;
		g = index_find(&c->index, &key);
		if (g)
			mark_group(c, g, false);
	}
}

/* The sockets without udplane on a port have changed. Marks the claimed ones that this may concern:
 * those that are not connected, that wait, or that have the four-tuple of another. */
static void mark_port(struct control *c, struct shared_port *p)
{
	struct index_port *port = &c->index.port[p->port_be];
	struct index_item *i;

	p->changed = false;
	groups_mark(c, p->port_be);
	LIST_FOREACH(i, &port->unconnected, by_port)
		shared_mark(c, sock_of_item(i));
	LIST_FOREACH(i, &port->connected, by_port)
		if (sock_of_item(i)->state == UDPLANE_SOCKET_PENDING)
			shared_mark(c, sock_of_item(i));
	for (uint32_t n = 0; n < p->now.cnt; n++)
		if (p->now.o[n].peer.family)
			mark_same_tuple(c, &p->now.o[n]);
}

/* ---- listing ---- */

static void on_listed(void *arg, const struct claim_other *o)
{
	struct control *c = arg;
	struct shared_port *p = c->shared.port[o->local.port_be];

	if (!p || !p->collecting)
		return;
	p->next.seen++;
	if (!index_cookie(&c->index, o->cookie))
		others_add(&p->next, o);
}

/* `next` is complete. */
static void take_listing(struct control *c, struct shared_port *p)
{
	struct others old = p->now;

	for (uint32_t i = 0; i < p->next.cnt;) /* claimed since it was read? */
		if (index_cookie(&c->index, p->next.o[i].cookie))
			p->next.o[i] = p->next.o[--p->next.cnt];
		else
			i++;
	p->changed |= others_differ(&p->now, &p->next);
	p->now = p->next;
	p->next = (struct others){.o = old.o, .room = old.room};
	p->collecting = false;
	p->listed_ns = clock_now_ns();
}

/* Half an answer may be left in the old socket. */
static void reopen(struct claim_diag *diag)
{
	claim_diag_close(diag);
	claim_diag_open(diag);
}

/* Lists one port at once, in LOOK_STEPS answers of the kernel. Returns 0; 1 if that was not enough;
 * or -errno. */
static int list_now(struct control *c, struct shared_port *p)
{
	struct shared *sh = &c->shared;
	bool collecting = p->collecting;
	struct others half = p->next;
	int err;

	p->next = (struct others){0};
	p->collecting = true;
	err = claim_scan_begin(&sh->first, &sh->first_diag, p->port_be);
	for (int i = 0; i < LOOK_STEPS && !err && sh->first.running; i++) {
		int more = claim_scan_step(&sh->first, on_listed, c);

		err = more < 0 ? more : 0;
	}
	if (!err && sh->first.running)
		err = 1;
	if (err)
		reopen(&sh->first_diag);
	else
		take_listing(c, p);
	free(p->next.o);
	p->next = half;
	p->collecting = collecting;
	return err;
}

static void scan_soon(struct control *c)
{
	uint64_t at = c->shared.began_ns + SCAN_SOON_NS;

	if (at < c->shared.due_ns)
		c->shared.due_ns = at;
	work_at(c, c->shared.due_ns);
}

/* Returns 0 if p->now may be used, 1 if not yet, or -errno. exact: list the port now if that is
 * quick. */
static int ensure_listed(struct control *c, struct shared_port *p, bool exact)
{
	bool old = !p->listed_ns || clock_now_ns() - p->listed_ns > KNOWN_NS;
	int err;

	if (!old && !(exact && p->now.seen < LOOK_AGAIN))
		return 0;
	err = list_now(c, p);
	if (err > 0)
		scan_soon(c);
	else if (!err && p->changed)
		mark_port(c, p);
	return err > 0 && !old ? 0 : err;
}

/* ---- one socket ---- */

static void ask_others(struct control *c, const struct sock *k, bool exact,
		       struct decide_rx_facts *facts)
{
	struct shared_port *p = port_of(c, k->claim.key.local.port_be);
	int err = p ? ensure_listed(c, p, exact) : -ENOMEM;

	if (err < 0) {
		snprintf(facts->text, sizeof(facts->text), "%s", strerror(-err));
		facts->others = err == -ENOMEM ? DECIDE_OTHERS_NO_MEMORY : DECIDE_OTHERS_FAILED;
		return;
	}
	facts->others = DECIDE_OTHERS_PENDING;
	if (err)
		return;
	facts->others = p->now.many ? DECIDE_OTHERS_TOO_MANY : DECIDE_OTHERS_NONE;
	for (uint32_t i = 0; i < p->now.cnt; i++) {
		if (!claim_overlaps(&p->now.o[i], &k->claim, c->rules.ifindex))
			continue;
		claim_other_text(&p->now.o[i], facts->text, sizeof(facts->text));
		facts->others = DECIDE_OTHERS_OVERLAP;
		return;
	}
}

void shared_decide_group(struct control *c, const struct udplane_addr *group, bool exact,
			 struct decision *d)
{
	struct shared_port *p = port_of(c, group->port_be);
	int err = p ? ensure_listed(c, p, exact) : -ENOMEM;
	char text[UDPLANE_TEXT_LEN];

	if (err < 0)
		decide(d, UDPLANE_REASON_DEVICE, "cannot list the sockets on this port: %s",
		       strerror(-err));
	else if (err)
		decide(d, UDPLANE_REASON_SHARED, "the sockets on this port are being listed");
	else if (p->now.many)
		decide(d, UDPLANE_REASON_SHARED,
		       "there are more than %d sockets on this port that do not use udplane",
		       DECIDE_OTHERS_MAX);
	for (uint32_t i = 0; !err && i < p->now.cnt; i++) {
		if (!claim_overlaps_group(&p->now.o[i], group, c->rules.ifindex))
			continue;
		claim_other_text(&p->now.o[i], text, sizeof(text));
		decide(d, UDPLANE_REASON_SHARED, "%s", text);
		return;
	}
}

static void ask_winner(struct control *c, const struct sock *k, struct decide_rx_facts *facts)
{
	struct claim_other winner;

	port_of(c, k->claim.key.local.port_be); /* listed from now on */
	facts->winner = DECIDE_WINNER_NONE;
	if (claim_winner(&c->shared.ask_diag, &k->claim.key, c->rules.ifindex, &winner))
		return;
	facts->winner = DECIDE_WINNER_CLAIMED;
	if (winner.cookie == k->claim.cookie || index_cookie(&c->index, winner.cookie))
		return;
	facts->winner = DECIDE_WINNER_OTHER;
	claim_other_text(&winner, facts->text, sizeof(facts->text));
}

static void decide_receiving(struct control *c, const struct sock *k, bool exact,
			     struct decision *d)
{
	struct index_item *rival = index_rival(&k->item);
	struct decide_rx_facts facts = {
		.asked_for = port_set_contains(&c->cfg->ports, be16toh(k->claim.local.port_be)),
		.judged = k->verdict.rx,
		.judged_text = k->verdict.rx_text,
		.rival = rival != NULL,
		.rival_pid = rival ? sock_of_item(rival)->session->pid : 0,
		.reuse = k->claim.reuse,
		.connected = port_key_connected(&k->claim.key),
	};
	enum decide_need need;

	if (udplane_addr_is_multicast(&k->claim.key.local)) {
		groups_decided(c, &k->claim.key.local, d);
		return;
	}
	while ((need = decide_rx(d, &facts)) != DECIDE_NEEDS_NOTHING) {
		if (need == DECIDE_NEEDS_WINNER)
			ask_winner(c, k, &facts);
		else
			ask_others(c, k, exact, &facts);
	}
}

static void apply_decisions(struct control *c, struct sock *k, bool exact)
{
	struct decision d;

	sock_judge(c, k, false);
	sock_apply_tx(c, k);
	decide_receiving(c, k, exact, &d);
	sock_apply_rx(c, k, &d);
}

/* ---- entry points ---- */

int shared_open(struct control *c)
{
	struct shared *sh = &c->shared;
	struct claim_diag *diag[] = {&sh->scan_diag, &sh->first_diag, &sh->ask_diag};
	int err = 0;

	sh->port = calloc(65536, sizeof(*sh->port));
	for (int i = 0; i < 3 && !err; i++)
		err = claim_diag_open(diag[i]);
	return sh->port ? err : -ENOMEM;
}

void shared_close(struct control *c)
{
	struct shared *sh = &c->shared;

	while (!TAILQ_EMPTY(&sh->ports))
		port_free(c, TAILQ_FIRST(&sh->ports));
	free(sh->port);
	sh->port = NULL;
	claim_diag_close(&sh->scan_diag);
	claim_diag_close(&sh->first_diag);
	claim_diag_close(&sh->ask_diag);
}

/* k is claimed now, so the other sockets need not wait for it as for one without udplane. */
static void remove_from_others(struct control *c, const struct sock *k)
{
	struct shared_port *p = c->shared.port[k->claim.key.local.port_be];

	if (!p || !others_remove(&p->now, k->claim.cookie))
		return;
	p->changed = true;
	if (p->now.cnt) /* a look at all sockets of the port per claim would be too much */
		scan_soon(c);
	else
		mark_port(c, p);
}

int shared_enter(struct control *c, struct sock *k)
{
	int err;

	k->item.key = k->claim.key;
	k->item.cookie = k->claim.cookie;
	k->item.reuseport = k->claim.reuseport;
	k->item.fresh = true;
	err = index_insert(&c->index, &k->item);
	if (err)
		return err;
	k->item.fresh = index_rival(&k->item) != NULL;
	if (k->item.fresh) {
		k->todo = TODO_FRESH;
		k->fresh_until_ns = clock_now_ns() + FRESH_NS;
		TAILQ_INSERT_TAIL(&c->shared.fresh, k, todo_link);
		work_at(c, k->fresh_until_ns);
	}
	remove_from_others(c, k);
	apply_decisions(c, k, true);
	return 0;
}

void shared_leave(struct control *c, struct sock *k, bool lives)
{
	struct index_group *g = k->item.group;
	struct index_port *port = &c->index.port[k->item.key.local.port_be];
	struct shared_port *p = g ? c->shared.port[k->item.key.local.port_be] : NULL;
	struct port_key key = k->item.key;
	bool contested;

	if (!g)
		return;
	contested = index_contested(g);
	index_remove(&k->item);
	todo_remove(c, k);
	g = contested ? index_find(&c->index, &key) : NULL;
	if (g && !index_contested(g))
		mark_group(c, g, true);
	if (!p)
		return;
	if (LIST_EMPTY(&port->unconnected) && LIST_EMPTY(&port->connected)) {
		port_free(c, p);
	} else if (lives && !index_cookie(&c->index, k->item.cookie)) {
		struct claim_other o;

		claim_to_other(&k->claim, &o);
		others_add(&p->now, &o);
		mark_port(c, p);
		scan_soon(c);
	}
}

/* ---- a bit at a time ---- */

/* New sockets whose FRESH_NS are over become rivals like any other. */
static void end_freshness(struct control *c, uint64_t end)
{
	struct sock *k;

	while ((k = TAILQ_FIRST(&c->shared.fresh)) != NULL && clock_now_ns() < end) {
		if (k->fresh_until_ns > clock_now_ns()) {
			work_at(c, k->fresh_until_ns);
			return;
		}
		todo_remove(c, k);
		k->item.fresh = false;
		mark_group(c, k->item.group, false);
	}
}

static void settle_marked(struct control *c, uint64_t end)
{
	struct sock *k;

	while ((k = TAILQ_FIRST(&c->shared.settle)) != NULL && clock_now_ns() < end) {
		todo_remove(c, k);
		apply_decisions(c, k, false);
	}
}

/* The next port of this round, or all. False: there is none left. */
static bool scan_next(struct control *c)
{
	struct shared *sh = &c->shared;
	struct shared_port *p;
	int err;

	TAILQ_FOREACH(p, &sh->ports, link)
		if (p->collecting)
			break;
	if (!p)
		return false;
	if (!sh->scan_diag.nl)
		claim_diag_open(&sh->scan_diag);
	err = claim_scan_begin(&sh->scan, &sh->scan_diag,
			       sh->port_cnt > SCAN_PORTS ? 0 : p->port_be);
	if (err)
		log_warn("cannot list sockets: %s", strerror(-err));
	return !err;
}

static void scan_took(struct control *c)
{
	struct shared *sh = &c->shared;
	struct shared_port *p, *next;

	for (p = TAILQ_FIRST(&sh->ports); p; p = next) {
		next = TAILQ_NEXT(p, link);
		if (!p->collecting || (sh->scan.port_be && sh->scan.port_be != p->port_be))
			continue;
		take_listing(c, p);
		if (p->changed)
			mark_port(c, p);
	}
}

static void scan_end(struct control *c)
{
	struct shared *sh = &c->shared;
	uint64_t pause = sh->busy_ns * SCAN_SHARE;

	sh->in_round = false;
	sh->due_ns = sh->began_ns + (pause > SCAN_EVERY_NS ? pause : SCAN_EVERY_NS);
}

static void scan_begin(struct control *c)
{
	struct shared *sh = &c->shared;
	struct shared_port *p;

	TAILQ_FOREACH(p, &sh->ports, link) {
		p->collecting = true;
		p->next.cnt = p->next.seen = 0;
		p->next.many = false;
	}
	sh->began_ns = clock_now_ns();
	sh->busy_ns = 0;
	sh->in_round = true;
}

static void scan_work(struct control *c, uint64_t end)
{
	struct shared *sh = &c->shared;
	uint64_t from = clock_now_ns(), now = from;

	if (!sh->in_round && sh->port_cnt && now >= sh->due_ns)
		scan_begin(c);
	while (sh->in_round && now < end) {
		int more = sh->scan.running;

		if (!more && !scan_next(c)) {
			sh->busy_ns += now - from;
			scan_end(c);
			return;
		}
		if (more) {
			more = claim_scan_step(&sh->scan, on_listed, c);
			if (more < 0) {
				log_warn("cannot list sockets: %s", strerror(-more));
				reopen(&sh->scan_diag);
				scan_end(c);
			} else if (!more) {
				scan_took(c);
			}
		}
		now = clock_now_ns();
	}
	sh->busy_ns += now - from;
}

void shared_work(struct control *c, uint64_t end)
{
	struct shared *sh = &c->shared;

	end_freshness(c, end);
	settle_marked(c, end);
	scan_work(c, end);
	if (sh->in_round || !TAILQ_EMPTY(&sh->settle))
		work_at(c, 0);
	else if (sh->port_cnt)
		work_at(c, sh->due_ns);
	if (!TAILQ_EMPTY(&sh->fresh))
		work_at(c, TAILQ_FIRST(&sh->fresh)->fresh_until_ns);
}
