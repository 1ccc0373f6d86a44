/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program's epoll instances, as far as accelerated sockets are in them.
 *
 * epoll_ctl(2) goes to the kernel unchanged, so the program's instance is what it would be without
 * us. Beside it a watch is recorded for each socket of ours: it tells what to report when a
 * datagram is in a ring.
 *
 *   socket ──> watch ──> instance ── w: an epoll instance of the shim's over the epoll instances
 *     │          │           │          (sock.ep) of its sockets, edge-triggered
 *     └ hot      └ in hot    └ hot list
 *
 * A socket is cold if its rings are empty and armed: the next datagram brings a token, and w
 * becomes readable. Otherwise it is hot: epoll_wait() looks at its rings. So idle sockets cost
 * nothing. A receive makes a socket hot, and epoll_wait() makes it cold when it is about to sleep.
 *
 * Threads: a watch is changed under the rx.lock of its socket and the lock of its instance, taken
 * in this order. Under an instance's lock an rx.lock is only tried. The lock of an instance comes
 * before those of the instances that it is nested in. While a thread sleeps on an
 * instance (sleepers), receives keep its sockets' readiness exact. A thread that waits in the
 * kernel alone (plain) is not woken by rings: until it returns no socket of the instance is
 * claimed.
 */
#ifndef UDPLANE_PRELOAD_INSTANCE_H
#define UDPLANE_PRELOAD_INSTANCE_H

#include "client/lock.h"
#include "client/sock.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/queue.h>

struct instance;

/* A descriptor in an epoll instance: a socket, or another instance. */
struct watch {
	TAILQ_ENTRY(watch) in_instance;
	TAILQ_ENTRY(watch) in_hot;
	struct watch *next_of_sock; /* or of the inner instance */
	struct instance *in;
	struct sock *s;		/* NULL if it is an instance */
	struct instance *inner; /* NULL if it is a socket */
	int fd;
	uint32_t events; /* as the program gave them */
	epoll_data_t data;
	bool armed; /* EPOLLONESHOT: has not been reported since */
	bool hot;
	bool gone;     /* s was closed in a handler that had interrupted a call on the instance */
	bool listed;   /* for instances_forked() */
	uint64_t seen; /* EPOLLET: what had arrived at the last report */
	struct watch *next_oneshot; /* in a bucket of its instance's */
};
TAILQ_HEAD(watch_list, watch);

struct instance {
	struct lock lock;
	uint32_t refs; /* atomic: its descriptors, and calls */
	uint32_t links;
	int w;	    /* -1 if not made */
	bool blind; /* a socket could not be added to w */
	struct watch_list all, hot, nested;
	uint32_t sock_cnt;    /* watches in all */
	int group;	      /* marks.h; -1 if none */
	struct attach *att;   /* whose lanes have the group; with a reference */
	struct watch *outer;  /* the watches on this instance, in others */
	uint32_t oneshot_cnt; /* watches with EPOLLONESHOT; oneshot.c */
	uint32_t oneshot_room;
	struct watch **oneshot;
	uint32_t output_cnt; /* watches for EPOLLOUT, level-triggered */
	uint32_t plain;	     /* atomic */
	uint32_t sleepers;   /* atomic */
	bool active;	     /* atomic: waits must look at rings; never reset */
	bool unknown;	     /* atomic: who sleeps on it is not known yet */
	bool passed;	     /* atomic: another process may wait on it, too */
	/* atomic: a call in a handler could not make a socket hot, as the call that it has
	 * interrupted holds the lock */
	bool missed;
	uint32_t looks;
	bool kernel_idle;     /* atomic: the last looks at the kernel found nothing; a hint */
	bool kernel_full;     /* atomic: the last look left no room for what rings have */
	uint64_t maintain_ns; /* atomic: when sockets without a claim are looked at again */
	struct instance *next_free;
};

/* --- descriptors --- */

/* Returns the instance with a reference; NULL if fd is not known as one. */
struct instance *instance_get(int fd);
bool instance_ref(struct instance *in); /* returns false if it is being freed */
void instance_put(struct instance *in);
bool instance_known(int fd); /* may be one; one load */
/* Notes a new instance. unknown: threads may be waiting on it that did not come through the
 * shim. */
void instance_new(int fd, bool unknown);
void instance_link(int fd, int to); /* to is a duplicate of fd */
void instance_forget(int fd);	    /* fd is about to be closed */

/* --- watches --- */

/* epoll_ctl(2) on an instance of the program, with the record. s or inner is what fd is. Returns as
 * epoll_ctl(). */
int instance_ctl(struct instance *in, int ep, int op, int fd, struct epoll_event *ev,
		 struct sock *s, struct instance *inner);

/* It is about to be passed to another process: its sockets are left to the kernel for good. */
void instance_pass(struct instance *in, int depth);

/* What struct shim asks for. */
void instance_update(struct sock *s);
void instance_heat_sock(struct sock *s); /* makes it hot in all its instances. rx.lock held */
bool instance_may_claim(struct sock *s);
void instance_claimed(struct sock *s);
void instance_closing(struct sock *s);
void instance_closed(struct sock *s);
void instances_forked(void);

/* --- EPOLLONESHOT: watches by their data, since that is all that epoll_wait() returns --- */

/* Returns false if there is no memory. */
bool oneshot_add(struct watch *w);
void oneshot_remove(struct watch *w);
struct watch *oneshot_find(const struct instance *in, uint64_t data);

/* --- waiting --- */

static inline bool wants_input(const struct watch *w)
{
	return w->armed && !w->gone && (w->events & (EPOLLIN | EPOLLRDNORM));
}

/* Returns the next instance that is nested in it, with a reference; or NULL. *i is 0 at first.
 * armed: only if its events are waited for. */
struct instance *nested_next(struct instance *in, uint32_t *i, int depth, bool armed);
/* Makes all sockets hot if one was missed. Returns true if so. */
bool instance_missed(struct instance *in);
/* Adds what rings have to the have events in ev. Returns how many there are then, at most max. */
int instance_report(struct instance *in, int ep, struct epoll_event *ev, int have, int max);
/* Takes out what the kernel reported of a registration that is disarmed. Returns how many are
 * left. */
int instance_filter(struct instance *in, int ep, struct epoll_event *ev, int have);
/* Makes the sockets hot that the worker has marked. mine: how many of the sleepers the caller is.
 * Returns true if there was one. */
bool instance_collect(struct instance *in, uint32_t mine);
/* Returns true if a socket that is in it, however deep, has something in a ring. For a nested one
 * *mark changes with what has arrived. */
bool instance_ready(struct instance *in, uint64_t *mark, int depth);
/* Returns false if there is none, or not all is in it: then a sleep must be short, and
 * instance_heat() follow it. */
bool instance_make_w(struct instance *in, int depth);
void instance_lost_w(struct instance *in);	    /* the program has closed w */
void instance_heat(struct instance *in, int depth); /* makes all sockets hot */
/* Begins a sleep: makes sockets cold. Returns false if something is there. */
bool instance_settle(struct instance *in, int depth);
void instance_sleep_begin(struct instance *in);
void instance_sleep_end(struct instance *in);
/* Takes the edges of w, and makes hot what they are of. */
void instance_woken(struct instance *in, int depth);
void instance_maintain(struct instance *in, int depth); /* claims, or attaches, what is due */
/* Returns true if a socket that is hot is served by a worker that is awake. */
bool instance_would_spin(struct instance *in);

/* Returns true if a datagram is in a ring, or saved. rx.lock held. */
bool sock_any(struct sock *s);
/* Something wants to know when s is readable: it may be claimed from now on. */
void sock_want(struct sock *s);

#define SHIM_DEPTH	    6 /* epoll instances in one another: Linux allows 5 */
#define SHIM_SLEEP_NS	    1000000000ull
#define SHIM_SLEEP_CLAIM_NS 10000000ull

#endif
