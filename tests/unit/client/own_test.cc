// SPDX-License-Identifier: Apache-2.0
// A program that closes descriptors which it does not know, and opens files in their place.
#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <set>

#include "tests/unit/client/peer.h"

namespace
{
class OwnTest : public ClientTest
{
      protected:
	void SetUp() override
	{
		struct rlimit r = {};

		ClientTest::SetUp();
		getrlimit(RLIMIT_NOFILE, &r);
		limit_ = r;
		r.rlim_cur = 16384 < r.rlim_max ? 16384 : r.rlim_max;
		setrlimit(RLIMIT_NOFILE, &r);
	}
	void TearDown() override
	{
		for (int fd : files_)
			close(fd);
		ClientTest::TearDown();
		setrlimit(RLIMIT_NOFILE, &limit_);
	}
	static std::set<int> OpenFds()
	{
		std::set<int> fds;
		DIR *d = opendir("/proc/self/fd");

		while (struct dirent *e = readdir(d))
			if (e->d_name[0] != '.' && atoi(e->d_name) != dirfd(d))
				fds.insert(atoi(e->d_name));
		closedir(d);
		return fds;
	}
	/* What the library has opened since before, but for fd: closed, and a file of the program
	 * in its place. */
	void ReplaceAll(const std::set<int> &before, int keep)
	{
		for (int fd : OpenFds()) {
			if (before.count(fd) || fd == keep)
				continue;
			int file = open(dir_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
			ASSERT_GE(file, 0) << strerror(errno);
			ASSERT_EQ(dup3(file, fd, O_CLOEXEC), fd);
			close(file);
			ASSERT_EQ(write(fd, "content", 7), 7);
			ASSERT_EQ(lseek(fd, 0, SEEK_SET), 0);
			files_.push_back(fd);
		}
	}
	void ExpectFilesUntouched()
	{
		for (int fd : files_) {
			char buf[16];
			struct stat st;

			ASSERT_EQ(fstat(fd, &st), 0) << "file " << fd << " was closed";
			ASSERT_TRUE(S_ISREG(st.st_mode))
				<< "file " << fd << " is something else now";
			EXPECT_EQ(st.st_size, 7) << fd;
			EXPECT_EQ(lseek(fd, 0, SEEK_CUR), 0) << "file " << fd << " was read";
			EXPECT_EQ(pread(fd, buf, sizeof(buf), 0), 7);
			EXPECT_EQ(memcmp(buf, "content", 7), 0) << fd;
		}
	}

	std::vector<int> files_;
	struct rlimit limit_ = {};
};

TEST_F(OwnTest, OnlyWhatTheProgramKnowsTakesALowNumber)
{
	int low = open("/dev/null", O_RDONLY | O_CLOEXEC);
	close(low);
	int fd = udplane_socket(AF_INET, SOCK_DGRAM, 0);
	EXPECT_EQ(fd, low);
	int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
	EXPECT_EQ(next, low + 1);
	EXPECT_GE(udplane_kernel_fd(fd), 1024);
	close(next);
	udplane_close(fd);
}

TEST_F(OwnTest, ADaemonThatClosesAllUpTo1023KeepsItsSockets)
{
	Peer *p = Start();
	int fd = Claimed();
	struct sock *s = Sock(fd);

	for (int n : {s->kfd, s->rx.wake_fd, s->tx.lane->doorbell, s->att->control.fd})
		EXPECT_GE(n, 1024);
	p->Deliver(Id(fd), "still here");
	EXPECT_TRUE(Readable(fd));
	EXPECT_EQ(Recv(fd), "still here");
}

TEST_F(OwnTest, FilesInPlaceOfOurDescriptorsAreLeftAlone)
{
	Peer *p = Start();
	p->SetPrefix("10.0.0.0/8");
	p->Awake(true);
	std::set<int> before = OpenFds();
	int fd = Claimed(SOCK_DGRAM | SOCK_NONBLOCK);
	for (int n : OpenFds())
		if (n < 1024 && n != fd)
			before.insert(n); /* the peer's end of the connection */
	struct sockaddr_storage ss;
	socklen_t len = Address("10.1.2.3:1", &ss);

	EXPECT_EQ(udplane_sendto(fd, "x", 1, 0, reinterpret_cast<struct sockaddr *>(&ss), len), 1);
	for (int i = 0; i < 10; i++)
		p->Deliver(Id(fd), "in"); /* a token is in the pipe */
	ReplaceAll(before, fd);
	ASSERT_GE(files_.size(), 4u) << "kernel socket, control socket, doorbell, wake pipe";
	p->Awake(false);
	p->Disengage(0);
	for (int i = 0; i < 100; i++) {
		udplane_sendto(fd, "x", 1, 0, reinterpret_cast<struct sockaddr *>(&ss), len);
		Recv(fd);
		udplane_bind(fd, reinterpret_cast<struct sockaddr *>(&ss), len);
		udplane_connect(fd, reinterpret_cast<struct sockaddr *>(&ss), len);
		usleep(1000);
	}
	EXPECT_EQ(udplane_sendto(fd, "x", 1, 0, reinterpret_cast<struct sockaddr *>(&ss), len), -1);
	pid_t child = fork();
	int status = -1;
	if (child == 0) {
		struct stat st;
		for (int file : files_)
			if (fstat(file, &st) || !S_ISREG(st.st_mode))
				_exit(1);
		_exit(0);
	}
	ASSERT_EQ(waitpid(child, &status, 0), child);
	EXPECT_EQ(status, 0) << "the child's handler has closed a file";
	Close(fd);
	ExpectFilesUntouched();
}

TEST_F(OwnTest, ADoorbellThatIsGoneEndsTheAttachment)
{
	Peer *p = Start();
	p->SetPrefix("10.0.0.0/8");
	int fd = Claimed();
	struct sockaddr_storage ss;
	socklen_t len = Address("10.1.2.3:1", &ss);

	p->Awake(false, true); /* each send rings */
	ASSERT_EQ(close(Sock(fd)->tx.lane->doorbell), 0);
	EXPECT_EQ(udplane_sendto(fd, "x", 1, 0, reinterpret_cast<struct sockaddr *>(&ss), len), 1);
	EXPECT_TRUE(Until([&] {
		Recv(fd);
		return p->Attaches() == 2 && Status(fd).accelerated;
	}));
}

TEST_F(OwnTest, CloseInsteadOfUdplaneClose)
{
	Peer *p = Start();
	int fd = Open(SOCK_DGRAM);
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	ASSERT_EQ(udplane_getsockname(fd, reinterpret_cast<struct sockaddr *>(&ss), &len), 0);
	ASSERT_EQ(close(fd), 0);
	EXPECT_EQ(Recv(fd), "!EBADF");
	int again = udplane_socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	ASSERT_EQ(again, fd);
	EXPECT_EQ(udplane_bind(again, reinterpret_cast<struct sockaddr *>(&ss), len), 0)
		<< strerror(errno);
	EXPECT_TRUE(Status(again).accelerated);
	EXPECT_EQ(p->Socks().size(), 1u);
	p->Deliver(p->Socks()[0], "new");
	EXPECT_EQ(Recv(again), "new");
}
} // namespace
