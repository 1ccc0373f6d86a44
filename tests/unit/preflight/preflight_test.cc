// SPDX-License-Identifier: Apache-2.0
// The checks over trees of /sys, /dev and /proc made for the purpose: one machine that is fit, and
// one thing wrong at a time.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "include/preflight/preflight.h"

namespace
{

namespace fs = std::filesystem;
constexpr char kDev[] = "0000:03:02.1";

class Preflight : public ::testing::Test
{
      protected:
	void SetUp() override
	{
		root_ = testing::TempDir() + "/root";
		fs::remove_all(root_);
		Write("/sys/bus/pci/drivers/vfio-pci/x", "");
		Device(kDev, "vfio-pci");
		Write(std::string("/sys/bus/pci/devices/") + kDev + "/numa_node", "-1");
		Write("/dev/vfio/vfio", "");
		Write("/dev/vfio/7", "");
		Write("/dev/net/tun", "");
		Write("/proc/self/status", "CapEff:\t000001ffffffffff\n");
		Write("/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages",
		      "64");
		Write("/sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages",
		      "32");
		o_.device = kDev;
		o_.root = root_.c_str();
		o_.hugepage_bytes = 32u << 20;
	}
	void Write(const std::string &path, const std::string &content)
	{
		fs::create_directories(fs::path(root_ + path).parent_path());
		std::ofstream(root_ + path) << content;
	}
	void Device(const std::string &dev, const std::string &driver)
	{
		std::string dir = root_ + "/sys/bus/pci/devices/" + dev,
			    group = root_ + "/sys/kernel/iommu_groups/7/devices";
		fs::create_directories(dir);
		fs::create_directories(group);
		fs::create_symlink(group + "/..", dir + "/iommu_group.tmp");
		fs::remove(dir + "/iommu_group.tmp");
		if (!fs::exists(dir + "/iommu_group"))
			fs::create_symlink("../../../../kernel/iommu_groups/7",
					   dir + "/iommu_group");
		std::ofstream(group + "/" + dev) << "";
		fs::remove(dir + "/driver");
		if (!driver.empty())
			fs::create_symlink("../../drivers/" + driver, dir + "/driver");
	}
	void Remove(const std::string &path)
	{
		fs::remove_all(root_ + path);
	}
	// The one check that is not ok, and what it says.
	void ExpectOnly(const std::string &name, preflight_verdict v, const std::string &part)
	{
		preflight_run(&p_, &o_);
		EXPECT_EQ(preflight_worst(&p_), v);
		for (uint32_t i = 0; i < p_.cnt; i++) {
			const preflight_check &k = p_.check[i];
			if (k.name == name) {
				EXPECT_EQ(k.verdict, v) << k.text;
				EXPECT_NE(std::string(k.text).find(part), std::string::npos)
					<< k.text;
			} else if (std::string(k.name) != "cpuset") { // this machine's own
				EXPECT_EQ(k.verdict, PREFLIGHT_OK) << k.name << ": " << k.text;
			}
		}
	}
	std::string root_;
	preflight_options o_{};
	preflight p_;
};

TEST_F(Preflight, AMachineThatIsFit)
{
	ExpectOnly("device", PREFLIGHT_OK, kDev);
}

TEST_F(Preflight, NoSuchDevice)
{
	o_.device = "0000:09:00.0";
	ExpectOnly("device", PREFLIGHT_BAD, "lspci -D");
}

TEST_F(Preflight, TheKernelsDriverHasIt)
{
	Device(kDev, "ixgbevf");
	ExpectOnly("driver", PREFLIGHT_BAD,
		   "ixgbevf is bound to 0000:03:02.1: bind it to vfio-pci with `deploy/bind-vfio "
		   "0000:03:02.1`");
}

TEST_F(Preflight, NoDriver)
{
	Device(kDev, "");
	ExpectOnly("driver", PREFLIGHT_BAD, "deploy/bind-vfio");
}

TEST_F(Preflight, BifurcatedDriversStay)
{
	Device(kDev, "mlx5_core");
	Remove("/dev/vfio");
	Write("/dev/infiniband/uverbs0", "");
	ExpectOnly("driver", PREFLIGHT_OK, "mlx5_core");
}

TEST_F(Preflight, BifurcatedDriversNeedNoIommuButVerbs)
{
	Device(kDev, "mlx5_core");
	Remove("/dev/vfio");
	Remove(std::string("/sys/bus/pci/devices/") + kDev + "/iommu_group");
	ExpectOnly("verbs", PREFLIGHT_BAD, "ib_uverbs");
}

TEST_F(Preflight, TheAddressIsOne)
{
	Device("0000:03:22.1", "vfio-pci");
	Device("0000:03:02.9", "vfio-pci");
	for (const char *dev :
	     {".", "..", "0000:03:02.1x", "0000:03:22.1", "0000:03:02.9", "eth0", "../../net"}) {
		o_.device = dev;
		ExpectOnly("device", PREFLIGHT_BAD, "DOMAIN:BUS:SLOT.FUNCTION");
	}
}

TEST_F(Preflight, TheShortAddressIsTheSameDevice)
{
	o_.device = "03:02.1";
	ExpectOnly("device", PREFLIGHT_OK, kDev);
}

TEST_F(Preflight, NoIommu)
{
	Remove(std::string("/sys/bus/pci/devices/") + kDev + "/iommu_group");
	ExpectOnly("iommu", PREFLIGHT_BAD, "intel_iommu=on");
}

TEST_F(Preflight, NoIommuOnlyWhenAskedForAndAllowed)
{
	Remove(std::string("/sys/bus/pci/devices/") + kDev + "/iommu_group");
	o_.noiommu = true;
	ExpectOnly("iommu", PREFLIGHT_BAD, "enable_unsafe_noiommu_mode=1");
	Write("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y\n");
	ExpectOnly("iommu", PREFLIGHT_WARN, "can read and write all memory");
}

TEST_F(Preflight, OthersInTheGroup)
{
	Device("0000:03:02.0", "vfio-pci");
	Device("0000:00:1c.0", "pcieport");
	ExpectOnly("group", PREFLIGHT_OK, "2 other devices");
	Device("0000:03:02.2", "nvme");
	ExpectOnly("group", PREFLIGHT_BAD, "0000:03:02.2 (nvme)");
}

TEST_F(Preflight, NoNodes)
{
	Remove("/dev/vfio/7");
	ExpectOnly("vfio_group", PREFLIGHT_BAD, "give the container /dev/vfio");
}

TEST_F(Preflight, NoTun)
{
	Remove("/dev/net/tun");
	ExpectOnly("tap", PREFLIGHT_BAD, "load the module tun");
}

TEST_F(Preflight, NoNetAdmin)
{
	Write("/proc/self/status", "CapEff:\t000001ffffffefff\n");
	ExpectOnly("tap", PREFLIGHT_BAD, "CAP_NET_ADMIN");
}

TEST_F(Preflight, HugepagesShort)
{
	Write("/sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages", "3");
	ExpectOnly("hugepages", PREFLIGHT_WARN, "3 free of 64, and 16 of 2 MiB are needed");
	o_.hugepages_required = true;
	ExpectOnly("hugepages", PREFLIGHT_BAD, "vm.nr_hugepages=32");
}

TEST_F(Preflight, HugepagesAreForFramesAndForDpdk)
{
	o_.dpdk_bytes = 34u << 20;
	ExpectOnly("hugepages", PREFLIGHT_WARN, "32 free of 64, and 33 of 2 MiB are needed");
	o_.dpdk_bytes = 32u << 20;
	ExpectOnly("hugepages", PREFLIGHT_OK, "");
}

TEST_F(Preflight, TheMachineAlone)
{
	o_.device = nullptr;
	preflight_run(&p_, &o_);
	EXPECT_EQ(std::string(p_.check[0].name), "memlock");
}

} // namespace
