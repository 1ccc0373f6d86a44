/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Included by the compiler before each file of libudplane.so (not of libudplane.a, which is linked
 * against its user's libc). It is built on today's glibc and must load under glibc 2.17 and under
 * musl, so:
 *
 *   symbols newer than 2.17                here, by the system call or an older interface
 *   pthread_*, which glibc 2.34 moved      portable_pthread.c: where they were, under their old
 *                                          version
 *   what musl does not have                portable.c
 *
 * tests/unit/client/portable_test.sh names a symbol that is in none of them.
 */
#ifndef UDPLANE_CLIENT_PORTABLE_H
#define UDPLANE_CLIENT_PORTABLE_H

#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Before 2.33 it was a macro around __fxstat. The kernel's struct is glibc's and musl's on 64 bits.
 */
static inline int portable_fstat(int fd, struct stat *st)
{
	return (int)syscall(SYS_fstat, fd, st);
}
#define fstat portable_fstat

/* Since 2.27. */
static inline int portable_memfd_create(const char *name, unsigned int flags)
{
	return (int)syscall(SYS_memfd_create, name, flags);
}
#define memfd_create portable_memfd_create

/* glibc's is a static wrapper around __register_atfork, which musl does not have. */
__attribute__((visibility("hidden"))) int
portable_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void));
#define pthread_atfork portable_atfork

#endif
