/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many sockets in one epoll instance. The datagram of each cold socket would bring a token, which
 * costs the worker a system call and the program three. So an instance with many sockets is a group
 * of struct udplane_ready (abi.h): its cold sockets are armed by UDPLANE_ARM_LIST, and a wait looks
 * at the bits that the worker has set. Only while a thread sleeps on the instance do tokens come.
 *
 * That is for sockets in one instance alone, for which no call sleeps by itself, and instances that
 * are in no other.
 */
#ifndef UDPLANE_PRELOAD_MARKS_H
#define UDPLANE_PRELOAD_MARKS_H

#include "client/preload/instance.h"
#include <stdbool.h>

/* An instance that has so many sockets becomes a group. */
#define MARKS_FROM 32

/* A claimed socket is in the instance. Its rx.lock and the instance's lock held. */
void marks_add(struct instance *in, struct sock *s);
/* Sleepers or outer instances have changed. The instance's lock held. A full barrier follows. */
void marks_note(struct instance *in);
/* The same without the lock: somebody may sleep on it. */
void marks_note_sleeper(struct instance *in);
/* The instance is freed, or belongs to the parent of this process. */
void marks_forget(struct instance *in);
/* A look at the bits. Zeroed at first. */
struct marks {
	uint32_t lane, word;
	uint64_t bits, last;
	struct attach *att; /* with a reference while bits may be looked at */
};
/* Takes the next bits that are set. Returns false at the end. Takes the instance's lock. */
bool marks_next(struct instance *in, struct marks *m);
/* Takes one of these bits, of which there are some. Returns its socket, which may have been closed
 * since; or NULL. */
struct sock *marks_take(struct marks *m);
void marks_again(const struct marks *m); /* sets the last one's bit again */
/* Returns true if a worker polls that might mark one. */
bool marks_awake(struct instance *in);
/* Makes a socket that was found empty cold, if that costs no token. Returns true if it is. Both
 * locks held. */
bool marks_cool(struct watch *w);

#endif
