/* SPDX-License-Identifier: Apache-2.0 */
/*
 * udplane-pingpong: measures how long a datagram takes there and back. Shows the POSIX-like calls,
 * which are those of every UDP program with the prefix `udplane_`; see CALL in common.h.
 *
 *     udplane-pingpong --bind 10.0.0.2:7000                          the server sends all back
 *     udplane-pingpong --bind 10.0.0.1:7001 --to 10.0.0.2:7000       the client measures
 *
 * Only a bound port is accelerated, so the client binds one as well. Without --bind the kernel
 * chooses its port, which is accelerated only if udplaned was asked for it.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "client/examples/common.h"

#define SIZE_MIN      sizeof(uint64_t) /* the round's number */
#define SIZE_LIMIT    65507
#define LOST_AFTER_MS 500

static struct {
	struct address bind, to;
	uint64_t count, warmup, rate;
	size_t size;
	bool json;
} opt = {.count = 10000, .warmup = 100, .size = 64};

static char buf[65536];

static void serve(int fd)
{
	struct address from;

	for (uint64_t done = 0; !stop && (!opt.count || done < opt.count); done++) {
		from.len = sizeof(from.sa);
		ssize_t len = CALL(recvfrom, fd, buf, sizeof(buf), 0, (struct sockaddr *)&from.sa,
				   &from.len);

		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0)
			die(errno, "recvfrom");
		if (CALL(sendto, fd, buf, (size_t)len, 0, (struct sockaddr *)&from.sa, from.len) <
		    0)
			fprintf(stderr, "udplane-pingpong: sendto: %s\n", strerror(errno));
	}
}

/* Makes one round trip. Returns its time in ns, or 0 if no answer came. */
static uint64_t round_trip(int fd, uint64_t number)
{
	uint64_t start = now_ns(), answer;

	memcpy(buf, &number, sizeof(number));
	if (CALL(send, fd, buf, opt.size, 0) < 0)
		return 0;
	while (!stop) {
		ssize_t len = CALL(recv, fd, buf, sizeof(buf), 0);

		if (len < 0)
			return 0; /* EAGAIN after SO_RCVTIMEO, ECONNREFUSED without a server */
		memcpy(&answer, buf, sizeof(answer));
		if ((size_t)len == opt.size && answer == number)
			return now_ns() - start;
		/* otherwise it is the late answer of a round that we gave up */
	}
	return 0;
}

static void report(uint64_t *rtt, size_t cnt, uint64_t lost, int fd)
{
	struct udplane_status st = {.size = sizeof(st)};
	double median = (double)quantile(rtt, cnt, 0.5) / 1000;
	double p99 = (double)quantile(rtt, cnt, 0.99) / 1000;

	if (opt.json)
		printf("{\"path\":\"%s\",\"count\":%zu,\"lost\":%" PRIu64
		       ",\"size\":%zu,\"min_us\":%.2f,\"median_us\":%.2f,\"p99_us\":%.2f,"
		       "\"max_us\":%.2f",
		       use_kernel ? "kernel" : "udplane", cnt, lost, opt.size,
		       (double)quantile(rtt, cnt, 0) / 1000, median, p99,
		       (double)quantile(rtt, cnt, 1) / 1000);
	else
		printf("%zu round trips of %zu bytes, %" PRIu64
		       " lost: median %.1f us, p99 %.1f us, min %.1f us, max %.1f us\n",
		       cnt, opt.size, lost, median, p99, (double)quantile(rtt, cnt, 0) / 1000,
		       (double)quantile(rtt, cnt, 1) / 1000);
	/* Tell which path the datagrams took. */
	if (!use_kernel && !udplane_get_status(fd, &st))
		printf(opt.json ? ",\"accelerated\":%s,\"reason\":\"%s\",\"fast_rx\":%" PRIu64
				  ",\"kernel_rx\":%" PRIu64 ",\"fast_tx\":%" PRIu64
				  ",\"kernel_tx\":%" PRIu64
				: "accelerated: %s (%s); received %" PRIu64 " fast, %" PRIu64
				  " by the kernel; sent %" PRIu64 " fast, %" PRIu64
				  " by the kernel\n",
		       opt.json ? (st.accelerated ? "true" : "false")
				: (st.accelerated ? "yes" : "no"),
		       st.reason, st.fast_rx, st.kernel_rx, st.fast_tx, st.kernel_tx);
	if (opt.json)
		printf("}\n");
}

static int measure(int fd)
{
	struct timeval timeout = {.tv_usec = LOST_AFTER_MS * 1000};
	uint64_t *rtt = calloc(opt.count, sizeof(*rtt));
	uint64_t next = now_ns(), lost = 0;
	size_t cnt = 0;

	if (!rtt)
		die(ENOMEM, "--count %" PRIu64, opt.count);
	if (CALL(connect, fd, (struct sockaddr *)&opt.to.sa, opt.to.len))
		die(errno, "connect");
	if (CALL(setsockopt, fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)))
		die(errno, "SO_RCVTIMEO");
	for (uint64_t i = 0; !stop && i < opt.warmup + opt.count; i++) {
		uint64_t ns;

		if (opt.rate) {
			next += 1000000000 / opt.rate;
			sleep_until(next);
		}
		ns = round_trip(fd, i);
		if (i < opt.warmup)
			continue; /* they look up neighbours, claim ports and fill caches */
		if (ns)
			rtt[cnt++] = ns;
		else if (!stop)
			lost++;
	}
	report(rtt, cnt, lost, fd);
	free(rtt);
	return cnt ? 0 : 1;
}

static const char usage[] =
	"Usage: udplane-pingpong --bind ADDR:PORT                     answers, until Ctrl-C\n"
	"       udplane-pingpong --to ADDR:PORT [--bind ADDR:PORT]    asks, and measures\n"
	"\n"
	"  --bind ADDR:PORT   own address: 10.0.0.1:7000, [2001:db8::1]:7000\n"
	"  --to ADDR:PORT     the server's\n"
	"  --count N          round trips (default 10000); the server: answers, then ends\n"
	"                     (default 0: never)\n"
	"  --warmup N         round trips before, not counted (default 100)\n"
	"  --size BYTES       payload, 8 to 65507 (default 64)\n"
	"  --rate N           round trips a second (default 0: as fast as possible)\n"
	"  --kernel           plain kernel sockets, for comparison\n"
	"  --json             the result for programs\n";

static void parse_options(int argc, char **argv)
{
	static const struct option options[] = {
		{"bind", 1, NULL, 'b'},	  {"to", 1, NULL, 't'},
		{"count", 1, NULL, 'c'},  {"warmup", 1, NULL, 'w'},
		{"size", 1, NULL, 's'},	  {"rate", 1, NULL, 'r'},
		{"kernel", 0, NULL, 'k'}, {"json", 0, NULL, 'j'},
		{"help", 0, NULL, 'h'},	  {0},
	};
	bool counted = false;
	int o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (o) {
		case 'b': opt.bind = parse_address("bind", optarg); break;
		case 't': opt.to = parse_address("to", optarg); break;
		case 'c':
			opt.count = parse_number("count", optarg, 0, 100000000);
			counted = true;
			break;
		case 'w': opt.warmup = parse_number("warmup", optarg, 0, 100000000); break;
		case 's': opt.size = parse_number("size", optarg, SIZE_MIN, SIZE_LIMIT); break;
		case 'r': opt.rate = parse_number("rate", optarg, 0, 100000000); break;
		case 'k': use_kernel = true; break;
		case 'j': opt.json = true; break;
		case 'h': fputs(usage, stdout); exit(0);
		default: fputs(usage, stderr); exit(2);
		}
	}
	if (optind < argc || (!opt.bind.len && !opt.to.len)) {
		fputs(usage, stderr);
		exit(2);
	}
	if (!opt.to.len && !counted)
		opt.count = 0;
	else if (opt.to.len && !opt.count)
		opt.count = 10000;
}

int main(int argc, char **argv)
{
	char text[80];
	int fd, ret = 0;

	parse_options(argc, argv);
	catch_signals();
	fd = CALL(socket, opt.to.len ? opt.to.sa.ss_family : opt.bind.sa.ss_family, SOCK_DGRAM, 0);
	if (fd < 0)
		die(errno, "socket");
	if (opt.bind.len && CALL(bind, fd, (struct sockaddr *)&opt.bind.sa, opt.bind.len))
		die(errno, "bind to %s", format_address(&opt.bind, text));
	if (opt.to.len) {
		ret = measure(fd);
	} else {
		fprintf(stderr, "listening on %s\n", format_address(&opt.bind, text));
		serve(fd);
	}
	CALL(close, fd);
	return ret;
}
