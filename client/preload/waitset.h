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
	bool asleep;
};

void waitset_init(struct waitset *set);
/* Adds fd, which waits for reading, if it is known. */
void waitset_add(struct waitset *set, int fd, uint32_t index);
void waitset_end(struct waitset *set);
/* Claims what is due. Returns true if rings have to be looked at. */
bool waitset_maintain(struct waitset *set);
/* Returns true if w has something in a ring. */
bool waited_ready(struct waited *w);
bool waitset_ready(struct waitset *set);
bool waitset_would_spin(struct waitset *set);
/* Before and after a sleep in the kernel alone. begin returns how long it may last in ns; 0 if not
 * at all. */
uint64_t waitset_plain_begin(struct waitset *set);
void waitset_plain_end(struct waitset *set);
/* Before and after a sleep that rings end. begin returns false if something is there. */
bool waitset_sleep_begin(struct waitset *set);
void waitset_sleep_end(struct waitset *set);
/* The descriptor that makes a sleep end for w; -1 if there is none. */
int waited_fd(const struct waited *w);

#endif
