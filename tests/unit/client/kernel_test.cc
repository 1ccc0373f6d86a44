// SPDX-License-Identifier: Apache-2.0
// Without udplaned everything works, as from the kernel, since it is the kernel.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tests/unit/client/peer.h"

namespace
{
class KernelTest : public ClientTest
{
      protected:
	void Echo(int domain, const char *any)
	{
		int server = udplane_socket(domain, SOCK_DGRAM, 0),
		    client = udplane_socket(domain, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDP);
		struct sockaddr_storage at, from;
		socklen_t len = Address(any, &at), flen = sizeof(from);
		char buf[100];

		ASSERT_EQ(udplane_bind(server, reinterpret_cast<struct sockaddr *>(&at), len), 0);
		ASSERT_EQ(
			udplane_getsockname(server, reinterpret_cast<struct sockaddr *>(&at), &len),
			0);
		ASSERT_EQ(udplane_sendto(client, "ping", 4, 0,
					 reinterpret_cast<struct sockaddr *>(&at), len),
			  4);
		ASSERT_EQ(udplane_recvfrom(server, buf, 100, 0,
					   reinterpret_cast<struct sockaddr *>(&from), &flen),
			  4);
		ASSERT_EQ(udplane_sendto(server, buf, 4, 0,
					 reinterpret_cast<struct sockaddr *>(&from), flen),
			  4);
		EXPECT_EQ(Recv(client), "ping");
		ASSERT_EQ(udplane_connect(client, reinterpret_cast<struct sockaddr *>(&at), len),
			  0);
		ASSERT_EQ(udplane_send(client, "again", 5, 0), 5);
		EXPECT_EQ(Recv(server), "again");
		flen = sizeof(from);
		ASSERT_EQ(udplane_getpeername(client, reinterpret_cast<struct sockaddr *>(&from),
					      &flen),
			  0);
		EXPECT_EQ(Text(reinterpret_cast<struct sockaddr *>(&from)),
			  Text(reinterpret_cast<struct sockaddr *>(&at)));
		udplane_close(server);
		udplane_close(client);
	}
};

TEST_F(KernelTest, EchoV4)
{
	Echo(AF_INET, "127.0.0.1:0");
}

TEST_F(KernelTest, EchoV6)
{
	Echo(AF_INET6, "[::1]:0");
}

TEST_F(KernelTest, DualStack)
{
	int fd = Open(SOCK_DGRAM | SOCK_NONBLOCK, AF_INET6);
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	char byte;

	ASSERT_EQ(udplane_getsockname(fd, reinterpret_cast<struct sockaddr *>(&ss), &len), 0);
	uint16_t port = ntohs(reinterpret_cast<struct sockaddr_in6 *>(&ss)->sin6_port);
	len = Address("127.0.0.1:" + std::to_string(port), &ss);
	ASSERT_EQ(sendto(plain(), "4", 1, 0, reinterpret_cast<struct sockaddr *>(&ss), len), 1);
	len = sizeof(ss);
	ASSERT_TRUE(Readable(fd, 5000));
	ASSERT_EQ(udplane_recvfrom(fd, &byte, 1, 0, reinterpret_cast<struct sockaddr *>(&ss), &len),
		  1);
	EXPECT_EQ(Text(reinterpret_cast<struct sockaddr *>(&ss)),
		  "[::ffff:127.0.0.1]:" + std::to_string(plain_port()));
	ASSERT_EQ(udplane_sendto(fd, "back", 4, 0, reinterpret_cast<struct sockaddr *>(&ss), len),
		  4);
	EXPECT_EQ(PlainRecv(), "back");
}

TEST_F(KernelTest, RefusesWhatIsNotUdp)
{
	EXPECT_EQ(udplane_socket(AF_UNIX, SOCK_DGRAM, 0), -1);
	EXPECT_EQ(errno, EAFNOSUPPORT);
	EXPECT_EQ(udplane_socket(AF_INET, SOCK_STREAM, 0), -1);
	EXPECT_EQ(errno, EPROTONOSUPPORT);
	EXPECT_EQ(udplane_socket(AF_INET, SOCK_DGRAM, IPPROTO_TCP), -1);
	EXPECT_EQ(errno, EPROTONOSUPPORT);
}

TEST_F(KernelTest, ForeignDescriptorsAreEbadf)
{
	char buf[4];
	int n;
	struct udplane_status st = {};
	struct udplane_pkt pkt;
	struct udplane_buf b;

	for (int fd : {-1, 0, plain(), 1 << 19, 1 << 25, INT32_MAX, INT32_MIN}) {
		SCOPED_TRACE(fd);
		errno = 0;
		EXPECT_EQ(udplane_recv(fd, buf, 4, MSG_DONTWAIT), -1);
		EXPECT_EQ(errno, EBADF);
		errno = 0;
		EXPECT_EQ(udplane_send(fd, buf, 4, 0), -1);
		EXPECT_EQ(errno, EBADF);
		errno = 0;
		EXPECT_EQ(udplane_bind(fd, nullptr, 0), -1);
		EXPECT_EQ(errno, EBADF);
		errno = 0;
		EXPECT_EQ(udplane_close(fd), -1);
		EXPECT_EQ(errno, EBADF);
		errno = 0;
		EXPECT_EQ(udplane_fcntl(fd, F_GETFL), -1);
		EXPECT_EQ(errno, EBADF);
		errno = 0;
		EXPECT_EQ(udplane_ioctl(fd, FIONREAD, &n), -1);
		EXPECT_EQ(errno, EBADF);
		errno = 0;
		EXPECT_EQ(udplane_get_status(fd, &st), -1);
		EXPECT_EQ(errno, EBADF);
		errno = 0;
		EXPECT_EQ(udplane_recv_burst(fd, &pkt, 1, 0), -1);
		EXPECT_EQ(errno, EBADF);
		errno = 0;
		EXPECT_EQ(udplane_reserve(fd, &b, 1), -1);
		EXPECT_EQ(errno, EBADF);
		errno = 0;
		EXPECT_EQ(udplane_submit(fd, &b, 1), -1);
		EXPECT_EQ(errno, EBADF);
		errno = 0;
		EXPECT_EQ(udplane_kernel_fd(fd), -1);
		EXPECT_EQ(errno, EBADF);
	}
}

TEST_F(KernelTest, BindErrorsAreLinuxs)
{
	int a = Open(), b = udplane_socket(AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	ASSERT_EQ(udplane_getsockname(a, reinterpret_cast<struct sockaddr *>(&ss), &len), 0);
	EXPECT_EQ(udplane_bind(b, reinterpret_cast<struct sockaddr *>(&ss), len), -1);
	EXPECT_EQ(errno, EADDRINUSE);
	EXPECT_EQ(udplane_bind(a, reinterpret_cast<struct sockaddr *>(&ss), len), -1);
	EXPECT_EQ(errno, EINVAL);
	Close(a);
	EXPECT_EQ(udplane_bind(b, reinterpret_cast<struct sockaddr *>(&ss), len), 0)
		<< "the port is free at once";
	udplane_close(b);
}

TEST_F(KernelTest, NonBlockingByFcntlAndIoctl)
{
	int fd = Open(SOCK_DGRAM), on = 1, off = 0;
	struct timeval tv = {0, 1000};

	EXPECT_EQ(udplane_fcntl(fd, F_GETFL), O_RDWR);
	EXPECT_EQ(udplane_fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	EXPECT_EQ(Recv(fd), "!EAGAIN");
	EXPECT_EQ(udplane_ioctl(fd, FIONBIO, &off), 0);
	EXPECT_EQ(udplane_fcntl(fd, F_GETFL), O_RDWR);
	udplane_setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	EXPECT_EQ(Recv(fd), "!EAGAIN"); // by timeout
	EXPECT_EQ(udplane_ioctl(fd, FIONBIO, &on), 0);
	EXPECT_EQ(Recv(fd), "!EAGAIN");
	EXPECT_EQ(udplane_fcntl(fd, F_GETFD), 0);
	EXPECT_EQ(udplane_fcntl(fd, F_SETFD, FD_CLOEXEC), 0);
	EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	EXPECT_EQ(udplane_fcntl(fd, F_DUPFD, 0), -1);
	EXPECT_EQ(errno, EINVAL);
}

TEST_F(KernelTest, TheDescriptorWorksInEpoll)
{
	int fd = Open(), ep = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event ev = {EPOLLIN | EPOLLET, {}}, got;

	ASSERT_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev), 0);
	EXPECT_EQ(epoll_wait(ep, &got, 1, 0), 0);
	SendKernel(fd, "1");
	EXPECT_EQ(epoll_wait(ep, &got, 1, 5000), 1);
	EXPECT_EQ(epoll_wait(ep, &got, 1, 0), 0) << "edge-triggered";
	EXPECT_EQ(Recv(fd), "1");
	SendKernel(fd, "2");
	EXPECT_EQ(epoll_wait(ep, &got, 1, 5000), 1);
	close(ep);
}

void Ignore(int)
{
}

/* recv(2) goes on after a handler that was installed with SA_RESTART, and says EINTR after another.
 */
TEST_F(KernelTest, SignalsInterruptAsTheyDoInRecv)
{
	int fd = Open(SOCK_DGRAM);
	struct sigaction sa = {};
	pthread_t reader;
	std::string got;

	for (int flags : {0, SA_RESTART}) {
		SCOPED_TRACE(flags);
		sa.sa_handler = Ignore;
		sa.sa_flags = flags;
		sigaction(SIGUSR1, &sa, nullptr);
		std::thread t([&] { got = Recv(fd); });
		reader = t.native_handle();
		ASSERT_TRUE(Until([&] { return Visitors(fd) > 0; }));
		bool interrupted = Until([&] { // until it sleeps there is nothing to interrupt
			if (Visitors(fd) == 0)
				return true;
			pthread_kill(reader, SIGUSR1);
			return flags == SA_RESTART;
		});
		EXPECT_TRUE(interrupted);
		if (flags == SA_RESTART)
			SendKernel(fd, "x");
		t.join();
		EXPECT_EQ(got, flags ? "x" : "!EINTR");
	}
	signal(SIGUSR1, SIG_DFL);
}

TEST_F(KernelTest, FromTheKernelSocketAnythingElse)
{
	int fd = Open(), kfd = udplane_kernel_fd(fd), type = 0;
	socklen_t len = sizeof(type);

	EXPECT_EQ(getsockopt(kfd, SOL_SOCKET, SO_PROTOCOL, &type, &len), 0);
	EXPECT_EQ(type, IPPROTO_UDP);
	EXPECT_STREQ(udplane_version(), UDPLANE_VERSION);
}

TEST_F(KernelTest, StatusOfOlderAndNewerPrograms)
{
	int fd = Open();
	struct udplane_status st = {};

	EXPECT_EQ(udplane_get_status(fd, &st), -1);
	EXPECT_EQ(errno, EINVAL);
	st.size = 8;
	st.reason[0] = 'x';
	EXPECT_EQ(udplane_get_status(fd, &st), 0);
	EXPECT_EQ(st.reason[0], 'x') << "not more than it has room for";
	EXPECT_EQ(st.size, 8u);
	st.size = sizeof(st);
	EXPECT_EQ(udplane_get_status(fd, &st), 0);
	EXPECT_STREQ(st.reason, "no_sidecar");
}
} // namespace
