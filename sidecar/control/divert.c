/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a claimed socket's datagrams are diverted, and whether the workers send for it.
 *
 * Order of things: workers know a key before the device diverts to it, and after it has stopped; so
 * a datagram that is diverted finds its socket.
 */
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

void filters_remove(struct control *c, const struct claim *cl)
{
	struct device_claim d[2];
	uint32_t n = claim_device(cl, d);

	for (uint32_t i = 0; i < n; i++)
		c->dev->ops->claim_remove(c->dev, &d[i]);
}

static int filters_insert(struct control *c, const struct claim *cl)
{
	struct device_claim d[2];
	uint32_t n = claim_device(cl, d);

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
	struct worker_order o = {.op = WORKER_KEY_INSERT, .sock = k->id, .key = k->claim.key};
	int err = workers_call(c, &o);

	if (!err)
		err = filters_insert(c, &k->claim);
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
	filters_remove(c, &k->claim);
	workers_call(c, drain ? &d : &o);
	k->state = UDPLANE_SOCKET_PENDING;
}

void sock_source(const struct sock *k, struct worker_source *src)
{
	const struct claim *cl = &k->claim;

	memset(src, 0, sizeof(*src));
	src->slow = k->verdict.tx != UDPLANE_REASON_NONE;
	src->addr = cl->key.local;
	src->no_df = cl->no_df;
	if (udplane_addr_is_any(&src->addr))
		src->addr.family = 0;
}

/* Sends by the kernel, or not any more: what is in the TX ring, too. */
void sock_settle_sending(struct control *c, struct sock *k)
{
	struct worker_order o = {.op = WORKER_SOCKET_SOURCE, .sock = k->id};
	struct udplane_socket_zone *z = stats_socket(&c->stats, k->id);
	uint32_t was = z->tx_reason, reason = k->verdict.tx;
	const char *text = k->verdict.tx_text;

	if (!reason &&
	    k->source_gone) { /* each send fails, and only the kernel can say so in time */
		reason = UDPLANE_REASON_NOT_LOCAL;
		text = "the address that it is bound to is gone from this host";
	}
	if (!reason)
		text = "";
	if (was == reason && !strcmp(z->tx_text, text))
		return;
	udplane_seq_begin(&z->seq);
	udplane_store32(&z->tx_reason, reason);
	snprintf(z->tx_text, sizeof(z->tx_text), "%s", text);
	udplane_seq_end(&z->seq);
	if (!was == !reason)
		return;
	sock_source(k, &o.source);
	workers_call(c, &o);
	stats_touch_prefixes(
		&c->stats); /* the library judges its destinations again, and sees tx_reason then */
}

void sock_set_diverted(struct control *c, struct sock *k, enum udplane_reason why, const char *text)
{
	char refusal[UDPLANE_TEXT_LEN];

	if (why && k->state == UDPLANE_SOCKET_ACTIVE) {
		stats_count(&c->stats, UDPLANE_CONTROL_CONFLICTS, why == UDPLANE_REASON_SHARED);
		divert_stop(c, k, true);
	} else if (!why && k->state == UDPLANE_SOCKET_PENDING) {
		int err = divert_start(c, k);

		if (err) {
			why = UDPLANE_REASON_DEVICE;
			snprintf(refusal, sizeof(refusal), "the device refuses the claim: %s%s",
				 strerror(-err),
				 err == -ENOSPC ? "; too many addresses or peers" : "");
			text = refusal;
		}
	}
	refresh_socket(c, k, k->state == UDPLANE_SOCKET_ACTIVE ? UDPLANE_REASON_NONE : why, text);
}
