/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that are inside a system call on a socket, without a lock. */
#include "client/visit.h"
#include "client/life.h"
#include "client/lock.h"
#include "client/sock.h"
#include "client/visitor.h"
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

void visit_enter(struct sock *s, struct visit *v, uintptr_t frame, bool may_end)
{
	uintptr_t self = thread_id();

	*v = (struct visit){.s = s, .frame = frame};
	for (int i = 0; i < VISITORS; i++) {
		struct visitor *e = &s->visitor[i];
		uintptr_t thread = __atomic_load_n(&e->thread, __ATOMIC_RELAXED);

		if (thread == self
			    ? frame_is_gone(__atomic_load_n(&e->frame, __ATOMIC_RELAXED), frame)
			    : !thread && __atomic_compare_exchange_n(&e->thread, &thread, self,
								     false, __ATOMIC_SEQ_CST,
								     __ATOMIC_RELAXED)) {
			v->entry = e;
			break;
		}
	}
	if (!v->entry) {
		sock_ref(s);
		return;
	}
	__atomic_store_n(&v->entry->sleeps, false, __ATOMIC_RELAXED);
	__atomic_store_n(&v->entry->frame, frame, __ATOMIC_RELAXED);
	if (__atomic_load_n(&v->entry->tid_of, __ATOMIC_RELAXED) != self) {
		__atomic_store_n(&v->entry->tid, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&v->entry->tid_of, self, __ATOMIC_RELEASE);
	}
	if (may_end)
		visit_may_end(v);
}

void visit_sleeps(struct visit *v)
{
	if (v->entry)
		__atomic_store_n(&v->entry->sleeps, true, __ATOMIC_RELAXED);
}

void visit_may_end(struct visit *v)
{
	if (v->entry && !__atomic_load_n(&v->entry->tid, __ATOMIC_RELAXED))
		__atomic_store_n(&v->entry->tid, (uint32_t)syscall(SYS_gettid), __ATOMIC_RELAXED);
}

bool visit_lasts(const struct visit *v)
{
	return !v->entry || (__atomic_load_n(&v->entry->thread, __ATOMIC_RELAXED) == thread_id() &&
			     __atomic_load_n(&v->entry->frame, __ATOMIC_RELAXED) == v->frame);
}

bool visit_end(struct visit *v)
{
	uintptr_t self = thread_id();

	if (!v->entry) {
		sock_unref(v->s);
		return true;
	}
	if (!visit_lasts(v) || !__atomic_compare_exchange_n(&v->entry->thread, &self, 0, false,
							    __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
		return false;
	if (__atomic_load_n(&v->s->life.refs, __ATOMIC_SEQ_CST) == 0)
		sock_free_unused(v->s);
	return true;
}

/* An entry of this thread is a call that it has left by a jump, or that the handler that runs
 * now has interrupted; the latter notices by itself. */
static bool visitor_gone(const struct visitor *e, uintptr_t thread)
{
	uint32_t tid;

	if (thread == thread_id())
		return true;
	if (__atomic_load_n(&e->tid_of, __ATOMIC_ACQUIRE) != thread)
		return false;
	tid = __atomic_load_n(&e->tid, __ATOMIC_RELAXED);
	return tid && syscall(SYS_tgkill, getpid(), tid, 0) && errno == ESRCH;
}

void sock_forget_sleepers(struct sock *s)
{
	for (int i = 0; i < VISITORS; i++) {
		struct visitor *e = &s->visitor[i];
		uintptr_t thread = __atomic_load_n(&e->thread, __ATOMIC_SEQ_CST);

		if (thread && __atomic_load_n(&e->sleeps, __ATOMIC_RELAXED))
			__atomic_compare_exchange_n(&e->thread, &thread, 0, false, __ATOMIC_SEQ_CST,
						    __ATOMIC_RELAXED);
	}
}

bool sock_awaited(struct sock *s)
{
	for (int i = 0; i < VISITORS; i++) {
		struct visitor *e = &s->visitor[i];
		uintptr_t thread = __atomic_load_n(&e->thread, __ATOMIC_SEQ_CST);

		if (thread && !__atomic_load_n(&e->sleeps, __ATOMIC_RELAXED) &&
		    !visitor_gone(e, thread))
			return true;
	}
	return __atomic_load_n(&s->rx.direct, __ATOMIC_RELAXED) != 0;
}

bool sock_visited(struct sock *s)
{
	bool any = false;

	for (int i = 0; i < VISITORS; i++) {
		struct visitor *e = &s->visitor[i];
		uintptr_t thread = __atomic_load_n(&e->thread, __ATOMIC_SEQ_CST);

		if (!thread)
			continue;
		if (visitor_gone(e, thread))
			__atomic_compare_exchange_n(&e->thread, &thread, 0, false, __ATOMIC_SEQ_CST,
						    __ATOMIC_RELAXED);
		else
			any = true;
	}
	return any || __atomic_load_n(&s->life.refs, __ATOMIC_SEQ_CST) > 1;
}
