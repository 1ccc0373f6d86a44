/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of calls that signals interrupt: a handler that does what it is told, and sockets. */
#ifndef TESTS_UNIT_CLIENT_SIGNAL_FIXTURE_H
#define TESTS_UNIT_CLIENT_SIGNAL_FIXTURE_H

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/time.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <utility>

#include "tests/unit/client/peer.h"

inline std::function<void()> *handler; /* what the signal does */

inline void OnSignal(int)
{
	(*handler)();
}

inline double Now()
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

inline sigjmp_buf jump;

/* Does the handler jump out of fn? In a function of its own, since variables may be lost by it. */
__attribute__((noinline)) inline bool LeftByJump(void (*fn)(int), int fd)
{
	if (sigsetjmp(jump, 1))
		return true;
	fn(fd);
	return false;
}

inline void AlarmInTwentyMs()
{
	struct itimerval it = {};

	it.it_value.tv_usec = 20000;
	setitimer(ITIMER_REAL, &it, nullptr);
}

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

inline void ReceiveOnce(int fd)
{
	char buf[64];

	udplane_recv(fd, buf, sizeof(buf), 0);
}

#endif
