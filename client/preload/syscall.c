/* SPDX-License-Identifier: Apache-2.0 */
/*
 * syscall(2): some libraries (libuv for recvmmsg, sendmmsg and close) make system calls by their
 * numbers although libc has them. A socket that is readable by its ring must be read from it by
 * this road, too.
 */
#include "client/preload/real.h"
#include <stdarg.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "client/preload/entry.h"

#define POINTER(a) ((void *)(uintptr_t)(a))

ENTRY long syscall(long number, ...)
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
	default: return real_syscall(number, a, b, c, d, e, f);
	}
}
