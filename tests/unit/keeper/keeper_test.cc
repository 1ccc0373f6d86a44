// SPDX-License-Identifier: Apache-2.0
/* The keeper as the control thread sees it: a process that answers. */
#include "sidecar/keeper/keeper.h"

#include <arpa/inet.h>
#include <cstring>
#include <gtest/gtest.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <random>
#include <set>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace
{

constexpr int kDeadlineMs = 10000;

struct Keeper : testing::Test {
	void SetUp() override
	{
		ASSERT_EQ(keeper_start(&k, &error), 0) << error.text;
		ASSERT_EQ(claim_netns_cookie(&rules.netns_cookie), 0);
	}
	void TearDown() override
	{
		keeper_stop(&k);
	}

	/* The next reply; op 0 if there was none within the deadline. */
	keeper_reply Reply()
	{
		pollfd p = {k.fd, POLLIN, 0};
		keeper_reply r = {};

		while (poll(&p, 1, kDeadlineMs) == 1)
			if (keeper_read(&k, &r) > 0)
				return r;
		return {};
	}

	/* Passes a UDP socket that is bound to 0.0.0.0:port, and closes it here. segment: its
	 * UDP_SEGMENT. */
	keeper_reply Take(uint64_t session, uint16_t *port, int segment = 0)
	{
		int conn[2], fd = socket(AF_INET, SOCK_DGRAM, 0);
		sockaddr_in sin = {};
		socklen_t len = sizeof(sin);
		char space[CMSG_SPACE(sizeof(int))] = {}, byte = 1;
		iovec iov = {&byte, 1};
		msghdr mh = {};

		sin.sin_family = AF_INET;
		EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr *>(&sin), sizeof(sin)), 0);
		getsockname(fd, reinterpret_cast<sockaddr *>(&sin), &len);
		*port = sin.sin_port;
		EXPECT_EQ(
			setsockopt(fd, IPPROTO_UDP, UDPLANE_UDP_SEGMENT, &segment, sizeof(segment)),
			0);
		EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, conn), 0);
		mh.msg_iov = &iov;
		mh.msg_iovlen = 1;
		mh.msg_control = space;
		mh.msg_controllen = sizeof(space);
		CMSG_FIRSTHDR(&mh)->cmsg_level = SOL_SOCKET;
		CMSG_FIRSTHDR(&mh)->cmsg_type = SCM_RIGHTS;
		CMSG_FIRSTHDR(&mh)->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&mh)), &fd, sizeof(int));
		EXPECT_EQ(sendmsg(conn[0], &mh, 0), 1);
		close(fd);
		EXPECT_EQ(keeper_take(&k, session, conn[1], &rules), 0);
		keeper_reply r = Reply();
		close(conn[0]);
		close(conn[1]);
		return r;
	}

	/* All that was asked for has been read by the process. */
	bool Heard()
	{
		int unread = 1;

		for (int tries = 0; unread && tries < 1000 + kDeadlineMs; tries++) {
			EXPECT_EQ(ioctl(k.fd, SIOCOUTQ, &unread), 0);
			poll(nullptr, 0, tries > 1000);
		}
		return !unread;
	}

	bool Bound(uint16_t port)
	{
		int fd = socket(AF_INET, SOCK_DGRAM, 0);
		sockaddr_in sin = {};

		sin.sin_family = AF_INET;
		sin.sin_port = port;
		const bool taken = bind(fd, reinterpret_cast<sockaddr *>(&sin), sizeof(sin)) != 0;
		close(fd);
		return taken;
	}

	struct keeper k = {};
	claim_rules rules = {};
	struct error error = {};
};

TEST_F(Keeper, HoldsASocketUntilItIsToldToCloseIt)
{
	uint16_t port;
	const keeper_reply r = Take(1, &port);

	ASSERT_EQ(r.op, KEEPER_TAKE);
	EXPECT_EQ(r.reason, UDPLANE_REASON_NONE) << r.text;
	EXPECT_EQ(r.claim.local.port_be, port);
	ASSERT_GE(r.fd, 0);
	EXPECT_TRUE(Bound(port));
	keeper_close(&k, 1, r.fd);
	keeper_barrier(&k, 1, 77);
	const keeper_reply b = Reply();
	EXPECT_EQ(b.op, KEEPER_BARRIER);
	EXPECT_EQ(b.tag, 77u);
	EXPECT_FALSE(Bound(port));
}

/* A request may come at any instant of a thread's turning from listening to work and back. None may
 * lie there unheard. */
TEST_F(Keeper, HearsEveryRequestWheneverItComes)
{
	std::mt19937 random(1);

	for (int round = 0; round < 3000; round++) {
		const unsigned cnt = 1 + random() % 6;
		std::set<uint64_t> open;

		for (unsigned i = 0; i < cnt; i++) {
			keeper_barrier(&k, 1 + i % 3, i);
			open.insert(i);
			for (unsigned pause = random() % 2000; pause; pause--)
				__asm__ volatile("" ::: "memory");
		}
		while (!open.empty()) {
			const keeper_reply r = Reply();

			ASSERT_EQ(r.op, KEEPER_BARRIER) << "round " << round << ": " << open.size()
							<< " of " << cnt << " unheard";
			open.erase(r.tag);
		}
	}
}

/* Unread replies make the thread that sends them wait, as a client's socket may do.
 * Requests of others are heard. */
TEST_F(Keeper, HearsOthersWhileARequestHangs)
{
	const int kMoreThanFit = 200; /* of 832 bytes, in a buffer of net.core.wmem_default */
	sockaddr_in to = {};
	uint16_t port;
	const keeper_reply r = Take(2, &port);

	ASSERT_GE(r.fd, 0);
	to.sin_family = AF_INET;
	to.sin_port = port;
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (int i = 0; i < kMoreThanFit; i++) {
		keeper_barrier(&k, 1, i);
		ASSERT_TRUE(Heard()) << i;
	}
	const udplane_tx_asked nothing = {};
	for (int i = 0; i < 10; i++)
		keeper_send(&k, 2, r.fd, reinterpret_cast<sockaddr *>(&to), sizeof(to), &nothing,
			    "x", 1);
	uint64_t sent = 0;
	for (int ms = 0; sent < 10 && ms < kDeadlineMs; ms++) {
		sent += keeper_counted(&k).sent;
		poll(nullptr, 0, 1);
	}
	EXPECT_EQ(sent, 10u);
	for (int i = 0; i < kMoreThanFit; i++)
		ASSERT_EQ(Reply().tag, static_cast<uint64_t>(i));
}

/* By control data, a datagram may be longer than UDP_SEGMENT of its socket. */
TEST_F(Keeper, SendsADescriptorAsOneDatagram)
{
	const int fd = socket(AF_INET, SOCK_DGRAM, 0);
	const udplane_tx_asked nothing = {};
	sockaddr_in to = {};
	socklen_t len = sizeof(to);
	pollfd p = {fd, POLLIN, 0};
	uint16_t port;
	char got[16];

	const keeper_reply r = Take(1, &port, 2);
	ASSERT_GE(r.fd, 0);
	to.sin_family = AF_INET;
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr *>(&to), sizeof(to)), 0);
	getsockname(fd, reinterpret_cast<sockaddr *>(&to), &len);
	keeper_send(&k, 1, r.fd, reinterpret_cast<sockaddr *>(&to), len, &nothing, "12345", 5);
	keeper_barrier(&k, 1, 1);
	EXPECT_EQ(Reply().tag, 1u);
	EXPECT_EQ(poll(&p, 1, kDeadlineMs), 1);
	EXPECT_EQ(recv(fd, got, sizeof(got), 0), 5);
	close(fd);
}

/* What one client has asked for is done in that order, whichever threads do it. */
TEST_F(Keeper, KeepsTheOrderOfEachClient)
{
	uint64_t next[4] = {};

	for (uint64_t i = 0; i < 400; i++)
		keeper_barrier(&k, 1 + i % 4, i / 4);
	for (int i = 0; i < 400; i++) {
		const keeper_reply r = Reply();

		ASSERT_EQ(r.op, KEEPER_BARRIER);
		ASSERT_EQ(r.tag, next[r.session - 1]++);
	}
}

} // namespace
