/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets by descriptor. Reading takes no lock: chunks are never freed, and sock memory stays sock memory. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "client/internal.h"

static struct sock *sock_alloc(void)
{
	struct sock *s;

	lock_take(&context.table_lock);
	s = context.free_socks;
	if (s)
		context.free_socks = s->next_free;
	lock_drop(&context.table_lock);
	if (s)
		return s;
	s = aligned_alloc(UDPLANE_LINE, sizeof(*s));
	if (s)
		memset(s, 0, sizeof(*s));
	return s;
}

static void sock_recycle(struct sock *s)
{
	lock_take(&context.table_lock);
	s->next_free = context.free_socks;
	context.free_socks = s;
	lock_drop(&context.table_lock);
}

/* A thread with a stale pointer may be looking at its locks: these are taken for the change and never reset. */
struct sock *sock_create(int fd, int kfd, int domain)
{
	struct sock *s = sock_alloc();

	if (!s)
		return NULL;
	lock_take(&s->rx_lock);
	lock_take(&s->tx_lock);
	memset((char *)s + offsetof(struct sock, fd), 0, offsetof(struct sock, tx_lock) - offsetof(struct sock, fd));
	memset((char *)s + offsetof(struct sock, id), 0, sizeof(*s) - offsetof(struct sock, id));
	s->fd = fd;
	s->kfd = kfd;
	s->domain = (uint16_t)domain;
	s->wake_fd = -1;
	s->saved_end = &s->saved;
	s->retry_ns = UINT64_MAX;
	s->seen_seq = 1;
	__atomic_store_n(&s->refs, 1, __ATOMIC_RELAXED);
	lock_drop(&s->tx_lock);
	lock_drop(&s->rx_lock);
	return s;
}

static void sock_destroy(struct sock *s)
{
	struct pktbuf *b;

	lock_take(&s->rx_lock);
	lock_take(&s->tx_lock);
	close(s->fd);
	close(s->kfd);
	if (s->wake_fd >= 0)
		close(s->wake_fd);
	s->wake_fd = -1;
	while ((b = s->saved) != NULL) {
		s->saved = b->next;
		pktbuf_put(b);
	}
	free(s->rxq);
	s->rxq = NULL;
	s->rxq_cnt = 0;
	lock_drop(&s->tx_lock);
	lock_drop(&s->rx_lock);
	sock_recycle(s);
}

void sock_unref(struct sock *s)
{
	if (__atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) == 0)
		sock_destroy(s);
}

struct sock *sock_get(int fd)
{
	struct sock *s = sock_lock_tx(fd);

	if (!s)
		return NULL;
	sock_ref(s);
	lock_drop(&s->tx_lock);
	return s;
}

int table_insert(struct sock *s)
{
	uint32_t i = (uint32_t)s->fd / TABLE_CHUNK;
	struct sock **chunk;

	if (i >= TABLE_CHUNKS)
		return -EMFILE;
	lock_take(&context.table_lock);
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
