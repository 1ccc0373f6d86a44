// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "sidecar/device/vfio/target.h"

namespace
{

struct Case {
	config cfg{};
	char out[VFIO_TARGET_SIZE] = "";
	struct error error = {};
	bool pci = false;
	explicit Case(const char *device = "", const char *resource = "",
		      std::vector<const char *> env = {})
	{
		config_set_defaults(&cfg);
		snprintf(cfg.device, sizeof(cfg.device), "%s", device);
		snprintf(cfg.resource, sizeof(cfg.resource), "%s", resource);
		for (const char *e : env)
			cfg.pci[cfg.pci_count++] = {e, strchr(e, '=') + 1};
	}
	int Run()
	{
		return vfio_target(&cfg, out, &pci, &error);
	}
};

TEST(Target, PciAddresses)
{
	for (auto [in, want] : {std::pair("0000:03:02.1", "0000:03:02.1"),
				{"03:02.1", "0000:03:02.1"},
				{"0001:AF:1f.7", "0001:af:1f.7"}}) {
		Case c(in);
		ASSERT_EQ(c.Run(), 0) << in;
		EXPECT_STREQ(c.out, want);
		EXPECT_TRUE(c.pci);
	}
}

TEST(Target, VirtualDevicesKeepTheirArguments)
{
	Case c("net_null0,copy=1,size=64");
	ASSERT_EQ(c.Run(), 0);
	EXPECT_STREQ(c.out, "net_null0,copy=1,size=64");
	EXPECT_FALSE(c.pci);
}

TEST(Target, WhatIsNeither)
{
	for (const char *bad : {"nonsense", "03:02", "03:02.8", "03:20.0", "0000:03:02.1x", "net_",
				"--vdev=net_null0", "eth0"}) {
		Case c(bad);
		EXPECT_EQ(c.Run(), -EINVAL) << bad;
		EXPECT_NE(strstr(c.error.text, "allowed: a PCI address"), nullptr) << c.error.text;
	}
}

TEST(Target, NoneIsGiven)
{
	Case c;
	EXPECT_EQ(c.Run(), -ENOENT);
	EXPECT_NE(strstr(c.error.text, "PCIDEVICE_"), nullptr);
}

TEST(Target, FromADevicePlugin)
{
	Case one("", "",
		 {"PCIDEVICE_INTEL_COM_SRIOV=0000:03:02.1,0000:03:02.2",
		  "PCIDEVICE_INTEL_COM_SRIOV_INFO={\"0000:03:02.1\":{}}"});
	ASSERT_EQ(one.Run(), 0) << one.error.text;
	EXPECT_STREQ(one.out, "0000:03:02.1");
	std::vector<const char *> two = {"PCIDEVICE_INTEL_COM_SRIOV=0000:03:02.1",
					 "PCIDEVICE_NVIDIA_COM_BF_2=0000:04:00.1"};
	Case both("", "", two);
	EXPECT_EQ(both.Run(), -EINVAL);
	EXPECT_NE(strstr(both.error.text, "PCIDEVICE_NVIDIA_COM_BF_2"), nullptr);
	Case named("", "nvidia.com/bf-2", two);
	ASSERT_EQ(named.Run(), 0) << named.error.text;
	EXPECT_STREQ(named.out, "0000:04:00.1");
	EXPECT_EQ(Case("", "nvidia.com/bf", two).Run(), -ENOENT);
	EXPECT_EQ(Case("", "", {"PCIDEVICE_X=junk"}).Run(), -EINVAL);
	Case key("05:00.0", "", two); // the key wins
	ASSERT_EQ(key.Run(), 0);
	EXPECT_STREQ(key.out, "0000:05:00.0");
}

} // namespace
