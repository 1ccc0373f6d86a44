/* SPDX-License-Identifier: Apache-2.0 */
/* The life of descriptors under the shim: socket(2), dup(2), fcntl(2), close(2) and their kin.
 * Other calls on a socket, too: names, options. */
#include "client/base.h"
#include "client/close.h"
#include "client/lend.h"
#include "client/life.h"
#include "client/option.h"
#include "client/own.h"
#include "client/preload/adopt.h"
#include "client/preload/process.h"
#include "client/preload/room.h"
#include "client/sock.h"
#include "client/socket.h"
#include "client/table.h"
#include <errno.h>
#include <stdarg.h>
#include <udplane/udplane.h>

#include "client/preload/entry.h"

ENTRY int socket(int domain, int type, int protocol)
{
	int fd;

	WITH_ROOM(fd, real_socket(domain, type, protocol), -1);
	if (fd >= 0)
		shim_adopt_new(fd, domain, type, protocol);
	return fd;
}

/* The library's call on a socket of its own; if that was closed meanwhile, the kernel's. */
#define EITHER(name, ...)                                    \
	do {                                                 \
		if (table_get(fd)) {                         \
			int r = udplane_##name(__VA_ARGS__); \
			if (r >= 0 || errno != EBADF)        \
				return r;                    \
		}                                            \
		return real_##name(__VA_ARGS__);             \
	} while (0)

ENTRY int bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	int r;

	while ((r = table_get(fd) ? udplane_bind(fd, addr, len) : real_bind(fd, addr, len)) < 0 &&
	       errno == EADDRINUSE && shim_bind_again(fd))
		;
	return r < 0 && errno == EBADF ? real_bind(fd, addr, len) : r;
}

ENTRY int connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	EITHER(connect, fd, addr, len);
}

ENTRY int shutdown(int fd, int how)
{
	EITHER(shutdown, fd, how);
}

ENTRY int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	EITHER(setsockopt, fd, level, name, value, len);
}

ENTRY int getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	EITHER(getsockopt, fd, level, name, value, len);
}

ENTRY int ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	EITHER(ioctl, fd, request, arg);
}

/* --- duplicates --- */

ENTRY int dup(int fd)
{
	int to;

	WITH_ROOM(to, real_dup(fd), -1);
	if (to >= 0 && shim_knows(fd))
		shim_link(fd, to);
	return to;
}

/* What to was before ends with the call, if fd is open. */
static void replaces(int fd, int to)
{
	int err = errno;

	if (fd != to && shim_knows(to) && real_fcntl(fd, F_GETFD) >= 0)
		shim_forget(to);
	errno = err;
}

ENTRY int dup2(int fd, int to)
{
	int r;

	replaces(fd, to);
	r = real_dup2(fd, to);
	if (r >= 0 && shim_knows(fd))
		shim_link(fd, r);
	return r;
}

ENTRY int dup3(int fd, int to, int flags)
{
	int r;

	if (!(flags & ~O_CLOEXEC))
		replaces(fd, to);
	r = real_dup3(fd, to, flags);
	if (r >= 0 && shim_knows(fd))
		shim_link(fd, r);
	return r;
}

/* With the reference to s, which is dropped. */
static int set_flags(struct sock *s, int fd, long flags)
{
	bool held = lend_change(s);
	int r = real_fcntl(fd, F_SETFL, flags), err = errno;

	if (r >= 0)
		sock_flags_changed(s);
	lend_changed(s, held);
	sock_unref(s);
	errno = err;
	return r;
}

ENTRY int fcntl(int fd, int cmd, ...)
{
	struct sock *s;
	va_list ap;
	long arg;
	int r;

	va_start(ap, cmd);
	arg = va_arg(ap, long);
	va_end(ap);
	if (cmd == F_SETFL && (s = sock_get(fd)) != NULL)
		return set_flags(s, fd, arg);
	WITH_ROOM(r, real_fcntl(fd, cmd, arg), -1);
	if (r >= 0 && (cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC) && shim_knows(fd))
		shim_link(fd, r);
	return r;
}

/* What a program calls that was built with 64-bit file offsets. */
ENTRY int fcntl64(int fd, int cmd, ...) __attribute__((alias("fcntl")));

/* --- ends --- */

ENTRY int close(int fd)
{
	if (shim_knows(fd)) {
		shim_forget(fd);
	} else if (unlikely(shim_hides(fd))) { /* a program that closes all numbers */
		errno = EBADF;
		return -1;
	}
	return real_close(fd);
}

ENTRY int fclose(FILE *f)
{
	int fd = f ? fileno(f) : -1;

	if (fd >= 0 && shim_knows(fd)) {
		fflush(f);
		shim_forget(fd);
	}
	return real_fclose(f);
}

/* Closes a range but for the library's own descriptors. */
static int close_all_but_own(unsigned int first, unsigned int last, int flags)
{
	unsigned int low = (unsigned int)own_lowest(), high = (unsigned int)own_highest();

	for (unsigned int fd = low > first ? low : first; fd <= last && fd <= high; fd++) {
		if (!own_is((int)fd))
			continue;
		if (fd > first && real_close_range(first, fd - 1, flags))
			return -1;
		first = fd + 1;
	}
	return first <= last ? real_close_range(first, last, flags) : 0;
}

ENTRY int close_range(unsigned int first, unsigned int last, int flags);
ENTRY int close_range(unsigned int first, unsigned int last, int flags)
{
	if (first <= last && !(flags & 4) && shim_works() &&
	    process_is_ours()) { /* CLOSE_RANGE_CLOEXEC */
		for (unsigned int fd = first; fd <= last && fd < TABLE_CHUNK * TABLE_CHUNKS; fd++)
			if (shim_knows((int)fd))
				shim_forget((int)fd);
		return close_all_but_own(first, last, flags);
	}
	return real_close_range(first, last, flags);
}

ENTRY void closefrom(int low);
ENTRY void closefrom(int low)
{
	int max = (int)sysconf(_SC_OPEN_MAX);

	if (low < 0)
		low = 0;
	if (close_range((unsigned int)low, ~0u, 0) == 0)
		return;
	for (int fd = low; fd < max; fd++)
		close(fd);
}
