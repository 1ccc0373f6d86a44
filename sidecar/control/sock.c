/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claimed sockets.
 *
 *   claim --> ACTIVE <--> PENDING (a plain socket shares the port, or the annotation has lost it)
 *      \        |            |
 *       `-> refused      to_kernel --> KERNEL (row kept for `why`) --> release
 */
#include "sidecar/base/log.h"
#include "sidecar/base/probe.h"
#include "sidecar/control/internal.h"
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <udplane/clock.h>
#include <unistd.h>

/* of send buffer for a signal: its sk_buff counts as 768 bytes (Linux 6.18) */
#define WAKE_BYTES 1024
#define WAKE_SPARE 8
/* to send what a closing socket has queued: at most a TX ring of datagrams for the slow path */
#define FLUSH_BUDGET_NS 10000000ull
/* what the kernel holds for a socket in our cgroup: wake sockets, open files (the keeper's,
 * too), map entries */
#define KERNEL_BYTES  10240
#define NO_ACCOUNT    "udplaned has no memory for another socket"
#define RELEASE_BATCH 32 /* sockets of a client that has gone, in one call to a worker */

enum udplane_reason sock_found(struct control *c, const struct keeper_reply *found,
			       struct decision *d)
{
	struct error not_asked;
	struct decide_found_facts facts = {.reason = found->reason, .text = found->text};

	if (claim_not_asked(&found->claim, &c->cfg->ports, &not_asked))
		facts.not_asked = not_asked.text;
	return decide_found(d, &facts);
}

/* ---- claim ---- */

/* The number under which s has claimed this kernel socket, or -1. */
static int64_t duplicate_of(struct control *c, struct session *s, uint64_t cookie)
{
	for (struct index_item *i = index_cookie(&c->index, cookie); i; i = index_cookie_next(i)) {
		const struct sock *k =
			(const void *)((const char *)i - offsetof(struct sock, item));

		if (k->session == s)
			return k->id;
	}
	return -1;
}

static enum udplane_reason check_claim(struct control *c, struct session *s,
				       const struct udplane_claim *m,
				       const struct keeper_reply *found, struct decision *d)
{
	struct error not_asked;
	struct decide_claim_facts facts = {
		.no_device = c->dev ? NULL : c->stats.z->backend_text,
		.found = {.reason = found->reason, .text = found->text},
		.named_port_be = m->local.port_be,
		.bound_port_be = found->claim.local.port_be,
		.duplicate = duplicate_of(c, s, found->claim.cookie),
	};

	if (claim_not_asked(&found->claim, &c->cfg->ports, &not_asked))
		facts.found.not_asked = not_asked.text;
	return decide_claim(d, &facts);
}

static int add_to_workers(struct control *c, struct sock *k)
{
	for (uint32_t i = 0; i < c->worker_cnt; i++) {
		struct worker_socket_info info = {
			.lane = &k->session->lane[i],
			.ring = rings_at(&k->session->rings, k->place, k->cls, i),
			.ring_size = k->session->rings.cls[k->cls].size,
			.wake_fd = k->wake_fd,
			.counters = stats_counters(&c->stats, k->id, i),
		};
		struct worker_order o = {.op = WORKER_SOCKET_ADD, .sock = k->id, .info = &info};
		int err;

		sock_source(k, &o.source);
		memset(info.counters, 0, sizeof(*info.counters));
		err = worker_call(c->worker[i], &o);
		if (err)
			return err;
	}
	return 0;
}

/*
 * A pair of UNIX stream sockets: a signal is one byte. Nothing that the client does with its end
 * makes the worker wait:
 *   - an eventfd is one object for both, and O_NONBLOCK belongs to the open file description: the
 *     client could clear it and fill the counter;
 *   - a pipe's writer takes the mutex that readers hold while they copy, for as long as their page
 *     is missing (for ever, with userfaultfd);
 *   - here the sender takes spinlocks only, and MSG_DONTWAIT goes with the call. It costs 0.6 us
 *     more than a pipe where a wake-up costs 7 (docs/measurements.md).
 * SHUT_RD refuses what the client sends, which would stay in our end for ever, descriptors
 * included. The buffer has room for the signals that an honest client leaves there: one per worker,
 * and some to spare.
 */
static int make_wake_pair(struct control *c)
{
	int room = WAKE_BYTES * (int)(WAKE_SPARE + 4 * c->worker_cnt);

	if (c->wake_pair[0] >= 0)
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, c->wake_pair)) {
		c->wake_pair[0] = c->wake_pair[1] = -1;
		return -errno;
	}
	shutdown(c->wake_pair[1], SHUT_RD);
	setsockopt(c->wake_pair[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	return 0;
}

static enum udplane_reason take_wake_pair(struct control *c, struct sock *k, struct sock_fds *fds,
					  struct decision *d)
{
	int err = make_wake_pair(c);

	if (err)
		return decide(d, UDPLANE_REASON_DESCRIPTORS,
			      "no wake socket: %s; raise RLIMIT_NOFILE of udplaned",
			      strerror(-err));
	fds->wake_fd = c->wake_pair[0];
	k->wake_fd = c->wake_pair[1];
	c->wake_pair[0] = c->wake_pair[1] = -1;
	return UDPLANE_REASON_NONE;
}

void sock_prepare(struct control *c, struct session *s, bool claim)
{
	session_read_programs(c, s);
	if (claim && c->dev)
		make_wake_pair(c); /* if it cannot be made, the claim says so */
}

void sock_unprepare(struct control *c)
{
	if (c->wake_pair[0] < 0)
		return;
	close(c->wake_pair[0]);
	close(c->wake_pair[1]);
	c->wake_pair[0] = c->wake_pair[1] = -1;
}

static enum udplane_reason take_rings(struct control *c, struct sock *k, int *segment_fd,
				      struct decision *d)
{
	struct session *s = k->session;
	struct error error = {0};
	int err = budget_take(&c->budget, &s->memory, KERNEL_BYTES, false, &error);

	if (err)
		return decide(d, UDPLANE_REASON_NO_MEMORY, "no memory: %s", error.text);
	err = rings_get(&s->rings, c->pages, c->dev->numa_node, &k->place, &k->cls, segment_fd,
			&error);
	if (!err)
		return UDPLANE_REASON_NONE;
	budget_give(&c->budget, &s->memory, KERNEL_BYTES, false);
	return decide(d, UDPLANE_REASON_NO_MEMORY, "%s", error.text);
}

static void put_rings(struct control *c, struct sock *k)
{
	rings_put(&k->session->rings, k->place, k->cls);
	budget_give(&c->budget, &k->session->memory, KERNEL_BYTES, false);
}

/* Destroys the segment that was made for a claim which is refused after all. The client counts
 * segments, and is not told of this one. */
static void unmake_segment(struct session *s, struct sock_fds *fds)
{
	if (fds->segment_fd >= 0)
		rings_unmake_segment(&s->rings);
	fds->segment_fd = -1;
}

/* Gives the socket rings, and tells the workers. */
static enum udplane_reason give_rings(struct control *c, struct sock *k, struct sock_fds *fds,
				      struct decision *d)
{
	struct worker_order o = {.op = WORKER_SOCKET_REMOVE, .sock = k->id};
	int err;

	if (take_rings(c, k, &fds->segment_fd, d))
		return d->reason;
	err = add_to_workers(c, k);
	if (!err)
		return UDPLANE_REASON_NONE;
	workers_call(c, &o);
	put_rings(c, k);
	unmake_segment(k->session, fds);
	return decide(d, UDPLANE_REASON_NO_MEMORY, "the worker refuses it: %s", strerror(-err));
}

/* Gives the socket number, rings and wake socket. */
static enum udplane_reason sock_allocate(struct control *c, struct sock *k, struct sock_fds *fds,
					 struct decision *d)
{
	int id = sock_id_take(c);

	if (id < 0)
		return decide(d, UDPLANE_REASON_TOO_MANY, "%u sockets are claimed already",
			      c->cfg->max_sockets);
	k->id = (uint32_t)id;
	if (!take_wake_pair(c, k, fds, d) && !give_rings(c, k, fds, d))
		return UDPLANE_REASON_NONE;
	sock_id_put(c, k->id);
	return d->reason;
}

static void fill_claimed(struct control *c, const struct sock *k, const struct sock_fds *fds,
			 struct udplane_claimed *out)
{
	const struct ring_class *cls = &k->session->rings.cls[k->cls];

	(void)c;
	out->sock = k->id;
	out->segment = k->place.segment;
	out->ring_off = k->place.off;
	out->ring_len = cls->len;
	out->ring_size = cls->size;
	if (fds->segment_fd >= 0)
		out->segment_len = (uint32_t)k->session->rings.seg[k->place.segment]->len;
}

static void refuse(struct control *c, struct session *s, const struct decision *d,
		   struct udplane_claimed *out)
{
	memset(out, 0, sizeof(*out));
	out->status = -EPERM;
	out->reason = d->reason;
	snprintf(out->text, sizeof(out->text), "%s", d->text);
	stats_count(&c->stats, UDPLANE_CONTROL_CLAIMS_REFUSED, 1);
	udplane_count(&c->stats.z->refused[d->reason], 1);
	PROBE2(claim_refused, s->pid, d->reason);
	session_log(c, s, LOG_LEVEL_INFO, "claim refused: %s", out->text);
}

/* Drops the rows of refused claims on this port. */
static void forget_refusal(struct control *c, struct session *s, uint16_t port_be)
{
	struct sock *o, *next;

	for (o = TAILQ_FIRST(&s->refused); o; o = next) {
		next = TAILQ_NEXT(o, link);
		if (o->claim.local.port_be == port_be)
			sock_release(c, o);
	}
}

/* Keeps k as a row, like a socket on the kernel path, so that `why` has the exact reason: the last
 * refusal per port, for CONTROL_REFUSED ports, while the client lives. Takes k over. */
static void remember_refusal(struct control *c, struct session *s, struct sock *k,
			     const struct decision *d)
{
	struct sock *o;
	uint32_t rows = 0;
	int id;

	forget_refusal(c, s, k->claim.local.port_be);
	TAILQ_FOREACH(o, &s->refused, link)
		rows++;
	id = !k->claim.local.port_be || rows >= CONTROL_REFUSED ? -1 : sock_id_take(c);
	if (id < 0) {
		free(k);
		return;
	}
	k->id = (uint32_t)id;
	k->fd = k->wake_fd = -1;
	k->refused = true;
	k->state = UDPLANE_SOCKET_KERNEL;
	sock_insert(c, k);
	TAILQ_INSERT_TAIL(&s->refused, k, link);
	refresh_socket(c, k, d->reason, d->text);
}

/* A claim is refused: gives back what it had got so far. Takes k over, which may be NULL. */
static void sock_give_up(struct control *c, struct session *s, struct sock *k, struct sock_fds *fds,
			 const struct keeper_reply *found, const struct decision *d)
{
	if (k && k->wake_fd >= 0)
		close(k->wake_fd);
	if (fds->wake_fd >= 0)
		close(fds->wake_fd); /* a refusal carries none */
	fds->wake_fd = -1;
	if (found->fd >= 0)
		keeper_close(&c->keeper, s->serial, found->fd);
	if (k)
		remember_refusal(c, s, k, d);
}

static void sock_admit(struct control *c, struct session *s, struct sock *k)
{
	forget_refusal(c, s, k->claim.local.port_be);
	sock_insert(c, k);
	TAILQ_INSERT_TAIL(&s->socks, k, link);
	stats_count(&c->stats, UDPLANE_CONTROL_CLAIMS, 1);
	stats_gauge_add(&c->stats, UDPLANE_CONTROL_SOCKETS, 1);
	sock_judge(c, k, true);
	sock_apply_tx(c, k);
	if (shared_enter(c, k))
		sock_to_kernel(c, k, UDPLANE_REASON_NO_MEMORY, NO_ACCOUNT);
	else
		mcast_enter(c, k);
	PROBE3(claim, k->id, ntohs(k->claim.local.port_be), k->state);
}

/* A socket that nobody else knows of yet, or NULL. */
static struct sock *sock_new(struct control *c, struct session *s, const struct keeper_reply *found)
{
	struct sock *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	k->session = s;
	k->fd = found->fd;
	k->kernel_drops = found->drops;
	k->wake_fd = -1;
	k->state = UDPLANE_SOCKET_PENDING;
	if (c->dev)
		k->claim = found->claim;
	return k;
}

void sock_claim(struct control *c, struct session *s, const struct udplane_claim *m,
		const struct keeper_reply *found, struct udplane_claimed *out, struct sock_fds *fds)
{
	struct sock *k = sock_new(c, s, found);
	struct decision d = {.reason = UDPLANE_REASON_NO_MEMORY};

	if (k && !check_claim(c, s, m, found, &d) && !sock_allocate(c, k, fds, &d)) {
		sock_admit(c, s, k);
		fill_claimed(c, k, fds, out);
		return;
	}
	refuse(c, s, &d, out);
	sock_give_up(c, s, k, fds, found, &d);
}

void sock_unclaim(struct control *c, struct sock *k, struct sock_fds *fds, enum udplane_reason why,
		  const char *text, struct udplane_claimed *out)
{
	struct session *s = k->session;
	struct decision d;

	sock_release(c, k);
	unmake_segment(s, fds);
	decide(&d, why, "%s", text);
	refuse(c, s, &d, out);
}

/* Claims k as it is now, which may mean another key. */
static int claim_again(struct control *c, struct sock *k, const struct claim *now)
{
	struct worker_order o = {.op = WORKER_SOCKET_SOURCE, .sock = k->id};
	uint16_t port_be = k->claim.key.local.port_be;
	int err;

	divert_stop(c, k, true);
	shared_leave(c, k, false);
	k->claim = *now;
	sock_judge(c, k, true);
	sock_apply_tx(c, k);
	sock_source(k, &o.source);
	workers_call(c, &o);
	err = shared_enter(c, k);
	if (port_be != k->claim.key.local.port_be)
		mcast_port_changed(c, port_be);
	mcast_enter(c, k);
	return err;
}

int sock_update(struct control *c, struct sock *k, const struct keeper_reply *found,
		struct decision *d)
{
	bool same = !memcmp(&found->claim, &k->claim, sizeof(k->claim));

	sock_found(c, found, d);
	switch (decide_update(k->fd >= 0, k->state, d->reason, same)) {
	case DECIDE_TO_KERNEL: sock_to_kernel(c, k, d->reason, d->text); return -EPERM;
	case DECIDE_CLAIM_AGAIN:
		if (!claim_again(c, k, &found->claim))
			return 0;
		decide(d, UDPLANE_REASON_NO_MEMORY, NO_ACCOUNT);
		sock_to_kernel(c, k, d->reason, d->text);
		return -ENOMEM;
	case DECIDE_NO_CHANGE: break;
	}
	*d = (struct decision){.reason = UDPLANE_REASON_NONE};
	return 0;
}

/* Sends what the client has queued, some of it through the kernel socket that the keeper has. Gives
 * up after FLUSH_BUDGET_NS if the device does not send. */
static void flush(struct control *c, uint32_t worker, uint32_t sock)
{
	struct worker_order o = {.op = WORKER_SOCKET_FLUSH, .sock = sock};
	uint64_t end = clock_now_ns() + FLUSH_BUDGET_NS;

	while (worker_call(c->worker[worker], &o) == -EAGAIN && clock_now_ns() < end)
		slow_drain(c, worker);
	slow_drain(c, worker);
}

/* Removes k from the workers and closes its kernel socket. What it has queued is sent first. */
static void disarm(struct control *c, struct sock *k, bool drain)
{
	struct worker_order o = {.op = WORKER_SOCKET_REMOVE, .sock = k->id};

	if (k->fd < 0)
		return;
	divert_stop(c, k, drain);
	shared_leave(c, k, drain);
	mcast_port_changed(c, k->claim.key.local.port_be);
	for (uint32_t i = 0; i < c->worker_cnt && !k->removed; i++) {
		flush(c, i, k->id);
		worker_call(c->worker[i], &o);
	}
	keeper_close(&c->keeper, k->session->serial, k->fd);
	k->fd = -1;
}

void sock_to_kernel(struct control *c, struct sock *k, enum udplane_reason why, const char *text)
{
	disarm(c, k, true);
	k->state = UDPLANE_SOCKET_KERNEL;
	refresh_socket(c, k, why, text);
}

void sock_release(struct control *c, struct sock *k)
{
	disarm(c, k, false);
	k->state = UDPLANE_SOCKET_FREE;
	refresh_socket(c, k, UDPLANE_REASON_NONE, "");
	if (!k->refused) {
		PROBE2(release, k->id, ntohs(k->claim.local.port_be));
		close(k->wake_fd);
		put_rings(c, k);
		stats_count(&c->stats, UDPLANE_CONTROL_RELEASES, 1);
		stats_gauge_add(&c->stats, UDPLANE_CONTROL_SOCKETS, -1);
	}
	TAILQ_REMOVE(k->refused ? &k->session->refused : &k->session->socks, k, link);
	sock_id_put(c, k->id);
	free(k->member);
	free(k);
}

/* The same order to every worker for each of them. */
static void call_many(struct control *c, struct sock **k, uint32_t cnt, enum worker_op op)
{
	struct worker_order o[RELEASE_BATCH];

	for (uint32_t w = 0; w < c->worker_cnt; w++) {
		for (uint32_t i = 0; i < cnt; i++)
			o[i] = (struct worker_order){.op = op,
						     .sock = k[i]->id,
						     .key = k[i]->claim.key,
						     .next = i + 1 < cnt ? &o[i + 1] : NULL};
		worker_call(c->worker[w], o);
	}
}

bool sock_release_some(struct control *c, struct session *s)
{
	struct sock *some[RELEASE_BATCH], *active[RELEASE_BATCH], *k;
	uint32_t cnt = 0, active_cnt = 0;

	TAILQ_FOREACH(k, &s->socks, link) {
		if (cnt == RELEASE_BATCH)
			break;
		some[cnt++] = k;
		if (k->fd < 0 || k->state != UDPLANE_SOCKET_ACTIVE)
			continue;
		filters_remove(c, k);
		active[active_cnt++] = k;
	}
	if (active_cnt)
		call_many(c, active, active_cnt, WORKER_KEY_REMOVE);
	for (uint32_t i = 0; i < active_cnt; i++)
		active[i]->state = UDPLANE_SOCKET_PENDING;
	for (uint32_t w = 0; w < c->worker_cnt && cnt && !s->flushed; w++)
		flush(c, w, some[0]->id); /* the ring is that of all its sockets */
	s->flushed = true;
	if (cnt)
		call_many(c, some, cnt, WORKER_SOCKET_REMOVE);
	for (uint32_t i = 0; i < cnt; i++) {
		some[i]->removed = true;
		sock_release(c, some[i]);
	}
	while ((k = TAILQ_FIRST(&s->refused)) != NULL)
		sock_release(c, k);
	return !TAILQ_EMPTY(&s->socks);
}
