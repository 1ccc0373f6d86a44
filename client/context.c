/* SPDX-License-Identifier: Apache-2.0 */
/* The process-wide context: environment, log, fork. */
#include "client/internal.h"
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/un.h>
#include <unistd.h>

struct context context = {
	.ctl = PTHREAD_MUTEX_INITIALIZER, .share = {.fd = -1, .pipe = {-1, -1}}, .dir = {.fd = -1}};

/* --- lock --- */

static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};

static bool is_fault(int signo)
{
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		if (faults[i] == signo)
			return true;
	return false;
}

/* May this thread be in a signal handler? Those run with their signal blocked, unless they have
 * asked not to. (Those of sanitizers and crash reporters have. They jump, or do not return.) */
static bool in_handler(void)
{
	struct sigaction sa;
	sigset_t mask;

	if (__atomic_load_n(&context.ctl_owner, __ATOMIC_RELAXED) == thread_id())
		mask = context.ctl_state->mask;
	else if (pthread_sigmask(SIG_BLOCK, NULL, &mask))
		return true;
	for (int i = 1; i < NSIG; i++) {
		if (sigismember(&mask, i) == 1)
			return true;
		if (!is_fault(i) && !sigaction(i, NULL, &sa) && (sa.sa_flags & SA_NODEFER) &&
		    sa.sa_handler != SIG_DFL && sa.sa_handler != SIG_IGN)
			return true;
	}
	return false;
}

/* A handler's frames lie below those that it has interrupted, if they are on the same stack. */
bool frame_is_gone(uintptr_t noted, uintptr_t frame)
{
	stack_t ss;

	if (sigaltstack(NULL, &ss) == 0 && (ss.ss_flags & SS_ONSTACK))
		return false;
	if (frame >= noted && frame - noted < 1 << 20)
		return true;
	return !in_handler();
}

enum lock_result lock_wait(struct lock *l, uintptr_t frame)
{
	enum lock_result got = LOCK_BUSY;
	uint64_t end = 0;

	if (lock_mine(l)) {
		if (!frame_is_gone(l->frame, frame))
			return LOCK_BUSY;
		l->frame = frame;
		return LOCK_STOLEN;
	}
	__atomic_fetch_add(&l->waiters, 1, __ATOMIC_RELAXED);
	for (uint32_t i = 0;; i++) {
		if (!__atomic_load_n(&l->owner, __ATOMIC_RELAXED) && lock_try(l)) {
			l->frame = frame;
			got = LOCK_TAKEN;
			break;
		}
		if (i < 100) {
			udplane_pause();
		} else if (i < 200) {
			sched_yield();
		} else { /* the holder may be of lower priority than we: let it run */
			end = end ? end : clock_now_ns() + LOCK_PATIENCE_NS;
			syscall(SYS_nanosleep, &(struct timespec){.tv_nsec = 20000}, NULL);
			if (clock_now_ns() > end)
				break;
		}
	}
	__atomic_fetch_sub(&l->waiters, 1, __ATOMIC_RELAXED);
	return got;
}

static void ctl_begin(struct ctl_state *st)
{
	sigset_t most;

	sigfillset(&most);
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		sigdelset(&most, faults[i]);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &st->cancel);
	pthread_sigmask(SIG_BLOCK, &most, &st->mask);
}

static void ctl_end(const struct ctl_state *st)
{
	int state;

	pthread_sigmask(SIG_SETMASK, &st->mask, NULL);
	pthread_setcancelstate(st->cancel, &state);
}

static void ctl_own(const struct ctl_state *st)
{
	context.ctl_state = st;
	__atomic_store_n(&context.ctl_owner, thread_id(), __ATOMIC_RELAXED);
}

void ctl_lock(struct ctl_state *st)
{
	ctl_begin(st);
	pthread_mutex_lock(&context.ctl);
	ctl_own(st);
}

bool ctl_trylock(struct ctl_state *st)
{
	ctl_begin(st);
	if (pthread_mutex_trylock(&context.ctl)) {
		ctl_end(st);
		return false;
	}
	ctl_own(st);
	return true;
}

void ctl_unlock(const struct ctl_state *st)
{
	__atomic_store_n(&context.ctl_owner, 0, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&context.ctl);
	ctl_end(st);
}

const char *reason_name(uint32_t reason)
{
	static const char *const name[] = {
#define UDPLANE_REASON(id, name, help) name,
#include <udplane/reasons.h>
#undef UDPLANE_REASON
	};

	return reason < UDPLANE_REASON_CNT ? name[reason] : "unknown";
}

void context_log(int level, const char *format, ...)
{
	char line[512];
	va_list ap;
	int n, m;

	if (context.log < level)
		return;
	n = snprintf(line, sizeof(line), "udplane[%d]: ", (int)getpid());
	va_start(ap, format);
	m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, format, ap);
	va_end(ap);
	n = m < 0 || (size_t)(n + m) > sizeof(line) - 2 ? (int)sizeof(line) - 2 : n + m;
	line[n] = '\n';
	if (raw_write(STDERR_FILENO, line, (size_t)n + 1) < 0)
		return;
}

void context_set_reason(uint32_t reason, const char *format, ...)
{
	char text[UDPLANE_TEXT_LEN];
	va_list ap;
	bool news;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	if (!lock_take(&context.info_lock))
		return;
	news = context.reason != reason || strcmp(context.text, text);
	context.reason = reason;
	memcpy(context.text, text, sizeof(text));
	lock_drop(&context.info_lock);
	if (news && reason)
		context_log(1, "not attached: %s: %s", reason_name(reason), text);
}

/* --- fork --- */

/* No new socket and no half-said message in the child. A thread that forks from a signal handler
 * inside the library must not hang. This is per thread, but the lock lets in one alone. */
static struct ctl_state fork_state;
static bool fork_table;

static void fork_prepare(void)
{
	struct ctl_state st;
	struct timespec until;
	bool got;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 2;
	ctl_begin(&st);
	got = pthread_mutex_timedlock(&context.ctl, &until) == 0;
	if (!got) {
		ctl_end(&st);
		return;
	}
	fork_state = st;
	ctl_own(&fork_state);
	share_prepare();
	fork_table = lock_take(&context.table_lock);
}

static void fork_parent(void)
{
	struct ctl_state st = fork_state;

	if (__atomic_load_n(&context.ctl_owner, __ATOMIC_RELAXED) != thread_id())
		return;
	if (fork_table)
		lock_drop(&context.table_lock);
	share_parent();
	ctl_unlock(&st);
}

/* The parent's rings and its epoll instance are not ours: a new instance takes the place of the
 * inherited one, now, since the application may give the descriptor to an epoll of its own before
 * it calls us. */
static void fork_child_sock(struct sock *s)
{
	struct epoll_event ev = {.events = EPOLLIN};
	struct pktbuf *b;
	int ep;

	memset(&s->rx_lock, 0, sizeof(s->rx_lock));
	memset(&s->tx_lock, 0, sizeof(s->tx_lock));
	memset(s->visitor, 0, sizeof(s->visitor));
	__atomic_store_n(&s->refs, 1, __ATOMIC_RELAXED);
	if (s->closed)
		return;
	ep = sock_kernel_is(s) && sock_fd_is(s) ? epoll_create1(EPOLL_CLOEXEC) : -1;
	if (ep >= 0) {
		int flags = table_fd_flags(s->fd);

		epoll_ctl(ep, EPOLL_CTL_ADD, s->kfd,
			  &(struct epoll_event){.events = RX_KERNEL_EVENTS});
		if (s->queue)
			epoll_ctl(ep, EPOLL_CTL_ADD, s->queue_fd, &ev);
		dup3(ep, s->fd, flags);
		close(ep);
	}
	s->self_signal = false;
	if (s->burst_cnt && s->burst_lane)
		memset(&s->burst_lane->tx_lock, 0, sizeof(s->burst_lane->tx_lock));
	burst_cancel(s);
	s->lane = NULL;
	own_close(&s->wake_fd);
	s->tokens = 0;
	free(s->rxq);
	s->rxq = NULL;
	s->rxq_cnt = 0;
	if (s->att)
		attach_put(s->att);
	s->att = NULL;
	if (s->held)
		attach_put(s->held);
	s->held = NULL;
	s->lazy =
		!s->shared; /* else it is claimed when nobody else has it any more, be it to send */
	s->direct = 0;
	s->rx_error = 0;
	while ((b = s->saved) != NULL) { /* the parent's: there was no memory for a queue */
		s->saved = b->next;
		pktbuf_put(b);
	}
	s->saved_end = &s->saved;
	if (!s->kernel_only && !context.disabled)
		s->retry_ns = 0;
}

static void fork_child(void)
{
	struct attach *a = context.att;
	struct ctl_state st = fork_state;
	bool mine = context.ctl_owner == thread_id();

	memset(&context.table_lock, 0, sizeof(context.table_lock));
	memset(&context.info_lock, 0, sizeof(context.info_lock));
	memset(&context.buf_lock, 0, sizeof(context.buf_lock));
	pthread_mutex_init(&context.ctl, NULL);
	context.ctl_owner = 0;
	if (a)
		__atomic_store_n(&a->live, 0, __ATOMIC_RELAXED);
	table_each_raw(fork_child_sock);
	restart_child();
	if (mine)
		share_child();
	context.att = NULL;
	attach_forget_hello();
	context.next_attach_ns = 0;
	context.attach_wait_ns = 0;
	if (a) {
		attach_close_fds(a);
		attach_put(a);
	}
	if (mine)
		ctl_end(&st);
}

/* --- init --- */

static void read_environment(void)
{
	const char *path = getenv("UDPLANE_SOCKET"), *spin = getenv("UDPLANE_SPIN_US");
	const char *log = getenv("UDPLANE_LOG"), *off = getenv("UDPLANE_DISABLE"),
		   *yield = getenv("UDPLANE_YIELD");
	const char *root = getenv("UDPLANE_CHROOT");

	path = path && *path ? path : UDPLANE_DEFAULT_SOCKET;
	snprintf(context.path, sizeof(context.path), "%s", path);
	context.spin_ns = 1000ull * (spin && *spin ? strtoul(spin, NULL, 10) : RX_SPIN_DEFAULT_US);
	if (context.spin_ns > 1000000000ull)
		context.spin_ns = 1000000000ull;
	context.yield = yield && *yield ? !!strcmp(yield, "0") : -1;
	context.log = log ? atoi(log) : 0;
	context.disabled = off && *off && strcmp(off, "0");
	context.chroot = root && *root && strcmp(root, "0");
	if (context.disabled) {
		context_set_reason(UDPLANE_REASON_USER, "UDPLANE_DISABLE is set");
	} else if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
		context.disabled = true;
		context_set_reason(UDPLANE_REASON_NO_SIDECAR,
				   "UDPLANE_SOCKET has %zu bytes, and a socket's path %zu at most: "
				   "\"%.60s...\"",
				   strlen(path), sizeof(((struct sockaddr_un *)0)->sun_path) - 1,
				   path);
	}
	if (!context.disabled)
		context_set_reason(UDPLANE_REASON_NO_SIDECAR, "not tried yet");
}

static void init_once(void)
{
	read_environment();
	pthread_atfork(fork_prepare, fork_parent, fork_child);
}

void context_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, init_once);
}

void context_reset(void)
{
	struct ctl_state st;

	context_init();
	ctl_lock(&st);
	if (context.att)
		attach_bury(context.att);
	attach_forget_hello();
	dir_forget();
	context.next_attach_ns = 0;
	context.attach_wait_ns = 0;
	read_environment();
	ctl_unlock(&st);
}

const char *udplane_version(void)
{
	return UDPLANE_VERSION;
}
