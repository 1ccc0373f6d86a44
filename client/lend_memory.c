/* SPDX-License-Identifier: Apache-2.0 */
/* See lend_memory.h. */
#include "client/lend_memory.h"
#include "client/context.h"
#include "client/sock.h"
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

_Static_assert(sizeof(struct lend_memory) <= LEND_HEAD, "the file's head");

void lend_open(void)
{
	struct share *f = &context.share;
	void *p;

	if (ftruncate(f->fd, LEND_HEAD))
		return;
	p = mmap(NULL, LEND_HEAD, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
	if (p == MAP_FAILED)
		return;
	f->memory = p;
	f->memory->end = LEND_HEAD;
}

/* --- queues --- */

uint64_t lend_room(size_t size)
{
	struct share *f = &context.share;
	uint64_t whole = (size + LEND_HEAD - 1) & ~(uint64_t)(LEND_HEAD - 1), off;

	if (!f->memory || sizeof(off_t) < 8)
		return 0;
	off = __atomic_fetch_add(&f->memory->end, whole, __ATOMIC_RELAXED);
	if (off < LEND_HEAD || off % LEND_HEAD || fallocate(f->fd, 0, (off_t)off, (off_t)whole))
		return 0;
	return off;
}

bool lend_publish(const struct sock *s, uint64_t off, size_t size)
{
	struct lend_memory *m = context.share.memory;

	for (uint32_t i = 0; i < LEND_QUEUES; i++) {
		struct lend_queue *q = &m->queue[i];
		uint64_t none = 0;

		if (!__atomic_compare_exchange_n(&q->off, &none, off, false, __ATOMIC_ACQ_REL,
						 __ATOMIC_RELAXED))
			continue;
		q->size = size;
		__atomic_store_n(&q->cookie, s->cookie, __ATOMIC_RELEASE);
		return true;
	}
	return false;
}

uint64_t lend_find(const struct sock *s, size_t *size)
{
	const struct lend_memory *m = context.share.memory;

	for (uint32_t i = 0; m && i < LEND_QUEUES; i++) {
		const struct lend_queue *q = &m->queue[i];

		if (__atomic_load_n(&q->cookie, __ATOMIC_ACQUIRE) != s->cookie)
			continue;
		*size = q->size;
		return __atomic_load_n(&q->off, __ATOMIC_RELAXED);
	}
	return 0;
}

/* The first page stays, since others may be about to look at the queue's head. */
void lend_free(uint64_t off, size_t size)
{
	struct share *f = &context.share;

	for (uint32_t i = 0; i < LEND_QUEUES; i++) {
		struct lend_queue *q = &f->memory->queue[i];

		if (__atomic_load_n(&q->off, __ATOMIC_RELAXED) != off)
			continue;
		__atomic_store_n(&q->cookie, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&q->off, 0, __ATOMIC_RELEASE);
	}
	if (size > LEND_HEAD)
		fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			  (off_t)(off + LEND_HEAD), (off_t)(size - LEND_HEAD));
}
