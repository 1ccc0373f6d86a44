// SPDX-License-Identifier: Apache-2.0
/* The AF_XDP device with real packets. Started by af_xdp_test.sh, one test a process. */
#include "tests/integration/device/af_xdp_fixture.h"

#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <map>
#include <set>

static const char *const here4 = "10.99.0.1", *const here6 = "fd99::1";

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
	ASSERT_EQ(try_open(), 0) << text;
	EXPECT_EQ(try_attach(), -EOPNOTSUPP);
	EXPECT_NE(strstr(text, "va: native, zero-copy: bind: Operation not supported"), nullptr)
		<< text;
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
	EXPECT_NE(strstr(text, "--interface"), nullptr) << text;
	ASSERT_EQ(system("ip route add default via 10.99.0.2"), 0);
	ASSERT_EQ(try_open(), 0) << text;
	EXPECT_STREQ(dev->ifname, "va");
	device_af_xdp.close(dev);
	ASSERT_EQ(system("ip route del default; ip -6 route add default via fd99::2"), 0);
	ASSERT_EQ(try_open(), 0) << text;
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

static int flood(const std::string &arguments)
{
	std::string command = "ip netns exec $UDPLANE_PEER_NS $XDP_GEN --netns-interface vb "
			      "--dst-mac $(cat /sys/class/net/va/address) ";

	return system((command + arguments + " >/dev/null").c_str());
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
	char text[160];

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
		ASSERT_EQ(device_af_xdp.reattach(dev, true, text, sizeof(text)), 0) << text;
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

/* --- conservation --- */

TEST_F(AfXdp, FloodIsConserved)
{
	start();
	for (const char *addrs :
	     {"--src-ip 10.99.0.2 --dst-ip 10.99.0.1", "--src-ip fd99::2 --dst-ip fd99::1"}) {
		pid_t child = fork();

		if (!child)
			_exit(flood(std::string(addrs) +
				    " --dport 5055-5064 --sport-count 100 --count 300000") != 0);
		int status = -1;

		EXPECT_TRUE(within(30000, [&] {
			put(burst());
			return waitpid(child, &status, WNOHANG) == child;
		}));
		EXPECT_EQ(status, 0);
	}
	drain();
	expect_conserved();
	std::vector<uint64_t> c = counters();

	EXPECT_GT(received[0], 1000u);
	EXPECT_GT(c[UDPLANE_DEVICE_RX_PASSED_UNCLAIMED], 50000u);
	EXPECT_EQ(c[UDPLANE_DEVICE_RX_LOST_NO_FRAME], 0u) << "a slow worker shows as a full ring";
	EXPECT_EQ(frames_free(), mem.frame_cnt);
}

/* Nobody polls: the ring fills, each further frame is counted, and the frames in the ring are still
 * there. */
TEST_F(AfXdp, FullRingIsCounted)
{
	start();
	ASSERT_EQ(flood("--src-ip 10.99.0.2 --dst-ip 10.99.0.1 --dport 5060 --count 100000 --rate "
			"500000"),
		  0);
	drain();
	expect_conserved();
	EXPECT_EQ(received[0], 2048u);
	EXPECT_GT(counters()[UDPLANE_DEVICE_RX_LOST_RING_FULL], 10000u);
	EXPECT_EQ(counters()[UDPLANE_DEVICE_RX_LOST_NO_FRAME], 0u);
	EXPECT_EQ(frames_free(), mem.frame_cnt);
}

/* The clients hold every frame: what comes is lost and counted; when they give back, it goes on. */
TEST_F(AfXdp, NoFreeFrameIsCounted)
{
	std::vector<device_frame> held;
	std::vector<uint32_t> mine(256);

	start(1, 256);
	mine.resize(queue()->ops->frames_get(queue(), mine.data(), 256));
	EXPECT_EQ(mine.size(), 128u) << "half is for receiving";
	KernelSocket peer(true, false, 0);

	for (uint32_t n = 0; n < 500; n++)
		peer.send(here4, claimed_port, numbered(n));
	EXPECT_TRUE(within(2000, [&] {
		for (const device_frame &f : burst())
			held.push_back(f);
		return counters()[UDPLANE_DEVICE_RX_DIVERTED] == 500 && held.size() == 128;
	}));
	EXPECT_EQ(counters()[UDPLANE_DEVICE_RX_LOST_NO_FRAME], 372u);
	EXPECT_EQ(frames_free(), 0u);
	expect_conserved();
	put(held);
	queue()->ops->frames_put(queue(), mine.data(), mine.size());
	drain(20);
	for (uint32_t n = 0; n < 50; n++)
		peer.send(here4, claimed_port, numbered(n));
	EXPECT_EQ(receive(50).size(), 50u);
	expect_conserved();
	EXPECT_EQ(frames_free(), 256u);
}

TEST_F(AfXdp, SendingIsConserved)
{
	start(1, 4096);
	KernelSocket peer(true, false, 9);
	uint32_t sent = 0;
	Bytes frame;

	peer.send(here4, claimed_port, numbered(0));
	within(2000, [&] { /* a frame to copy: turned round, to port 9 */
			   for (const device_frame &f : burst()) {
				   turn_round(at(f), f.len);
				   frame.assign(at(f), at(f) + f.len);
				   put({f});
			   }
			   return !frame.empty();
	});
	ASSERT_FALSE(frame.empty());
	while (sent < 50000) {
		uint32_t idx[64], n = queue()->ops->frames_get(queue(), idx, 64);
		std::vector<device_frame> f;

		for (uint32_t i = 0; i < n; i++) {
			f.push_back({idx[i], 100, (uint16_t)frame.size(), 0});
			memcpy(at(f.back()), frame.data(), frame.size());
		}
		transmit(f);
		sent += n;
	}
	EXPECT_TRUE(within(2000, [&] {
		queue()->ops->tx_flush(queue());
		queue()->ops->tx_burst(queue(), nullptr, 0);
		return !queue()->ops->tx_pending(queue()) &&
		       counters()[UDPLANE_DEVICE_TX_DONE] == sent;
	}));
	EXPECT_EQ(counters()[UDPLANE_DEVICE_TX_INVALID], 0u);
	EXPECT_EQ(frames_free(), mem.frame_cnt);
	EXPECT_GT(peer.receive().size(), sent / 2); /* the peer's own queue may overflow */
}

TEST_F(AfXdp, InvalidFramesComeBack)
{
	start(1, 256);
	uint32_t idx[3];

	ASSERT_EQ(queue()->ops->frames_get(queue(), idx, 3), 3u);
	transmit({{idx[0], 0, 13, 0}, {idx[1], 2000, 49, 0}, {idx[2], 65535, 65535, 0}});
	EXPECT_EQ(counters()[UDPLANE_DEVICE_TX_INVALID], 3u);
	EXPECT_EQ(frames_free(), 256u);
	EXPECT_FALSE(queue()->ops->tx_pending(queue()));
}

/* Each flow stays on its queue; every queue's frames stay with its worker. */
TEST_F(AfXdp, TwoQueuesTwoWorkers)
{
	start(2, 8192);
	EXPECT_EQ(dev->queue_cnt, 2u);
	for (int cpu : {0, 1})
		ASSERT_EQ(flood("--cpu " +
				std::to_string(cpu % (int)sysconf(_SC_NPROCESSORS_ONLN)) +
				" --src-ip 10.99.0.2 --dst-ip 10.99.0.1 --dport 5060 --count 20000 "
				"--rate 1000000"),
			  0);
	drain();
	expect_conserved();
	EXPECT_GT(received[0], 0u);
	EXPECT_TRUE(received[1] > 0 || sysconf(_SC_NPROCESSORS_ONLN) == 1);
	EXPECT_EQ(frames_free(0), 4096u);
	EXPECT_EQ(frames_free(1), 4096u);
}

TEST_F(AfXdp, TwoQueuesOneWorker)
{
	start(1, 8192);
	int fds[4];

	EXPECT_EQ(queue()->ops->wait_fds(queue(), fds, 4), 2u);
	for (int cpu : {0, 1})
		ASSERT_EQ(flood("--cpu " +
				std::to_string(cpu % (int)sysconf(_SC_NPROCESSORS_ONLN)) +
				" --src-ip 10.99.0.2 --dst-ip 10.99.0.1 --dport 5060 --count 20000 "
				"--rate 1000000"),
			  0);
	drain();
	expect_conserved();
	EXPECT_EQ(frames_free(), 8192u);
}

TEST_F(AfXdp, TwoQueuesThreeWorkersRefused)
{
	ASSERT_EQ(try_open(), 0) << text;
	EXPECT_EQ(try_attach(3), -EINVAL);
	EXPECT_NE(strstr(text, "3 workers for 2 receive queues of va"), nullptr) << text;
}

/* --- take-over --- */

/* Numbered datagrams all the while: each arrives once, through the device before and through the
 * kernel after. The sender is at most so far ahead of us that no queue overflows. */
TEST_F(AfXdp, DetachLosesNothing)
{
	const uint32_t total = 20000, ahead = 100;
	auto *taken = static_cast<volatile uint32_t *>(
		mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));

	start();
	KernelSocket mine(false, false, claimed_port), peer(true, false, 0);
	std::map<uint32_t, int> seen;
	uint32_t by_kernel = 0;
	auto collect = [&] {
		for (const Bytes &b : receive(1, 0))
			seen[*reinterpret_cast<const uint32_t *>(b.data())]++;
		for (const Bytes &b : mine.receive()) {
			seen[*reinterpret_cast<const uint32_t *>(b.data())]++;
			by_kernel++;
		}
		*taken = seen.size();
	};

	pid_t child = fork();

	if (!child) {
		for (uint32_t n = 0; n < total; n++) {
			while (n - *taken > ahead)
				sched_yield();
			while (peer.send(here4, claimed_port, numbered(n)) < 0)
				;
		}
		_exit(0);
	}
	within(10000, [&] {
		collect();
		return seen.size() > total / 4;
	});
	EXPECT_EQ(by_kernel, 0u);
	device_af_xdp.detach(dev);
	device_af_xdp.detach(dev);
	EXPECT_TRUE(within(10000, [&] {
		collect();
		return seen.size() == total;
	})) << seen.size();
	EXPECT_GT(by_kernel, total / 4);
	for (const auto &one : seen)
		EXPECT_EQ(one.second, 1) << "datagram " << one.first;
	kill(child, SIGKILL);
	waitpid(child, nullptr, 0);
	expect_conserved();
	EXPECT_GT(counters()[UDPLANE_DEVICE_RX_DIVERTED], total / 4) << "counters stay readable";
}

TEST_F(AfXdp, KilledTheKernelTakesOver)
{
	KernelSocket mine(false, false, claimed_port), peer(true, false, 0);

	for (int round = 0; round < 5; round++) {
		int ready[2];

		ASSERT_EQ(pipe(ready), 0);
		pid_t child = fork();

		if (!child) {
			start();
			if (HasFailure() || write(ready[1], "x", 1) != 1)
				_exit(1);
			for (;;)
				put(burst());
		}
		char c;

		close(ready[1]);
		ASSERT_EQ(read(ready[0], &c, 1), 1)
			<< "round " << round << ": bound again at once, too";
		close(ready[0]);
		peer.send(here4, claimed_port, numbered(round));
		EXPECT_EQ(mine.receive(1, 20).size(), 0u) << "diverted";
		kill(child, SIGKILL);
		uint64_t start_ms = clock_now_ms();

		EXPECT_TRUE(within(2000, [&] {
			peer.send(here4, claimed_port, numbered(round));
			return !mine.receive().empty();
		}));
		EXPECT_LT(clock_now_ms() - start_ms, 100u);
		mine.receive(SIZE_MAX, 20);
		waitpid(child, nullptr, 0);
	}
	start();
	peer.send(here4, claimed_port, numbered(9));
	EXPECT_EQ(receive(1).size(), 1u);
}

/* --- bad input --- */

TEST_F(AfXdp, NoSuchInterface)
{
	strcpy(cfg.interface, "nosuch0");
	EXPECT_EQ(try_open(), -ENODEV);
	EXPECT_NE(strstr(text, "no interface \"nosuch0\""), nullptr) << text;
}

TEST_F(AfXdp, LoopbackIsNoEthernet)
{
	strcpy(cfg.interface, "lo");
	EXPECT_EQ(try_open(), -EOPNOTSUPP);
	EXPECT_NE(strstr(text, "lo is no Ethernet"), nullptr) << text;
}

TEST_F(AfXdp, AnotherProgramIsNamed)
{
	start();
	device *first = dev;

	dev = nullptr;
	EXPECT_EQ(try_open(), -EBUSY);
	EXPECT_NE(strstr(text, "(udplane) is attached to va already"), nullptr) << text;
	EXPECT_NE(strstr(text, "ip link set dev va xdp off"), nullptr) << text;
	dev = first;
}

/* It came between open and attach. */
TEST_F(AfXdp, AnotherProgramAtAttachIsNamed)
{
	ASSERT_EQ(try_open(), 0) << text;
	device *late = dev;

	start();
	device *first = dev;
	device_memory kept = mem;

	dev = late;
	EXPECT_EQ(try_attach(), -EBUSY);
	EXPECT_NE(strstr(text, "(udplane) is attached to va already"), nullptr) << text;
	munmap(mem.addr, mem.len);
	device_af_xdp.close(dev);
	dev = first;
	mem = kept;
	KernelSocket peer(true, false, 0);

	peer.send(here4, claimed_port, numbered(1));
	EXPECT_EQ(receive(1).size(), 1u) << "the first one goes on";
}

/* Runs in a child, as privileges do not come back. Returns its exit status. */
static int in_child(const std::function<int()> &f)
{
	int status = -1;
	pid_t child = fork();

	if (!child)
		_exit(f());
	EXPECT_GT(child, 0);
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void drop(std::initializer_list<int> caps)
{
	__user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	__user_cap_data_struct data[2];

	syscall(SYS_capget, &head, data);
	for (int c : caps)
		data[c / 32].effective &= ~(1u << c % 32),
			data[c / 32].permitted &= ~(1u << c % 32);
	syscall(SYS_capset, &head, data);
}

TEST_F(AfXdp, MissingCapabilityIsNamed)
{
	auto attempt = [this](std::initializer_list<int> caps, const char *named,
			      const char *not_named) {
		return in_child([&] {
			drop(caps);
			if (try_open() != -EPERM || !strstr(text, named) ||
			    strstr(text, not_named)) {
				fprintf(stderr, "%s\n", text);
				return 1;
			}
			return 0;
		});
	};

	EXPECT_EQ(attempt({CAP_NET_ADMIN}, "missing CAP_NET_ADMIN;", "CAP_BPF"), 0);
	EXPECT_EQ(attempt({CAP_BPF, CAP_SYS_ADMIN}, "missing CAP_BPF;", "CAP_NET"), 0);
	EXPECT_EQ(attempt({CAP_PERFMON, CAP_SYS_ADMIN}, "missing CAP_PERFMON;", "CAP_NET"), 0);
	EXPECT_EQ(attempt({CAP_NET_RAW, CAP_NET_ADMIN}, "missing CAP_NET_ADMIN CAP_NET_RAW;",
			  "CAP_BPF"),
		  0);
}

TEST_F(AfXdp, FewestCapabilitiesSuffice)
{
	EXPECT_EQ(in_child([&] {
			  __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
			  __user_cap_data_struct data[2] = {};

			  for (int c :
			       {CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF, CAP_PERFMON, CAP_IPC_LOCK})
				  data[c / 32].effective |= 1u << c % 32;
			  data[0].permitted = data[0].effective;
			  data[1].permitted = data[1].effective;
			  if (syscall(SYS_capset, &head, data) || try_open() || try_attach()) {
				  fprintf(stderr, "%s\n", text);
				  return 1;
			  }
			  return 0;
		  }),
		  0);
}

TEST_F(AfXdp, LockedMemoryLimitIsNamed)
{
	EXPECT_EQ(in_child([&] {
			  rlimit r = {64 << 10, 64 << 10};

			  setrlimit(RLIMIT_MEMLOCK, &r);
			  drop({CAP_IPC_LOCK, CAP_SYS_RESOURCE});
			  if (try_open() || try_attach() != -ENOBUFS ||
			      !strstr(text, "locked-memory limit of 64 KiB")) {
				  fprintf(stderr, "%s\n", text);
				  return 1;
			  }
			  return 0;
		  }),
		  0);
}

TEST_F(AfXdp, ImpossibleMemoryIsRefused)
{
	ASSERT_EQ(try_open(), 0) << text;
	EXPECT_EQ(try_attach(1, 8192, 1024), -EINVAL);
	EXPECT_NE(strstr(text, "frame size 1024"), nullptr) << text;
	munmap(mem.addr, mem.len);
	EXPECT_EQ(try_attach(1, 32), -EINVAL);
	munmap(mem.addr, mem.len);
	EXPECT_EQ(try_attach(), 0) << "attaching may be tried again: " << text;
}

TEST_F(AfXdp, NewMacIsFollowed)
{
	start();
	KernelSocket peer(true, false, 0);

	ASSERT_EQ(system("ip link set va address 02:00:00:00:77:01"), 0);
	set_up();
	EXPECT_EQ(dev->mac[4], 0x77);
	peer.send(here4, claimed_port, numbered(1));
	EXPECT_EQ(receive(1).size(), 1u);
}
