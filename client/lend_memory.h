/* SPDX-License-Identifier: Apache-2.0 */
/* The file of the locks (holders.h), as memory of all processes that have a socket of one of
 * them: lend.h. Under the control lock, but for what is said to be atomic. */
#ifndef UDPLANE_CLIENT_LEND_MEMORY_H
#define UDPLANE_CLIENT_LEND_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct sock;

#define LEND_ASKS   64 /* sockets whose cookies are equal modulo this are asked for together */
#define LEND_QUEUES 32
#define LEND_HEAD   4096 /* bytes of the file in front of the queues */

/* What was unread in a socket that was given back: a part of the file. off is 0 if it is free. */
struct lend_queue {
	uint64_t cookie, off, size; /* cookie and off are atomic */
};

/* The head of the file of the locks. All processes that have a socket of one of them map it. */
struct lend_memory {
	uint32_t lost;		    /* atomic: a process cannot take part, so nothing is lent */
	uint32_t ask[LEND_ASKS];    /* atomic: how often a socket was asked for */
	uint32_t barred[LEND_ASKS]; /* atomic: it must not be lent any more */
	uint64_t end;		    /* atomic: of the file */
	struct lend_queue queue[LEND_QUEUES];
};

/* The file of the locks is new: makes its head, and maps it. Without it nothing is lent. */
void lend_open(void);
/* Makes room for a queue of size bytes behind the file's end. Returns where, or 0. */
uint64_t lend_room(size_t size);
/* Shows the queue at off to processes that become readers of s. Returns false if there are too many
 * queues. Only while s is lent to this process. */
bool lend_publish(const struct sock *s, uint64_t off, size_t size);
/* Returns where the unread datagrams of s are, or 0. Only while nobody has s claimed. */
uint64_t lend_find(const struct sock *s, size_t *size);
/* The queue at off is empty for good. Atomic. */
void lend_free(uint64_t off, size_t size);

#ifdef __cplusplus
}
#endif

#endif
