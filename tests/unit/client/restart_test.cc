// SPDX-License-Identifier: Apache-2.0
// Which handlers end a receive (SA_RESTART): the kernel decides, and is the oracle.
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>

#include "tests/unit/client/signal_fixture.h"

namespace
{
char StateOf(pid_t tid)
{
	char text[512];
	std::string path = "/proc/self/task/" + std::to_string(tid) + "/stat";
	FILE *f = fopen(path.c_str(), "re");
	size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

	if (f)
		fclose(f);
	text[n] = 0;
	const char *end = strrchr(text, ')');
	return end ? end[2] : 0;
}

class RestartTest : public SignalTest
{
      protected:
	enum Kind { kNone, kRestart, kEnd };
	enum Who { kPlain, kKernelPath, kRing };

	void TearDown() override
	{
		signal(SIGUSR2, SIG_DFL);
		SignalTest::TearDown();
	}
	static void Handle(int signo, Kind kind)
	{
		struct sigaction sa = {};

		sa.sa_handler = kind == kNone ? SIG_DFL : OnSignal;
		sa.sa_flags = kind == kRestart ? SA_RESTART : 0;
		sigaction(signo, &sa, nullptr);
		context.handlers_ns = 0; /* a program does not change them all the time */
	}
	static void SetTimeout(Who who, int fd, bool timed)
	{
		struct timeval tv = {timed ? 5 : 0, 0};

		if (who == kPlain)
			setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
		else
			udplane_setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	}
	void Give(Who who, int fd)
	{
		if (who == kRing)
			peer_->Deliver(Id(fd), "x");
		else if (who == kKernelPath)
			SendKernel(fd, "x");
		else
			sendto(plain(), "x", 1, 0, reinterpret_cast<struct sockaddr *>(&loopback_),
			       loopback_len_);
	}
	/* What a receive that waits returns when SIGUSR1 comes, and then a datagram. */
	std::string Interrupted(Who who, int fd, bool to_process)
	{
		pthread_t receiver = pthread_self();
		pid_t tid = gettid();
		std::atomic<int> handled{0};
		std::atomic<bool> wrong_thread{false}, done{false};
		std::function<void()> note = [&] {
			wrong_thread = wrong_thread || gettid() != tid;
			handled++;
		};
		handler = &note;
		std::thread other([&] {
			Until([&] {
				return (who == kPlain || Visitors(fd) == 1) && StateOf(tid) == 'S';
			});
			if (to_process)
				kill(getpid(), SIGUSR1);
			else
				pthread_kill(receiver, SIGUSR1);
			Until([&] { return handled == 1; });
			Until([&] { return done || StateOf(tid) == 'S'; });
			Give(who, fd);
		});
		char c;
		ssize_t n = who == kPlain ? recv(fd, &c, 1, 0) : udplane_recv(fd, &c, 1, 0);
		std::string result = n == 1 ? "x" : std::string("!") + strerrorname_np(errno);
		done = true;
		other.join();
		if (n != 1) {
			n = who == kPlain ? recv(fd, &c, 1, 0) : udplane_recv(fd, &c, 1, 0);
			EXPECT_EQ(n, 1);
		}
		EXPECT_EQ(handled, 1);
		EXPECT_FALSE(wrong_thread) << "another thread than Linux chooses";
		return result;
	}
	static uint32_t WaitersMade()
	{
		uint32_t n = 0;

		for (const struct waiter &w : context.waiter)
			n += w.aio != 0;
		return n;
	}
	static sigset_t Mask()
	{
		sigset_t mask;

		pthread_sigmask(SIG_SETMASK, nullptr, &mask);
		return mask;
	}
};

/* Linux is the oracle. */
TEST_F(RestartTest, AHandlerEndsAReceiveAsInLinux)
{
	Start();
	int ring = Claimed(SOCK_DGRAM), kernel = Open(SOCK_DGRAM);
	static const char *const name[] = {"none", "SA_RESTART", "without"};

	/* Ports that are not asked for stay with the kernel, which the library waits for by itself.
	 */
	for (uint32_t port = 0; port < 65536; port++)
		peer_->AskPort(static_cast<uint16_t>(port), false);
	Close(kernel);
	kernel = Open(SOCK_DGRAM);
	ASSERT_FALSE(Status(kernel).accelerated);
	for (Kind usr1 : {kRestart, kEnd}) {
		for (Kind usr2 : {kNone, kRestart, kEnd}) {
			for (int i = 0; i < 4; i++) {
				bool timed = i & 1, to_process = i & 2;
				SCOPED_TRACE(std::string(name[usr1]) + ", the other signal " +
					     name[usr2] + (timed ? ", SO_RCVTIMEO" : "") +
					     (to_process ? ", to the process" : ", to the thread"));
				for (int fd : {ring, kernel})
					SetTimeout(kRing, fd, timed);
				SetTimeout(kPlain, plain(), timed);
				Handle(SIGUSR1, usr1);
				Handle(SIGUSR2, usr2);
				std::string linux_says = Interrupted(kPlain, plain(), to_process);
				EXPECT_EQ(linux_says, usr1 == kRestart && !timed ? "x" : "!EINTR");
				EXPECT_EQ(Interrupted(kRing, ring, to_process), linux_says);
				EXPECT_EQ(Interrupted(kKernelPath, kernel, to_process), linux_says);
			}
		}
	}
	EXPECT_EQ(WaitersMade(), 1u) << "one thread that waits";
}

TEST_F(RestartTest, WithOneKindOfHandlersNothingIsMade)
{
	Start();
	int fd = Claimed(SOCK_DGRAM);
	uint32_t before = WaitersMade();

	for (Kind kind : {kRestart, kEnd}) {
		Handle(SIGUSR1, kind);
		Handle(SIGUSR2, kind);
		Interrupted(kRing, fd, false);
	}
	EXPECT_EQ(WaitersMade(), before);
}

TEST_F(RestartTest, AHandlerReceivesWhileTheCallWaits)
{
	Start();
	int fd = Claimed(SOCK_DGRAM), other = Claimed(SOCK_DGRAM);
	pthread_t receiver = pthread_self();
	pid_t tid = gettid();
	std::atomic<int> handled{0};
	std::function<void()> receive = [&] {
		EXPECT_EQ(Recv(other), "first"); /* there already */
		handled++;
		EXPECT_EQ(Recv(other), "second"); /* waits */
		handled++;
	};

	Handle(SIGUSR1, kRestart);
	Handle(SIGUSR2, kEnd);
	handler = &receive;
	peer_->Deliver(Id(other), "first");
	std::thread helper([&] {
		Until([&] { return Visitors(fd) == 1 && StateOf(tid) == 'S'; });
		pthread_kill(receiver, SIGUSR1);
		Until([&] { return handled == 1 && Visitors(other) == 1 && StateOf(tid) == 'S'; });
		peer_->Deliver(Id(other), "second");
		Until([&] { return handled == 2 && StateOf(tid) == 'S'; });
		peer_->Deliver(Id(fd), "last");
	});
	EXPECT_EQ(Recv(fd), "last");
	helper.join();
}

bool jump_plain;

void WaitOnJumpFd(int fd)
{
	char c;

	AlarmInTwentyMs();
	if (jump_plain)
		recv(fd, &c, 1, 0);
	else
		udplane_recv(fd, &c, 1, 0);
}

/* The mask is not saved, so it stays as the handler had it. */
__attribute__((noinline)) bool LeftByJumpWithMask(int fd)
{
	if (sigsetjmp(jump, 0))
		return true;
	WaitOnJumpFd(fd);
	return false;
}

TEST_F(RestartTest, AJumpLeavesTheMaskAsInLinux)
{
	Start();
	int fd = Claimed(SOCK_DGRAM);
	std::function<void()> leave = [] { siglongjmp(jump, 1); };
	struct sigaction sa = {};
	sigset_t none, mask[2];

	Handle(SIGUSR1, kRestart);
	Handle(SIGUSR2, kEnd);
	handler = &leave;
	sa.sa_handler = OnSignal;
	sa.sa_flags = SA_RESTART;
	sigaddset(&sa.sa_mask, SIGUSR2);
	sigaction(SIGALRM, &sa, nullptr);
	sigemptyset(&none);
	for (int round = 0; round < 10; round++) {
		for (bool plain_api : {true, false}) {
			jump_plain = plain_api;
			EXPECT_TRUE(LeftByJumpWithMask(plain_api ? plain() : fd));
			mask[plain_api] = Mask();
			pthread_sigmask(SIG_SETMASK, &none, nullptr);
		}
		for (int i = 1; i < NSIG; i++)
			EXPECT_EQ(sigismember(&mask[false], i), sigismember(&mask[true], i)) << i;
		peer_->Deliver(Id(fd), "after");
		EXPECT_EQ(Recv(fd), "after");
		EXPECT_EQ(Interrupted(kRing, fd, false), "x");
		handler = &leave;
	}
	EXPECT_LE(WaitersMade(), 2u) << "what a jump has left is used again";
	ExpectCleanClose(fd);
	signal(SIGALRM, SIG_DFL);
}

TEST_F(RestartTest, WhatCancelledThreadsLeaveIsUsedAgain)
{
	Handle(SIGUSR1, kRestart);
	Handle(SIGUSR2, kEnd);
	uint32_t before = WaitersMade();
	for (int round = 0; round < 20; round++) {
		context_reset();
		int fd = Open(SOCK_DGRAM);
		Call c(fd, ReceiveOnce);
		ASSERT_TRUE(Until([&] { return Visitors(fd) == 1; }));
		c.CancelAndJoin();
		SendKernel(fd, "after");
		EXPECT_EQ(Recv(fd), "after");
		ExpectCleanClose(fd);
	}
	EXPECT_LE(WaitersMade(), before + 2);
}

/* The poll that was cancelled completes later, when the next wait may have begun. */
TEST_F(RestartTest, WhatASignalHasEndedDoesNotEndTheNextWait)
{
	int p[2];
	ASSERT_EQ(pipe2(p, O_CLOEXEC), 0);
	struct pollfd poll_fd = {p[0], POLLIN, 0};
	std::function<void()> nothing = [] {};

	handler = &nothing;
	Handle(SIGALRM, kEnd);
	for (int i = 0; i < 10; i++) {
		AlarmInTwentyMs();
		EXPECT_EQ(restart_poll(&poll_fd, 5000000000ull), -EINTR);
		double start = Now();
		EXPECT_EQ(restart_poll(&poll_fd, 10000000), 0);
		EXPECT_GE(Now() - start, 0.0099);
	}
	ASSERT_EQ(write(p[1], "x", 1), 1);
	EXPECT_EQ(restart_poll(&poll_fd, 5000000000ull), 1);
	close(p[0]);
	close(p[1]);
	signal(SIGALRM, SIG_DFL);
}

TEST_F(RestartTest, CloseAndShutdownEndAWait)
{
	Handle(SIGUSR1, kRestart);
	Handle(SIGUSR2, kEnd);
	for (bool sidecar : {false, true}) {
		if (sidecar)
			Start();
		int fd = Open(SOCK_DGRAM), other = Open(SOCK_DGRAM);
		Receiver closed(fd), shut(other);
		ASSERT_TRUE(Until([&] { return Visitors(fd) == 1 && Visitors(other) == 1; }));
		ExpectCleanClose(fd);
		EXPECT_EQ(closed.Join(), "!EBADF");
		udplane_shutdown(other, SHUT_RDWR);
		EXPECT_EQ(shut.Join(), "");
	}
}

TEST_F(RestartTest, AChildHasItsOwn)
{
	Handle(SIGUSR1, kRestart);
	Handle(SIGUSR2, kEnd);
	int fd = Open(SOCK_DGRAM);
	EXPECT_EQ(Interrupted(kKernelPath, fd, false), "x");
	pid_t child = fork();
	if (child == 0) {
		int own = Open(SOCK_DGRAM);
		_exit(Interrupted(kKernelPath, own, false) == "x" ? 0 : 1);
	}
	EXPECT_EQ(Interrupted(kKernelPath, fd, false), "x") << "the parent's is as it was";
	int status = -1;
	waitpid(child, &status, 0);
	EXPECT_EQ(status, 0);
}

TEST_F(RestartTest, FilesInPlaceOfItsDescriptorsAreLeftAlone)
{
	Handle(SIGUSR1, kRestart);
	Handle(SIGUSR2, kEnd);
	int fd = Open(SOCK_DGRAM), files[2], n = 0;
	EXPECT_EQ(Interrupted(kKernelPath, fd, false), "x");
	for (struct waiter &w : context.waiter) {
		if (!w.aio || n == 2)
			continue;
		for (int own : {w.event_fd, w.timer_fd}) {
			int file = open("/dev/zero", O_RDWR | O_CLOEXEC);
			files[n++] = dup3(file, own, O_CLOEXEC);
			close(file);
		}
	}
	ASSERT_EQ(n, 2);
	EXPECT_EQ(Interrupted(kKernelPath, fd, false), "x");
	for (int file : files)
		EXPECT_EQ(close(file), 0) << "it was closed";
}
} // namespace
