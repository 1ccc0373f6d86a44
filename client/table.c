/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets by descriptor. Reading takes no lock: chunks are never freed, and the memory of a sock
 * is only reused for socks. */
#include "client/table.h"
#include "client/context.h"
#include "client/life.h"
#include "client/lock.h"
#include "client/sock.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

/* Takes no lock, since an interrupted call of this thread may hold it. */
struct sock *sock_get(int fd)
{
	struct sock *s = table_get(fd);
	uint32_t refs;

	if (!s)
		return NULL;
	refs = __atomic_load_n(&s->life.refs, __ATOMIC_RELAXED);
	do {
		if (!refs || refs == SOCK_ENDED)
			return NULL;
	} while (!__atomic_compare_exchange_n(&s->life.refs, &refs, refs + 1, true,
					      __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
	if (table_get(fd) == s)
		return s;
	sock_unref(s);
	return NULL;
}

int table_add(int fd, struct sock *s)
{
	uint32_t i = (uint32_t)fd / TABLE_CHUNK;
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
		__atomic_store_n(&chunk[(uint32_t)fd % TABLE_CHUNK], s, __ATOMIC_RELEASE);
	lock_drop(&context.table_lock);
	return chunk ? 0 : -ENOMEM;
}

int table_insert(struct sock *s)
{
	return table_add(s->fd, s);
}

int table_find(const struct sock *s)
{
	for (uint32_t i = 0; i < TABLE_CHUNKS; i++)
		for (uint32_t j = 0; context.chunk[i] && j < TABLE_CHUNK; j++)
			if (__atomic_load_n(&context.chunk[i][j], __ATOMIC_RELAXED) == s)
				return (int)(i * TABLE_CHUNK + j);
	return -1;
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
