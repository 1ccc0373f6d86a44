/* SPDX-License-Identifier: Apache-2.0 */
/* Receiving. Order of the sources: datagrams saved from rings that were dropped; the rings; the
 * kernel socket, whenever the rings are empty, every RX_KERNEL_EVERY datagrams, and before a
 * datagram marked UDPLANE_RX_SWITCHED. A call that returns less than it was asked for has found
 * all of them empty, as edge-triggered programs expect. */
#include "client/recv.h"
#include "client/attach.h"
#include "client/base.h"
#include "client/cmsg.h"
#include "client/context.h"
#include "client/detach.h"
#include "client/fault.h"
#include "client/gro.h"
#include "client/lend.h"
#include "client/life.h"
#include "client/lock.h"
#include "client/peek.h"
#include "client/pktbuf.h"
#include "client/public.h"
#include "client/queue.h"
#include "client/raw.h"
#include "client/ready.h"
#include "client/recv_kernel.h"
#include "client/rx_inplace.h"
#include "client/rx_kernel.h"
#include "client/rxq.h"
#include "client/saved.h"
#include "client/sock.h"
#include "client/table.h"
#include "client/visit.h"
#include "client/wait.h"
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <udplane/abi.h>
#include <udplane/clock.h>
#include <unistd.h>

/* Receives from the kernel socket without waiting. Returns how many, or -errno. */
static int rx_kernel(struct sock *s, struct rx_sink *k)
{
	struct mmsghdr *vec = k->vec + k->done;
	uint32_t cnt = k->cnt - k->done;
	int flags = k->flags, n, error;

	if (!k->vec)
		return rx_kernel_pkts(s, k->pkts + k->done, cnt);
	flags = (flags & ~MSG_WAITFORONE) | MSG_DONTWAIT;
	n = sock_kernel_recv(s, vec, cnt, flags, false, rx_drops(s), &error);
	if (unlikely(error))
		s->rx.error = error;
	rx_kernel_looked(s, n, cnt, flags);
	return n;
}

/* --- delivery --- */

/* Writes data from byte `at` of the buffers on. Returns how many bytes fitted. */
static size_t msg_scatter(const struct msghdr *h, size_t at, const uint8_t *data, size_t len)
{
	size_t done = 0;

	for (size_t i = 0; i < h->msg_iovlen && done < len; i++) {
		size_t room = h->msg_iov[i].iov_len, skip = at < room ? at : room, n;

		at -= skip;
		room -= skip;
		n = room < len - done ? room : len - done;
		if (n)
			memcpy((uint8_t *)h->msg_iov[i].iov_base + skip, data + done, n);
		done += n;
	}
	return done;
}

/* As msg_scatter(). Returns false if the program's memory cannot be accessed. */
static bool msg_scatter_part(const struct msghdr *h, size_t *at, const uint8_t *data, size_t len)
{
	if (fault_begin())
		return false;
	*at += msg_scatter(h, *at, data, len);
	fault_end();
	return true;
}

static inline void rx_name(const struct sock *s, struct msghdr *h, const struct udplane_addr *peer)
{
	struct sockaddr_storage ss;
	socklen_t len = udplane_addr_to_sockaddr(peer, s->domain, &ss);

	memcpy(h->msg_name, &ss, h->msg_namelen < len ? h->msg_namelen : len);
	h->msg_namelen = len;
}

/* Returns false if the program's memory cannot be accessed. */
static bool rx_deliver(const struct sock *s, struct mmsghdr *m, int flags, const uint8_t *data,
		       uint32_t len, const struct udplane_addr *peer)
{
	struct msghdr *h = &m->msg_hdr;
	size_t n;

	if (fault_begin())
		return false;
	if (likely(h->msg_iovlen == 1)) {
		n = h->msg_iov->iov_len < len ? h->msg_iov->iov_len : len;
		if (likely(n)) /* the buffer may be NULL */
			memcpy(h->msg_iov->iov_base, data, n);
	} else {
		n = msg_scatter(h, 0, data, len);
	}
	m->msg_len = flags & MSG_TRUNC ? len : (uint32_t)n;
	h->msg_flags = (n < len ? MSG_TRUNC : 0) | (flags & MSG_CMSG_CLOEXEC);
	h->msg_controllen = 0;
	if (h->msg_name)
		rx_name(s, h, peer);
	fault_end();
	return true;
}

static bool rx_deliver_buf(const struct sock *s, struct mmsghdr *m, int flags,
			   const struct pktbuf *b)
{
	size_t room = m->msg_hdr.msg_controllen;

	if (!rx_deliver(s, m, flags, b->data, b->len, &b->peer))
		return false;
	if (unlikely(rx_wants(s)))
		cmsg_of_buf(s, b, &m->msg_hdr, room);
	return true;
}

/* The end of a call that found memory that cannot be accessed: as in Linux, what came before is
 * received, and the next call returns the error. */
static int rx_fault(struct sock *s, struct rx_sink *k)
{
	k->fault = false;
	if (!k->done)
		return -EFAULT;
	s->rx.error = -EFAULT;
	return (int)k->done;
}

/* MSG_PEEK with SO_PEEK_OFF: delivers b from byte `off` on. MSG_TRUNC is set as Linux sets it:
 * not if there was room for more than the rest. Returns false if the program's memory cannot be
 * accessed. */
static bool rx_deliver_rest(const struct sock *s, struct mmsghdr *m, int flags,
			    const struct pktbuf *b, uint32_t off)
{
	uint32_t rest = b->len - off, done;
	size_t room = m->msg_hdr.msg_controllen, iov_room = 0;

	if (!rx_deliver(s, m, flags & ~MSG_TRUNC, b->data + off, rest, &b->peer))
		return false;
	if (fault_begin())
		return false;
	for (size_t i = 0; i < m->msg_hdr.msg_iovlen; i++)
		iov_room += m->msg_hdr.msg_iov[i].iov_len;
	fault_end();
	done = m->msg_len;
	if (iov_room <= rest && done < b->len)
		m->msg_hdr.msg_flags |= MSG_TRUNC;
	if (flags & MSG_TRUNC)
		m->msg_len = b->len;
	cmsg_of_buf(s, b, &m->msg_hdr, room);
	return true;
}

static inline bool rx_peeks_on(const struct sock *s, const struct rx_sink *k)
{
	return (rx_wants(s) & CMSG_WANT_PEEK_OFF) && (k->flags & MSG_PEEK);
}

/* Looks at datagrams from SO_PEEK_OFF on. As rx_take(). */
static int rx_peek_on(struct sock *s, struct rx_sink *k)
{
	while (k->done < k->cnt) {
		struct mmsghdr *m = &k->vec[k->done];
		int off = peek_offset(s), n;
		const struct pktbuf *b = off < 0 ? NULL : saved_at(s, &off);

		if (!b) {
			n = s->rx.error ? s->rx.error : -EAGAIN;
			if (!k->done)
				s->rx.error = 0;
			return k->done ? (int)k->done : n;
		}
		if (!rx_deliver_rest(s, m, k->flags, b, (uint32_t)off)) {
			k->fault = true;
			return rx_fault(s, k);
		}
		peek_move(s, m->msg_len);
		k->done++;
	}
	return (int)k->done;
}

/* SO_PEEK_OFF: n entries, from k->done on, have been received by other ways than the kernel's. */
static void rx_peek_back(const struct sock *s, const struct rx_sink *k, uint32_t n)
{
	int64_t bytes = 0;

	if (k->flags & MSG_PEEK)
		return;
	for (uint32_t i = k->done; i < k->done + n; i++)
		bytes += k->vec ? k->vec[i].msg_len : k->pkts[i].len;
	peek_move(s, -bytes);
}

/* Takes one saved datagram. Returns 1; or 0 if the kernel socket must be emptied first. */
static uint32_t rx_saved(struct sock *s, struct rx_sink *k, bool emptied)
{
	struct pktbuf *b = s->rx.saved;

	if (b->switched && !rx_switch(s, emptied))
		return 0;
	b->switched = false;
	if (k->vec && !rx_deliver_buf(s, &k->vec[k->done], k->flags, b))
		k->fault = true;
	if (k->flags & MSG_PEEK) {
		b->peeked = true;
		return !k->fault;
	}
	s->rx.saved = b->next;
	if (!s->rx.saved)
		s->rx.saved_end = &s->rx.saved;
	if (k->vec)
		pktbuf_put(b);
	else
		rx_saved_pkt(b, &k->pkts[k->done]);
	return !k->fault;
}

/* Returns 1; or 0 if other processes have taken what was unread at the fork. */
static uint32_t rx_queue(struct sock *s, struct rx_sink *k)
{
	struct pktbuf *b = queue_get(s, k->flags & MSG_PEEK);

	if (!b)
		return 0;
	if (k->vec) {
		cmsg_read_options(s); /* other processes may have changed them */
		k->fault = !rx_deliver_buf(s, &k->vec[k->done], k->flags, b);
		pktbuf_put(b);
	} else {
		rx_saved_pkt(b, &k->pkts[k->done]);
	}
	return !k->fault;
}

/* Returns false, with k->fault set, if the program's memory cannot be accessed: the datagram is
 * lost unless it is looked at only. */
static inline bool rx_one(struct sock *s, struct rxq *q, const struct udplane_rx_desc *d,
			  struct rx_sink *k, uint32_t at)
{
	struct udplane_addr peer;
	struct mmsghdr *m;
	size_t room;

	if (!k->vec) {
		rx_ring_pkt(s->att, (uint32_t)(q - s->rx.rxq), d, &k->pkts[at]);
		return true;
	}
	m = &k->vec[at];
	room = m->msg_hdr.msg_controllen;
	if (m->msg_hdr.msg_name)
		rx_source(s->att, d, &peer);
	if (unlikely(!rx_deliver(s, m, k->flags, rx_payload(s->att, d), d->len, &peer)))
		k->fault = true;
	else if (unlikely(rx_wants(s)))
		cmsg_of_ring(s, q, d, &m->msg_hdr, room, 0);
	if (likely(!(k->flags & MSG_PEEK)))
		rx_back(s, q, d->frame);
	return !k->fault;
}

/* The head of a joined datagram. Returns false if the program's memory cannot be accessed. */
static bool rx_joined_head(const struct sock *s, const struct udplane_rx_desc *d, int flags,
			   size_t len, struct mmsghdr *m)
{
	struct msghdr *h = &m->msg_hdr;
	struct udplane_addr peer;

	rx_source(s->att, d, &peer);
	if (fault_begin())
		return false;
	m->msg_len = (uint32_t)len;
	h->msg_flags = flags & MSG_CMSG_CLOEXEC;
	if (h->msg_name)
		rx_name(s, h, &peer);
	fault_end();
	return true;
}

/* Delivers `run` datagrams, from entry i on, as one. gro_run() has checked that they fit. As
 * rx_one(). */
static bool rx_joined(struct sock *s, struct rxq *q, uint32_t i, uint32_t run, struct rx_sink *k,
		      struct mmsghdr *m)
{
	struct msghdr *h = &m->msg_hdr;
	size_t room = h->msg_controllen, done = 0;
	struct udplane_rx_desc d;

	for (uint32_t j = 0; j < run; j++) {
		rx_load(s, q, i + j, &d);
		if (!k->fault && !msg_scatter_part(h, &done, rx_payload(s->att, &d), d.len))
			k->fault = true;
		if (!(k->flags & MSG_PEEK))
			rx_back(s, q, d.frame);
	}
	rx_load(s, q, i, &d);
	if (k->fault || !rx_joined_head(s, &d, k->flags, done, m)) {
		k->fault = true;
		return false;
	}
	cmsg_of_ring(s, q, &d, h, room, d.len);
	return true;
}

/* UDP_GRO: receives from one ring, and joins datagrams as GRO does. As rx_ring(). */
static uint32_t rx_ring_gro(struct sock *s, struct rxq *q, struct rx_sink *k, bool emptied,
			    uint32_t *took)
{
	uint32_t cnt = k->flags & MSG_PEEK ? 1 : k->cnt - k->done, done = 0, all = 0, i = 0, run;
	uint32_t n = rx_room_back(s, q, rx_avail(s, q, q->ring.size));

	*took = 0;
	for (; i < n && done < cnt; i += run) {
		struct udplane_rx_desc d;
		struct mmsghdr *m = &k->vec[k->done + done];

		run = 1;
		if (unlikely(!rx_load(s, q, i, &d))) {
			rx_back(s, q, d.frame);
			continue;
		}
		if (unlikely(d.flags & UDPLANE_RX_SWITCHED) && (i || !rx_switch(s, emptied)))
			break;
		run = gro_run(s, q, i, n, &d, &m->msg_hdr);
		if (!(run == 1 ? rx_one(s, q, &d, k, k->done + done)
			       : rx_joined(s, q, i, run, k, m))) {
			i += run;
			break;
		}
		done++;
		all += run;
	}
	if ((done || k->fault) && unlikely(k->flags & MSG_PEEK)) {
		s->rx.peeked = PEEKED_RING;
		s->rx.peeked_ring = true;
		return done;
	}
	*took = i;
	if (!i)
		return 0;
	s->rx.fast_rx += all;
	rx_taken(s, q, i);
	return done;
}

/* Receives from one ring. Returns how many datagrams; *took: entries consumed. */
static uint32_t rx_ring(struct sock *s, struct rxq *q, struct rx_sink *k, bool emptied,
			uint32_t *took)
{
	uint32_t cnt = k->flags & MSG_PEEK ? 1 : k->cnt - k->done;
	uint32_t n = rx_avail(s, q, cnt), done = 0, i;

	*took = 0;
	if (unlikely(rx_wants(s) & CMSG_WANT_GRO) && k->vec)
		return rx_ring_gro(s, q, k, emptied, took);
	if (n > cnt)
		n = cnt;
	n = rx_room_back(s, q, n);
	for (i = 0; i < n && i < RX_PREFETCH; i++)
		rx_prefetch(s, q, i);
	for (i = 0; i < n; i++) {
		struct udplane_rx_desc d;

		if (i + RX_PREFETCH < n)
			rx_prefetch(s, q, i + RX_PREFETCH);
		if (unlikely(!rx_load(s, q, i, &d))) {
			rx_back(s, q, d.frame);
			continue;
		}
		if (unlikely(d.flags & UDPLANE_RX_SWITCHED) && (i || !rx_switch(s, emptied)))
			break;
		if (unlikely(!rx_one(s, q, &d, k, k->done + done))) {
			i++;
			break;
		}
		done++;
	}
	if ((done || k->fault) && unlikely(k->flags & MSG_PEEK)) {
		s->rx.peeked = PEEKED_RING;
		s->rx.peeked_ring = true;
		return done;
	}
	*took = i;
	if (!i)
		return 0;
	if (!k->vec)
		__atomic_fetch_add(&s->att->refs, done, __ATOMIC_RELAXED);
	s->rx.fast_rx += done;
	rx_taken(s, q, i);
	return done;
}

/* Receives from the rings, in turns. */
static uint32_t rx_rings(struct sock *s, struct rx_sink *k, bool emptied)
{
	uint32_t empty = 0, done = 0, took;

	while (empty < s->rx.rxq_cnt && !done) {
		done = rx_ring(s, &s->rx.rxq[s->rx.rxq_next], k, emptied, &took);
		if (unlikely(k->fault) || (done && (k->flags & MSG_PEEK)))
			return done; /* the same ring is next */
		empty = took ? 0 : empty + 1;
		if (++s->rx.rxq_next == s->rx.rxq_cnt)
			s->rx.rxq_next = 0;
	}
	return done;
}

/* Fills the sink without waiting. Returns how many entries, or -EAGAIN or another -errno if
 * none. rings_only: skip the kernel socket unless it is due, as the caller is going to spin. */
static int rx_take(struct sock *s, struct rx_sink *k, bool rings_only)
{
	bool emptied = false, offset = rx_wants(s) & CMSG_WANT_PEEK_OFF;
	int n;

	if (unlikely(s->rx.error)) {
		n = s->rx.error;
		s->rx.error = 0;
		return n;
	}
	if (unlikely(rx_peeks_on(s, k)) && peek_offset(s) >= 0)
		return rx_peek_on(s, k);
	while (k->done < k->cnt) {
		n = 0;
		if (unlikely(s->rx.queue != NULL))
			n = (int)rx_queue(s, k);
		else if (unlikely(s->rx.saved != NULL) && s->rx.peeked != PEEKED_KERNEL)
			n = (int)rx_saved(s, k, emptied);
		else if (emptied || !rx_kernel_due(s))
			n = (int)rx_rings(s, k, emptied);
		if (unlikely(offset) && n)
			rx_peek_back(s, k, (uint32_t)n);
		if (unlikely(k->fault)) {
			k->done += (uint32_t)n;
			return rx_fault(s, k);
		}
		if (n == 0) {
			if (emptied || (rings_only && !rx_ready(s) && !rx_kernel_due(s)))
				break;
			n = rx_kernel(s, k);
			emptied = n <= 0 || (k->vec && n < (int)(k->cnt - k->done));
			if (n < 0 && n != -EAGAIN) {
				if (!k->done)
					return n;
				s->rx.error = n;
				break;
			}
		}
		k->done += n > 0 ? (uint32_t)n : 0;
	}
	return k->done ? (int)k->done : -EAGAIN;
}

int rx_next_len(struct sock *s, bool emptied)
{
	if (s->rx.queue && queue_next_len(s) >= 0)
		return queue_next_len(s);
	if (s->rx.peeked == PEEKED_KERNEL && !emptied)
		return -EAGAIN;
	if (s->rx.saved)
		return s->rx.saved->switched && !emptied ? -EAGAIN : (int)s->rx.saved->len;
	for (uint32_t i = 0; i < s->rx.rxq_cnt; i++) {
		struct udplane_rx_desc d;

		if (rx_avail(s, &s->rx.rxq[s->rx.rxq_next], 1)) {
			if (!rx_load(s, &s->rx.rxq[s->rx.rxq_next], 0, &d) ||
			    ((d.flags & UDPLANE_RX_SWITCHED) && !emptied))
				return -EAGAIN;
			s->rx.peeked = PEEKED_RING;
			return d.len;
		}
		if (++s->rx.rxq_next == s->rx.rxq_cnt)
			s->rx.rxq_next = 0;
	}
	return -EAGAIN;
}

/* --- calls --- */

/* Returns the socket with its receive side locked, after maintain() if that is due. Returns NULL
 * as sock_lock_rx(). */
static struct sock *rx_enter(int fd)
{
	struct sock *s = sock_lock_rx(fd);
	struct visit v;
	bool is_new;

	if (!s || (likely(!sock_news(s)) && (likely(s->att != NULL) || !lend_is_new(s))))
		return s;
	is_new = lend_is_new(s);
	visit_begin(s, &v, false);
	lock_drop(&s->rx.lock);
	if (is_new)
		lend_reads(s);
	maintain(s, true, false);
	visit_end(&v);
	return sock_lock_rx(fd);
}

static bool rx_would_wait(const struct sock *s, int flags)
{
	return !(flags & MSG_DONTWAIT) &&
	       (s->rx.shared || !__atomic_load_n(&s->rx.nonblock, __ATOMIC_RELAXED));
}

/* The receive side cannot be locked. If a call of this thread, interrupted by a handler, holds
 * it, only the kernel socket is read, without waiting, since that call cannot continue.
 * Otherwise the call is repeated until the holder drops it. */
static int rx_without_lock(int fd, const struct rx_sink *k)
{
	struct sock *s = sock_get(fd);
	int n = -EAGAIN;
	bool mine;

	if (!s)
		return -EBADF;
	mine = lock_mine(&s->rx.lock);
	if (k->vec)
		n = kernel_recv(s->kfd, k->vec, k->cnt, k->flags | MSG_DONTWAIT, false);
	if (n >= 0 && !(k->flags & (MSG_PEEK | MSG_ERRQUEUE)))
		__atomic_fetch_add(&s->rx.kernel_rx, (uint64_t)n, __ATOMIC_RELAXED);
	if (n == -EAGAIN && rx_would_wait(s, k->flags))
		n = mine ? -EINTR : -ERESTART;
	sock_unref(s);
	return n;
}

/* A receive that found nothing hides the error queue; a read from the error queue shows it
 * again. */
static void rx_direct_error(struct sock *s, int n, int flags)
{
	bool read = n >= 0 && (flags & MSG_ERRQUEUE);

	if ((!read && n != -EAGAIN) || !sock_take_rx(s))
		return;
	if (!s->closed && read)
		rx_show_error(s);
	else if (!s->closed && !rx_ready(s) && rx_hide_error(s))
		rx_update_readiness(s);
	lock_drop(&s->rx.lock);
}

/* Receives by the kernel's own call alone. rx.lock is held, and dropped. */
static int rx_direct(struct sock *s, struct mmsghdr *vec, uint32_t cnt, int flags)
{
	bool wait = rx_would_wait(s, flags);
	uint32_t drops = rx_drops(s);
	struct visit v;
	int n, error;

	visit_begin(s, &v, wait);
	if (!v.entry)
		__atomic_fetch_add(&s->rx.direct, 1, __ATOMIC_RELAXED);
	lock_drop(&s->rx.lock);
	n = sock_kernel_recv(s, vec, cnt, flags, wait, drops, &error);
	if (!v.entry)
		__atomic_fetch_sub(&s->rx.direct, 1, __ATOMIC_RELAXED);
	if (n >= 0 && !(flags & (MSG_PEEK | MSG_ERRQUEUE)))
		__atomic_fetch_add(&s->rx.kernel_rx, (uint64_t)n, __ATOMIC_RELAXED);
	if (unlikely(__atomic_load_n(&s->rx.error_queue, __ATOMIC_RELAXED)) && visit_lasts(&v))
		rx_direct_error(s, n, flags);
	if (unlikely(error) && visit_lasts(&v) && sock_take_rx(s)) {
		s->rx.error = error;
		rx_update_readiness(s);
		lock_drop(&s->rx.lock);
	}
	visit_end(&v);
	return n;
}

/* Returns true for arguments that the kernel refuses before it looks for a datagram. */
static bool msg_is_odd(const struct mmsghdr *m)
{
	const struct msghdr *h = &m->msg_hdr;

	if (h->msg_iovlen > UIO_MAXIOV || (h->msg_iovlen && pointer_is_bad(h->msg_iov)) ||
	    (h->msg_name && (int)h->msg_namelen < 0))
		return true;
	for (size_t i = 0; i < h->msg_iovlen; i++)
		if (h->msg_iov[i].iov_len > SSIZE_MAX || (intptr_t)h->msg_iov[i].iov_base < 0)
			return true;
	return false;
}

static bool rx_is_direct(struct sock *s, const struct mmsghdr *vec, int flags)
{
	if (!vec)
		return false;
	if (flags & (MSG_ERRQUEUE | (int)0x80000000)) /* the latter: MSG_CMSG_COMPAT, EINVAL */
		return true;
	if (!s->rx.rxq_cnt && !s->rx.saved && !s->rx.queue && !s->rx.error)
		return s->kernel_only || s->rx.shared || context.disabled || s->rx.shim.on ||
		       (flags & MSG_DONTWAIT);
	return msg_is_odd(vec);
}

/* UDPLANE_POLL: no signals are wanted, so neither side makes a system call, except that the
 * kernel socket is read every RX_KERNEL_EVERY calls. rx.lock is held, and dropped. */
static int rx_poll(struct sock *s, struct rx_sink *k)
{
	bool look = s->rx.polls++ % RX_KERNEL_EVERY == 0 || s->rx.kernel_hot;
	int n;

	rx_disarm(s);
	n = rx_take(s, k, !look);
	if (look && s->att)
		attach_look(s->att, clock_now_ns());
	lock_drop(&s->rx.lock);
	return n;
}

/* The end of a burst receive on a socket that is shut down. */
static int rx_end(struct sock *s)
{
	lock_drop(&s->rx.lock);
	return 0;
}

static int rx_try(int fd, struct rx_sink *k)
{
	struct rx_wait wait = {0};
	struct sock *s = rx_enter(fd);
	bool rings_only;
	int n, err = 0;

	if (!s)
		return rx_without_lock(fd, k);
	if (unlikely(rx_kernel_due(s)) && s->rx.rxq_cnt) {
		/* a system call is due anyway, so let a thread that never waits be cancelled
		 * here */
		lock_drop(&s->rx.lock);
		pthread_testcancel();
		s = sock_lock_rx(fd);
		if (!s)
			return rx_without_lock(fd, k);
	}
	if (__atomic_load_n(&s->rx.nonblock, __ATOMIC_RELAXED) &&
	    !s->rx.shared) /* otherwise another process may have changed it */
		k->flags |= MSG_DONTWAIT;
	if (rx_is_direct(s, k->vec, k->flags))
		return rx_direct(s, k->vec, k->cnt, k->flags);
	if (k->poll && s->rx.rxq_cnt)
		return rx_poll(s, k);
	rings_only = !(k->flags & MSG_DONTWAIT) && rx_would_spin(s);
	for (;;) {
		n = rx_take(s, k, rings_only);
		rings_only = false;
		if (n != -EAGAIN || err)
			break;
		if (k->flags & MSG_DONTWAIT) {
			if (s->att)
				attach_look(s->att, clock_now_ns());
			break;
		}
		if (wait.hup ||
		    rx_is_direct(
			    s, k->vec,
			    k->flags)) /* shut down, or moved to the kernel path during the sleep */
			return k->vec ? rx_direct(s, k->vec, k->cnt, k->flags) : rx_end(s);
		s->rx.beyond = rx_peeks_on(s, k);
		err = rx_wait(s, &wait);
		if (err == -EBADF)
			return err;
		s->rx.beyond = false;
	}
	rx_update_readiness(s);
	if (n == -EAGAIN && unlikely(s->rx.error_queue) && rx_hide_error(s))
		rx_update_readiness(s);
	lock_drop(&s->rx.lock);
	return n == -EAGAIN && err ? err : n;
}

/* (Kernel addresses are refused before a datagram is looked for: msg_is_odd().) */
static bool bad_buffers(const struct msghdr *h)
{
	if (h->msg_name && pointer_is_bad(h->msg_name))
		return true;
	if (pointer_is_bad(h->msg_iov))
		return false; /* refused by msg_is_odd(), or no buffers */
	for (size_t i = 0; i < h->msg_iovlen && i < UIO_MAXIOV; i++)
		if (pointer_is_bad(h->msg_iov[i].iov_base) && h->msg_iov[i].iov_len &&
		    (intptr_t)h->msg_iov[i].iov_base >= 0)
			return true;
	return false;
}

static bool msg_is_unreadable(const struct mmsghdr *m)
{
	if (fault_begin())
		return true;
	(void)(msg_is_odd(m) || bad_buffers(&m->msg_hdr));
	fault_end();
	return false;
}

static uint32_t first_unreadable(const struct rx_sink *k)
{
	uint32_t i = 0;

	while (i < k->cnt && !msg_is_unreadable(&k->vec[i]))
		i++;
	return i;
}

/* Returns the index of the first message with an impossible buffer, or of the first but message
 * 0 that the kernel would refuse. Those before it are received. *unreadable: it is one whose
 * header or array of buffers cannot be read. */
static uint32_t rx_first_bad(const struct rx_sink *k, bool *unreadable)
{
	uint32_t i = 0;

	if (fault_begin()) {
		*unreadable = true;
		return first_unreadable(k);
	}
	for (; k->vec && i < k->cnt; i++) {
		if (i && unlikely(msg_is_odd(&k->vec[i])))
			break;
		if (unlikely(bad_buffers(&k->vec[i].msg_hdr)) && !msg_is_odd(&k->vec[i]))
			break;
	}
	fault_end();
	return i;
}

/* As in Linux, the datagram is waited for, taken and lost; those before it are received. */
static int rx_bad(int fd, struct rx_sink *k, uint32_t bad)
{
	struct mmsghdr m = {.msg_hdr = {.msg_iovlen = 0}};
	struct rx_sink none = {.vec = &m, .cnt = 1, .flags = k->flags | MSG_TRUNC};
	int n;

	if (bad) {
		k->cnt = bad;
		return rx_call(fd, k);
	}
	n = rx_call(fd, &none);
	if (n == 1 && m.msg_len == 0 &&
	    !k->vec->msg_hdr.msg_name) { /* an empty one needs no buffer */
		k->vec->msg_len = 0;
		return 1;
	}
	return n == 1 ? -EFAULT : n;
}

int rx_call(int fd, struct rx_sink *k)
{
	bool unreadable = false;
	uint32_t bad = rx_first_bad(k, &unreadable);
	int n;

	if (k->vec && unlikely(bad < k->cnt)) {
		if (unreadable && !bad)
			return table_get(fd) ? -EFAULT : -EBADF;
		return rx_bad(fd, k, bad);
	}
	do {
		n = rx_try(fd, k);
	} while (n == -ERESTART);
	if (n == -EAGAIN || n == -EINTR) /* no datagram was taken that would be lost */
		pthread_testcancel();
	return n;
}
