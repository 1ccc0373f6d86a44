/* SPDX-License-Identifier: Apache-2.0 */
// udplanectl capture: writes the datagrams of the fast path as pcapng, for wireshark and tcpdump.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <udplane/clock.h>
#include <udplane/udplane.h>
#include <unistd.h>

#include "client/ctl/args.h"
#include "client/ctl/attach.h"
#include "client/ctl/capture.h"
#include "client/ctl/filter.h"
#include "client/ctl/names.h"
#include "client/ctl/pcapng.h"
#include "client/ctl/verb.h"

#define LOOK_MS	      5 /* between two looks at the rings, which hold more than comes meanwhile */
#define ROWS_OLD_NS   1000000000ull /* rows of the stats zone are read again after that */
#define ROWS_PACE_NS  100000000ull  /* and not more often than that */
#define SNAP_LEN_MAX  65535
#define BUFFER_MAX    256
#define STREAM_BUFFER (1 << 20)

static const char usage[] =
	"Usage: udplanectl capture [--port PORT] [--filter EXPRESSION] [-c COUNT] [-w FILE]\n"
	"Writes the datagrams that the fast path receives and sends, and that the kernel and "
	"tcpdump\n"
	"do not see, as pcapng: with direction, program, and the reason of drops. Ends at Ctrl-C.\n"
	"For udplaned's operator:\n"
	"  kubectl exec POD -c udplane -- udplanectl capture | wireshark -k -i -\n"
	"\n"
	"  --port PORT          only datagrams from or to this port; costs udplaned least\n"
	"  --filter EXPRESSION  only what matches, as for tcpdump (pcap-filter(7))\n"
	"  -c, --count COUNT    end after so many\n"
	"  -w, --write FILE     where to; - is standard output, and the default\n"
	"  --snap-len BYTES     of each frame, at most; default 65535\n"
	"  --buffer MIB         memory between udplaned and this program; default 8\n" //
	VERB_COMMON_USAGE;

struct options {
	const char *port, *filter, *count, *file, *snap_len, *buffer;
	uint64_t max; /* datagrams; 0: no limit */
	struct udplane_capture asked;
};

struct run {
	const struct options *opt;
	struct capture_link link;
	struct capture_reader reader;
	struct filter *filter; /* NULL: everything */
	FILE *out;
	struct snapshot rows; /* whose sockets are known */
	bool have_rows;
	uint64_t rows_ns;      /* when they were read */
	uint64_t written;      /* datagrams */
	uint64_t missed_known; /* at the last datagram */
};

static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

static int number(const char *flag, const char *text, uint64_t least, uint64_t most,
		  uint64_t *value)
{
	char *end;

	if (!text)
		return 0;
	errno = 0;
	*value = strtoull(text, &end, 10);
	if (text[0] >= '0' && text[0] <= '9' && !*end && !errno && *value >= least &&
	    *value <= most)
		return 0;
	fprintf(stderr, "udplanectl capture: %s %s: allowed: %" PRIu64 " to %" PRIu64 "\n", flag,
		text, least, most);
	return EXIT_USAGE;
}

static int parse(struct options *o)
{
	uint64_t port = 0, snap_len = SNAP_LEN_MAX, buffer = 8;

	if (number("--port", o->port, 1, 65535, &port) ||
	    number("--count", o->count, 1, UINT64_MAX - 1, &o->max) ||
	    number("--snap-len", o->snap_len, 14, SNAP_LEN_MAX, &snap_len) ||
	    number("--buffer", o->buffer, 1, BUFFER_MAX, &buffer))
		return EXIT_USAGE;
	o->asked.port = (uint32_t)port;
	o->asked.snap_len = (uint32_t)snap_len;
	o->asked.len = buffer << 20;
	return 0;
}

static FILE *open_file(const struct options *o)
{
	bool is_stdout = !o->file || !strcmp(o->file, "-");
	FILE *f;
	int fd;

	if (is_stdout && isatty(STDOUT_FILENO)) {
		fputs("udplanectl capture: binary data would go to the terminal; use -w FILE, or "
		      "pipe "
		      "it into wireshark -k -i - or tcpdump -r -\n",
		      stderr);
		return NULL;
	}
	fd = is_stdout ? dup(STDOUT_FILENO)
		       : open(o->file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	f = fd < 0 ? NULL : fdopen(fd, "w");
	if (!f)
		fprintf(stderr, "udplanectl capture: %s: %s\n", is_stdout ? "stdout" : o->file,
			strerror(errno));
	else
		setvbuf(f, NULL, _IOFBF, STREAM_BUFFER);
	return f;
}

static void read_rows(struct run *r, uint64_t now)
{
	struct error error;

	if (r->have_rows)
		snapshot_free(&r->rows);
	r->rows_ns = now;
	r->have_rows = !snapshot_read(&r->rows, r->link.stats, r->link.stats_len, &error);
}

static const struct snapshot_socket *row_of(const struct run *r, uint32_t sock)
{
	for (uint32_t i = 0; r->have_rows && i < r->rows.socket_cnt; i++)
		if (r->rows.sockets[i].id == sock)
			return &r->rows.sockets[i];
	return NULL;
}

/* Returns the row of a datagram's socket. It may be a later socket's by now if it was closed. */
static const struct snapshot_socket *find_row(struct run *r, uint32_t sock)
{
	uint64_t now = clock_now_ns();
	const struct snapshot_socket *row;

	if (sock == UDPLANE_CAPTURE_NO_SOCKET)
		return NULL;
	if (now - r->rows_ns > ROWS_OLD_NS)
		read_rows(r, now);
	row = row_of(r, sock);
	if (row || now - r->rows_ns < ROWS_PACE_NS)
		return row;
	read_rows(r, now);
	return row_of(r, sock);
}

static void describe_socket(struct run *r, const struct udplane_capture_record *rec, char *text,
			    size_t size)
{
	const struct snapshot_socket *row = find_row(r, rec->sock);

	text[0] = 0;
	if (row && row->pid > 0)
		snprintf(text, size, "%s, pid %d, socket %u", row->comm, row->pid, rec->sock);
	else if (row)
		snprintf(text, size, "%s, socket %u", row->comm, rec->sock);
	else if (rec->copies)
		snprintf(text, size, "multicast, to %u sockets", rec->copies);
}

static void describe_reason(const struct udplane_capture_record *rec, char *text, size_t size)
{
	text[0] = 0;
	if (!rec->reason)
		return;
	if (rec->reason == UDPLANE_WORKER_RX_PASSED)
		snprintf(text, size, "left to the kernel");
	else if (rec->reason < worker_counters.cnt)
		snprintf(text, size, "dropped: %s: %s", worker_counters.entry[rec->reason].name,
			 worker_counters.entry[rec->reason].help);
	else
		snprintf(text, size, "dropped: reason %u of a newer udplaned", rec->reason);
}

static void write_one(struct run *r, const struct udplane_capture_record *rec, const uint8_t *data)
{
	char who[64], why[256];
	uint64_t seen, missed;
	struct pcapng_packet p = {.time_ns = rec->time_ns,
				  .data = data,
				  .captured_len = rec->captured_len,
				  .len = rec->len,
				  .sent = rec->flags & UDPLANE_CAPTURE_SENT,
				  .multicast = rec->captured_len && data[0] & 1,
				  .comment = {who, why}};

	if (r->filter && !filter_match(r->filter, data, rec->captured_len, rec->len))
		return;
	capture_counts(&r->reader, &seen, &missed);
	p.dropped = missed - r->missed_known;
	r->missed_known = missed;
	describe_socket(r, rec, who, sizeof(who));
	describe_reason(rec, why, sizeof(why));
	pcapng_packet(r->out, &p);
	r->written++;
}

static bool is_full(const struct run *r)
{
	return r->opt->max && r->written >= r->opt->max;
}

/* Writes what has come. Returns false if the stream does not take it. */
static bool write_all(struct run *r)
{
	struct udplane_capture_record rec;
	const uint8_t *data;

	if (!capture_look(&r->reader))
		return true;
	while (!is_full(r) && capture_next(&r->reader, &rec, &data)) {
		write_one(r, &rec, data);
		if (ferror(r->out))
			return false;
	}
	return !fflush(r->out);
}

/* Waits a little. Returns false if udplaned has ended the capture, or nobody reads what is written:
 * a pipe without a reader would otherwise be noticed with the next datagram only. */
static bool wait_a_little(struct run *r)
{
	struct pollfd p[2] = {{.fd = r->link.fd, .events = POLLIN}, {.fd = fileno(r->out)}};
	int n = poll(p, 2, LOOK_MS);

	return n <= 0 || !(p[0].revents || p[1].revents & POLLERR);
}

static int finish(struct run *r, bool stream_ok)
{
	uint64_t seen, missed;
	char text[160];

	capture_counts(&r->reader, &seen, &missed);
	snprintf(text, sizeof(text),
		 "%" PRIu64 " of %" PRIu64
		 " datagrams missed by the capture, not by the application",
		 missed, seen);
	if (stream_ok) {
		pcapng_end(r->out, clock_real_ns(), seen, missed, missed ? text : NULL);
		stream_ok = !fflush(r->out);
	}
	if (!stream_ok && !stop && errno != EPIPE) {
		fprintf(stderr, "udplanectl capture: writing: %s\n", strerror(errno));
		return EXIT_BAD;
	}
	fprintf(stderr, "udplanectl: %" PRIu64 " datagrams written; %s%s\n", r->written, text,
		missed ? " (name a --port, lower --snap-len, or raise --buffer)" : "");
	return 0;
}

static int capture(struct run *r)
{
	char program[64];
	bool more = true, stream_ok = true;

	capture_open(&r->reader, &r->link.layout, r->link.zone);
	read_rows(r, clock_now_ns());
	snprintf(program, sizeof(program), "udplanectl %s", UDPLANE_VERSION);
	pcapng_begin(r->out, program, r->have_rows ? r->rows.ifname : "",
		     "what udplane carries past the kernel", r->opt->asked.snap_len);
	stream_ok = !fflush(r->out);
	while (more && stream_ok && !stop && !is_full(r)) {
		more = wait_a_little(r);
		stream_ok = write_all(r);
	}
	return finish(r, stream_ok);
}

static int run(const char *socket, const struct options *o)
{
	struct run r = {.opt = o, .link.fd = -1};
	struct error error;
	int status = EXIT_BAD, err = 0;

	if (o->filter)
		err = filter_compile(&r.filter, o->filter, o->asked.snap_len, &error);
	if (!err)
		err = attach_capture(socket, ATTACH_TIMEOUT_MS, &o->asked, &r.link, &error);
	if (err)
		fprintf(stderr, "udplanectl capture: %s\n", error.text);
	else
		r.out = open_file(o);
	if (r.out) {
		status = capture(&r);
		if (fclose(r.out) && status == 0 && errno != EPIPE && !stop)
			status = EXIT_BAD;
	}
	if (r.have_rows)
		snapshot_free(&r.rows);
	attach_capture_end(&r.link);
	if (r.filter)
		filter_free(r.filter);
	return err == -EINVAL ? EXIT_USAGE : status;
}

int verb_capture(const char *socket, int argc, char **argv)
{
	struct options o = {0};
	struct sigaction act = {.sa_handler = on_signal}; /* without SA_RESTART: a write ends */
	const struct flag flags[] = {
		{"port", FLAG_TEXT, &o.port, 0},
		{"filter", FLAG_TEXT, &o.filter, 0},
		{"count", FLAG_TEXT, &o.count, 0},
		{"c", FLAG_TEXT, &o.count, 0},
		{"write", FLAG_TEXT, &o.file, 0},
		{"w", FLAG_TEXT, &o.file, 0},
		{"buffer", FLAG_TEXT, &o.buffer, 0},
		{"snap-len", FLAG_TEXT, &o.snap_len, 0},
		{0},
	};
	struct args a = {"capture", usage, flags, &socket, NULL, NULL};
	int ret = args_parse(&a, argc, argv);

	if (ret)
		return verb_args_status(ret);
	if (parse(&o))
		return EXIT_USAGE;
	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	signal(SIGPIPE, SIG_IGN);
	return run(socket, &o);
}
