/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The slow path: what a worker does not send itself goes through the application's own kernel
 * socket, which the keeper has. So Linux resolves neighbours, fragments, applies its rules, and
 * reports errors where the application finds them.
 */
#include "sidecar/base/log.h"
#include "sidecar/control/internal.h"
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#define SLOW_TURN 64 /* events of one worker in one turn of the loop */

static void send_slow(struct control *c, const struct worker_event *ev)
{
	struct sock *k = ev->sock < c->cfg->max_sockets ? c->sock[ev->sock] : NULL;
	struct udplane_addr dst = ev->dst;
	struct sockaddr_storage to;
	socklen_t len;

	if (!k || k->fd < 0 || k->session->serial != ev->serial) {
		stats_count(&c->stats, UDPLANE_CONTROL_SLOW_NO_SOCKET, 1);
		return;
	}
	if (udplane_addr_is_link_local(&dst))
		dst.scope_id = (uint32_t)c->dev->ifindex;
	len = udplane_addr_to_sockaddr(&dst, k->claim.domain, &to);
	keeper_send(&c->keeper, k->session->serial, k->fd, (struct sockaddr *)&to, len, &ev->asked,
		    ev->payload, ev->len);
}

static void close_misbehaving(struct control *c, const struct worker_event *ev)
{
	struct session *s =
		ev->channel_id < c->cfg->max_clients ? c->session[ev->channel_id] : NULL;

	if (!s || s->serial != ev->serial)
		return; /* that client has gone, and another one may have its number */
	if (ev->type == WORKER_EVENT_SLOW_SIGNAL) {
		stats_count(&c->stats, UDPLANE_CONTROL_SLOW_SIGNALS, 1);
		session_close_later(
			s, "signals to it take too long: too many epoll entries watch one of "
			   "its sockets");
		return;
	}
	stats_count(&c->stats, UDPLANE_CONTROL_CORRUPT, 1);
	session_close_later(s, "it wrote impossible values into its shared rings (ring_corrupted)");
}

/* Returns false when there is nothing left. */
static bool one_event(struct control *c, uint32_t worker)
{
	const struct worker_event *ev = worker_event_peek(c->worker[worker]);

	if (!ev)
		return false;
	if (ev->type == WORKER_EVENT_SLOW)
		send_slow(c, ev);
	else
		close_misbehaving(c, ev);
	worker_event_done(c->worker[worker]);
	return true;
}

void slow_drain(struct control *c, uint32_t worker)
{
	/* Not "until there are none": a client that goes on sending would keep us here. */
	for (uint32_t n = worker_event_cnt(c->worker[worker]); n && one_event(c, worker); n--)
		;
}

void slow_events(struct control *c, struct watch *w, uint32_t events)
{
	uint32_t worker = (uint32_t)(w - c->worker_watch);

	(void)events;
	for (int i = 0; i < SLOW_TURN && one_event(c, worker); i++)
		;
}
