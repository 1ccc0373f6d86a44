/* SPDX-License-Identifier: Apache-2.0 */
/* SIGSEGV and SIGBUS, as far as the library has caused them. All others are the program's: its
 * handlers are called as Linux would call them, and sigaction() and signal() show them. */
#include "client/fault.h"
#include "client/base.h"
#include "client/preload/process.h"
#include "client/preload/real.h"
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <ucontext.h>

#include "client/preload/entry.h"

static const int signals[] = {SIGSEGV, SIGBUS};
#define SIGNAL_CNT (sizeof(signals) / sizeof(signals[0]))

__thread struct fault fault;
bool fault_handled;
static struct sigaction theirs[SIGNAL_CNT]; /* what the program has set */

/* Returns SIGNAL_CNT for other signals. */
static size_t index_of(int signal)
{
	size_t i = 0;

	while (i < SIGNAL_CNT && signals[i] != signal)
		i++;
	return i;
}

/* A fault happens again when the handler returns, and ends the process where it happened; a signal
 * that was sent is sent again. */
static void take_default(int signal, const siginfo_t *info)
{
	struct sigaction none = {.sa_handler = SIG_DFL};

	real_sigaction(signal, &none, NULL);
	if (info->si_code <= 0)
		raise(signal);
}

static void raised(int signal, siginfo_t *info, void *context)
{
	ucontext_t *u = context;
	struct sigaction a = theirs[index_of(signal)];

	if (__atomic_load_n(&fault.armed, __ATOMIC_RELAXED) && info->si_code > 0) {
		fault_end();
		sigprocmask(SIG_SETMASK, &u->uc_sigmask, NULL); /* as returning would do */
		__builtin_longjmp(fault.env, 1);
	}
	if (a.sa_flags & SA_RESETHAND)
		theirs[index_of(signal)] = (struct sigaction){.sa_handler = SIG_DFL};
	if (a.sa_flags & SA_SIGINFO)
		a.sa_sigaction(signal, info, context);
	else if (a.sa_handler == SIG_DFL || (a.sa_handler == SIG_IGN && info->si_code > 0))
		take_default(signal, info);
	else if (a.sa_handler != SIG_IGN)
		a.sa_handler(signal);
}

/* The program's flags and mask, and our handler. */
static int install(int signal, const struct sigaction *a)
{
	struct sigaction mine = *a;

	mine.sa_sigaction = raised;
	mine.sa_flags = (a->sa_flags | SA_SIGINFO) & ~SA_RESETHAND;
	return real_sigaction(signal, &mine, NULL);
}

void fault_handle(void)
{
	for (size_t i = 0; i < SIGNAL_CNT; i++)
		if (real_sigaction(signals[i], NULL, &theirs[i]) || install(signals[i], &theirs[i]))
			return;
	__atomic_store_n(&fault_handled, true, __ATOMIC_RELEASE);
}

bool fault_copy(void *to, const void *from, size_t len)
{
	if (pointer_is_bad(to) || pointer_is_bad(from) || fault_begin())
		return false;
	memcpy(to, from, len);
	fault_end();
	return true;
}

ENTRY int sigaction(int signal, const struct sigaction *action, struct sigaction *old)
{
	size_t i = index_of(signal);
	struct sigaction before;

	if (i == SIGNAL_CNT || !__atomic_load_n(&fault_handled, __ATOMIC_ACQUIRE) ||
	    !process_is_ours())
		return real_sigaction(signal, action, old);
	before = theirs[i];
	if (action) {
		struct sigaction a = *action;

		if (install(signal, &a))
			return -1;
		theirs[i] = a;
	}
	if (old)
		*old = before;
	return 0;
}

ENTRY sighandler_t signal(int number, sighandler_t handler)
{
	struct sigaction a = {.sa_handler = handler, .sa_flags = SA_RESTART}, old;

	if (index_of(number) == SIGNAL_CNT)
		return real_signal(number, handler);
	sigaddset(&a.sa_mask, number);
	return sigaction(number, &a, &old) ? SIG_ERR : old.sa_handler;
}
