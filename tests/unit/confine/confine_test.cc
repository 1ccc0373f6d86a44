// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <thread>

#include "sidecar/confine/confine.h"

namespace
{

/* In a child, for it cannot be undone. Returns its exit status; a signal is -1. */
int InChild(const std::function<int()> &f)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(f());
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool Refused(long result)
{
	return result < 0 && errno == EPERM;
}

TEST(Confine, WhatIsNotOnTheListFailsAndDoesNotKill)
{
	EXPECT_EQ(0, InChild([] {
			  if (confine_syscalls(CONFINE_AF_XDP))
				  return 1;
			  if (!Refused(ptrace(PTRACE_TRACEME, 0, 0, 0)))
				  return 2;
			  if (!Refused(execl("/bin/true", "true", nullptr)))
				  return 3;
			  if (!Refused(fork()))
				  return 4;
			  if (!Refused(syscall(SYS_io_uring_setup, 1, nullptr)))
				  return 5;
			  return 0;
		  }));
}

TEST(Confine, ADaemonGoesOn)
{
	EXPECT_EQ(0, InChild([] {
			  bool ran = false;

			  if (confine_syscalls(CONFINE_OTHER))
				  return 1;
			  std::thread([&] { ran = true; }).join();
			  if (!ran || open("/proc/self/stat", O_RDONLY | O_CLOEXEC) < 0)
				  return 2;
			  if (socket(AF_INET, SOCK_DGRAM, 0) < 0)
				  return 3;
			  return Refused(syscall(SYS_bpf, 1, nullptr, 0)) ? 0
									  : 4; /* another one's */
		  }));
}

TEST(Confine, TheKeeperOpensNothing)
{
	EXPECT_EQ(0, InChild([] {
			  bool ran = false;

			  if (confine_no_capabilities() || confine_syscalls(CONFINE_KEEPER))
				  return 1;
			  std::thread([&] { ran = true; }).join();
			  if (!ran)
				  return 2;
			  if (!Refused(open("/proc/self/stat", O_RDONLY | O_CLOEXEC)))
				  return 3;
			  return Refused(socket(AF_INET, SOCK_DGRAM, 0)) ? 0 : 4;
		  }));
}

} // namespace
