/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Code that runs in the keeper process. One thread reads requests and puts each into the queue of
 * its client. Other threads take one client at a time, and carry out the jobs in its queue until it
 * is empty. A thread that may wait for a client is never the only one that could listen.
 */
#include "sidecar/keeper/process.h"

#include "sidecar/base/log.h"
#include "sidecar/confine/confine.h"
#include <errno.h>
#include <linux/futex.h>
#include <linux/sock_diag.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/syscall.h>
#include <udplane/clock.h>
#include <unistd.h>

/* descriptor of the channel in this process; those above it were passed by clients */
#define CHANNEL	    3
#define MESSAGE_FDS 253	 /* SCM_MAX_FD, the largest number in one message */
#define HANDS_MAX   1024 /* threads; clients beyond that wait for one */
#define HANDS_IDLE  4	 /* threads that stay when there is nothing to do */
/* Bytes of payload that may wait in a client's queue; datagrams beyond that are lost. */
#define QUEUE_BYTES 262144
/* Unread messages to receive from a socket before it is closed. Any that are left harm only the
 * thread that closes it. */
#define UNREAD_MAX 4096
#define STACK	   131072
/* Time to look for requests after an answer; a claim and the requests after it come at shorter
 * intervals. */
#define LOOK_NS	    100000
#define LOST_CPU_NS 20000 /* if a sched_yield() takes longer, something else has run */
#define BUCKETS	    256

struct job {
	STAILQ_ENTRY(job) link;
	struct keeper_request q;
	uint32_t fd_cnt;
	int fd[KEEPER_BURY_MAX]; /* descriptors that came with the request */
	uint8_t payload[];
};

struct customer {
	LIST_ENTRY(customer) link; /* in the bucket of its session */
	STAILQ_ENTRY(customer) turn;
	uint64_t session; /* 0 for a single BURY; then in no bucket */
	STAILQ_HEAD(, job) jobs;
	uint32_t bytes; /* payload in jobs */
	bool busy;	/* in `waiting`, or served by a thread */
	/* the kept descriptors; used only by the thread that carries out its jobs */
	int *fd;
	uint32_t fd_cnt, fd_room;
};

static struct {
	struct keeper_shared *shared;
	uint32_t files;		/* descriptors that all customers together may have */
	uint32_t used;		/* descriptors that they do have, kept or being examined; atomic */
	uint64_t look_until_ns; /* atomic */
	bool may_look;		/* there is more than one CPU */
	pthread_mutex_t lock;	/* protects all fields below, and struct customer except fd */
	LIST_HEAD(, customer) bucket[BUCKETS];
	STAILQ_HEAD(, customer) waiting;
	uint32_t hands, idle; /* threads; idle: those of them that wait to be called */
	bool listening;	      /* a thread reads the channel */
} keeper = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- calls that may wait for a client ---- */

/* Closes a descriptor that is not kept. Turns SO_LINGER off, because a socket that lingers would
 * block this thread for as long as its owner chose. */
static void let_go(int fd)
{
	struct linger off = {0};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &off, sizeof(off));
	close(fd);
}

static void reply(struct keeper_reply *r, const struct keeper_request *q)
{
	r->op = q->op;
	r->session = q->session;
	r->tag = q->tag;
	(void)!send(CHANNEL, r, sizeof(*r), MSG_NOSIGNAL);
}

/* Sends the reply for which a client is waiting. */
static void answered(struct keeper_reply *r, const struct keeper_request *q)
{
	reply(r, q);
	__atomic_store_n(&keeper.look_until_ns, clock_now_ns() + LOOK_NS, __ATOMIC_RELAXED);
}

/* Receives one message with up to room descriptors. *cut: there were more, which the kernel has
 * closed during the call. Returns what recvmsg() returned. */
static ssize_t receive(int from, void *buf, size_t len, int flags, int *fds, uint32_t room,
		       uint32_t *cnt, bool *cut)
{
	union {
		char space[CMSG_SPACE(MESSAGE_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = buf, .iov_len = len};
	struct msghdr mh = {.msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = room ? control.space : NULL,
			    .msg_controllen = room ? CMSG_LEN(room * sizeof(int)) : 0};
	ssize_t n = recvmsg(from, &mh, flags | MSG_CMSG_CLOEXEC | MSG_TRUNC);

	*cnt = 0;
	*cut = n >= 0 && mh.msg_flags & MSG_CTRUNC;
	for (struct cmsghdr *cm = n >= 0 ? CMSG_FIRSTHDR(&mh) : NULL; cm;
	     cm = CMSG_NXTHDR(&mh, cm)) {
		if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS)
			continue;
		/* Linux puts all descriptors into one control message. */
		*cnt = (uint32_t)((cm->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(cm), *cnt * sizeof(int));
	}
	return n;
}

/* Reserves room for up to want descriptors. Returns for how many, 0 if the table is full. */
static uint32_t reserve(uint32_t want)
{
	uint32_t used = __atomic_load_n(&keeper.used, __ATOMIC_RELAXED), n;

	do {
		n = used >= keeper.files	 ? 0
		    : keeper.files - used < want ? keeper.files - used
						 : want;
	} while (n && !__atomic_compare_exchange_n(&keeper.used, &used, used + n, false,
						   __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	return n;
}

static void unreserve(uint32_t n)
{
	__atomic_fetch_sub(&keeper.used, n, __ATOMIC_RELAXED);
}

static bool keep(struct customer *c, int fd)
{
	if (c->fd_cnt == c->fd_room) {
		uint32_t room = c->fd_room ? 2 * c->fd_room : 8;
		int *more = realloc(c->fd, room * sizeof(*more));

		if (!more)
			return false;
		c->fd = more;
		c->fd_room = room;
	}
	c->fd[c->fd_cnt++] = fd;
	return true;
}

static enum udplane_reason verify(int fd, const struct keeper_request *q, struct keeper_reply *r)
{
	struct claim_rules rules = {.netns_cookie = q->netns_cookie, .ifindex = q->ifindex};
	uint32_t info[SK_MEMINFO_VARS] = {0};
	socklen_t len = sizeof(info);
	struct error error;

	r->reason = claim_verify(fd, &rules, &r->claim, &error);
	error_copy(&error, r->text, sizeof(r->text));
	if (!r->reason && !getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len) &&
	    len == sizeof(info))
		r->drops = info[SK_MEMINFO_DROPS];
	return r->reason;
}

/* Receives one message. Keeps the descriptor that came with it if it is a single one and a valid
 * socket, and closes all others. */
static void take(struct customer *c, struct job *j)
{
	struct keeper_reply r = {.fd = -1};
	int fds[MESSAGE_FDS];
	uint32_t room = reserve(MESSAGE_FDS), cnt, kept = 0;
	bool cut;
	ssize_t n = receive(j->fd[0], r.msg, sizeof(r.msg), MSG_DONTWAIT, fds, room, &cnt, &cut);

	r.len = n < 0 ? -errno : (int32_t)n;
	r.fd_cnt = cnt + cut;
	if (cut && !cnt) {
		r.reason = UDPLANE_REASON_DESCRIPTORS;
		snprintf(r.text, sizeof(r.text),
			 "udplaned holds as many descriptors as it may; raise its RLIMIT_NOFILE");
	} else if (cnt == 1 && !cut && !verify(fds[0], &j->q, &r)) {
		kept = keep(c, fds[0]);
		r.fd = kept ? fds[0] : -1;
		r.reason = kept ? UDPLANE_REASON_NONE : UDPLANE_REASON_NO_MEMORY;
	}
	close(j->fd[0]);
	/* Reply before calls that may wait, so that the client learns of a refusal. */
	answered(&r, &j->q);
	for (uint32_t i = kept; i < cnt; i++)
		let_go(fds[i]);
	unreserve(room - kept);
}

static void forget(struct customer *c, int fd)
{
	for (uint32_t i = 0; i < c->fd_cnt; i++) {
		if (c->fd[i] != fd)
			continue;
		c->fd[i] = c->fd[--c->fd_cnt];
		close(fd);
		unreserve(1);
		return;
	}
}

static void send_one(const struct job *j)
{
	union {
		char space[UDPLANE_TX_CONTROL_MAX];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = (void *)j->payload, .iov_len = j->q.len};
	struct msghdr mh = {.msg_name = (void *)&j->q.to,
			    .msg_namelen = j->q.to_len,
			    .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control.space,
			    .msg_controllen = udplane_tx_control(&j->q.asked, control.space)};
	ssize_t n = sendmsg(j->q.fd, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);

	__atomic_fetch_add(n >= 0 ? &keeper.shared->counts.sent : &keeper.shared->counts.failed, 1,
			   __ATOMIC_RELAXED);
}

/* Receives one message from a UNIX socket with SO_PASSCRED. Returns false at the end; the
 * credentials distinguish an empty message from the end. */
static bool receive_unread(int fd, int *fds, uint32_t room, uint32_t *cnt)
{
	union {
		char space[CMSG_SPACE(sizeof(struct ucred)) +
			   CMSG_SPACE(MESSAGE_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	char byte;
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	struct msghdr mh = {.msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control.space,
			    .msg_controllen = CMSG_SPACE(sizeof(struct ucred)) +
					      CMSG_LEN(room * sizeof(int))};

	*cnt = 0;
	if (recvmsg(fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0 || !mh.msg_controllen)
		return false;
	for (struct cmsghdr *cm = CMSG_FIRSTHDR(&mh); cm; cm = CMSG_NXTHDR(&mh, cm)) {
		if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS)
			continue;
		*cnt = (uint32_t)((cm->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(cm), *cnt * sizeof(int));
	}
	return true;
}

/* Closes a descriptor. If it is a UNIX socket, first receives all descriptors in unread messages,
 * as these could linger when they are closed with it. No more messages come: the owner has shut the
 * socket down. */
static void bury(int fd)
{
	int domain = 0, one = 1, fds[MESSAGE_FDS];
	socklen_t len = sizeof(domain);
	uint32_t room = 0, cnt;

	if (!getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) && domain == AF_UNIX &&
	    !setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)))
		room = reserve(MESSAGE_FDS);
	for (int i = 0; room && i < UNREAD_MAX && receive_unread(fd, fds, room, &cnt); i++)
		while (cnt)
			let_go(fds[--cnt]);
	let_go(fd);
	unreserve(room);
}

static void look_at_member(const struct keeper_request *q, struct keeper_reply *r)
{
	struct udplane_addr group;

	udplane_addr_from_sockaddr(&group, &q->to, q->to_len);
	claim_read_member(q->fd, q->ifindex, &group, &r->member);
}

/* Carries out a job. Returns true if it was the last one of this client. */
static bool carry_out(struct customer *c, struct job *j)
{
	struct keeper_reply r = {.fd = j->q.fd};

	switch (j->q.op) {
	case KEEPER_TAKE: take(c, j); return false;
	case KEEPER_VERIFY:
		verify(j->q.fd, &j->q, &r);
		answered(&r, &j->q);
		return false;
	case KEEPER_MEMBER:
		look_at_member(&j->q, &r);
		answered(&r, &j->q);
		return false;
	case KEEPER_SEND: send_one(j); return false;
	case KEEPER_CLOSE: forget(c, j->q.fd); return false;
	case KEEPER_BARRIER:
		forget(c, j->q.fd);
		answered(&r, &j->q);
		return false;
	case KEEPER_BURY:
		for (uint32_t i = 0; i < j->fd_cnt; i++)
			bury(j->fd[i]);
		r.fd_cnt = j->fd_cnt;
		reply(&r, &j->q);
		return true;
	case KEEPER_END:
		while (c->fd_cnt)
			forget(c, c->fd[0]);
		return true;
	}
	return false;
}

/* ---- threads ---- */

static void *hand_main(void *arg);

/* Called with the lock held; releases it while it carries out a job. */
static void serve(struct customer *c)
{
	bool last = false;
	struct job *j;

	while (!last && (j = STAILQ_FIRST(&c->jobs))) {
		STAILQ_REMOVE_HEAD(&c->jobs, link);
		c->bytes -= j->q.len;
		pthread_mutex_unlock(&keeper.lock);
		last = carry_out(c, j);
		free(j);
		pthread_mutex_lock(&keeper.lock);
	}
	c->busy = false;
	if (!last)
		return;
	if (c->session)
		LIST_REMOVE(c, link);
	free(c->fd);
	free(c);
}

/* Called with the lock held. Creates a thread that will look for work. Returns false if no more
 * threads can be created. */
static bool make_hand(void)
{
	pthread_attr_t attr;
	pthread_t thread;
	bool made;

	if (keeper.hands >= HANDS_MAX)
		return false;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK);
	made = !pthread_create(&thread, &attr, hand_main, NULL);
	keeper.hands += made;
	pthread_attr_destroy(&attr);
	return made;
}

static struct customer *find(uint64_t session)
{
	struct customer *c;

	if (session)
		LIST_FOREACH(c, &keeper.bucket[session % BUCKETS], link)
			if (c->session == session)
				return c;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	STAILQ_INIT(&c->jobs);
	c->session = session;
	if (session)
		LIST_INSERT_HEAD(&keeper.bucket[session % BUCKETS], c, link);
	return c;
}

/* Called with the lock held. Adds the job to its client's queue. Returns false if memory is short
 * or the queue is full; the job then still belongs to the caller. */
static bool enqueue(struct job *j)
{
	struct customer *c = find(j->q.session);

	if (!c || c->bytes + j->q.len > QUEUE_BYTES)
		return false;
	STAILQ_INSERT_TAIL(&c->jobs, j, link);
	c->bytes += j->q.len;
	if (!c->busy)
		STAILQ_INSERT_TAIL(&keeper.waiting, c, turn);
	c->busy = true;
	return true;
}

/* Polls for a request until it is time to sleep, or something else needs this CPU, and then waits
 * for one. A request that comes while it polls need not wake a thread; with an idle CPU, that
 * wake-up is most of the time that a claim takes. Returns what receive() returned. */
static ssize_t look_for_request(void *buf, size_t len, int *fds, uint32_t *cnt, bool *cut)
{
	uint64_t end =
		keeper.may_look ? __atomic_load_n(&keeper.look_until_ns, __ATOMIC_RELAXED) : 0;
	uint64_t before = clock_now_ns(), now = before;

	while (now < end && now - before < LOST_CPU_NS) {
		ssize_t n =
			receive(CHANNEL, buf, len, MSG_DONTWAIT, fds, KEEPER_BURY_MAX, cnt, cut);

		if (n >= 0 || errno != EAGAIN)
			return n;
		before = clock_now_ns();
		sched_yield();
		now = clock_now_ns();
	}
	return receive(CHANNEL, buf, len, 0, fds, KEEPER_BURY_MAX, cnt, cut);
}

/* Waits for a request. Returns NULL if memory is short. */
static struct job *read_request(void)
{
	static uint8_t buf[sizeof(struct keeper_request) + KEEPER_PAYLOAD_MAX]
		__attribute__((aligned(8))); /* used by one thread at a time */
	const struct keeper_request *q = (const void *)buf;
	int fds[MESSAGE_FDS];
	uint32_t cnt;
	bool cut;
	ssize_t n;
	struct job *j;

	do {
		n = look_for_request(buf, sizeof(buf), fds, &cnt, &cut);
	} while (n < 0 && errno == EINTR);
	if (n < (ssize_t)sizeof(*q) || n > (ssize_t)sizeof(buf))
		_exit(0); /* udplaned is gone */
	j = malloc(sizeof(*j) + (size_t)n - sizeof(*q));
	if (!j)
		return NULL;
	j->q = *q;
	j->q.len = (uint32_t)((size_t)n - sizeof(*q));
	j->fd_cnt = cnt;
	memcpy(j->fd, fds, cnt * sizeof(*fds));
	memcpy(j->payload, buf + sizeof(*q), j->q.len);
	return j;
}

/* Called with the lock held; releases it while it waits for a request. */
static void listen_once(void)
{
	struct job *j;

	keeper.listening = true;
	__atomic_store_n(&keeper.shared->listener, KEEPER_LISTENS, __ATOMIC_SEQ_CST);
	pthread_mutex_unlock(&keeper.lock);
	j = read_request();
	pthread_mutex_lock(&keeper.lock);
	keeper.listening = false;
	if (j && enqueue(j))
		return;
	__atomic_fetch_add(&keeper.shared->counts.failed, 1, __ATOMIC_RELAXED);
	free(j);
}

static bool heard_nothing(void)
{
	char byte;

	return recv(CHANNEL, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0;
}

/* Called with the lock held by the thread that listened, so that it can do something else. Another
 * thread listens now, or will be called at the next request. Returns false if there is no other
 * thread and no more can be created. */
static bool stop_listening(void)
{
	if (!keeper.idle)
		return make_hand();
	__atomic_store_n(&keeper.shared->listener, KEEPER_DEAF, __ATOMIC_SEQ_CST);
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* pairs with make_heard() */
	if (!heard_nothing())
		keeper_call(keeper.shared);
	return true;
}

/* Called with the lock held; releases it while it waits. `calls` is read with the lock held,
 * because a listener sets KEEPER_DEAF with the lock held: any call after that changes `calls`. */
static void wait_for_call(void)
{
	uint32_t calls = __atomic_load_n(&keeper.shared->calls, __ATOMIC_SEQ_CST);

	keeper.idle++;
	pthread_mutex_unlock(&keeper.lock);
	syscall(SYS_futex, &keeper.shared->calls, FUTEX_WAIT, calls, NULL, NULL, 0);
	pthread_mutex_lock(&keeper.lock);
	keeper.idle--;
}

/* At any time one thread listens, or one will be called when there is something to read; so a
 * thread that has read a request may carry it out. */
static void *hand_main(void *arg)
{
	struct customer *c;

	(void)arg;
	pthread_mutex_lock(&keeper.lock);
	for (;;) {
		c = STAILQ_FIRST(&keeper.waiting);
		if (c && (keeper.listening || stop_listening())) {
			STAILQ_REMOVE_HEAD(&keeper.waiting, turn);
			serve(c);
		} else if (!keeper.listening) {
			listen_once();
		} else if (keeper.idle >= HANDS_IDLE) {
			break;
		} else {
			wait_for_call();
		}
	}
	keeper.hands--;
	pthread_mutex_unlock(&keeper.lock);
	return NULL;
}

static void drop_privileges(void)
{
	int err = confine_no_capabilities();

	/* When a thread's arena shrinks, it reads /proc/sys/vm/overcommit_memory, and this process
	 * may not open files */
	mallopt(M_ARENA_MAX, 1);
	if (!err)
		err = confine_syscalls(CONFINE_KEEPER);
	if (err)
		log_warn("the keeper of descriptors has more rights than it needs: %s",
			 strerror(-err));
}

void keeper_process(int channel, struct keeper_shared *shared, uint32_t files)
{
	sigset_t all;
	cpu_set_t cpus;

	/* A signal to the process group or the unit is meant for udplaned itself: this process ends
	 * when that one has ended. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	prctl(PR_SET_NAME, "udplane-keeper", 0, 0, 0);
	if (dup2(channel, CHANNEL) < 0 || close_range(CHANNEL + 1, ~0u, 0))
		_exit(1);
	keeper.may_look = !sched_getaffinity(0, sizeof(cpus), &cpus) && CPU_COUNT(&cpus) > 1;
	drop_privileges();
	keeper.shared = shared;
	keeper.files = files;
	STAILQ_INIT(&keeper.waiting);
	keeper.hands = 1;
	hand_main(NULL);
	/* End only this thread; others continue. pthread_exit() would unwind stack frames inherited
	 * from the other process. */
	syscall(SYS_exit, 0);
	__builtin_unreachable();
}
