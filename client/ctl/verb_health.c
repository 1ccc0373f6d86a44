/* SPDX-License-Identifier: Apache-2.0 */
// udplanectl health: answers by its exit status, for probes.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <udplane/clock.h>
#include <unistd.h>

#include "client/ctl/args.h"
#include "client/ctl/attach.h"
#include "client/ctl/format.h"
#include "client/ctl/json.h"
#include "client/ctl/names.h"
#include "client/ctl/verb.h"
#include "client/ctl/verdict.h"
#include "include/base/supervised.h"

#define RETRY_MS       50
#define READY_RESTARTS 3 /* --ready takes who has failed so often for one that stays down */

static const char usage[] =
	"Usage: udplanectl health [--quiet] [--ready [SECONDS]] [--accelerated] [--json]\n"
	"Exit status 0 if udplaned answers and runs, else 1, within 2 seconds. For probes and "
	"hooks.\n"
	"If udplaned has ended and its first process starts it again (its key restart), the answer "
	"is\n"
	"\"degraded\", and the exit status 0, too: all sockets work, at kernel speed.\n"
	"\n"
	"  --ready              wait 2 seconds, or SECONDS, for it to come up instead of failing "
	"at\n"
	"                       once; \"degraded\" is taken after three failures\n"
	"  --accelerated        exit status 0 only if, besides, every claimed socket of the ports "
	"asked\n"
	"                       for is carried by the fast path when it has traffic\n"
	"  --json               for programs\n"
	"  --quiet              print nothing\n" //
	VERB_COMMON_USAGE;

struct health {
	const char *socket;
	bool quiet, accelerated, json;
	bool degraded; /* no udplaned runs, and its first process will start one */
	double ready;  /* seconds to wait; 0 if udplaned must be up now */
	char text[sizeof(struct error) + 64];
};

/* Reads what the first process says of the ones that it starts. Returns false if there is none that
 * starts them again. */
static bool read_note(const char *socket, struct supervised *note)
{
	char path[256];
	bool held;
	int fd;

	snprintf(path, sizeof(path), "%s" SUPERVISED_SUFFIX, socket);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return false;
	held = flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK &&
	       pread(fd, note, sizeof(*note), 0) == sizeof(*note);
	close(fd);
	note->text[sizeof(note->text) - 1] = 0;
	return held;
}

/* Sets h->degraded, and then h->text. Returns how often udplaned was started again. */
static uint32_t look_at_first_process(struct health *h)
{
	struct supervised note;

	h->degraded = read_note(h->socket, &note) && note.waiting;
	if (!h->degraded)
		return 0;
	snprintf(h->text, sizeof(h->text), "degraded: %s; it is started again, %u times so far",
		 note.text, note.restarts);
	return note.restarts;
}

/* Asks udplaned once, for at most left_ms, and sets h->text. Returns true if udplaned runs. */
static bool look(struct health *h, long left_ms)
{
	struct error error;
	struct snapshot s;
	bool runs;

	if (attach_snapshot(h->socket, (int)left_ms, &s, &error)) {
		snprintf(h->text, sizeof(h->text), "%s", error.text);
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

/* Lists the claimed sockets on asked-for ports in *list, which the caller frees. Returns their
 * number, and in *bad the number of those that the fast path does not carry. */
static uint32_t list_sockets(const struct snapshot *s, struct health_socket **list, uint32_t *bad)
{
	uint32_t cnt = 0;

	*bad = 0;
	*list = calloc(s->socket_cnt + 1, sizeof(**list));
	for (uint32_t i = 0; *list && i < s->socket_cnt; i++) {
		if (!snapshot_has_port(s, ntohs(s->sockets[i].local.port_be)))
			continue;
		verdict_of_socket(&(*list)[cnt], s, &s->sockets[i]);
		*bad += !(*list)[cnt++].ok;
	}
	return cnt;
}

static void print_sockets(const struct health_socket *list, uint32_t cnt, uint32_t bad)
{
	char local[FORMAT_ADDR_SIZE];

	if (!bad)
		printf("ok: %u claimed socket%s, and whatever traffic they have takes the fast "
		       "path\n",
		       cnt, cnt == 1 ? "" : "s");
	else
		fprintf(stderr,
			"udplanectl health: %u of %u claimed sockets are on the kernel path\n", bad,
			cnt);
	for (uint32_t i = 0; i < cnt; i++)
		if (!list[i].ok)
			fprintf(stderr, "  %s pid %d (%s): %s: %s\n",
				format_addr(local, &list[i].socket->local), list[i].socket->pid,
				list[i].socket->comm, list[i].reason, list[i].text);
}

/* Checks that the fast path carries the sockets of a running udplaned. Returns the exit status. */
static int check_sockets(const struct health *h)
{
	struct error error;
	struct health_socket *list;
	struct snapshot s;
	uint32_t cnt, bad;
	bool none;

	if (attach_snapshot(h->socket, ATTACH_TIMEOUT_MS, &s, &error)) {
		if (!h->quiet)
			fprintf(stderr, "udplanectl health: %s\n", error.text);
		return EXIT_BAD;
	}
	cnt = list_sockets(&s, &list, &bad);
	none = s.backend == UDPLANE_BACKEND_KERNEL || !list;
	if (h->json)
		json_health(stdout, !none && !bad,
			    none	   ? s.backend_text
			    : s.trouble[0] ? s.trouble
					   : h->text,
			    list, list ? cnt : 0);
	else if (none && !h->quiet)
		fprintf(stderr, "udplanectl health: no socket is accelerated: %s\n",
			s.backend_text);
	else if (!h->quiet)
		print_sockets(list, cnt, bad);
	free(list);
	snapshot_free(&s);
	return none || bad ? EXIT_BAD : 0;
}

static int check(struct health *h)
{
	long deadline = (long)clock_now_ms() + (long)(h->ready * 1000), left;
	bool runs = look(h, ATTACH_TIMEOUT_MS);

	while (!runs && h->ready > 0 && look_at_first_process(h) < READY_RESTARTS &&
	       (left = deadline - (long)clock_now_ms()) > 0) {
		poll(NULL, 0, left < RETRY_MS ? (int)left : RETRY_MS);
		left = deadline - (long)clock_now_ms();
		runs = look(h, left <= 0 ? 1 : left < ATTACH_TIMEOUT_MS ? left : ATTACH_TIMEOUT_MS);
	}
	if (runs && h->accelerated)
		return check_sockets(h);
	if (!runs)
		look_at_first_process(h);
	runs |= h->degraded && !h->accelerated;
	if (h->json)
		json_health(stdout, runs, h->text, NULL, 0);
	else if (!h->quiet)
		fprintf(runs ? stdout : stderr, "%s%s\n",
			runs ? "" : "udplanectl health: ", h->text);
	return runs ? 0 : EXIT_BAD;
}

int verb_health(const char *socket, int argc, char **argv)
{
	struct health h = {0};
	const struct flag flags[] = {
		{"quiet", FLAG_SWITCH, &h.quiet, 0},
		{"accelerated", FLAG_SWITCH, &h.accelerated, 0},
		{"json", FLAG_SWITCH, &h.json, 0},
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
