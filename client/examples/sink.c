/* SPDX-License-Identifier: Apache-2.0 */
/*
 * udplane-sink: receives as fast as it can, and counts. Shows the burst calls: udplane_recv_burst()
 * provides datagrams in place, and udplane_release() gives them back. For comparison it can also
 * receive by udplane_recvmmsg(), which copies, or by the kernel's own recvmmsg().
 *
 *     udplane-sink --bind 10.0.0.2:9000
 *             one socket, with a blocking call, which spins and then sleeps
 *     udplane-sink --bind 10.0.0.2:0 --ports 9000-9099
 *             100 sockets in one epoll
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/time.h>
#include <unistd.h>

#include "client/examples/common.h"

#define BURST 64
/* bytes per datagram that is copied; the rest of a longer one is cut off */
#define ROOM	    2048
#define LOOK_MS	    20 /* interval of looking at the clock while nothing comes */
#define WINDOWS_MAX 1000000

static struct {
	struct address bind;
	uint16_t low, high; /* ports */
	uint64_t count, limit_ns, idle_ns, interval_ns;
	bool recvmmsg, spin, verify, json;
} opt = {.interval_ns = 1000000000};

/* One per socket. */
struct flow {
	int fd;
	uint64_t next; /* sequence number expected, for --verify */
};

static struct {
	uint64_t packets, bytes, calls;
	uint64_t first_ns, last_ns;	 /* when the first and the last datagram came */
	uint64_t missing, late, corrupt; /* counted with --verify */
	uint64_t window_start, window_packets;
	double *window; /* packets per second, one value per interval */
	size_t window_cnt;
} total;

/* Checks a datagram of udplane-gen --verify: a sequence number per destination, then bytes that
 * follow from it. */
static void verify(struct flow *f, const uint8_t *data, size_t len)
{
	uint64_t number;

	if (len < sizeof(number)) {
		total.corrupt++;
		return;
	}
	memcpy(&number, data, sizeof(number));
	for (size_t i = sizeof(number); i < len; i++)
		if (data[i] != (uint8_t)(number + i)) {
			total.corrupt++;
			return;
		}
	if (number < f->next) {
		total.late++;
		total.missing -= total.missing > 0; /* it had been counted as missing */
		return;
	}
	total.missing += number - f->next;
	f->next = number + 1;
}

/* ---- three ways of receiving ---- */

/* Receives in place, without a copy, and without a system call while datagrams keep coming. */
static int receive_burst(struct flow *f, int flags)
{
	struct udplane_pkt pkt[BURST];
	int cnt = udplane_recv_burst(f->fd, pkt, BURST, flags);

	for (int i = 0; i < cnt; i++) {
		total.bytes += pkt[i].len;
		if (opt.verify)
			verify(f, pkt[i].data, pkt[i].len);
	}
	if (cnt > 0)
		udplane_release(f->fd, pkt, (unsigned int)cnt); /* pkt[].data is invalid now */
	return cnt;
}

static struct mmsghdr vec[BURST];
static struct iovec iov[BURST];
static uint8_t room[BURST][ROOM];

static int receive_copies(struct flow *f, int flags)
{
	int cnt;

	for (int i = 0; i < BURST; i++) {
		iov[i] = (struct iovec){room[i], ROOM};
		vec[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1};
	}
	flags |= MSG_WAITFORONE;
	cnt = CALL(recvmmsg, f->fd, vec, BURST, flags, NULL);
	for (int i = 0; i < cnt; i++) {
		total.bytes += vec[i].msg_len;
		if (opt.verify)
			verify(f, room[i], vec[i].msg_len);
	}
	return cnt;
}

/* ---- bookkeeping ---- */

static void end_window(uint64_t now)
{
	double rate = (double)total.window_packets / ((double)(now - total.window_start) / 1e9);

	if (total.window_cnt < WINDOWS_MAX)
		total.window[total.window_cnt++] = rate;
	if (!opt.json) {
		printf("%.0f packets/s\n", rate);
		fflush(stdout);
	}
	total.window_start = now;
	total.window_packets = 0;
}

static int take(struct flow *f, int flags)
{
	int cnt = use_kernel || opt.recvmmsg ? receive_copies(f, flags) : receive_burst(f, flags);

	if (cnt < 0) {
		if (errno != EAGAIN && errno != EINTR)
			die(errno, "receive");
		return 0;
	}
	total.last_ns = now_ns();
	if (!total.packets)
		total.first_ns = total.window_start = total.last_ns;
	total.packets += (uint64_t)cnt;
	total.window_packets += (uint64_t)cnt;
	total.calls++;
	return cnt;
}

static bool finished(uint64_t start)
{
	uint64_t now = now_ns();

	if (total.packets && now - total.window_start >= opt.interval_ns)
		end_window(now);
	return stop || (opt.count && total.packets >= opt.count) ||
	       (opt.limit_ns && now - start >= opt.limit_ns) ||
	       (opt.idle_ns && total.packets && now - total.last_ns >= opt.idle_ns);
}

/* ---- one socket, or many ---- */

static void run_one(struct flow *f)
{
	struct timeval timeout = {.tv_usec = LOOK_MS * 1000};
	uint64_t start = now_ns();

	/* A blocking call must return now and then; see finished(). */
	CALL(setsockopt, f->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	while (!finished(start))
		take(f, 0);
}

/* udplane's descriptors can be added to any epoll, like any others. */
static void run_epoll(struct flow *flows, unsigned int cnt)
{
	struct epoll_event event[BURST];
	uint64_t start = now_ns();
	int ep = epoll_create1(EPOLL_CLOEXEC);

	if (ep < 0)
		die(errno, "epoll_create1");
	for (unsigned int i = 0; i < cnt; i++) {
		struct epoll_event e = {.events = EPOLLIN, .data.ptr = &flows[i]};

		if (epoll_ctl(ep, EPOLL_CTL_ADD, flows[i].fd, &e))
			die(errno, "epoll_ctl");
	}
	while (!finished(start)) {
		int ready = epoll_wait(ep, event, BURST, LOOK_MS);

		for (int i = 0; i < ready; i++)
			take(event[i].data.ptr, MSG_DONTWAIT);
	}
	close(ep);
}

/* Never sleeps. Yields if nothing was received, since the worker may share the core with us. */
static void run_spin(struct flow *flows, unsigned int cnt)
{
	uint64_t start = now_ns();

	while (!finished(start)) {
		int got = 0;

		for (unsigned int i = 0; i < cnt; i++)
			got += take(&flows[i],
				    use_kernel || opt.recvmmsg ? MSG_DONTWAIT : UDPLANE_POLL);
		if (!got)
			sched_yield();
	}
}

/* ---- report ---- */

static void add_status(struct udplane_status *sum, const struct flow *f)
{
	struct udplane_status st = {.size = sizeof(st)};

	if (udplane_get_status(f->fd, &st))
		return;
	sum->accelerated += st.accelerated;
	sum->fast_rx += st.fast_rx;
	sum->kernel_rx += st.kernel_rx;
	if (!st.accelerated)
		memcpy(sum->reason, st.reason, sizeof(st.reason));
}

static void report_json(double seconds, unsigned int sockets, const struct udplane_status *st)
{
	const char *way = use_kernel ? "kernel" : opt.recvmmsg ? "recvmmsg" : "burst";

	printf("{\"way\":\"%s\",\"sockets\":%u,\"accelerated\":%d,\"reason\":\"%s\","
	       "\"packets\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"calls\":%" PRIu64
	       ",\"seconds\":%.6f,\"pps\":%.0f,\"fast_rx\":%" PRIu64 ",\"kernel_rx\":%" PRIu64,
	       way, sockets, st->accelerated, st->reason, total.packets, total.bytes, total.calls,
	       seconds, seconds > 0 ? (double)total.packets / seconds : 0, st->fast_rx,
	       st->kernel_rx);
	if (opt.verify)
		printf(",\"missing\":%" PRIu64 ",\"late\":%" PRIu64 ",\"corrupt\":%" PRIu64,
		       total.missing, total.late, total.corrupt);
	printf(",\"windows\":[");
	for (size_t i = 0; i < total.window_cnt; i++)
		printf("%s%.0f", i ? "," : "", total.window[i]);
	printf("]}\n");
}

static void report_text(double seconds, unsigned int sockets, const struct udplane_status *st)
{
	printf("%" PRIu64 " packets, %" PRIu64 " bytes in %.3f s: %.0f packets/s, %.1f a call\n",
	       total.packets, total.bytes, seconds,
	       seconds > 0 ? (double)total.packets / seconds : 0,
	       total.calls ? (double)total.packets / (double)total.calls : 0);
	if (opt.verify)
		printf("verified: %" PRIu64 " missing, %" PRIu64 " late, %" PRIu64 " corrupt\n",
		       total.missing, total.late, total.corrupt);
	if (!use_kernel)
		printf("%d of %u sockets accelerated%s%s; %" PRIu64 " fast, %" PRIu64
		       " by the kernel\n",
		       st->accelerated, sockets, st->reason[0] ? ", others: " : "", st->reason,
		       st->fast_rx, st->kernel_rx);
}

static void report(const struct flow *flows, unsigned int cnt)
{
	double seconds = (double)(total.last_ns - total.first_ns) / 1e9;
	struct udplane_status st = {0};

	/* Pauses count for the result, but not the silence at its end. */
	while (total.window_cnt && total.window[total.window_cnt - 1] == 0)
		total.window_cnt--;
	for (unsigned int i = 0; !use_kernel && i < cnt; i++)
		add_status(&st, &flows[i]);
	if (opt.json)
		report_json(seconds, cnt, &st);
	else
		report_text(seconds, cnt, &st);
}

/* ---- start ---- */

static int open_socket(uint16_t port)
{
	struct address a = opt.bind;
	int fd = CALL(socket, a.sa.ss_family, SOCK_DGRAM, 0);

	if (fd < 0)
		die(errno, "socket for port %u", port);
	set_port(&a, port);
	if (CALL(bind, fd, (struct sockaddr *)&a.sa, a.len))
		die(errno, "bind to port %u", port);
	return fd;
}

static const char usage[] =
	"Usage: udplane-sink --bind ADDR:PORT [--ports LOW-HIGH] [OPTION...]\n"
	"Receives and counts, until Ctrl-C or as long as told.\n"
	"\n"
	"  --bind ADDR:PORT      own address: 10.0.0.1:9000, [2001:db8::1]:9000\n"
	"  --ports LOW-HIGH      a socket for each of these ports instead of --bind's\n"
	"  --recvmmsg            udplane_recvmmsg() instead of the burst calls\n"
	"  --kernel              plain sockets and recvmmsg(), for comparison\n"
	"  --spin                poll the sockets in turn instead of epoll or a blocking call\n"
	"  --count N             end after N packets\n"
	"  --seconds S           end after S seconds\n"
	"  --until-idle S        end when nothing came for S seconds, once something came\n"
	"  --interval S          one rate every S seconds (default 1)\n"
	"  --verify              check what udplane-gen --verify sends: order, gaps, contents\n"
	"  --json                the result for programs\n";

enum { OPT_RECVMMSG = 256, OPT_KERNEL, OPT_SPIN, OPT_VERIFY, OPT_JSON };

static void parse_options(int argc, char **argv)
{
	static const struct option options[] = {
		{"bind", 1, NULL, 'b'},
		{"ports", 1, NULL, 'p'},
		{"count", 1, NULL, 'c'},
		{"seconds", 1, NULL, 's'},
		{"until-idle", 1, NULL, 'i'},
		{"interval", 1, NULL, 'v'},
		{"recvmmsg", 0, NULL, OPT_RECVMMSG},
		{"kernel", 0, NULL, OPT_KERNEL},
		{"spin", 0, NULL, OPT_SPIN},
		{"verify", 0, NULL, OPT_VERIFY},
		{"json", 0, NULL, OPT_JSON},
		{"help", 0, NULL, 'h'},
		{0},
	};
	int o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (o) {
		case 'b': opt.bind = parse_address("bind", optarg); break;
		case 'p': parse_ports("ports", optarg, &opt.low, &opt.high); break;
		case 'c': opt.count = parse_number("count", optarg, 1, UINT64_MAX); break;
		case 's': opt.limit_ns = parse_seconds("seconds", optarg); break;
		case 'i': opt.idle_ns = parse_seconds("until-idle", optarg); break;
		case 'v': opt.interval_ns = parse_seconds("interval", optarg); break;
		case OPT_RECVMMSG: opt.recvmmsg = true; break;
		case OPT_KERNEL: use_kernel = true; break;
		case OPT_SPIN: opt.spin = true; break;
		case OPT_VERIFY: opt.verify = true; break;
		case OPT_JSON: opt.json = true; break;
		case 'h': fputs(usage, stdout); exit(0);
		default: fputs(usage, stderr); exit(2);
		}
	}
	if (optind < argc || !opt.bind.len) {
		fputs(usage, stderr);
		exit(2);
	}
	if (!opt.low)
		opt.low = opt.high = get_port(&opt.bind);
}

int main(int argc, char **argv)
{
	struct flow *flows;
	unsigned int cnt;
	char text[80];

	parse_options(argc, argv);
	catch_signals();
	raise_descriptor_limit();
	cnt = (unsigned int)(opt.high - opt.low) + 1;
	flows = calloc(cnt, sizeof(*flows));
	total.window =
		calloc(WINDOWS_MAX, sizeof(*total.window)); /* untouched pages cost nothing */
	if (!flows || !total.window)
		die(ENOMEM, "%u sockets", cnt);
	for (unsigned int i = 0; i < cnt; i++)
		flows[i].fd = open_socket((uint16_t)(opt.low + i));
	set_port(&opt.bind, opt.low);
	fprintf(stderr, "listening on %s%s\n", format_address(&opt.bind, text),
		cnt > 1 ? " and following ports" : "");
	if (opt.spin)
		run_spin(flows, cnt);
	else if (cnt == 1)
		run_one(&flows[0]);
	else
		run_epoll(flows, cnt);
	report(flows, cnt);
	for (unsigned int i = 0; i < cnt; i++)
		CALL(close, flows[i].fd);
	free(total.window);
	free(flows);
	return total.corrupt ? 1 : 0;
}
