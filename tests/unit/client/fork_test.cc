// SPDX-License-Identifier: Apache-2.0
// After fork() both go on: the parent as if nothing had happened, the child with an attachment of its own.
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

TEST_F(ForkTest, TheParentsRingsAreLeftAlone)
{
	Peer *p = Start();
	int fd = Claimed();

	p->Deliver(Id(fd), "parent's");
	EXPECT_EQ(Fork([&] {
			  // Not readable: the datagram is in the parent's ring, and no token of the parent's pipe shows here.
			  if (Readable(fd))
				  return 1;
			  if (Recv(fd) != "!EAGAIN")
				  return 2;
			  return 0;
		  }),
		  0);
	EXPECT_TRUE(Readable(fd));
	EXPECT_EQ(Recv(fd), "parent's");
	EXPECT_FALSE(Readable(fd));
	p->Deliver(Id(fd), "more");
	EXPECT_EQ(Recv(fd), "more");
	EXPECT_TRUE(Status(fd).accelerated);
}

TEST_F(ForkTest, TheChildAttachesAndClaimsAtItsFirstReceive)
{
	Peer *p = Start();
	int fd = Claimed();
	uint32_t parents = Id(fd);
	int to_child[2], to_parent[2];
	char byte = 0;

	ASSERT_EQ(pipe(to_child), 0);
	ASSERT_EQ(pipe(to_parent), 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct sockaddr_storage ss;
		socklen_t len = Address("127.0.0.1:" + std::to_string(plain_port()), &ss);
		if (udplane_sendto(fd, "hello", 5, 0, reinterpret_cast<struct sockaddr *>(&ss), len) != 5 || Status(fd).accelerated)
			_exit(1);
		if (Recv(fd) != "!EAGAIN" || !Status(fd).accelerated)
			_exit(2);
		if (write(to_parent[1], "r", 1) != 1 || read(to_child[0], &byte, 1) != 1)
			_exit(3);
		if (!Readable(fd) || Recv(fd) != "child's" || Readable(fd))
			_exit(4);
		udplane_close(fd);
		_exit(0);
	}
	EXPECT_EQ(PlainRecv(), "hello");
	ASSERT_EQ(read(to_parent[0], &byte, 1), 1);
	EXPECT_EQ(p->Attaches(), 2u);
	std::vector<uint32_t> socks = p->Socks();
	ASSERT_EQ(socks.size(), 2u);
	uint32_t childs = socks[0] == parents ? socks[1] : socks[0];
	p->Deliver(childs, "child's");
	EXPECT_FALSE(Readable(fd)) << "nothing of the child's shows here";
	ASSERT_EQ(write(to_child[1], "g", 1), 1);
	int status = -1;
	EXPECT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0) << WEXITSTATUS(status);
	EXPECT_TRUE(Until([&] { return p->Socks().size() == 1; }));
	p->Deliver(parents, "x");
	EXPECT_EQ(Recv(fd), "x");
	for (int f : {to_child[0], to_child[1], to_parent[0], to_parent[1]})
		close(f);
}

TEST_F(ForkTest, TheChildsCloseIsNotTheParents)
{
	Peer *p = Start();
	int fd = Claimed();

	EXPECT_EQ(Fork([&] { return udplane_close(fd); }), 0);
	EXPECT_TRUE(Status(fd).accelerated);
	EXPECT_EQ(p->Count(UDPLANE_MSG_RELEASE), 0u);
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
	EXPECT_EQ(Fork([&] { return Readable(fd) && Recv(fd) == "x" && !Readable(fd) ? 0 : 1; }), 0);
	EXPECT_FALSE(Readable(fd)) << "one queue, as in Linux";
}
} // namespace
