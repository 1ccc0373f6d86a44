/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/supervise/supervise.h"

#include "include/base/supervised.h"
#include "sidecar/base/log.h"
#include "sidecar/config/config.h"
#include "sidecar/control/control.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <udplane/clock.h>
#include <unistd.h>

/* exit status of a child that asks for another one; EX_TEMPFAIL of sysexits.h */
#define AGAIN	     75
#define BAD_SETTINGS 2

#define PAUSE_FIRST_MS	100u
#define PAUSE_GROWTH	4u
#define PAUSE_MAX_MS	60000u
#define FORGET_AFTER_MS 60000u /* who has run for so long does not fail at every start */
#define LOOK_EVERY_MS	500u   /* at a child's heartbeat */
#define NO_DEADLINE	UINT64_MAX

struct supervisor {
	int argc;
	char **argv, **envp;
	struct config cfg;
	sigset_t set, before; /* signals that we wait for; the mask that the child gets */
	bool restart;	      /* key restart */
	bool asked;	      /* to end */
	uint32_t *beat;	      /* shared with the child, which counts up each second */
	uint32_t failures;    /* since a child has last run for long */
	int note_fd;	      /* -1 if there is no file */
	char note_path[CONFIG_SOCKET_SIZE + sizeof(SUPERVISED_SUFFIX)];
	struct supervised note;
};

uint32_t supervise_pause_ms(uint32_t failures)
{
	uint32_t ms = PAUSE_FIRST_MS;

	while (--failures && ms < PAUSE_MAX_MS)
		ms *= PAUSE_GROWTH;
	return ms < PAUSE_MAX_MS ? ms : PAUSE_MAX_MS;
}

/* ---- the note for udplanectl ---- */

/* Opens the file beside the control socket that the settings name. Without it udplanectl knows
 * less, and nothing else is lost: it is no error if the directory does not exist yet or is full. */
static void note_open(struct supervisor *s)
{
	char path[sizeof(s->note_path)];

	snprintf(path, sizeof(path), "%s" SUPERVISED_SUFFIX, s->cfg.socket);
	if (s->note_fd >= 0 && !strcmp(path, s->note_path))
		return;
	if (s->note_fd >= 0)
		close(s->note_fd);
	memcpy(s->note_path, path, sizeof(path));
	s->note_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (s->note_fd >= 0 && flock(s->note_fd, LOCK_EX | LOCK_NB)) {
		close(s->note_fd); /* another udplaned has this socket */
		s->note_fd = -1;
	}
}

static void note_write(struct supervisor *s, bool waiting)
{
	s->note.waiting = waiting;
	if (s->note_fd >= 0 && pwrite(s->note_fd, &s->note, sizeof(s->note), 0) < 0)
		log_debug("%s: %s", s->note_path, strerror(errno));
}

static void note_remove(struct supervisor *s)
{
	if (s->note_fd < 0)
		return;
	unlink(s->note_path);
	close(s->note_fd);
	s->note_fd = -1;
}

/* ---- the child ---- */

static int run(struct supervisor *s)
{
	if (s->note_fd >= 0)
		close(s->note_fd); /* the lock is the parent's */
	switch (control_run(&s->cfg, s->beat)) {
	case CONTROL_STOPPED: return 0;
	case CONTROL_RESTART: return AGAIN;
	default: return 1;
	}
}

static pid_t start_child(struct supervisor *s)
{
	pid_t parent = getpid(), pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* signals that end us must end udplaned */
	if (getppid() != parent)
		_exit(1);
	sigprocmask(SIG_SETMASK, &s->before, NULL);
	exit(run(s));
}

/* Waits for a signal until the deadline, an absolute time in ms, and passes it on to the child if
 * there is one. */
static void wait_signal(struct supervisor *s, pid_t child, uint64_t deadline)
{
	uint64_t now = clock_now_ms(), left = deadline > now ? deadline - now : 0;
	struct timespec ts = {(time_t)(left / 1000), (long)(left % 1000) * 1000000};
	siginfo_t si;
	int sig = deadline == NO_DEADLINE ? sigwaitinfo(&s->set, &si)
					  : sigtimedwait(&s->set, &si, &ts);

	if (sig < 0 || sig == SIGCHLD)
		return;
	s->asked |= sig == SIGTERM || sig == SIGINT;
	if (child > 0)
		kill(child, sig);
}

/* Ends a child whose control thread has not moved for cfg->watchdog_s. */
static void watch_beat(struct supervisor *s, pid_t child, uint32_t *seen, uint64_t *since)
{
	uint32_t beat = __atomic_load_n(s->beat, __ATOMIC_RELAXED);
	uint64_t now = clock_now_ms();

	if (beat != *seen || s->asked) {
		*seen = beat;
		*since = now;
	} else if (now - *since >= s->cfg.watchdog_s * 1000ull) {
		log_error("udplaned has not moved for %u s: ending it", s->cfg.watchdog_s);
		kill(child, SIGKILL);
		*since = now;
	}
}

/* Waits until the child has ended, and returns its status. Also reaps other processes, since in a
 * container we are the init process. */
static int wait_child(struct supervisor *s, pid_t child)
{
	uint32_t seen = __atomic_load_n(s->beat, __ATOMIC_RELAXED);
	bool watched = s->restart && s->cfg.watchdog_s;
	uint64_t since = clock_now_ms();
	int status;

	for (;;) {
		pid_t pid = waitpid(-1, &status, WNOHANG);

		if (pid == child)
			return status;
		if (pid > 0)
			continue;
		wait_signal(s, child, watched ? clock_now_ms() + LOOK_EVERY_MS : NO_DEADLINE);
		if (watched)
			watch_beat(s, child, &seen, &since);
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

/* ---- what goes on ---- */

/* Notes why no udplaned runs, and waits before the next attempt. */
static void pause_after(struct supervisor *s, const char *why)
{
	uint32_t ms = supervise_pause_ms(++s->failures);
	uint64_t deadline = clock_now_ms() + ms;

	s->note.restarts++;
	snprintf(s->note.text, sizeof(s->note.text), "%s", why);
	note_write(s, true);
	log_error("%s; sockets work at kernel speed; next start in %u.%u s", why, ms / 1000,
		  ms / 100 % 10);
	while (!s->asked && clock_now_ms() < deadline) {
		wait_signal(s, 0, deadline);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}

/* Reads all settings. Returns 0, CONFIG_PRINTED or -errno. */
static int load(struct supervisor *s, struct error *err)
{
	int ret = config_load(&s->cfg, s->argc, s->argv, s->envp, err);

	if (ret)
		return ret;
	s->restart = s->cfg.restart == CONFIG_ON;
	log_init(s->cfg.log_level);
	log_as_json(s->cfg.log_format == CONFIG_LOG_JSON);
	for (unsigned int i = 0; i < s->cfg.warnings.count; i++)
		log_warn("%s", s->cfg.warnings.entry[i].text);
	if (s->restart)
		note_open(s);
	return 0;
}

/* Returns true if the environment asks for restarts. Settings that cannot be read do not say. */
static bool asked_for_restarts(char **envp)
{
	for (; *envp; envp++)
		if (!strcmp(*envp, "UDPLANE_RESTART=on"))
			return true;
	return false;
}

/* Runs one child. Returns true if another one shall be started; if not, *status is its status. */
static bool run_child(struct supervisor *s, int *status)
{
	uint64_t start = clock_now_ms();
	char why[160];
	pid_t child;

	note_write(s, false);
	child = start_child(s);
	if (child < 0) {
		snprintf(why, sizeof(why), "cannot start udplaned: fork: %s", strerror(errno));
		*status = 1 << 8;
		if (s->restart)
			pause_after(s, why);
		else
			log_error("%s", why);
		return s->restart;
	}
	*status = wait_child(s, child);
	if (s->asked)
		return false;
	if (WIFEXITED(*status) && WEXITSTATUS(*status) == AGAIN)
		return true;
	if (!s->restart)
		return false;
	if (clock_now_ms() - start >= FORGET_AFTER_MS)
		s->failures = 0;
	if (WIFEXITED(*status))
		snprintf(why, sizeof(why), "udplaned ended with status %d; its log says why",
			 WEXITSTATUS(*status));
	else
		snprintf(why, sizeof(why), "udplaned was ended by signal %d (%s)",
			 WTERMSIG(*status), strsignal(WTERMSIG(*status)));
	pause_after(s, why);
	*status = 0; /* if asked to end meanwhile */
	return true;
}

static int run_children(struct supervisor *s)
{
	struct error err;
	int status = 0;

	while (run_child(s, &status) && !s->asked)
		while (s->restart && load(s, &err) && !s->asked)
			pause_after(s, err.text);
	note_remove(s);
	return end_like(status);
}

/* Reads the settings until they are good. Returns 0; or the exit status + 1. */
static int load_first(struct supervisor *s)
{
	struct error err;
	int ret;

	while ((ret = load(s, &err)) < 0) {
		if (!asked_for_restarts(s->envp)) {
			fprintf(stderr, "udplaned: %s\n", err.text);
			return BAD_SETTINGS + 1;
		}
		if (s->cfg.socket[0])
			note_open(s);
		pause_after(s, err.text);
		if (s->asked)
			return 1;
	}
	return ret == CONFIG_PRINTED ? 1 : 0;
}

int supervise(int argc, char **argv, char **envp)
{
	static struct supervisor s; /* some 20 KiB */
	int ret;

	s.argc = argc;
	s.argv = argv;
	s.envp = envp;
	s.note_fd = -1;
	sigemptyset(&s.set);
	sigaddset(&s.set, SIGTERM);
	sigaddset(&s.set, SIGINT);
	sigaddset(&s.set, SIGHUP);
	sigaddset(&s.set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &s.set, &s.before);
	s.beat = mmap(NULL, sizeof(*s.beat), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (s.beat == MAP_FAILED) {
		log_error("cannot start: %s", strerror(errno));
		return 1;
	}
	ret = load_first(&s);
	return ret ? ret - 1 : run_children(&s);
}
