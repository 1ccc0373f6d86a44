/* SPDX-License-Identifier: Apache-2.0 */
/*
 * udplane-gen: sends as fast as it can, or at a given rate. Shows the burst calls for sending:
 * udplane_reserve() provides buffers in shared memory, the program writes its datagrams there, and
 * udplane_submit() sends them. With --kernel it uses sendmmsg(), for comparison.
 *
 *     udplane-gen --bind 10.0.0.1:9001 --to 10.0.0.2:9000 --rate 1000000 --seconds 10
 *
 * Without --bind the kernel chooses the socket's port. That port is accelerated only if udplaned
 * was asked for it.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/examples/common.h"

#define BURST	   64
#define SIZE_MIN   sizeof(uint64_t) /* the sequence number */
#define SIZE_LIMIT 1472		    /* bytes that udplane_reserve() provides at least */
#define SLEEP_NS   50000	    /* a shorter pause is not worth a system call */

static struct {
	struct address bind, to;
	uint16_t low, high; /* destination ports */
	uint64_t count, limit_ns, rate;
	size_t size;
	bool verify, json;
} opt = {.size = 64};

static uint64_t sent, full, failed; /* datagrams; calls without room; errors */
static struct udplane_addr peer;
static unsigned int port_cnt;

/* Returns the port of datagram number n. It is the n % port_cnt-th one, and the datagram is the
 * n / port_cnt-th to that port. */
static uint16_t port_of(uint64_t n)
{
	return (uint16_t)(opt.low + n % port_cnt);
}

static void write_payload(uint8_t *data, uint64_t n)
{
	uint64_t number = n / port_cnt;

	memcpy(data, &number, sizeof(number));
	for (size_t i = sizeof(number); opt.verify && i < opt.size; i++)
		data[i] = (uint8_t)(number + i);
}

/* ---- two ways of sending ---- */

/* Sends up to cnt datagrams. Returns how many it sent, or -1 with errno set. */
static int send_burst(int fd, unsigned int cnt)
{
	struct udplane_buf buf[BURST];
	int room = udplane_reserve(fd, buf, cnt);

	/* Write and submit at once: until then no other thread of this process can send. */
	for (int i = 0; i < room; i++) {
		write_payload(buf[i].data, sent + (uint64_t)i);
		buf[i].len = (uint32_t)opt.size;
		buf[i].peer = peer;
		buf[i].peer.port_be = htons(port_of(sent + (uint64_t)i));
	}
	return room > 0 ? udplane_submit(fd, buf, (unsigned int)room) : room;
}

static int send_kernel(int fd, unsigned int cnt)
{
	static uint8_t data[BURST][SIZE_LIMIT];
	static struct address to[BURST];
	static struct iovec iov[BURST];
	static struct mmsghdr vec[BURST];

	for (unsigned int i = 0; i < cnt; i++) {
		write_payload(data[i], sent + i);
		iov[i] = (struct iovec){data[i], opt.size};
		if (!to[i].len)
			to[i] = opt.to;
		set_port(&to[i], port_of(sent + i));
		vec[i].msg_hdr = (struct msghdr){.msg_name = &to[i].sa,
						 .msg_namelen = to[i].len,
						 .msg_iov = &iov[i],
						 .msg_iovlen = 1};
	}
	return sendmmsg(fd, vec, cnt, 0);
}

/* ---- pace ---- */

/* Returns how many datagrams are due. If none is, waits for the next one and returns 0. */
static unsigned int due(uint64_t start)
{
	uint64_t left = opt.count ? opt.count - sent : BURST, now, owed;

	if (opt.rate) {
		now = now_ns();
		owed = (uint64_t)((double)(now - start) / 1e9 * (double)opt.rate) + 1;
		if (owed <= sent) {
			uint64_t next = start + (uint64_t)((double)sent / (double)opt.rate * 1e9);

			if (next > now + SLEEP_NS)
				sleep_until(next);
			else
				sched_yield();
			return 0;
		}
		if (owed - sent < left)
			left = owed - sent;
	}
	return left < BURST ? (unsigned int)left : BURST;
}

static bool finished(uint64_t start)
{
	return stop || (opt.count && sent >= opt.count) ||
	       (opt.limit_ns && now_ns() - start >= opt.limit_ns);
}

static void run(int fd)
{
	uint64_t start = now_ns();

	while (!finished(start)) {
		unsigned int cnt = due(start);
		int ret = !cnt ? 0 : use_kernel ? send_kernel(fd, cnt) : send_burst(fd, cnt);

		if (ret > 0) {
			sent += (uint64_t)ret;
		} else if (ret < 0 && (errno == EAGAIN || errno == ENOBUFS)) {
			full++;
			sched_yield(); /* let the worker empty the ring */
		} else if (ret < 0 && errno != EINTR) {
			if (!failed++)
				fprintf(stderr, "udplane-gen: send: %s\n", strerror(errno));
			if (failed > 1000 && !sent)
				die(errno, "nothing could be sent");
		}
	}
}

static void report(int fd, double seconds)
{
	struct udplane_status st = {.size = sizeof(st)};
	double rate = seconds > 0 ? (double)sent / seconds : 0;

	if (!use_kernel)
		udplane_get_status(fd, &st);
	if (opt.json) {
		printf("{\"way\":\"%s\",\"accelerated\":%d,\"reason\":\"%s\",\"packets\":%" PRIu64
		       ",\"bytes\":%" PRIu64 ",\"seconds\":%.6f,\"pps\":%.0f,\"full\":%" PRIu64
		       ",\"failed\":%" PRIu64 ",\"fast_tx\":%" PRIu64 ",\"kernel_tx\":%" PRIu64
		       "}\n",
		       use_kernel ? "kernel" : "burst", st.accelerated, st.reason, sent,
		       sent * opt.size, seconds, rate, full, failed, st.fast_tx, st.kernel_tx);
		return;
	}
	printf("%" PRIu64 " packets of %zu bytes in %.3f s: %.0f packets/s; no room %" PRIu64
	       " times, %" PRIu64 " errors\n",
	       sent, opt.size, seconds, rate, full, failed);
	if (!use_kernel)
		printf("accelerated: %s (%s); %" PRIu64 " fast, %" PRIu64 " by the kernel\n",
		       st.accelerated ? "yes" : "no", st.reason, st.fast_tx, st.kernel_tx);
}

/* ---- start ---- */

static const char usage[] =
	"Usage: udplane-gen --to ADDR:PORT [--ports LOW-HIGH] [--bind ADDR:PORT] [OPTION...]\n"
	"Sends datagrams, until Ctrl-C or as long as told.\n"
	"\n"
	"  --to ADDR:PORT        destination: 10.0.0.2:9000, [2001:db8::2]:9000\n"
	"  --ports LOW-HIGH      these destination ports in turn instead of --to's\n"
	"  --bind ADDR:PORT      own address\n"
	"  --size BYTES          payload, 8 to 1472 (default 64)\n"
	"  --rate N              packets a second (default 0: as fast as possible)\n"
	"  --count N             end after N packets\n"
	"  --seconds S           end after S seconds\n"
	"  --kernel              plain sockets and sendmmsg(), for comparison\n"
	"  --verify              fill the payload, for udplane-sink --verify\n"
	"  --json                the result for programs\n";

static void parse_options(int argc, char **argv)
{
	static const struct option options[] = {
		{"to", 1, NULL, 't'},	   {"ports", 1, NULL, 'p'},  {"bind", 1, NULL, 'b'},
		{"size", 1, NULL, 's'},	   {"rate", 1, NULL, 'r'},   {"count", 1, NULL, 'c'},
		{"seconds", 1, NULL, 'S'}, {"kernel", 0, NULL, 'k'}, {"verify", 0, NULL, 'v'},
		{"json", 0, NULL, 'j'},	   {"help", 0, NULL, 'h'},   {0},
	};
	int o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (o) {
		case 't': opt.to = parse_address("to", optarg); break;
		case 'p': parse_ports("ports", optarg, &opt.low, &opt.high); break;
		case 'b': opt.bind = parse_address("bind", optarg); break;
		case 's': opt.size = parse_number("size", optarg, SIZE_MIN, SIZE_LIMIT); break;
		case 'r': opt.rate = parse_number("rate", optarg, 0, 1000000000); break;
		case 'c': opt.count = parse_number("count", optarg, 1, UINT64_MAX); break;
		case 'S': opt.limit_ns = parse_seconds("seconds", optarg); break;
		case 'k': use_kernel = true; break;
		case 'v': opt.verify = true; break;
		case 'j': opt.json = true; break;
		case 'h': fputs(usage, stdout); exit(0);
		default: fputs(usage, stderr); exit(2);
		}
	}
	if (optind < argc || !opt.to.len) {
		fputs(usage, stderr);
		exit(2);
	}
	if (!opt.low)
		opt.low = opt.high = get_port(&opt.to);
	peer = to_peer(&opt.to);
	port_cnt = (unsigned int)(opt.high - opt.low) + 1;
}

int main(int argc, char **argv)
{
	int family, fd;
	uint64_t start;
	char text[80];

	parse_options(argc, argv);
	catch_signals();
	family = opt.to.sa.ss_family;
	fd = CALL(socket, family, SOCK_DGRAM, 0);
	if (fd < 0)
		die(errno, "socket");
	if (opt.bind.len && CALL(bind, fd, (struct sockaddr *)&opt.bind.sa, opt.bind.len))
		die(errno, "bind to %s", format_address(&opt.bind, text));
	start = now_ns();
	run(fd);
	report(fd, (double)(now_ns() - start) / 1e9);
	CALL(close, fd);
	return sent ? 0 : 1;
}
