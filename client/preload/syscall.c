/* SPDX-License-Identifier: Apache-2.0 */
/*
 * syscall(2): some libraries (libuv for recvmmsg, sendmmsg and close) make system calls by their
 * numbers although libc has them. A socket that is readable by its ring must be read from it by
 * this road, too. io_uring(7), which libc has no call for, is set up by this road as well.
 */
#include "client/preload/adopt.h"
#include "client/preload/real.h"
#include <stdarg.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "client/preload/entry.h"

#define POINTER(a) ((void *)(uintptr_t)(a))

#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup 425
#endif
#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif

/* Of libcs that are newer than glibc 2.17; defined in epoll.c and fd.c. */
int epoll_pwait2(int ep, struct epoll_event *ev, int max, const struct timespec *timeout,
		 const sigset_t *mask);
int close_range(unsigned int first, unsigned int last, int flags);

static long io_uring_setup(unsigned int entries, void *params)
{
	long fd = real_syscall(SYS_io_uring_setup, entries, params);

	if (fd >= 0)
		shim_leave_all();
	return fd;
}

__attribute__((no_sanitize_address)) ENTRY long syscall(long number, ...)
{
	long a, b, c, d, e, f;
	va_list ap;

	/* All six, as libc does, given or not. */
	va_start(ap, number);
	a = va_arg(ap, long);
	b = va_arg(ap, long);
	c = va_arg(ap, long);
	d = va_arg(ap, long);
	e = va_arg(ap, long);
	f = va_arg(ap, long);
	va_end(ap);
	switch (number) {
	case SYS_recvfrom:
		return recvfrom((int)a, POINTER(b), (size_t)c, (int)d, POINTER(e), POINTER(f));
	case SYS_recvmsg: return recvmsg((int)a, POINTER(b), (int)c);
	case SYS_recvmmsg: return recvmmsg((int)a, POINTER(b), (unsigned int)c, (int)d, POINTER(e));
	case SYS_read: return read((int)a, POINTER(b), (size_t)c);
	case SYS_readv: return readv((int)a, POINTER(b), (int)c);
	case SYS_sendto:
		return sendto((int)a, POINTER(b), (size_t)c, (int)d, POINTER(e), (socklen_t)f);
	case SYS_sendmsg: return sendmsg((int)a, POINTER(b), (int)c);
	case SYS_sendmmsg: return sendmmsg((int)a, POINTER(b), (unsigned int)c, (int)d);
	case SYS_write: return write((int)a, POINTER(b), (size_t)c);
	case SYS_writev: return writev((int)a, POINTER(b), (int)c);
	case SYS_close: return close((int)a);
	case SYS_close_range: return close_range((unsigned int)a, (unsigned int)b, (int)c);
	case SYS_socket: return socket((int)a, (int)b, (int)c);
	case SYS_bind: return bind((int)a, POINTER(b), (socklen_t)c);
	case SYS_connect: return connect((int)a, POINTER(b), (socklen_t)c);
	case SYS_shutdown: return shutdown((int)a, (int)b);
	case SYS_setsockopt: return setsockopt((int)a, (int)b, (int)c, POINTER(d), (socklen_t)e);
	case SYS_getsockopt: return getsockopt((int)a, (int)b, (int)c, POINTER(d), POINTER(e));
	case SYS_dup: return dup((int)a);
	case SYS_dup3: return dup3((int)a, (int)b, (int)c);
	case SYS_fcntl: return fcntl((int)a, (int)b, c);
	case SYS_ioctl: return ioctl((int)a, (unsigned long)b, POINTER(c));
	case SYS_epoll_create1: return epoll_create1((int)a);
	case SYS_epoll_ctl: return epoll_ctl((int)a, (int)b, (int)c, POINTER(d));
	case SYS_epoll_pwait: return epoll_pwait((int)a, POINTER(b), (int)c, (int)d, POINTER(e));
	case SYS_epoll_pwait2:
		return epoll_pwait2((int)a, POINTER(b), (int)c, POINTER(d), POINTER(e));
#ifdef SYS_epoll_wait /* not on newer architectures */
	case SYS_epoll_wait: return epoll_wait((int)a, POINTER(b), (int)c, (int)d);
	case SYS_poll: return poll(POINTER(a), (nfds_t)b, (int)c);
	case SYS_dup2: return dup2((int)a, (int)b);
#endif
	case SYS_io_uring_setup: return io_uring_setup((unsigned int)a, POINTER(b));
	default: return real_syscall(number, a, b, c, d, e, f);
	}
}
