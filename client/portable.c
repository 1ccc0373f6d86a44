/* SPDX-License-Identifier: Apache-2.0 */
/* See portable.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HIDDEN __attribute__((visibility("hidden")))

/* Defined by the C runtime. It names this library, so that glibc drops the handlers when it is
 * closed. */
extern void *__dso_handle HIDDEN;

/* Each libc has one of them; weak, since the other is missing. The names differ from
 * <pthread.h>, which would bring in glibc's static wrapper. */
extern int of_glibc(void (*prepare)(void), void (*parent)(void), void (*child)(void),
		    void *dso) __asm__("__register_atfork") __attribute__((weak));
extern int of_musl(void (*prepare)(void), void (*parent)(void),
		   void (*child)(void)) __asm__("pthread_atfork") __attribute__((weak));

int portable_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void)) HIDDEN;
int portable_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void))
{
	if (of_glibc)
		return of_glibc(prepare, parent, child, &__dso_handle);
	return of_musl ? of_musl(prepare, parent, child) : ENOSYS;
}

/* ---- _FORTIFY_SOURCE: the calls that gcc makes of them; musl has none ---- */

int __snprintf_chk(char *out, size_t size, int flag, size_t room, const char *format, ...) HIDDEN
	__attribute__((format(printf, 5, 6)));
int __vsnprintf_chk(char *out, size_t size, int flag, size_t room, const char *format,
		    va_list args) HIDDEN __attribute__((format(printf, 5, 0)));
void *__memcpy_chk(void *to, const void *from, size_t len, size_t room) HIDDEN;
void *__memmove_chk(void *to, const void *from, size_t len, size_t room) HIDDEN;
void *__memset_chk(void *to, int byte, size_t len, size_t room) HIDDEN;

int __vsnprintf_chk(char *out, size_t size, int flag, size_t room, const char *format, va_list args)
{
	(void)flag;
	if (size > room)
		abort();
	return vsnprintf(out, size, format, args);
}

int __snprintf_chk(char *out, size_t size, int flag, size_t room, const char *format, ...)
{
	va_list args;
	int len;

	va_start(args, format);
	len = __vsnprintf_chk(out, size, flag, room, format, args);
	va_end(args);
	return len;
}

void *__memcpy_chk(void *to, const void *from, size_t len, size_t room)
{
	if (len > room)
		abort();
	return memcpy(to, from, len);
}

void *__memmove_chk(void *to, const void *from, size_t len, size_t room)
{
	if (len > room)
		abort();
	return memmove(to, from, len);
}

void *__memset_chk(void *to, int byte, size_t len, size_t room)
{
	if (len > room)
		abort();
	return memset(to, byte, len);
}
