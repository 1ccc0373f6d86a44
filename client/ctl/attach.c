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
#define CAPTURE_MINOR	 3 /* of the ABI that brought CAPTURE */

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

/* Receives a message of at most `size` bytes. *fd becomes its first descriptor, or -1. */
static int receive(const struct attach *a, void *buf, size_t size, size_t *len, int *fd)
{
	union {
		char buf[CMSG_SPACE(FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {buf, size};
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
	*fd = take_fd(&msg);
	return got ? 0
		   : error_set(a->error, -ECONNRESET,
			       "udplaned closed the connection: it is stopping, or has too many "
			       "clients");
}

/* A terminal would obey control characters. */
static void make_printable(char text[UDPLANE_TEXT_LEN])
{
	text[UDPLANE_TEXT_LEN - 1] = 0;
	for (char *c = text; *c; c++)
		*c = *c >= ' ' && *c <= '~' ? *c : '?';
}

static int welcome_check(const struct attach *a, struct udplane_welcome *w, size_t len)
{
	if (len < WELCOME_MIN || w->msg.type != UDPLANE_MSG_WELCOME ||
	    w->magic != UDPLANE_ABI_MAGIC)
		return error_set(a->error, -EPROTO, "the answer is not udplaned's: check --socket");
	make_printable(w->text);
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

static int map_zone(const struct attach *a, int fd, const char *name, bool writable, void **zone,
		    size_t *len)
{
	struct stat st;
	void *addr;

	if (fd < 0)
		return error_set(a->error, -EPROTO, "udplaned sent no %s zone", name);
	if (fstat(fd, &st))
		return error_set(a->error, -errno, "%s zone: fstat: %s", name, strerror(errno));
	if (st.st_size <= 0)
		return error_set(a->error, -EPROTO, "%s zone: empty", name);
	addr = mmap(NULL, (size_t)st.st_size, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED,
		    fd, 0);
	if (addr == MAP_FAILED)
		return error_set(a->error, -errno, "%s zone: map %lld bytes: %s", name,
				 (long long)st.st_size, strerror(errno));
	*zone = addr;
	*len = (size_t)st.st_size;
	return 0;
}

/* Connects and says HELLO. a->fd stays open, also after an error. */
static int greet(struct attach *a, struct udplane_welcome *w, int *stats_fd)
{
	size_t len = 0;
	int ret = connect_to(a);

	if (!ret)
		ret = send_hello(a);
	if (!ret)
		ret = receive(a, w, sizeof(*w), &len, stats_fd);
	return ret ? ret : welcome_check(a, w, len);
}

int attach_snapshot(const char *path, int timeout_ms, struct snapshot *s, struct error *error)
{
	struct attach a = {path, clock_now_ns() + (uint64_t)timeout_ms * 1000000, error, -1};
	struct udplane_welcome welcome = {0};
	int ret, stats_fd = -1;
	void *zone = NULL;
	size_t len = 0;

	memset(s, 0, sizeof(*s));
	ret = greet(&a, &welcome, &stats_fd);
	if (!ret)
		ret = map_zone(&a, stats_fd, "stats", false, &zone, &len);
	if (!ret) {
		s->now_ns = clock_now_ns();
		ret = snapshot_read(s, zone, len, error);
	}
	if (zone)
		munmap(zone, len);
	if (stats_fd >= 0)
		close(stats_fd);
	if (a.fd >= 0)
		close(a.fd);
	return ret ? error_prefix(error, ret, "%s: ", path) : 0;
}

/* Checks what udplaned says about the rings, so that nothing outside of the zone is read. */
static int captured_check(const struct attach *a, struct udplane_captured *c, size_t len)
{
	uint64_t ring;

	if (len < sizeof(*c) || c->msg.type != UDPLANE_MSG_CAPTURED)
		return error_set(a->error, -EPROTO, "the answer to CAPTURE is not udplaned's");
	make_printable(c->text);
	if (c->status)
		return error_set(a->error, c->status < 0 ? c->status : -EPROTO, "%s",
				 c->text[0] ? c->text : strerror(-c->status));
	ring = sizeof(struct udplane_capture_ring) + (uint64_t)c->slot_cnt * c->slot_size;
	if (!c->ring_cnt || c->ring_cnt > UDPLANE_MAX_WORKERS || !c->slot_cnt ||
	    c->slot_cnt & (c->slot_cnt - 1) || c->slot_size % 64 ||
	    c->slot_size <= sizeof(struct udplane_capture_record) || ring > c->ring_len ||
	    c->ring_len % UDPLANE_LINE || c->ring_len > c->len / c->ring_cnt)
		return error_set(a->error, -EPROTO, "udplaned describes impossible rings");
	return 0;
}

static int ask_capture(const struct attach *a, const struct udplane_capture *asked,
		       struct udplane_captured *c, int *fd)
{
	struct udplane_capture m = *asked;
	size_t len = 0;
	int ret;

	m.msg = (struct udplane_msg){UDPLANE_MSG_CAPTURE, sizeof(m), 2};
	if (send(a->fd, &m, sizeof(m), MSG_NOSIGNAL) != sizeof(m))
		return error_set(a->error, -errno, "send: %s", strerror(errno));
	ret = receive(a, c, sizeof(*c), &len, fd);
	return ret ? ret : captured_check(a, c, len);
}

static int open_zones(const struct attach *a, struct capture_link *link, int stats_fd, int fd)
{
	int ret = map_zone(a, stats_fd, "stats", false, &link->stats, &link->stats_len);

	if (!ret)
		ret = map_zone(a, fd, "capture", true, &link->zone, &link->zone_len);
	if (ret)
		return ret;
	if (link->zone_len < link->layout.len)
		return error_set(a->error, -EPROTO, "capture zone: shorter than udplaned says");
	return 0;
}

int attach_capture(const char *path, int timeout_ms, const struct udplane_capture *asked,
		   struct capture_link *link, struct error *error)
{
	struct attach a = {path, clock_now_ns() + (uint64_t)timeout_ms * 1000000, error, -1};
	struct udplane_welcome welcome = {0};
	int ret, stats_fd = -1, fd = -1;

	memset(link, 0, sizeof(*link));
	ret = greet(&a, &welcome, &stats_fd);
	if (!ret && welcome.minor < CAPTURE_MINOR)
		ret = error_set(error, -EPROTONOSUPPORT,
				"this udplaned (ABI %u.%u) cannot capture yet: upgrade it",
				welcome.major, welcome.minor);
	if (!ret)
		ret = ask_capture(&a, asked, &link->layout, &fd);
	if (!ret)
		ret = open_zones(&a, link, stats_fd, fd);
	if (stats_fd >= 0)
		close(stats_fd);
	if (fd >= 0)
		close(fd);
	link->fd = a.fd;
	if (!ret)
		return 0;
	attach_capture_end(link);
	return error_prefix(error, ret, "%s: ", path);
}

void attach_capture_end(struct capture_link *link)
{
	if (link->zone)
		munmap(link->zone, link->zone_len);
	if (link->stats)
		munmap(link->stats, link->stats_len);
	if (link->fd >= 0)
		close(link->fd);
	*link = (struct capture_link){.fd = -1};
}
