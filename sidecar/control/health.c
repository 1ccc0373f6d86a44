/* SPDX-License-Identifier: Apache-2.0 */
/* clang-format off */
/*
 * Supervises the device. What evidence.h finds is repaired if possible, otherwise shown in log and stats.
 *
 *   our program was detached           attached again at once; while another program has its place,
 *                                      the kernel delivers, and the stats say so
 *   datagrams pass native XDP by       generic mode, which sees them; only shown if a mode was
 *                                      configured
 *   diverted frames vanish             generic mode; if that does not help, detached permanently
 *   the device does not send           no prefix is published, so the library sends through the
 *                                      kernel until the device sends again
 *   the interface has more RX queues   udplaned restarts in place
 *   an interface has come up           the same (backend auto, which had found none)
 */
/* clang-format on */
#include "sidecar/base/log.h"
#include "sidecar/control/internal.h"
#include <stdio.h>
#include <string.h>
#include <udplane/clock.h>

#define RESTART_PACE_NS 2000000000ull /* restarts of our own are this far apart at least */

/* Logged when it changes. */
static void report_trouble(struct control *c, const char *trouble)
{
	struct udplane_stats_zone *z = c->stats.z;

	if (!strcmp(z->trouble, trouble))
		return;
	if (trouble[0])
		log_warn("%s: %s", c->dev->ifname, trouble);
	else
		log_info("%s: the trouble is over", c->dev->ifname);
	udplane_seq_begin(&z->text_seq);
	snprintf(z->trouble, sizeof(z->trouble), "%s", trouble);
	udplane_seq_end(&z->text_seq);
	if (trouble[0])
		udplane_store32(&z->trouble_cnt, z->trouble_cnt + 1);
}

static void refresh_texts(struct control *c)
{
	struct udplane_stats_zone *z = c->stats.z;

	udplane_seq_begin(&z->text_seq);
	snprintf(z->device, sizeof(z->device), "%s", c->dev->text);
	snprintf(z->mode_text, sizeof(z->mode_text), "%s", c->dev->why);
	udplane_seq_end(&z->text_seq);
}

static bool any_claim(const struct control *c)
{
	const struct sock *k;

	for (uint32_t at = 0; (k = sock_next(c, &at)) != NULL;)
		if (k->state == UDPLANE_SOCKET_ACTIVE)
			return true;
	return false;
}

static void sample(struct control *c, struct evidence_sample *s)
{
	memset(s, 0, sizeof(*s));
	memcpy(s->device, c->stats.z->device_counter, sizeof(s->device));
	memcpy(s->host, c->stats.z->host_counter, sizeof(s->host));
	c->dev->ops->facts(c->dev, &s->facts);
	s->queue_used = c->dev->queue_used;
	s->claims = any_claim(c);
}

/* Attaches the device again. Until then the kernel has delivered, so the clients are told that what
 * their kernel sockets hold is older than what the workers deliver from now on. */
static int attach_again(struct control *c, bool generic, struct error *error)
{
	int err;

	c->dev->ops->detach(c->dev);
	for (uint32_t i = 0; i < c->worker_cnt; i++) {
		struct worker_order next = {.op = WORKER_SWITCHED},
				    o = {.op = WORKER_DRAIN_RX, .next = &next};

		worker_call(c->worker[i], &o);
	}
	err = c->dev->ops->reattach(c->dev, generic, error);
	udplane_store32(&c->stats.z->attached, !err);
	if (!err) {
		stats_count(&c->stats, UDPLANE_CONTROL_REATTACHES, 1);
		recent_restart(c);
	}
	evidence_forget(&c->evidence);
	return err;
}

static void repair_detached(struct control *c)
{
	char why[UDPLANE_TEXT_LEN];
	struct error error = {0};
	int err = attach_again(c, false, &error);

	if (err) {
		error_prefix(&error, err,
			     "our XDP program was detached, the kernel delivers everything: ");
		error_copy(&error, why, sizeof(why));
		report_trouble(c, why);
		return;
	}
	log_warn("%s: our XDP program was detached or replaced by somebody else; it is attached "
		 "again",
		 c->dev->ifname);
	report_trouble(c, "");
}

/* Returns true if the device is in generic mode now. */
static bool go_generic(struct control *c, const char *why)
{
	struct error error = {0};

	if (attach_again(c, true, &error)) {
		log_error("%s: generic mode: %s", c->dev->ifname, error.text);
		return false;
	}
	snprintf(c->dev->why, sizeof(c->dev->why), "%s", why);
	refresh_texts(c);
	log_warn("%s: attached in generic mode now: %s", c->dev->ifname, why);
	report_trouble(c, "");
	return true;
}

static void repair_bypassed(struct control *c, bool can_generic)
{
	if (can_generic && c->dev->local_frames &&
	    go_generic(c, "native XDP saw none of it: what arrives is delivered past it "
			  "(bpf_redirect_peer, as of Cilium or Calico)"))
		return;
	c->bypassed = true;
	report_trouble(
		c,
		"datagrams are delivered past our XDP program (bpf_redirect_peer, as of Cilium or "
		"Calico): run with xdp_mode auto or generic");
}

static void repair_black_hole(struct control *c, bool can_generic)
{
	if (can_generic && go_generic(c, "frames that native XDP diverted never arrived (a bond or "
					 "other stacked device?)"))
		return;
	c->dev->ops->detach(c->dev);
	c->given_up = true;
	udplane_store32(&c->stats.z->attached, 0);
	report_trouble(
		c,
		"frames that XDP diverted never arrived: detached, the kernel delivers everything; "
		"name another interface, and restart");
}

static void repair_tx(struct control *c, bool stuck)
{
	if (c->tx_stuck == stuck)
		return;
	c->bypassed = false; /* there is room for one text; if it still holds, it is found again */
	c->tx_stuck = stuck;
	routing_publish(c);
	report_trouble(
		c,
		stuck ? "the device takes no frames to send: everything is sent through the kernel "
			"until it does"
		      : "");
}

static void restart_later(struct control *c, const char *why)
{
	if (clock_now_ns() - c->began_ns < RESTART_PACE_NS)
		return;
	log_warn("%s: starting again in place; sockets use the kernel until then", why);
	c->failed = c->restart = true;
}

static void look_for_device(struct control *c)
{
	bool was = c->ready;

	if (c->cfg->backend != CONFIG_BACKEND_AUTO)
		return;
	c->ready = device_af_xdp.ready(c->cfg);
	if (c->ready && !was) {
		log_info("a device is available now: backend auto starts again in place to "
			 "use it");
		c->failed = c->restart = true;
	}
}

void health_look(struct control *c)
{
	struct evidence_sample s;
	uint32_t found;

	if (c->failed)
		return;
	if (!c->dev) {
		look_for_device(c);
		return;
	}
	if (!c->dev->ops->facts || c->given_up)
		return;
	sample(c, &s);
	found = evidence_look(&c->evidence, &s);
	if (found & EVIDENCE_DETACHED)
		repair_detached(c);
	else if (found & EVIDENCE_BLACK_HOLE)
		repair_black_hole(c, s.facts.can_generic);
	else if (found & EVIDENCE_BYPASSED)
		repair_bypassed(c, s.facts.can_generic);
	else
		repair_tx(c, found & EVIDENCE_TX_STUCK);
	if (c->bypassed && (found & EVIDENCE_SEEN)) {
		c->bypassed = false;
		report_trouble(c, "");
	}
	if (found & EVIDENCE_MORE_QUEUES)
		restart_later(c, "the interface has more receive queues than before");
}
