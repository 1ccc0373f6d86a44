// SPDX-License-Identifier: Apache-2.0
/* The AF_XDP device with real packets: its life, and what it receives. af_xdp_test.sh runs the
 * tests of this file and of its neighbours, each in a process of its own. */
#include "tests/integration/device/af_xdp_fixture.h"

#include <poll.h>

#include <set>

/* --- life cycle --- */

TEST_F(AfXdp, Facts)
{
	start();
	EXPECT_STREQ(dev->ifname, "va");
	EXPECT_EQ(dev->queue_cnt, 1u);
	EXPECT_EQ(dev->mtu, 1500u);
	EXPECT_EQ(dev->numa_node, -1);
	EXPECT_TRUE(dev->local_frames);
	EXPECT_STREQ(dev->text, "veth, 1 queue, native, copy");
	EXPECT_NE(strstr(dev->why, "zero-copy: bind: Operation not supported"), nullptr)
		<< dev->why;
}

TEST_F(AfXdp, CopyAsConfigured)
{
	cfg.xdp_mode = CONFIG_XDP_COPY;
	start();
	EXPECT_STREQ(dev->text, "veth, 1 queue, native, copy");
	EXPECT_STREQ(dev->why, "as configured");
}

TEST_F(AfXdp, ZerocopyRefused)
{
	cfg.xdp_mode = CONFIG_XDP_ZEROCOPY;
	ASSERT_EQ(try_open(), 0) << error.text;
	EXPECT_EQ(try_attach(), -EOPNOTSUPP);
	EXPECT_NE(strstr(error.text, "va: native, zero-copy: bind: Operation not supported"),
		  nullptr)
		<< error.text;
}

TEST_F(AfXdp, OpenCloseLeavesNothing)
{
	int before = dup(0);

	close(before);
	for (int i = 0; i < 20; i++) {
		start();
		device_af_xdp.close(dev);
		munmap(mem.addr, mem.len);
		dev = nullptr;
		mem.addr = nullptr;
	}
	int after = dup(0);

	close(after);
	EXPECT_EQ(after, before) << "descriptors leaked";
}

TEST_F(AfXdp, DefaultRouteInterface)
{
	cfg.interface[0] = '\0';
	EXPECT_EQ(try_open(), -ENODEV);
	EXPECT_NE(strstr(error.text, "--interface"), nullptr) << error.text;
	ASSERT_EQ(system("ip route add default via 10.99.0.2"), 0);
	ASSERT_EQ(try_open(), 0) << error.text;
	EXPECT_STREQ(dev->ifname, "va");
	device_af_xdp.close(dev);
	ASSERT_EQ(system("ip route del default; ip -6 route add default via fd99::2"), 0);
	ASSERT_EQ(try_open(), 0) << error.text;
	EXPECT_STREQ(dev->ifname, "va");
}

/* --- receiving --- */

TEST_F(AfXdp, EchoBothFamilies)
{
	start();
	for (bool v6 : {false, true}) {
		KernelSocket peer(true, v6, 0);
		std::set<Bytes> sent;

		for (uint32_t n = 0; n < 500; n++) {
			Bytes b = numbered(n, 4 + n * 2);

			ASSERT_EQ(peer.send(v6 ? here6 : here4, claimed_port, b),
				  (ssize_t)b.size());
			sent.insert(b);
			if (n % 50 != 49)
				continue;
			size_t done = 0;

			ASSERT_TRUE(within(2000, [&] {
				std::vector<device_frame> f = burst();

				for (const device_frame &one : f)
					turn_round(at(one), one.len);
				transmit(f);
				return (done += f.size()) >= 50;
			}));
		}
		std::vector<Bytes> back = peer.receive(500, 2000);

		EXPECT_EQ(std::set<Bytes>(back.begin(), back.end()), sent);
		EXPECT_EQ(back.size(), 500u);
	}
	device_af_xdp.detach(dev);
	drain();
	expect_conserved();
	EXPECT_EQ(frames_free(), mem.frame_cnt);
	EXPECT_TRUE(within(2000, [&] { /* completions are reaped by sending */
				       queue()->ops->tx_burst(queue(), nullptr, 0);
				       return counters()[UDPLANE_DEVICE_TX_DONE] == 1000;
	}));
	EXPECT_FALSE(queue()->ops->tx_pending(queue()));
}

TEST_F(AfXdp, OnlyClaimedLeavesTheKernel)
{
	start();
	KernelSocket mine(false, false, other_port), peer(true, false, 0),
		mine6(false, true, other_port + 1), peer6(true, true, 0);

	for (uint32_t n = 0; n < 100; n++) {
		peer.send(here4, claimed_port, numbered(n));
		peer.send(here4, other_port, numbered(n));
		peer6.send(here6, other_port + 1, numbered(n));
		peer.send(here4, claimed_port, Bytes(4000)); /* fragments */
	}
	EXPECT_EQ(receive(100).size(), 100u);
	EXPECT_EQ(mine.receive(100, 2000).size(), 100u);
	EXPECT_EQ(mine6.receive(100, 2000).size(), 100u);
	EXPECT_EQ(system("ping -q -c 3 -i 0.01 10.99.0.2 >/dev/null && ping -q -c 3 -i 0.01 "
			 "fd99::2 >/dev/null"),
		  0);
	drain();
	expect_conserved();
	std::vector<uint64_t> c = counters();

	EXPECT_EQ(c[UDPLANE_DEVICE_RX_DIVERTED], 100u);
	EXPECT_GE(c[UDPLANE_DEVICE_RX_PASSED_UNCLAIMED], 200u);
	EXPECT_EQ(c[UDPLANE_DEVICE_RX_PASSED_FRAGMENT], 300u);
}

TEST_F(AfXdp, ClaimsComeAndGo)
{
	start();
	KernelSocket mine(false, false, claimed_port), peer(true, false, 0);
	device_claim c{};

	c.local.family = AF_INET;
	c.local.port_be = htons(claimed_port);
	EXPECT_EQ(device_af_xdp.claim_insert(dev, &c), 0) << "a second socket with the same claim";
	EXPECT_EQ(device_af_xdp.claim_remove(dev, &c), 0);
	peer.send(here4, claimed_port, numbered(1));
	EXPECT_EQ(receive(1).size(), 1u);
	EXPECT_EQ(device_af_xdp.claim_remove(dev, &c), 0);
	EXPECT_EQ(device_af_xdp.claim_remove(dev, &c), -ENOENT);
	peer.send(here4, claimed_port, numbered(2));
	EXPECT_EQ(mine.receive(1, 2000), std::vector<Bytes>{numbered(2)});
	EXPECT_EQ(receive(1, 50).size(), 0u);
}

TEST_F(AfXdp, DisengagedTheKernelServes)
{
	start();
	KernelSocket mine(false, false, claimed_port), peer(true, false, 0);

	queue()->ops->leave(queue());
	ASSERT_TRUE(queue()->ops->disengage(queue()));
	for (uint32_t n = 0; n < 10; n++)
		peer.send(here4, claimed_port, numbered(n));
	EXPECT_EQ(mine.receive(10, 2000).size(), 10u);
	EXPECT_EQ(counters()[UDPLANE_DEVICE_RX_PASSED_IDLE], 10u);
	queue()->ops->engage(queue());
	for (uint32_t n = 0; n < 10; n++)
		peer.send(here4, claimed_port, numbered(n));
	EXPECT_EQ(receive(10).size(), 10u);
	expect_conserved();
}

TEST_F(AfXdp, WhatComesAfterTheNoticeKeepsItEngaged)
{
	start();
	KernelSocket peer(true, false, 0);

	queue()->ops->leave(queue());
	peer.send(here4, claimed_port, numbered(1));
	EXPECT_EQ(receive(1).size(), 1u);
	EXPECT_FALSE(queue()->ops->disengage(queue()))
		<< "what was diverted since may be on its way";
	peer.send(here4, claimed_port, numbered(2));
	EXPECT_EQ(receive(1).size(), 1u);
	queue()->ops->leave(queue());
	EXPECT_TRUE(queue()->ops->disengage(queue()));
	expect_conserved();
}

TEST_F(AfXdp, AClaimMayComeWhileDatagramsDo)
{
	start();
	KernelSocket mine(false, false, 7777), peer(true, false, 0);
	device_claim c{};
	uint32_t sent = 0, got = 0;

	c.local.family = AF_INET;
	c.local.port_be = htons(7777);
	for (int i = 0; i < 100; i++) {
		peer.send(here4, claimed_port,
			  numbered(sent++)); /* lets the state settle, or not yet */
		ASSERT_EQ(device_af_xdp.claim_insert(dev, &c), 0);
		peer.send(here4, 7777, numbered(sent++));
		got += receive(sent - got, 2000).size();
		ASSERT_EQ(got, sent) << i;
		ASSERT_EQ(device_af_xdp.claim_remove(dev, &c), 0);
	}
	expect_conserved();
}

TEST_F(AfXdp, AsleepItIsWoken)
{
	start();
	KernelSocket peer(true, false, 0);
	int fds[4];
	pollfd p{};

	ASSERT_EQ(queue()->ops->wait_fds(queue(), fds, 4), 1u);
	EXPECT_EQ(queue()->ops->arm(queue()), 0);
	p.fd = fds[0];
	p.events = POLLIN;
	EXPECT_EQ(poll(&p, 1, 0), 0);
	peer.send(here4, claimed_port, numbered(1));
	EXPECT_EQ(poll(&p, 1, 2000), 1);
	queue()->ops->disarm(queue());
	EXPECT_EQ(receive(1).size(), 1u);
	EXPECT_EQ(poll(&p, 1, 0), 0) << "level-triggered, and nothing left";
}

TEST_F(AfXdp, LargestDatagramOfTheMtu)
{
	start();
	KernelSocket peer(true, false, 0), peer6(true, true, 0);

	peer.send(here4, claimed_port, numbered(1, 1472));
	peer6.send(here6, claimed_port, numbered(2, 1452));
	EXPECT_EQ(receive(2), (std::vector<Bytes>{numbered(1, 1472), numbered(2, 1452)}));
}

/* The peer's MTU may be beyond one buffer: the program declares xdp.frags, and passes what comes in
 * several. */
TEST_F(AfXdp, JumboFramesAreTheKernels)
{
	ASSERT_EQ(system("ip link set va mtu 9000"), 0);
	ASSERT_EQ(system("ip -n $UDPLANE_PEER_NS link set vb mtu 9000"), 0);
	start(1, 8192, 4096);
	KernelSocket mine(false, false, claimed_port), peer(true, false, 0);

	for (size_t len : {8000, 3700, 100, 3000, 5000})
		peer.send(here4, claimed_port, numbered(1, len));
	EXPECT_EQ(receive(2), (std::vector<Bytes>{numbered(1, 100), numbered(1, 3000)}));
	EXPECT_EQ(mine.receive(3, 2000),
		  (std::vector<Bytes>{numbered(1, 8000), numbered(1, 3700), numbered(1, 5000)}));
	drain();
	expect_conserved();
}

/* Datagrams from a wire are diverted; those of a sender on this host, whose checksums are not
 * computed yet, may be many in one. */
TEST_F(AfXdp, GenericMode)
{
	ASSERT_EQ(system("ethtool -K va gro on"), 0); /* else what XDP sends to it vanishes */
	cfg.xdp_mode = CONFIG_XDP_GENERIC;
	start();
	EXPECT_STREQ(dev->text, "veth, 1 queue, generic, copy");
	KernelSocket mine(false, false, claimed_port), peer(true, false, 0),
		mine6(false, true, claimed_port), peer6(true, true, 0);

	for (uint32_t n = 0; n < 100; n++) {
		peer.send(here4, claimed_port, numbered(n));
		peer6.send(here6, claimed_port, numbered(n));
	}
	EXPECT_EQ(mine.receive(100, 2000).size(), 100u);
	EXPECT_EQ(mine6.receive(100, 2000).size(), 100u);
	ASSERT_EQ(flood("--src-ip 10.99.0.2 --dst-ip 10.99.0.1 --dport 5060 --count 100 "
			"--sport-count 100"),
		  0);
	ASSERT_EQ(flood("--src-ip fd99::2 --dst-ip fd99::1 --dport 5060 --count 100 --sport-count "
			"100"),
		  0);
	drain();
	EXPECT_EQ(received[0], 200u);
	expect_conserved();
}

/* The same maps and sockets, so queues and claims need not know. */
TEST_F(AfXdp, GenericModeTakesThePlaceOfNative)
{
	device_facts facts;
	struct error error = {};

	ASSERT_EQ(system("ethtool -K va gro on"), 0);
	start();
	ASSERT_EQ(flood("--src-ip 10.99.0.2 --dst-ip 10.99.0.1 --dport 5060 --count 100 "
			"--sport-count 100"),
		  0);
	drain();
	EXPECT_EQ(received[0], 100u);
	device_af_xdp.facts(dev, &facts);
	EXPECT_TRUE(facts.attached && facts.can_generic);
	EXPECT_EQ(facts.rx_put, 100u);
	for (int again = 0; again < 2; again++) {
		device_af_xdp.detach(dev);
		device_af_xdp.facts(dev, &facts);
		EXPECT_FALSE(facts.attached);
		ASSERT_EQ(device_af_xdp.reattach(dev, true, &error), 0) << error.text;
		device_af_xdp.facts(dev, &facts);
		EXPECT_TRUE(facts.attached && !facts.can_generic);
		EXPECT_STREQ(dev->text, "veth, 1 queue, generic, copy");
		ASSERT_EQ(flood("--src-ip fd99::2 --dst-ip fd99::1 --dport 5060 --count 100 "
				"--sport-count 100"),
			  0);
		drain();
		EXPECT_EQ(received[0], 200u + 100u * again);
	}
	KernelSocket mine(false, false, claimed_port), peer(true, false, 0);

	peer.send(here4, claimed_port, numbered(1)); /* may be several in one */
	EXPECT_EQ(mine.receive(1, 2000).size(), 1u);
	expect_conserved();
}

/* A sender that hands over many datagrams as one (UDP_SEGMENT) is received as from a wire. */
static void send_segments(const KernelSocket &s, const char *to)
{
	int segment = 100;

	ASSERT_EQ(setsockopt(s.fd(), IPPROTO_UDP, 103 /* UDP_SEGMENT */, &segment, sizeof(segment)),
		  0);
	ASSERT_EQ(s.send(to, claimed_port, numbered(7, 1050)), 1050);
}

TEST_F(AfXdp, SegmentsOfTheSender)
{
	start();
	KernelSocket peer(true, false, 0);

	send_segments(peer, here4);
	std::vector<Bytes> got = receive(11);

	ASSERT_EQ(got.size(), 11u);
	for (size_t i = 0; i < 11; i++)
		EXPECT_EQ(got[i].size(), i < 10 ? 100u : 50u);
}

TEST_F(AfXdp, SegmentsOfTheSenderGeneric)
{
	cfg.xdp_mode = CONFIG_XDP_GENERIC;
	start();
	for (bool v6 : {false, true}) {
		KernelSocket mine(false, v6, claimed_port), peer(true, v6, 0);

		send_segments(peer, v6 ? here6 : here4);
		std::vector<Bytes> got = mine.receive(11, 2000);

		ASSERT_EQ(got.size(), 11u);
		for (size_t i = 0; i < 11; i++)
			EXPECT_EQ(got[i].size(), i < 10 ? 100u : 50u);
	}
	EXPECT_EQ(receive(1, 50).size(), 0u);
	EXPECT_EQ(counters()[UDPLANE_DEVICE_RX_PASSED_JUMBO], 0u);
	EXPECT_GE(counters()[UDPLANE_DEVICE_RX_PASSED_PARTIAL], 2u);
	expect_conserved();
}
