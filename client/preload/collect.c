/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets that the worker has marked become hot: marks.h. */
#include "client/lock.h"
#include "client/preload/instance.h"
#include "client/preload/marks.h"
#include "client/sock.h"

/* Returns false if a call that this one has interrupted holds the socket. */
static bool heat(struct sock *s)
{
	if (!sock_take_rx(s))
		return false;
	if (!s->closed && s->rx.shim.on)
		instance_heat_sock(s);
	lock_drop(&s->rx.lock);
	return true;
}

/* Another thread sleeps, and had looked before these sockets were hot. */
static void tell_sleeper(struct sock *s)
{
	if (!sock_take_rx(s))
		return;
	if (!s->closed && s->rx.shim.on)
		instance_update(s);
	lock_drop(&s->rx.lock);
}

bool instance_collect(struct instance *in, uint32_t mine)
{
	struct sock *s, *any = NULL;
	struct marks m = {0};

	if (in->group < 0)
		return false;
	while (marks_next(in, &m)) {
		while (m.bits) {
			s = marks_take(&m);
			if (!s)
				continue;
			any = s;
			if (!heat(s)) /* once more when that call has ended */
				marks_again(&m);
		}
	}
	if (any && __atomic_load_n(&in->sleepers, __ATOMIC_SEQ_CST) > mine)
		tell_sleeper(any);
	return any != NULL;
}
