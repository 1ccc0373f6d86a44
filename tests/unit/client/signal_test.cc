// SPDX-License-Identifier: Apache-2.0
// Calls in signal handlers, jumps out of calls by siglongjmp(), threads that are cancelled inside.
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>

#include "tests/unit/client/peer.h"

namespace
{
std::function<void()> *handler; /* what the signal does */

void OnSignal(int)
{
	(*handler)();
}

double Now()
{
	return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
		.count();
}

class SignalTest : public ClientTest
{
      protected:
	void SetUp() override
	{
		struct sigaction sa = {};

		ClientTest::SetUp();
		sa.sa_handler = OnSignal;
		sa.sa_flags = SA_RESTART;
		sigaction(SIGUSR1, &sa, nullptr);
		loopback_len_ = Address("127.0.0.1:" + std::to_string(plain_port()), &loopback_);
		fast_len_ = Address("10.1.2.3:1", &fast_);
	}
	void TearDown() override
	{
		signal(SIGUSR1, SIG_DFL);
		ClientTest::TearDown();
	}
	/* Runs fn in a handler of this thread, now. */
	void InHandler(std::function<void()> fn)
	{
		handler = &fn;
		raise(SIGUSR1);
	}
	ssize_t SendPlain(int fd, const char *text)
	{
		return udplane_sendto(fd, text, strlen(text), 0,
				      reinterpret_cast<struct sockaddr *>(&loopback_),
				      loopback_len_);
	}
	ssize_t SendFast(int fd, const char *text)
	{
		return udplane_sendto(fd, text, strlen(text), 0,
				      reinterpret_cast<struct sockaddr *>(&fast_), fast_len_);
	}
	uint16_t Port(int fd)
	{
		struct sockaddr_in in;
		socklen_t len = sizeof(in);

		udplane_getsockname(fd, reinterpret_cast<struct sockaddr *>(&in), &len);
		return ntohs(in.sin_port);
	}
	/* Closes fd, and expects that it is quick and that the port is free then. */
	void ExpectCleanClose(int fd)
	{
		uint16_t port = Port(fd);
		double start = Now();

		Close(fd);
		EXPECT_LT(Now() - start, 0.09) << "close waits for nobody";
		int again = Open(SOCK_DGRAM | SOCK_NONBLOCK, AF_INET,
				 port); /* expects that bind works */
		Close(again);
	}

	struct sockaddr_storage loopback_, fast_;
	socklen_t loopback_len_, fast_len_;
};

/* A call that a handler has left: the lock stays. */
__attribute__((noinline)) void LeaveLocked(struct lock *l)
{
	ASSERT_NE(lock_take(l), LOCK_BUSY);
	__asm__ volatile("" ::: "memory");
}

/* --- in a handler --- */

TEST_F(SignalTest, SendsWhileTheInterruptedCallHoldsTheSendSide)
{
	Peer *p = Start();
	p->SetPrefix("10.0.0.0/8");
	p->Awake(true);
	int fd = Claimed();
	struct sock *s = Sock(fd);

	ASSERT_EQ(lock_take(&s->tx_lock), LOCK_TAKEN);
	InHandler([&] { EXPECT_EQ(SendPlain(fd, "beat"), 4); });
	EXPECT_EQ(s->tx_lock.owner, thread_id());
	lock_drop(&s->tx_lock);
	EXPECT_EQ(PlainRecv(), "beat");
	EXPECT_EQ(SendFast(fd, "data"), 4);
	EXPECT_EQ(p->Take().size(), 1u);
	EXPECT_EQ(Status(fd).kernel_tx, 1u);
}

TEST_F(SignalTest, SendsOnAnotherSocketWhileTheInterruptedCallHoldsTheLane)
{
	Peer *p = Start();
	p->SetPrefix("127.0.0.0/8"); /* never by the ring, but a look at the lane comes first */
	p->Awake(true);
	int fd = Claimed(), other = Claimed();
	struct lane *l = Sock(fd)->lane;

	ASSERT_EQ(lock_take(&l->tx_lock), LOCK_TAKEN);
	InHandler([&] { EXPECT_EQ(SendPlain(other, "beat"), 4); });
	EXPECT_EQ(l->tx_lock.owner, thread_id());
	lock_drop(&l->tx_lock);
	EXPECT_EQ(PlainRecv(), "beat");
}

TEST_F(SignalTest, ReceivesWhileTheInterruptedCallHoldsTheReceiveSide)
{
	Peer *p = Start();
	int fd = Claimed(SOCK_DGRAM);
	struct sock *s = Sock(fd);

	p->Deliver(Id(fd), "ring");
	ASSERT_EQ(lock_take(&s->rx_lock), LOCK_TAKEN);
	InHandler([&] {
		EXPECT_EQ(Recv(fd, MSG_DONTWAIT), "!EAGAIN");
		EXPECT_EQ(Recv(fd), "!EINTR")
			<< "who was interrupted cannot go on, so waiting would have no end";
		SendKernel(fd, "kernel");
		EXPECT_EQ(Recv(fd), "kernel");
	});
	EXPECT_EQ(s->rx_lock.owner, thread_id());
	lock_drop(&s->rx_lock);
	EXPECT_EQ(Recv(fd), "ring");
}

TEST_F(SignalTest, FramesAreReturnedLaterIfTheInterruptedCallReturnsSome)
{
	Peer *p = Start();
	int fd = Claimed();
	struct lane *l = Sock(fd)->lane;
	uint32_t got = 0;

	for (int i = 0; i < 60; i++)
		ASSERT_TRUE(p->Deliver(Id(fd), std::to_string(i)));
	ASSERT_EQ(lock_take(&l->ret_lock), LOCK_TAKEN);
	InHandler([&] {
		while (Recv(fd) == std::to_string(got))
			got++;
	});
	lock_drop(&l->ret_lock);
	EXPECT_EQ(got, RX_BACK);
	while (Recv(fd) == std::to_string(got))
		got++;
	EXPECT_EQ(got, 60u);
	EXPECT_EQ(p->FramesOut(), 0u);
}

TEST_F(SignalTest, OtherCallsInAHandler)
{
	Start();
	int fd = Claimed();
	struct sock *s = Sock(fd);
	int one = 1, value = 0;
	socklen_t len = sizeof(value);

	ASSERT_EQ(lock_take(&s->rx_lock), LOCK_TAKEN);
	ASSERT_EQ(lock_take(&s->tx_lock), LOCK_TAKEN);
	InHandler([&] {
		EXPECT_EQ(udplane_setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one)), 0);
		EXPECT_EQ(udplane_getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &len), 0);
		EXPECT_EQ(udplane_connect(fd, reinterpret_cast<struct sockaddr *>(&loopback_),
					  loopback_len_),
			  0);
		EXPECT_EQ(Port(fd) != 0, true);
	});
	lock_drop(&s->tx_lock);
	lock_drop(&s->rx_lock);
	EXPECT_EQ(udplane_send(fd, "x", 1, 0), 1);
	EXPECT_EQ(PlainRecv(), "x");
	struct udplane_status st = Status(fd);
	EXPECT_STREQ(st.reason, "socket_option") << st.text;
	EXPECT_TRUE(s->connected);
}

TEST_F(SignalTest, CloseInAHandlerIsDoneAtTheNextCall)
{
	Peer *p = Start();
	int fd = Claimed(), other = Claimed();
	struct sock *s = Sock(fd);
	uint16_t port = Port(fd);

	ASSERT_EQ(lock_take(&s->tx_lock), LOCK_TAKEN);
	InHandler([&] { EXPECT_EQ(udplane_close(fd), 0); });
	lock_drop(&s->tx_lock);
	EXPECT_EQ(Recv(other), "!EAGAIN");
	EXPECT_EQ(udplane_send(fd, "x", 1, 0), -1);
	EXPECT_EQ(errno, EBADF);
	EXPECT_EQ(p->Socks().size(), 1u);
	Close(Open(SOCK_DGRAM, AF_INET, port));
}

/* The real thing: a timer's handler sends and receives on the sockets of a program that does
 * nothing else. */
TEST_F(SignalTest, AHeartbeatInABusyProgram)
{
	Peer *p = Start();
	p->SetPrefix("10.0.0.0/8");
	p->Awake(true);
	int fd = Claimed(), other = Claimed();
	std::atomic<bool> stop{false};
	std::atomic<uint64_t> taken{0}, beats{0}, got{0};
	uint64_t sent = 0;
	sigset_t usr1;

	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &usr1, nullptr);
	pthread_t main_thread = pthread_self();
	std::thread worker([&] {
		while (!stop) {
			taken += p->Take(16).size();
			p->Deliver(Id(fd), "in");
			pthread_kill(main_thread, SIGUSR1);
			sched_yield();
		}
		taken += p->Take().size();
	});
	std::function<void()> beat = [&] {
		beats += SendFast(fd, "beat") == 4;
		beats += SendFast(other, "beat") == 4;
		got += Recv(fd) == "in";
	};
	handler = &beat;
	pthread_sigmask(SIG_UNBLOCK, &usr1, nullptr);
	for (double end = Now() + 1; Now() < end || (beats < 20 && Now() < end + 10);) {
		sent += SendFast(fd, "data") == 4;
		got += Recv(fd) == "in";
	}
	pthread_sigmask(SIG_BLOCK, &usr1, nullptr);
	stop = true;
	worker.join();
	EXPECT_GE(beats, 20u);
	EXPECT_GT(got, 0u);
	struct udplane_status a = Status(fd), b = Status(other);
	EXPECT_EQ(a.fast_tx + a.kernel_tx + b.fast_tx + b.kernel_tx, sent + beats)
		<< "each send went out once";
	EXPECT_EQ(a.fast_tx + b.fast_tx, taken);
	while (Recv(fd) == "in")
		;
	EXPECT_EQ(p->FramesOut(), 0u);
	struct timespec none = {0, 0};
	sigtimedwait(&usr1, nullptr, &none); /* a last one may be pending */
	pthread_sigmask(SIG_UNBLOCK, &usr1, nullptr);
}

/* --- out of a call --- */

TEST_F(SignalTest, LocksThatAJumpHasLeftAreTakenOver)
{
	Peer *p = Start();
	p->SetPrefix("10.0.0.0/8");
	p->Awake(true);
	int fd = Claimed();
	struct sock *s = Sock(fd);

	LeaveLocked(&s->tx_lock);
	LeaveLocked(&s->lane->tx_lock);
	EXPECT_EQ(SendFast(fd, "data"), 4);
	EXPECT_EQ(p->Take().size(), 1u) << "by the ring";
	LeaveLocked(&s->rx_lock);
	LeaveLocked(&s->lane->ret_lock);
	for (int i = 0; i < 40; i++) {
		p->Deliver(Id(fd), "in");
		EXPECT_EQ(Recv(fd), "in");
	}
	EXPECT_EQ(p->FramesOut(), 0u);
	LeaveLocked(&s->rx_lock);
	LeaveLocked(&s->tx_lock);
	ExpectCleanClose(fd);
}

sigjmp_buf jump;

/* Does the handler jump out of fn? In a function of its own, since variables may be lost by it. */
__attribute__((noinline)) bool LeftByJump(void (*fn)(int), int fd)
{
	if (sigsetjmp(jump, 1))
		return true;
	fn(fd);
	return false;
}

void AlarmInTwentyMs()
{
	struct itimerval it = {};

	it.it_value.tv_usec = 20000;
	setitimer(ITIMER_REAL, &it, nullptr);
}

void ReceiveForTwentyMs(int fd)
{
	AlarmInTwentyMs();
	Recv(fd);
}

TEST_F(SignalTest, AJumpOutOfAWaitLeavesNothingBehind)
{
	for (uint64_t spin_ns : {0ull, 1000000000ull}) {
		for (bool sidecar : {false, true}) {
			if (sidecar)
				Start();
			else
				peer_.reset();
			context_reset();
			context.spin_ns = spin_ns;
			if (sidecar)
				peer_->Awake(true);
			int fd = Open(SOCK_DGRAM);
			std::function<void()> leave = [] { siglongjmp(jump, 1); };

			handler = &leave;
			signal(SIGALRM, OnSignal);
			EXPECT_TRUE(LeftByJump(ReceiveForTwentyMs, fd));
			SendKernel(fd, "after");
			EXPECT_EQ(Recv(fd), "after");
			if (sidecar) {
				peer_->Deliver(Id(fd), "fast");
				EXPECT_EQ(Recv(fd), "fast");
			}
			ExpectCleanClose(fd);
		}
	}
	signal(SIGALRM, SIG_DFL);
}

/* No obvious nonsense, but not mapped. */
char *Unmapped()
{
	static volatile uintptr_t nowhere = 0x10000;

	return reinterpret_cast<char *>(nowhere);
}

void SendUnmapped(int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = Address("10.1.2.3:1", &ss);

	udplane_sendto(fd, Unmapped(), 5, 0, reinterpret_cast<struct sockaddr *>(&ss), len);
}

void ReceiveTwoSecondUnmapped(int fd)
{
	char good[8];
	struct iovec iov[2] = {{good, 8}, {Unmapped(), 8}};
	struct mmsghdr vec[2] = {};

	vec[0].msg_hdr.msg_iov = &iov[0];
	vec[1].msg_hdr.msg_iov = &iov[1];
	vec[0].msg_hdr.msg_iovlen = vec[1].msg_hdr.msg_iovlen = 1;
	udplane_recvmmsg(fd, vec, 2, 0, nullptr);
}

TEST_F(SignalTest, AFaultInTheApplicationsBufferLeavesNothingBehind)
{
	Peer *p = Start();
	p->SetPrefix("10.0.0.0/8");
	p->Awake(true);
	int fd = Claimed(), other = Claimed();
	std::function<void()> leave = [] { siglongjmp(jump, 1); };
	struct sigaction sa = {}, old;

	handler = &leave;
	sa.sa_handler = OnSignal;
	sigaction(SIGSEGV, &sa, &old);
	p->Deliver(Id(fd), "first");
	p->Deliver(Id(fd), "second");
	EXPECT_TRUE(LeftByJump(SendUnmapped, fd));
	EXPECT_EQ(SendFast(other, "ok"), 2) << "the lane is free";
	EXPECT_EQ(SendFast(fd, "ok"), 2);
	EXPECT_EQ(p->Take().size(), 2u);
	EXPECT_TRUE(LeftByJump(ReceiveTwoSecondUnmapped, fd));
	EXPECT_EQ(Recv(fd), "first") << "nothing was received by the call that has not returned";
	EXPECT_EQ(Recv(fd), "second");
	sigaction(SIGSEGV, &old, nullptr);
	EXPECT_EQ(p->FramesOut(), 0u);
	ExpectCleanClose(fd);
}

/* --- cancellation --- */

struct Call {
	int fd;
	std::function<void(int)> fn;
	std::atomic<bool> begun{false};
	pthread_t thread;

	Call(int fd_in, std::function<void(int)> fn_in) : fd(fd_in), fn(std::move(fn_in))
	{
		pthread_create(
			&thread, nullptr,
			[](void *arg) -> void * {
				auto *c = static_cast<Call *>(arg);
				c->begun = true;
				for (;;)
					c->fn(c->fd);
			},
			this);
	}
	void CancelAndJoin()
	{
		struct timespec until;
		void *value = nullptr;

		pthread_cancel(thread);
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += 5;
		ASSERT_EQ(pthread_timedjoin_np(thread, &value, &until), 0) << "it is not cancelled";
		EXPECT_EQ(value, PTHREAD_CANCELED);
	}
};

/* No std::string: the stack is unwound, but with exceptions that pass C code nothing may be owned.
 */
void ReceiveOnce(int fd)
{
	char buf[64];

	udplane_recv(fd, buf, sizeof(buf), 0);
}

TEST_F(SignalTest, AReceiverIsCancelledWhileItWaits)
{
	for (int round = 0; round < 20; round++) {
		bool sidecar = round % 4 != 0;

		if (sidecar)
			Start();
		else
			peer_.reset();
		context_reset();
		context.spin_ns = round % 2 ? 0 : 100000;
		int fd = Open(SOCK_DGRAM);
		Call c(fd, ReceiveOnce);
		if (round % 5) {
			ASSERT_TRUE(Until([&] { return Visitors(fd) == 1; }));
		}
		c.CancelAndJoin();
		SendKernel(fd, "after");
		EXPECT_EQ(Recv(fd), "after");
		ExpectCleanClose(fd);
	}
}

TEST_F(SignalTest, WhoNeverWaitsIsCancelledToo)
{
	Peer *p = Start();
	p->SetPrefix("10.0.0.0/8");
	p->Awake(true);
	int fd = Claimed(SOCK_DGRAM), blind = Claimed();
	std::atomic<bool> stop{false};
	std::thread worker([&] {
		while (!stop) {
			while (p->Deliver(Id(fd), "in"))
				;
			p->Take();
			sched_yield();
		}
	});
	{
		Call c(fd, ReceiveOnce);
		ASSERT_TRUE(Until([&] { return c.begun.load(); }));
		c.CancelAndJoin();
	}
	{
		static struct sockaddr_storage to;
		static socklen_t to_len;
		to = fast_;
		to_len = fast_len_;
		Call c(blind, [](int s) {
			udplane_sendto(s, "x", 1, 0, reinterpret_cast<struct sockaddr *>(&to),
				       to_len);
		});
		ASSERT_TRUE(Until([&] { return c.begun.load(); }));
		c.CancelAndJoin();
	}
	{
		Call c(blind, ReceiveOnce); /* nonblocking, and nothing comes */
		c.CancelAndJoin();
	}
	stop = true;
	worker.join();
	p->Take(); /* room in the ring */
	EXPECT_EQ(SendFast(fd, "x"), 1);
	ExpectCleanClose(fd);
	ExpectCleanClose(blind);
}

/* --- restart --- */

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
