/* SPDX-License-Identifier: Apache-2.0 */
#include "client/ctl/paths.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "client/ctl/names.h"

/* At this rate in datagrams per second or more the library is sure to engage the fast path. It is
 * RX_ENGAGE_CNT per RX_ENGAGE_WINDOW_NS (client/base.h); in mode powersave it is four times as
 * high. */
#define RESTING_RATE	 80000
#define POWERSAVE_FACTOR 4

/* A place where frames for an accelerated socket may go instead. The table lists the places in the
 * order in which they are suspected. */
struct cause {
	enum udplane_device_counter counter;
	const char *name, *text, *todo;
};

static const struct cause causes[] = {
	{UDPLANE_DEVICE_RX_PASSED_NO_QUEUE, "queue_not_bound",
	 "they came on a receive queue of the interface that udplaned has not bound",
	 "udplaned takes up new queues by itself within seconds; if it stays so, restart it (64 "
	 "queues at most)"},
	{UDPLANE_DEVICE_RX_PASSED_IDLE, "worker_asleep",
	 "the worker sleeps and the kernel delivers, although the rate is one at which it should "
	 "be awake",
	 "look at the application's UDPLANE_LOG=2 and at `udplanectl stats --watch`; mode latency "
	 "never sleeps that way"},
	{UDPLANE_DEVICE_RX_PASSED_STALLED, "stalled",
	 "udplaned did not run: stopped, frozen or throttled, and the kernel took over",
	 "look at its control group's CPU limit, and at who stops it"},
	{UDPLANE_DEVICE_RX_PASSED_FRAGMENT, "fragments",
	 "they came as IP fragments, which only the kernel puts together",
	 "let the peer send datagrams that fit its MTU"},
	{UDPLANE_DEVICE_RX_PASSED_PARTIAL, "partial_checksum",
	 "a sender on this host leaves the checksum to the device; in generic mode such a frame "
	 "may be several datagrams in one",
	 "nothing; senders on other hosts are not concerned"},
	{UDPLANE_DEVICE_RX_PASSED_JUMBO, "jumbo", "their frames are longer than one of udplaned's",
	 "set frame_size 4096, or a smaller MTU"},
	{UDPLANE_DEVICE_RX_PASSED_OPTIONS, "ip_options",
	 "they carry IP options or IPv6 extension headers",
	 "nothing, unless the peer can do without"},
	{UDPLANE_DEVICE_RX_PASSED_MALFORMED, "malformed", "their lengths do not fit each other",
	 "look at the sender"},
	{UDPLANE_DEVICE_RX_PASSED_MARTIAN, "martian", "their source address cannot be",
	 "look at the sender"},
	{UDPLANE_DEVICE_RX_PASSED_NOT_LOCAL, "not_unicast",
	 "they are for no unicast address of this host: multicast, broadcast, or another MAC "
	 "address",
	 "nothing: only the kernel receives such"},
	{UDPLANE_DEVICE_RX_PASSED_UNCLAIMED, "no_claim_in_xdp",
	 "the XDP program knows of no claim that they match: another address or peer than the "
	 "socket's",
	 "nothing, if other sockets of this host have that much traffic; else restart udplaned, "
	 "and report this with `udplanectl stats --json`"},
	{UDPLANE_DEVICE_RX_PASSED_NOT_IP, "not_plain_ip",
	 "they came in frames that are neither IPv4 nor IPv6 (VLAN tags?)",
	 "name the VLAN interface's parent without tags, or accept the kernel path"},
};

static const struct cause resting = {UDPLANE_DEVICE_RX_PASSED_IDLE, "resting", "", ""};

static void __attribute__((format(printf, 2, 3))) add_text(struct path *p, const char *format, ...)
{
	size_t len = strlen(p->text);
	va_list args;

	va_start(args, format);
	vsnprintf(p->text + len, sizeof(p->text) - len, format, args);
	va_end(args);
}

static void blame(struct path *p, const char *cause, const char *todo)
{
	p->cause = cause;
	p->todo = todo;
}

const char *path_name(enum path_kind kind)
{
	static const char *const names[] = {"idle", "fast", "mixed", "resting", "kernel"};

	return names[kind];
}

void path_add(uint64_t *sum, const struct snapshot_socket *k)
{
	for (int i = 0; i < UDPLANE_RECENT_COUNTER_CNT; i++)
		sum[i] += k->recent[i];
}

static void begin(struct path *p, uint64_t fast, uint64_t kernel)
{
	memset(p, 0, sizeof(*p));
	blame(p, reason_name(UDPLANE_REASON_NONE), "");
	p->fast = fast;
	p->kernel = kernel;
	if (fast + kernel < PATH_FEW)
		p->kind = PATH_IDLE;
	else if (kernel <= fast / 9)
		p->kind = PATH_FAST;
	else
		p->kind = fast <= kernel / 9 ? PATH_KERNEL : PATH_MIXED;
}

/* Returns true if the fast path may rest at this rate, `cnt` datagrams in the time shown. */
static bool may_rest(const struct snapshot *s, uint64_t cnt)
{
	double rate = s->recent_ns ? (double)cnt * 1e9 / (double)s->recent_ns : 0;

	return s->mode != UDPLANE_MODE_LATENCY &&
	       rate < RESTING_RATE * (s->mode == UDPLANE_MODE_POWERSAVE ? POWERSAVE_FACTOR : 1);
}

/* Returns how many frames the XDP program saw that may have been for a claimed socket. */
static uint64_t seen_udp(const struct snapshot *s)
{
	const uint64_t *d = s->recent_device;

	return d[UDPLANE_DEVICE_RX_SEEN] - d[UDPLANE_DEVICE_RX_PASSED_NOT_UDP] -
	       d[UDPLANE_DEVICE_RX_PASSED_NOT_IP];
}

static uint64_t unseen(const struct snapshot *s)
{
	uint64_t in = s->recent_host[UDPLANE_HOST_INTERFACE_RX],
		 seen = s->recent_device[UDPLANE_DEVICE_RX_SEEN];

	return in > seen ? in - seen : 0;
}

static bool is_listed(uint32_t counter)
{
	for (size_t i = 0; i < sizeof(causes) / sizeof(causes[0]); i++)
		if (causes[i].counter == counter)
			return true;
	return counter == UDPLANE_DEVICE_RX_PASSED_NOT_UDP;
}

/* Finds a counter that the table does not list, and takes its own name and meaning as the cause. */
static bool find_unlisted(struct cause *c, const struct snapshot *s, uint64_t kernel)
{
	for (uint32_t i = 0; i < device_counters.cnt; i++) {
		const struct counter_name *n = &device_counters.entry[i];

		if (!name_after(n->name, "rx_passed_") || is_listed(i) ||
		    s->recent_device[i] * 2 < kernel)
			continue;
		*c = (struct cause){(enum udplane_device_counter)i, n->name, n->help,
				    "see that counter in `udplanectl stats`"};
		return true;
	}
	return false;
}

static bool find_cause(struct cause *c, const struct snapshot *s, uint64_t kernel)
{
	if (find_unlisted(c, s, kernel))
		return true;
	for (size_t i = 0; i < sizeof(causes) / sizeof(causes[0]); i++) {
		if (s->recent_device[causes[i].counter] * 2 < kernel)
			continue;
		*c = causes[i];
		if (c->counter == UDPLANE_DEVICE_RX_PASSED_IDLE && may_rest(s, kernel))
			*c = resting;
		return true;
	}
	return false;
}

/* Explains datagrams that the XDP program has not seen. */
static void blame_other_way(struct path *p, const struct snapshot *s)
{
	if (unseen(s) * 2 >= p->kernel) {
		blame(p, "past_xdp",
		      "run udplaned with xdp_mode auto, which goes on in generic mode by itself "
		      "within seconds, or generic");
		add_text(p,
			 "%" PRIu64 " of %" PRIu64 " datagrams came by XDP: something behind "
			 "bpf_redirect_peer (eBPF host routing of "
			 "Cilium or Calico) delivers past it; %s received %" PRIu64
			 " packets, the XDP program saw %" PRIu64,
			 p->fast, p->fast + p->kernel, s->ifname,
			 s->recent_host[UDPLANE_HOST_INTERFACE_RX],
			 s->recent_device[UDPLANE_DEVICE_RX_SEEN]);
	} else if (s->recent_host[UDPLANE_HOST_OTHER_RX] * 2 >= p->kernel) {
		blame(p, "other_interface",
		      "let the peers use an address that leads to udplaned's interface, or name "
		      "the other with --interface");
		add_text(p,
			 "%" PRIu64 " of %" PRIu64
			 " datagrams came by %s; other interfaces received %" PRIu64
			 " packets meanwhile",
			 p->fast, p->fast + p->kernel, s->ifname,
			 s->recent_host[UDPLANE_HOST_OTHER_RX]);
	} else {
		blame(p, "unknown_way", "report this with `udplanectl stats --json`");
		add_text(p,
			 "%" PRIu64 " of %" PRIu64 " datagrams came by the fast path; neither the "
			 "XDP program nor another interface has seen the "
			 "others: they may have waited in the kernel socket",
			 p->fast, p->fast + p->kernel);
	}
}

static void explain_receive(struct path *p, const struct snapshot *s)
{
	struct cause c;

	if (!s->attached) {
		blame(p, "detached", "see the text, and udplaned's log");
		add_text(p, "%" PRIu64 " of %" PRIu64 " datagrams came by XDP: %s", p->fast,
			 p->fast + p->kernel,
			 s->trouble[0] ? s->trouble : "its program is not attached");
	} else if (!find_cause(&c, s, p->kernel)) {
		blame_other_way(p, s);
	} else if (c.name == resting.name) {
		if (p->kind == PATH_KERNEL)
			p->kind = PATH_RESTING;
		blame(p, c.name, "");
		add_text(p, "at this low rate the kernel delivers, which is faster than waking "
			    "udplaned");
	} else {
		blame(p, c.name, c.todo);
		add_text(p,
			 "%" PRIu64 " of %" PRIu64 " datagrams came by the kernel: %s (%s %" PRIu64
			 ")",
			 p->kernel, p->fast + p->kernel, c.text,
			 device_counters.entry[c.counter].name, s->recent_device[c.counter]);
	}
}

/* Returns true if the client reports nothing and the XDP program has seen nothing, although Linux
 * has delivered datagrams. A client cannot hide Linux's count. */
static bool silent(const struct path *p, const struct snapshot *s)
{
	return p->kind == PATH_IDLE && s->attached &&
	       s->recent_host[UDPLANE_HOST_UDP_IN] >= PATH_FEW && unseen(s) >= PATH_FEW &&
	       seen_udp(s) * 8 < unseen(s);
}

void path_receive(struct path *p, const struct snapshot *s, const uint64_t *r)
{
	begin(p, r[UDPLANE_RECENT_RX_FAST] + r[UDPLANE_RECENT_RX_FAST_LOST],
	      r[UDPLANE_RECENT_RX_KERNEL] + r[UDPLANE_RECENT_RX_KERNEL_LOST]);
	if (s->backend != UDPLANE_BACKEND_AF_XDP) {
		if (p->kind == PATH_KERNEL || p->kind == PATH_MIXED) {
			blame(p, "tap", "see the passed and dropped frames in `udplanectl stats`");
			add_text(p,
				 "%" PRIu64 " of %" PRIu64
				 " datagrams came by the kernel: as fragments, multicast, by "
				 "another interface, ...",
				 p->kernel, p->fast + p->kernel);
		}
		return;
	}
	if (!s->attached && p->kind == PATH_IDLE) {
		p->kind = PATH_KERNEL;
	} else if (silent(p, s)) {
		p->kind = PATH_KERNEL;
		p->kernel = s->recent_host[UDPLANE_HOST_UDP_IN] < unseen(s)
				    ? s->recent_host[UDPLANE_HOST_UDP_IN]
				    : unseen(s);
	}
	if (p->kind == PATH_KERNEL || p->kind == PATH_MIXED)
		explain_receive(p, s);
}

static void explain_send(struct path *p, const struct snapshot *s, const uint64_t *r,
			 const struct snapshot_socket *k)
{
	uint64_t all = p->fast + p->kernel;

	add_text(p, "%" PRIu64 " of %" PRIu64 " datagrams were sent by the kernel: ", p->kernel,
		 all);
	if (k && k->tx_reason) {
		blame(p, reason_name(k->tx_reason), reason_help(k->tx_reason));
		add_text(p, "%s", k->tx_text[0] ? k->tx_text : reason_name(k->tx_reason));
	} else if (!s->prefix_cnt && s->trouble[0]) {
		blame(p, "device_sends_nothing",
		      "look at the link and the driver of the interface; another interface, or "
		      "backend kernel");
		add_text(p, "%s", s->trouble);
	} else if (!s->prefix_cnt) {
		blame(p, "no_fast_route",
		      "see `ip rule`, `ip route` and `udplanectl stats --json` (prefixes)");
		add_text(p, "no destination leaves by %s as plain unicast", s->ifname);
	} else if (r[UDPLANE_RECENT_TX_KERNEL_FULL] * 2 >= p->kernel) {
		blame(p, "tx_ring_full",
		      "the device is slower than the application, or the worker does not run: "
		      "`udplanectl stats --watch`");
		add_text(p, "the TX ring stayed full");
	} else if (r[UDPLANE_RECENT_TX_SLOW] * 2 >= p->kernel) {
		blame(p, "neighbour", "see `ip neigh` and `ip route get` for the destination");
		add_text(p, "no fast route or no resolved neighbour");
	} else if (may_rest(s, p->kernel)) {
		if (p->kind == PATH_KERNEL)
			p->kind = PATH_RESTING;
		blame(p, resting.name, "");
		add_text(p, "at this low rate that is faster than waking udplaned, unless the "
			    "destination has no fast route "
			    "(prefixes in `udplanectl stats --json`)");
	} else {
		blame(p, "destination",
		      "see `ip route get` for the destination, and prefixes in `udplanectl stats "
		      "--json`");
		add_text(p,
			 "their destination is in none of the %u prefixes that leave by %s as "
			 "plain unicast, or they are longer than its MTU of %u",
			 s->prefix_cnt, s->ifname, s->mtu);
	}
}

void path_send(struct path *p, const struct snapshot *s, const uint64_t *r,
	       const struct snapshot_socket *k)
{
	begin(p, r[UDPLANE_RECENT_TX_FAST],
	      r[UDPLANE_RECENT_TX_KERNEL] + r[UDPLANE_RECENT_TX_SLOW]);
	if (p->kind == PATH_KERNEL || p->kind == PATH_MIXED)
		explain_send(p, s, r, k);
}

bool path_is_carried(const struct snapshot *s, const struct snapshot_socket *k)
{
	struct path rx, tx;

	if (k->state != UDPLANE_SOCKET_ACTIVE)
		return false;
	path_receive(&rx, s, k->recent);
	path_send(&tx, s, k->recent, k);
	return path_is_good(&rx) && path_is_good(&tx);
}
