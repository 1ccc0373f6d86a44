/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The library's one global, the log, and why there is no attachment.
 *
 *   context ──> attach (refs) ──> lane per worker: TX ring, return ring, doorbell
 *      └─ table[fd] ──> sock ──> attach (a reference while claimed), rxq per worker: RX ring
 *
 * Inside the library functions return 0 or a count, or -errno. Only public functions set errno.
 */
#ifndef UDPLANE_CLIENT_CONTEXT_H
#define UDPLANE_CLIENT_CONTEXT_H

#include "client/base.h"
#include "client/control.h"
#include "client/lock.h"
#include <linux/aio_abi.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <udplane/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

struct attach;
struct lend_memory;
struct shim;
struct sock;
struct pktbuf;

#define TABLE_CHUNK  1024
#define TABLE_CHUNKS 1024

/* Which other processes have our sockets open: holders.c, share.c, lend.c. Under the control
 * lock. */
struct share {
	int fd; /* the file with the locks; -1 if not made yet */
	dev_t dev;
	ino_t ino;
	bool lost;   /* it cannot be known any more */
	bool all;    /* one lock stands for all sockets of this process */
	int pipe[2]; /* for the child that is being forked */
	int *child;  /* read ends of the pipes of children that may not have locked yet */
	uint32_t child_cnt;
	struct lend_memory *memory; /* the file's head; NULL if it cannot be had */
	int bells;    /* epoll instance of those of sockets that are lent to this process; -1 */
	bool guarded; /* a thread waits for them */
};

/* The control socket's directory: dir.c. Under the control lock. */
struct dir {
	int fd;	    /* -1: not kept */
	bool known; /* dev and ino are those of what is kept, or may not be */
	dev_t dev;
	ino_t ino;
};

/* A wait in which the kernel decides about SA_RESTART: restart.c. Of the thread in tid. */
struct waiter {
	uint32_t tid;	      /* atomic; 0: free */
	bool polling, timing; /* poll and timer are submitted */
	int event_fd, timer_fd;
	uintptr_t frame;
	aio_context_t aio;			 /* 0: not made yet; atomic */
	uint64_t round, poll_round, timer_round; /* aio_data */
	uint64_t owed; /* completions seen, but not in event_fd's counts yet */
	struct iocb poll, timer;
};
#define RESTART_WAITERS 64 /* further waiters use ppoll() */

struct context {
	uint32_t late; /* atomic: some sock has life.late set, or is still to be detached */
	struct share share;
	struct attach *att;	 /* under the control lock */
	uint64_t next_attach_ns; /* under the control lock */
	uint64_t attach_wait_ns; /* under the control lock */
	/* under the control lock: a connection whose HELLO has not been answered yet. hello_ns
	 * is 0 if there is none. */
	struct control hello;
	uint64_t hello_ns; /* under the control lock */
	uint64_t spin_ns;
	const struct shim *shim; /* NULL in libudplane itself */
	uint32_t claiming;	 /* atomic: a socket of the shim is being claimed */
	int yield; /* UDPLANE_YIELD: 1 or 0; -1 if not set: depends on the number of CPUs */
	int log;
	bool disabled;
	bool chroot; /* UDPLANE_CHROOT */
	char path[108];
	struct dir dir;
	struct lock info_lock;
	uint32_t reason; /* why there is no attachment: under info_lock */
	char text[UDPLANE_TEXT_LEN];
	struct lock table_lock;
	struct sock *free_socks;
	struct sock **chunk[TABLE_CHUNKS]; /* atomic */
	struct lock buf_lock;
	struct pktbuf *bufs;
	uint32_t buf_cnt;
	uint32_t handlers;    /* atomic: enum handlers, as of handlers_ns */
	uint64_t handlers_ns; /* atomic; 0 if not read yet */
	struct waiter waiter[RESTART_WAITERS];
};

extern struct context context;

/* Writes a line to stderr if UDPLANE_LOG is at least level. */
void context_log(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Notes why there is no attachment, and logs it if it is new. */
void context_set_reason(uint32_t reason, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Returns err; or if it is negative, sets errno to -err and returns -1. */
int set_errno(int err);
/* Returns the name of a reason of reasons.h, such as "no_sidecar"; "unknown" for another number. */
const char *reason_name(uint32_t reason);

#ifdef __cplusplus
}
#endif

#endif
