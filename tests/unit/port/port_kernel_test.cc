// SPDX-License-Identifier: Apache-2.0
// The port table against the kernel itself: random sets of UDP sockets on one port of the loopback
// device, the same sockets in the table by what getsockname() and its kin say of them, and
// datagrams: where the kernel delivers one, the table must find it. Of a group the kernel chooses a
// member by a secret hash, so its choice must be one of those that the table has for some hash.
#include <poll.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <random>
#include <vector>

#include "tests/unit/port/port_test_util.h"

namespace
{

constexpr int kDeadlineMs = 5000;

union Name {
	sockaddr sa;
	sockaddr_in in;
	sockaddr_in6 in6;
};

Name NameOf(int family, const std::string &addr, uint16_t port)
{
	Name n = {};
	Address a = Addr(addr);

	n.sa.sa_family = family;
	n.in.sin_port = htons(port); // the same place in both
	if (family == AF_INET)
		memcpy(&n.in.sin_addr, a.data(), 4);
	else
		memcpy(&n.in6.sin6_addr, a.data(), 16);
	return n;
}

socklen_t Len(const Name &n)
{
	return n.sa.sa_family == AF_INET ? sizeof(n.in) : sizeof(n.in6);
}

class Fd
{
      public:
	explicit Fd(int fd) : fd_(fd)
	{
	}
	Fd(Fd &&other) : fd_(other.fd_)
	{
		other.fd_ = -1;
	}
	~Fd()
	{
		if (fd_ >= 0)
			close(fd_);
	}
	int get() const
	{
		return fd_;
	}

      private:
	int fd_;
};

void SetOption(int fd, int level, int option, int value)
{
	ASSERT_EQ(setsockopt(fd, level, option, &value, sizeof(value)), 0) << strerror(errno);
}

bool IsMapped(const Name &n)
{
	return n.sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&n.in6.sin6_addr);
}

void CopyAddr(uint8_t *to, const Name &n)
{
	if (n.sa.sa_family == AF_INET)
		memcpy(to, &n.in.sin_addr, 4);
	else if (IsMapped(n))
		memcpy(to, n.in6.sin6_addr.s6_addr + 12, 4);
	else
		memcpy(to, &n.in6.sin6_addr, 16);
}

// What the sidecar reads from a passed socket.
port_key KeyOf(int fd)
{
	port_key key = {};
	Name local = {}, peer = {};
	socklen_t len = sizeof(local), peer_len = sizeof(peer), int_len = sizeof(int);
	char device[16] = "";
	socklen_t device_len = sizeof(device);
	int v6only = 0;

	EXPECT_EQ(getsockname(fd, &local.sa, &len), 0);
	EXPECT_EQ(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, &device_len), 0);
	if (local.sa.sa_family == AF_INET6) {
		EXPECT_EQ(getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, &int_len), 0);
	}
	key.mapped = IsMapped(local);
	key.local.family = key.mapped ? AF_INET : local.sa.sa_family;
	key.v6only = v6only;
	key.device = device_len > 0 && device[0];
	key.local.port_be = local.in.sin_port;
	CopyAddr(key.local.addr, local);
	if (!getpeername(fd, &peer.sa, &peer_len)) {
		key.peer.family = key.local.family;
		key.peer.port_be = peer.in.sin_port;
		CopyAddr(key.peer.addr, peer);
	}
	return key;
}

bool KernelHasConnectedHash()
{
	utsname u;
	int major = 0, minor = 0;

	return !uname(&u) && sscanf(u.release, "%d.%d", &major, &minor) == 2 &&
	       major * 1000 + minor >= 6013;
}

class Kernel
{
      public:
	explicit Kernel(unsigned int seed) : rng_(seed)
	{
	}

	// Returns false if this machine has no such address.
	bool Run()
	{
		size_t cnt = 1 + Pick(8);

		if (!MakeSenders())
			return false;
		for (size_t i = 0; i < cnt; i++)
			AddSocket();
		for (int i = 0; i < 12 && !testing::Test::HasFailure(); i++)
			SendOne();
		return true;
	}

      private:
	struct Sender {
		Fd fd;
		int family;
		std::string addr;
		uint16_t port;
	};

	uint32_t Pick(uint32_t n)
	{
		return std::uniform_int_distribution<uint32_t>(0, n - 1)(rng_);
	}

	Fd Socket(int family)
	{
		Fd fd(socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));

		EXPECT_GE(fd.get(), 0) << strerror(errno);
		return fd;
	}

	// Two of each family; and the port under test, which was free in both as a dual-stack
	// socket got it.
	bool MakeSenders()
	{
		for (int i = 0; i < 4; i++) {
			int family = i < 2 ? AF_INET : AF_INET6;
			std::string addr =
				family == AF_INET ? "127.0.0." + std::to_string(11 + i) : "::1";
			Name name = NameOf(family, addr, 0);
			Fd fd = Socket(family);
			socklen_t len = sizeof(name);

			if (bind(fd.get(), &name.sa, Len(name)))
				return false;
			getsockname(fd.get(), &name.sa, &len);
			// An error of a datagram that no socket got reaches an unconnected socket,
			// too.
			SetOption(fd.get(), family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6,
				  family == AF_INET ? int{IP_RECVERR} : int{IPV6_RECVERR}, 1);
			senders_.push_back({std::move(fd), family, addr, ntohs(name.in.sin_port)});
		}
		Name any = NameOf(AF_INET6, "", 0);
		socklen_t len = sizeof(any);
		Fd probe = Socket(AF_INET6);

		SetOption(probe.get(), SOL_SOCKET, SO_REUSEPORT, 1);
		SetOption(probe.get(), IPPROTO_IPV6, IPV6_V6ONLY, 0);
		if (bind(probe.get(), &any.sa, Len(any)))
			return false;
		getsockname(probe.get(), &any.sa, &len);
		port_ = ntohs(any.in.sin_port);
		return true;
	}

	// "": the wildcard of the socket's family.
	std::string RandomLocal(int family, bool v4)
	{
		std::string mapped = family == AF_INET6 && v4 ? "::ffff:" : "";

		if (Pick(2))
			return v4 ? mapped + "127.0.0." + std::to_string(1 + Pick(2)) : "::1";
		// [::] of an IPv4 peer must be dual-stack, which it is only in sets without v6only
		// sockets.
		return !mapped.empty() && (v6only_ || Pick(2)) ? "::ffff:0.0.0.0" : "";
	}

	void AddSocket()
	{
		int family = Pick(2) ? AF_INET : AF_INET6;
		bool v4 = family == AF_INET || Pick(2), connected = connects_ && Pick(3) == 0;
		bool device = reuseport_ ? all_device_ : Pick(4) == 0;
		const Sender &peer = senders_[(v4 ? 0 : 2) + Pick(2)];
		Name local = NameOf(family, RandomLocal(family, v4), port_);
		Name to = NameOf(family, (family == AF_INET6 && v4 ? "::ffff:" : "") + peer.addr,
				 peer.port);
		Fd fd = Socket(family);

		SetOption(fd.get(), SOL_SOCKET, reuseport_ ? SO_REUSEPORT : SO_REUSEADDR, 1);
		if (family == AF_INET6) {
			SetOption(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, !v4 && v6only_);
		}
		if (device) {
			ASSERT_EQ(setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, "lo", 2), 0)
				<< strerror(errno);
		}
		ASSERT_EQ(bind(fd.get(), &local.sa, Len(local)), 0) << strerror(errno);
		if (connected) {
			ASSERT_EQ(connect(fd.get(), &to.sa, Len(to)), 0) << strerror(errno);
		}

		port_key key = KeyOf(fd.get());
		// Of equals that are no group, the order of binding or connecting would decide.
		if ((!reuseport_ || connected) && !texts_.insert(Text(key)).second)
			return;
		text_ += Text(key) + "\n";
		ASSERT_EQ(table_.Insert(key, sockets_.size()), 0) << Text(key);
		sockets_.push_back(std::move(fd));
	}

	static std::string Text(const port_key &key)
	{
		char addr[64], peer[64];

		bool connected = port_key_connected(&key);

		inet_ntop(key.local.family, key.local.addr, addr, sizeof(addr));
		inet_ntop(key.local.family, key.peer.addr, peer, sizeof(peer));
		return std::string(key.local.family == AF_INET ? "v4 " : "v6 ") + addr +
		       (connected ? " <- " : "") + (connected ? peer : "") + ":" +
		       std::to_string(ntohs(key.peer.port_be)) +
		       (key.mapped && !connected ? " mapped" : "") +
		       (key.v6only && !connected ? " v6only" : "") +
		       (key.device && !connected ? " device" : "");
	}

	void SendOne()
	{
		const Sender &from = senders_[Pick(4)];
		std::string dst =
			from.family == AF_INET ? "127.0.0." + std::to_string(1 + Pick(3)) : "::1";
		Name to = NameOf(from.family, dst, port_);
		std::set<uint32_t> want =
			table_.All(from.family, Addr(from.addr), from.port, Addr(dst), port_);

		ASSERT_EQ(sendto(from.fd.get(), "x", 1, 0, &to.sa, Len(to)), 1) << strerror(errno);
		uint32_t got = Receive(from.fd.get());

		EXPECT_TRUE(want.count(got))
			<< "from " << from.addr << ":" << from.port << " to " << dst << ": kernel "
			<< static_cast<int>(got) << ", table " << static_cast<int>(*want.begin())
			<< " (" << want.size() << " choices); sockets from 0:\n"
			<< text_;
	}

	// Number of the socket that has the datagram, or PORT_NONE if it was refused.
	uint32_t Receive(int sender)
	{
		std::vector<pollfd> polls;
		char byte;

		for (const Fd &fd : sockets_)
			polls.push_back({fd.get(), POLLIN, 0});
		polls.push_back({sender, POLLIN, 0});
		if (poll(polls.data(), polls.size(), kDeadlineMs) < 1) {
			ADD_FAILURE() << "neither received nor refused";
			return PORT_NONE;
		}
		for (size_t i = 0; i < sockets_.size(); i++)
			if (polls[i].revents) {
				EXPECT_EQ(recv(sockets_[i].get(), &byte, 1, 0), 1)
					<< strerror(errno);
				return i;
			}
		EXPECT_EQ(recv(sender, &byte, 1, 0), -1);
		EXPECT_EQ(errno, ECONNREFUSED);
		EXPECT_EQ(recv(sender, &byte, 1, MSG_ERRQUEUE), 1) << strerror(errno);
		return PORT_NONE;
	}

	std::mt19937 rng_;
	std::vector<Sender> senders_;
	std::vector<Fd> sockets_;
	std::set<std::string> texts_;
	std::string text_;
	Table table_;
	uint16_t port_ = 0;
	bool v6only_ = Pick(2);
	// Among SO_REUSEPORT groups Linux takes the first that matches and lets the score be: no
	// mix of device-bound and others, and before 6.13, whose hash of connected sockets comes
	// first, no connected ones.
	bool reuseport_ = Pick(2);
	bool all_device_ = Pick(2);
	bool connects_ = !reuseport_ || KernelHasConnectedHash();
};

TEST(PortKernel, LinuxDeliversWhereTheTableSays)
{
	for (unsigned int seed = 0; seed < 600 && !testing::Test::HasFailure(); seed++) {
		SCOPED_TRACE("seed " + std::to_string(seed));
		Kernel kernel(seed);

		if (!kernel.Run())
			GTEST_SKIP() << "no IPv6 loopback address here";
	}
}

} // namespace
