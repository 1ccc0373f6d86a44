/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a claimed socket's datagrams are diverted, and whether the workers send for it.
 *
 * Order of things: workers know a key before the device diverts to it, and after it has stopped; so
 * a datagram that is diverted finds its socket.
 */
#include "sidecar/base/probe.h"
#include "sidecar/control/internal.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

int workers_call(struct control *c, struct worker_order *o)
{
	int err = 0;

	for (uint32_t i = 0; i < c->worker_cnt; i++) {
		int e = worker_call(c->worker[i], o);

		err = err ? err : e;
	}
	return err;
}

/* A socket that is bound to a multicast group gets its datagrams by the group (mcast.c). */
static bool is_group(const struct claim *cl)
{
	return udplane_addr_is_multicast(&cl->key.local);
}

/* Fills d with what the device is to divert for a socket. Returns how many. */
static uint32_t filters(const struct sock *k, struct device_claim d[2])
{
	uint32_t n = is_group(&k->claim) ? 0 : claim_device(&k->claim, d);

	for (uint32_t i = 0; i < n; i++)
		d[i].shared = k->sharing;
	return n;
}

void filters_remove(struct control *c, const struct sock *k)
{
	struct device_claim d[2];
	uint32_t n = filters(k, d);

	for (uint32_t i = 0; i < n; i++)
		c->dev->ops->claim_remove(c->dev, &d[i]);
}

static int filters_insert(struct control *c, const struct sock *k)
{
	struct device_claim d[2];
	uint32_t n = filters(k, d);

	for (uint32_t i = 0; i < n; i++) {
		int err = c->dev->ops->claim_insert(c->dev, &d[i]);

		if (err) {
			while (i--)
				c->dev->ops->claim_remove(c->dev, &d[i]);
			return err;
		}
	}
	return 0;
}

static int divert_start(struct control *c, struct sock *k)
{
	struct worker_order o = {.op = WORKER_KEY_INSERT,
				 .sock = k->id,
				 .key = k->claim.key,
				 .cookie = k->claim.cookie};
	int err = is_group(&k->claim) ? 0 : workers_call(c, &o);

	k->sharing = index_shares(&k->item);
	if (!err)
		err = filters_insert(c, k);
	if (err) {
		o.op = WORKER_KEY_REMOVE;
		workers_call(c, &o);
		return err;
	}
	k->state = UDPLANE_SOCKET_ACTIVE;
	return 0;
}

void divert_stop(struct control *c, struct sock *k, bool drain)
{
	struct worker_order o = {.op = WORKER_KEY_REMOVE, .sock = k->id, .key = k->claim.key};
	struct worker_order d = {.op = WORKER_DRAIN_RX, .next = &o};

	if (k->state != UDPLANE_SOCKET_ACTIVE)
		return;
	filters_remove(c, k);
	if (!is_group(&k->claim))
		workers_call(c, drain ? &d : &o);
	k->state = UDPLANE_SOCKET_PENDING;
}

void sock_source(const struct sock *k, struct worker_source *src)
{
	const struct claim *cl = &k->claim;

	memset(src, 0, sizeof(*src));
	src->slow = k->verdict.tx != UDPLANE_REASON_NONE;
	src->addr = cl->key.local;
	src->no_df = cl->no_df && k->session->minor < 2;
	src->stamp = cl->stamp;
	if (udplane_addr_is_any(&src->addr) || is_group(cl))
		src->addr.family = 0;
}

/* Sends by the kernel, or not any more: what is in the TX ring, too. */
void sock_apply_tx(struct control *c, struct sock *k)
{
	struct worker_order o = {.op = WORKER_SOCKET_SOURCE, .sock = k->id};
	struct udplane_socket_zone *z = stats_socket(&c->stats, k->id);
	enum decide_news_kind news;
	struct decision d;

	decide_tx(&d, k->verdict.tx, k->verdict.tx_text, k->source_gone);
	news = decide_news(z->tx_reason, z->tx_text, &d);
	if (news == DECIDE_OLD)
		return;
	udplane_seq_begin(&z->seq);
	udplane_store32(&z->tx_reason, d.reason);
	snprintf(z->tx_text, sizeof(z->tx_text), "%s", d.text);
	udplane_seq_end(&z->seq);
	if (news != DECIDE_NEW_PATH)
		return;
	sock_source(k, &o.source);
	workers_call(c, &o);
	stats_touch_prefixes(
		&c->stats); /* the library judges its destinations again, and sees tx_reason then */
}

void sock_apply_rx(struct control *c, struct sock *k, const struct decision *d)
{
	enum decide_divert_act act = decide_divert(k->state, d->reason);
	struct decision refused;
	int err;

	if (act == DECIDE_STOP) {
		stats_count(&c->stats, UDPLANE_CONTROL_CONFLICTS,
			    d->reason == UDPLANE_REASON_SHARED);
		divert_stop(c, k, true);
	} else if (act == DECIDE_START) {
		err = divert_start(c, k);
		if (err) {
			decide_device_refused(&refused, err);
			d = &refused;
		}
	}
	if (act == DECIDE_STOP || act == DECIDE_START)
		PROBE3(path, k->id, k->state, d->reason);
	refresh_socket(c, k, d->reason, d->text);
}
