/* SPDX-License-Identifier: Apache-2.0 */
/* What a client asks for, and the answers: HELLO, CLAIM, UPDATE, RELEASE, CAPTURE. Nothing that it
 * sends can stop the loop or reach another client. */
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

#define ASKED_FOR   (1ull << 32) /* tag of a VERIFY that a client waits for */
#define SCM_FDS_MAX 253		 /* in one message; SCM_MAX_FD of the kernel */

/* People read it in a terminal, so only printable characters are kept. */
static void read_hello_name(struct session *s, const struct udplane_hello *h)
{
	if (s->pid || h->msg.len < sizeof(*h))
		return;
	memcpy(s->comm, h->comm, sizeof(s->comm) - 1);
	for (char *p = s->comm; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
}

static void attach_fds(struct msghdr *mh, char *control, size_t control_len, const int *fds,
		       uint32_t cnt)
{
	struct cmsghdr *cm;

	memset(control, 0, control_len);
	mh->msg_control = control;
	mh->msg_controllen = CMSG_SPACE(cnt * sizeof(int));
	cm = CMSG_FIRSTHDR(mh);
	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(cnt * sizeof(int));
	memcpy(CMSG_DATA(cm), fds, cnt * sizeof(int));
}

/* Sends an answer; a client that does not read its answers is disconnected. Returns false, and has
 * sent nothing, if the answer could not carry its descriptors because processes of our user have
 * as many in flight as the limit allows (unix(7), ETOOMANYREFS). That is not the client's fault. */
static bool answer(struct session *s, void *msg, uint16_t type, uint16_t len, uint32_t seq,
		   const int *fds, uint32_t fd_cnt)
{
	char control[CMSG_SPACE((3 + UDPLANE_MAX_WORKERS) * sizeof(int))];
	struct iovec iov = {.iov_base = msg, .iov_len = len};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	struct udplane_msg *m = msg;

	m->type = type;
	m->len = len;
	m->seq = seq;
	if (fd_cnt)
		attach_fds(&mh, control, sizeof(control), fds, fd_cnt);
	if (sendmsg(s->watch.fd, &mh, MSG_DONTWAIT | MSG_NOSIGNAL) == len)
		return true;
	if (fd_cnt && errno == ETOOMANYREFS)
		return false;
	session_close_later(s, errno == EAGAIN ? "it does not read its answers" : strerror(errno));
	return true;
}

#define TOO_MANY_REFS                                                               \
	"too many descriptors are on their way in UNIX sockets of udplaned's user " \
	"(ETOOMANYREFS); try again later"

static int find_channel(struct control *c)
{
	for (uint32_t i = 0; i < c->cfg->max_clients; i++)
		if (!c->session[i])
			return (int)i;
	return -1;
}

static int attach(struct control *c, struct session *s, struct udplane_welcome *w)
{
	struct error error = {0};
	int id = find_channel(c);
	int err;

	if (c->leaving) {
		snprintf(w->text, sizeof(w->text), "udplaned is stopping");
		return -ESHUTDOWN;
	}
	if (id < 0) {
		snprintf(w->text, sizeof(w->text),
			 "%u processes are attached already: raise max_clients",
			 c->cfg->max_clients);
		return -EUSERS;
	}
	s->id = (uint32_t)id;
	err = c->dev ? channel_create(c, s, w, &error) : 0;
	error_copy(&error, w->text, sizeof(w->text));
	if (err)
		return err;
	c->session[id] = s;
	s->attached = true;
	w->channel_id = s->id;
	return 0;
}

static void fill_welcome(struct control *c, struct udplane_welcome *w)
{
	memset(w, 0, sizeof(*w));
	w->magic = UDPLANE_ABI_MAGIC;
	w->major = UDPLANE_ABI_MAJOR;
	w->minor = UDPLANE_ABI_MINOR;
	w->stats_len = c->stats.zone.len;
	w->frames_len = c->frames.len;
	w->backend = c->stats.z->backend;
	w->mode = c->cfg->mode;
}

static void refuse_hello(struct control *c, struct session *s, struct udplane_welcome *w,
			 uint32_t seq)
{
	stats_count(&c->stats, UDPLANE_CONTROL_ATTACH_REFUSED, 1);
	session_log(c, s, LOG_LEVEL_WARN, "refused: %s", w->text);
	answer(s, w, UDPLANE_MSG_WELCOME, sizeof(*w), seq, NULL, 0);
	session_close_later(s, w->text);
}

static void on_hello(struct control *c, struct session *s, const struct udplane_hello *h)
{
	int fds[3 + UDPLANE_MAX_WORKERS];
	uint32_t cnt = 0;
	struct udplane_welcome w;

	fill_welcome(c, &w);
	if (h->magic != UDPLANE_ABI_MAGIC || h->major != UDPLANE_ABI_MAJOR) {
		w.status = -EPROTONOSUPPORT;
		snprintf(
			w.text, sizeof(w.text),
			"udplaned speaks ABI %u.%u, the client %u.%u: upgrade the older of the two",
			UDPLANE_ABI_MAJOR, UDPLANE_ABI_MINOR, h->major, h->minor);
		refuse_hello(c, s, &w, h->msg.seq);
		return;
	}
	if (s->welcomed && !(h->flags & UDPLANE_HELLO_OBSERVER)) {
		stats_count(&c->stats, UDPLANE_CONTROL_BAD_MESSAGES, 1);
		session_close_later(
			s, "HELLO to attach on a connection that observes; a process attaches "
			   "by a connection of its own");
		return;
	}
	s->idle_ticks = 0;
	s->minor = h->minor;
	read_hello_name(s, h);
	fds[cnt++] = c->stats.zone.fd;
	if (!(h->flags & UDPLANE_HELLO_OBSERVER)) {
		w.status = attach(c, s, &w);
		if (w.status) {
			refuse_hello(c, s, &w, h->msg.seq);
			return;
		}
	}
	if (s->attached && c->dev) {
		fds[cnt++] = c->frames.fd;
		fds[cnt++] = s->channel.fd;
		for (uint32_t i = 0; i < c->worker_cnt; i++)
			fds[cnt++] = s->doorbell[i];
	}
	if (!s->welcomed && !(h->flags & UDPLANE_HELLO_OBSERVER)) {
		s->observer = false;
		s->watch.patient = true;
		c->observers--;
		stats_count(&c->stats, UDPLANE_CONTROL_ATTACHES, 1);
		stats_gauge_add(&c->stats, UDPLANE_CONTROL_CLIENTS, 1);
	}
	s->welcomed = true;
	refresh_counters(c);
	snprintf(w.text, sizeof(w.text), "%s", c->stats.z->backend_text);
	if (answer(s, &w, UDPLANE_MSG_WELCOME, sizeof(w), h->msg.seq, fds, cnt))
		return;
	w.status = -ETOOMANYREFS;
	snprintf(w.text, sizeof(w.text), TOO_MANY_REFS);
	refuse_hello(c, s, &w, h->msg.seq);
}

/* ---- what the keeper does for it ---- */

/* Asks the keeper on behalf of a client. The client's next message waits until the keeper has
 * answered. Returns -errno if the keeper could not be asked. */
static int ask_keeper(struct control *c, struct session *s, enum keeper_op op, uint32_t seq,
		      uint32_t sock, const struct udplane_addr *group)
{
	int err = 0;

	s->known = true;
	if (op == KEEPER_TAKE)
		err = keeper_take(&c->keeper, s->serial, s->watch.fd, &c->rules);
	else if (op == KEEPER_MEMBER)
		keeper_member(&c->keeper, s->serial, ASKED_FOR | sock, sock_find(c, s, sock)->fd,
			      c->rules.ifindex, group);
	else if (op == KEEPER_VERIFY)
		keeper_verify(&c->keeper, s->serial, ASKED_FOR | sock, sock_find(c, s, sock)->fd,
			      &c->rules);
	else
		keeper_barrier(&c->keeper, s->serial, 0);
	if (err)
		return err;
	epoll_ctl(c->epoll_fd, EPOLL_CTL_DEL, s->watch.fd, NULL);
	s->asked.op = op;
	s->asked.ticks = 0;
	s->asked.seq = seq;
	s->asked.sock = sock;
	if (op == KEEPER_TAKE || op == KEEPER_VERIFY)
		sock_prepare(c, s, op == KEEPER_TAKE); /* while the keeper works */
	return 0;
}

static void resume(struct control *c, struct session *s)
{
	memset(&s->asked, 0, sizeof(s->asked));
	if (!s->closing && watch_add(c, &s->watch, EPOLLIN))
		session_close_later(s, "epoll: no memory");
}

static void on_claim(struct control *c, struct session *s, const struct udplane_claim *m,
		     const struct keeper_reply *found)
{
	struct sock_fds given = {.wake_fd = -1, .segment_fd = -1};
	struct udplane_claimed out = {0};
	int fds[2];
	uint32_t cnt = 0;

	sock_claim(c, s, m, found, &out, &given);
	if (out.status && found->fd_cnt == 1 && found->reason != UDPLANE_REASON_NOT_UDP) {
		/* After the client's close(2) the port is free: the answer waits until the keeper
		 * has closed the socket. Of another file that may take for ever. */
		s->refusal = out;
		ask_keeper(c, s, KEEPER_BARRIER, m->msg.seq, 0, NULL);
		s->asked.refused = true;
		return;
	}
	if (given.wake_fd >= 0)
		fds[cnt++] = given.wake_fd;
	if (given.segment_fd >= 0)
		fds[cnt++] = given.segment_fd;
	if (!answer(s, &out, UDPLANE_MSG_CLAIMED, sizeof(out), m->msg.seq, fds, cnt)) {
		sock_unclaim(c, sock_find(c, s, out.sock), &given, UDPLANE_REASON_DESCRIPTORS,
			     TOO_MANY_REFS, &out);
		answer(s, &out, UDPLANE_MSG_CLAIMED, sizeof(out), m->msg.seq, NULL, 0);
	}
	if (given.wake_fd >= 0)
		close(given.wake_fd);
}

static void bad_message(struct control *c, struct session *s, const char *text)
{
	stats_count(&c->stats, UDPLANE_CONTROL_BAD_MESSAGES, 1);
	session_close_later(s, text);
}

static void on_taken(struct control *c, struct session *s, const struct keeper_reply *r)
{
	struct error error;

	if (r->len <= 0)
		session_close_later(s, r->len ? strerror(-r->len) : "");
	else if (message_check(r->msg, (size_t)r->len, s->welcomed, s->observer, r->fd_cnt,
			       &error) != UDPLANE_MSG_CLAIM)
		bad_message(c, s, error.text);
	else
		on_claim(c, s, (const void *)r->msg, r);
	sock_unprepare(c);
}

static void on_verified(struct control *c, struct session *s, const struct keeper_reply *r)
{
	struct sock *k = sock_find(c, s, s->asked.sock);
	struct udplane_done out = {0};
	struct decision d = {.reason = UDPLANE_REASON_NONE};

	if (k)
		out.status = sock_update(c, k, r, &d);
	out.reason = d.reason;
	snprintf(out.text, sizeof(out.text), "%s", d.text);
	answer(s, &out, UDPLANE_MSG_DONE, sizeof(out), s->asked.seq, NULL, 0);
}

static void on_looked(struct control *c, struct session *s, struct keeper_reply *r)
{
	struct sock *k = sock_find(c, s, s->asked.sock);
	struct udplane_done out = {0};

	r->member.unclear |= s->asked.elsewhere;
	if (k)
		mcast_member(c, k, &r->member);
	answer(s, &out, UDPLANE_MSG_DONE, sizeof(out), s->asked.seq, NULL, 0);
}

static void on_barrier(struct session *s)
{
	struct udplane_done out = {0};

	if (s->asked.refused)
		answer(s, &s->refusal, UDPLANE_MSG_CLAIMED, sizeof(s->refusal), s->asked.seq, NULL,
		       0);
	else
		answer(s, &out, UDPLANE_MSG_DONE, sizeof(out), s->asked.seq, NULL, 0);
}

static void answered(struct control *c, struct keeper_reply *r)
{
	struct session *s;
	struct sock *k;

	TAILQ_FOREACH(s, &c->all, link)
		if (s->serial == r->session)
			break;
	if (!s || s->closing) {
		sock_unprepare(c);
		return;
	}
	if (r->op == KEEPER_VERIFY && !(r->tag & ASKED_FOR)) {
		k = sock_find(c, s, (uint32_t)r->tag);
		if (k)
			sock_checked(c, k, r);
		return;
	}
	if (r->op == KEEPER_TAKE) {
		on_taken(c, s, r);
		if (s->asked.refused)
			return;
	} else if (r->op == KEEPER_VERIFY)
		on_verified(c, s, r);
	else if (r->op == KEEPER_MEMBER)
		on_looked(c, s, r);
	else
		on_barrier(s);
	resume(c, s);
}

void request_replies(struct control *c, struct watch *w, uint32_t events)
{
	struct keeper_reply r;
	int n;

	(void)w;
	(void)events;
	while ((n = keeper_read(&c->keeper, &r)) > 0)
		answered(c, &r);
	if (n == 0)
		return;
	log_error("the keeper of descriptors has ended (%s): starting again", strerror(-n));
	backend_lose(c, true);
}

/* Refuses a claim that the keeper cannot take now. Its descriptors are received here, and left to
 * the keeper to close. */
static void refuse_claim(struct control *c, struct session *s)
{
	struct udplane_claimed out = {.status = -ETOOMANYREFS,
				      .reason = UDPLANE_REASON_DESCRIPTORS,
				      .text = TOO_MANY_REFS};
	char control[CMSG_SPACE(SCM_FDS_MAX * sizeof(int))] __attribute__((aligned(8)));
	struct udplane_msg m;
	struct iovec iov = {.iov_base = &m, .iov_len = sizeof(m)};
	struct msghdr mh = {.msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control)};

	if (recvmsg(s->watch.fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < (ssize_t)sizeof(m))
		return;
	for (struct cmsghdr *cm = CMSG_FIRSTHDR(&mh); cm; cm = CMSG_NXTHDR(&mh, cm)) {
		uint32_t cnt = (uint32_t)((cm->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		int fds[SCM_FDS_MAX];

		if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS)
			continue;
		memcpy(fds, CMSG_DATA(cm), cnt * sizeof(int));
		for (uint32_t i = 0; i < cnt; i++)
			fd_discard(c, fds[i]);
	}
	stats_count(&c->stats, UDPLANE_CONTROL_CLAIMS_REFUSED, 1);
	udplane_count(&c->stats.z->refused[out.reason], 1);
	session_log(c, s, LOG_LEVEL_INFO, "claim refused: %s", out.text);
	answer(s, &out, UDPLANE_MSG_CLAIMED, sizeof(out), m.seq, NULL, 0);
}

/* ---- messages ---- */

static void on_request(struct control *c, struct session *s, struct udplane_sock_req *m)
{
	struct sock *k = sock_find(c, s, m->sock);
	struct udplane_done out = {0};
	bool kept = k && k->fd >= 0;

	m->text[sizeof(m->text) - 1] = 0;
	if (!k) {
		out.status = -EBADF;
		out.reason = UDPLANE_REASON_BAD_MESSAGE;
		snprintf(out.text, sizeof(out.text),
			 "socket %u is not one that this process has claimed", m->sock);
		stats_count(&c->stats, UDPLANE_CONTROL_BAD_MESSAGES, 1);
	} else if (m->msg.type == UDPLANE_MSG_UPDATE && kept) {
		ask_keeper(c, s, KEEPER_VERIFY, m->msg.seq, m->sock, NULL);
		return;
	} else if (m->msg.type == UDPLANE_MSG_RELEASE) {
		if (m->reason != UDPLANE_REASON_NONE)
			sock_to_kernel(c, k,
				       m->reason < UDPLANE_REASON_CNT ? m->reason
								      : UDPLANE_REASON_USER,
				       m->text);
		else
			sock_release(c, k);
		if (kept) {
			ask_keeper(c, s, KEEPER_BARRIER, m->msg.seq, 0,
				   NULL); /* the port is free when its socket is closed here, too */
			return;
		}
	}
	answer(s, &out, UDPLANE_MSG_DONE, sizeof(out), m->msg.seq, NULL, 0);
}

static void on_member(struct control *c, struct session *s, const struct udplane_member *m)
{
	struct sock *k = sock_find(c, s, m->sock);
	struct udplane_done out = {0};
	struct udplane_addr group = m->group;

	group.port_be = 0;
	group.scope_id = 0;
	if (k && k->fd >= 0 && udplane_addr_is_multicast(&group)) {
		ask_keeper(c, s, KEEPER_MEMBER, m->msg.seq, m->sock, &group);
		s->asked.elsewhere = m->flags & UDPLANE_MEMBER_ELSEWHERE;
		return;
	}
	if (!k || k->fd >= 0) {
		out.status = k ? -EINVAL : -EBADF;
		out.reason = UDPLANE_REASON_BAD_MESSAGE;
		snprintf(out.text, sizeof(out.text),
			 k ? "MEMBER names no multicast group"
			   : "socket %u is not one that this process has claimed",
			 m->sock);
		stats_count(&c->stats, UDPLANE_CONTROL_BAD_MESSAGES, 1);
	}
	answer(s, &out, UDPLANE_MSG_DONE, sizeof(out), m->msg.seq, NULL, 0);
}

static void on_capture(struct control *c, struct session *s, const struct udplane_capture *m)
{
	struct udplane_captured out = {0};

	capture_start(c, s, m, &out);
	if (out.status) {
		answer(s, &out, UDPLANE_MSG_CAPTURED, sizeof(out), m->msg.seq, NULL, 0);
	} else if (!answer(s, &out, UDPLANE_MSG_CAPTURED, sizeof(out), m->msg.seq,
			   &s->capture->zone.fd, 1)) {
		capture_stop(c, s);
		out.status = -ETOOMANYREFS;
		snprintf(out.text, sizeof(out.text), TOO_MANY_REFS);
		answer(s, &out, UDPLANE_MSG_CAPTURED, sizeof(out), m->msg.seq, NULL, 0);
	}
}

/* fds: the message carries descriptors; the keeper has to receive it. */
static void dispatch(struct control *c, struct session *s, void *buf, size_t len, bool fds)
{
	struct error error;
	int type = message_check(buf, len, s->welcomed, s->observer, fds, &error);

	switch (type) {
	case UDPLANE_MSG_HELLO: on_hello(c, s, buf); return;
	case UDPLANE_MSG_CLAIM:
		if (ask_keeper(c, s, KEEPER_TAKE, 0, 0, NULL))
			refuse_claim(c, s);
		return;
	case UDPLANE_MSG_UPDATE:
	case UDPLANE_MSG_RELEASE: on_request(c, s, buf); return;
	case UDPLANE_MSG_MEMBER: on_member(c, s, buf); return;
	case UDPLANE_MSG_CAPTURE: on_capture(c, s, buf); return;
	}
	bad_message(c, s, error.text);
}

/* Peeks first: receiving a message with descriptors would leave it to this thread to close them. */
void request_ready(struct control *c, struct watch *w, uint32_t events)
{
	struct session *s = (struct session *)w;
	char buf[UDPLANE_MSG_MAX] __attribute__((aligned(8)));
	struct iovec iov = {.iov_base = buf, .iov_len = sizeof(buf)};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	bool fds;
	ssize_t n;

	(void)events;
	if (s->closing || s->asked.op)
		return;
	n = recvmsg(w->fd, &mh, MSG_DONTWAIT | MSG_PEEK | MSG_TRUNC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	fds = n > 0 && mh.msg_flags & MSG_CTRUNC;
	if (n > 0 && !fds)
		n = recv(w->fd, buf, sizeof(buf), MSG_DONTWAIT | MSG_TRUNC);
	if (n <= 0)
		session_close_later(s, ""); /* an empty message is as good as none */
	else
		dispatch(c, s, buf, (size_t)n, fds);
}

void session_goodbye(struct control *c, struct session *s)
{
	struct udplane_msg m;

	(void)c;
	if (!s->observer)
		answer(s, &m, UDPLANE_MSG_GOODBYE, sizeof(m), 0, NULL, 0);
}
