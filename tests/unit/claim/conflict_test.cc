// SPDX-License-Identifier: Apache-2.0
// Sockets on one port as Linux lists them, and which of them gets a datagram: with real sockets on
// the loopback interface.
#include <arpa/inet.h>
#include <errno.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include <set>
#include <vector>

#include "sidecar/claim/claim.h"

namespace
{

constexpr uint16_t kPort = 47117;

struct Conflict : testing::Test {
	void SetUp() override
	{
		ASSERT_EQ(claim_diag_open(&diag), 0);
		ifindex = static_cast<int>(if_nametoindex("lo"));
	}
	void TearDown() override
	{
		for (int fd : fds)
			close(fd);
		claim_diag_close(&diag);
	}
	/* On 127.0.0.1 (or ::1), connected to that port of it; 0: not. */
	int Open(uint16_t peer_port = 0, int family = AF_INET)
	{
		sockaddr_storage ss{};
		int fd = socket(family, SOCK_DGRAM, 0), one = 1;

		fds.push_back(fd);
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		EXPECT_EQ(bind(fd, Name(&ss, family, kPort), sizeof(ss)), 0) << strerror(errno);
		if (peer_port) {
			EXPECT_EQ(connect(fd, Name(&ss, family, peer_port), sizeof(ss)), 0)
				<< strerror(errno);
		}
		return fd;
	}
	static sockaddr *Name(sockaddr_storage *ss, int family, uint16_t port)
	{
		auto *sin = reinterpret_cast<sockaddr_in *>(ss);
		auto *sin6 = reinterpret_cast<sockaddr_in6 *>(ss);

		memset(ss, 0, sizeof(*ss));
		ss->ss_family = static_cast<sa_family_t>(family);
		sin->sin_port = htons(port); /* at the same place in both */
		if (family == AF_INET)
			sin->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		else
			sin6->sin6_addr = in6addr_loopback;
		return reinterpret_cast<sockaddr *>(ss);
	}
	static uint64_t Cookie(int fd)
	{
		uint64_t cookie = 0;
		socklen_t len = sizeof(cookie);

		EXPECT_EQ(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len), 0);
		return cookie;
	}
	static port_key Key(uint16_t peer_port, int family = AF_INET)
	{
		port_key key{};

		key.local.family = static_cast<uint8_t>(family);
		key.local.addr[family == AF_INET ? 0 : 15] = family == AF_INET ? 127 : 1;
		if (family == AF_INET)
			key.local.addr[3] = 1;
		key.peer = key.local;
		key.local.port_be = htons(kPort);
		key.peer.port_be = htons(peer_port);
		return key;
	}
	uint64_t Winner(uint16_t peer_port, int family = AF_INET)
	{
		port_key key = Key(peer_port, family);
		claim_other o{};
		int err = claim_winner(&diag, &key, ifindex, &o);

		return err == -ENOENT ? 0 : err ? UINT64_MAX : o.cookie;
	}
	std::multiset<uint64_t> Scan(uint16_t port, claim_scan *s)
	{
		std::multiset<uint64_t> got;
		int more = claim_scan_begin(s, &diag, htons(port));

		EXPECT_EQ(more, 0);
		do {
			more = claim_scan_step(
				s,
				[](void *arg, const claim_other *o) {
					static_cast<std::multiset<uint64_t> *>(arg)->insert(
						o->cookie);
				},
				&got);
		} while (more > 0);
		EXPECT_EQ(more, 0);
		EXPECT_FALSE(s->running);
		return got;
	}

	claim_diag diag{};
	int ifindex = 0;
	std::vector<int> fds;
};

TEST_F(Conflict, TheWinnerIsLinuxs)
{
	EXPECT_EQ(Winner(1000), 0u);
	int listener = Open();
	int a = Open(1000), b = Open(1001);
	EXPECT_EQ(Winner(1000), Cookie(a));
	EXPECT_EQ(Winner(1001), Cookie(b));
	EXPECT_EQ(Winner(1002), Cookie(listener));
	int six = Open(1000, AF_INET6);
	EXPECT_EQ(Winner(1000, AF_INET6), Cookie(six));
	EXPECT_EQ(Winner(1001, AF_INET6), 0u);
}

TEST_F(Conflict, AListingHasAllOnceAndTakesSteps)
{
	claim_scan s{};
	std::multiset<uint64_t> want;
	for (uint16_t i = 0; i < 400; i++)
		want.insert(Cookie(Open(static_cast<uint16_t>(1000 + i))));
	want.insert(Cookie(Open(0, AF_INET6)));
	EXPECT_EQ(Scan(kPort, &s), want);
	EXPECT_GE(s.messages, 3u);
	EXPECT_LE(s.messages, 20u);
	auto all = Scan(0, &s);
	for (uint64_t cookie : want)
		EXPECT_EQ(all.count(cookie), 1u);
	EXPECT_TRUE(Scan(kPort + 1, &s).empty());
}

TEST_F(Conflict, AnotherPeerHarmsNobodyThatIsConnected)
{
	claim c{};
	claim_other o{};
	c.key = Key(1000);
	c.cookie = 1;
	claim_to_other(&c, &o);
	EXPECT_TRUE(claim_overlaps(&o, &c, ifindex)) << "the same four-tuple";
	o.peer.port_be = htons(1001);
	EXPECT_FALSE(claim_overlaps(&o, &c, ifindex));
	o.peer = {};
	EXPECT_FALSE(claim_overlaps(&o, &c, ifindex)) << "being connected beats it";
	c.key.peer = {};
	EXPECT_TRUE(claim_overlaps(&o, &c, ifindex));
	o.peer = Key(1001).peer;
	EXPECT_TRUE(claim_overlaps(&o, &c, ifindex)) << "its peer's datagrams are its own";
	o.local.port_be = htons(1);
	EXPECT_FALSE(claim_overlaps(&o, &c, ifindex));
}

} // namespace
