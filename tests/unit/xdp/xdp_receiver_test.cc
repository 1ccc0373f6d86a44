// SPDX-License-Identifier: Apache-2.0
/* The XDP program asks Linux which of the sockets that share a port receives. It runs with the
 * loopback device of a namespace of the test's own, and is given frames to its sockets' port. */
#include "tests/unit/xdp/xdp_program.h"

#include <algorithm>

#ifndef SO_COOKIE
#define SO_COOKIE 57
#endif

class XdpReceiver : public XdpProgram
{
      protected:
	std::vector<int> sockets;
	std::vector<uint64_t> cookies;

	void SetUp() override
	{
		receivers = true;
		if (unshare(CLONE_NEWNET))
			GTEST_SKIP() << "no permission to make a network namespace: run as root";
		load(false);
	}

	void TearDown() override
	{
		for (int fd : sockets)
			close(fd);
		XdpProgram::TearDown();
	}

	/* A socket on the port of all addresses of both families, and what the device is told of
	 * it. */
	device_claim member(bool ask = true)
	{
		int fd = socket(AF_INET6, SOCK_DGRAM, 0), one = 1;
		sockaddr_in6 any{};
		socklen_t len = sizeof(uint64_t);
		device_claim c = claim("0.0.0.0", 5060);

		sockets.push_back(fd);
		any.sin6_family = AF_INET6;
		any.sin6_port = htons(5060);
		EXPECT_EQ(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)), 0);
		EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr *>(&any), sizeof(any)), 0);
		if (ask) {
			EXPECT_EQ(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &c.cookie, &len), 0);
		}
		cookies.push_back(c.cookie);
		c.shared = true;
		return c;
	}

	/* Which of these flows are diverted, and to whom: a letter each, '-' if not. */
	std::string flows(const std::string &src, const std::string &dst)
	{
		std::string out;
		Datagram d;

		d.src = src;
		d.dst = dst;
		for (d.sport = 10000; d.sport < 10064; d.sport++)
			out += run(d.frame()) == XDP_COUNT_DIVERTED ? to(d) : '-';
		return out;
	}

	/* '?' if no member was named; else 'a' for the first, and so on. */
	char to(const Datagram &d)
	{
		xdp_receiver r;
		uint32_t source, ports;
		Bytes f = d.frame();

		if (front.empty())
			return '?';
		EXPECT_EQ(front.size(), sizeof(r));
		memcpy(&r, front.data(), sizeof(r));
		memcpy(&source, &f[d.v6() ? 34 : 26], sizeof(source));
		memcpy(&ports, &f[d.udp_off()], sizeof(ports));
		EXPECT_EQ(r.source ^ XDP_RECEIVER_MAGIC, source);
		EXPECT_EQ(r.ports_be, ports);
		for (size_t i = 0; i < cookies.size(); i++)
			if (cookies[i] == r.cookie)
				return static_cast<char>('a' + i);
		ADD_FAILURE() << "cookie " << r.cookie;
		return '!';
	}

	std::string flows4()
	{
		return flows("192.0.2.9", "192.0.2.1");
	}
};

static std::string without(std::string s, char letter)
{
	std::replace(s.begin(), s.end(), letter, '-');
	return s;
}

static bool has(const std::string &s, char letter)
{
	return s.find(letter) != std::string::npos;
}

TEST_F(XdpReceiver, OnlyWhatIsForAClaimedMemberIsDiverted)
{
	device_claim a = member(), b = member();

	ASSERT_EQ(insert(a), 0);
	ASSERT_EQ(insert(b), 0);
	std::string all = flows4();
	EXPECT_TRUE(has(all, 'a') && has(all, 'b') && !has(all, '-')) << all;
	EXPECT_EQ(flows4(), all);
	ASSERT_EQ(remove(a), 0);
	EXPECT_EQ(flows4(), without(all, 'a'));
	ASSERT_EQ(insert(a), 0);
	ASSERT_EQ(remove(b), 0);
	EXPECT_EQ(flows4(), without(all, 'b'));
}

TEST_F(XdpReceiver, IPv6)
{
	device_claim a = member();

	member();
	a.local.family = AF_INET6;
	memset(a.local.addr, 0, 16);
	ASSERT_EQ(insert(a), 0);
	std::string out = flows("2001:db8::9", "2001:db8::1");
	EXPECT_TRUE(has(out, 'a') && has(out, '-')) << out;
}

TEST_F(XdpReceiver, AMemberWithoutACookieIsTheKernels)
{
	device_claim a = member();

	member(false);
	ASSERT_EQ(insert(a), 0);
	std::string out = flows4();
	EXPECT_TRUE(has(out, 'a') && has(out, '-')) << out;
}

TEST_F(XdpReceiver, NobodyIsAskedAboutAPortThatIsNotShared)
{
	device_claim a = member(), other = claim("0.0.0.0", 5061);

	member();
	a.shared = false;
	other.cookie = 1;
	other.shared = true;
	ASSERT_EQ(insert(a), 0);
	ASSERT_EQ(insert(other), 0);
	EXPECT_EQ(flows4(), std::string(64, '?'));
}

TEST_F(XdpReceiver, APortWithoutSocketsIsTheKernels)
{
	device_claim a = member();

	ASSERT_EQ(insert(a), 0);
	EXPECT_EQ(flows4(), std::string(64, 'a'));
	close(sockets[0]);
	sockets.clear();
	EXPECT_EQ(flows4(), std::string(64, '-'));
}

TEST_F(XdpReceiver, ANewProgramKnowsTheMembers)
{
	device_claim a = member();
	xdp_shared *mine = shared();

	ASSERT_EQ(insert(a), 0);
	ASSERT_EQ(xdp_claims_use(&claims, nullptr, -1, -1, -1, -1, -1, -1), 0);
	memset(mine->shared_port, 0, sizeof(mine->shared_port));
	mine->shared = 0;
	ASSERT_EQ(xdp_claims_use(&claims, mine, bpf_map__fd(prog->maps.local),
				 bpf_map__fd(prog->maps.claims_addr),
				 bpf_map__fd(prog->maps.claims_conn),
				 bpf_map__fd(prog->maps.sources), bpf_map__fd(prog->maps.excluded6),
				 bpf_map__fd(prog->maps.members)),
		  0);
	EXPECT_EQ(mine->shared, 1u);
	EXPECT_EQ(flows4(), std::string(64, 'a'));
	ASSERT_EQ(remove(a), 0);
	EXPECT_EQ(mine->shared, 0u);
	EXPECT_EQ(remove(a), -ENOENT);
}

TEST_F(XdpReceiver, Cost)
{
	device_claim a = member();
	Datagram d;
	uint32_t ns[2];

	for (bool shared : {false, true}) {
		a.shared = shared;
		ASSERT_EQ(insert(a), 0);
		run(d.frame(), 1000000, &ns[shared]);
		ASSERT_EQ(remove(a), 0);
	}
	printf("a datagram costs %u ns, on a shared port %u ns\n", ns[0], ns[1]);
}
