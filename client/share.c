/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets that several processes have open after fork().
 *
 * In Linux they have one queue, from which any of them may take any datagram at any time, whichever
 * of them waits, is busy, or never reads. Only the kernel's queue is that. So before a fork every
 * claim is given back, and what lies with us goes into memory that both processes have (struct
 * shared_queue, beside it an eventfd that makes their descriptors readable). From then on the
 * socket is as Linux has it, for both, until one process alone has it open (the child executes
 * another program or ends, the parent of a daemon ends, one of them closes it): then that one may
 * claim it again.
 *
 * Who has it open is told by POSIX locks, which are a process's own, which the kernel ends with the
 * process, and which go with execve(2) since the file is closed there: on one anonymous file for
 * all who descend from each other, the byte at the socket's SO_COOKIE. A child locks before it
 * closes its end of the pipe that its parent made for its birth; until then the parent takes it for
 * a holder of everything.
 */
#include "client/internal.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* to look whether a socket is ours alone; grows by doubling to the next */
#define SHARE_RETRY_NS	   10000000ull
#define SHARE_RETRY_MAX_NS 1000000000ull
/* more than these share one lock: the kernel looks through a process's locks one by one */
#define SHARE_SOCKETS 1024

struct record {
	struct udplane_peer peer;
	uint32_t len;
	uint32_t off; /* of the payload, from the queue's start */
};

/* In memory that forked processes have in common. */
struct shared_queue {
	uint32_t head; /* atomic: records before it are taken */
	uint32_t cnt;
	size_t size; /* of the mapping */
	struct record record[];
};

/* --- locks --- */

/* Not another file under the number of ours, if the program has closed descriptors that it does not
 * know. */
static bool file_is_ours(void)
{
	struct share *f = &context.share;
	struct stat st;

	return f->fd >= 0 && fstat(f->fd, &st) == 0 && st.st_dev == f->dev && st.st_ino == f->ino;
}

/* False: who has what open cannot be known. */
static bool file_open(void)
{
	struct share *f = &context.share;
	struct stat st;

	if (f->lost || f->fd >= 0) {
		/* descendants have the old one: a new one would not tell of them */
		f->lost |= !file_is_ours();
		return !f->lost;
	}
	f->fd = memfd_create("udplane-share", MFD_CLOEXEC);
	if (f->fd < 0 || fstat(f->fd, &st)) {
		f->lost = true;
		return false;
	}
	f->dev = st.st_dev;
	f->ino = st.st_ino;
	return true;
}

static bool lock_call(int cmd, short type, uint64_t byte, struct flock *l)
{
	uint64_t mask = sizeof(off_t) == 8 ? INT64_MAX : INT32_MAX;

	*l = (struct flock){
		.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)(byte & mask), .l_len = 1};
	if (cmd == F_SETLK && context.share.all) {
		l->l_start = 0;
		l->l_len = 0; /* whatever there may be */
	}
	return fcntl(context.share.fd, cmd, l) == 0;
}

static bool share_lock(struct sock *s)
{
	struct flock l;

	return lock_call(F_SETLK, F_RDLCK, s->cookie, &l);
}

/* Has no other process the socket open? Under ctl. */
static bool share_alone(struct sock *s)
{
	struct share *f = &context.share;
	struct flock l;
	uint32_t n = 0;

	for (uint32_t i = 0; i < f->birth_cnt; i++) { /* children that may not have locked yet */
		struct pollfd p = {.fd = f->birth[i]};

		if (poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLNVAL)))
			close(f->birth[i]);
		else
			f->birth[n++] = f->birth[i];
	}
	f->birth_cnt = n;
	if (n || f->lost || !s->cookie || !file_is_ours())
		return false;
	return lock_call(F_GETLK, F_WRLCK, s->cookie, &l) && l.l_type == F_UNLCK;
}

void share_forget(struct sock *s)
{
	struct flock l;

	share_queue_drop(s);
	if (__atomic_load_n(&s->shared, __ATOMIC_RELAXED) && !context.share.all && file_is_ours())
		lock_call(F_SETLK, F_UNLCK, s->cookie, &l);
	free(s->options);
	s->options = NULL;
}

/* --- queue --- */

/* What the queue holds at its head, which may be taken by others meanwhile; NULL: it is empty. */
static const struct record *queue_head(const struct shared_queue *q, uint32_t *head)
{
	*head = __atomic_load_n(&q->head, __ATOMIC_ACQUIRE);
	return *head < q->cnt ? &q->record[*head] : NULL;
}

static bool queue_take(struct sock *s, uint32_t head)
{
	struct shared_queue *q = s->queue;
	uint64_t one;

	if (!__atomic_compare_exchange_n(&q->head, &head, head + 1, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_RELAXED))
		return false;
	if (head + 1 == q->cnt && raw_read(s->queue_fd, &one, sizeof(one)) <
					  0) /* nothing to read any more, for all who have it */
		context_log(2, "socket %d: the queue at fork(): %s", s->fd, strerror(errno));
	return true;
}

struct pktbuf *share_queue_get(struct sock *s, bool peek)
{
	const struct record *r;
	struct pktbuf *b;
	uint32_t head;

	while ((r = queue_head(s->queue, &head)) != NULL) {
		b = pktbuf_small(r->len);
		if (!b)
			return NULL;
		b->len = r->len;
		b->peer = r->peer;
		memcpy(b->data, (const uint8_t *)s->queue + r->off, r->len);
		if (peek || queue_take(s, head))
			return b;
		pktbuf_put(b);
	}
	share_queue_drop(s);
	return NULL;
}

int share_queue_next_len(struct sock *s)
{
	uint32_t head;
	const struct record *r = queue_head(s->queue, &head);

	return r ? (int)r->len : -EAGAIN;
}

void share_queue_drop(struct sock *s)
{
	if (!s->queue)
		return;
	epoll_ctl(s->fd, EPOLL_CTL_DEL, s->queue_fd,
		  NULL); /* others hold it, too: to close it is not enough */
	close(s->queue_fd);
	munmap(s->queue, s->queue->size);
	s->queue = NULL;
}

/* What is left of it back into private memory, in front of what is there. rx_lock held. */
static void queue_to_saved(struct sock *s)
{
	struct pktbuf *rest = s->saved, **rest_end = s->saved_end, *b;

	if (!s->queue)
		return;
	s->saved = NULL;
	s->saved_end = &s->saved;
	while (s->queue && (b = share_queue_get(s, false)) != NULL) {
		*s->saved_end = b;
		s->saved_end = &b->next;
	}
	*s->saved_end = rest;
	if (rest)
		s->saved_end = rest_end;
}

static struct shared_queue *queue_alloc(const struct pktbuf *list)
{
	size_t cnt = 0, bytes = 0, size;
	struct shared_queue *q;

	for (const struct pktbuf *b = list; b; b = b->next) {
		cnt++;
		bytes += b->len;
	}
	size = sizeof(*q) + cnt * sizeof(struct record) + bytes;
	if (size > UINT32_MAX)
		return NULL;
	q = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (q == MAP_FAILED)
		return NULL;
	q->cnt = (uint32_t)cnt;
	q->size = size;
	return q;
}

/* s->saved becomes a queue. rx_lock held. */
static void saved_to_queue(struct sock *s)
{
	struct epoll_event ev = {.events = EPOLLIN};
	struct shared_queue *q = queue_alloc(s->saved);
	int fd = q ? eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
	struct pktbuf *b;
	uint8_t *to;

	if (fd < 0) { /* it stays the parent's */
		if (q)
			munmap(q, q->size);
		return;
	}
	to = (uint8_t *)&q->record[q->cnt];
	for (uint32_t i = 0; (b = s->saved) != NULL; i++) {
		q->record[i] = (struct record){
			.peer = b->peer, .len = b->len, .off = (uint32_t)(to - (uint8_t *)q)};
		memcpy(to, b->data, b->len);
		to += b->len;
		s->saved = b->next;
		pktbuf_put(b);
	}
	s->saved_end = &s->saved;
	s->queue = q;
	s->queue_fd = fd;
	epoll_ctl(s->fd, EPOLL_CTL_ADD, fd, &ev);
}

/* --- fork --- */

static void count_one(struct sock *s, void *arg)
{
	(void)s;
	++*(uint32_t *)arg;
}

static void prepare_sock(struct sock *s, void *arg)
{
	(void)arg;
	if (!context.share.lost && !share_lock(s))
		context.share.lost = true;
	claim_release(s, CLAIM_SHARED, UDPLANE_REASON_PROCESSES,
		      "it is open in several processes since a fork()");
	__atomic_store_n(&s->shared, true, __ATOMIC_RELAXED);
	if (sock_insist_rx(s)) { /* else a handler forks that has interrupted a receive */
		queue_to_saved(s);
		if (s->saved)
			saved_to_queue(s);
		rx_settle(s);
		lock_drop(&s->rx_lock);
	}
	if (!s->options && !s->kernel_only)
		s->options = options_read(s);
	s->claim_wait_ns = 0;
	if (!s->kernel_only && !context.disabled)
		sock_retry_at(s, clock_now_ns() + SHARE_RETRY_NS);
}

static bool room_for_birth(void)
{
	struct share *f = &context.share;
	int *more = realloc(f->birth, (f->birth_cnt + 1) * sizeof(*more));

	if (more)
		f->birth = more;
	return more != NULL;
}

void share_prepare(void)
{
	struct share *f = &context.share;
	uint32_t cnt = 0;

	f->pipe[0] = f->pipe[1] = -1;
	table_each(count_one, &cnt);
	if (!cnt)
		return;
	f->all |= cnt > SHARE_SOCKETS;
	if (!file_open() || !room_for_birth() || pipe2(f->pipe, O_CLOEXEC))
		f->lost = true;
	table_each(prepare_sock, NULL);
}

void share_parent(void)
{
	struct share *f = &context.share;

	if (f->pipe[0] < 0)
		return;
	close(f->pipe[1]);
	f->birth[f->birth_cnt++] = f->pipe[0];
}

static void child_sock(struct sock *s)
{
	if (!s->closed && !context.share.lost && !share_lock(s))
		context.share.lost = true;
}

/* What the parent waits for (its other children) we wait for, too: they have the same sockets. */
void share_child(void)
{
	struct share *f = &context.share;

	if (f->pipe[0] < 0)
		return;
	table_each_raw(child_sock);
	if (f->lost)
		return; /* the pipe stays open: for the parent we hold everything until we end */
	close(f->pipe[0]);
	close(f->pipe[1]);
	f->pipe[0] = f->pipe[1] = -1;
}

/* --- resume --- */

/* Other processes may have changed what we remember of the socket. */
static bool catch_up(struct sock *s)
{
	const char *changed = options_changed(s);
	char text[UDPLANE_TEXT_LEN];
	int flags = fcntl(s->kfd, F_GETFL);

	if (flags >= 0 && (flags & O_ASYNC))
		changed = "O_ASYNC";

	sock_read_flags(s);
	sock_read_names(s);
	if (!changed)
		return true;
	snprintf(text, sizeof(text), "%s was set by another process", changed);
	claim_release(s, CLAIM_KERNEL, UDPLANE_REASON_OPTION, text);
	return false;
}

bool share_resume(struct sock *s)
{
	bool alone;

	if (clock_coarse_ns() < s->retry_ns)
		return false;
	alone = share_alone(s);
	if (!sock_insist_rx(s))
		return false;
	alone = alone && !sock_awaited(s);
	if (alone) {
		queue_to_saved(s);
		__atomic_store_n(&s->shared, false, __ATOMIC_RELAXED);
		rx_settle(s);
	}
	lock_drop(&s->rx_lock);
	if (!alone) {
		uint64_t wait = s->claim_wait_ns ? 2 * s->claim_wait_ns : SHARE_RETRY_NS;

		s->claim_wait_ns = wait < SHARE_RETRY_MAX_NS ? wait : SHARE_RETRY_MAX_NS;
		sock_retry_at(s, clock_now_ns() + s->claim_wait_ns);
		sock_set_reason(s, UDPLANE_REASON_PROCESSES,
				"it is open in several processes since a fork()");
		return false;
	}
	s->claim_wait_ns = 0;
	sock_retry_at(s, 0);
	return catch_up(s);
}
