/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Burst calls: receive in place and release, reserve and submit.
 *
 * A packet's cookie says whose it is: the attachment and lane to which its frame goes back, or a
 * private buffer. The attachment is referenced once for each packet in the application's hands, so
 * its frames stay mapped whatever becomes of socket and udplaned.
 */
#include "client/internal.h"
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* a struct pktbuf, aligned to 64; else a struct attach, aligned to 128 */
#define COOKIE_BUFFER 0x20u
#define COOKIE_LANE   0x0fu
#define COOKIE_BITS   0x3fu
#define RESERVE_SIZE  2048u /* bytes of a private buffer: what a slot has at least */

_Static_assert(UDPLANE_MAX_WORKERS <= COOKIE_LANE + 1, "a lane fits the cookie");

/* --- receive --- */

void rx_ring_pkt(struct attach *a, uint32_t lane, const struct udplane_rx_desc *d,
		 struct udplane_pkt *p)
{
	p->data = rx_payload(a, d);
	p->len = d->len;
	p->flags = 0;
	rx_source(a, d, &p->peer);
	p->cookie = (uint64_t)(uintptr_t)a | lane;
}

void rx_saved_pkt(struct pktbuf *b, struct udplane_pkt *p)
{
	p->data = b->data;
	p->len = b->len;
	p->flags = b->small ? 0 : UDPLANE_PKT_KERNEL;
	p->peer = b->peer;
	p->cookie = (uint64_t)(uintptr_t)b | COOKIE_BUFFER;
}

int rx_kernel_pkts(struct sock *s, struct udplane_pkt *pkts, uint32_t cnt)
{
	struct pktbuf *buf[BURST_MAX];
	struct sockaddr_storage name[BURST_MAX];
	struct mmsghdr vec[BURST_MAX];
	struct iovec iov[BURST_MAX];
	/* Mostly there is nothing: do not prepare for much unless there was something last time. */
	uint32_t have = pktbufs_get(buf, !s->kernel_hot ? 1 : cnt < BURST_MAX ? cnt : BURST_MAX);
	int n;

	for (uint32_t i = 0; i < have; i++) {
		iov[i] = (struct iovec){.iov_base = buf[i]->data, .iov_len = PKTBUF_SIZE};
		vec[i].msg_hdr = (struct msghdr){.msg_name = &name[i],
						 .msg_namelen = sizeof(name[i]),
						 .msg_iov = &iov[i],
						 .msg_iovlen = 1};
	}
	n = have ? raw_recvmmsg(s->kfd, vec, have, MSG_DONTWAIT) : -1;
	if (n < 0)
		n = have ? -errno : -ENOMEM;
	for (uint32_t i = 0; i < have; i++) {
		if ((int)i >= n) {
			pktbuf_put(buf[i]);
			continue;
		}
		buf[i]->len = vec[i].msg_len;
		peer_of_name(&name[i], &buf[i]->peer);
		rx_saved_pkt(buf[i], &pkts[i]);
	}
	rx_kernel_looked(s, n, have, 0);
	return n;
}

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

/* Frames of one attachment and lane, from pkts[0] on; how many there were. */
static uint32_t release_run(const struct udplane_pkt *pkts, uint32_t cnt)
{
	uint64_t cookie = pkts->cookie;
	struct attach *a = (void *)(uintptr_t)(cookie & ~(uint64_t)COOKIE_BITS);
	uint32_t frames[BURST_MAX], n = 0;

	for (; n < cnt && n < BURST_MAX && pkts[n].cookie == cookie; n++)
		frames[n] = (uint32_t)((size_t)((const uint8_t *)pkts[n].data - a->frames.addr) >>
				       a->frame_shift);
	attach_return(a, cookie & COOKIE_LANE, frames, n);
	attach_put_many(a, n);
	return n;
}

void udplane_release(int fd, const struct udplane_pkt *pkts, unsigned int cnt)
{
	(void)fd; /* it may be closed already */
	for (uint32_t i = 0; i < cnt;) {
		if (!(pkts[i].cookie & COOKIE_BUFFER)) {
			i += release_run(pkts + i, cnt - i);
			continue;
		}
		pktbuf_put((void *)(uintptr_t)(pkts[i].cookie & ~(uint64_t)COOKIE_BITS));
		i++;
	}
}

/* --- send --- */

static void offer(struct udplane_buf *b, void *data, uint32_t size)
{
	memset(b, 0, sizeof(*b));
	b->data = data;
	b->size = size;
}

/* Slots of the lane's ring; 0: none. tx_lock held. */
static uint32_t reserve_slots(struct sock *s, struct udplane_buf *bufs, uint32_t cnt)
{
	struct lane *l = tx_open(s, cnt);
	uint32_t n;

	if (!l)
		return 0;
	n = tx_room(s, l, cnt, 0);
	for (uint32_t i = 0; i < n; i++)
		offer(&bufs[i], tx_slot(s->att, l, i), s->att->tx_slot_size);
	if (n) {
		s->burst_lane = l;
		s->burst_att = s->att;
		__atomic_fetch_add(&s->att->refs, 1, __ATOMIC_RELAXED);
		l->reserved = true;
		l->reserved_long = false;
		l->reserved_by = s->burst_owner;
	}
	lock_drop(&l->tx_lock);
	return n;
}

static uint32_t reserve_buffers(struct sock *s, struct udplane_buf *bufs, uint32_t cnt)
{
	uint32_t n = pktbufs_get(s->burst_buf, cnt < BURST_MAX ? cnt : BURST_MAX);

	for (uint32_t i = 0; i < n; i++)
		offer(&bufs[i], s->burst_buf[i]->data, RESERVE_SIZE);
	return n;
}

void burst_cancel(struct sock *s)
{
	struct lane *l = s->burst_lane;

	if (l) {
		bool locked = lock_insist(&l->tx_lock);

		l->reserved = false;
		if (locked)
			lock_drop(&l->tx_lock);
		attach_put(s->burst_att);
		s->burst_lane = NULL;
		s->burst_att = NULL;
	} else {
		for (uint32_t i = 0; i < s->burst_cnt; i++)
			pktbuf_put(s->burst_buf[i]);
	}
	s->burst_cnt = 0;
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
		if (!err && s->burst_cnt)
			err = pthread_equal(s->burst_owner, pthread_self()) ? -EINVAL
			      : end && clock_now_ns() >= end		    ? -EAGAIN
									    : -EBUSY;
		if (err != -EBUSY)
			break;
		lock_drop(&s->tx_lock); /* another thread's: it will be quick */
		if (!end)
			end = clock_now_ns() + TX_FULL_WAIT_NS;
		sched_yield();
	}
	if (!err) {
		s->burst_owner = pthread_self();
		n = reserve_slots(s, bufs, cnt);
		if (!n)
			n = reserve_buffers(s, bufs, cnt);
		s->burst_cnt = n;
		if (!n)
			err = -EAGAIN;
	}
	lock_drop(&s->tx_lock);
	return err ? set_errno(err) : (int)n;
}

static socklen_t name_of(const struct sock *s, const struct udplane_peer *peer,
			 struct sockaddr_storage *ss)
{
	if (!peer->family)
		return 0;
	/* An IPv6 destination on an IPv4 socket: let the kernel say what it thinks of it. */
	return peer_to_name(s->domain == AF_INET && peer->family == AF_INET6 ? AF_INET6 : s->domain,
			    peer, ss);
}

/* Whether there may be room in the kernel socket's send buffer after all. What fills it may be a
 * neighbour that does not answer, for seconds: no burst call waits for that. *end: 0 at first. */
static bool kernel_room(struct sock *s, uint64_t *end)
{
	struct pollfd p = {.fd = s->kfd, .events = POLLOUT};
	struct timespec ms = {.tv_nsec = 1000000};

	if (__atomic_load_n(&s->nonblock, __ATOMIC_RELAXED))
		return false;
	if (!*end)
		*end = clock_now_ns() + TX_FULL_WAIT_NS;
	else if (clock_now_ns() >= *end)
		return false;
	syscall(SYS_ppoll, &p, 1, &ms, NULL,
		0); /* poll() is a cancellation point, and locks are held */
	return true;
}

/* Never blocks for longer than TX_FULL_WAIT_NS: fewer than cnt, or -EAGAIN, if the kernel had no
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

static bool buf_fast(struct sock *s, struct lane *l, const struct udplane_buf *b, struct dest *d)
{
	if (b->peer.family) {
		if (!dest_of_peer(s, &b->peer, d))
			return false;
	} else {
		if (!s->connected || !s->peer_fast)
			return false;
		*d = s->peer;
	}
	return dest_fast(s, l, d) && b->len <= tx_max_len(s->att, d);
}

/* Payloads are in slots base, base + 1, ... One that has to take the kernel path leaves a gap,
 * which the next ones close. */
static int submit_ring(struct sock *s, struct lane *l, const struct udplane_buf *bufs, uint32_t cnt)
{
	uint32_t ready = 0, i;
	struct dest d;
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
		tx_fill(s, l, ready++, &d, bufs[i].len);
	}
	tx_publish(s, l, ready);
	if (n > 0)
		return (int)cnt;
	errno = -n;
	return i > 1 ? (int)i - 1 : n;
}

/* Into the ring, if it is still what it was at reserve; else the kernel sends what lies in the
 * slots. */
static int submit(struct sock *s, const struct udplane_buf *bufs, uint32_t cnt)
{
	struct lane *l = s->burst_lane;
	int n;

	if (!l || s->lane != l || !tx_alive(s) || !lock_take(&l->tx_lock))
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
	if (!s->burst_cnt || !pthread_equal(s->burst_owner, pthread_self())) {
		lock_drop(&s->tx_lock);
		return set_errno(-EINVAL);
	}
	if (cnt > s->burst_cnt)
		n = -EINVAL;
	for (uint32_t i = 0; i < cnt && !n; i++)
		if (bufs[i].len > bufs[i].size)
			n = -EMSGSIZE;
	if (!n && cnt)
		n = submit(s, bufs, cnt);
	burst_cancel(s);
	unbound = n > 0 && !__atomic_load_n(&s->bound, __ATOMIC_RELAXED);
	if (unbound)
		sock_ref(s);
	lock_drop(&s->tx_lock);
	if (unbound) {
		tx_bound_by_send(s);
		sock_unref(s);
	}
	return set_errno(n);
}
