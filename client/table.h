/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets by descriptor. */
#ifndef UDPLANE_CLIENT_TABLE_H
#define UDPLANE_CLIENT_TABLE_H

#include "client/context.h"
#include "client/sock.h"
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

static inline struct sock **table_slot(int fd)
{
	struct sock **chunk;

	if (unlikely((uint32_t)fd >= TABLE_CHUNK * TABLE_CHUNKS))
		return NULL;
	chunk = __atomic_load_n(&context.chunk[(uint32_t)fd / TABLE_CHUNK], __ATOMIC_ACQUIRE);
	return likely(chunk != NULL) ? &chunk[(uint32_t)fd % TABLE_CHUNK] : NULL;
}
static inline struct sock *table_get(int fd)
{
	struct sock **slot = table_slot(fd);

	return likely(slot != NULL) ? __atomic_load_n(slot, __ATOMIC_ACQUIRE) : NULL;
}

/* Returns the socket with its receive or send side locked. Returns NULL if fd is not a socket,
 * or the lock is busy; sock_get() tells which. */
static inline struct sock *sock_lock_rx(int fd)
{
	struct sock *s = table_get(fd);

	if (unlikely(!s))
		return NULL;
	if (unlikely(!sock_take_rx(s)))
		return NULL;
	if (unlikely(table_get(fd) != s)) {
		lock_drop(&s->rx.lock);
		return NULL;
	}
	return s;
}
static inline struct sock *sock_lock_tx(int fd)
{
	struct sock *s = table_get(fd);

	if (unlikely(!s || !lock_take(&s->tx.lock)))
		return NULL;
	if (unlikely(table_get(fd) != s)) {
		lock_drop(&s->tx.lock);
		return NULL;
	}
	return s;
}
/* with a reference, whoever holds its locks; NULL if fd is not a socket */
struct sock *sock_get(int fd);
int table_insert(struct sock *s);
int table_add(int fd, struct sock *s); /* one more descriptor of a socket */
int table_find(const struct sock *s);  /* returns a descriptor of s; -1 if it has none */
/* Calls fn for each open socket, with a reference to it. */
void table_each(void (*fn)(struct sock *s, void *arg), void *arg);
/* The same in a forked child, where there is one thread and locks mean nothing. */
void table_each_raw(void (*fn)(struct sock *s));
int table_fd_flags(int fd); /* O_CLOEXEC or 0, as the descriptor has it */

#ifdef __cplusplus
}
#endif

#endif
