/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/control/decide.h"

#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum udplane_reason decide(struct decision *d, enum udplane_reason reason, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(d->text, sizeof(d->text), fmt, ap);
	va_end(ap);
	d->reason = reason;
	return reason;
}

static enum udplane_reason yes(struct decision *d)
{
	d->reason = UDPLANE_REASON_NONE;
	d->text[0] = '\0';
	return UDPLANE_REASON_NONE;
}

/* ---- claim and update ---- */

enum udplane_reason decide_found(struct decision *d, const struct decide_found_facts *found)
{
	if (found->reason != UDPLANE_REASON_NOT_LOCAL && found->not_asked)
		return decide(d, UDPLANE_REASON_NOT_ASKED, "%s", found->not_asked);
	return decide(d, found->reason, "%s", found->text);
}

enum udplane_reason decide_claim(struct decision *d, const struct decide_claim_facts *facts)
{
	if (facts->no_device)
		return decide(d, UDPLANE_REASON_BACKEND_KERNEL, "%s", facts->no_device);
	if (decide_found(d, &facts->found))
		return d->reason;
	if (facts->named_port_be != facts->bound_port_be)
		return decide(d, UDPLANE_REASON_OTHER_PORT,
			      "the message names port %u, the socket is bound to %u",
			      be16toh(facts->named_port_be), be16toh(facts->bound_port_be));
	if (facts->duplicate >= 0)
		return decide(d, UDPLANE_REASON_DUPLICATE,
			      "this process has claimed the socket already, as number %u",
			      (uint32_t)facts->duplicate);
	return yes(d);
}

enum decide_update_act decide_update(bool kept, enum udplane_socket_state state,
				     enum udplane_reason found, bool same)
{
	if (!kept)
		return DECIDE_NO_CHANGE;
	if (found)
		return DECIDE_TO_KERNEL;
	/* nothing to drain, nothing to divert again */
	return state == UDPLANE_SOCKET_ACTIVE && same ? DECIDE_NO_CHANGE : DECIDE_CLAIM_AGAIN;
}

bool decide_look(bool kept, enum udplane_reason found, bool same)
{
	return kept && found != UDPLANE_REASON_NOT_ASKED && (found || !same);
}

/* ---- receiving ---- */

static enum udplane_reason decide_others(struct decision *d, const struct decide_rx_facts *facts)
{
	switch (facts->others) {
	case DECIDE_OTHERS_NONE: return yes(d);
	case DECIDE_OTHERS_OVERLAP: return decide(d, UDPLANE_REASON_SHARED, "%s", facts->text);
	case DECIDE_OTHERS_TOO_MANY:
		return decide(d, UDPLANE_REASON_SHARED,
			      "there are more than %d sockets on this port that do not use udplane",
			      DECIDE_OTHERS_MAX);
	case DECIDE_OTHERS_FAILED:
		return decide(d, UDPLANE_REASON_DEVICE, "cannot list the sockets on this port: %s",
			      facts->text);
	case DECIDE_OTHERS_NO_MEMORY:
		return decide(d, UDPLANE_REASON_NO_MEMORY,
			      "cannot list the sockets on this port: %s", facts->text);
	default: break;
	}
	return decide(d, UDPLANE_REASON_SHARED, "the sockets on this port are being listed");
}

enum decide_need decide_rx(struct decision *d, const struct decide_rx_facts *facts)
{
	if (!facts->asked_for)
		decide(d, UDPLANE_REASON_NOT_ASKED, "the port was taken out of the annotation");
	else if (facts->judged)
		decide(d, facts->judged, "%s", facts->judged_text);
	else if (facts->rival)
		decide(d, UDPLANE_REASON_SHARED,
		       "process %d has another socket on the same address and port by "
		       "SO_REUSEADDR; only Linux knows which of them receives",
		       facts->rival_pid);
	else if (!facts->reuse)
		yes(d);
	else if (facts->connected && facts->winner == DECIDE_WINNER_UNKNOWN)
		return DECIDE_NEEDS_WINNER;
	else if (facts->connected && facts->winner == DECIDE_WINNER_CLAIMED)
		yes(d);
	else if (facts->connected && facts->winner == DECIDE_WINNER_OTHER)
		decide(d, UDPLANE_REASON_SHARED, "%s", facts->text);
	else if (facts->others == DECIDE_OTHERS_UNKNOWN)
		return DECIDE_NEEDS_OTHERS;
	else
		decide_others(d, facts);
	return DECIDE_NEEDS_NOTHING;
}

enum decide_divert_act decide_divert(enum udplane_socket_state state, enum udplane_reason reason)
{
	if (reason && state == UDPLANE_SOCKET_ACTIVE)
		return DECIDE_STOP;
	if (!reason && state == UDPLANE_SOCKET_PENDING)
		return DECIDE_START;
	return DECIDE_LEAVE;
}

enum udplane_reason decide_device_refused(struct decision *d, int err)
{
	return decide(d, UDPLANE_REASON_DEVICE, "the device refuses the claim: %s%s",
		      strerror(-err), err == -ENOSPC ? "; too many addresses or peers" : "");
}

/* ---- sending ---- */

enum udplane_reason decide_tx(struct decision *d, enum udplane_reason judged,
			      const char *judged_text, bool source_gone)
{
	if (judged)
		return decide(d, judged, "%s", judged_text);
	if (source_gone) /* each send fails, and only the kernel can say so in time */
		return decide(d, UDPLANE_REASON_NOT_LOCAL,
			      "the address that it is bound to is gone from this host");
	return yes(d);
}

enum decide_news_kind decide_news(enum udplane_reason was, const char *was_text,
				  const struct decision *d)
{
	if (!was != !d->reason)
		return DECIDE_NEW_PATH;
	return was == d->reason && !strcmp(was_text, d->text) ? DECIDE_OLD : DECIDE_NEW_TEXT;
}
