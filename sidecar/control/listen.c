/* SPDX-License-Identifier: Apache-2.0 */
/* The socket that clients find. A lock file beside it, held for our lifetime, tells a running udplaned from a stale socket. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "sidecar/control/internal.h"

#define LOCK_TRIES 50 /* 10 ms apart */

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

static int take_lock(struct control *c, char *text, size_t text_len)
{
	char path[CONFIG_SOCKET_SIZE + 8];

	snprintf(path, sizeof(path), "%s.lock", c->cfg->socket);
	c->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (c->lock_fd < 0) {
		snprintf(text, text_len, "cannot open %s: %s; make the directory writable for udplaned", path, strerror(errno));
		return -errno;
	}
	/* One that was killed holds it until its last thread is gone. */
	for (int i = 0; flock(c->lock_fd, LOCK_EX | LOCK_NB) && i < LOCK_TRIES; i++)
		poll(NULL, 0, 10);
	if (flock(c->lock_fd, LOCK_EX | LOCK_NB)) {
		snprintf(text, text_len, "another udplaned serves %s already; stop it, or give this one another --socket", c->cfg->socket);
		return -EADDRINUSE;
	}
	return 0;
}

int listen_open(struct control *c, char *text, size_t text_len)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int err = make_parent(c->cfg->socket);

	if (!err)
		err = take_lock(c, text, text_len);
	else
		snprintf(text, text_len, "cannot make the directory of %s: %s", c->cfg->socket, strerror(-err));
	if (err)
		return err;
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", c->cfg->socket);
	unlink(sun.sun_path); /* ours by the lock: left by one that was killed */
	c->listen.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	c->listen.ready = session_accept;
	if (c->listen.fd < 0 || bind(c->listen.fd, (void *)&sun, sizeof(sun)) || chmod(sun.sun_path, c->cfg->socket_mode) ||
	    listen(c->listen.fd, 128)) {
		err = -errno;
		snprintf(text, text_len, "cannot listen on %s: %s; is the directory writable, and the path on a file system that has sockets?",
			 sun.sun_path, strerror(-err));
		return err;
	}
	return watch_add(c, &c->listen, EPOLLIN);
}

void listen_close(struct control *c)
{
	int fd;

	if (c->listen.fd >= 0) {
		unlink(c->cfg->socket);
		shutdown(c->listen.fd, SHUT_RDWR); /* no more come; */
		while ((fd = accept4(c->listen.fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
			shutdown(fd, SHUT_RDWR);
			keep_bury(c, fd); /* who has come may have sent something already */
		}
		watch_remove(c, &c->listen);
	}
	if (c->lock_fd >= 0)
		close(c->lock_fd); /* the file stays: removing it would race with the next one's lock */
	c->lock_fd = -1;
}
