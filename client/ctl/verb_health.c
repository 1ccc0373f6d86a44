// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <poll.h>
#include <stdio.h>

#include "client/ctl/args.h"
#include "client/ctl/attach.h"
#include "client/ctl/names.h"
#include "client/ctl/verb.h"

#define RETRY_MS 50

static const char usage[] =
	"Usage: udplanectl health [--quiet] [--ready [SECONDS]]\n"
	"Exit status 0 if udplaned answers and runs, else 1, within 2 seconds. For probes and hooks.\n"
	"\n"
	"  --ready              wait 2 seconds, or SECONDS, for it to come up instead of failing at\n"
	"                       once\n"
	"  --quiet              print nothing\n" //
	VERB_COMMON_USAGE;

struct health {
	const char *socket;
	bool quiet;
	double ready; /* seconds to wait; 0: it must be up */
	char text[ATTACH_ERROR_SIZE + 64];
};

/* True: it runs. */
static bool look(struct health *h, long left_ms)
{
	char err[ATTACH_ERROR_SIZE];
	struct snapshot s;
	bool runs;

	if (attach_snapshot(h->socket, (int)left_ms, &s, err)) {
		snprintf(h->text, sizeof(h->text), "%s", err);
		return false;
	}
	runs = s.state == UDPLANE_STATE_RUNNING;
	if (runs)
		snprintf(h->text, sizeof(h->text), "ok: running, backend %s: %s",
			 backend_name(s.backend), s.backend_text);
	else
		snprintf(h->text, sizeof(h->text), "udplaned is %s, not running: %s",
			 state_name(s.state),
			 s.state == UDPLANE_STATE_STARTING ? "wait, or look at its log"
							   : "start it again");
	snapshot_free(&s);
	return runs;
}

static int check(struct health *h)
{
	long deadline = verb_now_ms() + (long)(h->ready * 1000), left;
	bool runs = look(h, ATTACH_TIMEOUT_MS);

	while (!runs && h->ready > 0 && (left = deadline - verb_now_ms()) > 0) {
		poll(NULL, 0, left < RETRY_MS ? (int)left : RETRY_MS);
		left = deadline - verb_now_ms();
		runs = look(h, left <= 0 ? 1 : left < ATTACH_TIMEOUT_MS ? left : ATTACH_TIMEOUT_MS);
	}
	if (!h->quiet)
		fprintf(runs ? stdout : stderr, "%s%s\n",
			runs ? "" : "udplanectl health: ", h->text);
	return runs ? 0 : EXIT_BAD;
}

int verb_health(const char *socket, int argc, char **argv)
{
	struct health h = {0};
	const struct flag flags[] = {
		{"quiet", FLAG_SWITCH, &h.quiet, 0},
		{"ready", FLAG_SECONDS, &h.ready, ATTACH_TIMEOUT_MS / 1000.0},
		{0},
	};
	struct args a = {"health", usage, flags, &socket, NULL, NULL};
	int ret = args_parse(&a, argc, argv);

	if (ret)
		return verb_args_status(ret);
	h.socket = socket;
	return check(&h);
}
