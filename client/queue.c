/* SPDX-License-Identifier: Apache-2.0 */
/* What was unread at a fork(), in memory that the processes have in common. */
#include "client/queue.h"
#include "client/context.h"
#include "client/pktbuf.h"
#include "client/public.h"
#include "client/raw.h"
#include "client/sock.h"
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

struct record {
	struct udplane_addr peer;
	uint32_t len;
	uint32_t off;	      /* of the payload, from the queue's start */
	uint32_t control_len; /* behind it, as in struct pktbuf */
	struct cmsg_info info;
};

/* In memory that forked processes have in common. */
struct shared_queue {
	uint32_t head; /* atomic: records before it are taken */
	uint32_t cnt;
	size_t size; /* of the mapping */
	struct record record[];
};

/* Returns the record at the head, which another process may take at any time; NULL if the queue
 * is empty. */
static const struct record *queue_head(const struct shared_queue *q, uint32_t *head)
{
	*head = __atomic_load_n(&q->head, __ATOMIC_ACQUIRE);
	return *head < q->cnt ? &q->record[*head] : NULL;
}

static bool queue_take(struct sock *s, uint32_t head)
{
	struct shared_queue *q = s->rx.queue;
	uint64_t one;

	if (!__atomic_compare_exchange_n(&q->head, &head, head + 1, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_RELAXED))
		return false;
	if (head + 1 == q->cnt && raw_read(s->rx.queue_fd, &one, sizeof(one)) <
					  0) /* it is empty now, for all processes */
		context_log(2, "socket %d: the queue at fork(): %s", s->fd, strerror(errno));
	return true;
}

struct pktbuf *queue_get(struct sock *s, bool peek)
{
	const struct record *r;
	struct pktbuf *b;
	uint32_t head;

	while ((r = queue_head(s->rx.queue, &head)) != NULL) {
		b = pktbuf_small(r->len + r->control_len);
		if (!b)
			return NULL;
		b->len = r->len;
		b->peer = r->peer;
		b->control_len = r->control_len;
		b->info = r->info;
		memcpy(b->data, (const uint8_t *)s->rx.queue + r->off, r->len + r->control_len);
		if (peek || queue_take(s, head))
			return b;
		pktbuf_put(b);
	}
	queue_drop(s);
	return NULL;
}

int queue_next_len(struct sock *s)
{
	uint32_t head;
	const struct record *r = queue_head(s->rx.queue, &head);

	return r ? (int)r->len : -EAGAIN;
}

void queue_drop(struct sock *s)
{
	if (!s->rx.queue)
		return;
	epoll_ctl(s->ep, EPOLL_CTL_DEL, s->rx.queue_fd,
		  NULL); /* closing is not enough, since other processes hold it, too */
	close(s->rx.queue_fd);
	munmap(s->rx.queue, s->rx.queue->size);
	s->rx.queue = NULL;
}

void queue_to_saved(struct sock *s)
{
	struct pktbuf *rest = s->rx.saved, **rest_end = s->rx.saved_end, *b;

	if (!s->rx.queue)
		return;
	s->rx.saved = NULL;
	s->rx.saved_end = &s->rx.saved;
	while (s->rx.queue && (b = queue_get(s, false)) != NULL) {
		*s->rx.saved_end = b;
		s->rx.saved_end = &b->next;
	}
	*s->rx.saved_end = rest;
	if (rest)
		s->rx.saved_end = rest_end;
}

static struct shared_queue *queue_alloc(const struct pktbuf *list)
{
	size_t cnt = 0, bytes = 0, size;
	struct shared_queue *q;

	for (const struct pktbuf *b = list; b; b = b->next) {
		cnt++;
		bytes += b->len + b->control_len;
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

void saved_to_queue(struct sock *s)
{
	struct epoll_event ev = {.events = EPOLLIN};
	struct shared_queue *q = queue_alloc(s->rx.saved);
	int fd = q ? eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
	struct pktbuf *b;
	uint8_t *to;

	if (fd < 0) { /* the datagrams stay the parent's */
		if (q)
			munmap(q, q->size);
		return;
	}
	to = (uint8_t *)&q->record[q->cnt];
	for (uint32_t i = 0; (b = s->rx.saved) != NULL; i++) {
		q->record[i] = (struct record){.peer = b->peer,
					       .len = b->len,
					       .off = (uint32_t)(to - (uint8_t *)q),
					       .control_len = b->control_len,
					       .info = b->info};
		memcpy(to, b->data, b->len + b->control_len);
		to += b->len + b->control_len;
		s->rx.saved = b->next;
		pktbuf_put(b);
	}
	s->rx.saved_end = &s->rx.saved;
	s->rx.queue = q;
	s->rx.queue_fd = fd;
	epoll_ctl(s->ep, EPOLL_CTL_ADD, fd, &ev);
}
