/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors for the program when it has none left.
 *
 * RLIMIT_NOFILE is the program's, and the library takes two of its numbers for each socket. So it
 * takes half of them at most (own_room()). A program that needs more gets them back here, and half
 * as many are taken from then on.
 *
 * What libc opens for itself (opendir(3), getaddrinfo(3)) and descriptors that come in a message
 * are not seen.
 */
#include "client/preload/room.h"
#include "client/claim.h"
#include "client/lock.h"
#include "client/own.h"
#include "client/preload/adopt.h"
#include "client/preload/process.h"
#include "client/sock.h"
#include "client/table.h"
#include <stdarg.h>
#include <stddef.h>

#include "client/preload/entry.h"

#define SQUEEZES 32 /* so many leave the library none */

static void give(struct sock *s, void *arg)
{
	(void)arg;
	if (own_room() < 0)
		claim_give_descriptors(s);
}

bool room_make(void)
{
	int err = errno, had = own_taken();
	struct ctl_state st;

	if (had && shim_works() && process_is_ours()) {
		ctl_lock(&st);
		for (int i = 0; i < SQUEEZES && own_taken() == had; i++) {
			own_squeeze();
			if (own_room() < 0)
				table_each(give, NULL);
		}
		ctl_unlock(&st);
	}
	errno = err;
	return own_taken() < had;
}

/* open(2) has a mode if it may make a file. */
#define OPEN(r, name, ...)                                        \
	do {                                                      \
		va_list ap;                                       \
		mode_t mode;                                      \
                                                                  \
		va_start(ap, flags);                              \
		mode = va_arg(ap, mode_t);                        \
		va_end(ap);                                       \
		WITH_ROOM(r, real_##name(__VA_ARGS__, mode), -1); \
	} while (0)

ENTRY int open(const char *path, int flags, ...)
{
	int fd;

	OPEN(fd, open, path, flags);
	return fd;
}

ENTRY int openat(int dir, const char *path, int flags, ...)
{
	int fd;

	OPEN(fd, openat, dir, path, flags);
	return fd;
}

/* Without O_LARGEFILE a program for 32 bits could not open a large file. */
_Static_assert(sizeof(off_t) == sizeof(off64_t), "open() and open64() are the same");
ENTRY int open64(const char *path, int flags, ...) __attribute__((alias("open")));
ENTRY int openat64(int dir, const char *path, int flags, ...) __attribute__((alias("openat")));

ENTRY int creat(const char *path, mode_t mode)
{
	return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

ENTRY int creat64(const char *path, mode_t mode) __attribute__((alias("creat")));

ENTRY FILE *fopen(const char *path, const char *mode)
{
	FILE *f;

	WITH_ROOM(f, real_fopen(path, mode), NULL);
	return f;
}

ENTRY FILE *fopen64(const char *path, const char *mode) __attribute__((alias("fopen")));

#define ROOMY(name, params, ...)                            \
	ENTRY int name params                               \
	{                                                   \
		int r;                                      \
                                                            \
		WITH_ROOM(r, real_##name(__VA_ARGS__), -1); \
		return r;                                   \
	}

ROOMY(accept, (int fd, struct sockaddr *addr, socklen_t *len), fd, addr, len)
ROOMY(accept4, (int fd, struct sockaddr *addr, socklen_t *len, int flags), fd, addr, len, flags)
ROOMY(socketpair, (int domain, int type, int protocol, int fd[2]), domain, type, protocol, fd)
ROOMY(pipe, (int fd[2]), fd)
ROOMY(pipe2, (int fd[2], int flags), fd, flags)
ROOMY(eventfd, (unsigned int value, int flags), value, flags)
ROOMY(timerfd_create, (clockid_t clock, int flags), clock, flags)
