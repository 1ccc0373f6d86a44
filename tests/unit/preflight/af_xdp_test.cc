// SPDX-License-Identifier: Apache-2.0
// What preflight_af_xdp() says of facts; how they are read is
// tests/integration/preflight_test.py's.
#include "include/preflight/af_xdp.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <linux/capability.h>

#include <set>
#include <string>

namespace
{

constexpr uint64_t kBytes = 32u << 20;

uint64_t Caps(std::set<int> without)
{
	uint64_t caps = 0;

	for (int cap : {CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF, CAP_PERFMON, CAP_IPC_LOCK})
		if (!without.count(cap))
			caps |= 1ull << cap;
	return caps;
}

class AfXdp : public testing::Test
{
      protected:
	void SetUp() override
	{
		f_.kernel_major = 6;
		f_.kernel_minor = 1;
		f_.btf = true;
		f_.caps = Caps({});
		f_.memlock = 64 << 10;
		Name(f_.interface, "eth0");
		f_.exists = f_.ethernet = f_.up = f_.running = true;
		f_.mtu = 1500;
		f_.rx_queues = 1;
		Name(f_.kind, "veth");
		Name(f_.driver, "veth");
		f_.try_ = AF_XDP_TRY_NATIVE;
	}
	template <size_t n> void Name(char (&to)[n], const std::string &name)
	{
		snprintf(to, n, "%s", name.c_str());
	}
	// The one check that is not ok, and what it says.
	void ExpectOnly(const std::string &name, preflight_verdict v, const std::string &part)
	{
		preflight p{};
		bool found = false;

		preflight_af_xdp(&p, &f_, kBytes);
		EXPECT_EQ(preflight_worst(&p), v);
		for (uint32_t i = 0; i < p.cnt; i++) {
			const preflight_check &k = p.check[i];
			std::string text = k.text;
			if (k.name == name) {
				found = true;
				EXPECT_EQ(k.verdict, v) << text;
				EXPECT_NE(text.find(part), std::string::npos) << text;
			} else {
				EXPECT_EQ(k.verdict, PREFLIGHT_OK) << k.name << ": " << text;
			}
			EXPECT_LT(text.size(), sizeof(k.text) - 1) << "cut: " << text;
		}
		EXPECT_TRUE(found) << name;
	}
	af_xdp_facts f_{};
};

TEST_F(AfXdp, AVethThatIsFit)
{
	ExpectOnly("native_xdp", PREFLIGHT_OK, "natively");
	ExpectOnly("offloads", PREFLIGHT_OK, "TSO");
	f_.peer_elsewhere = true;
	ExpectOnly("redirect_peer", PREFLIGHT_OK, "uses generic mode");
}

TEST_F(AfXdp, Kernels)
{
	f_.kernel_major = 5;
	f_.kernel_minor = 10;
	ExpectOnly("kernel", PREFLIGHT_BAD, "Linux 5.10: use 5.14");
	f_.kernel_minor = 14;
	ExpectOnly("kernel", PREFLIGHT_WARN, "timers");
	f_.kernel_minor = 15;
	ExpectOnly("kernel", PREFLIGHT_OK, "5.18");
	f_.mtu = 9000;
	ExpectOnly("mtu", PREFLIGHT_BAD, "ip link set dev eth0 mtu 3506");
	f_.kernel_minor = 18;
	ExpectOnly("mtu", PREFLIGHT_WARN, "frame_size");
	f_.mtu = 1500;
	f_.btf = false;
	ExpectOnly("btf", PREFLIGHT_WARN, "CONFIG_DEBUG_INFO_BTF");
}

TEST_F(AfXdp, NoSockets)
{
	f_.socket_err = EAFNOSUPPORT;
	ExpectOnly("af_xdp", PREFLIGHT_BAD, "CONFIG_XDP_SOCKETS");
	f_.socket_err = EPERM;
	ExpectOnly("af_xdp", PREFLIGHT_BAD, "seccomp");
}

TEST_F(AfXdp, EachCapabilityIsNamed)
{
	f_.memlock = UINT64_MAX;
	const std::pair<int, const char *> caps[] = {{CAP_NET_ADMIN, "missing: CAP_NET_ADMIN;"},
						     {CAP_NET_RAW, "missing: CAP_NET_RAW;"},
						     {CAP_BPF, "missing: CAP_BPF;"},
						     {CAP_PERFMON, "missing: CAP_PERFMON;"}};
	for (auto &cap : caps) {
		f_.caps = Caps({cap.first});
		ExpectOnly("capabilities", PREFLIGHT_BAD, cap.second);
	}
	f_.caps = Caps({CAP_BPF, CAP_PERFMON}) | 1ull << CAP_SYS_ADMIN;
	ExpectOnly("capabilities", PREFLIGHT_OK, "");
}

TEST_F(AfXdp, LockedMemory)
{
	f_.caps = Caps({CAP_IPC_LOCK});
	ExpectOnly("memlock", PREFLIGHT_BAD, "is 64 KiB");
	f_.memlock = 2 * kBytes;
	ExpectOnly("memlock", PREFLIGHT_OK, "high enough");
}

TEST_F(AfXdp, InterfacesThatAreNotThereOrDown)
{
	f_.running = false;
	ExpectOnly("interface", PREFLIGHT_WARN, "carrier");
	f_.up = false;
	ExpectOnly("interface", PREFLIGHT_BAD, "ip link set dev eth0 up");
	f_.ethernet = false;
	ExpectOnly("interface", PREFLIGHT_BAD, "not an Ethernet device");
	f_.exists = false;
	ExpectOnly("interface", PREFLIGHT_BAD, "there is no interface eth0");
}

TEST_F(AfXdp, DevicesOfOthers)
{
	for (const char *kind :
	     {"bond", "team", "bridge", "macvlan", "macvtap", "ipvlan", "vlan", "vxlan", "dummy"}) {
		Name(f_.kind, kind);
		ExpectOnly("kind", PREFLIGHT_WARN, std::string("eth0 is a ") + kind);
	}
	Name(f_.kind, "veth");
	Name(f_.master, "br0");
	Name(f_.master_kind, "bridge");
	ExpectOnly("kind", PREFLIGHT_WARN, "eth0 is a port of br0 (bridge)");
}

TEST_F(AfXdp, Queues)
{
	f_.rx_queues = 64;
	ExpectOnly("queues", PREFLIGHT_OK, "64 receive queues");
	f_.rx_queues = 65;
	ExpectOnly("queues", PREFLIGHT_BAD, "ethtool -L eth0 combined 64");
}

TEST_F(AfXdp, AnotherProgramIsNamed)
{
	f_.try_ = AF_XDP_TRY_NOT;
	f_.xdp_id = 77;
	ExpectOnly("xdp_program", PREFLIGHT_BAD, "program 77 is attached");
	Name(f_.xdp_name, "cil_xdp_entry");
	ExpectOnly("xdp_program", PREFLIGHT_BAD, "program 77 (cil_xdp_entry) is attached");
	Name(f_.xdp_name, "udplane");
	ExpectOnly("xdp_program", PREFLIGHT_OK, "udplaned's own");
}

TEST_F(AfXdp, WhatAttachingSaid)
{
	f_.try_ = AF_XDP_TRY_GENERIC;
	f_.try_err = EOPNOTSUPP;
	ExpectOnly("native_xdp", PREFLIGHT_WARN,
		   "veth refuses native XDP (Operation not supported)");
	f_.try_ = AF_XDP_TRY_NONE;
	ExpectOnly("native_xdp", PREFLIGHT_BAD, "use backend kernel");
	f_.try_err = EPERM;
	ExpectOnly("native_xdp", PREFLIGHT_BAD, "host's user namespace");
}

TEST_F(AfXdp, DriversThatAreNotTried)
{
	Name(f_.kind, "");
	f_.try_ = AF_XDP_TRY_NOT;
	Name(f_.driver, "ice");
	ExpectOnly("native_xdp", PREFLIGHT_OK, "zero-copy");
	Name(f_.driver, "ena");
	ExpectOnly("native_xdp", PREFLIGHT_OK, "ena has native XDP");
	Name(f_.driver, "e1000");
	ExpectOnly("native_xdp", PREFLIGHT_WARN, "e1000 is not known");
}

} // namespace
