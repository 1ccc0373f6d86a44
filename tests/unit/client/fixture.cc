// SPDX-License-Identifier: Apache-2.0
// What all tests of the library share: sockets, addresses, waiting.
#include "tests/unit/client/peer.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>

namespace
{
/* A network of our own: what the library hands to the kernel must not leave the machine. */
bool Isolate()
{
	struct ifreq ifr = {};
	int fd;

	if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return false;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	strcpy(ifr.ifr_name, "lo");
	ifr.ifr_flags = IFF_UP;
	bool up = ioctl(fd, SIOCSIFFLAGS, &ifr) == 0;
	close(fd);
	return up;
}
const bool isolated = Isolate();
} // namespace

socklen_t Address(const std::string &text, struct sockaddr_storage *ss)
{
	size_t colon = text.rfind(':');
	std::string host = text.substr(0, colon);
	uint16_t port = htons(static_cast<uint16_t>(atoi(text.c_str() + colon + 1)));

	memset(ss, 0, sizeof(*ss));
	if (host[0] != '[') {
		auto *in = reinterpret_cast<struct sockaddr_in *>(ss);

		in->sin_family = AF_INET;
		in->sin_port = port;
		EXPECT_EQ(inet_pton(AF_INET, host.c_str(), &in->sin_addr), 1) << text;
		return sizeof(*in);
	}
	auto *in6 = reinterpret_cast<struct sockaddr_in6 *>(ss);
	host = host.substr(1, host.size() - 2);
	size_t percent = host.find('%');
	if (percent != std::string::npos) {
		in6->sin6_scope_id = static_cast<uint32_t>(atoi(host.c_str() + percent + 1));
		host.resize(percent);
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = port;
	EXPECT_EQ(inet_pton(AF_INET6, host.c_str(), &in6->sin6_addr), 1) << text;
	return sizeof(*in6);
}

std::string Text(const struct sockaddr *sa)
{
	char host[INET6_ADDRSTRLEN];

	if (sa->sa_family == AF_INET) {
		auto *in = reinterpret_cast<const struct sockaddr_in *>(sa);

		inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		return std::string(host) + ":" + std::to_string(ntohs(in->sin_port));
	}
	auto *in6 = reinterpret_cast<const struct sockaddr_in6 *>(sa);
	inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
	return "[" + std::string(host) +
	       (in6->sin6_scope_id ? "%" + std::to_string(in6->sin6_scope_id) : "") +
	       "]:" + std::to_string(ntohs(in6->sin6_port));
}

void ClientTest::SetUp()
{
	/* Bazel's folder has a longer name than a socket path may be */
	char name[] = "/tmp/udplane-XXXXXX";
	struct sockaddr_in in = {};
	socklen_t len = sizeof(in);

	if (!isolated)
		GTEST_SKIP() << "needs root, or user namespaces, for a network of its own";
	ASSERT_NE(mkdtemp(name), nullptr);
	dir_ = name;
	path_ = dir_ + "/udplane.sock";
	setenv("UDPLANE_SOCKET", path_.c_str(), 1);
	setenv("UDPLANE_SPIN_US", "0", 1);
	unsetenv("UDPLANE_DISABLE");
	context_reset();
	plain_ = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	in.sin_family = AF_INET;
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ASSERT_EQ(bind(plain_, reinterpret_cast<struct sockaddr *>(&in), sizeof(in)), 0);
	getsockname(plain_, reinterpret_cast<struct sockaddr *>(&in), &len);
	plain_port_ = ntohs(in.sin_port);
	plain6_ = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

void ClientTest::TearDown()
{
	for (int fd : fds_)
		udplane_close(fd);
	peer_.reset();
	context_reset();
	close(plain_);
	close(plain6_);
	unlink(path_.c_str());
	rmdir(dir_.c_str());
}

Peer *ClientTest::Start(const Peer::Options &options)
{
	peer_.reset(); // its path is removed with it
	peer_.reset(new Peer(path_, options));
	context_reset();
	return peer_.get();
}

int ClientTest::Open(int type, int domain, uint16_t port)
{
	int fd = udplane_socket(domain, type, 0);
	struct sockaddr_storage ss;
	socklen_t len =
		Address((domain == AF_INET ? "127.0.0.1:" : "[::]:") + std::to_string(port), &ss);

	EXPECT_GE(fd, 0) << strerror(errno);
	EXPECT_EQ(udplane_bind(fd, reinterpret_cast<struct sockaddr *>(&ss), len), 0)
		<< strerror(errno);
	fds_.push_back(fd);
	return fd;
}

int ClientTest::Claimed(int type, int domain)
{
	int fd = Open(type, domain);

	EXPECT_TRUE(Status(fd).accelerated) << Status(fd).reason << ": " << Status(fd).text;
	return fd;
}

struct sock *ClientTest::Sock(int fd)
{
	struct sock *s = table_get(fd);

	if (!s)
		abort();
	return s;
}

uint32_t ClientTest::Visitors(int fd)
{
	uint32_t cnt = 0;

	for (const struct visitor &v : Sock(fd)->visitor)
		cnt += __atomic_load_n(&v.thread, __ATOMIC_RELAXED) != 0;
	return cnt;
}

void ClientTest::Close(int fd)
{
	EXPECT_EQ(udplane_close(fd), 0);
	for (int &f : fds_)
		if (f == fd)
			f = -1;
}

void ClientTest::SendKernel(int fd, const std::string &payload)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	ASSERT_EQ(udplane_getsockname(fd, reinterpret_cast<struct sockaddr *>(&ss), &len), 0);
	if (ss.ss_family == AF_INET6)
		reinterpret_cast<struct sockaddr_in6 *>(&ss)->sin6_addr = in6addr_loopback;
	ASSERT_EQ(sendto(ss.ss_family == AF_INET ? plain_ : plain6_, payload.data(), payload.size(),
			 0, reinterpret_cast<struct sockaddr *>(&ss), len),
		  static_cast<ssize_t>(payload.size()));
}

std::string ClientTest::PlainRecv()
{
	struct pollfd p = {plain_, POLLIN, 0};
	char buf[65536];

	if (poll(&p, 1, 5000) != 1)
		return "";
	ssize_t n = recv(plain_, buf, sizeof(buf), MSG_DONTWAIT);
	return n < 0 ? "" : std::string(buf, static_cast<size_t>(n));
}

std::string Recv(int fd, int flags)
{
	char buf[65536];
	ssize_t n = udplane_recv(fd, buf, sizeof(buf), flags);

	return n < 0 ? std::string("!") + strerrorname_np(errno)
		     : std::string(buf, static_cast<size_t>(n));
}

Receiver::Receiver(int fd, int flags)
{
	thread = std::thread([this, fd, flags] { result = Recv(fd, flags); });
}

Receiver::~Receiver()
{
	if (thread.joinable())
		thread.join();
}

std::string Receiver::Join()
{
	thread.join();
	return result;
}

bool Readable(int fd, int timeout_ms)
{
	struct pollfd p = {fd, POLLIN, 0};

	return poll(&p, 1, timeout_ms) == 1 && (p.revents & POLLIN);
}

struct udplane_status Status(int fd)
{
	struct udplane_status st = {};

	st.size = sizeof(st);
	EXPECT_EQ(udplane_get_status(fd, &st), 0);
	return st;
}
