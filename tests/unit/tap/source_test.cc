// SPDX-License-Identifier: Apache-2.0
// Where the TAP's addresses come from: files as bind-vfio and Multus write them, and as they must
// not be.
#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "sidecar/device/tap/tap.h"

namespace
{

const uint8_t kMac[6] = {0x52, 0x54, 0, 0, 0, 0x0a};

std::string File(const std::string &content)
{
	std::string path = testing::TempDir() + "/source";
	FILE *f = fopen(path.c_str(), "w");
	fwrite(content.data(), 1, content.size(), f);
	fclose(f);
	return path;
}

std::string Ip(uint8_t family, const uint8_t *addr)
{
	char s[INET6_ADDRSTRLEN];
	return inet_ntop(family, addr, s, sizeof(s));
}

struct Result {
	tap_config cfg{};
	struct error error = {};
	int err = 0;
};

Result Saved(const std::string &content)
{
	Result r;
	r.err = tap_source_saved(File(content).c_str(), &r.cfg, &r.error);
	return r;
}

TEST(Saved, EverythingThatBindVfioWrites)
{
	Result r = Saved("driver virtio-pci\nname eth0\nmac 52:54:00:00:00:0a\nmtu 1400\naddress "
			 "10.9.0.1/24\naddress fd09::1/64\n"
			 "route 0.0.0.0/0 via 10.9.0.2 metric 50\nroute 10.77.0.0/16 via "
			 "10.9.0.2\nroute ::/0 via fe80::1\nroute 10.88.0.0/16\n");
	ASSERT_EQ(r.err, 0) << r.error.text;
	EXPECT_STREQ(r.cfg.name, "eth0");
	EXPECT_EQ(memcmp(r.cfg.mac, kMac, 6), 0);
	EXPECT_EQ(r.cfg.mtu, 1400u);
	ASSERT_EQ(r.cfg.addr_cnt, 2u);
	EXPECT_EQ(Ip(AF_INET6, r.cfg.addr[1].addr), "fd09::1");
	ASSERT_EQ(r.cfg.route_cnt, 4u);
	EXPECT_EQ(r.cfg.route[0].prefix_len, 0);
	EXPECT_EQ(r.cfg.route[0].metric, 50u);
	EXPECT_EQ(Ip(AF_INET, r.cfg.route[0].gateway), "10.9.0.2");
	EXPECT_EQ(r.cfg.route[2].family, AF_INET6);
	EXPECT_FALSE(r.cfg.route[3].has_gateway);
}

// The host has given the device away already: what cannot be kept must not be in the way of the
// rest.
TEST(Saved, WrongLinesAreNamedAndLeftOut)
{
	for (const char *line :
	     {"nonsense\n", "mtu 7\n", "mtu 70000\n", "mac 1:2:3\n", "address 10.0.0.1\n",
	      "address 10.0.0.1/33\n", "address 10.0.0.1/x\n", "address /24\n", "route\n",
	      "route 10.0.0.0/8 via\n", "route 10.0.0.0/8 via x\n", "route 10.0.0.0/8 sideways 3\n",
	      "name a-name-of-sixteen\n"}) {
		testing::internal::CaptureStderr();
		Result r = Saved(std::string("driver x\n") + line + "address 10.0.0.9/24\n");
		std::string log = testing::internal::GetCapturedStderr();
		EXPECT_EQ(r.err, 0) << line;
		EXPECT_NE(log.find(":2: "), std::string::npos) << line << log;
		EXPECT_EQ(log.find(":3: "), std::string::npos) << line << log;
		EXPECT_EQ(r.cfg.addr_cnt, 1u) << line;
		EXPECT_EQ(r.cfg.route_cnt, 0u) << line;
		EXPECT_EQ(r.cfg.mtu, 0u) << line;
		EXPECT_STREQ(r.cfg.name, "") << line;
	}
}

TEST(Saved, MoreThanFits)
{
	std::string many;
	for (int i = 0; i < TAP_ADDRS + 1; i++)
		many += "address 10.0.0." + std::to_string(i + 1) + "/24\n";
	EXPECT_EQ(Saved(many).err, 0);
	EXPECT_EQ(Saved(many).cfg.addr_cnt, (uint32_t)TAP_ADDRS);
	many.clear();
	for (int i = 0; i < TAP_ROUTES + 1; i++)
		many += "route 10." + std::to_string(i) + ".0.0/16\n";
	EXPECT_EQ(Saved(many).err, 0);
	EXPECT_EQ(Saved(many).cfg.route_cnt, (uint32_t)TAP_ROUTES);
}

TEST(Saved, NoFile)
{
	Result r;
	EXPECT_EQ(tap_source_saved("/does/not/exist", &r.cfg, &r.error), -ENOENT);
}

TEST(Lists, AddressesAndGateways)
{
	Result r;
	EXPECT_EQ(tap_source_addresses("192.0.2.5/24,2001:db8::5/64", &r.cfg, &r.error), 0);
	EXPECT_EQ(tap_source_gateways("192.0.2.1,fe80::1", &r.cfg, &r.error), 0);
	EXPECT_EQ(r.cfg.addr_cnt, 2u);
	EXPECT_EQ(r.cfg.route_cnt, 2u);
	for (const char *bad : {"192.0.2.5", "192.0.2.5/24,", ",", "x/24", "192.0.2.5/0"})
		EXPECT_EQ(tap_source_addresses(bad, &r.cfg, &r.error), -EINVAL) << bad;
	for (const char *bad : {"192.0.2.0/24", "", "gateway"})
		EXPECT_EQ(tap_source_gateways(bad, &r.cfg, &r.error), -EINVAL) << bad;
}

std::string Quoted(const std::string &json)
{
	std::string out = "k8s.v1.cni.cncf.io/network-status=\"";
	for (char c : json)
		out += c == '"' ? "\\\"" : c == '\n' ? "\\n" : std::string(1, c);
	return out + "\"\n";
}

Result Status(const std::string &file, const char *pci)
{
	Result r;
	r.err = tap_source_annotation(File(file).c_str(), pci, kMac, &r.cfg, &r.error);
	return r;
}

const char kStatus[] =
	R"([{"name": "cbr0", "interface": "eth0", "ips": ["10.1.1.7"], "mac": "0a:58:0a:01:01:07", "default": true},
 {"name": "default/sriov", "interface": "net1", "ips": ["192.0.2.5", "2001:db8::5"], "gateway": ["192.0.2.1"], "mtu": 9000,
  "device-info": {"type": "pci", "version": "1.0.0", "pci": {"pci-address": "0000:03:02.1"}}},
 {"name": "default/other", "interface": "net2", "ips": ["192.0.3.5"], "mac": "52:54:00:00:00:0a"}])";

TEST(NetworkStatus, ByPciAddress)
{
	Result r = Status("udplane.io/ports=\"1\"\n" + Quoted(kStatus), "0000:03:02.1");
	ASSERT_EQ(r.err, 0) << r.error.text;
	EXPECT_STREQ(r.cfg.name, "net1");
	EXPECT_EQ(r.cfg.mtu, 9000u);
	ASSERT_EQ(r.cfg.addr_cnt, 2u);
	EXPECT_EQ(r.cfg.addr[0].prefix_len, 24);
	EXPECT_EQ(r.cfg.addr[1].prefix_len, 64);
	ASSERT_EQ(r.cfg.route_cnt, 1u);
	EXPECT_TRUE(r.cfg.route[0].has_gateway);
}

TEST(NetworkStatus, ElseByMac)
{
	Result r = Status(Quoted(kStatus), "0000:99:00.0");
	ASSERT_EQ(r.err, 0) << r.error.text;
	EXPECT_STREQ(r.cfg.name, "net2");
}

TEST(NetworkStatus, NoneThatFits)
{
	EXPECT_EQ(Status("udplane.io/ports=\"1\"\n", nullptr).err, -ENOENT);
	EXPECT_EQ(Status(Quoted("[]"), nullptr).err, -ENOENT);
	EXPECT_EQ(Status("k8s.v1.cni.cncf.io/network-status-old=\"[]\"\n", nullptr).err, -ENOENT);
}

TEST(NetworkStatus, Damaged)
{
	for (const char *bad : {"{}", "[", "7", "null"})
		EXPECT_EQ(Status(Quoted(bad), nullptr).err, -EINVAL) << bad;
	EXPECT_EQ(Status("k8s.v1.cni.cncf.io/network-status=unquoted\n", nullptr).err, -EINVAL);
	EXPECT_EQ(Status(Quoted(R"([{"mac": "52:54:00:00:00:0a", "ips": [5]}])"), nullptr).err,
		  -EINVAL);
}

} // namespace
