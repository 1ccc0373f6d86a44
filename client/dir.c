/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory of the control socket, for a process whose path no longer leads there, after
 * chroot(2).
 *
 * An attacker who takes over a process could leave its root through a descriptor of a directory
 * outside. So the library keeps a detached mount of this one directory, which has nothing above it.
 * That takes CAP_SYS_ADMIN. An ordinary descriptor is kept only if UDPLANE_CHROOT is set. Under a
 * seccomp filter no mount is made, because many filters kill the process for it.
 *
 * A socket's name is looked up from the working directory, which is the process's. So a thread that
 * does not share it (clone(2) without CLONE_FS) goes there, connects, and ends, while this one
 * waits (CLONE_VFORK). As a thread it has the process's id, which udplaned reports, and nobody has
 * to wait for it.
 */
#include "client/dir.h"
#include "client/context.h"
#include "client/own.h"
#include "client/raw.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef SYS_open_tree
#define SYS_open_tree 428
#endif
#define TREE_CLONE	1 /* OPEN_TREE_CLONE, which old headers do not have */
#define CAP_SYS_ADMIN	21
#define STATUS_SIZE	4096
#define CONNECTOR_STACK (64 << 10) /* a seccomp filter may have a handler run on it */

/* Returns true if the thread has the capability and no seccomp filter, as far as can be known. */
static bool may_mount(void)
{
	char status[STATUS_SIZE];
	int fd = open("/proc/thread-self/status", O_RDONLY | O_CLOEXEC, 0);
	ssize_t n = fd >= 0 ? raw_read(fd, status, sizeof(status) - 1) : -1;
	const char *caps;

	if (fd >= 0)
		close(fd);
	status[n > 0 ? n : 0] = 0;
	caps = strstr(status, "\nCapEff:");
	return caps && (strtoull(caps + 8, NULL, 16) >> CAP_SYS_ADMIN & 1) &&
	       strstr(status, "\nSeccomp:\t0");
}

static bool is_of(int fd, const struct dir *d)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && st.st_dev == d->dev && st.st_ino == d->ino;
}

/* Returns true if the number is still that of the kept directory. (An O_PATH descriptor cannot
 * have the mark that own_is() checks.) */
static bool dir_is_kept(void)
{
	int flags = context.dir.fd >= 0 ? fcntl(context.dir.fd, F_GETFL) : -1;

	return flags >= 0 && (flags & O_PATH) && is_of(context.dir.fd, &context.dir);
}

void dir_forget(void)
{
	if (dir_is_kept())
		close(context.dir.fd);
	context.dir = (struct dir){.fd = -1};
}

/* Opens the directory that the path leads to now; -1 if none. */
static int dir_open(void)
{
	char path[sizeof(context.path)];
	char *slash;

	memcpy(path, context.path, sizeof(path));
	slash = strrchr(path, '/');
	if (!slash)
		return open(".", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	slash[slash == path] = 0;
	return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
}

void dir_keep(bool sure)
{
	int fd = dir_open(), kept = -1;
	struct stat st;

	if (fd < 0)
		return;
	if (fstat(fd, &st) || (context.dir.known && (!sure || is_of(fd, &context.dir)) &&
			       (context.dir.fd < 0 || dir_is_kept()))) {
		close(fd);
		return;
	}
	dir_forget();
	if (may_mount())
		kept = (int)syscall(SYS_open_tree, fd, "", TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH);
	if (kept < 0 && context.chroot) {
		kept = fd;
		fd = -1;
	}
	if (fd >= 0)
		close(fd);
	context.dir = (struct dir){.fd = kept >= 0 ? own_move(kept) : -1,
				   .known = true,
				   .dev = st.st_dev,
				   .ino = st.st_ino};
}

/* --- connector --- */

struct connector {
	int dir, fd;
	struct sockaddr_un name;
	int err; /* 0 or -errno; 1 if it has not run */
};

/* In a thread of its own that shares everything with the one that waits, errno too, but not the
 * working directory. */
#if defined(__clang__) || __GNUC__ >= 8
__attribute__((no_sanitize("address", "undefined", "thread")))
#endif
static void
connector_run(struct connector *e)
{
	stack_t none = {.ss_flags =
				/* it would inherit the alternate stack, on which this thread may
				 * be */
			SS_DISABLE};

	syscall(SYS_sigaltstack, &none, NULL);
	e->err = syscall(SYS_fchdir, e->dir) ||
				 syscall(SYS_connect, e->fd, &e->name, sizeof(e->name))
			 ? -errno
			 : 0;
}

#define CONNECTOR_FLAGS \
	(CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_FILES | CLONE_SYSVSEM | CLONE_VFORK)

/* Runs it, and returns when its thread has ended. (musl's clone() makes no threads.) */
static long connector_start(struct connector *e, void *stack_end)
{
#if defined(__x86_64__)
	register long ret __asm__("rax") = SYS_clone;
	register long r10 __asm__("r10") = 0;
	register long r8 __asm__("r8") = 0;
	register void (*run)(struct connector *) __asm__("r12") = connector_run;
	register struct connector *arg __asm__("r13") = e;

	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "mov %%r13, %%rdi\n\t"
			 "call *%%r12\n\t"
			 "xor %%edi, %%edi\n\t"
			 "mov %[exit], %%eax\n\t"
			 "syscall\n\t"
			 "hlt\n"
			 "1:"
			 : "+r"(ret)
			 : "D"((long)CONNECTOR_FLAGS), "S"(stack_end), "d"(0L), "r"(r10), "r"(r8),
			   "r"(run), "r"(arg), [exit] "i"(SYS_exit)
			 : "rcx", "r11", "memory", "cc");
	return ret;
#elif defined(__aarch64__)
	register long ret __asm__("x0") = CONNECTOR_FLAGS;
	register void *stack __asm__("x1") = stack_end;
	register long x2 __asm__("x2") = 0;
	register long x3 __asm__("x3") = 0;
	register long x4 __asm__("x4") = 0;
	register long nr __asm__("x8") = SYS_clone;
	register void (*run)(struct connector *) __asm__("x19") = connector_run;
	register struct connector *arg __asm__("x20") = e;

	__asm__ volatile("svc #0\n\t"
			 "cbnz x0, 1f\n\t"
			 "mov x29, xzr\n\t"
			 "mov x0, x20\n\t"
			 "blr x19\n\t"
			 "mov x0, xzr\n\t"
			 "mov x8, %[exit]\n\t"
			 "svc #0\n"
			 "1:"
			 : "+r"(ret)
			 : "r"(stack), "r"(x2), "r"(x3), "r"(x4), "r"(nr), "r"(run),
			   "r"(arg), [exit] "i"(SYS_exit)
			 : "memory", "cc");
	return ret;
#else
	(void)e;
	(void)stack_end;
	return -ENOSYS;
#endif
}

int dir_connect(int fd, int err)
{
	struct connector e = {
		.dir = context.dir.fd, .fd = fd, .name = {.sun_family = AF_UNIX}, .err = 1};
	const char *slash = strrchr(context.path, '/'), *name = slash ? slash + 1 : context.path;
	int there = dir_open();
	bool useless = is_of(there, &context.dir); /* the path leads there, but nobody listens */
	uint8_t *stack;

	if (there >= 0)
		close(there);
	if (useless || !dir_is_kept())
		return err;
	memcpy(e.name.sun_path, name, strnlen(name, sizeof(e.name.sun_path) - 1));
	stack = mmap(NULL, CONNECTOR_STACK, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	if (stack == MAP_FAILED)
		return err;
	connector_start(&e, stack + CONNECTOR_STACK);
	munmap(stack, CONNECTOR_STACK);
	return e.err > 0 ? err : e.err;
}
