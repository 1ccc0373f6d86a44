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

#include "tests/unit/client/signal_fixture.h"

namespace
{
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

	ASSERT_EQ(lock_take(&s->tx.lock), LOCK_TAKEN);
	InHandler([&] { EXPECT_EQ(SendPlain(fd, "beat"), 4); });
	EXPECT_EQ(s->tx.lock.owner, thread_id());
	lock_drop(&s->tx.lock);
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
	struct lane *l = Sock(fd)->tx.lane;

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
	ASSERT_EQ(lock_take(&s->rx.lock), LOCK_TAKEN);
	InHandler([&] {
		EXPECT_EQ(Recv(fd, MSG_DONTWAIT), "!EAGAIN");
		EXPECT_EQ(Recv(fd), "!EINTR")
			<< "who was interrupted cannot go on, so waiting would have no end";
		SendKernel(fd, "kernel");
		EXPECT_EQ(Recv(fd), "kernel");
	});
	EXPECT_EQ(s->rx.lock.owner, thread_id());
	lock_drop(&s->rx.lock);
	EXPECT_EQ(Recv(fd), "ring");
}

TEST_F(SignalTest, FramesAreReturnedLaterIfTheInterruptedCallReturnsSome)
{
	Peer *p = Start();
	int fd = Claimed();
	struct lane *l = Sock(fd)->tx.lane;
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

	ASSERT_EQ(lock_take(&s->rx.lock), LOCK_TAKEN);
	ASSERT_EQ(lock_take(&s->tx.lock), LOCK_TAKEN);
	InHandler([&] {
		EXPECT_EQ(udplane_setsockopt(fd, IPPROTO_IP, IP_CHECKSUM, &one, sizeof(one)), 0);
		EXPECT_EQ(udplane_getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &len), 0);
		EXPECT_EQ(udplane_connect(fd, reinterpret_cast<struct sockaddr *>(&loopback_),
					  loopback_len_),
			  0);
		EXPECT_EQ(Port(fd) != 0, true);
	});
	lock_drop(&s->tx.lock);
	lock_drop(&s->rx.lock);
	EXPECT_EQ(udplane_send(fd, "x", 1, 0), 1);
	EXPECT_EQ(PlainRecv(), "x");
	struct udplane_status st = Status(fd);
	EXPECT_STREQ(st.reason, "socket_option") << st.text;
	EXPECT_TRUE(s->tx.connected);
}

TEST_F(SignalTest, CloseInAHandlerIsDoneAtTheNextCall)
{
	Peer *p = Start();
	int fd = Claimed(), other = Claimed();
	struct sock *s = Sock(fd);
	uint16_t port = Port(fd);

	ASSERT_EQ(lock_take(&s->tx.lock), LOCK_TAKEN);
	InHandler([&] { EXPECT_EQ(udplane_close(fd), 0); });
	lock_drop(&s->tx.lock);
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

	LeaveLocked(&s->tx.lock);
	LeaveLocked(&s->tx.lane->tx_lock);
	EXPECT_EQ(SendFast(fd, "data"), 4);
	EXPECT_EQ(p->Take().size(), 1u) << "by the ring";
	LeaveLocked(&s->rx.lock);
	LeaveLocked(&s->tx.lane->ret_lock);
	for (int i = 0; i < 40; i++) {
		p->Deliver(Id(fd), "in");
		EXPECT_EQ(Recv(fd), "in");
	}
	EXPECT_EQ(p->FramesOut(), 0u);
	LeaveLocked(&s->rx.lock);
	LeaveLocked(&s->tx.lock);
	ExpectCleanClose(fd);
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

/* No std::string: the stack is unwound, but with exceptions that pass C code nothing may be owned.
 */
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
} // namespace
