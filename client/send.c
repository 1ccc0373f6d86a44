/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sending. Through the TX ring goes what is plain: no control data, no flag with a meaning, a
 * destination that leaves by udplaned's device, a length that fits one packet; and only while a
 * worker is awake, or a burst makes it worth waking it. Everything else takes the kernel socket,
 * and its result.
 */
#include "client/internal.h"
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* --- ring --- */

void tx_count_kernel(struct sock *s, uint32_t cnt)
{
	s->kernel_tx += cnt;
	if (unlikely(__atomic_load_n(&s->aside_tx, __ATOMIC_RELAXED)))
		s->kernel_tx += __atomic_exchange_n(&s->aside_tx, 0, __ATOMIC_RELAXED);
	if (s->lane)
		udplane_store64(&s->tx_shared->kernel_tx, s->kernel_tx);
}

bool tx_error_pending(struct sock *s)
{
	uint64_t now;

	if (!s->connected)
		return false;
	now = ticks();
	if (now - s->error_ticks < TX_ERROR_TICKS)
		return false;
	s->error_ticks = now;
	return raw_poll(s->kfd, 0) & POLLERR;
}

/* Is waking a sleeping worker worth it? Lane locked. */
static bool worth_waking(const struct attach *a, struct lane *l, uint32_t cnt)
{
	uint32_t factor = a->mode == UDPLANE_MODE_POWERSAVE ? POWERSAVE_FACTOR : 1;
	uint64_t now;

	if (a->mode == UDPLANE_MODE_LATENCY || cnt >= TX_ENGAGE_BURST * factor)
		return true;
	if (udplane_load32(&l->zone->engaged))
		/* the kernel is no shorter way: with a NIC of udplaned's own it leads through
		 * the worker */
		return true;
	if (udplane_word_load(&l->tx.head->cons_idx) != l->tx.idx)
		return true; /* it was rung already: keep the order */
	now = clock_now_ns();
	if (now - l->window_ns > TX_ENGAGE_WINDOW_NS) {
		l->window_ns = now;
		l->window_cnt = 0;
	}
	l->window_cnt += cnt;
	return l->window_cnt >= TX_ENGAGE_CNT * factor;
}

/* Has the worker stood still for long, though there is something to take? It lives, but does not
 * run: SIGSTOP, a frozen control group. */
static void look_for_stall(struct lane *l, uint64_t now)
{
	uint32_t cons = udplane_word_load(&l->tx.head->cons_idx);

	if (cons == l->tx.idx) {
		l->stall_ns = 0;
	} else if (!l->stall_ns || cons != l->stall_cons) {
		l->stall_cons = cons;
		l->stall_ns = now;
	} else if (now - l->stall_ns > TX_STALL_NS) {
		l->stalled = true;
	}
}

/* Is it still so? Lane locked. */
static bool tx_stalled(struct lane *l)
{
	if (udplane_word_load(&l->tx.head->cons_idx) == l->stall_cons)
		return true;
	l->stalled = false;
	l->stall_ns = 0;
	return false;
}

static void look_for_trouble(struct attach *a, struct sock *s, struct lane *l)
{
	uint64_t now = ticks();

	if (now - l->checked_ticks < DEATH_CHECK_TICKS)
		return;
	l->checked_ticks = now;
	s->test_cancel = true;
	now = clock_now_ns();
	attach_look(a, now);
	look_for_stall(l, now);
}

/* Another thread writes into the slots: it will be quick. This thread itself will not, so what it
 * sends meanwhile takes the kernel path. Lane locked, but while waiting. */
static bool tx_wait_reserved(struct lane *l)
{
	uint64_t end;

	if (l->reserved_long || pthread_equal(l->reserved_by, pthread_self()))
		return false;
	end = clock_now_ns() + TX_FULL_WAIT_NS;
	while (l->reserved && clock_now_ns() < end) {
		lock_drop(&l->tx_lock);
		sched_yield();
		while (!lock_take(
			&l->tx_lock)) /* it was had a moment ago: nothing interrupted holds it */
			;
	}
	l->reserved_long = l->reserved;
	return !l->reserved;
}

static bool tx_served(const struct sock *s)
{
	uint32_t state = udplane_load32(&s->zone->state);

	return (state == UDPLANE_SOCKET_ACTIVE || state == UDPLANE_SOCKET_PENDING) &&
	       likely(!udplane_load32(&s->zone->tx_reason));
}

bool tx_alive(const struct sock *s)
{
	return tx_served(s) && !attach_news(s->att) &&
	       __atomic_load_n(&s->att->live, __ATOMIC_RELAXED);
}

struct lane *tx_open(struct sock *s, uint32_t cnt)
{
	struct attach *a = s->att;
	struct lane *l = s->lane;

	if (!l || unlikely(s->more) || unlikely(!tx_served(s) || tx_error_pending(s)))
		return NULL;
	if (unlikely(!lock_take(&l->tx_lock)))
		return NULL;
	look_for_trouble(a, s, l);
	if (unlikely(l->stalled && tx_stalled(l))) {
		lock_drop(&l->tx_lock);
		return NULL;
	}
	if (unlikely(l->reserved) && !tx_wait_reserved(l)) {
		lock_drop(&l->tx_lock);
		return NULL;
	}
	if (likely(!attach_news(a) && __atomic_load_n(&a->live, __ATOMIC_RELAXED)) &&
	    (likely(udplane_load32(&l->zone->awake)) || worth_waking(a, l, cnt)))
		return l;
	lock_drop(&l->tx_lock);
	return NULL;
}

static uint32_t tx_free(struct sock *s, struct lane *l, uint32_t want)
{
	uint32_t n = udplane_ring_free(&l->tx, want);

	if (likely(n != UDPLANE_RING_CORRUPT))
		return n;
	control_distrust(&s->att->control);
	return 0;
}

/* A little room at a time makes small batches: waits for a quarter of the ring or what is wanted.
 */
uint32_t tx_room(struct sock *s, struct lane *l, uint32_t want, int flags)
{
	uint32_t n = tx_free(s, l, want), enough = want < l->tx.size / 4 ? want : l->tx.size / 4;
	uint64_t end;
	bool quick;

	if (likely(n > 0))
		return n < want ? n : want;
	quick = (flags & MSG_DONTWAIT) || __atomic_load_n(&s->nonblock, __ATOMIC_RELAXED);
	end = clock_now_ns() + (quick ? TX_FULL_WAIT_NONBLOCK_NS : TX_FULL_WAIT_NS);
	do {
		sched_yield();
		n = tx_free(s, l, enough);
	} while (n < enough && !attach_news(s->att) && clock_now_ns() < end);
	if (!n) {
		s->kernel_tx_full++;
		udplane_store64(&s->tx_shared->kernel_tx_full, s->kernel_tx_full);
		__atomic_store_n(
			&s->att->checked_ns, 0,
			__ATOMIC_RELAXED); /* now, or this would overtake what a dead one left */
		attach_look(s->att, clock_now_ns());
	}
	return n < want ? n : want;
}

void tx_fill(struct sock *s, struct lane *l, uint32_t i, const struct dest *d, uint32_t len)
{
	struct udplane_tx_desc *t = &l->desc[udplane_ring_slot(&l->tx, l->tx.idx + i)];

	t->sock = s->id;
	t->len = (uint16_t)len;
	t->dst_port_be = d->port_be;
	t->flags = d->ipv6 ? UDPLANE_TX_IPV6 : 0;
	memcpy(t->dst, d->addr, 16);
}

void tx_publish(struct sock *s, struct lane *l, uint32_t cnt)
{
	if (!cnt)
		return;
	udplane_ring_publish(&l->tx, cnt);
	s->tx_used = true;
	s->tx_end = l->tx.idx;
	s->fast_tx += cnt;
	/* pairs with the worker's, between its `awake` = 0 and its last look at the ring */
	udplane_fence();
	if (unlikely(!udplane_load32(&l->zone->awake)) && lane_ring_doorbell(s->att, l))
		udplane_store64(&s->tx_shared->engages, ++s->engages);
}

/* --- resending --- */

static void resend_one(struct sock *s, const struct udplane_tx_desc *t, const uint8_t *payload)
{
	struct dest d = {.port_be = t->dst_port_be, .ipv6 = t->flags & UDPLANE_TX_IPV6};
	struct pollfd p = {.fd = s->kfd, .events = POLLOUT};
	struct sockaddr_storage ss;
	socklen_t len;

	memcpy(d.addr, t->dst, 16);
	if (d.ipv6 && d.addr[0] == 0xfe && (d.addr[1] & 0xc0) == 0x80)
		d.scope_id = (uint32_t)s->att->stats->ifindex;
	len = dest_to_name(s->domain, &d, &ss);
	for (int i = 0; i < 10; i++) {
		if (sendto(s->kfd, payload, t->len, MSG_DONTWAIT | MSG_NOSIGNAL,
			   (struct sockaddr *)&ss, len) >= 0) {
			s->kernel_tx++;
			s->fast_tx--;
			return;
		}
		if (errno == EAGAIN && clock_now_ns() < s->att->resend_until_ns)
			poll(&p, 1, 10);
		else if (errno != EINTR &&
			 errno != ECONNREFUSED) /* the latter: an old error, now taken */
			return;
	}
}

void tx_resend(struct sock *s, struct attach *a)
{
	struct lane *l = &a->lane[s->id % a->worker_cnt];
	uint32_t cons, cnt;

	if (!s->tx_used || !sock_kernel_is(s))
		return;
	if (a->control.silent) {
		/* its worker may be about to send them: udplaned empties the ring when it finds
		 * us gone */
		s->tx_used = false;
		return;
	}
	if (!a->resend_until_ns)
		a->resend_until_ns = clock_now_ns() + RESEND_DEADLINE_NS;
	if (!lock_insist(&l->tx_lock))
		return;
	cons = udplane_word_load(&l->tx.head->cons_idx);
	if (l->tx.idx - cons <= l->tx.size && (int32_t)(s->tx_end - cons) > 0) {
		cnt = s->tx_end - cons;
		for (uint32_t i = 0; i < cnt; i++) {
			uint32_t slot = udplane_ring_slot(&l->tx, cons + i);

			if (l->desc[slot].sock == s->id)
				resend_one(s, &l->desc[slot],
					   l->payload + ((size_t)slot << a->tx_slot_shift));
		}
		context_log(2, "socket %d: %u TX entries were left", s->fd, cnt);
	}
	s->tx_used = false;
	lock_drop(&l->tx_lock);
}

/* --- messages --- */

static size_t gather(uint8_t *to, const struct msghdr *h)
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

static size_t total_len(const struct msghdr *h, size_t max)
{
	size_t len = 0;

	for (size_t i = 0; i < h->msg_iovlen && len <= max; i++)
		len = h->msg_iov[i].iov_len > max ? max + 1 : len + h->msg_iov[i].iov_len;
	return len;
}

/* EFAULT is the kernel's to say. */
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

/* May this message go through the ring? */
static bool msg_fast(struct sock *s, struct lane *l, const struct msghdr *h, struct dest *d,
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
		if (!s->connected || !s->peer_fast)
			return false;
		*d = s->peer;
	}
	if (!dest_fast(s, l, d))
		return false;
	max = tx_max_len(s->att, d);
	n = h->msg_iovlen == 1 ? h->msg_iov->iov_len : total_len(h, max);
	*len = (uint32_t)n;
	return n <= max;
}

/* Sends messages from the first on through the ring, as many as may go and fit. Returns how many;
 * *slow: how many follow that belong to the kernel path. tx_lock held. */
static uint32_t tx_ring_msgs(struct sock *s, struct mmsghdr *vec, uint32_t cnt, int flags,
			     uint32_t *slow)
{
	struct lane *l = tx_open(s, cnt);
	uint32_t n = 0, room, len;
	struct dest d;

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
			gather(slot, h);
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

	if (!s || likely(!sock_news(s)) || (s->lazy && !s->att))
		return s;
	visit_begin(s, &v, false);
	lock_drop(&s->tx_lock);
	maintain(s, false, false);
	visit_end(&v);
	return sock_lock_tx(fd);
}

/* The kernel has bound the socket by itself: there is a port to be claimed. */
void tx_bound_by_send(struct sock *s)
{
	struct ctl_state st;

	ctl_lock(&st);
	if (!s->bound)
		claim_update(s);
	ctl_unlock(&st);
	maintain(s, false, true);
}

/* In most cases a send does not wait, and costs one system call; if it would, another that waits,
 * and is a cancellation point. */
static int tx_kernel_send(struct visit *v, struct mmsghdr *vec, uint32_t cnt, int flags)
{
	struct sock *s = v->s;
	uint32_t done;
	int n;

	n = tx_kernel_msgs(s->kfd, vec, cnt, flags | MSG_DONTWAIT, false);
	if (n == (int)cnt || (n < 0 && n != -EAGAIN) || (flags & MSG_DONTWAIT) ||
	    __atomic_load_n(&s->nonblock, __ATOMIC_RELAXED))
		return n;
	visit_may_end(v);
	done = n > 0 ? (uint32_t)n : 0;
	n = tx_kernel_msgs(s->kfd, vec + done, cnt - done, flags, true);
	return n > 0 ? (int)done + n : done ? (int)done : n;
}

static void tx_slow_count(struct sock *s, uint32_t cnt, int flags)
{
	if (lock_take(&s->tx_lock)) {
		tx_count_kernel(s, cnt);
		s->more = flags & MSG_MORE;
		lock_drop(&s->tx_lock);
		return;
	}
	__atomic_fetch_add(&s->aside_tx, cnt, __ATOMIC_RELAXED);
	if (flags & MSG_MORE)
		s->more = true;
}

/* Messages through the kernel socket. tx_lock is dropped. */
static int tx_slow(struct sock *s, struct mmsghdr *vec, uint32_t cnt, int flags)
{
	struct visit v;
	bool news;
	int n;

	visit_begin(s, &v, false);
	news = s->att && attach_news(s->att);
	s->test_cancel = true;
	lock_drop(&s->tx_lock);
	if (news)
		maintain(s, false,
			 false); /* what a dead udplaned has not taken goes out before this */
	n = tx_kernel_send(&v, vec, cnt, flags);
	if (n > 0 && unlikely(!__atomic_load_n(&s->bound, __ATOMIC_RELAXED)))
		tx_bound_by_send(s);
	if (n > 0)
		tx_slow_count(s, (uint32_t)n, flags);
	visit_end(&v);
	return n;
}

/* The send side is not to be had: this thread has it, in a call that a handler has interrupted, or
 * its holder is stuck. The kernel socket needs no lock of ours. */
static int tx_aside(int fd, struct mmsghdr *vec, uint32_t cnt, int flags)
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

/* How many were sent; -errno if none. *err: what stopped it, if fewer. */
static int tx_call(int fd, struct mmsghdr *vec, uint32_t cnt, int flags)
{
	struct sock *s = tx_enter(fd);
	uint32_t done = 0, slow;
	int n = 0;

	if (s && unlikely(s->test_cancel)) {
		s->test_cancel = false;
		lock_drop(&s->tx_lock);
		pthread_testcancel();
		s = sock_lock_tx(fd);
	}
	if (!s)
		return tx_aside(fd, vec, cnt, flags);
	while (done < cnt) {
		bool plain = !(flags & ~(MSG_DONTWAIT | MSG_NOSIGNAL));

		slow = cnt - done;
		if (plain && s->lane)
			done += tx_ring_msgs(s, vec + done, cnt - done, flags, &slow);
		if (!slow)
			continue;
		n = tx_slow(s, vec + done, slow, flags);
		done += n > 0 ? (uint32_t)n : 0;
		if (n < (int)slow || done == cnt)
			return done ? (int)done : n;
		s = sock_lock_tx(fd);
		if (!s) {
			n = tx_aside(fd, vec + done, cnt - done, flags);
			return n > 0 ? (int)done + n : (int)done;
		}
	}
	lock_drop(&s->tx_lock);
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
