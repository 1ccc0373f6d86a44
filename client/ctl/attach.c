/* SPDX-License-Identifier: Apache-2.0 */
#include "client/ctl/attach.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <udplane/clock.h>
#include <unistd.h>

#define WELCOME_MIN	 (offsetof(struct udplane_welcome, stats_len))
#define FDS_MAX		 (UDPLANE_MAX_WORKERS + 3)
#define BACKLOG_RETRY_MS 10

struct attach {
	const char *path;
	uint64_t deadline_ns;
	struct error *error;
	int fd;
};

static int left_ms(const struct attach *a)
{
	uint64_t now = clock_now_ns();

	return now >= a->deadline_ns ? 0 : (int)((a->deadline_ns - now) / 1000000) + 1;
}

static int explain_connect(const struct attach *a, int error)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
		return error_set(a->error, -error,
				 "no such socket: udplaned is not running, or listens elsewhere "
				 "(set --socket or UDPLANE_SOCKET)");
	case ECONNREFUSED:
		return error_set(
			a->error, -error,
			"nobody listens: udplaned is not running (the file is left from it)");
	case EACCES:
	case EPERM:
		return error_set(a->error, -error, "%s: run as a user who may write to the socket",
				 strerror(error));
	case EPROTOTYPE:
	case ENOTSOCK:
		return error_set(a->error, -error, "it is not udplaned's socket: check --socket");
	default: return error_set(a->error, -error, "connect: %s", strerror(error));
	}
}

static int connect_to(struct attach *a)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};

	if (strlen(a->path) >= sizeof(to.sun_path))
		return error_set(a->error, -ENAMETOOLONG, "path too long; allowed: %zu characters",
				 sizeof(to.sun_path) - 1);
	strcpy(to.sun_path, a->path);
	a->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (a->fd < 0)
		return error_set(a->error, -errno, "socket: %s", strerror(errno));
	while (connect(a->fd, (struct sockaddr *)&to, sizeof(to))) {
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return explain_connect(a, errno);
		if (!left_ms(a)) /* the backlog is full; UNIX sockets have no event for that */
			return error_set(a->error, -ETIMEDOUT,
					 "udplaned accepts no connection: is it hung?");
		poll(NULL, 0, BACKLOG_RETRY_MS);
	}
	return 0;
}

static int send_hello(const struct attach *a)
{
	struct udplane_hello hello = {
		.msg = {UDPLANE_MSG_HELLO, sizeof(hello), 1},
		.magic = UDPLANE_ABI_MAGIC,
		.major = UDPLANE_ABI_MAJOR,
		.minor = UDPLANE_ABI_MINOR,
		.flags = UDPLANE_HELLO_OBSERVER,
	};

	if (send(a->fd, &hello, sizeof(hello), MSG_NOSIGNAL) == sizeof(hello))
		return 0;
	return error_set(a->error, -errno, "send: %s", strerror(errno));
}

/* Returns the first descriptor of a message and closes any others. */
static int take_fd(struct msghdr *msg)
{
	struct cmsghdr *c;
	int fds[FDS_MAX], first = -1;

	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t cnt = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (cnt > FDS_MAX)
			cnt = FDS_MAX;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		memcpy(fds, CMSG_DATA(c), cnt * sizeof(int));
		for (size_t i = 0; i < cnt; i++) {
			if (first < 0)
				first = fds[i];
			else
				close(fds[i]);
		}
	}
	return first;
}

static int receive(const struct attach *a, struct udplane_welcome *w, size_t *len, int *stats_fd)
{
	union {
		char buf[CMSG_SPACE(FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {w, sizeof(*w)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control)};
	struct pollfd p = {.fd = a->fd, .events = POLLIN};
	ssize_t got;

	for (;;) {
		int ret = poll(&p, 1, left_ms(a));

		if (ret == 0)
			return error_set(a->error, -ETIMEDOUT,
					 "udplaned does not answer: is it hung?");
		if (ret < 0 && errno != EINTR)
			return error_set(a->error, -errno, "poll: %s", strerror(errno));
		got = ret < 0 ? -1 : recvmsg(a->fd, &msg, MSG_CMSG_CLOEXEC);
		if (got >= 0)
			break;
		if (errno != EINTR && errno != EAGAIN)
			return error_set(a->error, -errno, "receive: %s", strerror(errno));
	}
	*len = (size_t)got;
	*stats_fd = take_fd(&msg);
	return got ? 0
		   : error_set(a->error, -ECONNRESET,
			       "udplaned closed the connection: it is stopping, or has too many "
			       "clients");
}

static int welcome_check(const struct attach *a, struct udplane_welcome *w, size_t len)
{
	if (len < WELCOME_MIN || w->msg.type != UDPLANE_MSG_WELCOME ||
	    w->magic != UDPLANE_ABI_MAGIC)
		return error_set(a->error, -EPROTO, "the answer is not udplaned's: check --socket");
	w->text[sizeof(w->text) - 1] = 0;
	for (char *c = w->text; *c; c++) /* a terminal would obey control characters */
		*c = *c >= ' ' && *c <= '~' ? *c : '?';
	if (w->status)
		return error_set(a->error, w->status < 0 ? w->status : -EPROTO,
				 "udplaned refuses: %s",
				 w->text[0] ? w->text : strerror(-w->status));
	if (w->major != UDPLANE_ABI_MAJOR)
		return error_set(
			a->error, -EPROTONOSUPPORT,
			"udplaned speaks ABI %u, this udplanectl %u: use the udplanectl of its "
			"version",
			w->major, UDPLANE_ABI_MAJOR);
	return 0;
}

static int copy_zone(const struct attach *a, int fd, struct snapshot *s)
{
	struct stat st;
	void *zone;
	int ret;

	if (fd < 0)
		return error_set(a->error, -EPROTO, "udplaned sent no stats zone");
	if (fstat(fd, &st))
		return error_set(a->error, -errno, "stats zone: fstat: %s", strerror(errno));
	if (st.st_size <= 0)
		return error_set(a->error, -EPROTO, "stats zone: empty");
	zone = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (zone == MAP_FAILED)
		return error_set(a->error, -errno, "stats zone: map %lld bytes: %s",
				 (long long)st.st_size, strerror(errno));
	s->now_ns = clock_now_ns();
	ret = snapshot_read(s, zone, (size_t)st.st_size, a->error);
	munmap(zone, (size_t)st.st_size);
	return ret;
}

int attach_snapshot(const char *path, int timeout_ms, struct snapshot *s, struct error *error)
{
	struct attach a = {path, clock_now_ns() + (uint64_t)timeout_ms * 1000000, error, -1};
	struct udplane_welcome welcome = {0};
	int ret, stats_fd = -1;
	size_t len = 0;

	memset(s, 0, sizeof(*s));
	ret = connect_to(&a);
	if (!ret)
		ret = send_hello(&a);
	if (!ret)
		ret = receive(&a, &welcome, &len, &stats_fd);
	if (!ret)
		ret = welcome_check(&a, &welcome, len);
	if (!ret)
		ret = copy_zone(&a, stats_fd, s);
	if (stats_fd >= 0)
		close(stats_fd);
	if (a.fd >= 0)
		close(a.fd);
	return ret ? error_prefix(error, ret, "%s: ", path) : 0;
}
