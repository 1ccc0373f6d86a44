/* SPDX-License-Identifier: Apache-2.0 */
/* What a dead udplaned has not taken from a TX ring goes out through the kernel socket. */
#include "client/resend.h"
#include "client/attach.h"
#include "client/base.h"
#include "client/context.h"
#include "client/control.h"
#include "client/dest.h"
#include "client/lock.h"
#include "client/sock.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <udplane/abi.h>
#include <udplane/clock.h>
#include <udplane/ring.h>
#include <udplane/tx_control.h>

static void tx_resend_one(struct sock *s, const struct udplane_tx_desc *t, const uint8_t *payload)
{
	struct udplane_addr d = {.port_be = t->dst_port_be,
				 .family = t->flags & UDPLANE_TX_IPV6 ? AF_INET6 : AF_INET};
	struct udplane_tx_asked asked = {.flags = t->flags, .tos = t->tos, .ttl = t->ttl};
	struct pollfd p = {.fd = s->kfd, .events = POLLOUT};
	uint32_t head = t->flags & UDPLANE_TX_SOURCE && d.family == AF_INET6 ? 16 : 0;
	struct iovec iov = {.iov_base = (void *)(payload + head), .iov_len = t->len};
	union {
		char space[UDPLANE_TX_CONTROL_MAX];
		struct cmsghdr align;
	} control;
	struct sockaddr_storage ss;
	struct msghdr h = {
		.msg_name = &ss, .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space};

	memcpy(d.addr, t->dst, 16);
	memcpy(asked.src, head ? payload : (const uint8_t *)&t->src4_be, head ? head : 4);
	h.msg_controllen = udplane_tx_control(&asked, control.space);
	if (udplane_addr_is_link_local(&d))
		d.scope_id = (uint32_t)s->att->stats->ifindex;
	h.msg_namelen = udplane_addr_to_sockaddr(&d, s->domain, &ss);
	for (int i = 0; i < 10; i++) {
		if (sendmsg(s->kfd, &h, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
			s->tx.kernel_tx++;
			s->tx.fast_tx--;
			return;
		}
		if (errno == EAGAIN && clock_now_ns() < s->att->resend_until_ns)
			poll(&p, 1, 10);
		else if (errno != EINTR &&
			 /* ECONNREFUSED: an older error, which this call has taken */
			 errno != ECONNREFUSED)
			return;
	}
}

void tx_resend(struct sock *s, struct attach *a)
{
	struct lane *l = &a->lane[s->tx.id % a->worker_cnt];
	uint32_t cons, cnt;

	if (!s->tx.used || !sock_kernel_is(s))
		return;
	if (a->control.silent) {
		/* Its worker may still send them. udplaned empties the ring when it sees that
		 * the connection is closed. */
		s->tx.used = false;
		return;
	}
	if (!a->resend_until_ns)
		a->resend_until_ns = clock_now_ns() + RESEND_DEADLINE_NS;
	if (!lock_insist(&l->tx_lock))
		return;
	cons = udplane_word_load(&l->tx.head->cons_idx);
	if (l->tx.idx - cons <= l->tx.size && (int32_t)(s->tx.end - cons) > 0) {
		cnt = s->tx.end - cons;
		for (uint32_t i = 0; i < cnt; i++) {
			uint32_t slot = udplane_ring_slot(&l->tx, cons + i);

			if (l->desc[slot].sock == s->tx.id)
				tx_resend_one(s, &l->desc[slot],
					      l->payload + ((size_t)slot << a->tx_slot_shift));
		}
		context_log(2, "socket %d: %u TX entries were left", s->fd, cnt);
	}
	s->tx.used = false;
	lock_drop(&l->tx_lock);
}
