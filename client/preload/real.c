/* SPDX-License-Identifier: Apache-2.0 */
/* See real.h. */
#include "client/preload/real.h"
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "client/preload/entry.h"

enum {
#define X(result, name, params, args) REAL_##name,
	REAL_CALLS(X)
#undef X
		REAL_fcntl,
	REAL_ioctl,
	REAL_syscall,
	REAL_CNT
};

static const char *const names[REAL_CNT] = {
#define X(result, name, params, args) [REAL_##name] = #name,
	REAL_CALLS(X)
#undef X
		[REAL_fcntl] = "fcntl",
	[REAL_ioctl] = "ioctl",
	[REAL_syscall] = "syscall",
};

static void *found[REAL_CNT];

/* Of a call that this libc does not have. */
static long missing(void)
{
	errno = ENOSYS;
	return -1;
}

static void *look_up(int call)
{
	void *p = dlsym(RTLD_NEXT, names[call]);

	if (!p)
		p = (void *)(uintptr_t)missing;
	__atomic_store_n(&found[call], p, __ATOMIC_RELAXED);
	return p;
}

static inline void *real(int call)
{
	void *p = __atomic_load_n(&found[call], __ATOMIC_RELAXED);

	return __builtin_expect(p != NULL, 1) ? p : look_up(call);
}

#define X(result, name, params, args)                             \
	result real_##name params                                 \
	{                                                         \
		return ((result(*) params)real(REAL_##name))args; \
	}
REAL_CALLS(X)
#undef X

int real_fcntl(int fd, int cmd, ...)
{
	va_list ap;
	long arg;

	va_start(ap, cmd);
	arg = va_arg(ap, long);
	va_end(ap);
	return ((int (*)(int, int, ...))real(REAL_fcntl))(fd, cmd, arg);
}

int real_ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	long arg;

	va_start(ap, request);
	arg = va_arg(ap, long);
	va_end(ap);
	return ((int (*)(int, unsigned long, ...))real(REAL_ioctl))(fd, request, arg);
}

__attribute__((no_sanitize_address)) long real_syscall(long number, ...)
{
	va_list ap;
	long a[6];

	va_start(ap, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	return ((long (*)(long, ...))real(REAL_syscall))(number, a[0], a[1], a[2], a[3], a[4],
							 a[5]);
}

int real_close_range(unsigned int first, unsigned int last, int flags)
{
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
	return (int)real_syscall(SYS_close_range, first, last, flags);
}

/* A cancellation point in newer libcs, which have it; a program that calls it runs under one. */
int real_epoll_pwait2(int ep, struct epoll_event *ev, int max, const struct timespec *timeout,
		      const sigset_t *mask)
{
	static int (*p)(int, struct epoll_event *, int, const struct timespec *, const sigset_t *);

	if (!__atomic_load_n(&p, __ATOMIC_RELAXED))
		__atomic_store_n(&p, dlsym(RTLD_NEXT, "epoll_pwait2"), __ATOMIC_RELAXED);
	if (p)
		return p(ep, ev, max, timeout, mask);
	errno = ENOSYS;
	return -1;
}

/* So that no call in a handler has to look up. */
static void __attribute__((constructor)) look_up_all(void)
{
	for (int i = 0; i < REAL_CNT; i++)
		real(i);
}
