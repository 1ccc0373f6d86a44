/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mirrors the routes of a device as udplaned does and compares with what the kernel answers to
 * RTM_GETROUTE and RTM_GETNEIGH. `route_oracle DEVICE` reads commands, one per line, and answers
 * each with one line, "ok ..." or "bad ...":
 *
 *   await TEXT DST [SRC]   until the table says TEXT (a verdict; for fast:
 *                          "fast/NEXT-HOP-MAC/SRC/MTU"; * at the end: anything)
 *   check COUNT SEED       COUNT random destinations: where the table says fast, device, next
 *                          hop, source, MTU and MAC must agree
 *   flags NAME             until the change was reported; forgets what was reported so far
 *   forget                 forgets changes reported so far
 *   locals N               until there are N local addresses
 *   use ADDR               NTF_USE
 *   sources COUNT SEED DST random IPv4 sources, for what comes in for our address DST: those that
 *                          the table calls valid the kernel must accept
 *   send DST SIZE          a UDP datagram of SIZE bytes with DF, from a socket of the kernel's
 *   cpu                    milliseconds of processor time used so far
 *   poll MS                works for so long, counts tables
 *
 * Between commands it does not read its netlink socket.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <udplane/clock.h>
#include <unistd.h>

#include "sidecar/route/route.h"
#include "sidecar/route/route_netlink.h"

#define DEADLINE_MS 8000

struct oracle {
	const char *device;
	int ifindex;
	struct route_netlink *nl;
	struct mnl_socket *kernel;
	struct route_table *table;
	uint32_t changes, tables, seq;
};

static uint8_t family_of(const char *text)
{
	return strchr(text, ':') ? AF_INET6 : AF_INET;
}

static void rebuild(struct oracle *o)
{
	struct route_input in;
	struct route_table *t;

	route_netlink_input(o->nl, &in);
	t = route_table_build(&in);
	if (!t) {
		printf("bad no table\n");
		exit(1);
	}
	route_table_destroy(o->table);
	o->table = t;
	o->tables++;
}

static void step(struct oracle *o, int timeout_ms)
{
	struct pollfd p = {.fd = route_netlink_fd(o->nl), .events = POLLIN};
	int changes;

	poll(&p, 1, timeout_ms);
	changes = route_netlink_process(o->nl);
	if (changes < 0) {
		printf("bad process: %s\n", strerror(-changes));
		exit(1);
	}
	o->changes |= (uint32_t)changes;
	if (changes & ROUTE_CHANGE_TABLE)
		rebuild(o);
}

/* Until nothing is left to be read; deferred dumps included. */
static void settle(struct oracle *o)
{
	uint64_t end = clock_now_ms() + DEADLINE_MS;
	struct pollfd p = {.fd = route_netlink_fd(o->nl), .events = POLLIN};

	do
		step(o, 0);
	while (poll(&p, 1, 60) > 0 && clock_now_ms() < end);
}

static void say(struct oracle *o, const char *dst, const char *src, char *out, size_t len)
{
	uint8_t family = family_of(dst), d[16], s[16];
	struct route_hop hop;
	enum route_verdict v;
	char text[INET6_ADDRSTRLEN];

	memset(&hop, 0, sizeof(hop));
	if (inet_pton(family, dst, d) != 1 || (src && inet_pton(family, src, s) != 1)) {
		snprintf(out, len, "no address");
		return;
	}
	v = route_lookup(o->table, family, d, src ? s : NULL, &hop);
	if (v != ROUTE_FAST) {
		snprintf(out, len, "%s", route_verdict_name(v));
		return;
	}
	snprintf(out, len, "fast/%02x:%02x:%02x:%02x:%02x:%02x/%s/%u", hop.dst_mac[0],
		 hop.dst_mac[1], hop.dst_mac[2], hop.dst_mac[3], hop.dst_mac[4], hop.dst_mac[5],
		 inet_ntop(family, hop.src, text, sizeof(text)), hop.mtu);
}

static bool matches(const char *pattern, const char *text)
{
	size_t len = strlen(pattern);

	if (len && pattern[len - 1] == '*')
		return !strncmp(pattern, text, len - 1);
	return !strcmp(pattern, text);
}

static void await(struct oracle *o, const char *want, const char *dst, const char *src)
{
	uint64_t end = clock_now_ms() + DEADLINE_MS;
	char text[128];

	for (step(o, 0);; step(o, 20)) {
		say(o, dst, src, text, sizeof(text));
		if (matches(want, text)) {
			printf("ok %s\n", text);
			return;
		}
		if (clock_now_ms() > end)
			break;
	}
	printf("bad %s is %s, not %s\n", dst, text, want);
}

/* --- the kernel --- */

struct answer {
	uint8_t type;
	int ifindex;
	uint8_t next_family, next[16];
	bool has_src;
	uint8_t src[16];
	uint32_t mtu;
	uint8_t mac[6];
	uint16_t state;
};

static int parse_route(const struct nlmsghdr *nlh, void *data)
{
	struct answer *a = data;
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *attr, *metric;

	a->type = rtm->rtm_type;
	mnl_attr_for_each(attr, nlh, sizeof(*rtm)) {
		const uint8_t *p = mnl_attr_get_payload(attr);
		uint16_t len = mnl_attr_get_payload_len(attr);

		switch (mnl_attr_get_type(attr)) {
		case RTA_OIF: a->ifindex = (int)mnl_attr_get_u32(attr); break;
		case RTA_GATEWAY:
			a->next_family = rtm->rtm_family;
			memcpy(a->next, p, len);
			break;
		case RTA_VIA:
			a->next_family = p[0];
			memcpy(a->next, p + 2, len - 2u);
			break;
		case RTA_PREFSRC:
			a->has_src = true;
			memcpy(a->src, p, len);
			break;
		case RTA_METRICS:
			mnl_attr_for_each_nested(metric, attr)
				if (mnl_attr_get_type(metric) == RTAX_MTU)
					a->mtu = mnl_attr_get_u32(metric);
			break;
		}
	}
	return MNL_CB_STOP;
}

static int parse_neigh(const struct nlmsghdr *nlh, void *data)
{
	struct answer *a = data;
	const struct ndmsg *ndm = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *attr;

	a->state = ndm->ndm_state;
	mnl_attr_for_each(attr, nlh, sizeof(*ndm))
		if (mnl_attr_get_type(attr) == NDA_LLADDR && mnl_attr_get_payload_len(attr) == 6)
			memcpy(a->mac, mnl_attr_get_payload(attr), 6);
	return MNL_CB_STOP;
}

static int ask(struct oracle *o, struct nlmsghdr *nlh, mnl_cb_t parse, struct answer *a)
{
	char buf[8192];
	ssize_t len;

	nlh->nlmsg_flags = NLM_F_REQUEST;
	nlh->nlmsg_seq = ++o->seq;
	if (mnl_socket_sendto(o->kernel, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	len = mnl_socket_recvfrom(o->kernel, buf, sizeof(buf));
	if (len < 0 ||
	    mnl_cb_run(buf, (size_t)len, o->seq, mnl_socket_get_portid(o->kernel), parse, a) < 0)
		return -errno;
	return 0;
}

static int ask_kernel(struct oracle *o, uint8_t family, const uint8_t *dst, const uint8_t *src,
		      struct answer *a)
{
	const uint16_t len = family == AF_INET ? 4 : 16;
	char buf[512];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct rtmsg *rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));
	struct ndmsg *ndm;
	int err;

	memset(a, 0, sizeof(*a));
	nlh->nlmsg_type = RTM_GETROUTE;
	rtm->rtm_family = family;
	rtm->rtm_dst_len = (uint8_t)(8 * len);
	mnl_attr_put(nlh, RTA_DST, len, dst);
	if (src) {
		rtm->rtm_src_len = (uint8_t)(8 * len);
		mnl_attr_put(nlh, RTA_SRC, len, src);
	}
	if (family == AF_INET6 && dst[0] == 0xfe && (dst[1] & 0xc0) == 0x80)
		mnl_attr_put_u32(nlh, RTA_OIF, (uint32_t)o->ifindex);
	err = ask(o, nlh, parse_route, a);
	if (err)
		return err;
	if (!a->next_family) {
		a->next_family = family;
		memcpy(a->next, dst, len);
	}
	nlh = mnl_nlmsg_put_header(buf);
	ndm = mnl_nlmsg_put_extra_header(nlh, sizeof(*ndm));
	nlh->nlmsg_type = RTM_GETNEIGH;
	ndm->ndm_family = a->next_family;
	ndm->ndm_ifindex = a->ifindex;
	mnl_attr_put(nlh, NDA_DST, a->next_family == AF_INET ? 4 : 16, a->next);
	return ask(o, nlh, parse_neigh, a);
}

static uint32_t device_mtu(const struct oracle *o, uint8_t family)
{
	char path[128];
	unsigned int mtu = 0;
	FILE *f;

	if (family == AF_INET6)
		snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/mtu", o->device);
	else
		snprintf(path, sizeof(path), "/sys/class/net/%s/mtu", o->device);
	f = fopen(path, "r");
	if (!f || fscanf(f, "%u", &mtu) != 1)
		mtu = 0;
	if (f)
		fclose(f);
	return mtu;
}

static const char *difference(struct oracle *o, uint8_t family, const uint8_t *dst,
			      const uint8_t *src, const struct route_hop *hop,
			      const uint32_t mtu[2])
{
	const size_t len = family == AF_INET ? 4 : 16;
	uint32_t want = mtu[family == AF_INET6];
	struct answer a;

	if (ask_kernel(o, family, dst, src, &a))
		return "the kernel refuses";
	if (a.mtu && a.mtu < want) /* a route's larger one is of no use */
		want = a.mtu;
	if (a.type != RTN_UNICAST)
		return "type";
	if (a.ifindex != o->ifindex)
		return "device";
	if (!src && (!a.has_src || memcmp(a.src, hop->src, len)))
		return "source";
	if (src && memcmp(src, hop->src, len))
		return "source given";
	if (want != hop->mtu)
		return "mtu";
	if (memcmp(a.mac, hop->dst_mac, 6) || (a.state & (NUD_NONE | NUD_INCOMPLETE | NUD_FAILED)))
		return "next hop";
	return NULL;
}

/* --- checking --- */

static void random_bits(uint8_t *addr, uint32_t from, uint32_t to)
{
	for (; from < to; from++)
		if (rand() & 1)
			addr[from / 8] ^= (uint8_t)(0x80 >> from % 8);
}

/* A destination inside or next to a known prefix. */
static uint8_t pick(const struct route_input *in, uint8_t dst[16])
{
	const struct route_route *r;
	int choice = rand() % 10;
	uint32_t bits;

	memset(dst, 0, 16);
	if (choice < 2 && in->neigh_cnt) {
		const struct route_neigh *n = &in->neighs[(uint32_t)rand() % in->neigh_cnt];

		memcpy(dst, n->addr, 16);
		return n->family;
	}
	if (choice == 2 && in->addr_cnt) {
		const struct route_addr *a = &in->addrs[(uint32_t)rand() % in->addr_cnt];

		memcpy(dst, a->addr, 16);
		bits = a->family == AF_INET ? 32 : 128;
		random_bits(dst, rand() % 2 ? a->prefix_len : bits - 2, bits);
		return a->family;
	}
	if (choice == 3 || !in->route_cnt) {
		random_bits(dst, 0, rand() % 2 ? 32 : 128);
		return dst[4] || dst[8] || dst[15] ? AF_INET6 : AF_INET;
	}
	r = &in->routes[(uint32_t)rand() % in->route_cnt];
	bits = r->family == AF_INET ? 32 : 128;
	memcpy(dst, r->dst, 16);
	random_bits(dst, r->prefix_len, bits);
	if (choice == 4 && r->prefix_len) /* just outside */
		dst[(r->prefix_len - 1) / 8] ^= (uint8_t)(0x80 >> (r->prefix_len - 1) % 8);
	return r->family;
}

static const uint8_t *pick_source(const struct route_input *in, uint8_t family)
{
	const struct route_addr *a =
		in->addr_cnt ? &in->addrs[(uint32_t)rand() % in->addr_cnt] : NULL;

	return a && a->family == family && rand() % 3 == 0 ? a->addr : NULL;
}

static void check(struct oracle *o, int count, unsigned int seed)
{
	const uint32_t mtu[2] = {device_mtu(o, AF_INET), device_mtu(o, AF_INET6)};
	uint32_t by_verdict[ROUTE_VERDICT_CNT] = {0};
	struct route_input in;
	int i, v;

	settle(o);
	srand(seed);
	route_netlink_input(o->nl, &in);
	for (i = 0; i < count; i++) {
		uint8_t dst[16], family = pick(&in, dst);
		const uint8_t *src = pick_source(&in, family);
		struct route_hop hop;
		const char *what;
		char text[INET6_ADDRSTRLEN], from[INET6_ADDRSTRLEN] = "any", got[INET6_ADDRSTRLEN];

		v = route_lookup(o->table, family, dst, src, &hop);
		by_verdict[v]++;
		if (v != ROUTE_FAST)
			continue;
		what = difference(o, family, dst, src, &hop, mtu);
		if (!what)
			continue;
		if (src)
			inet_ntop(family, src, from, sizeof(from));
		printf("bad %s from %s: %s (src %s mtu %u)\n",
		       inet_ntop(family, dst, text, sizeof(text)), from, what,
		       inet_ntop(family, hop.src, got, sizeof(got)), hop.mtu);
		return;
	}
	printf("ok");
	for (v = 0; v < ROUTE_VERDICT_CNT; v++)
		printf(" %s=%u", route_verdict_name((enum route_verdict)v), by_verdict[v]);
	printf("\n");
}

/* Does the kernel accept a datagram from src to our address dst that comes in by the device? */
static bool kernel_accepts(struct oracle *o, const uint8_t *src, const uint8_t *dst)
{
	char buf[512];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct rtmsg *rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));
	struct answer a = {0};

	nlh->nlmsg_type = RTM_GETROUTE;
	rtm->rtm_family = AF_INET;
	rtm->rtm_dst_len = rtm->rtm_src_len = 32;
	mnl_attr_put(nlh, RTA_DST, 4, dst);
	mnl_attr_put(nlh, RTA_SRC, 4, src);
	mnl_attr_put_u32(nlh, RTA_IIF, (uint32_t)o->ifindex);
	return !ask(o, nlh, parse_route, &a) && a.type == RTN_LOCAL;
}

static void check_sources(struct oracle *o, int count, unsigned int seed, const char *own)
{
	uint32_t valid = 0, refused = 0, cautious = 0, addr;
	struct route_input in;
	uint8_t dst[16];
	int i;

	settle(o);
	srand(seed);
	inet_pton(AF_INET, own, dst);
	route_netlink_input(o->nl, &in);
	for (i = 0; i < count; i++) {
		uint8_t src[16];
		char text[INET6_ADDRSTRLEN];
		bool says, does;

		if (pick(&in, src) != AF_INET || src[0] == 0 || src[0] == 127 || src[0] >= 224)
			continue; /* what the parser refuses */
		memcpy(&addr, src, 4);
		says = route_source_valid(o->table, AF_INET, &addr);
		does = kernel_accepts(o, src, dst);
		if (says && !does) {
			printf("bad %s: the kernel refuses it\n",
			       inet_ntop(AF_INET, src, text, sizeof(text)));
			return;
		}
		valid += says;
		refused += !does;
		cautious += !says && does;
	}
	printf("ok valid=%u refused=%u cautious=%u\n", valid, refused, cautious);
}

static void await_flag(struct oracle *o, const char *name)
{
	static const struct {
		const char *name;
		uint32_t flag;
	} flags[] = {{"table", ROUTE_CHANGE_TABLE},
		     {"addrs", ROUTE_CHANGE_ADDRS},
		     {"link", ROUTE_CHANGE_LINK},
		     {"gone", ROUTE_CHANGE_GONE},
		     {"resync", ROUTE_CHANGE_RESYNC}};
	uint64_t end = clock_now_ms() + DEADLINE_MS;
	size_t i;

	for (i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		if (strcmp(flags[i].name, name))
			continue;
		for (step(o, 0); !(o->changes & flags[i].flag) && clock_now_ms() < end; step(o, 20))
			;
		printf("%s %s\n", o->changes & flags[i].flag ? "ok" : "bad no", name);
		o->changes = 0;
		return;
	}
	printf("bad flag\n");
}

static void await_locals(struct oracle *o, uint32_t want)
{
	uint64_t end = clock_now_ms() + DEADLINE_MS;
	uint8_t locals[256][16];
	uint32_t cnt;

	for (step(o, 0);
	     (cnt = route_netlink_locals(o->nl, locals, 256)) != want && clock_now_ms() < end;
	     step(o, 20))
		;
	printf("%s %u\n", cnt == want ? "ok" : "bad", cnt);
}

static void use(struct oracle *o, const char *addr)
{
	struct route_neigh n = {.family = family_of(addr), .ifindex = o->ifindex};

	inet_pton(n.family, addr, n.addr);
	route_netlink_use(o->nl, &n);
	printf("ok\n");
}

static void send_datagram(const char *dst, size_t size)
{
	static char payload[65536];
	struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons(9)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(9)};
	bool six = family_of(dst) == AF_INET6;
	int fd = socket(six ? AF_INET6 : AF_INET, SOCK_DGRAM, 0),
	    on = six ? IPV6_PMTUDISC_DO : IP_PMTUDISC_DO;
	ssize_t sent;

	setsockopt(fd, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER,
		   &on, sizeof(on));
	inet_pton(AF_INET, dst, &in4.sin_addr);
	inet_pton(AF_INET6, dst, &in6.sin6_addr);
	sent = six ? sendto(fd, payload, size, 0, (void *)&in6, sizeof(in6))
		   : sendto(fd, payload, size, 0, (void *)&in4, sizeof(in4));
	printf("%s\n", sent < 0 ? strerror(errno) : "ok");
	close(fd);
}

static void print_cpu(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	printf("ok %ld\n", (long)ts.tv_sec * 1000 + ts.tv_nsec / 1000000);
}

static void poll_for(struct oracle *o, uint64_t ms)
{
	uint64_t end = clock_now_ms() + ms, now;
	uint32_t before = o->tables;

	while ((now = clock_now_ms()) < end)
		step(o, (int)(end - now));
	printf("ok %u\n", o->tables - before);
}

static bool command(struct oracle *o, char *line)
{
	char *save, *arg[4] = {0};
	int cnt;

	for (cnt = 0; cnt < 4 && (arg[cnt] = strtok_r(cnt ? NULL : line, " \n", &save)); cnt++)
		;
	if (cnt >= 3 && !strcmp(arg[0], "await")) {
		await(o, arg[1], arg[2], arg[3]);
	} else if (cnt == 3 && !strcmp(arg[0], "check")) {
		check(o, atoi(arg[1]), (unsigned int)atoi(arg[2]));
	} else if (cnt == 2 && !strcmp(arg[0], "flags")) {
		await_flag(o, arg[1]);
	} else if (cnt == 1 && !strcmp(arg[0], "forget")) {
		step(o, 0);
		o->changes = 0;
		printf("ok\n");
	} else if (cnt == 2 && !strcmp(arg[0], "locals")) {
		await_locals(o, (uint32_t)atoi(arg[1]));
	} else if (cnt == 4 && !strcmp(arg[0], "sources")) {
		check_sources(o, atoi(arg[1]), (unsigned int)atoi(arg[2]), arg[3]);
	} else if (cnt == 2 && !strcmp(arg[0], "use")) {
		use(o, arg[1]);
	} else if (cnt == 3 && !strcmp(arg[0], "send")) {
		send_datagram(arg[1], (size_t)atoi(arg[2]));
	} else if (cnt == 1 && !strcmp(arg[0], "cpu")) {
		print_cpu();
	} else if (cnt == 2 && !strcmp(arg[0], "poll")) {
		poll_for(o, (uint64_t)atoi(arg[1]));
	} else {
		return false;
	}
	fflush(stdout);
	return true;
}

int main(int argc, char **argv)
{
	struct oracle o = {.device = argc == 2 ? argv[1] : ""};
	struct error error = {0};
	char line[256];

	o.ifindex = (int)if_nametoindex(o.device);
	o.kernel = mnl_socket_open(NETLINK_ROUTE);
	if (!o.ifindex || !o.kernel || mnl_socket_bind(o.kernel, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    route_netlink_open(&o.nl, o.ifindex, &error)) {
		fprintf(stderr, "route_oracle: %s\n", error.text[0] ? error.text : strerror(errno));
		return 1;
	}
	rebuild(&o);
	while (fgets(line, sizeof(line), stdin)) {
		if (!command(&o, line)) {
			fprintf(stderr, "route_oracle: bad command\n");
			return 2;
		}
	}
	route_table_destroy(o.table);
	route_netlink_close(o.nl);
	mnl_socket_close(o.kernel);
	return 0;
}
