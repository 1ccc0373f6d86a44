// SPDX-License-Identifier: Apache-2.0
/* The AF_XDP device: what cannot work is refused, and the refusal names the cause. */
#include "tests/integration/device/af_xdp_fixture.h"

#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

TEST_F(AfXdp, NoSuchInterface)
{
	strcpy(cfg.interface, "nosuch0");
	EXPECT_EQ(try_open(), -ENODEV);
	EXPECT_NE(strstr(error.text, "no interface \"nosuch0\""), nullptr) << error.text;
}

TEST_F(AfXdp, LoopbackIsNoEthernet)
{
	strcpy(cfg.interface, "lo");
	EXPECT_EQ(try_open(), -EOPNOTSUPP);
	EXPECT_NE(strstr(error.text, "lo is no Ethernet"), nullptr) << error.text;
}

TEST_F(AfXdp, AnotherProgramIsNamed)
{
	start();
	device *first = dev;

	dev = nullptr;
	EXPECT_EQ(try_open(), -EBUSY);
	EXPECT_NE(strstr(error.text, "(udplane) is attached to va already"), nullptr) << error.text;
	EXPECT_NE(strstr(error.text, "ip link set dev va xdp off"), nullptr) << error.text;
	dev = first;
}

/* It came between open and attach. */
TEST_F(AfXdp, AnotherProgramAtAttachIsNamed)
{
	ASSERT_EQ(try_open(), 0) << error.text;
	device *late = dev;

	start();
	device *first = dev;
	device_memory kept = mem;

	dev = late;
	EXPECT_EQ(try_attach(), -EBUSY);
	EXPECT_NE(strstr(error.text, "(udplane) is attached to va already"), nullptr) << error.text;
	munmap(mem.addr, mem.len);
	device_af_xdp.close(dev);
	dev = first;
	mem = kept;
	KernelSocket peer(true, false, 0);

	peer.send(here4, claimed_port, numbered(1));
	EXPECT_EQ(receive(1).size(), 1u) << "the first one goes on";
}

/* Runs in a child, as privileges do not come back. Returns its exit status. */
static int in_child(const std::function<int()> &f)
{
	int status = -1;
	pid_t child = fork();

	if (!child)
		_exit(f());
	EXPECT_GT(child, 0);
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void drop(std::initializer_list<int> caps)
{
	__user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	__user_cap_data_struct data[2];

	syscall(SYS_capget, &head, data);
	for (int c : caps)
		data[c / 32].effective &= ~(1u << c % 32),
			data[c / 32].permitted &= ~(1u << c % 32);
	syscall(SYS_capset, &head, data);
}

TEST_F(AfXdp, MissingCapabilityIsNamed)
{
	auto attempt = [this](std::initializer_list<int> caps, const char *named,
			      const char *not_named) {
		return in_child([&] {
			drop(caps);
			if (try_open() != -EPERM || !strstr(error.text, named) ||
			    strstr(error.text, not_named)) {
				fprintf(stderr, "%s\n", error.text);
				return 1;
			}
			return 0;
		});
	};

	EXPECT_EQ(attempt({CAP_NET_ADMIN}, "missing CAP_NET_ADMIN;", "CAP_BPF"), 0);
	EXPECT_EQ(attempt({CAP_BPF, CAP_SYS_ADMIN}, "missing CAP_BPF;", "CAP_NET"), 0);
	EXPECT_EQ(attempt({CAP_PERFMON, CAP_SYS_ADMIN}, "missing CAP_PERFMON;", "CAP_NET"), 0);
	EXPECT_EQ(attempt({CAP_NET_RAW, CAP_NET_ADMIN}, "missing CAP_NET_ADMIN CAP_NET_RAW;",
			  "CAP_BPF"),
		  0);
}

TEST_F(AfXdp, FewestCapabilitiesSuffice)
{
	EXPECT_EQ(in_child([&] {
			  __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
			  __user_cap_data_struct data[2] = {};

			  for (int c :
			       {CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF, CAP_PERFMON, CAP_IPC_LOCK})
				  data[c / 32].effective |= 1u << c % 32;
			  data[0].permitted = data[0].effective;
			  data[1].permitted = data[1].effective;
			  if (syscall(SYS_capset, &head, data) || try_open() || try_attach()) {
				  fprintf(stderr, "%s\n", error.text);
				  return 1;
			  }
			  return 0;
		  }),
		  0);
}

TEST_F(AfXdp, LockedMemoryLimitIsNamed)
{
	EXPECT_EQ(in_child([&] {
			  rlimit r = {64 << 10, 64 << 10};

			  setrlimit(RLIMIT_MEMLOCK, &r);
			  drop({CAP_IPC_LOCK, CAP_SYS_RESOURCE});
			  if (try_open() || try_attach() != -ENOBUFS ||
			      !strstr(error.text, "locked-memory limit of 64 KiB")) {
				  fprintf(stderr, "%s\n", error.text);
				  return 1;
			  }
			  return 0;
		  }),
		  0);
}

TEST_F(AfXdp, ImpossibleMemoryIsRefused)
{
	ASSERT_EQ(try_open(), 0) << error.text;
	EXPECT_EQ(try_attach(1, 8192, 1024), -EINVAL);
	EXPECT_NE(strstr(error.text, "frame size 1024"), nullptr) << error.text;
	munmap(mem.addr, mem.len);
	EXPECT_EQ(try_attach(1, 32), -EINVAL);
	munmap(mem.addr, mem.len);
	EXPECT_EQ(try_attach(), 0) << "attaching may be tried again: " << error.text;
}

TEST_F(AfXdp, NewMacIsFollowed)
{
	start();
	KernelSocket peer(true, false, 0);

	ASSERT_EQ(system("ip link set va address 02:00:00:00:77:01"), 0);
	set_up();
	EXPECT_EQ(dev->mac[4], 0x77);
	peer.send(here4, claimed_port, numbered(1));
	EXPECT_EQ(receive(1).size(), 1u);
}
