// SPDX-License-Identifier: Apache-2.0
/* Every key with good and bad values, by way of its flag. */
#include <gtest/gtest.h>

#include "tests/unit/config/load.h"

namespace
{

struct Value {
	const char *flag, *key, *text;
	const char *expected; /* formatted, or the reason when bad */
};

class GoodValue : public testing::TestWithParam<Value>
{
};

TEST_P(GoodValue, IsTakenAndFormattedBack)
{
	Loaded loaded = load({"--ports=53", std::string(GetParam().flag) + "=" + GetParam().text});
	ASSERT_EQ(0, loaded.ret) << loaded.err.text;
	EXPECT_EQ(GetParam().expected, loaded.format(GetParam().key));
	EXPECT_EQ(CONFIG_SOURCE_FLAG, config_source_of(loaded.config.get(), GetParam().key));
}

INSTANTIATE_TEST_SUITE_P(
	Values, GoodValue,
	testing::Values(
		Value{"--interface", "interface", "eth0", "eth0"},
		Value{"--interface", "interface", "abcdefghijklmno", "abcdefghijklmno"},
		Value{"--interface", "interface", "", ""}, Value{"--ports", "ports", "2,1", "1-2"},
		Value{"--backend", "backend", "vfio", "vfio"},
		Value{"--backend", "backend", "af_xdp", "af_xdp"},
		Value{"--backend", "backend", "kernel", "kernel"},
		Value{"--device", "device", "0000:03:02.1", "0000:03:02.1"},
		Value{"--device", "device", "net_pcap0,rx_pcap=/a", "net_pcap0,rx_pcap=/a"},
		Value{"--resource", "resource", "intel.com/sriov", "intel.com/sriov"},
		Value{"--xdp-mode", "xdp_mode", "zerocopy", "zerocopy"},
		Value{"--socket", "socket", "/x y", "/x y"},
		Value{"--socket-mode", "socket_mode", "660", "0660"},
		Value{"--socket-mode", "socket_mode", "0777", "0777"},
		Value{"--socket-mode", "socket_mode", "0", "0000"},
		Value{"--mode", "mode", "latency", "latency"},
		Value{"--mode", "mode", "powersave", "powersave"},
		Value{"--workers", "workers", "1", "1"}, Value{"--workers", "workers", "16", "16"},
		Value{"--cpus", "cpus", "2,4-6", "2,4-6"}, Value{"--cpus", "cpus", "0", "0"},
		Value{"--cpus", "cpus", "1023", "1023"}, Value{"--cpus", "cpus", "", ""},
		Value{"--worker-spin-us", "worker_spin_us", "-1", "-1"},
		Value{"--worker-spin-us", "worker_spin_us", "0", "0"},
		Value{"--worker-spin-us", "worker_spin_us", "1000000", "1000000"},
		Value{"--yield", "yield", "on", "on"}, Value{"--tx-gso", "tx_gso", "off", "off"},
		Value{"--frames", "frames", "1024", "1024"},
		Value{"--frames", "frames", "1048576", "1048576"},
		Value{"--frame-size", "frame_size", "auto", "auto"},
		Value{"--frame-size", "frame_size", "2048", "2048"},
		Value{"--frame-size", "frame_size", "4096", "4096"},
		Value{"--hugepages", "hugepages", "required", "required"},
		Value{"--rx-ring-size", "rx_ring_size", "64", "64"},
		Value{"--rx-ring-size", "rx_ring_size", "65536", "65536"},
		Value{"--max-sockets", "max_sockets", "65535", "65535"},
		Value{"--max-clients", "max_clients", "1024", "1024"},
		Value{"--trust-rules", "trust_rules", "none", "none"},
		Value{"--trust-rules", "trust_rules", "ipsec", "ipsec"},
		Value{"--trust-rules", "trust_rules", "cgroup_program,netfilter",
		      "netfilter,cgroup_program"},
		Value{"--log-level", "log_level", "debug", "debug"},
		Value{"--log-format", "log_format", "json", "json"}));

class BadValue : public testing::TestWithParam<Value>
{
};

TEST_P(BadValue, IsNamedWithFlagValueReasonAndAllowed)
{
	Loaded loaded = load({"--ports=53", std::string(GetParam().flag) + "=" + GetParam().text});
	ASSERT_EQ(-EINVAL, loaded.ret);
	std::string start = std::string("flag ") + GetParam().flag + ": \"" + GetParam().text +
			    "\": " + GetParam().expected + "; allowed: ";
	EXPECT_EQ(start, std::string(loaded.err.text).substr(0, start.size()));
	EXPECT_GT(std::string(loaded.err.text).size(), start.size());
}

INSTANTIATE_TEST_SUITE_P(
	Values, BadValue,
	testing::Values(
		Value{"--interface", "", "abcdefghijklmnop", "too long"},
		Value{"--interface", "", "a/b", "contains '/' or ':'"},
		Value{"--interface", "", "eth0:1", "contains '/' or ':'"},
		Value{"--interface", "", "eth 0", "contains whitespace or control characters"},
		Value{"--interface", "", "..", "not an interface name"},
		Value{"--ports", "", "", "empty"}, Value{"--backend", "", "", "unknown value"},
		Value{"--backend", "", "AF_XDP", "unknown value"},
		Value{"--backend", "", "af_xdp ", "unknown value"},
		Value{"--device", "", "a b", "contains whitespace or control characters"},
		Value{"--socket", "", "", "empty"},
		Value{"--socket", "", "x.sock", "not an absolute path"},
		Value{"--socket", "", "/run/", "names a directory"},
		Value{"--socket", "", "/", "names a directory"},
		Value{"--socket-mode", "", "", "not an octal number"},
		Value{"--socket-mode", "", "0o666", "not an octal number"},
		Value{"--socket-mode", "", "0668", "not an octal number"},
		Value{"--socket-mode", "", "1777", "out of range"},
		Value{"--socket-mode", "", "00666", "out of range"},
		Value{"--mode", "", "fast", "unknown value"},
		Value{"--workers", "", "0", "out of range"},
		Value{"--workers", "", "17", "out of range"},
		Value{"--workers", "", "", "not a whole number"},
		Value{"--workers", "", "-1", "out of range"},
		Value{"--workers", "", "+1", "not a whole number"},
		Value{"--workers", "", " 1", "not a whole number"},
		Value{"--workers", "", "1 ", "not a whole number"},
		Value{"--workers", "", "1x", "not a whole number"},
		Value{"--workers", "", "0x1", "not a whole number"},
		Value{"--workers", "", "1.0", "not a whole number"},
		Value{"--workers", "", "1e0", "not a whole number"},
		Value{"--workers", "", "010", "leading zero"},
		Value{"--workers", "", "4294967297", "out of range"},
		Value{"--workers", "", "18446744073709551617", "too large"},
		Value{"--cpus", "", "1024", "out of range"}, Value{"--cpus", "", " ", "empty"},
		Value{"--cpus", "", "6-4", "range runs backwards"},
		Value{"--worker-spin-us", "", "-2", "out of range"},
		Value{"--worker-spin-us", "", "-0", "not a whole number"},
		Value{"--worker-spin-us", "", "-01", "not a whole number"},
		Value{"--worker-spin-us", "", "--1", "not a whole number"},
		Value{"--worker-spin-us", "", "-", "not a whole number"},
		Value{"--worker-spin-us", "", "1000001", "out of range"},
		Value{"--yield", "", "true", "unknown value"},
		Value{"--frames", "", "1000", "out of range"},
		Value{"--frames", "", "1025", "not a power of two"},
		Value{"--frames", "", "2097152", "out of range"},
		Value{"--frame-size", "", "0", "unknown value"},
		Value{"--frame-size", "", "9000", "unknown value"},
		Value{"--rx-ring-size", "", "32", "out of range"},
		Value{"--rx-ring-size", "", "2047", "not a power of two"},
		Value{"--max-sockets", "", "65536", "out of range"},
		Value{"--max-clients", "", "0", "out of range"},
		Value{"--annotations", "", "annotations", "not an absolute path"},
		Value{"--log-level", "", "trace", "unknown value"}));

TEST(Value, ATextThatJustFitsIsTaken)
{
	std::string path = "/" + std::string(CONFIG_SOCKET_SIZE - 2, 'x');
	EXPECT_EQ(path, load({"--ports=1", "--socket", path}).config->socket);
	EXPECT_EQ(-EINVAL, load({"--ports=1", "--socket", path + "x"}).ret);
}

TEST(Value, AMessageQuotesHostileBytesAndCutsLongValues)
{
	Loaded loaded = load({"--backend", "\x1b[31m\"\\\n" + std::string(1000, 'x')});
	std::string text = loaded.err.text;
	EXPECT_EQ(0u, text.find("flag --backend: \"\\x1b[31m\\\"\\\\\\x0axxx"));
	EXPECT_NE(std::string::npos, text.find("xxx...\": unknown value; allowed: auto, vfio, "
					       "af_xdp, kernel"));
}

} // namespace
