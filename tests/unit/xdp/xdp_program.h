/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of the XDP program: frames made by hand, and the program loaded and run on them by
 * BPF_PROG_TEST_RUN. */
#ifndef TESTS_UNIT_XDP_XDP_PROGRAM_H
#define TESTS_UNIT_XDP_XDP_PROGRAM_H

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <gtest/gtest.h>
#include <linux/if_xdp.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <string>
#include <vector>

#include "sidecar/device/xdp/udplane_xdp.h"
#include "sidecar/device/xdp/udplane_xdp.skel.h"
#include "sidecar/device/xdp_claims.h"

using Bytes = std::vector<uint8_t>;

inline void put16(Bytes &b, size_t off, uint32_t v)
{
	b.at(off) = v >> 8;
	b.at(off + 1) = v;
}

inline uint32_t get16(const Bytes &b, size_t off)
{
	return b.at(off) << 8 | b.at(off + 1);
}

/* IPv4 in the first four bytes. */
inline std::array<uint8_t, 16> ip(const std::string &text)
{
	std::array<uint8_t, 16> a{};

	EXPECT_EQ(inet_pton(text.find(':') == std::string::npos ? AF_INET : AF_INET6, text.c_str(),
			    a.data()),
		  1)
		<< text;
	return a;
}

inline const Bytes device_mac = {0x02, 0, 0, 0x0a, 0x0b, 0x0c};

/* A valid UDP datagram; tests then break it. */
struct Datagram {
	std::string src = "192.0.2.9", dst = "192.0.2.1";
	uint32_t sport = 40000, dport = 5060;
	size_t payload = 32, padding = 0;
	uint32_t checksum = 0x1234; /* the program looks for 0 only */

	bool v6() const
	{
		return dst.find(':') != std::string::npos;
	}
	size_t udp_off() const
	{
		return v6() ? 54 : 34;
	}

	Bytes frame() const
	{
		Bytes f(udp_off() + 8 + payload + padding);
		auto s = ip(src), d = ip(dst);

		std::copy(device_mac.begin(), device_mac.end(), f.begin());
		f[6] = 0x02;
		f[11] = 0x99;
		put16(f, 12, v6() ? 0x86dd : 0x0800);
		if (v6()) {
			f[14] = 0x60;
			put16(f, 18, 8 + payload);
			f[20] = IPPROTO_UDP;
			f[21] = 64;
			std::copy(s.begin(), s.end(), f.begin() + 22);
			std::copy(d.begin(), d.end(), f.begin() + 38);
		} else {
			f[14] = 0x45;
			put16(f, 16, 28 + payload);
			f[22] = 64;
			f[23] = IPPROTO_UDP;
			std::copy(s.begin(), s.begin() + 4, f.begin() + 26);
			std::copy(d.begin(), d.begin() + 4, f.begin() + 30);
		}
		put16(f, udp_off(), sport);
		put16(f, udp_off() + 2, dport);
		put16(f, udp_off() + 4, 8 + payload);
		put16(f, udp_off() + 6, checksum);
		for (size_t i = 0; i < payload; i++)
			f[udp_off() + 8 + i] = i;
		return f;
	}
};

inline device_claim claim(const std::string &addr, uint16_t port, const std::string &peer = "",
			  uint16_t peer_port = 0)
{
	device_claim c{};
	std::array<uint8_t, 16> a = ip(addr);

	c.local.family = addr.find(':') == std::string::npos ? AF_INET : AF_INET6;
	c.local.port_be = htons(port);
	memcpy(c.local.addr, a.data(), 16);
	if (!peer.empty()) {
		c.peer.family = c.local.family;
		c.peer.port_be = htons(peer_port);
		memcpy(c.peer.addr, ip(peer).data(), 16);
	}
	return c;
}

class XdpProgram : public testing::Test
{
      protected:
	udplane_xdp *prog = nullptr;
	xdp_claims claims{};
	int xsk = -1;
	bool timers = true, conntrack = false, receivers = false;
	uint64_t sent = 0;
	Bytes front; /* what the last run has written in front of the frame */

	xdp_shared *shared()
	{
		return &prog->bss->shared;
	}
	xdp_counters &count()
	{
		return shared()->counters[0];
	}

	void SetUp() override
	{
		load(false);
	}

	void load(bool generic)
	{
		prog = udplane_xdp__open();
		ASSERT_NE(prog, nullptr);
		prog->rodata->generic = generic;
		prog->rodata->frags = 1;
		prog->rodata->timers = timers;
		prog->rodata->conntrack = conntrack;
		prog->rodata->receivers = receivers;
		ASSERT_EQ(bpf_program__set_flags(prog->progs.udplane,
						 1U << 5 /* BPF_F_XDP_HAS_FRAGS */),
			  0);
		int err = udplane_xdp__load(prog);
		if (err == -EPERM)
			GTEST_SKIP() << "no permission to load a BPF program: run as root";
		ASSERT_EQ(err, 0) << "loading the XDP program: " << strerror(-err);
		ASSERT_EQ(xdp_claims_init(&claims, 1024), 0);
		ASSERT_EQ(xdp_claims_use(&claims, shared(), bpf_map__fd(prog->maps.local),
					 bpf_map__fd(prog->maps.claims_addr),
					 bpf_map__fd(prog->maps.claims_conn),
					 bpf_map__fd(prog->maps.sources),
					 bpf_map__fd(prog->maps.excluded6),
					 bpf_map__fd(prog->maps.members)),
			  0);
		memcpy(&shared()->mac0, &device_mac[0], 4);
		memcpy(&shared()->mac1, &device_mac[4], 2);
		shared()->max_len = 2048 - 256;
		shared()->queue[0].state = XDP_STATE_ENGAGED;
		shared()->queue[0].answered_ns = UINT64_MAX; /* the worker always runs */
		register_socket();
		set_local({"192.0.2.1", "2001:db8::1", "fe80::1"});
	}

	/* With an RX ring, a socket may stand in the map though it is bound to nothing: redirects
	 * then show as such. */
	void register_socket()
	{
		uint32_t entries = 64, queue = 0;

		xsk = socket(AF_XDP, SOCK_RAW, 0);
		ASSERT_GE(xsk, 0);
		ASSERT_EQ(
			setsockopt(xsk, 283 /* SOL_XDP */, XDP_RX_RING, &entries, sizeof(entries)),
			0);
		ASSERT_EQ(bpf_map_update_elem(bpf_map__fd(prog->maps.xsks), &queue, &xsk, BPF_ANY),
			  0)
			<< strerror(errno);
	}

	void TearDown() override
	{
		if (prog && !IsSkipped()) {
			uint64_t sum = 0;

			for (int i = XDP_COUNT_SEEN + 1; i < XDP_COUNT_CNT; i++)
				sum += count().count[i];
			EXPECT_EQ(count().count[XDP_COUNT_SEEN], sent);
			EXPECT_EQ(sum, sent) << "every frame counts once";
		}
		if (xsk >= 0)
			close(xsk);
		xdp_claims_free(&claims);
		udplane_xdp__destroy(prog);
	}

	int set_local(const std::vector<std::string> &list)
	{
		std::vector<std::array<uint8_t, 16>> addrs;

		for (const std::string &s : list)
			addrs.push_back(ip(s.find(':') == std::string::npos ? "::ffff:" + s : s));
		return xdp_claims_set_local(&claims,
					    reinterpret_cast<const uint8_t(*)[16]>(addrs.data()),
					    addrs.size());
	}

	/* "10.0.0.0/8" is valid, "!10.0.0.0/8" is not; longer ones first. */
	int set_sources(const std::vector<std::string> &list)
	{
		std::vector<device_source> s;

		for (const std::string &text : list) {
			size_t from = text[0] == '!', slash = text.find('/');
			device_source d{};

			memcpy(&d.addr_be, ip(text.substr(from, slash - from)).data(), 4);
			d.len = std::stoi(text.substr(slash + 1));
			d.valid = !from;
			s.push_back(d);
		}
		return xdp_claims_set_sources(&claims, s.data(), s.size());
	}

	/* "2001:db8::/32" */
	int set_excluded(const std::vector<std::string> &list)
	{
		std::vector<device_prefix6> p;

		for (const std::string &text : list) {
			size_t slash = text.find('/');
			device_prefix6 d{};

			memcpy(d.addr, ip(text.substr(0, slash)).data(), 16);
			d.len = std::stoi(text.substr(slash + 1));
			p.push_back(d);
		}
		return xdp_claims_set_excluded(&claims, p.data(), p.size());
	}

	int insert(const device_claim &c)
	{
		return xdp_claims_insert(&claims, &c);
	}
	int remove(const device_claim &c)
	{
		return xdp_claims_remove(&claims, &c);
	}

	/* Runs the program; returns what it counted. */
	int run(const Bytes &f, uint32_t repeat = 1, uint32_t *ns = nullptr)
	{
		static uint8_t out[65536];
		uint64_t before[XDP_COUNT_CNT];
		LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f.data(), .data_out = out,
			    .data_size_in = static_cast<uint32_t>(f.size()),
			    .data_size_out = sizeof(out), .repeat = static_cast<int>(repeat));
		int verdict = -1;

		memcpy(before, count().count, sizeof(before));
		int err = bpf_prog_test_run_opts(bpf_program__fd(prog->progs.udplane), &opts);
		EXPECT_EQ(err, 0) << strerror(-err) << ", frame of " << f.size();
		if (err)
			return -1;
		sent += repeat;
		for (int i = XDP_COUNT_SEEN + 1; i < XDP_COUNT_CNT; i++)
			if (count().count[i] != before[i])
				verdict = verdict < 0 ? i : 1000;
		EXPECT_EQ(opts.retval, verdict == XDP_COUNT_DIVERTED ? XDP_REDIRECT : XDP_PASS)
			<< "verdict " << verdict;
		front.assign(out, out + opts.data_size_out - f.size());
		EXPECT_EQ(memcmp(out + front.size(), f.data(), f.size()), 0)
			<< "the program changed the frame";
		if (ns)
			*ns = opts.duration;
		return verdict;
	}

	int run(const Datagram &d)
	{
		return run(d.frame());
	}
};

#endif
