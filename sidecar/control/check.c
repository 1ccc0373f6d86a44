/* SPDX-License-Identifier: Apache-2.0 */
/* Claimed sockets looked at again: once a second, and when ports, addresses, rules or programs have
 * changed. Many thousands in turns, within a budget of the control thread's time. */
#include "sidecar/control/internal.h"
#include <string.h>
#include <udplane/clock.h>

#define CHECK_BUDGET_NS 4000000 /* of the control thread's time a second: 0.4 % */
#define JUDGE_BUDGET_NS 1000000 /* of one turn of the loop: a socket takes up to 8 us */
#define CHECK_TICKS	10	/* seconds that the keeper may take to look at a socket */

/* A socket may lose its port, or get options that only the kernel applies, without a message to
 * udplaned: by connect(AF_UNSPEC) or setsockopt() calls that bypass libudplane. */
static void verify_again(struct control *c, struct sock *k)
{
	if (k->checking) {
		if (c->ticks - k->checking_since > CHECK_TICKS)
			session_close_later(k->session,
					    "system calls on one of its sockets do not return");
		return;
	}
	k->checking = true;
	k->checking_since = c->ticks;
	keeper_verify(&c->keeper, k->session->serial, k->id, k->fd, &c->rules);
}

static bool same_claim(const struct claim *a, const struct claim *b)
{
	return !memcmp(&a->key, &b->key, sizeof(a->key)) && a->reuse == b->reuse &&
	       a->reuseport == b->reuseport;
}

void sock_checked(struct control *c, struct sock *k, const struct keeper_reply *found)
{
	bool kept = k->fd >= 0;
	struct decision d;

	k->checking = false;
	if (kept)
		k->kernel_drops = found->drops;
	sock_found(c, found, &d);
	if (!decide_look(kept, d.reason, same_claim(&found->claim, &k->claim)))
		return;
	sock_prepare(c, k->session, false);
	sock_update(c, k, found, &d);
}

/* In turns and within a budget, because clients wait for answers of this thread, however many
 * sockets there are. Sockets that are not diverted are decided about again. */
void sock_check(struct control *c)
{
	uint64_t end = clock_now_ns() + CHECK_BUDGET_NS;
	uint32_t high = c->stats.z->socket_high;

	for (uint32_t i = 0; i < high && clock_now_ns() < end; i++) {
		struct sock *k;

		if (c->check_next >= high)
			c->check_next = 0;
		k = c->sock[c->check_next++];
		if (!k || k->fd < 0)
			continue;
		verify_again(c, k);
		if (k->state == UDPLANE_SOCKET_PENDING)
			shared_mark(c, k);
	}
}

/* A socket whose own address is gone sends by the kernel. */
void sock_check_sources(struct control *c)
{
	struct sock *k;

	for (uint32_t at = 0; (k = sock_next(c, &at)) != NULL;) {
		if (k->fd < 0 || udplane_addr_is_any(&k->claim.local) ||
		    udplane_addr_is_multicast(&k->claim.local))
			continue;
		k->source_gone =
			!route_is_local(c->route, k->claim.local.family, k->claim.local.addr);
		sock_apply_tx(c, k);
	}
}

/* Sockets on a port that is not asked for any more keep their rings, and are diverted again when it
 * is. A claim that was refused because of its port is repeated by its client. */
void sock_ports_changed(struct control *c)
{
	struct sock *k;

	for (uint32_t at = 0; (k = sock_next(c, &at)) != NULL;)
		if (k->state == UDPLANE_SOCKET_PENDING ||
		    !port_set_contains(&c->cfg->ports, be16toh(k->claim.local.port_be)))
			shared_mark(c, k);
}

/* Rules or programs have changed. */
static void judge_again(struct control *c, struct sock *k)
{
	sock_judge(c, k, false);
	sock_apply_tx(c, k);
	if (k->state == UDPLANE_SOCKET_PENDING || k->verdict.rx)
		shared_mark(c, k);
}

void sock_judge_some(struct control *c, uint64_t end)
{
	uint32_t high = c->stats.z->socket_high;

	for (; c->judge_next < high && clock_now_ns() < end; c->judge_next++) {
		struct sock *k = c->sock[c->judge_next];

		if (k && k->fd >= 0)
			judge_again(c, k);
	}
	if (c->judge_next < high) {
		work_at(c, 0);
		return;
	}
	groups_mark(c, 0);
	c->judge_next = UINT32_MAX;
	if (c->excluded_held)
		routing_release_excluded(c);
}

void sock_environment_changed(struct control *c)
{
	c->judge_next = 0;
	sock_judge_some(c, clock_now_ns() + JUDGE_BUDGET_NS);
}
