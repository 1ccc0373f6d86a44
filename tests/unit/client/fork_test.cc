// SPDX-License-Identifier: Apache-2.0
// After fork() a socket is as Linux has it: one queue for all processes that have it open, and the
// fast path only for a process that has it alone.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/client/peer.h"

namespace
{
class ForkTest : public ClientTest
{
      protected:
	/* Runs child in a forked process; its return value. */
	int Fork(const std::function<int()> &child)
	{
		pid_t pid = fork();
		int status = -1;

		if (pid == 0)
			_exit(child());
		EXPECT_EQ(waitpid(pid, &status, 0), pid);
		return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status;
	}
};

// One queue, as in Linux: a datagram that is unread at the fork is everybody's, until one takes it.
TEST_F(ForkTest, WhatIsUnreadIsReadOnceByAny)
{
	Peer *p = Start();
	int fd = Claimed();

	for (const char *text : {"1", "2", "3"})
		p->Deliver(Id(fd), text);
	EXPECT_EQ(Fork([&] {
			  if (!Readable(fd) || Recv(fd, MSG_PEEK) != "1" || Recv(fd) != "1")
				  return 1;
			  return Readable(fd) ? 0 : 2;
		  }),
		  0);
	EXPECT_TRUE(Readable(fd));
	EXPECT_EQ(Recv(fd), "2");
	EXPECT_EQ(Fork([&] {
			  return Recv(fd) == "3" && Recv(fd) == "!EAGAIN" && !Readable(fd) ? 0 : 1;
		  }),
		  0);
	EXPECT_FALSE(Readable(fd)) << "a child took the last one";
	EXPECT_EQ(Recv(fd), "!EAGAIN");
	EXPECT_EQ(p->FramesOut(), 0u);
}

TEST_F(ForkTest, WhatIsUnreadKeepsItsPlaceInFrontOfTheKernels)
{
	Peer *p = Start();
	int fd = Claimed();

	SendKernel(fd, "1");
	p->Deliver(Id(fd), "2", "10.0.0.1:1", UDPLANE_RX_SWITCHED);
	p->Deliver(Id(fd), "3");
	EXPECT_EQ(Fork([&] { return 0; }), 0);
	SendKernel(fd, "4");
	for (const char *text : {"1", "2", "3", "4"})
		EXPECT_EQ(Recv(fd), text);
}

TEST_F(ForkTest, TheLengthOfWhatIsUnreadShows)
{
	Peer *p = Start();
	int fd = Claimed(), len = 0;

	p->Deliver(Id(fd), "four");
	EXPECT_EQ(Fork([&] { return udplane_ioctl(fd, FIONREAD, &len) == 0 && len == 4 ? 0 : 1; }),
		  0);
	struct udplane_pkt pkt;
	ASSERT_EQ(udplane_recv_burst(fd, &pkt, 1, 0), 1);
	EXPECT_EQ(std::string(static_cast<const char *>(pkt.data), pkt.len), "four");
	udplane_release(fd, &pkt, 1);
}

// While two processes have it, it behaves as on Linux; a process that has it alone claims it.
TEST_F(ForkTest, WhoIsLeftAloneClaims)
{
	Peer *p = Start();
	int fd = Claimed(), go[2];
	char byte = 0;

	ASSERT_EQ(pipe(go), 0);
	pid_t pid = fork();
	if (pid == 0) {
		bool ok = read(go[0], &byte, 1) == 1 && Recv(fd) == "child's";
		_exit(ok && !Status(fd).accelerated ? 0 : 1);
	}
	EXPECT_FALSE(Status(fd).accelerated);
	EXPECT_STREQ(Status(fd).reason, "shared_by_processes");
	EXPECT_EQ(p->Requests().back().reason, static_cast<uint32_t>(UDPLANE_REASON_PROCESSES));
	SendKernel(fd, "parent's");
	EXPECT_TRUE(Readable(fd));
	EXPECT_EQ(Recv(fd), "parent's");
	EXPECT_EQ(p->Socks().size(), 1u) << "the row that says why";
	SendKernel(fd, "child's");
	ASSERT_EQ(write(go[1], "g", 1), 1);
	int status = -1;
	EXPECT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
	EXPECT_TRUE(Until([&] { return Recv(fd) == "!EAGAIN" && Status(fd).accelerated; }));
	EXPECT_EQ(p->Socks().size(), 1u);
	p->Deliver(Id(fd), "x");
	EXPECT_TRUE(Readable(fd));
	EXPECT_EQ(Recv(fd), "x");
	close(go[0]);
	close(go[1]);
}

TEST_F(ForkTest, TheChildClaimsWhenTheParentHasClosed)
{
	Peer *p = Start();
	int fd = Claimed(), go[2], done[2];
	char byte = 0;

	ASSERT_EQ(pipe(go), 0);
	ASSERT_EQ(pipe(done), 0);
	p->Deliver(Id(fd), "left");
	pid_t pid = fork();
	if (pid == 0) {
		if (read(go[0], &byte, 1) != 1)
			_exit(1);
		if (Recv(fd) != "left" ||
		    !Until([&] { return Recv(fd) == "!EAGAIN" && Status(fd).accelerated; }))
			_exit(2);
		if (write(done[1], "d", 1) != 1 || read(go[0], &byte, 1) != 1)
			_exit(3);
		_exit(Readable(fd) && Recv(fd) == "fast" && !Readable(fd) ? 0 : 4);
	}
	close(done[1]);
	Close(fd);
	ASSERT_EQ(write(go[1], "g", 1), 1);
	ASSERT_EQ(read(done[0], &byte, 1), 1);
	EXPECT_EQ(p->Attaches(), 2u);
	ASSERT_EQ(p->Socks().size(), 1u);
	p->Deliver(p->Socks()[0], "fast");
	ASSERT_EQ(write(go[1], "g", 1), 1);
	int status = -1;
	EXPECT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0) << WEXITSTATUS(status);
	for (int f : {go[0], go[1], done[0]})
		close(f);
}

TEST_F(ForkTest, AGrandchildCountsAndExecveEndsIt)
{
	Start();
	int fd = Claimed(), hold[2];

	ASSERT_EQ(pipe2(hold, O_CLOEXEC), 0);
	EXPECT_EQ(Fork([&] {
			  pid_t pid = fork();
			  if (pid == 0) {
				  char byte;
				  if (read(hold[0], &byte, 1) != 1)
					  _exit(1);
				  execl("/bin/sleep", "sleep", "60", nullptr);
				  _exit(1);
			  }
			  return write(hold[1], &pid, 0) == 0 ? 0 : 1;
		  }),
		  0);
	// The child has ended; the grandchild holds the socket until it executes another program.
	for (int i = 0; i < 30; i++) {
		ASSERT_EQ(Recv(fd), "!EAGAIN");
		ASSERT_FALSE(Status(fd).accelerated);
		usleep(1000);
	}
	ASSERT_EQ(write(hold[1], "g", 1), 1);
	EXPECT_TRUE(Until([&] { return Recv(fd) == "!EAGAIN" && Status(fd).accelerated; }));
	close(hold[0]);
	close(hold[1]);
}

TEST_F(ForkTest, WhatAnotherProcessHasSetIsFound)
{
	Start();
	int fd = Claimed(), other = Claimed();

	EXPECT_EQ(Fork([&] {
			  int tos = 0x10, on = 1;
			  struct timeval tv = {.tv_sec = 0, .tv_usec = 1000};

			  if (udplane_setsockopt(fd, IPPROTO_IP, IP_CHECKSUM, &on, sizeof(on)))
				  return 1;
			  if (udplane_setsockopt(other, IPPROTO_IP, IP_TOS, &tos, sizeof(tos)))
				  return 4;
			  if (udplane_setsockopt(other, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)))
				  return 2;
			  return udplane_fcntl(other, F_SETFL, 0) ? 3 : 0;
		  }),
		  0);
	EXPECT_EQ(Recv(other), "!EAGAIN")
		<< "after the child's timeout: the flags are the socket's";
	EXPECT_TRUE(Until([&] { return Recv(other) == "!EAGAIN" && Status(other).accelerated; }));
	EXPECT_EQ(Sock(other)->tx.wish.options[0].tos, 0x10);
	EXPECT_TRUE(Until([&] {
		return Recv(fd) == "!EAGAIN" && !strcmp(Status(fd).reason, "socket_option");
	}));
	EXPECT_FALSE(Status(fd).accelerated);
}

// A thread that sleeps in the kernel's own call is not woken by a ring, so there must not be one.
TEST_F(ForkTest, NoClaimWhileAThreadWaitsInTheKernel)
{
	Start();
	int fd = Claimed(SOCK_DGRAM), hold[2];

	ASSERT_EQ(pipe2(hold, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		char byte;
		_exit(read(hold[0], &byte, 1) == 1 ? 0 : 1);
	}
	Receiver r(fd);
	ASSERT_TRUE(Until([&] { return Visitors(fd) == 1; }));
	ASSERT_EQ(write(hold[1], "g", 1), 1);
	ASSERT_EQ(waitpid(pid, nullptr, 0), pid);
	for (int i = 0; i < 30; i++) {
		ASSERT_EQ(Recv(fd, MSG_DONTWAIT), "!EAGAIN");
		ASSERT_FALSE(Status(fd).accelerated);
		usleep(1000);
	}
	SendKernel(fd, "x");
	EXPECT_EQ(r.Join(), "x");
	EXPECT_TRUE(Until(
		[&] { return Recv(fd, MSG_DONTWAIT) == "!EAGAIN" && Status(fd).accelerated; }));
	close(hold[0]);
	close(hold[1]);
}

TEST_F(ForkTest, TheChildsCloseIsNotTheParents)
{
	Peer *p = Start();
	int fd = Claimed();

	EXPECT_EQ(Fork([&] { return udplane_close(fd); }), 0);
	EXPECT_TRUE(Until([&] { return Recv(fd) == "!EAGAIN" && Status(fd).accelerated; }));
	EXPECT_EQ(p->Attaches(), 1u);
	SendKernel(fd, "x");
	EXPECT_EQ(Recv(fd), "x");
}

TEST_F(ForkTest, PacketsHeldAcrossAForkAreTheParentsToReturn)
{
	Peer *p = Start();
	int fd = Claimed();
	struct udplane_pkt pkt;

	p->Deliver(Id(fd), "held");
	ASSERT_EQ(udplane_recv_burst(fd, &pkt, 1, 0), 1);
	EXPECT_EQ(Fork([&] {
			  bool same = !memcmp(pkt.data, "held", 4);
			  udplane_release(fd, &pkt, 1); // to nobody
			  return same ? 0 : 1;
		  }),
		  0);
	EXPECT_EQ(p->FramesOut(), 1u);
	udplane_release(fd, &pkt, 1);
	EXPECT_EQ(p->FramesOut(), 0u);
}

TEST_F(ForkTest, WithoutASidecar)
{
	int fd = Open();

	SendKernel(fd, "x");
	EXPECT_EQ(Fork([&] { return Readable(fd) && Recv(fd) == "x" && !Readable(fd) ? 0 : 1; }),
		  0);
	EXPECT_FALSE(Readable(fd)) << "one queue, as in Linux";
}
} // namespace
