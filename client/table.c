/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets by descriptor. Reading takes no lock: chunks are never freed, and sock memory stays sock
 * memory. */
#include "client/internal.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static struct sock *sock_alloc(void)
{
	struct sock *s = NULL;

	if (lock_insist(&context.table_lock)) {
		s = context.free_socks;
		if (s)
			context.free_socks = s->next_free;
		lock_drop(&context.table_lock);
	}
	if (s)
		return s;
	s = aligned_alloc(UDPLANE_LINE, sizeof(*s));
	if (s)
		memset(s, 0, sizeof(*s));
	return s;
}

static void sock_recycle(struct sock *s)
{
	if (!lock_insist(&context.table_lock))
		return; /* lost, which is some hundred bytes */
	s->next_free = context.free_socks;
	context.free_socks = s;
	lock_drop(&context.table_lock);
}

/* A thread with a stale pointer may be looking at its locks: these are taken for the change and
 * never reset. */
struct sock *sock_create(int fd, int kfd, int domain)
{
	struct sock *s = sock_alloc();

	if (!s)
		return NULL;
	if (!sock_take_both(s))
		return NULL; /* an interrupted call looks at it */
	memset((char *)s + offsetof(struct sock, fd), 0,
	       offsetof(struct sock, tx_lock) - offsetof(struct sock, fd));
	memset((char *)s + offsetof(struct sock, id), 0,
	       offsetof(struct sock, visitor) - offsetof(struct sock, id));
	memset((char *)s + offsetof(struct sock, held), 0,
	       sizeof(*s) - offsetof(struct sock, held));
	s->fd = fd;
	s->kfd = kfd;
	s->cookie = own_cookie(kfd);
	s->domain = (uint16_t)domain;
	s->wake_fd = -1;
	s->saved_end = &s->saved;
	s->retry_ns = UINT64_MAX;
	s->seen_seq = 1;
	__atomic_store_n(&s->refs, 1, __ATOMIC_RELAXED);
	sock_drop_both(s);
	return s;
}

/* Another epoll instance would take kfd in, and anything else refuse it in other words. */
bool sock_fd_is(const struct sock *s)
{
	struct epoll_event ev = {.events = 0};

	if (epoll_ctl(s->fd, EPOLL_CTL_ADD, s->kfd, &ev) == 0) {
		epoll_ctl(s->fd, EPOLL_CTL_DEL, s->kfd, NULL);
		return false;
	}
	return errno == EEXIST;
}

static void sock_destroy(struct sock *s)
{
	bool locked = sock_take_both(
		s); /* against whoever has a stale pointer, and will leave it alone */
	struct pktbuf *b;

	share_forget(s);
	if (!s->fd_gone)
		close(s->fd);
	if (sock_kernel_is(s))
		close(s->kfd);
	own_close(&s->wake_fd);
	while ((b = s->saved) != NULL) {
		s->saved = b->next;
		pktbuf_put(b);
	}
	free(s->rxq);
	s->rxq = NULL;
	s->rxq_cnt = 0;
	if (locked)
		sock_drop_both(s);
	sock_recycle(s);
}

/* --- who is inside --- */

bool lock_insist(struct lock *l)
{
	for (int i = 0; i < 20; i++) {
		if (lock_take(l))
			return true;
		if (lock_mine(l))
			break;
	}
	return false;
}

bool sock_insist_rx(struct sock *s)
{
	bool mine = lock_mine(&s->rx_lock);

	if (!lock_insist(&s->rx_lock))
		return false;
	if (mine)
		rx_recover(s);
	return true;
}

bool sock_take_both(struct sock *s)
{
	if (!sock_insist_rx(s))
		return false;
	if (lock_insist(&s->tx_lock))
		return true;
	lock_drop(&s->rx_lock);
	return false;
}

void sock_drop_both(struct sock *s)
{
	lock_drop(&s->tx_lock);
	lock_drop(&s->rx_lock);
}

static bool has_visitors(struct sock *s)
{
	for (int i = 0; i < VISITORS; i++)
		if (__atomic_load_n(&s->visitor[i].thread, __ATOMIC_SEQ_CST))
			return true;
	return false;
}

/* The last who leaves closes the descriptors. */
static void leave(struct sock *s)
{
	uint32_t none = 0;

	if (!has_visitors(s) && __atomic_compare_exchange_n(&s->refs, &none, SOCK_ENDED, false,
							    __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
		sock_destroy(s);
}

void sock_unref(struct sock *s)
{
	if (__atomic_sub_fetch(&s->refs, 1, __ATOMIC_SEQ_CST) == 0)
		leave(s);
}

/* Takes no lock: it may be held by a call of this very thread. */
struct sock *sock_get(int fd)
{
	struct sock *s = table_get(fd);
	uint32_t refs;

	if (!s)
		return NULL;
	refs = __atomic_load_n(&s->refs, __ATOMIC_RELAXED);
	do {
		if (!refs || refs == SOCK_ENDED)
			return NULL;
	} while (!__atomic_compare_exchange_n(&s->refs, &refs, refs + 1, true, __ATOMIC_SEQ_CST,
					      __ATOMIC_RELAXED));
	if (table_get(fd) == s)
		return s;
	sock_unref(s);
	return NULL;
}

void visit_enter(struct sock *s, struct visit *v, uintptr_t frame, bool may_end)
{
	uintptr_t self = thread_id();

	*v = (struct visit){.s = s, .frame = frame};
	for (int i = 0; i < VISITORS; i++) {
		struct visitor *e = &s->visitor[i];
		uintptr_t thread = __atomic_load_n(&e->thread, __ATOMIC_RELAXED);

		if (thread == self
			    ? frame_is_gone(__atomic_load_n(&e->frame, __ATOMIC_RELAXED), frame)
			    : !thread && __atomic_compare_exchange_n(&e->thread, &thread, self,
								     false, __ATOMIC_SEQ_CST,
								     __ATOMIC_RELAXED)) {
			v->entry = e;
			break;
		}
	}
	if (!v->entry) {
		sock_ref(s);
		return;
	}
	__atomic_store_n(&v->entry->sleeps, false, __ATOMIC_RELAXED);
	__atomic_store_n(&v->entry->frame, frame, __ATOMIC_RELAXED);
	if (__atomic_load_n(&v->entry->tid_of, __ATOMIC_RELAXED) != self) {
		__atomic_store_n(&v->entry->tid, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&v->entry->tid_of, self, __ATOMIC_RELEASE);
	}
	if (may_end)
		visit_may_end(v);
}

void visit_sleeps(struct visit *v)
{
	if (v->entry)
		__atomic_store_n(&v->entry->sleeps, true, __ATOMIC_RELAXED);
}

void visit_may_end(struct visit *v)
{
	if (v->entry && !__atomic_load_n(&v->entry->tid, __ATOMIC_RELAXED))
		__atomic_store_n(&v->entry->tid, (uint32_t)syscall(SYS_gettid), __ATOMIC_RELAXED);
}

bool visit_lasts(const struct visit *v)
{
	return !v->entry || (__atomic_load_n(&v->entry->thread, __ATOMIC_RELAXED) == thread_id() &&
			     __atomic_load_n(&v->entry->frame, __ATOMIC_RELAXED) == v->frame);
}

bool visit_end(struct visit *v)
{
	uintptr_t self = thread_id();

	if (!v->entry) {
		sock_unref(v->s);
		return true;
	}
	if (!visit_lasts(v) || !__atomic_compare_exchange_n(&v->entry->thread, &self, 0, false,
							    __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
		return false;
	if (__atomic_load_n(&v->s->refs, __ATOMIC_SEQ_CST) == 0)
		leave(v->s);
	return true;
}

/* This thread's own are calls that it has left, or that a handler, which is what runs now, has
 * interrupted: these will see it. */
static bool visitor_gone(const struct visitor *e, uintptr_t thread)
{
	uint32_t tid;

	if (thread == thread_id())
		return true;
	if (__atomic_load_n(&e->tid_of, __ATOMIC_ACQUIRE) != thread)
		return false;
	tid = __atomic_load_n(&e->tid, __ATOMIC_RELAXED);
	return tid && syscall(SYS_tgkill, getpid(), tid, 0) && errno == ESRCH;
}

void sock_leave_sleepers(struct sock *s)
{
	for (int i = 0; i < VISITORS; i++) {
		struct visitor *e = &s->visitor[i];
		uintptr_t thread = __atomic_load_n(&e->thread, __ATOMIC_SEQ_CST);

		if (thread && __atomic_load_n(&e->sleeps, __ATOMIC_RELAXED))
			__atomic_compare_exchange_n(&e->thread, &thread, 0, false, __ATOMIC_SEQ_CST,
						    __ATOMIC_RELAXED);
	}
}

bool sock_awaited(struct sock *s)
{
	for (int i = 0; i < VISITORS; i++) {
		struct visitor *e = &s->visitor[i];
		uintptr_t thread = __atomic_load_n(&e->thread, __ATOMIC_SEQ_CST);

		if (thread && !__atomic_load_n(&e->sleeps, __ATOMIC_RELAXED) &&
		    !visitor_gone(e, thread))
			return true;
	}
	return __atomic_load_n(&s->direct, __ATOMIC_RELAXED) != 0;
}

bool sock_visited(struct sock *s)
{
	bool any = false;

	for (int i = 0; i < VISITORS; i++) {
		struct visitor *e = &s->visitor[i];
		uintptr_t thread = __atomic_load_n(&e->thread, __ATOMIC_SEQ_CST);

		if (!thread)
			continue;
		if (visitor_gone(e, thread))
			__atomic_compare_exchange_n(&e->thread, &thread, 0, false, __ATOMIC_SEQ_CST,
						    __ATOMIC_RELAXED);
		else
			any = true;
	}
	return any || __atomic_load_n(&s->refs, __ATOMIC_SEQ_CST) > 1;
}

int table_insert(struct sock *s)
{
	uint32_t i = (uint32_t)s->fd / TABLE_CHUNK;
	struct sock **chunk;

	if (i >= TABLE_CHUNKS)
		return -EMFILE;
	if (!lock_insist(&context.table_lock))
		return -ENOMEM;
	chunk = context.chunk[i];
	if (!chunk) {
		chunk = calloc(TABLE_CHUNK, sizeof(*chunk));
		__atomic_store_n(&context.chunk[i], chunk, __ATOMIC_RELEASE);
	}
	if (chunk)
		__atomic_store_n(&chunk[(uint32_t)s->fd % TABLE_CHUNK], s, __ATOMIC_RELEASE);
	lock_drop(&context.table_lock);
	return chunk ? 0 : -ENOMEM;
}

void table_each(void (*fn)(struct sock *s, void *arg), void *arg)
{
	for (uint32_t i = 0; i < TABLE_CHUNKS; i++) {
		struct sock **chunk = __atomic_load_n(&context.chunk[i], __ATOMIC_ACQUIRE);

		for (uint32_t j = 0; chunk && j < TABLE_CHUNK; j++) {
			struct sock *s;

			if (!__atomic_load_n(&chunk[j], __ATOMIC_RELAXED))
				continue;
			s = sock_get((int)(i * TABLE_CHUNK + j));
			if (!s)
				continue;
			fn(s, arg);
			sock_unref(s);
		}
	}
}

void table_each_raw(void (*fn)(struct sock *s))
{
	for (uint32_t i = 0; i < TABLE_CHUNKS; i++)
		for (uint32_t j = 0; context.chunk[i] && j < TABLE_CHUNK; j++)
			if (context.chunk[i][j])
				fn(context.chunk[i][j]);
}

int table_fd_flags(int fd)
{
	int flags = fcntl(fd, F_GETFD);

	return flags >= 0 && (flags & FD_CLOEXEC) ? O_CLOEXEC : 0;
}
