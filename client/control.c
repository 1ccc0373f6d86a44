/* SPDX-License-Identifier: Apache-2.0 */
/* Messages to and from udplaned. One request at a time; everything here runs under the control
 * lock. */
#include "client/control.h"
#include "client/base.h"
#include "client/own.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <udplane/abi.h>
#include <udplane/clock.h>
#include <unistd.h>

void control_close_fds(struct control_answer *ans)
{
	for (uint32_t i = 0; i < ans->fd_cnt; i++)
		if (ans->fd[i] >= 0)
			close(ans->fd[i]);
	ans->fd_cnt = 0;
}

static int control_send_request(int fd, const void *req, size_t len, int send_fd)
{
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = (void *)req, .iov_len = len};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};

	if (send_fd >= 0) {
		struct cmsghdr *cm;

		memset(&control, 0, sizeof(control));
		mh.msg_control = control.space;
		mh.msg_controllen = sizeof(control.space);
		cm = CMSG_FIRSTHDR(&mh);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cm), &send_fd, sizeof(int));
	}
	return sendmsg(fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

static void control_take_fds(struct msghdr *mh, struct control_answer *ans)
{
	for (struct cmsghdr *cm = CMSG_FIRSTHDR(mh); cm; cm = CMSG_NXTHDR(mh, cm)) {
		uint32_t cnt;

		if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS)
			continue;
		cnt = (uint32_t)((cm->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		for (uint32_t i = 0; i < cnt && ans->fd_cnt < CONTROL_MAX_FDS; i++)
			memcpy(&ans->fd[ans->fd_cnt++], CMSG_DATA(cm) + i * sizeof(int),
			       sizeof(int));
	}
	ans->fds_cut = mh->msg_flags & MSG_CTRUNC;
}

/* Reads a message if there is one. Returns its length; 0 if the other side has closed; -EAGAIN
 * or another -errno. */
static int control_read(int fd, struct control_answer *ans)
{
	union {
		char space[CMSG_SPACE(CONTROL_MAX_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = ans->u.bytes, .iov_len = sizeof(ans->u.bytes)};
	struct msghdr mh = {.msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control.space,
			    .msg_controllen = sizeof(control.space)};
	ssize_t n;

	memset(ans, 0, sizeof(*ans));
	if (!own_is(fd))
		return -EBADF;
	do {
		n = recvmsg(fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? 0 : -errno;
	control_take_fds(&mh, ans);
	if (n &&
	    ((size_t)n < sizeof(ans->u.msg) || ans->u.msg.len != n || (mh.msg_flags & MSG_TRUNC))) {
		control_close_fds(ans);
		return -EPROTO;
	}
	return (int)n;
}

/* Terminates the texts that udplaned wrote. */
static void control_end_text(struct control_answer *ans)
{
	ans->u.welcome.text[UDPLANE_TEXT_LEN - 1] = 0;
	if (ans->u.msg.type == UDPLANE_MSG_CLAIMED)
		ans->u.claimed.text[UDPLANE_TEXT_LEN - 1] = 0;
	if (ans->u.msg.type == UDPLANE_MSG_DONE)
		ans->u.done.text[UDPLANE_TEXT_LEN - 1] = 0;
}

int control_wait(struct control *c, uint16_t type, size_t min_len, uint64_t deadline,
		 struct control_answer *ans)
{
	uint64_t now;

	for (;;) {
		struct pollfd p = {.fd = c->fd, .events = POLLIN};
		int n = control_read(c->fd, ans);

		if (n == 0)
			return -ECONNRESET;
		if (n < 0 && n != -EAGAIN)
			return n;
		if (n > 0 && ans->u.msg.type == UDPLANE_MSG_GOODBYE)
			c->goodbye = true;
		if (n > 0 && ans->u.msg.seq == c->seq) {
			if (ans->u.msg.type == type && (size_t)n >= min_len) {
				control_end_text(ans);
				return 0;
			}
			control_close_fds(ans);
			return -EPROTO;
		}
		if (n > 0) {
			control_close_fds(ans);
			continue;
		}
		now = clock_now_ns();
		if (now >= deadline)
			return -ETIMEDOUT;
		poll(&p, 1, (int)((deadline - now) / 1000000) + 1);
	}
}

int control_send(struct control *c, void *req, size_t len, int send_fd)
{
	struct udplane_msg *m = req;

	if (++c->seq == 0)
		c->seq = 1;
	m->seq = c->seq;
	m->len = (uint16_t)len;
	return c->failed || !own_is(c->fd) ? -ECONNRESET
					   : control_send_request(c->fd, req, len, send_fd);
}

int control_request(struct control *c, void *req, size_t len, int send_fd, uint16_t type,
		    size_t min_len, struct control_answer *ans)
{
	int err;

	ans->fd_cnt = 0;
	err = control_send(c, req, len, send_fd);
	if (err ==
	    -ETOOMANYREFS) /* RLIMIT_NOFILE descriptors are in flight; the connection is usable */
		return err;
	if (!err)
		err = control_wait(c, type, min_len, clock_now_ns() + CONTROL_DEADLINE_NS, ans);
	if (err) {
		c->failed = true;
		c->silent = err == -ETIMEDOUT;
		__atomic_store_n(&c->attn, 1, __ATOMIC_RELAXED);
	}
	return err;
}

bool control_dead(struct control *c)
{
	struct control_answer ans;

	__atomic_store_n(&c->attn, 0, __ATOMIC_RELAXED);
	c->failed |= __atomic_load_n(&c->broken, __ATOMIC_RELAXED);
	while (!c->failed && !c->goodbye) {
		int n = control_read(c->fd, &ans);

		if (n == -EAGAIN)
			return false;
		if (n <= 0)
			c->failed = true;
		else if (ans.u.msg.type == UDPLANE_MSG_GOODBYE)
			c->goodbye = true;
		control_close_fds(&ans);
	}
	return true;
}
