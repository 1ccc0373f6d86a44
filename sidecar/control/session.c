/* SPDX-License-Identifier: Apache-2.0 */
/* Attached processes, from accept() to the release of all that they had. */
#include "sidecar/base/log.h"
#include "sidecar/control/internal.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <udplane/clock.h>
#include <unistd.h>

#define SESSION_HELLO_TICKS    3  /* seconds to say HELLO */
#define SESSION_OBSERVER_TICKS 60 /* seconds that an observer may be silent */
#define SESSION_ASKED_TICKS    3  /* seconds that the keeper may take for a request */
/* connections that only read stats, or have not said yet what they want */
#define SESSION_OBSERVERS 64

static void read_peer(struct session *s)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	char path[64];
	FILE *f;

	if (getsockopt(s->watch.fd, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		return;
	s->pid = cred.pid; /* 0: in a pid namespace that we do not see */
	snprintf(path, sizeof(path), "/proc/%d/comm", s->pid);
	f = fopen(path, "re");
	if (!f)
		return;
	if (fgets(s->comm, sizeof(s->comm), f))
		s->comm[strcspn(s->comm, "\n")] = 0;
	fclose(f);
}

/* Closes the oldest connection that has not attached, to make room for a new one. */
static void evict_observer(struct control *c)
{
	struct session *s;

	TAILQ_FOREACH(s, &c->all, link) {
		if (s->observer && !s->capture && !s->closing) {
			session_close_later(
				s,
				"too many connections that have not attached; this is the oldest");
			return;
		}
	}
}

static void open_session(struct control *c, int fd)
{
	struct session *s = calloc(1, sizeof(*s));

	if (!s) {
		log_warn("connection refused: no memory");
		stats_count(&c->stats, UDPLANE_CONTROL_ATTACH_REFUSED, 1);
		fd_discard(c, fd);
		return;
	}
	if (c->observers >= SESSION_OBSERVERS)
		evict_observer(c);
	s->watch.fd = fd;
	s->watch.ready = request_ready;
	s->cgroup_fd = SESSION_CGROUP_UNKNOWN;
	s->observer = true; /* until it attaches */
	s->serial = ++c->serial;
	TAILQ_INIT(&s->socks);
	TAILQ_INIT(&s->refused);
	read_peer(s);
	TAILQ_INSERT_TAIL(&c->all, s, link);
	c->observers++;
	if (watch_add(c, &s->watch, EPOLLIN))
		session_close_later(s, "epoll: no memory");
}

/* Accepts no more clients until the next tick. */
static void listen_pause(struct control *c)
{
	struct epoll_event off = {.events = 0, .data.ptr = &c->listen};

	epoll_ctl(c->epoll_fd, EPOLL_CTL_MOD, c->listen.fd, &off);
}

void session_accept(struct control *c, struct watch *w, uint32_t events)
{
	(void)events;
	if (c->discarded_cnt > CONTROL_DISCARDED) {
		listen_pause(c);
		return;
	}
	/* some per turn, because attached clients wait for answers */
	for (int i = 0; i < 16; i++) {
		int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			open_session(c, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE) {
			log_error("cannot accept a client: %s; raise RLIMIT_NOFILE of udplaned",
				  strerror(errno));
			stats_count(&c->stats, UDPLANE_CONTROL_ATTACH_REFUSED, 1);
			listen_pause(c);
		}
		return;
	}
}

void session_close(struct control *c, struct session *s)
{
	if (s->close_reason[0])
		session_log(c, s, LOG_LEVEL_WARN, "disconnected: %s", s->close_reason);
	while (sock_release_some(c, s))
		;
	capture_stop(c, s);
	if (s->observer) {
		c->observers--;
	} else {
		stats_count(&c->stats, UDPLANE_CONTROL_DETACHES, 1);
		stats_gauge_add(&c->stats, UDPLANE_CONTROL_CLIENTS, -1);
	}
	channel_destroy(c, s);
	if (s->attached)
		c->session[s->id] = NULL;
	if (s->known)
		keeper_end(&c->keeper, s->serial);
	TAILQ_REMOVE(&c->all, s, link);
	epoll_ctl(c->epoll_fd, EPOLL_CTL_DEL, s->watch.fd, NULL);
	shutdown(s->watch.fd, SHUT_RDWR);
	fd_discard(c, s->watch.fd); /* with what it has sent and we have not read */
	if (s->cgroup_fd >= 0)
		close(s->cgroup_fd);
	free(s);
}

/* Connections that never say HELLO, and silent observers, do not stay for ever. */
void session_tick(struct control *c)
{
	struct session *s;

	if (c->lines_dropped && clock_now_ns() - c->lines_dropped_ns >= LOG_QUOTA_NS) {
		log_warn("%u more lines about clients were not written", c->lines_dropped);
		c->lines_dropped = 0;
	}
	TAILQ_FOREACH(s, &c->all, link)
		if (s->channel.addr)
			rings_shrink(&s->rings);
	TAILQ_FOREACH(s, &c->all, link) {
		if (s->observer && !s->capture &&
		    ++s->idle_ticks > (s->welcomed ? SESSION_OBSERVER_TICKS : SESSION_HELLO_TICKS))
			session_close_later(
				s, s->welcomed ? "" : "no HELLO within seconds of connecting");
		if (s->asked.op && ++s->asked.ticks > SESSION_ASKED_TICKS)
			session_close_later(
				s, "system calls on the descriptors that it passed do not return");
	}
}

/* A client may leave ten thousand sockets and 44 MiB of rings behind. They are released in turns,
 * because other clients wait for answers. The connection stays until the last one is released: if
 * the process lives on, it does not attach again while the old sockets still take its datagrams. */
void session_reap(struct control *c, uint64_t end)
{
	struct session *s, *next;

	for (s = TAILQ_FIRST(&c->all); s; s = next) {
		bool more = true;

		next = TAILQ_NEXT(s, link);
		if (!s->closing)
			continue;
		if (!s->releasing)
			epoll_ctl(c->epoll_fd, EPOLL_CTL_DEL, s->watch.fd, NULL);
		s->releasing = true;
		while (more && clock_now_ns() < end)
			more = sock_release_some(c, s) || rings_free_some(&s->rings);
		if (!more)
			session_close(c, s);
		else
			work_at(c, 0);
	}
}
