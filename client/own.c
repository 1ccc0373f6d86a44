/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors that the library opens in the program: kernel sockets, the control socket,
 * doorbells, wake sockets. They get high numbers, out of the way of programs that expect low
 * ones and of daemons that close "all" up to 1023. A program may still close any number and open
 * a file in its place. So each is checked before it is written to, read, passed on or closed: by
 * a mark, the signal number for SIGIO, which belongs to the open file and which nobody else sets
 * to this value; kernel sockets, whose signal number is the application's, by their cookie. */
#include "client/own.h"
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <udplane/clock.h>
#include <unistd.h>

#define OWN_SIGNO 57
/* Not higher: the table of descriptors is as long as its highest number, and fork copies it. */
#define OWN_BASE 4096

#define SQUEEZE_NS 60000000000ull /* how long the library then takes fewer descriptors */

static int base(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r))
		return 0;
	return r.rlim_cur >= 2 * OWN_BASE ? OWN_BASE : (int)(r.rlim_cur / 2);
}

static int lowest = INT_MAX, highest = -1; /* atomic */
static int taken; /* atomic: marked ones that are open, as far as we know */
/* atomic: how often the program ran out of numbers, and when it last did */
static uint32_t squeezed;
static uint64_t squeezed_ns;

int own_room(void)
{
	uint32_t shift = 1 + __atomic_load_n(&squeezed, __ATOMIC_RELAXED);
	struct rlimit r;

	if (shift > 1 &&
	    clock_coarse_ns() - __atomic_load_n(&squeezed_ns, __ATOMIC_RELAXED) > SQUEEZE_NS) {
		__atomic_store_n(&squeezed, 0, __ATOMIC_RELAXED);
		shift = 1;
	}
	if (getrlimit(RLIMIT_NOFILE, &r) || r.rlim_cur > INT_MAX)
		r.rlim_cur = INT_MAX;
	return (shift < 32 ? (int)(r.rlim_cur >> shift) : 0) - own_taken();
}

int own_taken(void)
{
	return __atomic_load_n(&taken, __ATOMIC_RELAXED);
}

void own_squeeze(void)
{
	__atomic_store_n(&squeezed_ns, clock_coarse_ns(), __ATOMIC_RELAXED);
	__atomic_fetch_add(&squeezed, 1, __ATOMIC_RELAXED);
}

int own_lowest(void)
{
	return __atomic_load_n(&lowest, __ATOMIC_RELAXED);
}

int own_highest(void)
{
	return __atomic_load_n(&highest, __ATOMIC_RELAXED);
}

/* Two threads may be here at once, and one of them in a handler. */
static void note(int fd)
{
	int was = own_lowest();

	while (fd < was && !__atomic_compare_exchange_n(&lowest, &was, fd, false, __ATOMIC_RELAXED,
							__ATOMIC_RELAXED))
		;
	was = own_highest();
	while (fd > was && !__atomic_compare_exchange_n(&highest, &was, fd, false, __ATOMIC_RELAXED,
							__ATOMIC_RELAXED))
		;
}

int own_move(int fd)
{
	int high = fcntl(fd, F_DUPFD_CLOEXEC, base());

	if (high >= 0 || fd >= 0)
		note(high < 0 ? fd : high);
	if (high < 0)
		return fd;
#ifdef __SANITIZE_THREAD__
	dup3(fd, high, O_CLOEXEC); /* it does not see F_DUPFD, and so not what a message orders */
#endif
	close(fd);
	return high;
}

bool own_mark(int fd)
{
	return fcntl(fd, F_SETSIG, OWN_SIGNO) == 0;
}

int own_take(int fd)
{
	fd = own_move(fd);
	if (own_mark(fd)) {
		__atomic_fetch_add(&taken, 1, __ATOMIC_RELAXED);
		return fd;
	}
	close(fd);
	return -1;
}

bool own_is(int fd)
{
	return fd >= 0 && fcntl(fd, F_GETSIG) == OWN_SIGNO;
}

void own_close(int *fd)
{
	if (own_is(*fd))
		close(*fd);
	if (*fd >= 0)
		__atomic_fetch_sub(&taken, 1, __ATOMIC_RELAXED);
	*fd = -1;
}

uint64_t own_cookie(int fd)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) ? 0 : cookie;
}
