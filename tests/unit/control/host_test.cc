// SPDX-License-Identifier: Apache-2.0
#include "sidecar/control/host.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace
{

struct Counts {
	uint64_t v[UDPLANE_HOST_COUNTER_CNT] = {};
	template <typename F> void Parse(const std::string &text, F parse)
	{
		FILE *f = fmemopen(const_cast<char *>(text.data()), text.size(), "r");
		ASSERT_NE(f, nullptr);
		parse(f);
		fclose(f);
	}
};

TEST(Host, Dev)
{
	Counts c;
	c.Parse("Inter-|   Receive                                                |  Transmit\n"
		" face |bytes    packets errs drop fifo frame compressed multicast|bytes    "
		"packets errs drop fifo colls carrier compressed\n"
		"    lo:     504       6    0    0    0     0          0         0      504       "
		"6    0    0    0     0       0          0\n"
		"  eth0: 1000000   12345    1    2    3     4          5         6  2000000   "
		"54321    0    0    0     0       0          0\n"
		"eth0.5:99999999999 18446744073709551 0 0 0 0 0 0 1 2 0 0 0 0 0 0\n"
		"nonsense\n",
		[&](FILE *f) { host_parse_dev(f, "eth0", c.v); });
	EXPECT_EQ(c.v[UDPLANE_HOST_INTERFACE_RX], 12345u);
	EXPECT_EQ(c.v[UDPLANE_HOST_INTERFACE_TX], 54321u);
	EXPECT_EQ(c.v[UDPLANE_HOST_OTHER_RX], 6u + 18446744073709551u);
}

TEST(Host, UdpOfBothFamilies)
{
	Counts c;
	c.Parse("Ip: Forwarding DefaultTTL\nIp: 1 64\n"
		"Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors "
		"InCsumErrors\n"
		"Udp: 100 5 7 200 3 0 0\n"
		"UdpLite: InDatagrams NoPorts\nUdpLite: 9 9\n",
		[&](FILE *f) { host_parse_snmp(f, c.v); });
	c.Parse("Ip6InReceives                   \t9\nUdp6InDatagrams                 "
		"\t10\nUdp6OutDatagrams                \t20\n"
		"Udp6RcvbufErrors                \t4\nUdpLite6InDatagrams             \t99\n",
		[&](FILE *f) { host_parse_snmp6(f, c.v); });
	EXPECT_EQ(c.v[UDPLANE_HOST_UDP_IN], 110u);
	EXPECT_EQ(c.v[UDPLANE_HOST_UDP_OUT], 220u);
	EXPECT_EQ(c.v[UDPLANE_HOST_UDP_IN_LOST], 7u);
}

TEST(Host, WhatMakesNoSenseIsSkipped)
{
	for (const char *text : {"Udp:\n", "Udp: InDatagrams\n", "Udp: InDatagrams\nUdp: x\n",
				 "Udp: InDatagrams\nIp: 4\n"}) {
		Counts c;
		c.Parse(text, [&](FILE *f) { host_parse_snmp(f, c.v); });
		for (uint64_t v : c.v)
			EXPECT_EQ(v, 0u) << text;
	}
}

TEST(Host, ReadsThisMachine)
{
	uint64_t v[UDPLANE_HOST_COUNTER_CNT];
	memset(v, 0xff, sizeof(v));
	host_read("no such", v);
	EXPECT_EQ(v[UDPLANE_HOST_INTERFACE_RX], 0u);
}

} // namespace
