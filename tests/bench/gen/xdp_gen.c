/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xdp_gen: floods the peer of a veth interface with valid UDP datagrams, millions per second from
 * one core.
 *
 * The kernel's BPF_PROG_TEST_RUN with live frames (Linux 5.18) runs a small XDP program over frames
 * of its own and sends them out by XDP_TX; the program gives each the next pair of ports. The peer
 * needs an XDP program, or GRO on (`ethtool -K PEER gro on`), or the frames vanish. What does not
 * fit the peer's queue is lost at once, as on a wire.
 *
 * Prints one line of JSON. generated: frames made; sent: those that the peer's queue took, from the
 * driver's statistics (null if it has none).
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <linux/ethtool.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/sockios.h>
#include <linux/udp.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <udplane/clock.h>
#include <unistd.h>

#include "tests/bench/gen/xdp_gen.h"
#include "tests/bench/gen/xdp_gen_program.skel.h"

#define BATCH 64
/* frames per call; setting up a call costs as much as some thousand frames */
#define CHUNK_MIN   1000000u
#define PAYLOAD_MAX 3300 /* one page, less headroom and the kernel's tail */

struct options {
	const char *ifname;
	uint8_t dst_mac[6];
	uint8_t src_ip[16], dst_ip[16];
	int family;
	const char *payload; /* in hexadecimal; NULL: counts from 0 */
	uint32_t size, sport, sport_cnt, dport, dport_cnt;
	uint64_t count, rate;
	double seconds;
	int cpu;
};

static const char usage[] =
	"usage: xdp_gen --netns-interface IF --dst-mac MAC --src-ip A --dst-ip A --dport "
	"LOW[-HIGH] (--seconds S | --count N)\n"
	"  --size BYTES       of UDP payload, 18 unless given (a frame of 60 bytes with IPv4); at "
	"most 3300\n"
	"  --payload HEX      those bytes instead\n"
	"  --sport PORT       first source port, 10000 unless given\n"
	"  --sport-count N    how many, 1 unless given\n"
	"  --rate PPS         frames a second; as fast as possible unless given\n"
	"  --cpu N            the core to run on\n"
	"  -6                 IPv6 (the addresses tell by themselves)\n"
	"The peer of IF needs an XDP program, or GRO on. Needs root.\n";

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...)
{
	va_list ap;

	fputs("xdp_gen: ", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

static uint64_t number(const char *name, const char *s, uint64_t min, uint64_t max)
{
	char *end;
	uint64_t v = strtoull(s, &end, 10);

	if (end == s || *end || v < min || v > max)
		fail("%s %s: a number from %llu to %llu", name, s, (unsigned long long)min,
		     (unsigned long long)max);
	return v;
}

static void parse_mac(uint8_t *mac, const char *s)
{
	if (sscanf(s, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4],
		   &mac[5]) != 6)
		fail("--dst-mac %s: six bytes, 02:00:00:00:00:01", s);
}

static void parse_ip(struct options *o, uint8_t *ip, const char *s)
{
	int family = strchr(s, ':') ? AF_INET6 : AF_INET;

	if (o->family && o->family != family)
		fail("%s: both addresses must be of one family", s);
	if (inet_pton(family, s, ip) != 1)
		fail("%s: no IP address", s);
	o->family = family;
}

static void parse_dport(struct options *o, char *s)
{
	char *dash = strchr(s, '-');
	uint64_t high;

	if (dash)
		*dash++ = '\0';
	o->dport = number("--dport", s, 1, 65535);
	high = dash ? number("--dport", dash, o->dport, 65535) : o->dport;
	o->dport_cnt = high - o->dport + 1;
}

/* Two digits; -1 if they are none. */
static int hex_byte(const char *text)
{
	unsigned int value;

	if (!isxdigit((unsigned char)text[0]) || !isxdigit((unsigned char)text[1]))
		return -1;
	return sscanf(text, "%2x", &value) == 1 ? (int)value : -1;
}

static void parse_payload(struct options *o, const char *text)
{
	size_t len = strlen(text);

	if (len % 2 || len / 2 > PAYLOAD_MAX)
		fail("--payload: %zu digits; allowed: an even number up to %d", len,
		     2 * PAYLOAD_MAX);
	for (size_t i = 0; i < len; i += 2)
		if (hex_byte(text + i) < 0)
			fail("--payload: \"%.2s\" is not hexadecimal", text + i);
	o->payload = text;
	o->size = (uint32_t)(len / 2);
}

static void parse(struct options *o, int argc, char **argv)
{
	static const struct option list[] = {
		{"netns-interface", 1, 0, 'i'},
		{"dst-mac", 1, 0, 'm'},
		{"src-ip", 1, 0, 's'},
		{"dst-ip", 1, 0, 'd'},
		{"size", 1, 0, 'b'},
		{"payload", 1, 0, 'x'},
		{"sport", 1, 0, 'p'},
		{"sport-count", 1, 0, 'P'},
		{"dport", 1, 0, 'D'},
		{"seconds", 1, 0, 't'},
		{"count", 1, 0, 'n'},
		{"rate", 1, 0, 'r'},
		{"cpu", 1, 0, 'c'},
		{"help", 0, 0, 'h'},
		{0},
	};
	bool mac = false;
	int c, ips = 0;

	*o = (struct options){.size = 18, .sport = 10000, .sport_cnt = 1, .cpu = -1};
	while ((c = getopt_long(argc, argv, "46h", list, NULL)) != -1) {
		switch (c) {
		case 'i': o->ifname = optarg; break;
		case 'm':
			parse_mac(o->dst_mac, optarg);
			mac = true;
			break;
		case 's':
			parse_ip(o, o->src_ip, optarg);
			ips |= 1;
			break;
		case 'd':
			parse_ip(o, o->dst_ip, optarg);
			ips |= 2;
			break;
		case 'b': o->size = number("--size", optarg, 0, PAYLOAD_MAX); break;
		case 'x': parse_payload(o, optarg); break;
		case 'p': o->sport = number("--sport", optarg, 1, 65535); break;
		case 'P': o->sport_cnt = number("--sport-count", optarg, 1, 65535); break;
		case 'D': parse_dport(o, optarg); break;
		case 't': o->seconds = atof(optarg); break;
		case 'n': o->count = number("--count", optarg, 1, UINT64_MAX / 2); break;
		case 'r': o->rate = number("--rate", optarg, 1, 100000000); break;
		case 'c': o->cpu = number("--cpu", optarg, 0, CPU_SETSIZE - 1); break;
		case '4':
		case '6': break;
		case 'h': fputs(usage, stdout); exit(0);
		default: fputs(usage, stderr); exit(2);
		}
	}
	if (!o->ifname || !mac || ips != 3 || !o->dport_cnt || (o->seconds > 0) == (o->count > 0) ||
	    optind != argc) {
		fputs(usage, stderr);
		exit(2);
	}
	if (o->sport + o->sport_cnt > 65536)
		fail("--sport %u with --sport-count %u: goes beyond 65535", o->sport, o->sport_cnt);
}

/* --- frame --- */

static uint32_t sum16(const void *data, size_t len, uint32_t sum)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++)
		sum += i & 1 ? p[i] : p[i] << 8;
	return sum;
}

static uint32_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Returns the frame's length; fills g's checksum base. */
static uint32_t build(const struct options *o, const uint8_t *src_mac, uint8_t *f, struct gen *g)
{
	struct ethhdr *eth = (struct ethhdr *)f;
	struct iphdr ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP};
	struct ipv6hdr ip6 = {.version = 6, .nexthdr = IPPROTO_UDP, .hop_limit = 64};
	struct udphdr udp = {.len = htons(8 + o->size)};
	uint32_t ip_len = o->family == AF_INET ? sizeof(ip) : sizeof(ip6),
		 addr_len = o->family == AF_INET ? 4 : 16;
	uint8_t *payload;

	memcpy(eth->h_dest, o->dst_mac, 6);
	memcpy(eth->h_source, src_mac, 6);
	eth->h_proto = htons(o->family == AF_INET ? ETH_P_IP : ETH_P_IPV6);
	if (o->family == AF_INET) {
		ip.tot_len = htons(sizeof(ip) + 8 + o->size);
		memcpy(&ip.saddr, o->src_ip, 4);
		memcpy(&ip.daddr, o->dst_ip, 4);
		ip.check = htons(~fold(sum16(&ip, sizeof(ip), 0)));
		memcpy(f + 14, &ip, sizeof(ip));
	} else {
		ip6.payload_len = htons(8 + o->size);
		memcpy(&ip6.saddr, o->src_ip, 16);
		memcpy(&ip6.daddr, o->dst_ip, 16);
		memcpy(f + 14, &ip6, sizeof(ip6));
	}
	g->udp_off = 14 + ip_len;
	memcpy(f + g->udp_off, &udp, sizeof(udp));
	payload = f + g->udp_off + sizeof(udp);
	for (uint32_t i = 0; i < o->size; i++)
		payload[i] = o->payload ? (uint8_t)hex_byte(o->payload + 2 * i) : (uint8_t)i;
	g->sum = sum16(o->src_ip, addr_len, IPPROTO_UDP + 8 + o->size);
	g->sum = sum16(o->dst_ip, addr_len, g->sum);
	g->sum = fold(sum16(f + g->udp_off, 8 + o->size, g->sum));
	return g->udp_off + 8 + o->size;
}

/* --- interface --- */

static int control_fd(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	return fd < 0 ? socket(AF_INET6, SOCK_DGRAM, 0) : fd;
}

static void source_mac(const char *ifname, uint8_t *mac)
{
	struct ifreq ifr = {0};
	int fd = control_fd();

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	if (ioctl(fd, SIOCGIFHWADDR, &ifr))
		fail("interface %s: %s", ifname, strerror(errno));
	memcpy(mac, ifr.ifr_hwaddr.sa_data, 6);
	close(fd);
}

static int ethtool(const char *ifname, void *data)
{
	struct ifreq ifr = {.ifr_data = data};
	int fd = control_fd(), err;

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	err = ioctl(fd, SIOCETHTOOL, &ifr);
	close(fd);
	return err;
}

/* Sum of veth's tx_queue_*_xdp_xmit: frames that the peer's queues have taken. -1: no such
 * statistics. */
static int64_t taken_by_peer(const char *ifname)
{
	struct {
		struct ethtool_sset_info info;
		uint32_t len;
	} set = {.info = {.cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1 << ETH_SS_STATS}};
	struct ethtool_gstrings *names;
	struct ethtool_stats *stats;
	int64_t sum = -1;

	if (ethtool(ifname, &set) || !set.info.sset_mask || !set.info.data[0])
		return -1;
	names = calloc(1, sizeof(*names) + set.info.data[0] * ETH_GSTRING_LEN);
	stats = calloc(1, sizeof(*stats) + set.info.data[0] * 8);
	if (!names || !stats)
		fail("out of memory");
	names->cmd = ETHTOOL_GSTRINGS;
	names->string_set = ETH_SS_STATS;
	names->len = set.info.data[0];
	stats->cmd = ETHTOOL_GSTATS;
	stats->n_stats = set.info.data[0];
	if (!ethtool(ifname, names) && !ethtool(ifname, stats)) {
		for (uint32_t i = 0; i < stats->n_stats; i++) {
			const char *name = (char *)names->data + i * ETH_GSTRING_LEN;
			size_t n = strnlen(name, ETH_GSTRING_LEN);

			if (!strncmp(name, "tx_queue_", 9) && n > 9 &&
			    !strncmp(name + n - 9, "_xdp_xmit", 9))
				sum = (sum < 0 ? 0 : sum) + (int64_t)stats->data[i];
		}
	}
	free(names);
	free(stats);
	return sum;
}

/* --- send --- */

static double now(void)
{
	return (double)clock_now_ns() / 1e9;
}

static void run(int prog_fd, int ifindex, uint8_t *frame, uint32_t len, uint32_t repeat)
{
	struct xdp_md ctx = {.data_end = len, .ingress_ifindex = ifindex};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = len, .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .repeat = repeat,
		    .flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = BATCH);
	int err = bpf_prog_test_run_opts(prog_fd, &opts);

	if (err && err != -EINTR)
		fail("BPF_PROG_TEST_RUN with live frames (Linux 5.18): %s", strerror(-err));
}

static void sleep_until(double t)
{
	double left = t - now();
	struct timespec ts = {.tv_sec = left, .tv_nsec = (left - (long)left) * 1e9};

	if (left > 0)
		nanosleep(&ts, NULL);
}

/* Frames of the next call: what is left, in pieces short enough to end in time and to hold the
 * rate. */
static uint64_t next_chunk(const struct options *o, uint64_t done, double start)
{
	double t = now() - start, pace = o->rate ? o->rate : done && t > 0 ? done / t : 0;
	uint64_t chunk = pace * 0.25 > CHUNK_MIN ? pace * 0.25 : CHUNK_MIN;

	if (o->rate) {
		chunk = o->rate / 100;
		chunk = chunk < BATCH ? BATCH : chunk;
	}
	if (o->count)
		return o->count - done < chunk ? o->count - done : chunk;
	if (t >= o->seconds)
		return 0;
	if (pace && pace * (o->seconds - t) < chunk)
		chunk = pace * (o->seconds - t) + 1;
	return chunk;
}

int main(int argc, char **argv)
{
	static uint8_t frame[4096];
	struct options o;
	struct gen g = {0};
	struct xdp_gen_program *skel;
	uint8_t mac[6];
	uint64_t done = 0, chunk;
	int64_t before, taken;
	double start, took;
	uint32_t len;
	int ifindex;

	parse(&o, argc, argv);
	ifindex = if_nametoindex(o.ifname);
	if (!ifindex)
		fail("no interface %s in this network namespace", o.ifname);
	if (o.cpu >= 0) {
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET(o.cpu, &set);
		if (sched_setaffinity(0, sizeof(set), &set))
			fail("--cpu %d: %s", o.cpu, strerror(errno));
	}
	source_mac(o.ifname, mac);
	len = build(&o, mac, frame, &g);
	g.sport = o.sport;
	g.sport_cnt = o.sport_cnt;
	g.dport = o.dport;
	g.dport_cnt = o.dport_cnt;
	skel = xdp_gen_program__open_and_load();
	if (!skel)
		fail("loading the XDP program: %s", strerror(errno));
	skel->bss->gen = g;
	before = taken_by_peer(o.ifname);
	start = now();
	while ((chunk = next_chunk(&o, done, start))) {
		run(bpf_program__fd(skel->progs.xdp_gen), ifindex, frame, len, chunk);
		done += chunk;
		if (o.rate)
			sleep_until(start + (double)done / o.rate);
	}
	took = now() - start;
	done = skel->bss->gen.sent; /* a signal may have cut the last call short */
	taken = taken_by_peer(o.ifname);
	printf("{\"generated\": %llu, \"sent\": ", (unsigned long long)done);
	if (before < 0 || taken < 0)
		printf("null");
	else
		printf("%lld", (long long)(taken - before));
	printf(", \"seconds\": %.3f, \"generated_pps\": %.0f}\n", took, done / took);
	xdp_gen_program__destroy(skel);
	return 0;
}
