// SPDX-License-Identifier: Apache-2.0
#include "client/ctl/verdict.h"

#include <errno.h>
#include <gtest/gtest.h>

#include "tests/unit/ctl/image.h"

namespace
{

struct Case {
	Case()
	{
		image.ask(5060);
	}

	void decide()
	{
		Shot shot(image);
		struct plain_list list = {plain.data(), plain.size(), plain.size()};
		struct verdict_input in = {5060, &shot.s, 0, nullptr, &list};
		verdict_decide(&v, &in);
		printed = text_of([&](FILE *f) { verdict_print(f, &v, &in); });
	}

	bool says(const char *part) const
	{
		return printed.find(part) != std::string::npos;
	}

	Image image;
	std::vector<struct plain_socket> plain;
	struct verdict v = {};
	std::string printed;
};

TEST(Verdict, NoSidecar)
{
	struct plain_list none = {};
	struct verdict v;
	struct verdict_input in = {5060, nullptr, -ENOENT, "/x: no such socket", &none};
	verdict_decide(&v, &in);
	EXPECT_FALSE(v.accelerated);
	EXPECT_STREQ("no_sidecar", v.reason);
	EXPECT_NE(nullptr, strstr(v.text, "/x: no such socket"));
	in.attach_error = -EPROTONOSUPPORT;
	verdict_decide(&v, &in);
	EXPECT_STREQ("abi_version", v.reason);
	in.attach_error = -ETIMEDOUT;
	verdict_decide(&v, &in);
	EXPECT_STREQ("unreachable", v.reason);
}

TEST(Verdict, NotRunning)
{
	Case c;
	c.image.claim("0.0.0.0", 5060, UDPLANE_SOCKET_ACTIVE);
	c.image.zone()->state = UDPLANE_STATE_LEAVING;
	c.decide();
	EXPECT_FALSE(c.v.accelerated);
	EXPECT_STREQ("leaving", c.v.reason);
	c.image.zone()->state = UDPLANE_STATE_STARTING;
	c.decide();
	EXPECT_STREQ("starting", c.v.reason);
}

TEST(Verdict, Accelerated)
{
	Case c;
	c.image.claim("0.0.0.0", 5060, UDPLANE_SOCKET_ACTIVE);
	c.decide();
	EXPECT_TRUE(c.v.accelerated);
	EXPECT_STREQ("none", c.v.reason);
	EXPECT_TRUE(c.says("port 5060 is accelerated\n")) << c.printed;
	EXPECT_FALSE(c.says("to do")) << c.printed;
	EXPECT_TRUE(c.says("pid 812 (server)")) << c.printed;
}

TEST(Verdict, RestingIsAccelerated)
{
	Case c;
	c.image.claim("0.0.0.0", 5060, UDPLANE_SOCKET_ACTIVE);
	for (uint32_t w = 0; w < 2; w++)
		c.image.worker(w)->awake = c.image.worker(w)->engaged = 0;
	c.decide();
	EXPECT_TRUE(c.v.accelerated);
	EXPECT_STREQ("resting", c.v.reason);
	EXPECT_TRUE(c.says("mode balanced")) << c.printed;
}

TEST(Verdict, SomeOfItsSockets)
{
	Case c;
	c.image.claim("0.0.0.0", 5060, UDPLANE_SOCKET_ACTIVE);
	c.image.claim("10.0.0.1", 5060, UDPLANE_SOCKET_KERNEL, UDPLANE_REASON_OPTION, "IP_HDRINCL");
	c.decide();
	EXPECT_TRUE(c.v.accelerated);
	EXPECT_TRUE(c.says("1 of its 2 sockets")) << c.printed;
	EXPECT_TRUE(c.says("IP_HDRINCL")) << c.printed;
}

TEST(Verdict, BackendKernel)
{
	Case c;
	c.image.zone()->backend = UDPLANE_BACKEND_KERNEL;
	strcpy(c.image.zone()->backend_text, "eth0 has another XDP program");
	c.decide();
	EXPECT_STREQ("backend_kernel", c.v.reason);
	EXPECT_TRUE(c.says("eth0 has another XDP program")) << c.printed;
}

TEST(Verdict, NotAskedFor)
{
	Case c;
	memset(c.image.at<char>(c.image.zone()->ports_off), 0, 8192);
	c.image.ask(53);
	c.decide();
	EXPECT_STREQ("port_not_asked_for", c.v.reason);
	EXPECT_TRUE(c.says("it was asked for 53\n")) << c.printed;
	EXPECT_TRUE(c.says("udplane.io/ports")) << c.printed;
}

TEST(Verdict, ClaimedButNotDiverted)
{
	Case c;
	c.image.claim("0.0.0.0", 5060, UDPLANE_SOCKET_PENDING, UDPLANE_REASON_SHARED,
		      "uid 0 holds *:5060");
	c.decide();
	EXPECT_STREQ("shared_with_plain_socket", c.v.reason);
	EXPECT_TRUE(c.says("not diverted yet: uid 0 holds *:5060")) << c.printed;
	c.image.socket(0)->state = UDPLANE_SOCKET_KERNEL;
	c.image.socket(0)->reason = 4000; /* of a newer udplaned */
	c.decide();
	EXPECT_STREQ("unknown", c.v.reason);
}

TEST(Verdict, PlainSocketHoldsIt)
{
	Case c;
	c.plain.resize(1);
	c.plain[0].local = Image::address("0.0.0.0", 5060);
	c.plain[0].uid = 1000;
	c.image.zone()->refused[UDPLANE_REASON_OTHER_NETNS] = 2;
	c.decide();
	EXPECT_STREQ("not_claimed", c.v.reason);
	EXPECT_TRUE(c.says("a process of uid 1000 has bound it (*:5060)")) << c.printed;
	EXPECT_TRUE(c.says("other_network_namespace 2")) << c.printed;
	c.plain[0].pid = 5;
	strcpy(c.plain[0].comm, "dnsd");
	c.decide();
	EXPECT_TRUE(c.says("pid 5 (dnsd) has bound it")) << c.printed;
	EXPECT_TRUE(c.says("LD_PRELOAD=libudplane-preload.so")) << c.printed;
	strcpy(c.plain[0].obstacle, "statically linked: nothing can be preloaded");
	c.decide();
	EXPECT_TRUE(c.says("the program is statically linked")) << c.printed;
	EXPECT_FALSE(c.says("LD_PRELOAD")) << c.printed;
	c.plain[0].obstacle[0] = 0;
	c.plain[0].preloaded = true;
	c.decide();
	EXPECT_TRUE(c.says("runs with libudplane-preload.so, but")) << c.printed;
}

TEST(Verdict, LoopbackNeverComesByADevice)
{
	for (const char *host : {"127.0.0.1", "127.9.9.9", "::1"}) {
		Case c;
		c.plain.resize(1);
		c.plain[0].local = Image::address(host, 5060);
		c.decide();
		EXPECT_STREQ("address_not_ours", c.v.reason) << host;
	}
}

TEST(Verdict, Nobody)
{
	Case c;
	c.image.claim("0.0.0.0", 5061, UDPLANE_SOCKET_ACTIVE);
	c.decide();
	EXPECT_FALSE(c.v.accelerated);
	EXPECT_STREQ("nobody", c.v.reason);
}

TEST(Verdict, LongestTextsFit)
{
	Case c;
	for (uint32_t i = 0; i < UDPLANE_REASON_CNT; i++)
		c.image.zone()->refused[i] = UINT64_MAX;
	c.decide();
	EXPECT_LT(strlen(c.v.text), sizeof(c.v.text));
	EXPECT_STREQ("nobody", c.v.reason);
}

} // namespace
