/* SPDX-License-Identifier: Apache-2.0 */
/* Sending. A message goes through the TX ring if it is plain: no control data that only the kernel
 * honours, no flag that changes sending, a destination that leaves by udplaned's device, a length
 * that fits one packet (or, with UDP_SEGMENT, segments that do); and only while a worker is awake,
 * or a burst is worth waking it. All other messages go through the kernel socket, and the call
 * returns its result. */
#include "client/send.h"
#include "client/attach.h"
#include "client/base.h"
#include "client/claim.h"
#include "client/cmsg_send.h"
#include "client/context.h"
#include "client/dest.h"
#include "client/detach.h"
#include "client/fault.h"
#include "client/life.h"
#include "client/lock.h"
#include "client/public.h"
#include "client/raw.h"
#include "client/segment.h"
#include "client/send_option.h"
#include "client/sock.h"
#include "client/table.h"
#include "client/txq.h"
#include "client/visit.h"
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* --- messages --- */

static size_t msg_gather(uint8_t *to, const struct msghdr *h)
{
	size_t done = 0;

	for (size_t i = 0; i < h->msg_iovlen; i++) {
		if (!h->msg_iov[i].iov_len)
			continue; /* the buffer may be NULL */
		memcpy(to + done, h->msg_iov[i].iov_base, h->msg_iov[i].iov_len);
		done += h->msg_iov[i].iov_len;
	}
	return done;
}

static size_t msg_len(const struct msghdr *h, size_t max)
{
	size_t len = 0;

	for (size_t i = 0; i < h->msg_iovlen && len <= max; i++)
		len = h->msg_iov[i].iov_len > max ? max + 1 : len + h->msg_iov[i].iov_len;
	return len;
}

/* Returns true for buffers for which the kernel must return EFAULT. */
static bool bad_buffers(const struct msghdr *h)
{
	if (!h->msg_iovlen)
		return false;
	if (pointer_is_bad(h->msg_iov))
		return true;
	for (size_t i = 0; i < h->msg_iovlen; i++)
		if (pointer_is_bad(h->msg_iov[i].iov_base) && h->msg_iov[i].iov_len)
			return true;
	return false;
}

/* Returns true if the kernel has accepted this source since the addresses last changed. Otherwise
 * the kernel judges it now, by sending this message. Bound sockets may have sources only that they
 * are bound to. */
static bool source_known(struct sock *s, const struct lane *l, const uint8_t *src, uint8_t family)
{
	for (uint32_t i = 0; i < TX_SOURCES; i++) {
		const struct tx_source *t = &s->tx.source[i];

		if (t->family == family && t->seq == l->prefixes.seq && !memcmp(t->addr, src, 16))
			return true;
	}
	s->tx.try_source = (struct tx_source){.seq = l->prefixes.seq, .family = family};
	memcpy(s->tx.try_source.addr, src, 16);
	return false;
}

/* Puts the source of control data into the plan. Returns false if it is the kernel's to judge. */
static bool plan_source(struct sock *s, const struct lane *l, const struct cmsg_send *c,
			struct tx_plan *p)
{
	bool six = p->to.family == AF_INET6, bound = !udplane_addr_is_any(&s->tx.local);

	if (c->any_source && bound && !six) /* Linux chooses one by the route */
		return false;
	if (!(c->flags & UDPLANE_TX_SOURCE))
		return true;
	if (bound)
		return !memcmp(s->tx.local.addr, c->src, 16);
	if (!source_known(s, l, c->src, p->to.family))
		return false;
	p->options.flags |= UDPLANE_TX_SOURCE;
	if (six) {
		memcpy(p->src6, c->src, 16);
		p->head = 16;
	} else {
		memcpy(&p->options.src4_be, c->src, 4);
	}
	return true;
}

/* Puts what control data asks for into the plan, and lowers *max. Returns false if only the kernel
 * can do it, or say what is wrong. */
static bool plan_control(struct sock *s, const struct lane *l, const struct msghdr *h,
			 struct tx_plan *p, uint32_t *max)
{
	bool six = p->to.family == AF_INET6;
	struct cmsg_send c;
	uint32_t bound;

	if (s->att->minor < 2 || pointer_is_bad(h->msg_control) ||
	    !cmsg_send_parse(h->msg_control, h->msg_controllen, s->domain, six, &c))
		return false;
	if (c.ifindex && c.ifindex != (uint32_t)s->att->stats->ifindex)
		return false;
	if (!plan_source(s, l, &c, p))
		return false;
	p->options.flags |= c.flags & (UDPLANE_TX_TOS | UDPLANE_TX_TTL);
	if (c.flags & UDPLANE_TX_TOS)
		p->options.tos = c.tos;
	if (c.flags & UDPLANE_TX_TTL)
		p->options.ttl = c.ttl;
	if (c.segment)
		p->segment_size = c.segment_size;
	bound = c.dont_fragment ? tx_bound(s, six, true) : *max;
	*max = bound < *max ? bound : *max;
	if (*max > s->att->tx_slot_size - p->head)
		*max = s->att->tx_slot_size - p->head;
	return true;
}

/* msg_fast() for memory that can be read. */
static bool msg_plan(struct sock *s, struct lane *l, const struct msghdr *h, struct tx_plan *p)
{
	uint32_t max;
	size_t n;

	p->segments = 0;
	p->head = 0;
	if (unlikely(h->msg_iovlen > 64 || bad_buffers(h)))
		return false;
	if (h->msg_name) {
		if (unlikely(pointer_is_bad(h->msg_name)) ||
		    !dest_of_name(s, h->msg_name, h->msg_namelen, &p->to))
			return false;
	} else {
		if (!s->tx.connected || !s->tx.peer_fast)
			return false;
		p->to = s->tx.peer;
	}
	if (!dest_fast(s, l, &p->to))
		return false;
	p->options = s->tx.wish.options[p->to.family == AF_INET6];
	p->segment_size = s->tx.wish.segment_size;
	max = tx_limit(s, &p->to);
	if (unlikely(h->msg_controllen) && !plan_control(s, l, h, p, &max))
		return false;
	if (unlikely(p->segment_size)) {
		p->len = (uint32_t)msg_len(h, SEGMENT_LEN_MAX);
		return segment_plan(s, p, max);
	}
	n = h->msg_iovlen == 1 ? h->msg_iov->iov_len : msg_len(h, max);
	p->len = (uint32_t)n;
	return n <= max;
}

/* Returns true if this message may go through the ring as one datagram. Fills *p; p->segments is
 * not 0 if it may go as several. */
static bool msg_fast(struct sock *s, struct lane *l, const struct msghdr *h, struct tx_plan *p)
{
	bool fast;

	if (fault_begin()) { /* the kernel refuses it */
		p->segments = 0;
		return false;
	}
	fast = msg_plan(s, l, h, p);
	fault_end();
	return fast;
}

/* Copies the payload. Returns false if the program's memory cannot be accessed. */
static bool msg_take(uint8_t *to, struct mmsghdr *m, uint32_t len)
{
	const struct msghdr *h = &m->msg_hdr;

	if (fault_begin())
		return false;
	if (likely(h->msg_iovlen == 1 && len))
		memcpy(to, h->msg_iov->iov_base, len);
	else
		msg_gather(to, h);
	m->msg_len = len;
	fault_end();
	return true;
}

/* The first message goes as segments. Returns 1 if it went, else 0, and *slow is 1. */
static uint32_t tx_ring_segments(struct sock *s, struct lane *l, struct mmsghdr *m,
				 const struct tx_plan *p, int flags, uint32_t *slow)
{
	*slow = !segment_send(s, l, &m->msg_hdr, p, flags);
	if (!*slow)
		m->msg_len = p->len;
	return !*slow;
}

/* Sends messages through the ring, from the first on, as many as may go and fit. Returns how
 * many; *slow: how many after them must take the kernel path. tx.lock held. */
static uint32_t tx_ring_msgs(struct sock *s, struct mmsghdr *vec, uint32_t cnt, int flags,
			     uint32_t *slow)
{
	struct lane *l = tx_open(s, cnt);
	uint32_t n = 0, room;
	struct tx_plan p;

	*slow = cnt;
	if (!l)
		return 0;
	if (!msg_fast(s, l, &vec->msg_hdr, &p)) {
		if (!p.segments)
			goto rest;
		n = tx_ring_segments(s, l, vec, &p, flags, slow);
		lock_drop(&l->tx_lock);
		return n;
	}
	room = tx_room(s, l, cnt, flags);
	while (n < room && (n == 0 || msg_fast(s, l, &vec[n].msg_hdr, &p))) {
		if (unlikely(!msg_take(tx_payload(s->att, l, n, &p), &vec[n], p.len)))
			break; /* alone, by the kernel */
		tx_fill(s, l, n++, &p.to, p.len, &p.options);
	}
	tx_publish(s, l, n);
rest:
	for (*slow = 0;
	     n + *slow < cnt && !msg_fast(s, l, &vec[n + *slow].msg_hdr, &p) && !p.segments;
	     ++*slow)
		;
	if (!n && !*slow)
		*slow = 1; /* no room in time */
	lock_drop(&l->tx_lock);
	return n;
}

/* A cancellation point only if it may wait. */
static int tx_kernel_msgs(int kfd, struct mmsghdr *vec, uint32_t cnt, int flags, bool may_wait)
{
	ssize_t n;

	if (cnt > 1) {
		int m = may_wait ? sendmmsg(kfd, vec, cnt, flags)
				 : raw_sendmmsg(kfd, vec, cnt, flags);

		return m < 0 ? -errno : m;
	}
	n = may_wait ? sendmsg(kfd, &vec->msg_hdr, flags) : raw_sendmsg(kfd, &vec->msg_hdr, flags);
	if (n < 0)
		return -errno;
	vec->msg_len = (unsigned int)n;
	return 1;
}

/* --- calls --- */

struct sock *tx_enter(int fd)
{
	struct sock *s = sock_lock_tx(fd);
	struct visit v;

	if (!s || likely(!sock_news(s)) || (s->life.lazy && !s->att))
		return s;
	visit_begin(s, &v, false);
	lock_drop(&s->tx.lock);
	maintain(s, false, false);
	visit_end(&v);
	return sock_lock_tx(fd);
}

/* The kernel has bound the socket by itself, so its port can be claimed. */
void tx_bound_by_send(struct sock *s)
{
	struct ctl_state st;

	ctl_lock(&st);
	if (!s->life.bound)
		claim_update(s);
	ctl_unlock(&st);
	maintain(s, false, true);
}

/* Usually a send does not wait, and costs one system call. If it would wait, a second one does,
 * which is a cancellation point. */
static int tx_kernel_send(struct visit *v, struct mmsghdr *vec, uint32_t cnt, int flags)
{
	struct sock *s = v->s;
	uint32_t done;
	int n;

	n = tx_kernel_msgs(s->kfd, vec, cnt, flags | MSG_DONTWAIT, false);
	if (n == (int)cnt || (n < 0 && n != -EAGAIN) || (flags & MSG_DONTWAIT) ||
	    __atomic_load_n(&s->rx.nonblock, __ATOMIC_RELAXED))
		return n;
	visit_may_end(v);
	done = n > 0 ? (uint32_t)n : 0;
	n = tx_kernel_msgs(s->kfd, vec + done, cnt - done, flags, true);
	return n > 0 ? (int)done + n : done ? (int)done : n;
}

/* The kernel has sent from this source. tx.lock held. */
static void source_accepted(struct sock *s, const struct tx_source *source)
{
	uint32_t i = 0;

	while (i < TX_SOURCES && (s->tx.source[i].family != source->family ||
				  memcmp(s->tx.source[i].addr, source->addr, 16)))
		i++;
	if (i == TX_SOURCES)
		i = s->tx.source_next++ % TX_SOURCES;
	s->tx.source[i] = *source;
}

static void tx_slow_count(struct sock *s, uint32_t cnt, int flags, const struct tx_source *source)
{
	if (lock_take(&s->tx.lock)) {
		tx_count_kernel(s, cnt);
		if (unlikely(source->family))
			source_accepted(s, source);
		s->tx.more = flags & MSG_MORE;
		lock_drop(&s->tx.lock);
		return;
	}
	__atomic_fetch_add(&s->tx.unlocked_tx, cnt, __ATOMIC_RELAXED);
	if (flags & MSG_MORE)
		s->tx.more = true;
}

/* Sends messages through the kernel socket. tx.lock is held, and dropped. */
static int tx_slow(struct sock *s, struct mmsghdr *vec, uint32_t cnt, int flags)
{
	struct tx_source source = s->tx.try_source;
	struct visit v;
	bool news;
	int n;

	s->tx.try_source.family = 0;
	visit_begin(s, &v, false);
	news = s->att && attach_news(s->att);
	s->tx.test_cancel = true;
	lock_drop(&s->tx.lock);
	if (news)
		maintain(s, false,
			 false); /* sends what a dead udplaned has not taken before this */
	n = tx_kernel_send(&v, vec, cnt, flags);
	if (n > 0 && unlikely(!__atomic_load_n(&s->life.bound, __ATOMIC_RELAXED)))
		tx_bound_by_send(s);
	if (n < (int)cnt)
		source.family = 0;
	if (n > 0)
		tx_slow_count(s, (uint32_t)n, flags, &source);
	visit_end(&v);
	return n;
}

/* The send side cannot be locked: a call of this thread, interrupted by a handler, holds it, or
 * its holder is stuck. The kernel socket needs no lock of the library. */
static int tx_without_lock(int fd, struct mmsghdr *vec, uint32_t cnt, int flags)
{
	struct sock *s = sock_get(fd);
	struct visit v;
	int n;

	if (!s)
		return -EBADF;
	visit_begin(s, &v, false);
	sock_unref(s);
	n = tx_kernel_send(&v, vec, cnt, flags);
	if (n > 0)
		tx_slow_count(s, (uint32_t)n, flags, &(struct tx_source){.family = 0});
	visit_end(&v);
	return n;
}

/* Returns how many were sent, or -errno if none. */
static int tx_call(int fd, struct mmsghdr *vec, uint32_t cnt, int flags)
{
	struct sock *s = tx_enter(fd);
	uint32_t done = 0, slow;
	int n = 0;

	if (s && unlikely(s->tx.test_cancel)) {
		s->tx.test_cancel = false;
		lock_drop(&s->tx.lock);
		pthread_testcancel();
		s = sock_lock_tx(fd);
	}
	if (!s)
		return tx_without_lock(fd, vec, cnt, flags);
	while (done < cnt) {
		/* MSG_CONFIRM: neighbours in use are refreshed in any case */
		bool plain = !(flags & ~(MSG_DONTWAIT | MSG_NOSIGNAL | MSG_CONFIRM));

		slow = cnt - done;
		if (plain && s->tx.lane)
			done += tx_ring_msgs(s, vec + done, cnt - done, flags, &slow);
		if (!slow)
			continue;
		n = tx_slow(s, vec + done, slow, flags);
		done += n > 0 ? (uint32_t)n : 0;
		if (n < (int)slow || done == cnt)
			return done ? (int)done : n;
		s = sock_lock_tx(fd);
		if (!s) {
			n = tx_without_lock(fd, vec + done, cnt - done, flags);
			return n > 0 ? (int)done + n : (int)done;
		}
	}
	lock_drop(&s->tx.lock);
	return (int)done;
}

ssize_t udplane_sendto(int fd, const void *buf, size_t len, int flags, const struct sockaddr *to,
		       socklen_t tolen)
{
	struct iovec iov = {.iov_base = (void *)buf, .iov_len = len < INT_MAX ? len : INT_MAX};
	struct mmsghdr m = {.msg_hdr = {.msg_name = (void *)to,
					.msg_namelen = to ? tolen : 0,
					.msg_iov = &iov,
					.msg_iovlen = 1}};
	int n;

	if (to && tolen > sizeof(struct sockaddr_storage)) /* sendmsg(2) would cut it */
		return set_errno(table_get(fd) ? -EINVAL : -EBADF);
	if (to && !tolen)
		/* to sendmsg(2), 0 would mean no address; to sendto(2) both are too short */
		m.msg_hdr.msg_namelen = 1;
	n = tx_call(fd, &m, 1, flags & NOT_COMPAT);
	return n < 0 ? set_errno(n) : (ssize_t)m.msg_len;
}

ssize_t udplane_send(int fd, const void *buf, size_t len, int flags)
{
	return udplane_sendto(fd, buf, len, flags, NULL, 0);
}

ssize_t udplane_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	struct mmsghdr m;
	int n;

	if (unlikely(!fault_copy(&m.msg_hdr, msg, sizeof(*msg))))
		return set_errno(table_get(fd) ? -EFAULT : -EBADF);
	n = tx_call(fd, &m, 1, flags);
	return n < 0 ? set_errno(n) : (ssize_t)m.msg_len;
}

int udplane_sendmmsg(int fd, struct mmsghdr *vec, unsigned int cnt, int flags)
{
	if (unlikely(cnt && pointer_is_bad(vec)))
		return set_errno(table_get(fd) ? -EFAULT : -EBADF);
	return set_errno(tx_call(fd, vec, cnt < UIO_MAXIOV ? cnt : UIO_MAXIOV, flags));
}
