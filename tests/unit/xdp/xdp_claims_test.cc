// SPDX-License-Identifier: Apache-2.0
/* Claims and local addresses, as the XDP program sees them. */
#include <algorithm>
#include <map>

#include "tests/unit/xdp/xdp_program.h"

class XdpClaims : public XdpProgram
{
      protected:
	int probe(const std::string &dst, uint32_t dport, const std::string &src = "",
		  uint32_t sport = 40000)
	{
		Datagram d;

		d.dst = dst;
		d.src = !src.empty() ? src : d.v6() ? "2001:db8::9" : "192.0.2.9";
		d.dport = dport;
		d.sport = sport;
		return run(d);
	}

	void SetUp() override
	{
		XdpProgram::SetUp();
		if (IsSkipped())
			return;
		ASSERT_EQ(set_local({"192.0.2.1", "192.0.2.77", "2001:db8::1", "2001:db8::77"}), 0);
	}
};

TEST_F(XdpClaims, NothingClaimed)
{
	EXPECT_EQ(probe("192.0.2.1", 5060), XDP_COUNT_UNCLAIMED);
	EXPECT_EQ(probe("2001:db8::1", 5060), XDP_COUNT_UNCLAIMED);
}

TEST_F(XdpClaims, FamiliesAreApart)
{
	ASSERT_EQ(insert(claim("0.0.0.0", 5060)), 0);
	EXPECT_EQ(probe("192.0.2.1", 5060), XDP_COUNT_DIVERTED);
	EXPECT_EQ(probe("192.0.2.77", 5060), XDP_COUNT_DIVERTED);
	EXPECT_EQ(probe("2001:db8::1", 5060), XDP_COUNT_UNCLAIMED);
	ASSERT_EQ(remove(claim("0.0.0.0", 5060)), 0);
	ASSERT_EQ(insert(claim("::", 5060)), 0);
	EXPECT_EQ(probe("192.0.2.1", 5060), XDP_COUNT_UNCLAIMED);
	EXPECT_EQ(probe("2001:db8::77", 5060), XDP_COUNT_DIVERTED);
}

TEST_F(XdpClaims, SpecificAddress)
{
	ASSERT_EQ(insert(claim("192.0.2.77", 5060)), 0);
	ASSERT_EQ(insert(claim("2001:db8::77", 5060)), 0);
	EXPECT_EQ(probe("192.0.2.77", 5060), XDP_COUNT_DIVERTED);
	EXPECT_EQ(probe("2001:db8::77", 5060), XDP_COUNT_DIVERTED);
	EXPECT_EQ(probe("192.0.2.1", 5060), XDP_COUNT_UNCLAIMED);
	EXPECT_EQ(probe("2001:db8::1", 5060), XDP_COUNT_UNCLAIMED);
	EXPECT_EQ(probe("192.0.2.77", 5061), XDP_COUNT_UNCLAIMED);
	ASSERT_EQ(remove(claim("192.0.2.77", 5060)), 0);
	EXPECT_EQ(probe("192.0.2.77", 5060), XDP_COUNT_UNCLAIMED);
	EXPECT_EQ(probe("2001:db8::77", 5060), XDP_COUNT_DIVERTED);
}

TEST_F(XdpClaims, Connected)
{
	ASSERT_EQ(insert(claim("192.0.2.1", 5060, "192.0.2.9", 40000)), 0);
	ASSERT_EQ(insert(claim("2001:db8::1", 5060, "2001:db8::9", 40000)), 0);
	EXPECT_EQ(probe("192.0.2.1", 5060), XDP_COUNT_DIVERTED);
	EXPECT_EQ(probe("2001:db8::1", 5060), XDP_COUNT_DIVERTED);
	EXPECT_EQ(probe("192.0.2.1", 5060, "192.0.2.9", 40001), XDP_COUNT_UNCLAIMED);
	EXPECT_EQ(probe("192.0.2.1", 5060, "192.0.2.8", 40000), XDP_COUNT_UNCLAIMED);
	EXPECT_EQ(probe("192.0.2.77", 5060), XDP_COUNT_UNCLAIMED);
	EXPECT_EQ(probe("2001:db8::1", 5060, "2001:db8::8"), XDP_COUNT_UNCLAIMED);
	EXPECT_EQ(probe("192.0.2.1", 40000, "192.0.2.9", 5060), XDP_COUNT_UNCLAIMED);
}

TEST_F(XdpClaims, CountsEqualClaims)
{
	for (const device_claim &c :
	     {claim("0.0.0.0", 1), claim("2001:db8::1", 1), claim("192.0.2.1", 1, "1.2.3.4", 5)}) {
		ASSERT_EQ(insert(c), 0);
		ASSERT_EQ(insert(c), 0);
		ASSERT_EQ(remove(c), 0);
	}
	EXPECT_EQ(probe("192.0.2.77", 1), XDP_COUNT_DIVERTED);
	EXPECT_EQ(probe("2001:db8::1", 1), XDP_COUNT_DIVERTED);
	ASSERT_EQ(remove(claim("0.0.0.0", 1)), 0);
	EXPECT_EQ(probe("192.0.2.77", 1), XDP_COUNT_UNCLAIMED);
	EXPECT_EQ(probe("192.0.2.1", 1, "1.2.3.4", 5), XDP_COUNT_DIVERTED);
	EXPECT_EQ(remove(claim("0.0.0.0", 1)), -ENOENT);
	EXPECT_EQ(remove(claim("192.0.2.1", 1)), -ENOENT);
	EXPECT_EQ(remove(claim("192.0.2.1", 1, "1.2.3.4", 5)), 0);
	EXPECT_EQ(remove(claim("2001:db8::1", 1)), 0);
	EXPECT_EQ(shared()->port[htons(1)], 0);
}

TEST_F(XdpClaims, Refused)
{
	device_claim c = claim("0.0.0.0", 0);

	EXPECT_EQ(insert(c), -EINVAL);
	c = claim("0.0.0.0", 1);
	c.local.family = AF_UNIX;
	EXPECT_EQ(insert(c), -EINVAL);
	c = claim("0.0.0.0", 1);
	c.peer.family = AF_INET;
	EXPECT_EQ(insert(c), -EINVAL) << "a peer of the wildcard";
	c = claim("192.0.2.1", 1);
	c.peer.family = AF_INET6;
	EXPECT_EQ(insert(c), -EINVAL) << "a peer of the other family";
}

TEST_F(XdpClaims, FullTablesSayNoSpace)
{
	int inserted = 0, err;

	while (!(err = insert(claim("192.0.2.1", 7, "10.0.0.1", 1 + inserted))))
		ASSERT_LT(++inserted, 5000);
	EXPECT_EQ(err, -ENOSPC);
	EXPECT_EQ(inserted, 1024);
	ASSERT_EQ(insert(claim("0.0.0.0", 8)), 0);
	for (int i = 0; i < inserted; i++)
		ASSERT_EQ(remove(claim("192.0.2.1", 7, "10.0.0.1", 1 + i)), 0);
	EXPECT_EQ(shared()->port[htons(7)], 0);
	EXPECT_EQ(claims.ref.cnt, 1u);
}

/* Random claims and local addresses against a plain model; counts, collisions, moved entries and
 * slots all come up. */
TEST_F(XdpClaims, RandomAgainstModel)
{
	const std::vector<std::string> addrs = {"0.0.0.0", "192.0.2.1",	  "192.0.2.77",
						"::",	   "2001:db8::1", "2001:db8::77"};
	std::vector<std::string> local = addrs;
	std::map<std::string, int> model;
	uint32_t state = 7;
	auto next = [&state](uint32_t n) {
		return (state = state * 1664525 + 1013904223) / 65536 % n;
	};

	for (int i = 0; i < 30000; i++) {
		std::string addr = addrs[next(6)], peer;
		uint32_t port = 100 + next(20), peer_port = next(8) + 1;

		if (addr.size() > 7 && next(2))
			peer = addr[0] == '1' ? "192.0.2.9" : "2001:db8::9";
		std::string name = addr + "/" + std::to_string(port) +
				   (peer.empty() ? "" : "/" + std::to_string(peer_port));
		device_claim c = claim(addr, port, peer, peer_port);

		if (next(2) && model[name] < 3) {
			ASSERT_EQ(insert(c), 0);
			model[name]++;
		} else {
			ASSERT_EQ(remove(c), model[name] ? 0 : -ENOENT);
			model[name] -= model[name] > 0;
		}
		if (i % 100 == 0) {
			std::vector<std::string> list = {"10.0.0.1", "10.0.0.2", "10.0.0.3",
							 "fd00::1",  "fd00::2",	 "fd00::3"};

			for (size_t n = addrs.size(), at = next(n); n;
			     n--, at = (at + 1) % addrs.size())
				list.insert(list.begin() + next(list.size()), addrs[at]);
			list.erase(list.begin() + next(list.size()));
			ASSERT_EQ(set_local(list), 0);
			local.assign(list.begin(), list.end());
		}
		if (i % 10)
			continue;
		std::string dst = addrs[1 + next(2) + 3 * next(2)],
			    any = dst[0] == '1' ? "0.0.0.0" : "::", p = "/" + std::to_string(port);
		bool want = model[any + p] || model[dst + p] ||
			    model[dst + p + "/" + std::to_string(peer_port)];

		int verdict = want ? XDP_COUNT_DIVERTED : XDP_COUNT_UNCLAIMED;

		if (std::find(local.begin(), local.end(), dst) == local.end())
			verdict = XDP_COUNT_NOT_LOCAL;
		ASSERT_EQ(probe(dst, port, "", peer_port), verdict) << dst << p;
	}
}

/* --- local addresses --- */

TEST_F(XdpClaims, ManyLocalAddresses)
{
	std::vector<std::string> list;

	ASSERT_EQ(insert(claim("0.0.0.0", 9)), 0);
	ASSERT_EQ(insert(claim("::", 9)), 0);
	for (int i = 1; i <= 200; i++) {
		list.push_back("10.1.0." + std::to_string(i));
		list.push_back("fd00::" + std::to_string(i));
	}
	ASSERT_EQ(set_local(list), 0);
	EXPECT_EQ(probe("192.0.2.1", 9), XDP_COUNT_NOT_LOCAL);
	EXPECT_EQ(probe("2001:db8::1", 9), XDP_COUNT_NOT_LOCAL);
	for (const std::string &a : list)
		EXPECT_EQ(probe(a, 9), XDP_COUNT_DIVERTED) << a;
	EXPECT_EQ(probe("10.1.0.201", 9), XDP_COUNT_NOT_LOCAL);
	list.erase(list.begin(), list.begin() + 2);
	ASSERT_EQ(set_local(list), 0);
	EXPECT_EQ(probe("10.1.0.1", 9), XDP_COUNT_NOT_LOCAL);
	EXPECT_EQ(probe("fd00::1", 9), XDP_COUNT_NOT_LOCAL);
	for (const std::string &a : list)
		EXPECT_EQ(probe(a, 9), XDP_COUNT_DIVERTED) << a;
	ASSERT_EQ(set_local({"10.1.0.9"}), 0);
	EXPECT_EQ(shared()->local_more, 0u);
	EXPECT_EQ(probe("10.1.0.9", 9), XDP_COUNT_DIVERTED);
	EXPECT_EQ(probe("fd00::9", 9), XDP_COUNT_NOT_LOCAL);
	ASSERT_EQ(set_local({}), 0);
	EXPECT_EQ(probe("10.1.0.9", 9), XDP_COUNT_NOT_LOCAL);
}

TEST_F(XdpClaims, OnlyUnicastBecomesLocal)
{
	ASSERT_EQ(insert(claim("0.0.0.0", 9)), 0);
	ASSERT_EQ(insert(claim("::", 9)), 0);
	ASSERT_EQ(set_local({"0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "::", "::1",
			     "ff02::1"}),
		  0);
	for (const char *dst :
	     {"0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "ff02::1"})
		EXPECT_EQ(probe(dst, 9), XDP_COUNT_NOT_LOCAL) << dst;
}

TEST_F(XdpClaims, TooManyLocalAddresses)
{
	std::vector<std::string> list;

	for (int i = 0; i <= XDP_LOCAL_MAX; i++)
		list.push_back("10.1." + std::to_string(i / 256) + "." + std::to_string(i % 256));
	EXPECT_EQ(set_local(list), -ENOSPC);
	ASSERT_EQ(insert(claim("0.0.0.0", 9)), 0);
	EXPECT_EQ(probe("192.0.2.1", 9), XDP_COUNT_DIVERTED) << "the old set still holds";
	list.pop_back();
	EXPECT_EQ(set_local(list), 0);
	EXPECT_EQ(probe("10.1.3.255", 9), XDP_COUNT_DIVERTED);
}

/* The device may load the program again for another way of attaching: everything must be there
 * again. */
TEST_F(XdpClaims, SurvivesLoadingAnew)
{
	udplane_xdp *old = prog;

	ASSERT_EQ(insert(claim("0.0.0.0", 1)), 0);
	ASSERT_EQ(insert(claim("2001:db8::77", 2)), 0);
	ASSERT_EQ(insert(claim("192.0.2.1", 3, "192.0.2.9", 40000)), 0);
	ASSERT_EQ(set_sources({"!192.0.2.77/32", "0.0.0.0/0"}), 0);
	xdp_claims kept = claims;
	load(false);
	xdp_claims_free(&claims);
	claims = kept;
	ASSERT_EQ(xdp_claims_use(&claims, shared(), bpf_map__fd(prog->maps.local),
				 bpf_map__fd(prog->maps.claims_addr),
				 bpf_map__fd(prog->maps.claims_conn),
				 bpf_map__fd(prog->maps.sources), bpf_map__fd(prog->maps.excluded6),
				 bpf_map__fd(prog->maps.members)),
		  0);
	EXPECT_EQ(probe("192.0.2.77", 1), XDP_COUNT_DIVERTED);
	EXPECT_EQ(probe("2001:db8::77", 2), XDP_COUNT_DIVERTED);
	EXPECT_EQ(probe("192.0.2.1", 3), XDP_COUNT_DIVERTED);
	EXPECT_EQ(probe("192.0.2.1", 2), XDP_COUNT_UNCLAIMED);
	EXPECT_EQ(probe("192.0.2.1", 1, "192.0.2.77"), XDP_COUNT_SOURCE);
	udplane_xdp__destroy(old);
}

/* A claim on an address outlives the address's slot, and its being local at all. */
TEST_F(XdpClaims, SlotsAreReused)
{
	for (const char *a : {"192.0.2.1", "2001:db8::1", "10.0.0.5", "fd00::5"})
		ASSERT_EQ(insert(claim(a, 9)), 0);
	ASSERT_EQ(insert(claim("192.0.2.1", 10)), 0);
	EXPECT_EQ(probe("192.0.2.1", 9), XDP_COUNT_DIVERTED);
	EXPECT_EQ(probe("2001:db8::1", 9), XDP_COUNT_DIVERTED);
	EXPECT_EQ(probe("10.0.0.5", 9), XDP_COUNT_NOT_LOCAL);
	ASSERT_EQ(set_local({"10.0.0.5", "10.0.0.6", "fd00::5", "fd00::6"}), 0);
	for (const char *a : {"10.0.0.5", "fd00::5"}) {
		EXPECT_EQ(probe(a, 9), XDP_COUNT_DIVERTED) << a;
		EXPECT_EQ(probe(a, 10), XDP_COUNT_UNCLAIMED) << a;
	}
	for (const char *a : {"10.0.0.6", "fd00::6"})
		EXPECT_EQ(probe(a, 9), XDP_COUNT_UNCLAIMED) << a;
	ASSERT_EQ(set_local({"10.0.0.7", "10.0.0.8", "10.0.0.9", "10.0.0.5", "192.0.2.1", "fd00::6",
			     "fd00::7", "fd00::8", "fd00::9", "2001:db8::1"}),
		  0);
	for (const char *a : {"10.0.0.5", "192.0.2.1", "2001:db8::1"})
		EXPECT_EQ(probe(a, 9), XDP_COUNT_DIVERTED) << a;
	for (const char *a : {"10.0.0.7", "10.0.0.9", "fd00::6", "fd00::9"})
		EXPECT_EQ(probe(a, 9), XDP_COUNT_UNCLAIMED) << a;
	EXPECT_EQ(probe("192.0.2.1", 10), XDP_COUNT_DIVERTED);
	for (const char *a : {"192.0.2.1", "2001:db8::1", "10.0.0.5", "fd00::5"})
		ASSERT_EQ(remove(claim(a, 9)), 0);
	EXPECT_EQ(shared()->port[htons(9)], 0);
	ASSERT_EQ(remove(claim("192.0.2.1", 10)), 0);
	EXPECT_EQ(shared()->port[htons(10)], 0);
}

/* Not a test of speed; says what each kind of look-up costs. */
TEST_F(XdpClaims, SourcesThatAreOurOwnAreTheKernels)
{
	ASSERT_EQ(insert(claim("0.0.0.0", 5060)), 0);
	ASSERT_EQ(insert(claim("::", 5060)), 0);
	EXPECT_EQ(probe("192.0.2.1", 5060, "192.0.2.77"), XDP_COUNT_DIVERTED)
		<< "nothing is known yet";
	ASSERT_EQ(set_sources({"!192.0.2.1/32", "!192.0.2.77/32", "!192.0.2.255/32", "0.0.0.0/0"}),
		  0);
	EXPECT_EQ(shared()->source_all, 0u);
	for (const char *own : {"192.0.2.1", "192.0.2.77", "192.0.2.255"})
		EXPECT_EQ(probe("192.0.2.1", 5060, own), XDP_COUNT_SOURCE) << own;
	EXPECT_EQ(probe("2001:db8::1", 5060, "2001:db8::77"), XDP_COUNT_DIVERTED)
		<< "Linux does not mind";
	/* Foreign addresses with the same filter bit as one of ours are looked up. */
	for (uint32_t i = 1; i < 60000; i++) {
		std::string stranger =
			"10.0." + std::to_string(i >> 8) + "." + std::to_string(i & 255);
		uint32_t bit = XDP_SOURCE_BIT(inet_addr(stranger.c_str()));

		if (bit == XDP_SOURCE_BIT(inet_addr("192.0.2.1"))) {
			ASSERT_EQ(probe("192.0.2.1", 5060, stranger), XDP_COUNT_DIVERTED)
				<< stranger;
		}
	}
	ASSERT_EQ(set_sources({"!192.0.2.77/32", "0.0.0.0/0"}), 0);
	EXPECT_EQ(probe("192.0.2.1", 5060, "192.0.2.1"), XDP_COUNT_DIVERTED);
	EXPECT_EQ(probe("192.0.2.1", 5060, "192.0.2.77"), XDP_COUNT_SOURCE);
}

TEST_F(XdpClaims, SourcesByPrefix)
{
	ASSERT_EQ(insert(claim("0.0.0.0", 5060)), 0);
	ASSERT_EQ(set_sources({"!192.0.2.1/32", "10.0.0.0/24", "!10.0.0.0/16", "10.0.0.0/8",
			       "!0.0.0.0/0"}),
		  0);
	EXPECT_EQ(probe("192.0.2.1", 5060, "10.9.9.9"), XDP_COUNT_DIVERTED);
	EXPECT_EQ(probe("192.0.2.1", 5060, "10.0.9.9"), XDP_COUNT_SOURCE);
	EXPECT_EQ(probe("192.0.2.1", 5060, "10.0.0.9"), XDP_COUNT_DIVERTED);
	EXPECT_EQ(probe("192.0.2.1", 5060, "8.8.8.8"), XDP_COUNT_SOURCE);
	EXPECT_EQ(probe("192.0.2.1", 5060, "192.0.2.1"), XDP_COUNT_SOURCE);
	ASSERT_EQ(set_sources({"!192.0.2.1/32", "0.0.0.0/0"}), 0);
	EXPECT_EQ(probe("192.0.2.1", 5060, "10.0.9.9"), XDP_COUNT_DIVERTED);
	EXPECT_EQ(probe("192.0.2.1", 5060, "192.0.2.1"), XDP_COUNT_SOURCE);
	EXPECT_EQ(shared()->source_all, 0u);
}

TEST_F(XdpClaims, ExcludedSourcesOfIpv6)
{
	ASSERT_EQ(insert(claim("0.0.0.0", 5060)), 0);
	ASSERT_EQ(insert(claim("::", 5060)), 0);
	EXPECT_EQ(probe("2001:db8::1", 5060, "2001:db8:1::7"), XDP_COUNT_DIVERTED);
	ASSERT_EQ(set_excluded({"2001:db8:1::7/128", "2001:db8:2::/48"}), 0);
	EXPECT_EQ(probe("2001:db8::1", 5060, "2001:db8:1::7"), XDP_COUNT_SOURCE);
	EXPECT_EQ(probe("2001:db8::1", 5060, "2001:db8:1::8"), XDP_COUNT_DIVERTED);
	EXPECT_EQ(probe("2001:db8::1", 5060, "2001:db8:2:3::4"), XDP_COUNT_SOURCE);
	EXPECT_EQ(probe("192.0.2.1", 5060, "10.9.9.9"), XDP_COUNT_DIVERTED);
	ASSERT_EQ(set_excluded({"2001:db8:2::/48", "2001:db8:1::8/128"}), 0);
	EXPECT_EQ(probe("2001:db8::1", 5060, "2001:db8:1::7"), XDP_COUNT_DIVERTED);
	EXPECT_EQ(probe("2001:db8::1", 5060, "2001:db8:1::8"), XDP_COUNT_SOURCE);
	EXPECT_EQ(probe("2001:db8::1", 5060, "2001:db8:2:3::4"), XDP_COUNT_SOURCE);
	ASSERT_EQ(set_excluded({"::/0"}), 0);
	EXPECT_EQ(probe("2001:db8::1", 5060, "2001:db8:1::7"), XDP_COUNT_SOURCE);
	ASSERT_EQ(set_excluded({}), 0);
	EXPECT_EQ(probe("2001:db8::1", 5060, "2001:db8:1::8"), XDP_COUNT_DIVERTED);
	EXPECT_EQ(shared()->excluded6, (uint32_t)XDP_EXCLUDED_NONE);
}

TEST_F(XdpClaims, MoreExcludedSourcesThanFitAreAllOfIpv6)
{
	std::vector<std::string> many;

	ASSERT_EQ(insert(claim("::", 5060)), 0);
	for (int i = 0; i <= XDP_EXCLUDED_MAX; i++)
		many.push_back("2001:db8:9::" + std::to_string(i) + "/128");
	EXPECT_EQ(set_excluded(many), -ENOSPC);
	EXPECT_EQ(probe("2001:db8::1", 5060, "2001:db8:1::7"), XDP_COUNT_SOURCE);
	many.pop_back();
	EXPECT_EQ(set_excluded(many), 0);
	EXPECT_EQ(probe("2001:db8::1", 5060, "2001:db8:1::7"), XDP_COUNT_DIVERTED);
	EXPECT_EQ(probe("2001:db8::1", 5060, "2001:db8:9::3"), XDP_COUNT_SOURCE);
	for (std::string &text : many) /* an old and a new set at once */
		text.replace(0, 11, "2001:db8:a:");
	EXPECT_EQ(set_excluded(many), 0);
	EXPECT_EQ(probe("2001:db8::1", 5060, "2001:db8:a::3"), XDP_COUNT_SOURCE);
	EXPECT_EQ(probe("2001:db8::1", 5060, "2001:db8:9::3"), XDP_COUNT_DIVERTED);
}

TEST_F(XdpClaims, MoreSourcesThanFitAreAllTheKernels)
{
	std::vector<device_source> many;

	ASSERT_EQ(insert(claim("0.0.0.0", 5060)), 0);
	for (uint32_t i = 0; i < XDP_SOURCE_MAX; i++)
		many.push_back({i * 7919, 32, i % 2 == 0});
	std::sort(many.begin(), many.end(), [](auto &a, auto &b) { return a.addr_be < b.addr_be; });
	many.push_back({0, 0, true});
	EXPECT_EQ(xdp_claims_set_sources(&claims, many.data(), many.size()), -ENOSPC);
	EXPECT_EQ(probe("192.0.2.1", 5060), XDP_COUNT_SOURCE);
	many.erase(many.begin());
	EXPECT_EQ(xdp_claims_set_sources(&claims, many.data(), many.size()), 0);
	EXPECT_EQ(probe("192.0.2.1", 5060), XDP_COUNT_DIVERTED);
	EXPECT_EQ(set_sources({"!192.0.2.9/32", "0.0.0.0/0"}), 0) << "the old ones make room";
	EXPECT_EQ(probe("192.0.2.1", 5060), XDP_COUNT_SOURCE);
}

TEST_F(XdpClaims, Cost)
{
	Datagram d;
	uint32_t unclaimed, wild, addr, conn, slot, filtered;

	EXPECT_EQ(run(d.frame(), 200000, &unclaimed), XDP_COUNT_UNCLAIMED);
	ASSERT_EQ(insert(claim("192.0.2.1", 5060, "192.0.2.9", 40000)), 0);
	EXPECT_EQ(run(d.frame(), 200000, &conn), XDP_COUNT_DIVERTED);
	ASSERT_EQ(insert(claim("192.0.2.1", 5060)), 0);
	EXPECT_EQ(run(d.frame(), 200000, &slot), XDP_COUNT_DIVERTED);
	ASSERT_EQ(set_local({"1.0.0.1", "1.0.0.2", "1.0.0.3", "1.0.0.4"}), 0);
	ASSERT_EQ(set_local({"1.0.0.1", "1.0.0.2", "1.0.0.3", "1.0.0.4", "192.0.2.1"}), 0);
	EXPECT_EQ(run(d.frame(), 200000, &addr), XDP_COUNT_DIVERTED);
	ASSERT_EQ(insert(claim("0.0.0.0", 5060)), 0);
	ASSERT_EQ(set_local({"192.0.2.1"}), 0);
	EXPECT_EQ(run(d.frame(), 200000, &wild), XDP_COUNT_DIVERTED);
	ASSERT_EQ(set_sources({"192.0.2.0/24", "!0.0.0.0/0"}), 0);
	EXPECT_EQ(run(d.frame(), 200000, &filtered), XDP_COUNT_DIVERTED);
	printf("ns a frame: unclaimed %u, wildcard %u (rp_filter: %u), specific address %u (the "
	       "fifth: %u), connected %u\n",
	       unclaimed, wild, filtered, slot, addr, conn);
}
