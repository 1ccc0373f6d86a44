/* SPDX-License-Identifier: Apache-2.0 */
/*
 * udplaned consists of a parent and a child process, and the keeper (sidecar/keeper). The parent
 * only waits. It keeps the capabilities that are needed to open a device; the child gives them up
 * once that is done. When a device must be opened again, the parent starts another child: a
 * supervisor sees the same process.
 */
#include "sidecar/base/log.h"
#include "sidecar/config/config.h"
#include "sidecar/control/control.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* exit status of a child that asks for another one; EX_TEMPFAIL of sysexits.h */
#define AGAIN 75

static int run(struct config *cfg)
{
	switch (control_run(cfg)) {
	case CONTROL_STOPPED: return 0;
	case CONTROL_RESTART: return AGAIN;
	default: return 1;
	}
}

static pid_t start_child(struct config *cfg, const sigset_t *mask)
{
	pid_t parent = getpid(), pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* signals that end us must end udplaned */
	if (getppid() != parent)
		_exit(1);
	sigprocmask(SIG_SETMASK, mask, NULL);
	exit(run(cfg));
}

/* Waits until the child has ended, and returns its status. Passes signals on to it. Also reaps
 * other processes, since in a container we are the init process. */
static int wait_child(pid_t child, const sigset_t *set)
{
	siginfo_t si;
	int status;

	for (;;) {
		pid_t pid = waitpid(-1, &status, WNOHANG);

		if (pid == child)
			return status;
		if (pid > 0)
			continue;
		if (sigwaitinfo(set, &si) > 0 && si.si_signo != SIGCHLD)
			kill(child, si.si_signo);
	}
}

/* Ends in the same way as the child. */
static int end_like(int status)
{
	struct rlimit none = {0};
	sigset_t set;

	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	log_error("ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
	setrlimit(RLIMIT_CORE, &none); /* the child's core dump is the useful one */
	signal(WTERMSIG(status), SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, WTERMSIG(status));
	raise(WTERMSIG(status));
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	return 128 + WTERMSIG(status);
}

static int supervise(struct config *cfg)
{
	sigset_t set, before;
	int status;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, &before);
	do {
		pid_t child = start_child(cfg, &before);

		if (child < 0) {
			log_error("cannot start: fork: %s", strerror(errno));
			return 1;
		}
		status = wait_child(child, &set);
	} while (WIFEXITED(status) && WEXITSTATUS(status) == AGAIN);
	return end_like(status);
}

int main(int argc, char **argv)
{
	static struct config cfg; /* some 20 KiB */
	struct error err;
	int r = config_load(&cfg, argc, argv, environ, &err);

	if (r == CONFIG_PRINTED)
		return 0;
	if (r) {
		fprintf(stderr, "udplaned: %s\n", err.text);
		return 2;
	}
	log_init(cfg.log_level);
	for (unsigned int i = 0; i < cfg.warnings.count; i++)
		log_warn("%s", cfg.warnings.entry[i].text);
	return supervise(&cfg);
}
