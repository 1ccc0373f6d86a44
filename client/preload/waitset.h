/* SPDX-License-Identifier: Apache-2.0 */
/* Those descriptors of one poll(2) or select(2) that are sockets of ours, or epoll instances in
 * which such are. */
#ifndef UDPLANE_PRELOAD_WAITSET_H
#define UDPLANE_PRELOAD_WAITSET_H

#include "client/preload/instance.h"
#include "client/sock.h"
#include <stdbool.h>
#include <stdint.h>

struct waited {
	struct sock *s;	     /* with a reference; or NULL */
	struct instance *in; /* with a reference; or NULL */
	uint32_t index;	     /* of the caller */
	int fd;
};
#define WAITSET_FEW 32
struct waitset {
	struct waited few[WAITSET_FEW];
	struct waited *w;
	uint32_t cnt, room;
	bool blind; /* a ring may not end the sleep: it must be short */
};

void waitset_init(struct waitset *set);
/* Adds fd, which waits for reading, if it is known. */
void waitset_add(struct waitset *set, int fd, uint32_t index);
void waitset_end(struct waitset *set);
/* Returns true if w has something in a ring. */
bool waited_ready(struct waited *w);

/* What poll(2) and select(2) do each in their own way. */
struct waitset_calls {
	/* Asks the rings, and the kernel without waiting. Returns as the call; errno. */
	int (*look)(void *wait);
	/* Sleeps in the kernel; rings: until rings end it, too. Returns 0, or -1 with errno. */
	int (*nap)(void *wait, bool rings);
};
/* Looks, spins and naps until the limit (see clock.h). Returns as the call; errno. */
int waitset_wait(struct waitset *set, uint64_t limit, const struct waitset_calls *calls,
		 void *wait);

/* For nap(). Before and after a sleep in the kernel alone. begin returns how long it may last in
 * ns; 0 if not at all. */
uint64_t waitset_plain_begin(struct waitset *set);
void waitset_plain_end(struct waitset *set);
/* Before and after a sleep that rings end. begin returns false if something is there; most becomes
 * how long the sleep may last, in ns. */
bool waitset_sleep_begin(struct waitset *set, uint64_t *most);
void waitset_sleep_end(struct waitset *set);
/* The descriptor that makes a sleep end for w; -1 if there is none. */
int waited_fd(const struct waited *w);

#endif
