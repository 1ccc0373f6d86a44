/* SPDX-License-Identifier: Apache-2.0 */
/* Locks that know their owner, and the control lock, under which signals are blocked. */
#include "client/lock.h"
#include "client/base.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <udplane/clock.h>
#include <udplane/ring.h>
#include <unistd.h>

/* Set while the control lock is held. */
static pthread_mutex_t ctl_mutex = PTHREAD_MUTEX_INITIALIZER;
static uintptr_t ctl_owner; /* atomic: thread_id() */
static const struct ctl_state *ctl_held;

static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};

static bool is_fault(int signo)
{
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		if (faults[i] == signo)
			return true;
	return false;
}

bool ctl_mine(void)
{
	return __atomic_load_n(&ctl_owner, __ATOMIC_RELAXED) == thread_id();
}

/* Returns true if this thread may be in a signal handler. Handlers run with their signal
 * blocked, except with SA_NODEFER. (Those of sanitizers and crash reporters use that; they jump
 * or do not return.) */
static bool in_handler(void)
{
	struct sigaction sa;
	sigset_t mask;

	if (ctl_mine())
		mask = ctl_held->mask;
	else if (pthread_sigmask(SIG_BLOCK, NULL, &mask))
		return true;
	for (int i = 1; i < NSIG; i++) {
		if (sigismember(&mask, i) == 1)
			return true;
		if (!is_fault(i) && !sigaction(i, NULL, &sa) && (sa.sa_flags & SA_NODEFER) &&
		    sa.sa_handler != SIG_DFL && sa.sa_handler != SIG_IGN)
			return true;
	}
	return false;
}

/* A handler's frames lie below those that it has interrupted, if they are on the same stack. */
bool frame_is_gone(uintptr_t noted, uintptr_t frame)
{
	stack_t ss;

	if (sigaltstack(NULL, &ss) == 0 && (ss.ss_flags & SS_ONSTACK))
		return false;
	if (frame >= noted && frame - noted < 1 << 20)
		return true;
	return !in_handler();
}

enum lock_result lock_wait(struct lock *l, uintptr_t frame)
{
	enum lock_result got = LOCK_BUSY;
	uint64_t end = 0;

	if (lock_mine(l)) {
		if (!frame_is_gone(l->frame, frame))
			return LOCK_BUSY;
		l->frame = frame;
		return LOCK_STOLEN;
	}
	__atomic_fetch_add(&l->waiters, 1, __ATOMIC_RELAXED);
	for (uint32_t i = 0;; i++) {
		if (!__atomic_load_n(&l->owner, __ATOMIC_RELAXED) && lock_try(l)) {
			l->frame = frame;
			got = LOCK_TAKEN;
			break;
		}
		if (i < 100) {
			udplane_pause();
		} else if (i < 200) {
			sched_yield();
		} else { /* the holder may have a lower priority: let it run */
			end = end ? end : clock_now_ns() + LOCK_PATIENCE_NS;
			syscall(SYS_nanosleep, &(struct timespec){.tv_nsec = 20000}, NULL);
			if (clock_now_ns() > end)
				break;
		}
	}
	__atomic_fetch_sub(&l->waiters, 1, __ATOMIC_RELAXED);
	return got;
}

bool lock_insist(struct lock *l)
{
	for (int i = 0; i < 20; i++) {
		if (lock_take(l))
			return true;
		if (lock_mine(l))
			break;
	}
	return false;
}

/* --- the control lock --- */

static void ctl_begin(struct ctl_state *st)
{
	sigset_t most;

	sigfillset(&most);
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		sigdelset(&most, faults[i]);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &st->cancel);
	pthread_sigmask(SIG_BLOCK, &most, &st->mask);
}

void ctl_end(const struct ctl_state *st)
{
	int state;

	pthread_sigmask(SIG_SETMASK, &st->mask, NULL);
	pthread_setcancelstate(st->cancel, &state);
}

static void ctl_own(const struct ctl_state *st)
{
	ctl_held = st;
	__atomic_store_n(&ctl_owner, thread_id(), __ATOMIC_RELAXED);
}

void ctl_lock(struct ctl_state *st)
{
	ctl_begin(st);
	pthread_mutex_lock(&ctl_mutex);
	ctl_own(st);
}

bool ctl_trylock(struct ctl_state *st)
{
	ctl_begin(st);
	if (pthread_mutex_trylock(&ctl_mutex)) {
		ctl_end(st);
		return false;
	}
	ctl_own(st);
	return true;
}

void ctl_unlock(const struct ctl_state *st)
{
	__atomic_store_n(&ctl_owner, 0, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&ctl_mutex);
	ctl_end(st);
}

bool ctl_lock_until(struct ctl_state *st, const struct timespec *until)
{
	struct ctl_state own;

	ctl_begin(&own);
	if (pthread_mutex_timedlock(&ctl_mutex, until)) {
		ctl_end(&own);
		return false;
	}
	*st = own;
	ctl_own(st);
	return true;
}

bool ctl_forked(void)
{
	bool mine = ctl_mine();

	pthread_mutex_init(&ctl_mutex, NULL);
	ctl_owner = 0;
	return mine;
}
