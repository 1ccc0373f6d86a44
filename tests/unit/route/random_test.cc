// SPDX-License-Identifier: Apache-2.0
// Random hosts and destinations against a model that walks over plain lists. Addresses come from
// few bits, so that prefixes nest, metrics tie and own addresses collide with routes.
#include <algorithm>
#include <optional>
#include <random>
#include <set>

#include "tests/unit/route/world.h"

namespace
{

bool Inside(const uint8_t *addr, const uint8_t *prefix, unsigned int len)
{
	for (unsigned int i = 0; i < len; i++)
		if ((addr[i / 8] ^ prefix[i / 8]) & (0x80 >> i % 8))
			return false;
	return true;
}

class Model
{
      public:
	explicit Model(World &w) : w_(w)
	{
	}

	std::string Say(uint8_t family, const Ip &dst)
	{
		const size_t len = family == AF_INET ? 4 : 16;

		for (const auto &a : w_.addrs)
			if (a.family == family && !memcmp(a.addr, dst.data(), len))
				return "local";
		if (const auto verdict = Local(family, dst))
			return *verdict;
		if (w_.in.policy_rules[family == AF_INET6])
			return "policy";
		std::string said = Unicast(family, dst, RT_TABLE_MAIN);
		if (said == "throw")
			said = family == AF_INET ? Unicast(family, dst, RT_TABLE_DEFAULT)
						 : "no_route";
		return said == "throw" ? "no_route" : said;
	}

      private:
	// The local table: the longest prefix; broadcast addresses of the host's own prefixes are
	// like /32 routes at its end.
	std::optional<std::string> Local(uint8_t family, const Ip &dst)
	{
		const struct route_route *best = nullptr;

		for (const auto &r : w_.routes)
			if (r.family == family && r.table == RT_TABLE_LOCAL &&
			    Inside(dst.data(), r.dst, r.prefix_len) &&
			    (!best || r.prefix_len > best->prefix_len))
				best = &r;
		if (best && best->prefix_len == 32 && family == AF_INET)
			return TypeOf(*best);
		for (const auto &a : w_.addrs) {
			uint32_t addr, mask, d;

			if (family != AF_INET || a.family != AF_INET || a.prefix_len > 30 ||
			    !a.prefix_len)
				continue;
			mask = htonl(~0u << (32 - a.prefix_len));
			memcpy(&addr, a.addr, 4);
			memcpy(&d, dst.data(), 4);
			if (d == (addr & mask) || d == (addr | ~mask))
				return "broadcast";
		}
		if (best)
			return TypeOf(*best);
		return std::nullopt;
	}

	static std::string TypeOf(const struct route_route &r)
	{
		if (r.odd)
			return "policy";
		return r.type == RTN_LOCAL	 ? "local"
		       : r.type == RTN_BROADCAST ? "broadcast"
						 : "policy";
	}

	std::string Unicast(uint8_t family, const Ip &dst, uint32_t table)
	{
		int longest = -1;
		std::vector<const struct route_route *> at;

		for (const auto &r : w_.routes)
			if (r.family == family && r.table == table &&
			    Inside(dst.data(), r.dst, r.prefix_len))
				longest = std::max<int>(longest, r.prefix_len);
		if (longest < 0)
			return "throw";
		for (const auto &r : w_.routes)
			if (r.family == family && r.table == table && r.prefix_len == longest &&
			    Inside(dst.data(), r.dst, r.prefix_len))
				at.push_back(&r);
		std::stable_sort(at.begin(), at.end(), [](const auto *a, const auto *b) {
			return a->priority < b->priority;
		});
		for (const auto *r : at) {
			if (r->odd)
				return "policy";
			if (r->priority == at[0]->priority &&
			    (r->type != at[0]->type || r->ifindex != at[0]->ifindex ||
			     r->mtu != at[0]->mtu || r->scope != at[0]->scope ||
			     r->has_gateway != at[0]->has_gateway ||
			     memcmp(r->gateway, at[0]->gateway, 16)))
				return "policy";
		}
		return Through(family, dst, *at[0]);
	}

	std::string Through(uint8_t family, const Ip &dst, const struct route_route &r)
	{
		const uint8_t *next = r.has_gateway ? r.gateway : dst.data();

		if (r.type == RTN_THROW)
			return "throw";
		if (r.type == RTN_UNREACHABLE)
			return "no_route";
		if (r.ifindex != kDevice)
			return "device";
		for (const auto &a : w_.addrs)
			if (r.has_gateway && a.family == family && !memcmp(a.addr, r.gateway, 16))
				return "policy";
		for (auto n = w_.neighs.rbegin(); n != w_.neighs.rend(); n++) {
			if (n->family != family || n->ifindex != kDevice ||
			    n->state == NUD_FAILED ||
			    memcmp(n->addr, next, family == AF_INET ? 4 : 16))
				continue;
			return "fast mac=" + std::to_string(n->mac[5]) +
			       " src=" + Source(family, r) +
			       " mtu=" + std::to_string(r.mtu ? r.mtu : w_.in.mtu);
		}
		return "neighbour";
	}

	// The worlds below have one IPv6 address, and IPv4 addresses of universal scope.
	std::string Source(uint8_t family, const struct route_route &r)
	{
		const struct route_addr *first = nullptr;

		for (const auto &a : w_.addrs) {
			if (a.family != family || a.ifindex != kDevice)
				continue;
			if (!first)
				first = &a;
			if (r.has_gateway && Inside(r.gateway, a.addr, a.prefix_len))
				return Text(family, a.addr);
		}
		return Text(family, first->addr);
	}

	World &w_;
};

class Random
{
      public:
	explicit Random(uint32_t seed) : engine_(seed)
	{
	}

	uint32_t Below(uint32_t n)
	{
		return static_cast<uint32_t>(engine_() % n);
	}

	// In 10/8 or fd00::/8, varying in the last 6 bits and in 4 bits farther up.
	Ip Address(uint8_t family)
	{
		Ip ip{};

		ip[0] = family == AF_INET ? 10 : 0xfd;
		ip[1] = static_cast<uint8_t>(Below(16) << 3);
		ip[family == AF_INET ? 3 : 15] = static_cast<uint8_t>(Below(64));
		return ip;
	}

      private:
	std::mt19937 engine_;
};

World RandomWorld(Random &random)
{
	World w;

	w.Address("10.0.0.1/24");
	w.Address("fd00::1/64");
	for (uint32_t i = random.Below(5); i--;)
		w.Address(Text(AF_INET, random.Address(AF_INET).data()) + "/" +
				  std::to_string(8 + random.Below(25)),
			  random.Below(2) ? kDevice : kOther);
	for (uint32_t i = random.Below(60); i--;) {
		const uint8_t family = random.Below(2) ? AF_INET : AF_INET6;
		const uint32_t bits = family == AF_INET ? 32 : 128;
		const uint32_t len =
			random.Below(3) ? bits - random.Below(8) : random.Below(bits + 1);
		struct route_route &r = w.Route(
			Text(family, random.Address(family).data()) + "/" + std::to_string(len),
			random.Below(2) ? Text(family, random.Address(family).data()) : "",
			random.Below(3), random.Below(4) ? kDevice : kOther);

		r.scope = RT_SCOPE_UNIVERSE;
		r.odd = !random.Below(30);
		r.mtu = random.Below(4) ? 0 : 1280 + random.Below(2);
		if (!random.Below(8))
			r.type = random.Below(2) ? RTN_UNREACHABLE : RTN_THROW;
		if (!random.Below(6) && family == AF_INET && r.type == RTN_UNICAST)
			r.table = RT_TABLE_DEFAULT;
		if (!random.Below(12)) {
			r.table = RT_TABLE_LOCAL;
			r.type = random.Below(2) ? RTN_LOCAL : RTN_BROADCAST;
		}
		// A prefix's host bits are zero in what the kernel reports.
		for (uint32_t bit = len; bit < bits; bit++)
			r.dst[bit / 8] &= static_cast<uint8_t>(~(0x80 >> bit % 8));
	}
	std::set<std::pair<uint8_t, Ip>> known; // the kernel has each once
	for (uint32_t i = random.Below(1500); i--;) {
		const uint8_t family = random.Below(2) ? AF_INET : AF_INET6;
		const Ip ip = random.Address(family);

		if (!known.insert({family, ip}).second)
			continue;
		w.Neigh(Text(family, ip.data()), static_cast<uint8_t>(random.Below(256)),
			random.Below(5) ? NUD_STALE : NUD_FAILED)
			.ifindex = random.Below(6) ? kDevice : kOther;
	}
	w.in.policy_rules[random.Below(2)] = !random.Below(20);
	return w;
}

TEST(Random, AgreesWithTheModel)
{
	unsigned int fast = 0;

	for (uint32_t seed = 0; seed < 1000; seed++) {
		Random random(seed);
		World w = RandomWorld(random);
		const Table t = w.Build();
		Model model(w);

		ASSERT_NE(nullptr, t);
		for (int i = 0; i < 100; i++) {
			const uint8_t family = random.Below(2) ? AF_INET : AF_INET6;
			const Ip dst = random.Address(family);
			const std::string text = Text(family, dst.data()), said = Say(t, text);

			ASSERT_EQ(model.Say(family, dst), said) << text << " seed " << seed;
			fast += said.compare(0, 4, "fast") == 0;
		}
	}
	EXPECT_GT(fast, 5000u); // the worlds are not all slow
}

// As the library reads the list: the longest prefix decides.
bool Allows(const struct udplane_prefix *prefix, uint32_t cnt, uint8_t family, const Ip &dst)
{
	const struct udplane_prefix *best = nullptr;

	for (uint32_t i = 0; i < cnt; i++)
		if (prefix[i].family == family &&
		    Inside(dst.data(), prefix[i].addr, prefix[i].len) &&
		    (!best || prefix[i].len > best->len))
			best = &prefix[i];
	return best && !best->slow;
}

// A prefix list may hold what is slow (but not what errors come from), but nothing that is fast
// lies outside, unless the list is full.
TEST(Random, PrefixesHoldAllThatIsFast)
{
	for (uint32_t seed = 0; seed < 500; seed++) {
		Random random(seed);
		World w = RandomWorld(random);
		const Table t = w.Build();
		struct udplane_prefix prefix[64];
		const uint32_t cnt = route_table_prefixes(t.get(), prefix, 64);

		ASSERT_LT(cnt, 64u);
		for (int i = 0; i < 100; i++) {
			const uint8_t family = random.Below(2) ? AF_INET : AF_INET6;
			const Ip dst = random.Address(family);
			struct route_hop hop;

			const enum route_verdict v =
				route_lookup(t.get(), family, dst.data(), nullptr, &hop);

			if (v == ROUTE_SLOW_NO_ROUTE || v == ROUTE_SLOW_POLICY) {
				ASSERT_FALSE(Allows(prefix, cnt, family, dst))
					<< Text(family, dst.data()) << " seed " << seed;
			}
			if (v != ROUTE_FAST)
				continue;
			ASSERT_TRUE(Allows(prefix, cnt, family, dst))
				<< Text(family, dst.data()) << " seed " << seed;
		}
	}
}

} // namespace
