// SPDX-License-Identifier: Apache-2.0
#include "sidecar/environment/ipvs.h"
#include "sidecar/environment/judge.h"
#include <arpa/inet.h>
#include <errno.h>
#include <gtest/gtest.h>
#include <string>

namespace
{
const char heading[] = "IP Virtual Server version 1.2.1 (size=4096)\n"
		       "Prot LocalAddress:Port Scheduler Flags\n"
		       "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n";
const char listed[] =
	"TCP  0A600001:01BB rr\n"
	"  -> 0A000001:192B      Masq    1      0          0\n"
	"UDP  0A60000A:0035 rr\n"
	"  -> 0A000001:14E9      Masq    1      0          0\n"
	"  -> 0A630002:14E9      Masq    1      0          3\n"
	"UDP  [fd96:0000:0000:0000:0000:0000:0000:0010]:0035 rr persistent 10800 FFFFFFFF\n"
	"  -> [fd99:0000:0000:0000:0000:0000:0000:0002]:14E9      Masq    1      0          0\n"
	"FWM  00000007 wlc\n"
	"  -> 0A630003:0000      Route   1      0          0\n"
	"SCTP 0A600001:0035 rr\n"
	"  -> 0A630004:14E9      Masq    1      0          0\n";

int Read(struct ipvs *v, const std::string &text, uint64_t now_ns = 0, bool *changed = nullptr)
{
	FILE *f = fmemopen(const_cast<char *>(text.data()), text.size(), "r");
	bool any;
	int err = ipvs_read(v, f, now_ns, changed ? changed : &any);

	fclose(f);
	return err;
}

std::string Say(const struct ipvs &v)
{
	std::string out;

	for (uint32_t i = 0; i < v.end_cnt; i++) {
		char addr[INET6_ADDRSTRLEN];

		inet_ntop(v.end[i].family, v.end[i].addr, addr, sizeof(addr));
		out += std::string(v.end[i].server ? "> " : "") + addr + " " +
		       std::to_string(ntohs(v.end[i].port_be)) + "\n";
	}
	return out;
}

const char said[] = "10.96.0.10 53\n> 10.99.0.3 0\n> 10.0.0.1 5353\n> 10.99.0.2 5353\n"
		    "fd96::10 53\n> fd99::2 5353\n";

TEST(Ipvs, ServicesOverUdpAndTheirServers)
{
	struct ipvs v = {};
	bool changed = false;

	ASSERT_EQ(0, ipvs_read(&v, nullptr, 0, &changed));
	EXPECT_FALSE(changed);
	ASSERT_EQ(0, Read(&v, std::string(heading) + listed, 1, &changed));
	EXPECT_TRUE(changed);
	EXPECT_EQ(said, Say(v));
	ASSERT_EQ(0, Read(&v, std::string(heading) + listed + listed, 2, &changed));
	EXPECT_FALSE(changed) << "a server may belong to several services";
	EXPECT_EQ(said, Say(v));
	ipvs_free(&v);
}

TEST(Ipvs, WhatIsNotListedAnyMoreStaysForItsFlows)
{
	const char other[] = "UDP  0A60000B:0035 rr\n";
	const uint64_t gone = 7 + IPVS_LINGER_NS;
	struct ipvs v = {};
	bool changed = false;

	ASSERT_EQ(0, Read(&v, std::string(heading) + listed, 7));
	ASSERT_EQ(0, Read(&v, heading, 8, &changed));
	EXPECT_FALSE(changed);
	ASSERT_EQ(0, Read(&v, std::string(heading) + other, gone - 1, &changed));
	EXPECT_TRUE(changed);
	EXPECT_EQ(7u, v.end_cnt);
	ASSERT_EQ(0, Read(&v, heading, gone, &changed));
	EXPECT_TRUE(changed);
	EXPECT_EQ("10.96.0.11 53\n", Say(v));
	ASSERT_EQ(0, ipvs_read(&v, nullptr, gone + IPVS_LINGER_NS, &changed));
	EXPECT_TRUE(changed);
	EXPECT_EQ(0u, v.end_cnt);
	ipvs_free(&v);
}

TEST(Ipvs, ManyOfThem)
{
	std::string text = heading;
	struct ipvs v = {};

	for (int i = 0; i < 3000; i++) {
		char line[64];

		snprintf(line, sizeof(line), "UDP  0A60%04X:0035 rr\n", i);
		text += line;
	}
	ASSERT_EQ(0, Read(&v, text));
	EXPECT_EQ(3000u, v.end_cnt);
	ipvs_free(&v);
}

TEST(Ipvs, ALineThatIsNotUnderstood)
{
	struct ipvs v = {};

	ASSERT_EQ(0, Read(&v, std::string(heading) + listed));
	for (const char *line : {"UDP  nonsense:0035 rr\n", "UDP  [fd96:::1]:0035 rr\n", "UDP  \n",
				 "UDP  0A60000A:0035 rr\n  -> ?\n"}) {
		EXPECT_EQ(-EPROTO, Read(&v, std::string(heading) + line)) << line;
		EXPECT_EQ(said, Say(v)) << "what was known stays";
	}
	ipvs_free(&v);
}

class JudgeIpvs : public testing::Test
{
      protected:
	struct judge_world w = {};
	struct udplane_addr local = {}, peer = {};
	struct judge_verdict v = {};

	JudgeIpvs()
	{
		w.device_asks = true;
		w.ours = static_cast<uint8_t(*)[16]>(calloc(1, 16));
		w.ours_cnt = 1;
		inet_pton(AF_INET6, "::ffff:10.0.0.1", w.ours[0]);
		EXPECT_EQ(0, Read(&w.ipvs, std::string(heading) + listed));
		judge_prepare(&w);
	}
	~JudgeIpvs() override
	{
		judge_free(&w);
	}

	void Judge(uint16_t port, const char *addr = nullptr, bool six = false)
	{
		struct judge_socket s = {};

		local = {};
		local.family = addr ? AF_INET : 0;
		if (addr)
			inet_pton(AF_INET, addr, local.addr);
		s.v4 = !six;
		s.v6 = six;
		s.port_be = htons(port);
		s.local = &local;
		s.peer = &peer;
		judge_socket(&w, &s, &v);
	}
};

TEST_F(JudgeIpvs, ServicesAndServersAreExcludedAsPeers)
{
	std::string out;

	for (uint32_t i = 0; i < w.excluded_cnt; i++) {
		char addr[INET6_ADDRSTRLEN];

		inet_ntop(w.excluded[i].family, w.excluded[i].addr, addr, sizeof(addr));
		out += addr + ("/" + std::to_string(w.excluded[i].len)) + " ";
	}
	EXPECT_EQ("10.0.0.1/32 10.96.0.10/32 10.99.0.2/32 10.99.0.3/32 fd96::10/128 fd99::2/128 ",
		  out);
	EXPECT_STREQ("IPVS balances 10.96.0.10 port 53 (ipvsadm -Ln)", w.excluded_text);
	Judge(5060);
	EXPECT_EQ(UDPLANE_REASON_NONE, v.rx);
	EXPECT_EQ(UDPLANE_REASON_NONE, v.tx);
}

TEST_F(JudgeIpvs, AServiceAtItsOwnPortTakesWhatComesIn)
{
	Judge(53);
	EXPECT_EQ(UDPLANE_REASON_NETFILTER, v.rx);
	EXPECT_STREQ("IPVS balances 10.96.0.10 port 53 (ipvsadm -Ln)", v.rx_text);
	EXPECT_EQ(UDPLANE_REASON_NONE, v.tx);
	Judge(53, "10.0.0.1");
	EXPECT_EQ(UDPLANE_REASON_NONE, v.rx);
	Judge(53, "10.96.0.10");
	EXPECT_EQ(UDPLANE_REASON_NETFILTER, v.rx);
	Judge(53, nullptr, true);
	EXPECT_EQ(UDPLANE_REASON_NETFILTER, v.rx);
}

TEST_F(JudgeIpvs, WhatOneOfItsServersAnswersIsTurnedBack)
{
	Judge(5353);
	EXPECT_EQ(UDPLANE_REASON_NONE, v.rx);
	EXPECT_EQ(UDPLANE_REASON_NETFILTER, v.tx);
	EXPECT_STREQ("IPVS sends to 10.0.0.1 port 5353 (ipvsadm -Ln)", v.tx_text);
	Judge(5353, "10.0.0.2");
	EXPECT_EQ(UDPLANE_REASON_NONE, v.tx);
	Judge(5353, nullptr, true); /* its server is another host */
	EXPECT_EQ(UDPLANE_REASON_NONE, v.tx);
}

TEST_F(JudgeIpvs, WhatCannotBeReadIsLeftToLinux)
{
	ipvs_free(&w.ipvs);
	snprintf(w.ipvs_blind, sizeof(w.ipvs_blind), "/proc/net/ip_vs cannot be read: ?");
	judge_prepare(&w);
	Judge(5060);
	EXPECT_EQ(UDPLANE_REASON_NETFILTER, v.rx);
	EXPECT_EQ(UDPLANE_REASON_NETFILTER, v.tx);
}
} // namespace
