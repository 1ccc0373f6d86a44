/* SPDX-License-Identifier: Apache-2.0 */
/* Detaching from a udplaned that has left or died, and attaching to the next. Sockets continue
 * with the kernel: datagrams in their RX rings are copied out, and what udplaned has not taken
 * from the TX rings is sent through their kernel sockets, in order. So the zones can be unmapped
 * as soon as the application holds no packet in place, which frees the huge pages for the next
 * udplaned. */
#include "client/detach.h"
#include "client/attach.h"
#include "client/base.h"
#include "client/claim.h"
#include "client/close.h"
#include "client/context.h"
#include "client/control.h"
#include "client/lend.h"
#include "client/lock.h"
#include "client/ready.h"
#include "client/resend.h"
#include "client/share.h"
#include "client/sock.h"
#include "client/table.h"
#include <udplane/abi.h>
#include <udplane/clock.h>

static void detach_sock(struct sock *s, void *arg)
{
	struct attach *a = arg;
	bool mine;

	if (!sock_take_both(s)) { /* maintain() does it later */
		__atomic_store_n(&context.late, 1, __ATOMIC_RELAXED);
		return;
	}
	mine = s->att == a;
	if (mine) {
		tx_resend(s, a);
		s->tx.lane = NULL;
		claim_drop_rings(s, true);
		s->att = NULL;
		lend_end(s, false); /* what is saved may have its place behind the kernel's */
	}
	if (s->life.held == a) {
		s->life.held = NULL;
		attach_put(a);
	}
	if (!s->kernel_only) { /* the next udplaned may accept what this one refused */
		s->tx.reason = UDPLANE_REASON_NONE;
		s->life.claim_wait_ns = 0;
		if (s->life.bound)
			sock_retry_at(s, 0);
	}
	if (mine)
		rx_update_readiness(s);
	sock_drop_both(s);
	if (mine)
		attach_put(a);
}

static void detach_late(struct sock *s, void *unused)
{
	(void)unused;
	if (s->att && !__atomic_load_n(&s->att->live, __ATOMIC_RELAXED))
		detach_sock(s, s->att);
}

static void sock_do_late(struct sock *s, void *unused)
{
	uint32_t late = __atomic_load_n(&s->life.late, __ATOMIC_RELAXED)
				? __atomic_exchange_n(&s->life.late, 0, __ATOMIC_ACQUIRE)
				: 0;

	(void)unused;
	if (late & LATE_CLOSE) {
		sock_close_late(s);
		return;
	}
	if (late & LATE_KERNEL)
		claim_release(s, CLAIM_KERNEL, s->life.late_reason, s->life.late_text);
	if (late & LATE_UPDATE)
		claim_update(s);
}

void attach_end(struct attach *a)
{
	__atomic_store_n(&a->live, 0, __ATOMIC_SEQ_CST);
	context.att = NULL;
	context_set_reason(UDPLANE_REASON_NO_SIDECAR, "%s",
			   a->control.goodbye ? "udplaned has left" : "udplaned is gone");
	table_each(detach_sock, a);
	attach_close_fds(a);
	context.attach_wait_ns = 0;
	context.next_attach_ns = clock_now_ns() + ATTACH_RETRY_NS;
	attach_put(a);
}

/* It could not be claimed. */
static void lent_in_vain(struct sock *s)
{
	if (!sock_take_both(s))
		return;
	lend_end(s, false);
	rx_update_readiness(s);
	sock_drop_both(s);
}

void maintain(struct sock *s, bool may_claim, bool block)
{
	struct ctl_state st;
	struct attach *a;

	if (block)
		ctl_lock(&st);
	else if (!ctl_trylock(&st))
		return;
	if (unlikely(__atomic_exchange_n(&context.late, 0, __ATOMIC_RELAXED))) {
		table_each(detach_late, NULL);
		table_each(sock_do_late, NULL);
		socks_close_late();
	}
	a = context.att;
	if (a) {
		attach_look(a, clock_now_ns());
		if (attach_news(a) && control_dead(&a->control))
			attach_end(a);
	}
	if (s && s->rx.shared && !s->kernel_only && !context.disabled && !share_resume(s))
		goto out;
	if (!context.att)
		attach_try();
	if (s && (may_claim || !s->life.lazy))
		claim_try(s);
out:
	if (s && unlikely(s->rx.lent) && !s->att)
		lent_in_vain(s);
	ctl_unlock(&st);
}
