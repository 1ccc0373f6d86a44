// SPDX-License-Identifier: Apache-2.0
// Coming to udplaned, and every way in which that can fail: always the kernel path, always with a
// reason.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/client/peer.h"

namespace
{
class AttachTest : public ClientTest
{
      protected:
	/* The socket works, through the kernel, and says why. */
	void ExpectKernel(int fd, const std::string &reason)
	{
		struct udplane_status st = Status(fd);

		EXPECT_FALSE(st.accelerated);
		EXPECT_EQ(st.reason, reason) << st.text;
		EXPECT_NE(st.text[0], 0);
		SendKernel(fd, "still here");
		EXPECT_EQ(Recv(fd), "still here");
	}
	int OpenFds()
	{
		int n = 0;

		for (int fd = 0; fd < 1024; fd++)
			n += fcntl(fd, F_GETFD) >= 0;
		return n;
	}
};

TEST_F(AttachTest, NoSidecar)
{
	ExpectKernel(Open(), "no_sidecar");
}

TEST_F(AttachTest, Disabled)
{
	setenv("UDPLANE_DISABLE", "1", 1);
	context_reset();
	Peer *p = Start();
	int fd = Open();
	ExpectKernel(fd, "by_request");
	EXPECT_EQ(p->Attaches(), 0u);
}

TEST_F(AttachTest, ASocketPathThatIsTooLongIsNamed)
{
	setenv("UDPLANE_SOCKET", ("/" + std::string(107, 'x')).c_str(), 1);
	context_reset();
	int fd = Open();
	struct udplane_status st = Status(fd);

	EXPECT_STREQ(st.reason, "no_sidecar");
	EXPECT_NE(std::string(st.text).find("108 bytes"), std::string::npos) << st.text;
	setenv("UDPLANE_SOCKET", ("/" + std::string(106, 'x')).c_str(), 1);
	context_reset();
	EXPECT_EQ(std::string(Status(fd).text).find("bytes"), std::string::npos) << Status(fd).text;
}

TEST_F(AttachTest, BackendKernelSaysWhatUdplanedSays)
{
	Peer::Options o;
	o.backend = UDPLANE_BACKEND_KERNEL;
	Peer *p = Start(o);
	int fd = Open();

	ExpectKernel(fd, "backend_kernel");
	EXPECT_STREQ(Status(fd).text, "scripted peer");
	EXPECT_EQ(p->Count(UDPLANE_MSG_CLAIM), 0u);
}

TEST_F(AttachTest, BackendKernelMayBeReplacedByABetterOne)
{
	Peer::Options o;
	o.backend = UDPLANE_BACKEND_KERNEL;
	Peer *p = Start(o);
	int fd = Open();

	p->Die();
	peer_.reset();
	EXPECT_TRUE(Until([&] { return !strcmp(Status(fd).reason, "no_sidecar"); }));
	Start();
	EXPECT_TRUE(Until([&] { return Status(fd).accelerated; }));
}

TEST_F(AttachTest, OneAttachmentServesAllSockets)
{
	Peer *p = Start();
	int a = Claimed(), b = Claimed();

	EXPECT_EQ(p->Attaches(), 1u);
	EXPECT_NE(Id(a), Id(b));
	EXPECT_EQ(p->Socks().size(), 2u);
	Close(a);
	EXPECT_EQ(p->Socks().size(), 1u);
	EXPECT_EQ(p->Count(UDPLANE_MSG_RELEASE), 1u) << "close waits for the answer";
}

TEST_F(AttachTest, OtherMajor)
{
	Start()->on_welcome = [](struct udplane_welcome *w) {
		w->major = 2;
		w->status = -EPROTONOSUPPORT;
		snprintf(w->text, sizeof(w->text), "upgrade the older of the two");
	};
	int fd = Open();
	ExpectKernel(fd, "abi_version");
	EXPECT_NE(strstr(Status(fd).text, "upgrade"), nullptr);
}

TEST_F(AttachTest, NewerMinorMayAppendFields)
{
	Peer *p = Start();
	p->on_welcome = [](struct udplane_welcome *w) { w->minor = 9; };
	Claimed();
}

TEST_F(AttachTest, RefusedWithText)
{
	Start()->on_welcome = [](struct udplane_welcome *w) {
		w->status = -EUSERS;
		snprintf(w->text, sizeof(w->text), "raise max_clients");
	};
	int fd = Open();
	ExpectKernel(fd, "too_many_sockets");
	EXPECT_NE(strstr(Status(fd).text, "raise max_clients"), nullptr);
}

TEST_F(AttachTest, ASilentSidecarIsWaitedForOnce)
{
	Start()->silent = true;
	uint64_t start = clock_now_ns();
	int fd = Open();
	EXPECT_GE(clock_now_ns() - start, HELLO_DEADLINE_NS);
	ExpectKernel(fd, "no_sidecar");
	start = clock_now_ns();
	for (int i = 0; i < 3; i++) { /* each looks whether it has answered, and none waits */
		context.next_attach_ns = 0;
		int other = Open();
		ExpectKernel(other, "no_sidecar");
		udplane_close(other);
	}
	EXPECT_LT(clock_now_ns() - start, HELLO_DEADLINE_NS);
}

/* Each of these must be found out before anything is mapped or touched out of bounds. */
TEST_F(AttachTest, ImpossibleWelcomes)
{
	std::vector<std::pair<const char *, std::function<void(struct udplane_welcome *)>>> cases =
		{
			{"magic", [](auto *w) { w->magic++; }},
			{"stats_len 0", [](auto *w) { w->stats_len = 0; }},
			{"stats_len", [](auto *w) { w->stats_len = 1ull << 40; }},
			{"frames_len", [](auto *w) { w->frames_len *= 2; }},
			{"channel_len", [](auto *w) { w->channel_len = UINT64_MAX; }},
			{"worker_cnt 0", [](auto *w) { w->worker_cnt = 0; }},
			{"worker_cnt 2", [](auto *w) { w->worker_cnt = 2; }},
			{"worker_cnt wraps", [](auto *w) { w->worker_cnt = UINT32_MAX - 1; }},
			{"frame_cnt", [](auto *w) { w->frame_cnt = UINT32_MAX; }},
			{"frame_cnt 0", [](auto *w) { w->frame_cnt = 0; }},
			{"frame_size", [](auto *w) { w->frame_size = 3000; }},
			{"frame_size 0", [](auto *w) { w->frame_size = 0; }},
			{"lane_off", [](auto *w) { w->lane_off = UINT32_MAX & ~63u; }},
			{"lane_len", [](auto *w) { w->lane_len = UINT32_MAX & ~63u; }},
			{"lane_len odd", [](auto *w) { w->lane_len -= 4; }},
			{"tx_slot_cnt", [](auto *w) { w->tx_slot_cnt = 65; }},
			{"tx_slot_cnt 0", [](auto *w) { w->tx_slot_cnt = 0; }},
			{"tx_slot_cnt big", [](auto *w) { w->tx_slot_cnt = 1u << 20; }},
			{"tx_ring_off", [](auto *w) { w->tx_ring_off = w->lane_len; }},
			{"tx_ring_off odd", [](auto *w) { w->tx_ring_off = 4; }},
			{"tx_payload_off", [](auto *w) { w->tx_payload_off = w->lane_len - 64; }},
			{"tx_slot_size", [](auto *w) { w->tx_slot_size = 65536; }},
			{"tx_slot_size small", [](auto *w) { w->tx_slot_size = 512; }},
			{"return_off", [](auto *w) { w->return_off = UINT32_MAX & ~63u; }},
			{"return_cnt", [](auto *w) { w->return_cnt = 1u << 30; }},
			{"return_cnt odd", [](auto *w) { w->return_cnt = 1000; }},
			{"short", [](auto *w) { w->msg.len = 100; }},
			{"empty", [](auto *w) { w->msg.len = 8; }},
			{"long", [](auto *w) { w->msg.len = 500; }},
			{"type", [](auto *w) { w->msg.type = UDPLANE_MSG_CLAIMED; }},
			{"backend",
			 [](auto *w) {
				 w->backend = UDPLANE_BACKEND_KERNEL;
			 }}, // and three descriptors too many
		};
	int fds = OpenFds();

	for (auto &c : cases) {
		SCOPED_TRACE(c.first);
		context_reset();
		Start()->on_welcome = c.second;
		int fd = Open();
		EXPECT_FALSE(Status(fd).accelerated);
		EXPECT_STRNE(Status(fd).reason, "none");
		EXPECT_STRNE(Status(fd).reason, "not_bound");
		EXPECT_EQ(peer_->Attaches(), 1u);
		Close(fd);
		peer_.reset();
		ASSERT_EQ(OpenFds(), fds) << "descriptors leak";
	}
}

TEST_F(AttachTest, ImpossibleDescriptors)
{
	std::vector<std::pair<const char *, std::function<void(std::vector<int> *)>>> cases = {
		{"none", [](auto *v) { v->clear(); }},
		{"one less", [](auto *v) { v->pop_back(); }},
		{"one more", [](auto *v) { v->push_back((*v)[0]); }},
		{"a socket for stats", [](auto *v) { (*v)[0] = v->back(); }},
		{"an eventfd for the channel", [](auto *v) { (*v)[2] = v->back(); }},
	};
	int fds = OpenFds();

	for (auto &c : cases) {
		SCOPED_TRACE(c.first);
		context_reset();
		Start()->on_fds = c.second;
		int fd = Open();
		EXPECT_FALSE(Status(fd).accelerated);
		Close(fd);
		peer_.reset();
		ASSERT_EQ(OpenFds(), fds) << "descriptors leak";
	}
}

TEST_F(AttachTest, ImpossibleStatsZone)
{
	std::vector<std::pair<const char *, std::function<void(struct udplane_stats_zone *)>>>
		cases = {
			{"magic", [](auto *z) { z->magic = 0; }},
			{"worker_off", [](auto *z) { z->worker_off = UINT32_MAX & ~63u; }},
			{"worker_cnt", [](auto *z) { z->worker_cnt = 17; }},
			{"fewer workers", [](auto *z) { z->worker_cnt = 0; }},
			{"socket_off", [](auto *z) { z->socket_off = UINT32_MAX & ~63u; }},
			{"socket_max", [](auto *z) { z->socket_max = UINT32_MAX; }},
			{"socket_len", [](auto *z) { z->socket_len = 8; }},
			{"ports_off", [](auto *z) { z->ports_off = UINT32_MAX; }},
		};

	for (auto &c : cases) {
		SCOPED_TRACE(c.first);
		context_reset();
		c.second(Start()->Stats());
		int fd = Open();
		EXPECT_STREQ(Status(fd).reason, "bad_message");
		Close(fd);
	}
}

TEST_F(AttachTest, ImpossibleClaims)
{
	std::vector<std::pair<const char *, std::function<void(struct udplane_claimed *)>>> cases =
		{
			{"ring_off", [](auto *c) { c->ring_off = UINT32_MAX & ~63u; }},
			{"ring_off odd", [](auto *c) { c->ring_off += 4; }},
			{"ring_len", [](auto *c) { c->ring_len = 128; }},
			{"ring_len big", [](auto *c) { c->ring_len = UINT32_MAX & ~63u; }},
			{"ring_size", [](auto *c) { c->ring_size = 63; }},
			{"ring_size 0", [](auto *c) { c->ring_size = 0; }},
			{"ring_size big", [](auto *c) { c->ring_size = 1u << 31; }},
			{"sock", [](auto *c) { c->sock = 64; }},
			{"segment", [](auto *c) { c->segment = 1; }},
			{"segment_len", [](auto *c) { c->segment_len = 4096; }},
			{"short", [](auto *c) { c->msg.len = 20; }},
		};
	int fds = OpenFds();

	for (auto &c : cases) {
		SCOPED_TRACE(c.first);
		context_reset();
		Start()->on_claimed = [&c](struct udplane_claimed *m) { // the peer itself goes by
									// what it wanted to say
			struct udplane_claimed real = *m;
			c.second(m);
			(void)real;
		};
		if (strstr(c.first, "sock"))
			peer_->on_claimed = [](struct udplane_claimed *m) { m->sock = 64; };
		int fd = Open();
		ExpectKernel(fd, Status(fd).reason);
		Close(fd);
		peer_.reset();
		context_reset();
		ASSERT_EQ(OpenFds(), fds) << "descriptors leak";
	}
}

TEST_F(AttachTest, RefusedClaims)
{
	Peer *p = Start();
	p->on_claimed = [](struct udplane_claimed *c) {
		c->status = -EPERM;
		c->reason = UDPLANE_REASON_OTHER_NETNS;
		snprintf(c->text, sizeof(c->text), "another network namespace");
	};
	int fd = Open();
	ExpectKernel(fd, "other_network_namespace");
	EXPECT_STREQ(Status(fd).text, "another network namespace");
	// A refusal may pass: it is asked again, but not at every call.
	for (int i = 0; i < 100; i++)
		Recv(fd);
	EXPECT_EQ(p->Count(UDPLANE_MSG_CLAIM), 1u);
	p->on_claimed = nullptr;
	EXPECT_TRUE(Until([&] {
		Recv(fd);
		return Status(fd).accelerated;
	}));
}

TEST_F(AttachTest, PortsNotAskedForAreNotClaimed)
{
	Peer *p = Start();
	for (uint32_t port = 0; port < 65536; port++)
		p->AskPort(static_cast<uint16_t>(port), false);
	int fd = Open();
	ExpectKernel(fd, "port_not_asked_for");
	EXPECT_EQ(p->Count(UDPLANE_MSG_CLAIM), 0u);
	for (uint32_t port = 0; port < 65536; port++)
		p->AskPort(static_cast<uint16_t>(port), true);
	EXPECT_TRUE(Until([&] {
		Recv(fd);
		return Status(fd).accelerated;
	})) << "the annotation may change";
}

TEST_F(AttachTest, ConnectTellsUdplaned)
{
	Peer *p = Start();
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int fd = Claimed();

	// A port that was asked for by number stays when the socket is disconnected.
	udplane_getsockname(fd, reinterpret_cast<struct sockaddr *>(&ss), &len);
	Close(fd);
	fd = Open(SOCK_DGRAM | SOCK_NONBLOCK, AF_INET,
		  ntohs(reinterpret_cast<struct sockaddr_in *>(&ss)->sin_port));
	len = Address("127.0.0.1:" + std::to_string(plain_port()), &ss);
	EXPECT_EQ(udplane_connect(fd, reinterpret_cast<struct sockaddr *>(&ss), len), 0);
	EXPECT_EQ(p->Count(UDPLANE_MSG_UPDATE), 1u);
	ss.ss_family = AF_UNSPEC;
	EXPECT_EQ(udplane_connect(fd, reinterpret_cast<struct sockaddr *>(&ss), len), 0);
	EXPECT_EQ(p->Count(UDPLANE_MSG_UPDATE), 2u);
	EXPECT_TRUE(Status(fd).accelerated);
	p->on_done = [](struct udplane_done *d) {
		d->status = -EPERM;
		d->reason = UDPLANE_REASON_NOT_LOCAL;
		snprintf(d->text, sizeof(d->text), "not ours any more");
	};
	Address("127.0.0.1:9", &ss);
	p->Deliver(Id(fd), "kept");
	EXPECT_EQ(udplane_connect(fd, reinterpret_cast<struct sockaddr *>(&ss), len), 0);
	EXPECT_FALSE(Status(fd).accelerated);
	EXPECT_STREQ(Status(fd).reason, "address_not_ours");
	EXPECT_TRUE(Readable(fd));
	EXPECT_EQ(Recv(fd), "kept");
	EXPECT_FALSE(Readable(fd));
	EXPECT_EQ(p->FramesOut(), 0u);
}

TEST_F(AttachTest, ConnectOfAnUnboundSocketClaimsIt)
{
	Peer *p = Start();
	int fd = udplane_socket(AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_storage ss;
	socklen_t len = Address("127.0.0.1:" + std::to_string(plain_port()), &ss);

	EXPECT_EQ(udplane_connect(fd, reinterpret_cast<struct sockaddr *>(&ss), len), 0);
	EXPECT_TRUE(Status(fd).accelerated);
	EXPECT_EQ(p->Count(UDPLANE_MSG_CLAIM), 1u);
	// A disconnected socket that was bound automatically has no port.
	ss.ss_family = AF_UNSPEC;
	EXPECT_EQ(udplane_connect(fd, reinterpret_cast<struct sockaddr *>(&ss), len), 0);
	EXPECT_FALSE(Status(fd).accelerated);
	EXPECT_STREQ(Status(fd).reason, "not_bound");
	EXPECT_EQ(p->Socks().size(), 0u);
	udplane_close(fd);
}

static int Port(int fd)
{
	struct sockaddr_in6 a = {};
	socklen_t len = sizeof(a);

	udplane_getsockname(fd, reinterpret_cast<struct sockaddr *>(&a), &len);
	return ntohs(a.sin6_port);
}

/* Linux keeps the former peer of an IPv6 socket, and does not tell it. */
TEST_F(AttachTest, ADisconnectedIpv6SocketIsLeftToLinux)
{
	Start();
	int plain = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in6 a = {};
	socklen_t len = sizeof(a);

	a.sin6_family = AF_INET6;
	a.sin6_addr = in6addr_loopback;
	ASSERT_EQ(bind(plain, reinterpret_cast<struct sockaddr *>(&a), len), 0);
	ASSERT_EQ(getsockname(plain, reinterpret_cast<struct sockaddr *>(&a), &len), 0);
	auto *to = reinterpret_cast<struct sockaddr *>(&a);
	int fd = Open(SOCK_DGRAM | SOCK_NONBLOCK, AF_INET6), port = Port(fd);

	// A port that was asked for by number stays when the socket is disconnected.
	Close(fd);
	fd = Open(SOCK_DGRAM | SOCK_NONBLOCK, AF_INET6, port);
	to->sa_family = AF_UNSPEC; // without effect, as it is not connected
	EXPECT_EQ(udplane_connect(fd, to, len), 0);
	EXPECT_TRUE(Status(fd).accelerated);
	to->sa_family = AF_INET6;
	EXPECT_EQ(udplane_connect(fd, to, len), 0);
	EXPECT_TRUE(Status(fd).accelerated);
	to->sa_family = AF_UNSPEC;
	EXPECT_EQ(udplane_connect(fd, to, len), 0);
	EXPECT_FALSE(Status(fd).accelerated);
	EXPECT_STREQ(Status(fd).reason, "socket_option");
	Close(fd);
	close(plain);
}

TEST_F(AttachTest, ShutdownEndsTheClaim)
{
	Peer *p = Start();
	int fd = Claimed();

	p->Deliver(Id(fd), "kept");
	udplane_shutdown(fd, SHUT_RD);
	ASSERT_EQ(p->Count(UDPLANE_MSG_RELEASE), 1u);
	EXPECT_EQ(p->Requests().back().reason, static_cast<uint32_t>(UDPLANE_REASON_SHUTDOWN));
	EXPECT_STREQ(Status(fd).reason, "shutdown");
	EXPECT_EQ(Recv(fd), "kept");
	EXPECT_EQ(Recv(fd), "!EAGAIN");
	Close(fd);
	EXPECT_EQ(p->Socks().size(), 0u);
}

TEST_F(AttachTest, DescriptorsAreReused)
{
	Peer *p = Start();
	int fds = 0, first = -1;

	for (int i = 0; i < 200; i++) {
		int fd = Claimed();
		if (first < 0)
			first = fd;
		ASSERT_EQ(fd, first) << "the number is free when close returns";
		p->Deliver(Id(fd), "unread");
		Close(fd);
		if (i == 0)
			fds = OpenFds();
		ASSERT_EQ(udplane_recv(fd, nullptr, 0, 0), -1);
		ASSERT_EQ(errno, EBADF);
	}
	EXPECT_EQ(OpenFds(), fds);
	EXPECT_EQ(p->Socks().size(), 0u);
	EXPECT_EQ(p->FramesOut(), 0u);
}
} // namespace
