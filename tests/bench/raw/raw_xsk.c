/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The baseline: what one xsk gives without udplane. And the peer programs of the benchmark.
 *
 *   raw_xsk rx   IF SECONDS                                packets per second, taken and given back
 *   raw_xsk tx   IF SECONDS SIZE SMAC DMAC SIP DIP DPORT   packets per second, built once, sent
 *                                                          for ever
 *   raw_xsk ping IF COUNT   SIZE SMAC DMAC SIP DIP DPORT   median and p99 round trip, ns, spinning
 *   raw_xsk peer IF drop|echo|pass                             attach, print "ready", wait for
 *                                                              SIGTERM
 *
 * SIZE is the UDP payload, bytes. One line of JSON at the end.
 */
#include "tests/bench/raw/raw_xsk.skel.h"
#include <arpa/inet.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <udplane/clock.h>
#include <unistd.h>
#include <xdp/xsk.h>

#define FRAMES	 8192u
#define FRAME	 2048u
#define RING	 2048u
#define FILL	 4096u
#define BATCH	 64u
#define TX_BATCH 32u

struct raw {
	struct raw_xsk *prog;
	struct bpf_link *link;
	void *mem;
	struct xsk_umem *umem;
	struct xsk_socket *xsk;
	struct xsk_ring_prod fill, tx;
	struct xsk_ring_cons comp, rx;
	uint32_t queued; /* given to TX and not completed */
};

static void die(const char *what, int err)
{
	fprintf(stderr, "raw_xsk: %s: %s\n", what, strerror(err < 0 ? -err : err));
	exit(1);
}

static struct raw_xsk *load(void)
{
	struct raw_xsk *p = raw_xsk__open_and_load();

	if (!p)
		die("load program", errno);
	return p;
}

static void raw_open(struct raw *r, const char *ifname)
{
	struct xsk_umem_config uc = {.fill_size = FILL, .comp_size = RING, .frame_size = FRAME};
	struct xsk_socket_config sc = {
		.rx_size = RING,
		.tx_size = RING,
		.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
		.bind_flags = XDP_COPY | XDP_USE_NEED_WAKEUP,
	};
	uint32_t idx = 0, key = 0;
	int err, fd;

	memset(r, 0, sizeof(*r));
	r->prog = load();
	r->mem = mmap(NULL, FRAMES * FRAME, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (r->mem == MAP_FAILED)
		die("mmap", errno);
	err = xsk_umem__create(&r->umem, r->mem, FRAMES * FRAME, &r->fill, &r->comp, &uc);
	if (err)
		die("umem", err);
	for (int i = 0; i < 300; i++) { /* EBUSY for some ms after another process died */
		err = xsk_socket__create(&r->xsk, ifname, 0, r->umem, &r->rx, &r->tx, &sc);
		if (err != -EBUSY)
			break;
		poll(NULL, 0, 1);
	}
	if (err)
		die("xsk", err);
	fd = xsk_socket__fd(r->xsk);
	err = bpf_map__update_elem(r->prog->maps.xsks, &key, sizeof(key), &fd, sizeof(fd), 0);
	if (err)
		die("xskmap", err);
	xsk_ring_prod__reserve(&r->fill, FILL / 2, &idx);
	for (uint32_t i = 0; i < FILL / 2; i++)
		*xsk_ring_prod__fill_addr(&r->fill, idx + i) = (uint64_t)(FRAMES / 2 + i) * FRAME;
	xsk_ring_prod__submit(&r->fill, FILL / 2);
	r->link = bpf_program__attach_xdp(r->prog->progs.raw_redirect, (int)if_nametoindex(ifname));
	if (!r->link)
		die("attach", errno);
}

/* Takes up to max and gives them back to the fill ring; copies the first's address out. */
static uint32_t raw_receive(struct raw *r, uint32_t max)
{
	uint32_t rx = 0, fill = 0;
	uint32_t n = xsk_ring_cons__peek(&r->rx, max, &rx);

	if (!n)
		return 0;
	while (xsk_ring_prod__reserve(&r->fill, n, &fill) != n)
		;
	for (uint32_t i = 0; i < n; i++)
		*xsk_ring_prod__fill_addr(&r->fill, fill + i) =
			xsk_ring_cons__rx_desc(&r->rx, rx + i)->addr;
	xsk_ring_prod__submit(&r->fill, n);
	xsk_ring_cons__release(&r->rx, n);
	return n;
}

static void run_rx(const char *ifname, double seconds)
{
	struct raw r;
	uint64_t start, end, cnt = 0;

	raw_open(&r, ifname);
	printf("ready\n");
	fflush(stdout);
	while (!raw_receive(&r, BATCH))
		;
	start = clock_now_ns();
	end = start + (uint64_t)(seconds * 1e9);
	while (clock_now_ns() < end)
		for (int i = 0; i < 64; i++)
			cnt += raw_receive(&r, BATCH);
	printf("{\"pps\": %.0f}\n", (double)cnt * 1e9 / (double)(clock_now_ns() - start));
}

static uint16_t sum16(const void *p, size_t len, uint32_t sum)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < len; i++)
		sum += i & 1 ? b[i] : (uint32_t)b[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void parse_mac(const char *text, uint8_t *mac)
{
	if (sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2], &mac[3],
		   &mac[4], &mac[5]) != 6)
		die(text, EINVAL);
}

/* argv: SIZE SMAC DMAC SIP DIP DPORT; UDP checksum 0, which IPv4 allows. */
static uint32_t build(uint8_t *f, char **argv)
{
	uint32_t size = (uint32_t)atoi(argv[0]);
	struct ethhdr *eth = (void *)f;
	struct iphdr *ip = (void *)(eth + 1);
	struct udphdr *udp = (void *)(ip + 1);

	memset(f, 0, 42 + size);
	parse_mac(argv[1], eth->h_source);
	parse_mac(argv[2], eth->h_dest);
	eth->h_proto = htons(ETH_P_IP);
	ip->version = 4;
	ip->ihl = 5;
	ip->ttl = 64;
	ip->protocol = IPPROTO_UDP;
	ip->frag_off = htons(0x4000);
	ip->tot_len = htons((uint16_t)(28 + size));
	inet_pton(AF_INET, argv[3], &ip->saddr);
	inet_pton(AF_INET, argv[4], &ip->daddr);
	ip->check = htons(sum16(ip, 20, 0));
	udp->source = htons(40000);
	udp->dest = htons((uint16_t)atoi(argv[5]));
	udp->len = htons((uint16_t)(8 + size));
	return 42 + size;
}

static void kick(struct raw *r)
{
	if (sendto(xsk_socket__fd(r->xsk), NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 && errno != EAGAIN &&
	    errno != EBUSY && errno != ENOBUFS)
		die("kick", errno);
}

static void complete(struct raw *r)
{
	uint32_t idx = 0, n = xsk_ring_cons__peek(&r->comp, RING, &idx);

	if (n) {
		xsk_ring_cons__release(&r->comp, n);
		r->queued -= n;
	}
}

static uint32_t transmit(struct raw *r, uint32_t cnt, uint32_t len)
{
	uint32_t idx = 0;

	if (r->queued + cnt > RING || xsk_ring_prod__reserve(&r->tx, cnt, &idx) != cnt)
		return 0;
	for (uint32_t i = 0; i < cnt; i++) {
		struct xdp_desc *d = xsk_ring_prod__tx_desc(&r->tx, idx + i);

		d->addr = (uint64_t)((idx + i) % (FRAMES / 2)) * FRAME;
		d->len = len;
		d->options = 0;
	}
	xsk_ring_prod__submit(&r->tx, cnt);
	r->queued += cnt;
	return cnt;
}

static void run_tx(const char *ifname, double seconds, char **argv)
{
	struct raw r;
	uint32_t len = 0;
	uint64_t start, end, cnt = 0;

	raw_open(&r, ifname);
	for (uint32_t i = 0; i < FRAMES / 2; i++)
		len = build((uint8_t *)r.mem + (size_t)i * FRAME, argv);
	start = clock_now_ns();
	end = start + (uint64_t)(seconds * 1e9);
	while (clock_now_ns() < end) {
		cnt += transmit(&r, TX_BATCH, len);
		kick(&r);
		complete(&r);
	}
	printf("{\"pps\": %.0f}\n",
	       (double)(cnt - r.queued) * 1e9 / (double)(clock_now_ns() - start));
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void run_ping(const char *ifname, uint32_t count, char **argv)
{
	uint64_t *rtt = calloc(count, sizeof(*rtt));
	struct raw r;
	uint32_t len = 0, lost = 0;

	raw_open(&r, ifname);
	for (uint32_t i = 0; i < FRAMES / 2; i++)
		len = build((uint8_t *)r.mem + (size_t)i * FRAME, argv);
	for (uint32_t i = 0; i < count; i++) {
		uint64_t t = clock_now_ns();
		bool got = false;

		transmit(&r, 1, len);
		kick(&r);
		while (!got && clock_now_ns() - t < 100000000)
			got = raw_receive(&r, BATCH);
		rtt[i] = clock_now_ns() - t;
		lost += !got;
		complete(&r);
	}
	qsort(rtt, count, sizeof(*rtt), by_value);
	printf("{\"median_ns\": %llu, \"p99_ns\": %llu, \"lost\": %u}\n",
	       (unsigned long long)rtt[count / 2], (unsigned long long)rtt[count - 1 - count / 100],
	       lost);
	free(rtt);
}

static void run_peer(const char *ifname, const char *what)
{
	struct raw_xsk *p = load();
	struct bpf_program *prog = !strcmp(what, "echo")   ? p->progs.peer_echo
				   : !strcmp(what, "pass") ? p->progs.peer_pass
							   : p->progs.peer_drop;
	struct bpf_link *link = bpf_program__attach_xdp(prog, (int)if_nametoindex(ifname));
	sigset_t set;
	int sig;

	if (!link)
		die("attach", errno);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	printf("ready\n");
	fflush(stdout);
	sigwait(&set, &sig);
}

int main(int argc, char **argv)
{
	struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};

	setrlimit(RLIMIT_MEMLOCK, &all);
	if (argc == 4 && !strcmp(argv[1], "rx"))
		run_rx(argv[2], atof(argv[3]));
	else if (argc == 10 && !strcmp(argv[1], "tx"))
		run_tx(argv[2], atof(argv[3]), argv + 4);
	else if (argc == 10 && !strcmp(argv[1], "ping"))
		run_ping(argv[2], (uint32_t)atoi(argv[3]), argv + 4);
	else if (argc == 4 && !strcmp(argv[1], "peer"))
		run_peer(argv[2], argv[3]);
	else
		die("usage: rx IF SECONDS | tx|ping IF SECONDS|COUNT SIZE SMAC DMAC SIP DIP DPORT "
		    "| peer IF drop|echo|pass",
		    EINVAL);
	return 0;
}
