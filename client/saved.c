/* SPDX-License-Identifier: Apache-2.0 */
/* Before a socket changes its path, datagrams that have arrived are moved to private memory, in
 * order of arrival. */
#include "client/saved.h"
#include "client/attach.h"
#include "client/base.h"
#include "client/cmsg.h"
#include "client/peek.h"
#include "client/pktbuf.h"
#include "client/queue.h"
#include "client/raw.h"
#include "client/rxq.h"
#include "client/sock.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <udplane/abi.h>
#include <unistd.h>

/* Who peeks on without receiving gets no more than so many: then the rings fill, as a receive
 * buffer does. */
#define PEEK_MAX 4096

/* Returns the place in s->rx.saved of what is in the kernel socket, if that is older than
 * something that the library holds; else NULL. */
static struct pktbuf **saved_place_of_kernel(struct sock *s)
{
	struct pktbuf **at;

	if (s->rx.peeked == PEEKED_KERNEL)
		return &s->rx.saved;
	for (at = &s->rx.saved; *at; at = &(*at)->next)
		if ((*at)->switched)
			return at;
	for (uint32_t i = 0; i < s->rx.rxq_cnt; i++) {
		struct udplane_rx_desc d;

		if (rx_avail(s, &s->rx.rxq[i], 1) && rx_load(s, &s->rx.rxq[i], 0, &d) &&
		    (d.flags & UDPLANE_RX_SWITCHED))
			return s->rx.saved_end;
	}
	/* The first datagram since the claim, which is marked, may still arrive. */
	return s->rx.rxq_cnt && !s->rx.switched && attach_engaged(s->att) ? s->rx.saved_end : NULL;
}

/* Returns the next datagram of the kernel socket in private memory; NULL if there is none, or an
 * error, which is kept to be reported. */
static struct pktbuf *saved_take_kernel_one(struct sock *s, struct pktbuf *room)
{
	struct sockaddr_storage name = {0};
	struct iovec iov = {.iov_base = room->data, .iov_len = PKTBUF_SIZE};
	char control[CMSG_ROOM] __attribute__((aligned(8)));
	struct msghdr h = {.msg_name = &name,
			   .msg_namelen = sizeof(name),
			   .msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	struct pktbuf *b;
	ssize_t n = raw_recvmsg(s->kfd, &h, MSG_DONTWAIT);

	if (n < 0 && errno != EAGAIN && errno != EINTR && !s->rx.error) {
		s->rx.error = -errno; /* the error came before the datagrams */
		n = raw_recvmsg(s->kfd, &h, MSG_DONTWAIT);
	}
	if (n < 0)
		return NULL;
	b = pktbuf_small((uint32_t)n + (uint32_t)h.msg_controllen);
	if (!b) {
		rx_count_lost(s);
		return NULL;
	}
	b->len = (uint32_t)n;
	udplane_addr_from_sockaddr(&b->peer, &name, sizeof(name));
	memcpy(b->data, room->data, (size_t)n);
	b->control_len = (uint32_t)h.msg_controllen;
	memcpy(b->data + n, control, h.msg_controllen);
	__atomic_fetch_add(&s->rx.kernel_rx, 1, __ATOMIC_RELAXED);
	return b;
}

void saved_take_kernel(struct sock *s, struct pktbuf **at)
{
	struct pktbuf *room, *rest = *at, *b;
	bool last = at == s->rx.saved_end;
	int off = rx_wants(s) & CMSG_WANT_PEEK_OFF ? peek_offset(s) : -1;

	if (!pktbufs_get(&room, 1))
		return;
	for (uint32_t i = 0; i < RX_SWITCH_MAX && (b = saved_take_kernel_one(s, room)); i++) {
		b->peeked = !i && s->rx.peeked == PEEKED_KERNEL;
		*at = b;
		at = &b->next;
	}
	*at = rest;
	if (last)
		s->rx.saved_end = at;
	if (off >= 0) /* the application has not received them */
		peek_set(s, off);
	pktbuf_put(room);
}

void rings_to_saved(struct sock *s)
{
	struct pktbuf **at = saved_place_of_kernel(s);
	bool peeked = s->rx.peeked_ring;

	if (at)
		saved_take_kernel(s, at);
	at = s->rx.saved_end;
	/* the one that was peeked at is first, as before */
	for (uint32_t i = 0; i < s->rx.rxq_cnt; i++)
		rx_drain(s, (s->rx.rxq_next + i) % s->rx.rxq_cnt, true);
	if (*at)
		(*at)->peeked = peeked;
	s->rx.peeked = PEEKED_NONE;
}

void rx_to_saved(struct sock *s)
{
	rings_to_saved(s);
	rx_saved_first(s);
}

void rx_saved_first(struct sock *s)
{
	for (struct pktbuf *b = s->rx.saved; b; b = b->next) {
		s->rx.switched |= b->switched;
		b->switched = false;
	}
}

/* As in Linux: an empty datagram is found only at offset 0, and once. *cnt: how many are before. */
static struct pktbuf *find_saved(struct sock *s, int *off, uint32_t *cnt)
{
	struct pktbuf **at = &s->rx.saved, *b;

	*cnt = 0;
	while ((b = *at) != NULL) {
		if (b->switched) { /* the kernel socket is emptied before */
			b->switched = false;
			s->rx.switched = true;
			saved_take_kernel(s, at);
			continue;
		}
		if ((uint32_t)*off < b->len || (!*off && !b->peeked)) {
			b->peeked = true;
			return b;
		}
		*off -= (int)b->len;
		++*cnt;
		at = &b->next;
	}
	return NULL;
}

struct pktbuf *saved_at(struct sock *s, int *off)
{
	int from = *off;
	struct pktbuf *b;
	uint32_t cnt;

	queue_to_saved(s);
	b = find_saved(s, off, &cnt);
	if (b || cnt >= PEEK_MAX)
		return b;
	rings_to_saved(s);
	*off = from;
	b = find_saved(s, off, &cnt);
	if (b)
		return b;
	saved_take_kernel(s, s->rx.saved_end);
	if (s->rx.error)
		return NULL;
	*off = from;
	return find_saved(s, off, &cnt);
}
