/* SPDX-License-Identifier: Apache-2.0 */
/* Sending. A message goes through the TX ring if it is plain: no control data, no flag that
 * changes sending, a destination that leaves by udplaned's device, a length that fits one
 * packet; and only while a worker is awake, or a burst is worth waking it. All other messages go
 * through the kernel socket, and the call returns its result. */
#include "client/send.h"
#include "client/attach.h"
#include "client/base.h"
#include "client/claim.h"
#include "client/context.h"
#include "client/dest.h"
#include "client/detach.h"
#include "client/life.h"
#include "client/lock.h"
#include "client/public.h"
#include "client/raw.h"
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

/* Returns true if this message may go through the ring; sets *d and *len. */
static bool msg_fast(struct sock *s, struct lane *l, const struct msghdr *h, struct udplane_addr *d,
		     uint32_t *len)
{
	size_t max, n;

	if (unlikely(h->msg_controllen || h->msg_iovlen > 64 || bad_buffers(h)))
		return false;
	if (h->msg_name) {
		if (unlikely(pointer_is_bad(h->msg_name)) ||
		    !dest_of_name(s, h->msg_name, h->msg_namelen, d))
			return false;
	} else {
		if (!s->tx.connected || !s->tx.peer_fast)
			return false;
		*d = s->tx.peer;
	}
	if (!dest_fast(s, l, d))
		return false;
	max = tx_max_len(s->att, d);
	n = h->msg_iovlen == 1 ? h->msg_iov->iov_len : msg_len(h, max);
	*len = (uint32_t)n;
	return n <= max;
}

/* Sends messages through the ring, from the first on, as many as may go and fit. Returns how
 * many; *slow: how many after them must take the kernel path. tx.lock held. */
static uint32_t tx_ring_msgs(struct sock *s, struct mmsghdr *vec, uint32_t cnt, int flags,
			     uint32_t *slow)
{
	struct lane *l = tx_open(s, cnt);
	uint32_t n = 0, room, len;
	struct udplane_addr d;

	*slow = cnt;
	if (!l)
		return 0;
	if (!msg_fast(s, l, &vec->msg_hdr, &d, &len))
		goto rest;
	room = tx_room(s, l, cnt, flags);
	while (n < room && (n == 0 || msg_fast(s, l, &vec[n].msg_hdr, &d, &len))) {
		uint8_t *slot = tx_slot(s->att, l, n);
		const struct msghdr *h = &vec[n].msg_hdr;

		if (likely(h->msg_iovlen == 1 && len))
			memcpy(slot, h->msg_iov->iov_base, len);
		else
			msg_gather(slot, h);
		tx_fill(s, l, n, &d, len);
		vec[n++].msg_len = len;
	}
	tx_publish(s, l, n);
rest:
	for (*slow = 0; n + *slow < cnt && !msg_fast(s, l, &vec[n + *slow].msg_hdr, &d, &len);
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

static void tx_slow_count(struct sock *s, uint32_t cnt, int flags)
{
	if (lock_take(&s->tx.lock)) {
		tx_count_kernel(s, cnt);
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
	struct visit v;
	bool news;
	int n;

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
	if (n > 0)
		tx_slow_count(s, (uint32_t)n, flags);
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
		tx_slow_count(s, (uint32_t)n, flags);
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
		bool plain = !(flags & ~(MSG_DONTWAIT | MSG_NOSIGNAL));

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

	if (to && !tolen)
		/* to sendmsg(2), 0 would mean no address; to sendto(2) both are too short */
		m.msg_hdr.msg_namelen = 1;
	n = tx_call(fd, &m, 1, flags);
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

	if (unlikely(pointer_is_bad(msg)))
		return set_errno(table_get(fd) ? -EFAULT : -EBADF);
	m.msg_hdr = *msg;
	n = tx_call(fd, &m, 1, flags);
	return n < 0 ? set_errno(n) : (ssize_t)m.msg_len;
}

int udplane_sendmmsg(int fd, struct mmsghdr *vec, unsigned int cnt, int flags)
{
	if (unlikely(cnt && pointer_is_bad(vec)))
		return set_errno(table_get(fd) ? -EFAULT : -EBADF);
	return set_errno(tx_call(fd, vec, cnt < UIO_MAXIOV ? cnt : UIO_MAXIOV, flags));
}
