/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Burst calls: receive in place, reserve and submit.
 */
#include "client/attach.h"
#include "client/base.h"
#include "client/context.h"
#include "client/dest.h"
#include "client/life.h"
#include "client/lock.h"
#include "client/pktbuf.h"
#include "client/public.h"
#include "client/raw.h"
#include "client/recv.h"
#include "client/send.h"
#include "client/send_option.h"
#include "client/sock.h"
#include "client/txq.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <udplane/clock.h>
#include <unistd.h>

#define RESERVE_SIZE 2048u /* bytes of a private buffer: what a slot has at least */

/* --- receive --- */

int udplane_recv_burst(int fd, struct udplane_pkt *pkts, unsigned int cnt, int flags)
{
	struct rx_sink sink = {.pkts = pkts,
			       .cnt = cnt,
			       .flags = flags & UDPLANE_POLL ? MSG_DONTWAIT : flags,
			       .poll = flags & UDPLANE_POLL};

	if (!cnt || (flags & ~(MSG_DONTWAIT | UDPLANE_POLL)))
		return set_errno(-EINVAL);
	return set_errno(rx_call(fd, &sink));
}

/* --- send --- */

static void buf_offer(struct udplane_buf *b, void *data, uint32_t size)
{
	memset(b, 0, sizeof(*b));
	b->data = data;
	b->size = size;
}

/* Offers slots of the lane's ring. Returns how many. tx.lock held. */
static uint32_t reserve_slots(struct sock *s, struct udplane_buf *bufs, uint32_t cnt)
{
	struct lane *l = tx_open(s, cnt);
	uint32_t n;

	if (!l)
		return 0;
	n = tx_room(s, l, cnt, 0);
	for (uint32_t i = 0; i < n; i++)
		buf_offer(&bufs[i], tx_slot(s->att, l, i), s->att->tx_slot_size);
	if (n) {
		s->tx.burst_lane = l;
		s->tx.burst_att = s->att;
		__atomic_fetch_add(&s->att->refs, 1, __ATOMIC_RELAXED);
		l->reserved = true;
		l->reserved_long = false;
		l->reserved_by = s->tx.burst_owner;
	}
	lock_drop(&l->tx_lock);
	return n;
}

static uint32_t reserve_buffers(struct sock *s, struct udplane_buf *bufs, uint32_t cnt)
{
	uint32_t n = pktbufs_get(s->tx.burst_buf, cnt < BURST_MAX ? cnt : BURST_MAX);

	for (uint32_t i = 0; i < n; i++)
		buf_offer(&bufs[i], s->tx.burst_buf[i]->data, RESERVE_SIZE);
	return n;
}

/* No lock is kept: the application may call whatever it likes before submit. */
int udplane_reserve(int fd, struct udplane_buf *bufs, unsigned int cnt)
{
	uint64_t end = 0;
	struct sock *s;
	uint32_t n = 0;
	int err;

	for (;;) {
		s = tx_enter(fd);
		if (!s)
			return set_errno(-EBADF);
		err = !cnt ? -EINVAL : 0;
		if (!err && s->tx.burst_cnt)
			err = pthread_equal(s->tx.burst_owner, pthread_self()) ? -EINVAL
			      : end && clock_now_ns() >= end		       ? -EAGAIN
									       : -EBUSY;
		if (err != -EBUSY)
			break;
		lock_drop(&s->tx.lock); /* another thread has reserved: it will be quick */
		if (!end)
			end = clock_now_ns() + TX_FULL_WAIT_NS;
		sched_yield();
	}
	if (!err) {
		s->tx.burst_owner = pthread_self();
		n = reserve_slots(s, bufs, cnt);
		if (!n)
			n = reserve_buffers(s, bufs, cnt);
		s->tx.burst_cnt = n;
		if (!n)
			err = -EAGAIN;
	}
	lock_drop(&s->tx.lock);
	return err ? set_errno(err) : (int)n;
}

static socklen_t name_of(const struct sock *s, const struct udplane_addr *peer,
			 struct sockaddr_storage *ss)
{
	if (!peer->family)
		return 0;
	/* An IPv6 destination on an IPv4 socket: the kernel returns the error. */
	return udplane_addr_to_sockaddr(peer, s->domain, ss);
}

/* Returns true if there may be room in the kernel socket's send buffer now. It can be full for
 * seconds if a neighbour does not answer; a burst call does not wait for that. *end: 0 in the
 * first call. */
static bool kernel_room(struct sock *s, uint64_t *end)
{
	struct pollfd p = {.fd = s->kfd, .events = POLLOUT};
	struct timespec ms = {.tv_nsec = 1000000};

	if (__atomic_load_n(&s->rx.nonblock, __ATOMIC_RELAXED))
		return false;
	if (!*end)
		*end = clock_now_ns() + TX_FULL_WAIT_NS;
	else if (clock_now_ns() >= *end)
		return false;
	syscall(SYS_ppoll, &p, 1, &ms, NULL,
		0); /* poll() is a cancellation point, and locks are held */
	return true;
}

/* Blocks for TX_FULL_WAIT_NS at most. Returns fewer than cnt, or -EAGAIN, if the kernel had no
 * room in that time. */
static int submit_kernel(struct sock *s, const struct udplane_buf *bufs, uint32_t cnt)
{
	struct sockaddr_storage name[BURST_MAX];
	struct mmsghdr vec[BURST_MAX];
	struct iovec iov[BURST_MAX];
	uint32_t done = 0;
	uint64_t end = 0;
	int n = 0;

	for (uint32_t i = 0; i < cnt; i++) {
		socklen_t len = name_of(s, &bufs[i].peer, &name[i]);

		iov[i] = (struct iovec){.iov_base = bufs[i].data, .iov_len = bufs[i].len};
		vec[i].msg_hdr = (struct msghdr){.msg_name = len ? &name[i] : NULL,
						 .msg_namelen = len,
						 .msg_iov = &iov[i],
						 .msg_iovlen = 1};
	}
	while (done < cnt) {
		n = raw_sendmmsg(s->kfd, vec + done, cnt - done, MSG_DONTWAIT);
		done += n > 0 ? (uint32_t)n : 0;
		if (n < 0 && (errno != EAGAIN || !kernel_room(s, &end)))
			break;
	}
	if (!done)
		return -errno;
	tx_count_kernel(s, done);
	return (int)done;
}

static bool buf_fast(struct sock *s, struct lane *l, const struct udplane_buf *b,
		     struct udplane_addr *d)
{
	if (b->peer.family) {
		if (!dest_of_peer(s, &b->peer, d))
			return false;
	} else {
		if (!s->tx.connected || !s->tx.peer_fast)
			return false;
		*d = s->tx.peer;
	}
	if (unlikely(s->tx.wish.segment_size)) /* the kernel cuts it into segments, or refuses it */
		return false;
	return dest_fast(s, l, d) && b->len <= tx_limit(s, d);
}

/* Payloads are in consecutive slots. One that takes the kernel path leaves a gap, and those
 * behind it are moved up. */
static int submit_ring(struct sock *s, struct lane *l, const struct udplane_buf *bufs, uint32_t cnt)
{
	uint32_t ready = 0, i;
	struct udplane_addr d;
	int n = 1;

	for (i = 0; i < cnt && n > 0; i++) {
		if (!buf_fast(s, l, &bufs[i], &d)) {
			tx_publish(s, l, ready);
			ready = 0;
			n = submit_kernel(s, &bufs[i], 1);
			continue;
		}
		if (tx_slot(s->att, l, ready) != bufs[i].data)
			memcpy(tx_slot(s->att, l, ready), bufs[i].data, bufs[i].len);
		tx_fill(s, l, ready++, &d, bufs[i].len, &s->tx.wish.options[d.family == AF_INET6]);
	}
	tx_publish(s, l, ready);
	if (n > 0)
		return (int)cnt;
	errno = -n;
	return i > 1 ? (int)i - 1 : n;
}

/* Submits to the ring, if it is still the one that slots were reserved in. Otherwise the kernel
 * sends the payloads in the slots. */
static int submit(struct sock *s, const struct udplane_buf *bufs, uint32_t cnt)
{
	struct lane *l = s->tx.burst_lane;
	int n;

	if (!l || s->tx.lane != l || !tx_alive(s) || !lock_take(&l->tx_lock))
		return submit_kernel(s, bufs, cnt);
	n = submit_ring(s, l, bufs, cnt);
	lock_drop(&l->tx_lock);
	return n;
}

int udplane_submit(int fd, struct udplane_buf *bufs, unsigned int cnt)
{
	struct sock *s = tx_enter(fd);
	bool unbound;
	int n = 0;

	if (!s)
		return set_errno(-EBADF);
	if (!s->tx.burst_cnt || !pthread_equal(s->tx.burst_owner, pthread_self())) {
		lock_drop(&s->tx.lock);
		return set_errno(-EINVAL);
	}
	if (cnt > s->tx.burst_cnt)
		n = -EINVAL;
	for (uint32_t i = 0; i < cnt && !n; i++)
		if (bufs[i].len > bufs[i].size)
			n = -EMSGSIZE;
	if (!n && cnt)
		n = submit(s, bufs, cnt);
	tx_cancel_reserved(s);
	unbound = n > 0 && !__atomic_load_n(&s->life.bound, __ATOMIC_RELAXED);
	if (unbound)
		sock_ref(s);
	lock_drop(&s->tx.lock);
	if (unbound) {
		tx_bound_by_send(s);
		sock_unref(s);
	}
	return set_errno(n);
}
