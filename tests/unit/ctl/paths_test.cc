// SPDX-License-Identifier: Apache-2.0
/* Which path carried what, and why: one row a situation. */
#include "client/ctl/paths.h"

#include <gtest/gtest.h>

#include "client/ctl/verdict.h"
#include "tests/unit/ctl/image.h"

namespace
{

constexpr uint64_t few = 5, many = 10000, flood = 1000000; /* in 4 s, which the image says */

/* A claimed socket, and what the last seconds were. */
struct Situation {
	Situation()
	{
		image.ask(5060);
		image.zone()->mode = UDPLANE_MODE_LATENCY;
		socket = image.claim("0.0.0.0", 5060, UDPLANE_SOCKET_ACTIVE);
	}

	/* n frames that the XDP program counted so, and let pass */
	void passed(uint32_t counter, uint64_t n)
	{
		image.zone()->recent_device_counter[counter] += n;
		image.zone()->recent_device_counter[UDPLANE_DEVICE_RX_SEEN] += n;
		image.zone()->recent_host_counter[UDPLANE_HOST_INTERFACE_RX] += n;
		by_kernel(n);
	}
	void by_kernel(uint64_t n)
	{
		socket->recent[UDPLANE_RECENT_RX_KERNEL] += n;
		image.zone()->recent_host_counter[UDPLANE_HOST_UDP_IN] += n;
	}
	void fast(uint64_t n)
	{
		image.zone()->recent_device_counter[UDPLANE_DEVICE_RX_DIVERTED] += n;
		image.zone()->recent_device_counter[UDPLANE_DEVICE_RX_SEEN] += n;
		image.zone()->recent_host_counter[UDPLANE_HOST_INTERFACE_RX] += n;
		socket->recent[UDPLANE_RECENT_RX_FAST] += n;
	}
	/* behind bpf_redirect_peer */
	void past(uint64_t n)
	{
		image.zone()->recent_host_counter[UDPLANE_HOST_INTERFACE_RX] += n;
		by_kernel(n);
	}

	void decide()
	{
		Shot shot(image);
		struct plain_list none = {};
		struct verdict_input in = {5060, &shot.s, 0, nullptr, &none};
		ASSERT_EQ(shot.ret, 0) << shot.error.text;
		verdict_decide(&v, &in);
		printed = text_of([&](FILE *f) { verdict_print(f, &v, &in); });
		verdict_of_socket(&health, &shot.s, &shot.s.sockets[0]);
		health.socket = nullptr;
	}

	Image image;
	udplane_socket_zone *socket;
	struct verdict v = {};
	struct health_socket health = {};
	std::string printed;
};

struct Row {
	const char *name;
	void (*make)(Situation &s);
	bool accelerated;
	const char *reason;
	enum path_kind rx, tx;
	const char *says;
};

const Row rows[] = {
	{"no traffic", [](Situation &) {}, true, "none", PATH_IDLE, PATH_IDLE,
	 "too little traffic"},
	{"too little to tell", [](Situation &s) { s.past(few); }, true, "none", PATH_IDLE,
	 PATH_IDLE, "too little traffic"},
	{"all fast", [](Situation &s) { s.fast(many); }, true, "none", PATH_FAST, PATH_IDLE,
	 "10000 by the fast path, 0 by the kernel"},
	{"fast, but for some",
	 [](Situation &s) { s.fast(many), s.passed(UDPLANE_DEVICE_RX_PASSED_FRAGMENT, many / 10); },
	 true, "none", PATH_FAST, PATH_IDLE, "10000 by the fast path, 1000 by the kernel"},
	{"half and half",
	 [](Situation &s) { s.fast(many), s.passed(UDPLANE_DEVICE_RX_PASSED_FRAGMENT, many); },
	 true, "none", PATH_MIXED, PATH_IDLE,
	 "10000 of 20000 datagrams came by the kernel: they came as IP fragments"},
	{"redirect_peer", [](Situation &s) { s.past(many); }, false, "past_xdp", PATH_KERNEL,
	 PATH_IDLE,
	 "claimed, but 0 of 10000 datagrams came by XDP: something behind bpf_redirect_peer"},
	{"redirect_peer, and the program sees TCP of the host",
	 [](Situation &s) {
		 s.past(many);
		 s.image.zone()->recent_device_counter[UDPLANE_DEVICE_RX_SEEN] += many;
		 s.image.zone()->recent_device_counter[UDPLANE_DEVICE_RX_PASSED_NOT_UDP] += many;
		 s.image.zone()->recent_host_counter[UDPLANE_HOST_INTERFACE_RX] += many;
	 },
	 false, "past_xdp", PATH_KERNEL, PATH_IDLE, "0 of 10000"},
	{"redirect_peer, and the client does not say so",
	 [](Situation &s) {
		 s.past(many);
		 s.socket->recent[UDPLANE_RECENT_RX_KERNEL] = 0;
	 },
	 false, "past_xdp", PATH_KERNEL, PATH_IDLE, "0 of 10000 datagrams came by XDP"},
	{"redirect_peer, and the client's kernel socket overflows",
	 [](Situation &s) {
		 s.past(many);
		 s.socket->recent[UDPLANE_RECENT_RX_KERNEL] = 0;
		 s.socket->recent[UDPLANE_RECENT_RX_KERNEL_LOST] = many;
	 },
	 false, "past_xdp", PATH_KERNEL, PATH_IDLE, "0 of 10000"},
	{"at rest",
	 [](Situation &s) {
		 s.image.zone()->mode = UDPLANE_MODE_BALANCED,
		 s.passed(UDPLANE_DEVICE_RX_PASSED_IDLE, many);
	 },
	 true, "resting", PATH_RESTING, PATH_IDLE, "at this low rate the kernel delivers"},
	{"asleep in mode latency",
	 [](Situation &s) { s.passed(UDPLANE_DEVICE_RX_PASSED_IDLE, many); }, false,
	 "worker_asleep", PATH_KERNEL, PATH_IDLE, "the worker sleeps"},
	{"asleep in a flood",
	 [](Situation &s) {
		 s.image.zone()->mode = UDPLANE_MODE_BALANCED,
		 s.passed(UDPLANE_DEVICE_RX_PASSED_IDLE, flood);
	 },
	 false, "worker_asleep", PATH_KERNEL, PATH_IDLE, "although the rate"},
	{"a queue that is not bound",
	 [](Situation &s) { s.passed(UDPLANE_DEVICE_RX_PASSED_NO_QUEUE, many); }, false,
	 "queue_not_bound", PATH_KERNEL, PATH_IDLE, "rx_passed_no_queue 10000"},
	{"a udplaned that does not run",
	 [](Situation &s) { s.passed(UDPLANE_DEVICE_RX_PASSED_STALLED, many); }, false, "stalled",
	 PATH_KERNEL, PATH_IDLE, "did not run"},
	{"fragments", [](Situation &s) { s.passed(UDPLANE_DEVICE_RX_PASSED_FRAGMENT, many); },
	 false, "fragments", PATH_KERNEL, PATH_IDLE, "IP fragments"},
	{"partial checksums",
	 [](Situation &s) { s.passed(UDPLANE_DEVICE_RX_PASSED_PARTIAL, many); }, false,
	 "partial_checksum", PATH_KERNEL, PATH_IDLE, "a sender on this host"},
	{"jumbo frames", [](Situation &s) { s.passed(UDPLANE_DEVICE_RX_PASSED_JUMBO, many); },
	 false, "jumbo", PATH_KERNEL, PATH_IDLE, "longer than one"},
	{"IP options", [](Situation &s) { s.passed(UDPLANE_DEVICE_RX_PASSED_OPTIONS, many); },
	 false, "ip_options", PATH_KERNEL, PATH_IDLE, "IP options"},
	{"multicast", [](Situation &s) { s.passed(UDPLANE_DEVICE_RX_PASSED_NOT_LOCAL, many); },
	 false, "not_unicast", PATH_KERNEL, PATH_IDLE, "multicast"},
	{"no claim in the program",
	 [](Situation &s) { s.passed(UDPLANE_DEVICE_RX_PASSED_UNCLAIMED, many); }, false,
	 "no_claim_in_xdp", PATH_KERNEL, PATH_IDLE, "knows of no claim"},
	{"fragments beside much that others get",
	 [](Situation &s) {
		 s.passed(UDPLANE_DEVICE_RX_PASSED_UNCLAIMED, flood);
		 s.passed(UDPLANE_DEVICE_RX_PASSED_FRAGMENT, many);
		 s.socket->recent[UDPLANE_RECENT_RX_KERNEL] = many;
	 },
	 false, "fragments", PATH_KERNEL, PATH_IDLE, "IP fragments"},
	{"another interface",
	 [](Situation &s) {
		 s.by_kernel(many),
			 s.image.zone()->recent_host_counter[UDPLANE_HOST_OTHER_RX] += many;
	 },
	 false, "other_interface", PATH_KERNEL, PATH_IDLE,
	 "other interfaces received 10000 packets"},
	{"from nowhere", [](Situation &s) { s.by_kernel(many); }, false, "unknown_way", PATH_KERNEL,
	 PATH_IDLE, "neither the XDP program"},
	{"the program was detached",
	 [](Situation &s) {
		 s.image.zone()->attached = 0;
		 strcpy(s.image.zone()->trouble,
			"XDP program 7 (theirs) is attached to eth0 already");
		 s.past(many);
	 },
	 false, "detached", PATH_KERNEL, PATH_IDLE, "program 7 (theirs)"},
	{"the program was detached, and nothing comes",
	 [](Situation &s) { s.image.zone()->attached = 0; }, false, "detached", PATH_KERNEL,
	 PATH_IDLE, "not attached"},
	{"sends fast",
	 [](Situation &s) { s.fast(many), s.socket->recent[UDPLANE_RECENT_TX_FAST] = many; }, true,
	 "none", PATH_FAST, PATH_FAST, "sent: 10000 by the fast path"},
	{"sends by the kernel, for a reason",
	 [](Situation &s) {
		 s.fast(many);
		 s.socket->recent[UDPLANE_RECENT_TX_KERNEL] = many;
		 s.socket->tx_reason = UDPLANE_REASON_NETFILTER;
		 strcpy(s.socket->tx_text, "table inet filter, chain output");
	 },
	 false, "netfilter", PATH_FAST, PATH_KERNEL,
	 "received by the fast path, but 10000 of 10000 datagrams were sent by the kernel: table "
	 "inet"},
	{"no prefixes",
	 [](Situation &s) {
		 s.image.zone()->prefix_cnt = 0, s.socket->recent[UDPLANE_RECENT_TX_KERNEL] = many;
	 },
	 false, "no_fast_route", PATH_IDLE, PATH_KERNEL, "no destination leaves by eth0"},
	{"the device sends nothing",
	 [](Situation &s) {
		 s.image.zone()->prefix_cnt = 0;
		 strcpy(s.image.zone()->trouble, "the device takes no frames to send");
		 s.socket->recent[UDPLANE_RECENT_TX_KERNEL] = many;
	 },
	 false, "device_sends_nothing", PATH_IDLE, PATH_KERNEL, "takes no frames"},
	{"TX ring full",
	 [](Situation &s) {
		 s.socket->recent[UDPLANE_RECENT_TX_KERNEL] =
			 s.socket->recent[UDPLANE_RECENT_TX_KERNEL_FULL] = many;
	 },
	 false, "tx_ring_full", PATH_IDLE, PATH_KERNEL, "stayed full"},
	{"no neighbour", [](Situation &s) { s.socket->recent[UDPLANE_RECENT_TX_SLOW] = many; },
	 false, "neighbour", PATH_IDLE, PATH_KERNEL, "neighbour"},
	{"an odd destination",
	 [](Situation &s) { s.socket->recent[UDPLANE_RECENT_TX_KERNEL] = many; }, false,
	 "destination", PATH_IDLE, PATH_KERNEL, "none of the 1 prefixes"},
	{"sends at a low rate",
	 [](Situation &s) {
		 s.image.zone()->mode = UDPLANE_MODE_BALANCED,
		 s.socket->recent[UDPLANE_RECENT_TX_KERNEL] = many;
	 },
	 true, "none", PATH_IDLE, PATH_RESTING, "at this low rate"},
	{"both by the kernel",
	 [](Situation &s) { s.past(many), s.socket->recent[UDPLANE_RECENT_TX_SLOW] = many; }, false,
	 "past_xdp", PATH_KERNEL, PATH_KERNEL,
	 "; and 10000 of 10000 datagrams were sent by the kernel"},
};

TEST(Paths, EverySituation)
{
	for (const Row &row : rows) {
		SCOPED_TRACE(row.name);
		Situation s;
		row.make(s);
		s.decide();
		EXPECT_EQ(s.v.accelerated, row.accelerated);
		EXPECT_STREQ(s.v.reason, row.reason);
		EXPECT_EQ(s.v.rx.kind, row.rx) << path_name(s.v.rx.kind);
		EXPECT_EQ(s.v.tx.kind, row.tx) << path_name(s.v.tx.kind);
		EXPECT_NE(s.printed.find(row.says), std::string::npos) << s.printed;
		EXPECT_EQ(s.health.ok, row.accelerated);
		EXPECT_STREQ(s.health.reason, row.accelerated ? "none" : row.reason);
		EXPECT_LT(strlen(s.v.text), sizeof(s.v.text) - 1);
	}
}

TEST(Paths, AClientCanWriteAnything)
{
	Situation s;
	for (uint64_t &n : s.socket->recent)
		n = UINT64_MAX;
	for (uint64_t &n : s.image.zone()->recent_device_counter)
		n = UINT64_MAX;
	s.decide();
	EXPECT_NE(s.printed, "");
	for (uint64_t &n : s.image.zone()->recent_device_counter)
		n = 0;
	memset(s.image.zone()->trouble, 'x', sizeof(s.image.zone()->trouble));
	s.image.zone()->attached = 0;
	s.decide();
	EXPECT_LT(strlen(s.v.text), sizeof(s.v.text));
}

TEST(Paths, WithANicOfItsOwnTheKernelGetsItFromTheTap)
{
	Situation s;
	s.image.zone()->backend = UDPLANE_BACKEND_VFIO;
	s.past(many);
	s.decide();
	EXPECT_EQ(s.v.rx.kind, PATH_KERNEL);
	EXPECT_STREQ(s.v.reason, "tap");
}

TEST(Paths, ASocketThatIsNotDivertedHasItsReason)
{
	Situation s;
	s.socket->state = UDPLANE_SOCKET_KERNEL;
	s.socket->reason = UDPLANE_REASON_OPTION;
	strcpy(s.socket->text, "IP_HDRINCL");
	s.decide();
	EXPECT_FALSE(s.health.ok);
	EXPECT_STREQ(s.health.reason, "socket_option");
	EXPECT_STREQ(s.health.text, "IP_HDRINCL");
}

} // namespace
