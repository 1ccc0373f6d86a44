// SPDX-License-Identifier: Apache-2.0
// A program that changes its root, after which the control socket's path leads nowhere, and a
// udplaned that comes back.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/dir.h"
#include "tests/unit/client/peer.h"

namespace
{
class ChrootTest : public ClientTest
{
      protected:
	void SetUp() override
	{
		char dir[4096];

		ClientTest::SetUp();
		root_ = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
		home_ = getcwd(dir, sizeof(dir)) ? dir : "/";
		empty_ = dir_ + "/empty";
		ASSERT_EQ(mkdir(empty_.c_str(), 0755), 0);
		setenv("UDPLANE_CHROOT", "1", 1); /* where there is no CAP_SYS_ADMIN */
		context_reset();
	}
	void TearDown() override
	{
		Leave();
		rmdir(empty_.c_str());
		unsetenv("UDPLANE_CHROOT");
		ClientTest::TearDown();
		close(root_);
		EXPECT_EQ(chdir(home_.c_str()), 0);
	}
	bool Enter()
	{
		jailed_ = chroot(empty_.c_str()) == 0;
		return jailed_ && chdir("/") == 0;
	}
	void Leave()
	{
		if (!jailed_)
			return;
		EXPECT_TRUE(fchdir(root_) == 0 && chroot(".") == 0);
		jailed_ = false;
	}
	/* The peer is outside. */
	void Restart()
	{
		Leave();
		peer_.reset();
		peer_.reset(new Peer(path_));
		ASSERT_TRUE(Enter());
	}
	static ino_t Inode(const char *path)
	{
		struct stat st;

		return stat(path, &st) ? 0 : st.st_ino;
	}
	/* Descriptors from which one comes to a directory above. */
	static int WaysOut()
	{
		int n = 0;

		for (int fd = 3; fd < 20000; fd++) {
			struct stat here, above;
			int up;

			if (fstat(fd, &here) || !S_ISDIR(here.st_mode))
				continue;
			up = openat(fd, "..", O_PATH | O_CLOEXEC);
			n += up >= 0 && fstat(up, &above) == 0 &&
			     (here.st_ino != above.st_ino || here.st_dev != above.st_dev);
			close(up);
		}
		return n;
	}

	int root_ = -1;
	bool jailed_ = false;
	std::string empty_, home_;
};

TEST_F(ChrootTest, UdplanedIsFoundAgain)
{
	Start();
	int fd = Claimed();

	if (!Enter())
		GTEST_SKIP() << "needs CAP_SYS_CHROOT";
	ino_t here = Inode(".");
	for (int turn = 0; turn < 2; turn++) {
		Restart();
		ASSERT_TRUE(Until([&] {
			Recv(fd);
			return peer_->Attaches() == 1 && Status(fd).accelerated;
		})) << Status(fd).text;
		EXPECT_EQ(Inode("."), here) << "the program's own working directory has changed";
		peer_->Deliver(Id(fd), "fast");
		EXPECT_EQ(Recv(fd), "fast");
		EXPECT_EQ(peer_->ClientPid(), getpid());
		EXPECT_EQ(waitpid(-1, nullptr, WNOHANG | __WALL), -1) << "a child to be waited for";
		EXPECT_EQ(errno, ECHILD);
	}
}

TEST_F(ChrootTest, ItIsNotAskedForWhereThePathLeadsThere)
{
	Start();
	int fd = Claimed();
	struct dir kept = context.dir;

	ASSERT_GE(kept.fd, 1024);
	peer_->Die();
	EXPECT_TRUE(Until([&] { return !strcmp(Status(fd).reason, "no_sidecar"); }));
	EXPECT_EQ(dir_connect(kept.fd, -77), -77) << "as it was not tried";
}

TEST_F(ChrootTest, AnotherDirectoryTakesItsPlace)
{
	Start();
	int fd = Claimed();
	ino_t first = context.dir.ino;

	peer_->Die();
	EXPECT_TRUE(Until([&] { return !strcmp(Status(fd).reason, "no_sidecar"); }));
	peer_.reset();
	ASSERT_EQ(rename(dir_.c_str(), (dir_ + "-old").c_str()), 0);
	ASSERT_EQ(mkdir(dir_.c_str(), 0755), 0);
	peer_.reset(new Peer(path_));
	EXPECT_TRUE(Until([&] {
		Recv(fd);
		return Status(fd).accelerated;
	}));
	EXPECT_NE(context.dir.ino, first);
	EXPECT_EQ(context.dir.ino, Inode(dir_.c_str()));
	rmdir((dir_ + "-old/empty").c_str());
	rmdir((dir_ + "-old").c_str());
}

TEST_F(ChrootTest, AFileInPlaceOfTheDescriptorIsLeftAlone)
{
	Start();
	int fd = Claimed(), kept = context.dir.fd;
	int file = open("/dev/null", O_RDONLY | O_CLOEXEC);

	ASSERT_EQ(dup3(file, kept, O_CLOEXEC), kept);
	if (!Enter())
		GTEST_SKIP() << "needs CAP_SYS_CHROOT";
	Restart();
	EXPECT_TRUE(Until([&] { return !strcmp(Status(fd).reason, "no_sidecar"); }));
	dir_forget();
	EXPECT_EQ(fcntl(kept, F_GETFD), FD_CLOEXEC) << "it was closed";
	close(kept);
	close(file);
}

TEST_F(ChrootTest, WithoutBeingAskedForItIsNoWayOut)
{
	int before = WaysOut();

	unsetenv("UDPLANE_CHROOT");
	Start();
	Claimed();
	EXPECT_TRUE(context.dir.known);
	EXPECT_EQ(WaysOut(), before);
}
} // namespace
