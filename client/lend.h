/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A socket that several processes have open, lent to the only one that reads it.
 *
 * A process becomes a reader of a shared socket when it first receives from it or waits for it, and
 * stays one until it closes the socket or ends. It says so before it does: by a lock (holders.h).
 * The only reader may claim the socket, under another lock. So a second reader finds that lock
 * taken, asks for the socket, and waits until it has been given back: claim released, and what was
 * unread in memory that all have. A process that is about to change the socket does the same.
 *
 * Sockets of the shim only: the library does not see who waits for a descriptor of the API.
 * Under the control lock, but for what is said to be atomic.
 */
#ifndef UDPLANE_CLIENT_LEND_H
#define UDPLANE_CLIENT_LEND_H

#include "client/sock.h"
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A process cannot take part any more, so nothing is lent from now on. */
void lend_lost(void);
/* Other processes that are not known have s: it is not lent any more. */
void lend_bar(struct sock *s);

/* This process is about to receive from s or wait for it: makes it a reader. */
void lend_announce(struct sock *s);
/* Returns true if it may be worth trying lend_take(). */
bool lend_may(const struct sock *s);
/* Takes the right to claim s, if this process is the only reader. From then on a thread of the
 * library's waits for others to ask for it, and calls asked under the control lock: the program may
 * be busy with something else for long. */
bool lend_take(struct sock *s, void (*asked)(void));
void lend_drop(struct sock *s);
void lend_forked(void); /* in a forked child, to which nothing is lent */
/* Returns true if another process wants s, which is lent to this one. Makes its bell silent. */
bool lend_asked(const struct sock *s);
/* s has no claim any more. If it was lent to this process, it is not any longer: both locks held.
 * give: what is saved is left to all processes that have it. */
void lend_end(struct sock *s, bool give);

/* --- without the control lock --- */

/* Returns true if s has to be announced by lend_reads() before this process receives from it or
 * waits for it. rx.lock held. */
static inline bool lend_is_new(const struct sock *s)
{
	return s->rx.shared && s->rx.shim.on && !__atomic_load_n(&s->rx.reader, __ATOMIC_RELAXED);
}
void lend_reads(struct sock *s);
/* Before this process changes a socket that others may have claimed: nobody has until
 * lend_changed(), which gets what this returns. */
bool lend_change_begin(struct sock *s);
static inline bool lend_change(struct sock *s)
{
	return __atomic_load_n(&s->rx.shared, __ATOMIC_RELAXED) && lend_change_begin(s);
}
void lend_changed(struct sock *s, bool held);

#ifdef __cplusplus
}
#endif

#endif
