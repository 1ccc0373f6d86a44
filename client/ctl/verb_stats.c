/* SPDX-License-Identifier: Apache-2.0 */
// udplanectl stats: shows everything that udplaned counts, once or repeatedly.
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <udplane/clock.h>
#include <unistd.h>

#include "client/ctl/args.h"
#include "client/ctl/attach.h"
#include "client/ctl/json.h"
#include "client/ctl/screen.h"
#include "client/ctl/verb.h"
#include "client/ctl/view.h"

static const char usage[] =
	"Usage: udplanectl stats [--json] [--watch [SECONDS]]\n"
	"Shows what udplaned does, on one screen: backend, device, workers, sockets, every drop.\n"
	"\n"
	"  --json               for programs; every counter. With --watch a document a line\n"
	"  --watch [SECONDS]    again every 2 (or SECONDS) seconds, as rates, until Ctrl-C\n" //
	VERB_COMMON_USAGE;

struct watch {
	const char *socket;
	double seconds; /* between two rounds; 0 to show it once */
	bool json;
	bool have_before;
	struct snapshot before;
};

static volatile sig_atomic_t stop;

static void on_signal(int signal)
{
	(void)signal;
	stop = 1;
}

/* Signals are unblocked only while ppoll() waits, so none is missed. */
static void catch_signals(sigset_t *unblocked)
{
	struct sigaction act = {.sa_handler = on_signal};
	sigset_t block;

	sigemptyset(&block);
	sigaddset(&block, SIGINT);
	sigaddset(&block, SIGTERM);
	sigaddset(&block, SIGHUP);
	sigprocmask(SIG_BLOCK, &block, unblocked);
	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGHUP, &act, NULL);
}

static int show_once(const struct watch *w)
{
	struct error error;
	struct snapshot s;
	int ret = attach_snapshot(w->socket, ATTACH_TIMEOUT_MS, &s, &error);

	if (ret) {
		fprintf(stderr, "udplanectl stats: %s\n", error.text);
		return EXIT_BAD;
	}
	if (w->json)
		ret = json_stats(stdout, &s, false);
	else
		view_stats(stdout, &s, NULL);
	snapshot_free(&s);
	return ret ? EXIT_BAD : 0;
}

static void keep(struct watch *w, struct snapshot *s)
{
	if (w->have_before)
		snapshot_free(&w->before);
	w->before = *s;
	w->have_before = true;
}

/* udplaned may stop and start again while we watch. We show that and continue. */
static void show_again(struct watch *w, FILE *out)
{
	struct error error;
	struct snapshot s;
	bool same;

	if (attach_snapshot(w->socket, ATTACH_TIMEOUT_MS, &s, &error)) {
		if (w->json)
			fprintf(stderr, "udplanectl stats: %s\n", error.text);
		else
			fprintf(out, "%s\n(trying again every %g s)\n", error.text, w->seconds);
		return;
	}
	same = w->have_before && w->before.start_ns == s.start_ns &&
	       w->before.worker_cnt == s.worker_cnt;
	if (w->json)
		json_stats(out, &s, true);
	else
		view_stats(out, &s, same ? &w->before : NULL);
	keep(w, &s);
}

static void pause_until(uint64_t *next_ns, double seconds, const sigset_t *unblocked)
{
	uint64_t now = clock_now_ns(), left_ns;
	struct timespec left;

	*next_ns += (uint64_t)(seconds * 1e9);
	if (*next_ns < now)
		*next_ns = now; /* udplaned was slow to answer; do not catch up in a burst */
	left_ns = *next_ns - now;
	left.tv_sec = (time_t)(left_ns / 1000000000);
	left.tv_nsec = (long)(left_ns % 1000000000);
	ppoll(NULL, 0, &left, unblocked);
}

static int show_until_signal(struct watch *w)
{
	uint64_t next_ns = clock_now_ns();
	struct screen screen;
	sigset_t unblocked;

	catch_signals(&unblocked);
	screen_open(&screen, !w->json);
	while (!stop) {
		FILE *out = screen_begin(&screen);

		if (!out)
			break;
		show_again(w, out);
		if (screen_end(&screen))
			break;
		pause_until(&next_ns, w->seconds, &unblocked);
	}
	screen_close(&screen);
	if (w->have_before)
		snapshot_free(&w->before);
	return stop ? 0 : EXIT_BAD;
}

int verb_stats(const char *socket, int argc, char **argv)
{
	struct watch w = {0};
	const struct flag flags[] = {
		{"json", FLAG_SWITCH, &w.json, 0},
		{"watch", FLAG_SECONDS, &w.seconds, 2},
		{0},
	};
	struct args a = {"stats", usage, flags, &socket, NULL, NULL};
	int ret = args_parse(&a, argc, argv);

	if (ret)
		return verb_args_status(ret);
	w.socket = socket;
	return w.seconds > 0 ? show_until_signal(&w) : show_once(&w);
}
