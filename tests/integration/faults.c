/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of SIGSEGV and SIGBUS in a program with a UDP socket: prints the same with and
 * without the preload library, which handles them for itself. */
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

static volatile char *nowhere;
static sigjmp_buf back;
static char *stack;

static void touch(void)
{
	*nowhere = 1;
}

static void simple(int number)
{
	printf("handler %d\n", number);
	siglongjmp(back, 1);
}

static void returns(int number)
{
	printf("handler %d returns\n", number);
}

static void full(int number, siginfo_t *info, void *context)
{
	ucontext_t *u = context;
	char here;
	sigset_t now;

	sigprocmask(SIG_SETMASK, NULL, &now);
	printf("handler %d code %d at %d on stack %d masked %d %d before %d\n", number,
	       info->si_code, info->si_addr == nowhere, &here >= stack && &here < stack + 65536,
	       sigismember(&now, SIGSEGV), sigismember(&now, SIGUSR1),
	       sigismember(&u->uc_sigmask, SIGUSR2));
	siglongjmp(back, 1);
}

static void show(const char *when, int number)
{
	struct sigaction a;
	const char *what = "another";

	if (sigaction(number, NULL, &a))
		what = "error";
	else if (a.sa_handler == SIG_DFL)
		what = "default";
	else if (a.sa_handler == SIG_IGN)
		what = "ignored";
	else if (a.sa_handler == simple)
		what = "simple";
	else if (a.sa_sigaction == full)
		what = "full";
	printf("%s %d: %s, flags %#x, mask %d\n", when, number, what,
	       (unsigned int)a.sa_flags & ~0x04000000u /* SA_RESTORER */,
	       sigismember(&a.sa_mask, SIGUSR1));
}

static void with(const char *name, int flags)
{
	struct sigaction a = {.sa_flags = flags};

	printf("-- %s\n", name);
	if (flags & SA_SIGINFO)
		a.sa_sigaction = full;
	else
		a.sa_handler = simple;
	sigaddset(&a.sa_mask, SIGUSR1);
	sigaction(SIGSEGV, &a, NULL);
	show("set", SIGSEGV);
	if (sigsetjmp(back, 1) == 0)
		touch();
	show("after", SIGSEGV);
}

/* In a child: how it ends. */
static void ends(const char *name, void (*run)(void))
{
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		struct rlimit none = {0, 0};

		setrlimit(RLIMIT_CORE, &none);
		run();
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	printf("-- %s: signal %d status %d\n", name, WIFSIGNALED(status) ? WTERMSIG(status) : 0,
	       WIFEXITED(status) ? WEXITSTATUS(status) : 0);
}

static void by_default(void)
{
	signal(SIGSEGV, SIG_DFL);
	touch();
}

static void ignored(void)
{
	signal(SIGSEGV, SIG_IGN);
	touch();
}

static void sent_by_default(void)
{
	signal(SIGSEGV, SIG_DFL);
	raise(SIGSEGV);
}

static void sent_ignored(void)
{
	signal(SIGSEGV, SIG_IGN);
	raise(SIGSEGV);
}

static void sent_handled(void)
{
	printf("was %d\n", signal(SIGBUS, returns) == SIG_DFL);
	raise(SIGBUS);
	printf("was %d\n", signal(SIGBUS, SIG_DFL) == returns);
}

static void twice_by_reset(void)
{
	with("reset", SA_RESETHAND);
	touch();
}

static void blocked(void)
{
	sigset_t set;

	signal(SIGSEGV, returns);
	sigemptyset(&set);
	sigaddset(&set, SIGSEGV);
	sigprocmask(SIG_BLOCK, &set, NULL);
	touch();
}

static void beyond_the_file(void)
{
	FILE *f = tmpfile();

	signal(SIGBUS, SIG_DFL);
	nowhere = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(f), 0);
	touch();
}

int main(void)
{
	stack_t alternate = {.ss_size = 65536};
	sigset_t usr2;

	nowhere = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	stack = malloc(65536);
	alternate.ss_sp = stack;
	sigaltstack(&alternate, NULL);
	sigemptyset(&usr2);
	sigaddset(&usr2, SIGUSR2);
	sigprocmask(SIG_BLOCK, &usr2, NULL);
	signal(SIGBUS, simple); /* before the socket */
	if (socket(AF_INET, SOCK_DGRAM, 0) < 0)
		return 1;
	show("at first", SIGSEGV);
	show("at first", SIGBUS);
	signal(SIGBUS, SIG_DFL);
	with("simple", 0);
	with("full", SA_SIGINFO | SA_ONSTACK);
	with("not deferred", SA_SIGINFO | SA_NODEFER);
	ends("default", by_default);
	ends("ignored", ignored);
	ends("sent, default", sent_by_default);
	ends("sent, ignored", sent_ignored);
	ends("sent, handled", sent_handled);
	ends("reset", twice_by_reset);
	ends("blocked", blocked);
	ends("beyond the file", beyond_the_file);
	return 0;
}
