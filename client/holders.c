/* SPDX-License-Identifier: Apache-2.0 */
/* Which processes have a socket open, and which read it (lend.h). Each holds a POSIX lock on one
 * anonymous file, which all descendants share, at the byte SO_COOKIE of the socket, and others for
 * the other parts. The kernel releases these locks when
 * the process ends, and at execve(2), which closes the file. A child takes its locks before it
 * closes its end of a pipe that the parent made at the fork; until then the parent counts it as
 * a holder of all sockets. */
#include "client/holders.h"
#include "client/context.h"
#include "client/lend_memory.h"
#include "client/own.h"
#include "client/queue.h"
#include "client/sock.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Returns false if the number is that of another file: the program may close descriptors that it
 * does not know. */
static bool holders_file_is_ours(void)
{
	struct share *f = &context.share;
	struct stat st;

	return f->fd >= 0 && fstat(f->fd, &st) == 0 && st.st_dev == f->dev && st.st_ino == f->ino;
}

bool holders_open(void)
{
	struct share *f = &context.share;
	struct stat st;

	if (f->lost || f->fd >= 0) {
		/* descendants have their locks on the old file, so a new one would not show them */
		f->lost |= !holders_file_is_ours();
		return !f->lost;
	}
	f->fd = own_take(memfd_create("udplane-share", MFD_CLOEXEC));
	if (f->fd < 0 || fstat(f->fd, &st)) {
		f->lost = true;
		return false;
	}
	f->dev = st.st_dev;
	f->ino = st.st_ino;
	lend_open();
	return true;
}

static bool holders_fcntl(const struct sock *s, enum holders_part part, int cmd, short type,
			  struct flock *l)
{
	uint64_t mask = sizeof(off_t) == 8 ? (UINT64_C(1) << 60) - 1 : INT32_MAX;

	*l = (struct flock){.l_type = type,
			    .l_whence = SEEK_SET,
			    .l_start = (off_t)((s->cookie & mask) | ((uint64_t)part << 60)),
			    .l_len = 1};
	if (part != HOLDERS_OPEN && sizeof(off_t) < 8)
		return false;
	if (cmd == F_SETLK && context.share.all) {
		l->l_start = 0;
		l->l_len = 0; /* the whole file */
	}
	return fcntl(context.share.fd, cmd, l) == 0;
}

bool holders_add(struct sock *s)
{
	return holders_lock(s, HOLDERS_OPEN, F_RDLCK);
}

bool holders_lock(const struct sock *s, enum holders_part part, short type)
{
	struct flock l;

	if (part != HOLDERS_OPEN && context.share.all) /* its one lock stands for all parts */
		return type != F_WRLCK;
	if (part != HOLDERS_OPEN && !holders_file_is_ours()) {
		errno = EBADF;
		return false;
	}
	return holders_fcntl(s, part, F_SETLK, type, &l);
}

bool holders_others(const struct sock *s, enum holders_part part)
{
	struct flock l;

	return !s->cookie || !holders_file_is_ours() ||
	       !holders_fcntl(s, part, F_GETLK, F_WRLCK, &l) || l.l_type != F_UNLCK;
}

bool holders_alone(struct sock *s)
{
	struct share *f = &context.share;
	uint32_t n = 0;

	for (uint32_t i = 0; i < f->child_cnt; i++) { /* children that may not have locked yet */
		struct pollfd p = {.fd = f->child[i]};

		if (poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLNVAL)))
			close(f->child[i]);
		else
			f->child[n++] = f->child[i];
	}
	f->child_cnt = n;
	return !n && !f->lost && !holders_others(s, HOLDERS_OPEN);
}

void holders_forget(struct sock *s)
{
	queue_drop(s);
	if (__atomic_load_n(&s->rx.shared, __ATOMIC_RELAXED) && !context.share.all &&
	    holders_file_is_ours())
		for (int part = HOLDERS_OPEN; part <= HOLDERS_CLAIM; part++)
			holders_lock(s, (enum holders_part)part, F_UNLCK);
	free(s->life.options);
	s->life.options = NULL;
}
