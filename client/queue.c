/* SPDX-License-Identifier: Apache-2.0 */
/* What was unread at a fork(), or when a socket was given back (lend.h), in memory that the
 * processes have in common. One of them may have other rights than the others, so what is read
 * there is checked. */
#include "client/queue.h"
#include "client/context.h"
#include "client/lend_memory.h"
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

/* In memory that processes have in common. */
struct shared_queue {
	uint32_t head; /* atomic: records before it are taken */
	uint32_t cnt;
	uint64_t place; /* in the file of lend.h; 0 if it is memory of a fork */
	struct record record[];
};

static bool record_is_good(const struct record *r, size_t size)
{
	uint64_t end = (uint64_t)r->off + r->len + r->control_len;

	return r->len <= PKTBUF_SIZE && r->control_len <= CMSG_ROOM &&
	       r->off >= sizeof(struct shared_queue) && end <= size;
}

/* Copies the record at the head, which another process may take at any time. Returns false if the
 * queue is empty. */
static bool queue_head(const struct sock *s, uint32_t *head, struct record *r)
{
	const struct shared_queue *q = s->rx.queue;
	size_t room = (s->rx.queue_size - sizeof(*q)) / sizeof(*r);

	for (size_t i = 0; i < room; i++) {
		*head = __atomic_load_n(&q->head, __ATOMIC_ACQUIRE);
		if (*head >= __atomic_load_n(&q->cnt, __ATOMIC_RELAXED) || *head >= room)
			return false;
		memcpy(r, &q->record[*head], sizeof(*r));
		if (record_is_good(r, s->rx.queue_size))
			return true;
		/* it has been taken since, and its memory is gone: lend_free() */
		if (__atomic_load_n(&q->head, __ATOMIC_ACQUIRE) == *head)
			return false;
	}
	return false;
}

/* It is empty now, for all processes. */
static void queue_empty(struct sock *s)
{
	uint64_t one, place = s->rx.queue->place;

	if (place)
		lend_free(place, s->rx.queue_size);
	if (s->rx.queue_fd >= 0 && raw_read(s->rx.queue_fd, &one, sizeof(one)) < 0)
		context_log(2, "socket %d: the queue at fork(): %s", s->fd, strerror(errno));
}

static bool queue_take(struct sock *s, uint32_t head)
{
	struct shared_queue *q = s->rx.queue;

	if (!__atomic_compare_exchange_n(&q->head, &head, head + 1, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_RELAXED))
		return false;
	if (head + 1 == q->cnt)
		queue_empty(s);
	return true;
}

/* Returns true if the record is still the one at the head, or has been taken by this call. */
static bool queue_keeps(struct sock *s, uint32_t head, bool peek)
{
	if (!peek)
		return queue_take(s, head);
	return __atomic_load_n(&s->rx.queue->head, __ATOMIC_ACQUIRE) == head;
}

struct pktbuf *queue_get(struct sock *s, bool peek)
{
	struct pktbuf *b;
	struct record r;
	uint32_t head;

	while (queue_head(s, &head, &r)) {
		b = pktbuf_small(r.len + r.control_len);
		if (!b)
			return NULL;
		b->len = r.len;
		b->peer = r.peer;
		b->control_len = r.control_len;
		b->info = r.info;
		memcpy(b->data, (const uint8_t *)s->rx.queue + r.off, r.len + r.control_len);
		if (queue_keeps(s, head, peek))
			return b;
		pktbuf_put(b);
	}
	queue_drop(s);
	return NULL;
}

int queue_next_len(struct sock *s)
{
	struct record r;
	uint32_t head;

	return queue_head(s, &head, &r) ? (int)r.len : -EAGAIN;
}

void queue_drop(struct sock *s)
{
	if (!s->rx.queue)
		return;
	if (s->rx.queue_fd >= 0) {
		/* closing is not enough, since other processes hold it, too */
		epoll_ctl(s->ep, EPOLL_CTL_DEL, s->rx.queue_fd, NULL);
		close(s->rx.queue_fd);
	}
	munmap(s->rx.queue, s->rx.queue_size);
	s->rx.queue = NULL;
}

static void *queue_map(size_t size, uint64_t place)
{
	int flags = MAP_SHARED | (place ? 0 : MAP_ANONYMOUS);
	void *q = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, place ? context.share.fd : -1,
		       (off_t)place);

	return q == MAP_FAILED ? NULL : q;
}

void queue_adopt(struct sock *s)
{
	size_t size = 0;
	uint64_t place = s->rx.queue || s->rx.saved ? 0 : lend_find(s, &size);

	if (!place || size < sizeof(struct shared_queue))
		return;
	s->rx.queue = queue_map(size, place);
	s->rx.queue_size = size;
	s->rx.queue_fd = -1;
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

static struct shared_queue *queue_alloc(const struct pktbuf *list, bool given_back, size_t *whole)
{
	size_t cnt = 0, bytes = 0, size;
	struct shared_queue *q;
	uint64_t place;

	for (const struct pktbuf *b = list; b; b = b->next) {
		cnt++;
		bytes += b->len + b->control_len;
	}
	size = sizeof(*q) + cnt * sizeof(struct record) + bytes;
	if (size > UINT32_MAX)
		return NULL;
	place = given_back ? lend_room(size) : 0;
	q = queue_map(size, place);
	if (!q)
		return NULL;
	q->cnt = (uint32_t)cnt;
	q->place = place;
	*whole = size;
	return q;
}

void saved_to_queue(struct sock *s, bool given_back)
{
	struct epoll_event ev = {.events = EPOLLIN};
	size_t size = 0;
	struct shared_queue *q = queue_alloc(s->rx.saved, given_back, &size);
	int fd = q ? eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
	struct pktbuf *b;
	uint8_t *to;

	if (fd < 0) { /* the datagrams stay the parent's */
		if (q)
			munmap(q, size);
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
	s->rx.queue_size = size;
	s->rx.queue_fd = fd;
	epoll_ctl(s->ep, EPOLL_CTL_ADD, fd, &ev);
	if (q->place)
		lend_publish(s, q->place, size);
}
