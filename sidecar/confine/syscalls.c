/* SPDX-License-Identifier: Apache-2.0 */
/* Limits system calls by seccomp: one that is not listed fails with EPERM and is logged. */
#include "sidecar/base/log.h"
#include "sidecar/confine/confine.h"
#include <errno.h>
#include <linux/audit.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

/* A sanitizer's runtime makes system calls of its own. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CONFINED 0
#else
#define CONFINED 1
#endif

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

/* Lists for readers to extend; clang-format would indent each call differently. */
/* clang-format off */

/* What a daemon does with files, memory, threads, time and sockets. Not here, among others: execve, ptrace, process_vm_readv, mount,
 * setns, unshare, pidfd_getfd, open_by_handle_at, init_module, kexec_load, keyctl, perf_event_open, userfaultfd, io_uring_setup. */
#define DAEMON \
	CALL(read) CALL(write) CALL(readv) CALL(writev) CALL(pread64) CALL(pwrite64) CALL(close) \
	CALL(lseek) CALL(openat) CALL(fstat) CALL(newfstatat) CALL(statx) CALL(faccessat) \
	CALL(faccessat2) CALL(readlinkat) CALL(unlinkat) CALL(mkdirat) CALL(renameat2) \
	CALL(fchmod) CALL(fchmodat) CALL(fchown) CALL(fchownat) CALL(getdents64) CALL(getcwd) \
	CALL(ftruncate) CALL(fallocate) CALL(flock) CALL(fsync) CALL(utimensat) CALL(statfs) \
	CALL(fstatfs) CALL(symlinkat) CALL(linkat) CALL(close_range) CALL(sendfile) CALL(mmap) \
	CALL(munmap) CALL(mremap) CALL(mprotect) CALL(madvise) CALL(brk) CALL(mlock) \
	CALL(mlock2) CALL(munlock) CALL(mlockall) CALL(munlockall) CALL(mincore) CALL(msync) \
	CALL(memfd_create) CALL(mbind) CALL(set_mempolicy) CALL(get_mempolicy) CALL(move_pages) \
	CALL(futex) CALL(set_robust_list) CALL(get_robust_list) CALL(rseq) CALL(clone) \
	CALL(exit) CALL(exit_group) CALL(gettid) CALL(getpid) CALL(getppid) \
	CALL(set_tid_address) CALL(membarrier) CALL(sched_yield) CALL(sched_getaffinity) \
	CALL(sched_setaffinity) CALL(sched_setscheduler) CALL(sched_getscheduler) \
	CALL(sched_getparam) CALL(sched_setparam) CALL(sched_get_priority_max) \
	CALL(sched_get_priority_min) CALL(sched_setattr) CALL(sched_getattr) CALL(getpriority) \
	CALL(setpriority) CALL(getcpu) CALL(getrusage) CALL(times) CALL(rt_sigaction) \
	CALL(rt_sigprocmask) CALL(rt_sigreturn) CALL(rt_sigpending) CALL(rt_sigtimedwait) \
	CALL(rt_sigsuspend) CALL(sigaltstack) CALL(tgkill) CALL(tkill) CALL(kill) \
	CALL(signalfd4) CALL(restart_syscall) CALL(clock_gettime) CALL(clock_getres) \
	CALL(clock_nanosleep) CALL(nanosleep) CALL(gettimeofday) CALL(timerfd_create) \
	CALL(timerfd_settime) CALL(timerfd_gettime) CALL(timer_create) CALL(timer_settime) \
	CALL(timer_delete) CALL(timer_gettime) CALL(timer_getoverrun) CALL(setitimer) \
	CALL(epoll_create1) CALL(epoll_ctl) CALL(epoll_pwait) CALL(epoll_pwait2) CALL(ppoll) \
	CALL(pselect6) CALL(eventfd2) CALL(pipe2) CALL(dup) CALL(dup3) CALL(fcntl) CALL(ioctl) \
	CALL(inotify_init1) CALL(inotify_add_watch) CALL(inotify_rm_watch) CALL(socket) \
	CALL(socketpair) CALL(bind) CALL(listen) CALL(accept) CALL(accept4) CALL(connect) \
	CALL(shutdown) CALL(getsockname) CALL(getpeername) CALL(getsockopt) CALL(setsockopt) \
	CALL(sendto) CALL(recvfrom) CALL(sendmsg) CALL(recvmsg) CALL(sendmmsg) CALL(recvmmsg) \
	CALL(getuid) CALL(geteuid) CALL(getgid) CALL(getegid) CALL(getgroups) CALL(getrandom) \
	CALL(uname) CALL(sysinfo) CALL(prctl) CALL(capget) CALL(capset) CALL(prlimit64) \
	CALL(getrlimit) CALL(setrlimit) CALL(umask) CALL(wait4) CALL(waitid)

/* Old names of the same. */
#define DAEMON_X86 \
	CALL(open) CALL(stat) CALL(lstat) CALL(access) CALL(readlink) CALL(unlink) CALL(mkdir) \
	CALL(rmdir) CALL(rename) CALL(chmod) CALL(chown) CALL(getdents) CALL(poll) CALL(select) \
	CALL(epoll_wait) CALL(epoll_create) CALL(eventfd) CALL(pipe) CALL(dup2) CALL(time) \
	CALL(arch_prctl) CALL(signalfd) CALL(inotify_init) CALL(renameat)

#define KEEPER \
	CALL(read) CALL(write) CALL(close) CALL(fstat) CALL(newfstatat) CALL(recvmsg) \
	CALL(sendmsg) CALL(sendto) CALL(recvfrom) CALL(getsockopt) CALL(setsockopt) \
	CALL(getsockname) CALL(getpeername) CALL(shutdown) CALL(mmap) CALL(munmap) \
	CALL(mprotect) CALL(madvise) CALL(mremap) CALL(brk) CALL(futex) CALL(set_robust_list) \
	CALL(rseq) CALL(clone) CALL(exit) CALL(exit_group) CALL(gettid) CALL(getpid) \
	CALL(sched_yield) CALL(rt_sigaction) CALL(rt_sigprocmask) CALL(rt_sigreturn) \
	CALL(restart_syscall) CALL(clock_gettime) CALL(clock_nanosleep) CALL(nanosleep) \
	CALL(getrandom) CALL(prctl) CALL(tgkill)

/* clang-format on */

#define CALL(name) SYS_##name,
static const uint32_t daemon_calls[] = {DAEMON
#ifdef __x86_64__
						DAEMON_X86
#endif
};
static const uint32_t keeper_calls[] = {KEEPER};
#undef CALL

#define CALLS_MAX (sizeof(daemon_calls) / sizeof(daemon_calls[0]) + 1)
#define FIXED	  17 /* instructions that do not belong to the list */

static void refused(int sig, siginfo_t *info, void *context)
{
	static uint64_t said[16];
	ucontext_t *uc = context;
	uint32_t nr = (uint32_t)info->si_syscall;

	(void)sig;
#if defined(__x86_64__)
	uc->uc_mcontext.gregs[REG_RAX] = -EPERM;
#elif defined(__aarch64__)
	uc->uc_mcontext.regs[0] = (uint64_t)-EPERM;
#endif
	if (nr / 64 < 16 && __atomic_fetch_or(&said[nr / 64], 1ull << (nr % 64), __ATOMIC_RELAXED) &
				    1ull << (nr % 64))
		return;
	log_error("system call %u is not on the list (seccomp) and was refused: please report this",
		  nr);
}

static struct sock_filter statement(uint16_t code, uint32_t k)
{
	return (struct sock_filter){code, 0, 0, k};
}

static struct sock_filter jump(uint16_t code, uint32_t k, uint32_t yes, uint32_t no)
{
	return (struct sock_filter){code, (uint8_t)yes, (uint8_t)no, k};
}

/* Each entry has its own return, since a jump reaches only 255 instructions. */
static uint16_t build(struct sock_filter *f, const uint32_t *calls, uint32_t cnt, bool bpf)
{
	struct sock_filter *at = f;

	*at++ = statement(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
	*at++ = jump(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
	*at++ = statement(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
	*at++ = statement(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	/* Its flags are in memory, where seccomp cannot see them; glibc then uses clone(). */
	*at++ = jump(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1);
	*at++ = statement(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS);
	for (uint32_t i = 0; i < cnt + bpf; i++) {
		uint32_t nr = i < cnt ? calls[i] : SYS_bpf;

		if (nr == SYS_clone)
			continue;
		*at++ = jump(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1);
		*at++ = statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	}
	/* Queries which programs act on a control group or an interface: all that every backend
	 * needs. */
	if (!bpf && cnt == sizeof(daemon_calls) / sizeof(daemon_calls[0])) {
		*at++ = jump(BPF_JMP | BPF_JEQ | BPF_K, SYS_bpf, 0, 4);
		*at++ = statement(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0]));
		*at++ = jump(BPF_JMP | BPF_JEQ | BPF_K, BPF_PROG_QUERY, 0, 1);
		*at++ = statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
		*at++ = statement(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
	}
	/* Threads only. */
	*at++ = jump(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3);
	*at++ = statement(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0]));
	*at++ = jump(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 0, 1);
	*at++ = statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	*at++ = statement(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
	return (uint16_t)(at - f);
}

int confine_syscalls(enum confine_process process)
{
	bool keeper = process == CONFINE_KEEPER;
	struct sock_filter f[FIXED + 2 * CALLS_MAX];
	struct sock_fprog prog = {
		.len = build(f, keeper ? keeper_calls : daemon_calls,
			     keeper ? sizeof(keeper_calls) / sizeof(keeper_calls[0])
				    : sizeof(daemon_calls) / sizeof(daemon_calls[0]),
			     process == CONFINE_AF_XDP),
		.filter = f,
	};
	struct sigaction act = {.sa_sigaction = refused, .sa_flags = SA_SIGINFO | SA_NODEFER};
	sigset_t set;
	long r;

	if (!CONFINED)
		return 0;
	sigemptyset(&set);
	sigaddset(&set, SIGSYS);
	sigprocmask(SIG_UNBLOCK, &set, NULL); /* if it were blocked, a refusal would kill */
	if (sigaction(SIGSYS, &act, NULL) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &prog);
	return r < 0   ? -errno
	       : r > 0 ? -ESRCH
		       : 0; /* > 0: the number of a thread that has another filter */
}
