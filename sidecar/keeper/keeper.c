/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/keeper/keeper.h"

#include "sidecar/keeper/process.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define STOP_WAIT_MS 100
#define OURS	     16u  /* for the channel, standard error, and what libraries open */
#define OUT_MAX	     512u /* enough for all clients at once */

/* Returns how many descriptors one of our processes may have. A quarter of them, at most OUT_MAX,
 * is for descriptors that are being closed. */
static uint32_t files_allowed(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) || files.rlim_cur > 1 << 20)
		return 1 << 20;
	return (uint32_t)files.rlim_cur;
}

int keeper_start(struct keeper *k, struct error *error)
{
	uint32_t files = files_allowed();
	int pair[2], err;

	*k = (struct keeper){.fd = -1, .out_max = files / 4 < OUT_MAX ? files / 4 : OUT_MAX};
	k->shared = mmap(NULL, sizeof(*k->shared), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (k->shared == MAP_FAILED || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return error_set(error, -errno, "no channel to the keeper of descriptors: %s",
				 strerror(errno));
	signal(SIGCHLD, SIG_IGN); /* the channel shows when the process ends; nobody waits for it */
	fflush(NULL);
	k->pid = fork();
	if (k->pid < 0) {
		err = error_set(error, -errno, "cannot start the keeper of descriptors: %s",
				strerror(errno));
		close(pair[0]);
		close(pair[1]);
		return err;
	}
	if (!k->pid)
		keeper_process(pair[1], k->shared,
			       files > k->out_max + OURS ? files - k->out_max - OURS : 0);
	close(pair[1]);
	k->fd = pair[0];
	return 0;
}

void keeper_stop(struct keeper *k)
{
	if (k->fd < 0)
		return;
	close(k->fd);
	k->fd = -1;
	for (int i = 0; i < STOP_WAIT_MS && !kill(k->pid, 0); i++)
		poll(NULL, 0, 1);
	munmap(k->shared, sizeof(*k->shared));
}

int keeper_read(struct keeper *k, struct keeper_reply *r)
{
	for (;;) {
		ssize_t n = recv(k->fd, r, sizeof(*r), MSG_DONTWAIT);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		if (n != sizeof(*r))
			return -ECONNRESET;
		k->out -= r->op == KEEPER_TAKE ? 1 : r->op == KEEPER_BURY ? r->fd_cnt : 0;
		if (r->op != KEEPER_BURY)
			return 1;
	}
}

/* Called after a message has been sent: makes sure that a thread of the process reads it. */
static void make_heard(struct keeper *k)
{
	uint32_t deaf = KEEPER_DEAF;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (__atomic_load_n(&k->shared->listener, __ATOMIC_RELAXED) == KEEPER_DEAF &&
	    __atomic_compare_exchange_n(&k->shared->listener, &deaf, KEEPER_CALLED, false,
					__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		keeper_call(k->shared);
}

/* Sends a request. Unless flags contain MSG_DONTWAIT, waits until the process has read enough
 * earlier requests, which it does whatever clients do. Returns 0 or -errno. */
static int request(struct keeper *k, const struct keeper_request *q, const void *payload, int flags)
{
	struct iovec iov[2] = {{(void *)q, sizeof(*q)}, {(void *)payload, q->len}};
	struct msghdr mh = {.msg_iov = iov, .msg_iovlen = payload ? 2 : 1};
	ssize_t n;

	keeper_flush(k);
	do {
		n = sendmsg(k->fd, &mh, flags | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	make_heard(k);
	return 0;
}

static int request_fds(struct keeper *k, const struct keeper_request *q, const int *fds,
		       uint32_t cnt)
{
	union {
		char space[CMSG_SPACE(KEEPER_BURY_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {(void *)q, sizeof(*q)};
	struct msghdr mh = {.msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control.space,
			    .msg_controllen = CMSG_SPACE(cnt * sizeof(int))};
	struct cmsghdr *cm;
	ssize_t n;

	/* A client that closes many descriptors must not prevent others from claiming. */
	if (k->out + cnt > (q->op == KEEPER_TAKE ? k->out_max : k->out_max / 4 * 3))
		return -EAGAIN;
	memset(&control, 0, sizeof(control));
	cm = CMSG_FIRSTHDR(&mh);
	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(cnt * sizeof(int));
	memcpy(CMSG_DATA(cm), fds, cnt * sizeof(int));
	keeper_flush(k);
	do {
		n = sendmsg(k->fd, &mh, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	make_heard(k);
	k->out += cnt;
	return 0;
}

int keeper_take(struct keeper *k, uint64_t session, int conn, const struct claim_rules *rules)
{
	struct keeper_request q = {.op = KEEPER_TAKE,
				   .session = session,
				   .netns_cookie = rules->netns_cookie,
				   .ifindex = rules->ifindex};

	return request_fds(k, &q, &conn, 1);
}

int keeper_bury(struct keeper *k, const int *fds, uint32_t cnt)
{
	struct keeper_request q = {.op = KEEPER_BURY};

	return request_fds(k, &q, fds, cnt);
}

void keeper_verify(struct keeper *k, uint64_t session, uint64_t tag, int fd,
		   const struct claim_rules *rules)
{
	struct keeper_request q = {.op = KEEPER_VERIFY,
				   .session = session,
				   .tag = tag,
				   .fd = fd,
				   .netns_cookie = rules->netns_cookie,
				   .ifindex = rules->ifindex};

	request(k, &q, NULL, 0);
}

void keeper_member(struct keeper *k, uint64_t session, uint64_t tag, int fd, int ifindex,
		   const struct udplane_addr *group)
{
	struct keeper_request q = {
		.op = KEEPER_MEMBER, .session = session, .tag = tag, .fd = fd, .ifindex = ifindex};

	q.to_len = udplane_addr_to_sockaddr(group, group->family, &q.to);
	request(k, &q, NULL, 0);
}

void keeper_send(struct keeper *k, uint64_t session, int fd, const struct sockaddr *to,
		 socklen_t to_len, const struct udplane_tx_asked *asked, const void *payload,
		 size_t len)
{
	struct keeper_request q = {.op = KEEPER_SEND,
				   .session = session,
				   .fd = fd,
				   .len = (uint32_t)len,
				   .asked = *asked,
				   .to_len = to_len};

	memcpy(&q.to, to, to_len);
	if (len > KEEPER_PAYLOAD_MAX || request(k, &q, payload, MSG_DONTWAIT))
		__atomic_fetch_add(&k->shared->counts.failed, 1, __ATOMIC_RELAXED);
}

void keeper_close(struct keeper *k, uint64_t session, int fd)
{
	keeper_flush(k);
	k->held = session;
	k->held_fd = fd;
}

void keeper_flush(struct keeper *k)
{
	struct keeper_request q = {.op = KEEPER_CLOSE, .session = k->held, .fd = k->held_fd};

	if (!k->held)
		return;
	k->held = 0;
	request(k, &q, NULL, 0);
}

void keeper_barrier(struct keeper *k, uint64_t session, uint64_t tag)
{
	struct keeper_request q = {.op = KEEPER_BARRIER, .session = session, .tag = tag, .fd = -1};

	if (k->held == session) {
		q.fd = k->held_fd;
		k->held = 0;
	}
	request(k, &q, NULL, 0);
}

void keeper_end(struct keeper *k, uint64_t session)
{
	struct keeper_request q = {.op = KEEPER_END, .session = session};

	request(k, &q, NULL, 0);
}

struct keeper_counts keeper_counted(struct keeper *k)
{
	struct keeper_counts now = {
		.sent = __atomic_load_n(&k->shared->counts.sent, __ATOMIC_RELAXED),
		.failed = __atomic_load_n(&k->shared->counts.failed, __ATOMIC_RELAXED),
	};
	struct keeper_counts grown = {now.sent - k->seen.sent, now.failed - k->seen.failed};

	k->seen = now;
	return grown;
}
