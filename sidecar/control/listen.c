/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket that clients connect to. A lock file beside it is held while udplaned runs, so
 * only one udplaned at a time removes a stale socket. */
#include "sidecar/base/log.h"
#include "sidecar/control/internal.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LOCK_TRIES 50 /* 10 ms apart */
#define CONNECT_S  5  /* seconds that a full queue of another udplaned may last */

static int make_parent(const char *path)
{
	char dir[CONFIG_SOCKET_SIZE];
	char *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (!slash || slash == dir)
		return 0;
	*slash = 0;
	return mkdir(dir, 0755) && errno != EEXIST ? -errno : 0;
}

/* Returns true if a process of our user listens on the socket path. A process that can put its own
 * socket there could remove ours as well. */
static bool somebody_listens(struct control *c)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct timeval patience = {.tv_sec = CONNECT_S};
	struct ucred cred = {.uid = (uid_t)-1};
	socklen_t len = sizeof(cred);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	bool listens;

	if (fd < 0)
		return true;
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", c->cfg->socket);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	listens = !connect(fd, (void *)&sun, sizeof(sun)) &&
		  !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) && cred.uid == geteuid();
	shutdown(fd, SHUT_RDWR);
	fd_discard(c, fd);
	return listens;
}

/* Returns 0 if fd is locked, and is the file at path. */
static int lock_is_ours(int fd, const char *path)
{
	struct stat mine, there;

	if (flock(fd, LOCK_EX | LOCK_NB))
		return -errno;
	return fstat(fd, &mine) || stat(path, &there) || mine.st_ino != there.st_ino ||
			       mine.st_dev != there.st_dev
		       ? -ESTALE
		       : 0;
}

/* Puts a file that we have locked in place of `held`, which another process keeps locked. Returns
 * -ESTALE if another udplaned was quicker. */
static int replace_lock(struct control *c, const char *path, int held)
{
	char fresh[CONFIG_SOCKET_SIZE + 32];
	struct stat old, was;
	int fd, err = 0;

	snprintf(fresh, sizeof(fresh), "%s.%d", path, (int)getpid());
	fd = open(fresh, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || fstat(held, &old) || flock(fd, LOCK_EX | LOCK_NB) ||
	    renameat2(AT_FDCWD, fresh, AT_FDCWD, path, RENAME_EXCHANGE))
		err = -errno;
	else if (stat(fresh, &was) ||
		 was.st_ino != old.st_ino) /* not what we wanted to replace: put it back */
		err = renameat2(AT_FDCWD, fresh, AT_FDCWD, path, RENAME_EXCHANGE) ? -errno
										  : -ESTALE;
	if (fd >= 0)
		unlink(fresh);
	if (!err) {
		c->lock_fd = fd;
		return 0;
	}
	if (fd >= 0)
		close(fd);
	return err;
}

/*
 * A process that can read the lock file can lock it, and such a client must not keep udplaned out.
 * So a held lock counts as that of another udplaned only if one listens.
 */
static int take_lock(struct control *c, struct error *error)
{
	char path[CONFIG_SOCKET_SIZE + 8];
	int err = -EAGAIN, fd;

	snprintf(path, sizeof(path), "%s.lock", c->cfg->socket);
	/* a udplaned that was killed holds it until its last thread has gone */
	for (int i = 0; i < LOCK_TRIES && err; i++) {
		if (i)
			poll(NULL, 0, 10);
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0)
			return error_set(
				error, -errno,
				"cannot open %s: %s; make the directory writable for udplaned",
				path, strerror(errno));
		err = lock_is_ours(fd, path);
		if (err == -EWOULDBLOCK && i == LOCK_TRIES - 1 && !somebody_listens(c)) {
			err = replace_lock(c, path, fd);
			close(fd);
			if (!err)
				log_warn("%s is locked, but no udplaned listens there: a client "
					 "holds the lock; the file is replaced",
					 path);
			if (err != -ESTALE)
				break;
			i = 0; /* another udplaned starts */
			continue;
		}
		if (!err)
			c->lock_fd = fd;
		else
			close(fd);
	}
	if (!err)
		return 0;
	return error_set(
		error, -EADDRINUSE,
		"another udplaned serves %s already; stop it, or give this one another --socket",
		c->cfg->socket);
}

/* *gid becomes -1 if no group is configured. */
static int find_group(const char *name, gid_t *gid)
{
	struct group *g = name[0] ? getgrnam(name) : NULL;
	unsigned long number;
	char *end;

	*gid = (gid_t)-1;
	if (!name[0])
		return 0;
	if (g) {
		*gid = g->gr_gid;
		return 0;
	}
	number = strtoul(name, &end, 10);
	if (*end || name[0] < '0' || name[0] > '9' || number >= (gid_t)-1)
		return -ENOENT;
	*gid = (gid_t)number;
	return 0;
}

int listen_open(struct control *c, struct error *error)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	gid_t gid;
	int err = find_group(c->cfg->socket_group, &gid);

	if (err)
		return error_set(error, err, "there is no group \"%s\" (socket_group)",
				 c->cfg->socket_group);
	err = make_parent(c->cfg->socket);
	if (err)
		return error_set(error, err, "cannot make the directory of %s: %s", c->cfg->socket,
				 strerror(-err));
	err = take_lock(c, error);
	if (err)
		return err;
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", c->cfg->socket);
	unlink(sun.sun_path); /* ours by the lock: left by one that was killed */
	c->listen.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	c->listen.ready = session_accept;
	/* The mode last: as it is made, nobody but its owner can connect. */
	if (c->listen.fd < 0 || bind(c->listen.fd, (void *)&sun, sizeof(sun)) ||
	    (gid != (gid_t)-1 && chown(sun.sun_path, (uid_t)-1, gid)) ||
	    chmod(sun.sun_path, c->cfg->socket_mode) || listen(c->listen.fd, 128)) {
		err = -errno;
		return error_set(
			error, err,
			"cannot listen on %s: %s; is the directory writable, and the path on a "
			"file system that has sockets?",
			sun.sun_path, strerror(-err));
	}
	return watch_add(c, &c->listen, EPOLLIN);
}

void listen_close(struct control *c)
{
	int fd;

	if (c->listen.fd >= 0) {
		unlink(c->cfg->socket);
		shutdown(c->listen.fd, SHUT_RDWR); /* no more can connect */
		while ((fd = accept4(c->listen.fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
			shutdown(fd, SHUT_RDWR);
			fd_discard(c, fd); /* it may have sent something already */
		}
		watch_remove(c, &c->listen);
	}
	if (c->lock_fd >= 0)
		/* the file stays: removing it would race with the next one's lock */
		close(c->lock_fd);
	c->lock_fd = -1;
}
