/* SPDX-License-Identifier: Apache-2.0 */
/* A socket's memory and references: the last one closes the descriptors. */
#include "client/life.h"
#include "client/attach.h"
#include "client/context.h"
#include "client/holders.h"
#include "client/lock.h"
#include "client/own.h"
#include "client/pktbuf.h"
#include "client/sock.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct sock *sock_alloc(void)
{
	struct sock *s = NULL;

	if (lock_insist(&context.table_lock)) {
		s = context.free_socks;
		if (s)
			context.free_socks = s->life.next_free;
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
		return; /* the memory is lost: 2 KiB */
	s->life.next_free = context.free_socks;
	context.free_socks = s;
	lock_drop(&context.table_lock);
}

/* A thread with a stale pointer may be trying its locks, so they are taken for the change and
 * never reset. */
struct sock *sock_create(int fd, int kfd, int domain)
{
	struct sock *s = sock_alloc();

	if (!s)
		return NULL;
	if (!sock_take_both(s))
		return NULL; /* an interrupted call of this thread holds one */
	memset((char *)&s->rx + sizeof(s->rx.lock), 0, sizeof(s->rx) - sizeof(s->rx.lock));
	memset((char *)&s->tx + sizeof(s->tx.lock), 0, sizeof(s->tx) - sizeof(s->tx.lock));
	memset((char *)&s->life + sizeof(s->life.refs), 0, sizeof(s->life) - sizeof(s->life.refs));
	s->fd_gone = false;
	s->closed = false;
	s->kernel_only = false;
	s->att = NULL;
	s->fd = fd;
	s->kfd = kfd;
	s->ep = fd;
	s->cookie = own_cookie(kfd);
	s->domain = (uint16_t)domain;
	s->rx.wake_fd = -1;
	s->rx.saved_end = &s->rx.saved;
	s->life.retry_ns = UINT64_MAX;
	s->life.bell = -1;
	s->tx.seen_seq = 1;
	__atomic_store_n(&s->life.refs, 1, __ATOMIC_RELAXED);
	sock_drop_both(s);
	return s;
}

static void sock_destroy(struct sock *s)
{
	bool locked = sock_take_both(
		s); /* a thread with a stale pointer then sees that it is not in the table */
	struct pktbuf *b;

	holders_forget(s);
	if (s->rx.shim.on) {
		own_close(&s->ep);
	} else if (!s->fd_gone) {
		close(s->fd);
	}
	if ((!s->rx.shim.on || s->rx.shim.kfd_own) && sock_kernel_is(s))
		close(s->kfd);
	own_close(&s->rx.wake_fd);
	own_close(&s->life.bell);
	while ((b = s->rx.saved) != NULL) {
		s->rx.saved = b->next;
		pktbuf_put(b);
	}
	free(s->rx.rxq);
	s->rx.rxq = NULL;
	free(s->life.group);
	s->life.group = NULL;
	s->life.group_cnt = 0;
	s->rx.rxq_cnt = 0;
	if (locked)
		sock_drop_both(s);
	sock_recycle(s);
}

/* --- references --- */

static bool has_visitors(struct sock *s)
{
	for (int i = 0; i < VISITORS; i++)
		if (__atomic_load_n(&s->visitor[i].thread, __ATOMIC_SEQ_CST))
			return true;
	return false;
}

/* The last to leave closes the descriptors. */
void sock_free_unused(struct sock *s)
{
	uint32_t none = 0;

	if (!has_visitors(s) && __atomic_compare_exchange_n(&s->life.refs, &none, SOCK_ENDED, false,
							    __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
		sock_destroy(s);
}

void sock_unref(struct sock *s)
{
	if (__atomic_sub_fetch(&s->life.refs, 1, __ATOMIC_SEQ_CST) == 0)
		sock_free_unused(s);
}
