/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting as recv(2) waits, in a process that has signal handlers with SA_RESTART and others
 * without.
 *
 * ppoll(2) ends after a handler of either kind, and does not tell which one has run. Blocking the
 * signals and reading them by signalfd(2) does not help: signals sent to the process would go to
 * another thread than Linux chooses, and recv(2) would not end here. But read(2) of an eventfd ends
 * or continues as recv(2) does: the kernel itself decides, and the thread keeps its mask. So the
 * kernel is asked to poll the descriptor (io_submit(2) with IOCB_CMD_POLL) and to count in an
 * eventfd when it is readable, and the thread reads that.
 *
 * The objects for it are kept in context.waiter[] and reused by later waits, so that nothing has to
 * be freed when a thread ends. A wait that a jump or a cancellation has ended leaves its thread's
 * number there, and a submitted poll, which the next wait cancels. A cancelled poll completes
 * later, so the next wait uses another eventfd: otherwise read(2) could return for that completion,
 * and a signal that arrived then would not end the call.
 */
#include "client/restart.h"
#include "client/context.h"
#include "client/lock.h"
#include "client/own.h"
#include "client/raw.h"
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 8 /* for a poll, a timer, and some that were cancelled */

static bool waiter_take_from(struct waiter *w, uint32_t tid, uint32_t self)
{
	return __atomic_compare_exchange_n(&w->tid, &tid, self, false, __ATOMIC_ACQUIRE,
					   __ATOMIC_RELAXED);
}

static bool thread_has_ended(uint32_t tid)
{
	return syscall(SYS_tgkill, getpid(), tid, 0) && errno == ESRCH;
}

enum pick { PICK_MADE, PICK_LEFT, PICK_NEW };

/* PICK_MADE: one that is made and free, or that this thread has left by a jump. PICK_LEFT: one
 * whose thread has ended. PICK_NEW: one that is not made yet. */
static bool waiter_pick(struct waiter *w, enum pick how, uint32_t self, uintptr_t frame)
{
	uint32_t tid = __atomic_load_n(&w->tid, __ATOMIC_RELAXED);

	switch (how) {
	case PICK_MADE:
		if (tid == self)
			return frame_is_gone(w->frame, frame);
		return !tid && __atomic_load_n(&w->aio, __ATOMIC_RELAXED) &&
		       waiter_take_from(w, 0, self);
	case PICK_LEFT:
		return tid && tid != self && thread_has_ended(tid) &&
		       waiter_take_from(w, tid, self);
	default: return !tid && waiter_take_from(w, 0, self);
	}
}

/* Returns NULL if all are in use. */
static struct waiter *waiter_take(uintptr_t frame)
{
	uint32_t self = (uint32_t)syscall(SYS_gettid);

	for (enum pick how = PICK_MADE; how <= PICK_NEW; how++) {
		for (uint32_t i = 0; i < RESTART_WAITERS; i++) {
			struct waiter *w = &context.waiter[i];

			if (!waiter_pick(w, how, self, frame))
				continue;
			w->frame = frame;
			return w;
		}
	}
	return NULL;
}

static void waiter_cancel(struct waiter *w, struct iocb *cb, bool *under_way)
{
	struct io_event none;

	if (*under_way)
		syscall(SYS_io_cancel, w->aio, cb, &none);
	*under_way = false;
}

/* What is still submitted then counts in an eventfd that is not read any more. */
static void waiter_end(struct waiter *w)
{
	waiter_cancel(w, &w->poll, &w->polling);
	waiter_cancel(w, &w->timer, &w->timing);
	own_close(&w->event_fd);
	w->poll_round = 0;
	w->timer_round = 0;
	w->owed = 0;
}

static void waiter_drop(struct waiter *w)
{
	if (w->polling)
		waiter_end(w);
	/* so that a handler that runs while it is taken again does not take it for left behind */
	w->frame = 0;
	__atomic_store_n(&w->tid, 0, __ATOMIC_RELEASE);
}

static int own_or_none(int fd)
{
	return fd < 0 ? fd : own_take(fd);
}

static bool waiter_make(struct waiter *w)
{
	if (!w->aio && syscall(SYS_io_setup, EVENTS, &w->aio)) {
		w->aio = 0;
		return false;
	}
	if (!w->polling && own_is(w->event_fd) && own_is(w->timer_fd))
		return true;
	waiter_end(w);
	w->event_fd = own_or_none(eventfd(0, EFD_CLOEXEC));
	if (!own_is(w->timer_fd))
		w->timer_fd =
			own_or_none(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
	return w->event_fd >= 0 && w->timer_fd >= 0;
}

/* Returns the events that the poll of this round has found; 0 if none yet. */
static int waiter_reap(struct waiter *w)
{
	struct io_event ev[EVENTS];
	struct timespec none = {0, 0};
	long n = syscall(SYS_io_getevents, w->aio, 0L, (long)EVENTS, ev, &none);
	int revents = 0;

	for (long i = 0; i < n; i++) {
		if (ev[i].data == w->timer_round) {
			w->timing = false;
			w->owed++;
		} else if (ev[i].data == w->poll_round) {
			w->polling = false;
			w->owed++;
			revents = (int)ev[i].res;
		}
	}
	return revents;
}

static int submit(struct waiter *w, struct iocb *cb, int fd, uint64_t *round)
{
	*round = ++w->round;
	*cb = (struct iocb){.aio_data = *round,
			    .aio_lio_opcode = IOCB_CMD_POLL,
			    .aio_fildes = (uint32_t)fd,
			    .aio_buf = POLLIN,
			    .aio_flags = IOCB_FLAG_RESFD,
			    .aio_resfd = (uint32_t)w->event_fd};
	return syscall(SYS_io_submit, w->aio, 1L, &cb) == 1 ? 0 : -errno;
}

static int waiter_begin(struct waiter *w, int fd, uint64_t left_ns)
{
	struct itimerspec it = {
		.it_value = {(time_t)(left_ns / 1000000000u), (long)(left_ns % 1000000000u)}};
	uint64_t cnt;
	int err;

	if (!waiter_make(w))
		return -ENOSYS;
	waiter_reap(w);
	if (w->owed && raw_poll(w->event_fd, POLLIN)) /* the timer ran out while nobody waited */
		raw_read(w->event_fd, &cnt, sizeof(cnt));
	w->owed = 0;
	if (timerfd_settime(w->timer_fd, 0, &it, NULL))
		return -ENOSYS;
	if (!w->timing) {
		err = submit(w, &w->timer, w->timer_fd, &w->timer_round);
		if (err)
			return -ENOSYS;
		w->timing = true;
	}
	err = submit(w, &w->poll, fd, &w->poll_round);
	w->polling = !err;
	return err == -EBADF ? err : err ? -ENOSYS : 0;
}

int restart_poll(struct pollfd *p, uint64_t left_ns)
{
	struct waiter *w = waiter_take((uintptr_t)__builtin_frame_address(0));
	uint64_t cnt = 0;
	ssize_t got;
	int n;

	p->revents = 0;
	if (!w)
		return -ENOSYS;
	n = waiter_begin(w, p->fd, left_ns);
	if (!n) {
		got = read(w->event_fd, &cnt, sizeof(cnt)); /* as in ppoll(): it may not return */
		n = got < 0 && errno == EINTR ? -EINTR : 0;
		p->revents = (short)waiter_reap(w);
		w->owed -= got == sizeof(cnt) ? cnt : 0;
	}
	waiter_drop(w);
	if (n == -EBADF)
		p->revents = POLLNVAL;
	return p->revents ? 1 : n;
}

void restart_child(void)
{
	for (uint32_t i = 0; i < RESTART_WAITERS; i++) {
		struct waiter *w = &context.waiter[i];

		own_close(&w->event_fd);
		own_close(&w->timer_fd);
		*w = (struct waiter){.event_fd = -1, .timer_fd = -1}; /* polls are the parent's */
	}
}
