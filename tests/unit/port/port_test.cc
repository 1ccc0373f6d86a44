// SPDX-License-Identifier: Apache-2.0
// Each rule of the port table by itself, errors, groups, growth. Against a model:
// port_model_test.cc; against Linux: port_kernel_test.cc.
#include <algorithm>
#include <cerrno>
#include <cmath>
#include <map>
#include <random>
#include <vector>

#include "tests/unit/port/port_test_util.h"

namespace
{

const char kA4[] = "10.0.0.1", kB4[] = "10.0.0.2", kPeer4[] = "192.0.2.7", kOther4[] = "192.0.2.8";
const char kA6[] = "fd00::1", kB6[] = "fd00::2", kPeer6[] = "2001:db8::7",
	   kOther6[] = "2001:db8::8";

TEST(PortTable, EmptyFindsNothing)
{
	Table t;

	EXPECT_EQ(t.Lookup(kPeer4, 1, kA4, 53), PORT_NONE);
	EXPECT_EQ(t.Lookup(kPeer6, 1, kA6, 53), PORT_NONE);
	EXPECT_EQ(t.Lookup(kPeer4, 0, kA4, 0), PORT_NONE);
	EXPECT_EQ(t.size(), 0u);
	port_table_destroy(nullptr);
}

TEST(PortTable, WildcardTakesEveryAddressOfItsPort)
{
	Table t;

	ASSERT_EQ(t.Insert(Bound(AF_INET, "", 53), 0), 0);
	EXPECT_EQ(t.Lookup(kPeer4, 1, kA4, 53), 0u);
	EXPECT_EQ(t.Lookup(kOther4, 2, kB4, 53), 0u);
	EXPECT_EQ(t.Lookup(kPeer4, 1, kA4, 54), PORT_NONE);
	EXPECT_EQ(t.Lookup(kPeer4, 1, kA4, 53 << 8), PORT_NONE) << "byte order";
	EXPECT_EQ(t.Lookup(kPeer6, 1, kA6, 53), PORT_NONE);
}

TEST(PortTable, SpecificBeforeWildcard)
{
	Table t;

	ASSERT_EQ(t.Insert(Bound(AF_INET, kA4, 53), 1), 0);
	EXPECT_EQ(t.Lookup(kPeer4, 1, kA4, 53), 1u);
	EXPECT_EQ(t.Lookup(kPeer4, 1, kB4, 53), PORT_NONE);
	ASSERT_EQ(t.Insert(Bound(AF_INET, "", 53), 2), 0);
	EXPECT_EQ(t.Lookup(kPeer4, 1, kA4, 53), 1u);
	EXPECT_EQ(t.Lookup(kPeer4, 1, kB4, 53), 2u);

	ASSERT_EQ(t.Insert(Bound(AF_INET6, kA6, 53), 3), 0);
	ASSERT_EQ(t.Insert(V6Only(Bound(AF_INET6, "", 53)), 4), 0);
	EXPECT_EQ(t.Lookup(kPeer6, 1, kA6, 53), 3u);
	EXPECT_EQ(t.Lookup(kPeer6, 1, kB6, 53), 4u);
}

TEST(PortTable, ConnectedFiltersByPeerAndComesFirst)
{
	Table t;

	ASSERT_EQ(t.Insert(Connected(AF_INET, kA4, 53, kPeer4, 1000), 1), 0);
	EXPECT_EQ(t.Lookup(kPeer4, 1000, kA4, 53), 1u);
	EXPECT_EQ(t.Lookup(kPeer4, 1001, kA4, 53), PORT_NONE);
	EXPECT_EQ(t.Lookup(kOther4, 1000, kA4, 53), PORT_NONE);
	EXPECT_EQ(t.Lookup(kPeer4, 1000, kB4, 53), PORT_NONE);
	ASSERT_EQ(t.Insert(Bound(AF_INET, kA4, 53), 2), 0);
	ASSERT_EQ(t.Insert(Bound(AF_INET, "", 53), 3), 0);
	EXPECT_EQ(t.Lookup(kPeer4, 1000, kA4, 53), 1u);
	EXPECT_EQ(t.Lookup(kPeer4, 1001, kA4, 53), 2u);
	EXPECT_EQ(t.Lookup(kPeer4, 1000, kB4, 53), 3u);

	ASSERT_EQ(t.Insert(Connected(AF_INET6, kA6, 53, kPeer6, 1000), 4), 0);
	ASSERT_EQ(t.Insert(Bound(AF_INET6, kA6, 53), 5), 0);
	EXPECT_EQ(t.Lookup(kPeer6, 1000, kA6, 53), 4u);
	EXPECT_EQ(t.Lookup(kOther6, 1000, kA6, 53), 5u);
	EXPECT_EQ(t.Lookup(kPeer6, 1000, kB6, 53), PORT_NONE);
}

TEST(PortTable, ConnectedFromPortZeroIsNotTheSpecificKey)
{
	Table t;

	ASSERT_EQ(t.Insert(Connected(AF_INET, kA4, 53, kPeer4, 1000), 1), 0);
	ASSERT_EQ(t.Insert(Bound(AF_INET, kA4, 53), 2), 0);
	EXPECT_EQ(t.Lookup("0.0.0.0", 0, kA4, 53), 2u);
}

TEST(PortTable, DualStackTakesIpv4OnlyWithoutAnIpv4Wildcard)
{
	for (bool dual_first : {true, false}) {
		Table t;
		port_key dual = Bound(AF_INET6, "", 53), v4 = Bound(AF_INET, "", 53);

		ASSERT_EQ(t.Insert(dual_first ? dual : v4, dual_first ? 6 : 4), 0);
		ASSERT_EQ(t.Insert(dual_first ? v4 : dual, dual_first ? 4 : 6), 0);
		EXPECT_EQ(t.size(), 2u);
		EXPECT_EQ(t.Lookup(kPeer4, 1, kA4, 53), 4u);
		EXPECT_EQ(t.Lookup(kPeer6, 1, kA6, 53), 6u);
		ASSERT_EQ(t.Remove(v4, 4), 0);
		EXPECT_EQ(t.Lookup(kPeer4, 1, kA4, 53), 6u);
		ASSERT_EQ(t.Insert(v4, 4), 0);
		ASSERT_EQ(t.Remove(dual, 6), 0);
		EXPECT_EQ(t.Lookup(kPeer4, 1, kA4, 53), 4u);
		EXPECT_EQ(t.Lookup(kPeer6, 1, kA6, 53), PORT_NONE);
		ASSERT_EQ(t.Remove(v4, 4), 0);
		EXPECT_EQ(t.Lookup(kPeer4, 1, kA4, 53), PORT_NONE);
		EXPECT_EQ(t.size(), 0u);
	}
}

TEST(PortTable, V6OnlyTakesNoIpv4)
{
	Table t;

	ASSERT_EQ(t.Insert(V6Only(Bound(AF_INET6, "", 53)), 6), 0);
	EXPECT_EQ(t.Lookup(kPeer4, 1, kA4, 53), PORT_NONE);
	EXPECT_EQ(t.Lookup(kPeer6, 1, kA6, 53), 6u);
	EXPECT_EQ(t.Remove(Bound(AF_INET6, "", 53), 6), -ENOENT) << "another key";
	EXPECT_EQ(t.Remove(V6Only(Bound(AF_INET6, "", 53)), 6), 0);
}

TEST(PortTable, DualStackSharesAreTheSameForIpv4)
{
	Table t;

	for (uint32_t sock = 0; sock < 3; sock++)
		ASSERT_EQ(t.Insert(Bound(AF_INET6, "", 53), sock), 0);
	EXPECT_EQ(t.All(AF_INET, Addr(kPeer4), 1, Addr(kA4), 53), (std::set<uint32_t>{0, 1, 2}));
	EXPECT_EQ(t.All(AF_INET6, Addr(kPeer6), 1, Addr(kA6), 53), (std::set<uint32_t>{0, 1, 2}));
}

TEST(PortTable, MappedIsAnIpv4KeyBehindIpv4Sockets)
{
	for (const char *addr : {kA4, ""}) {
		Table t;

		ASSERT_EQ(t.Insert(Mapped(Bound(AF_INET, addr, 53)), 6), 0);
		EXPECT_EQ(t.Lookup(kPeer4, 1, kA4, 53), 6u);
		EXPECT_EQ(t.Lookup(kPeer6, 1, kA6, 53), PORT_NONE);
		ASSERT_EQ(t.Insert(Bound(AF_INET, addr, 53), 4), 0);
		EXPECT_EQ(t.Lookup(kPeer4, 1, kA4, 53), 4u);
		ASSERT_EQ(t.Remove(Bound(AF_INET, addr, 53), 4), 0);
		EXPECT_EQ(t.Lookup(kPeer4, 1, kA4, 53), 6u);
	}
}

TEST(PortTable, DeviceBoundFirstWithinAStepOnly)
{
	Table t;

	ASSERT_EQ(t.Insert(OnDevice(Bound(AF_INET, "", 53)), 1), 0);
	ASSERT_EQ(t.Insert(Bound(AF_INET, "", 53), 2), 0);
	EXPECT_EQ(t.Lookup(kPeer4, 1, kA4, 53), 1u);
	ASSERT_EQ(t.Insert(Bound(AF_INET, kA4, 53), 3), 0);
	EXPECT_EQ(t.Lookup(kPeer4, 1, kA4, 53), 3u);
	ASSERT_EQ(t.Insert(OnDevice(Bound(AF_INET, kA4, 53)), 4), 0);
	EXPECT_EQ(t.Lookup(kPeer4, 1, kA4, 53), 4u);
	ASSERT_EQ(t.Insert(Connected(AF_INET, kA4, 53, kPeer4, 1), 5), 0);
	EXPECT_EQ(t.Lookup(kPeer4, 1, kA4, 53), 5u);
}

TEST(PortTable, DeviceBoundDualStackBeforeIpv4)
{
	Table t;

	ASSERT_EQ(t.Insert(OnDevice(Bound(AF_INET6, "", 53)), 6), 0);
	ASSERT_EQ(t.Insert(Bound(AF_INET, "", 53), 4), 0);
	EXPECT_EQ(t.Lookup(kPeer4, 1, kA4, 53), 6u);
	ASSERT_EQ(t.Insert(OnDevice(Bound(AF_INET, "", 53)), 5), 0);
	EXPECT_EQ(t.Lookup(kPeer4, 1, kA4, 53), 5u);
}

// Four ranks under one key, each with a group: always the highest that has members, all of it.
TEST(PortTable, RanksHideEachOther)
{
	port_key key[4] = {Mapped(Bound(AF_INET, kA4, 53)), Bound(AF_INET, kA4, 53),
			   OnDevice(Mapped(Bound(AF_INET, kA4, 53))),
			   OnDevice(Bound(AF_INET, kA4, 53))};

	for (unsigned int seed = 0; seed < 200; seed++) {
		std::mt19937 rng(seed);
		std::set<uint32_t> member[4];
		Table t;

		for (int step = 0; step < 60; step++) {
			uint32_t rank = rng() % 4, sock = rank * 10 + rng() % 3;
			std::set<uint32_t> want = {PORT_NONE};

			if (member[rank].count(sock)) {
				ASSERT_EQ(t.Insert(key[rank], sock), -EEXIST);
				ASSERT_EQ(t.Remove(key[rank], sock), 0);
				member[rank].erase(sock);
			} else {
				ASSERT_EQ(t.Remove(key[rank], sock), -ENOENT);
				ASSERT_EQ(t.Insert(key[rank], sock), 0);
				member[rank].insert(sock);
			}
			for (auto &m : member)
				want = m.empty() ? want : m;
			ASSERT_EQ(t.All(AF_INET, Addr(kPeer4), 1, Addr(kA4), 53), want);
		}
	}
}

TEST(PortTable, RefusesBadKeys)
{
	Table t;
	port_key bad = Bound(AF_INET, kA4, 53);

	bad.local.family = AF_UNIX;
	EXPECT_EQ(t.Insert(bad, 1), -EINVAL);
	EXPECT_EQ(t.Remove(bad, 1), -EINVAL);
	EXPECT_EQ(t.Insert(Bound(AF_INET, kA4, 0), 1), -EINVAL);
	EXPECT_EQ(t.Insert(Bound(AF_INET, kA4, 53), PORT_SOCK_MAX), -EINVAL);
	EXPECT_EQ(t.Insert(Bound(AF_INET, kA4, 53), PORT_NONE), -EINVAL);
	EXPECT_EQ(t.Insert(Bound(AF_INET6, "::ffff:10.0.0.1", 53), 1), -EINVAL);
	EXPECT_EQ(t.Insert(Mapped(Bound(AF_INET6, kA6, 53)), 1), -EINVAL);
	EXPECT_EQ(t.Insert(Connected(AF_INET, "", 53, kPeer4, 1), 1), -EINVAL);
	EXPECT_EQ(t.Insert(Connected(AF_INET, kA4, 53, "", 1), 1), -EINVAL);
	EXPECT_EQ(t.Insert(Connected(AF_INET, kA4, 53, kPeer4, 0), 1), -EINVAL);
	EXPECT_EQ(t.Insert(Connected(AF_INET6, "", 53, kPeer6, 1), 1), -EINVAL);
	bad = Connected(AF_INET, kA4, 53, kPeer4, 1);
	bad.peer.family = AF_INET6;
	EXPECT_EQ(t.Insert(bad, 1), -EINVAL);
	EXPECT_EQ(t.size(), 0u);
	EXPECT_EQ(t.Insert(Bound(AF_INET, kA4, 65535), PORT_SOCK_MAX - 1), 0);
	EXPECT_EQ(t.Lookup(kPeer4, 1, kA4, 65535), PORT_SOCK_MAX - 1);
}

TEST(PortTable, ReadsOnlyFourBytesOfIpv4)
{
	Table t;
	port_key key = Connected(AF_INET, kA4, 53, kPeer4, 1), wildcard = Bound(AF_INET, "", 54);
	// Exactly four bytes each: ASan sees a read beyond.
	std::vector<uint8_t> src = {192, 0, 2, 7}, dst = {10, 0, 0, 1};
	port_tuple d = {AF_INET, htons(1), htons(53), src.data(), dst.data(), 0, 0, nullptr};

	memset(key.local.addr + 4, 0xaa, 12);
	memset(key.peer.addr + 4, 0xbb, 12);
	memset(wildcard.local.addr + 4, 0xcc, 12);
	ASSERT_EQ(t.Insert(key, 1), 0);
	ASSERT_EQ(t.Insert(wildcard, 2), 0);
	EXPECT_EQ(port_table_lookup(t.get(), &d), 1u);
	d.dst_port_be = htons(54);
	EXPECT_EQ(port_table_lookup(t.get(), &d), 2u);
	EXPECT_EQ(t.Remove(Connected(AF_INET, kA4, 53, kPeer4, 1), 1), 0);
}

TEST(PortTable, DuplicatesAndTheUnknown)
{
	const port_key keys[] = {Bound(AF_INET, "", 53), Bound(AF_INET6, "", 53),
				 Bound(AF_INET, kA4, 53), Connected(AF_INET6, kA6, 53, kPeer6, 9)};
	Table t;

	for (const port_key &key : keys) {
		EXPECT_EQ(t.Remove(key, 1), -ENOENT);
		EXPECT_EQ(t.Insert(key, 1), 0);
		EXPECT_EQ(t.Insert(key, 1), -EEXIST);
		EXPECT_EQ(t.Remove(key, 2), -ENOENT);
		EXPECT_EQ(t.Insert(key, 2), 0);
		EXPECT_EQ(t.Insert(key, 2), -EEXIST);
		EXPECT_EQ(t.Insert(key, 1), -EEXIST);
		EXPECT_EQ(t.Remove(key, 3), -ENOENT);
	}
	EXPECT_EQ(t.size(), 8u);
	for (const port_key &key : keys) {
		EXPECT_EQ(t.Remove(key, 1), 0);
		EXPECT_EQ(t.Remove(key, 1), -ENOENT);
		EXPECT_EQ(t.Remove(key, 2), 0);
		EXPECT_EQ(t.Remove(key, 2), -ENOENT);
	}
	EXPECT_EQ(t.size(), 0u);
}

TEST(PortTable, OneSocketUnderManyKeys)
{
	Table t;

	ASSERT_EQ(t.Insert(Bound(AF_INET, kA4, 53), 7), 0);
	ASSERT_EQ(t.Insert(Bound(AF_INET, kB4, 54), 7), 0);
	EXPECT_EQ(t.Lookup(kPeer4, 1, kA4, 53), 7u);
	EXPECT_EQ(t.Lookup(kPeer4, 1, kB4, 54), 7u);
	EXPECT_EQ(t.Lookup(kPeer4, 1, kA4, 54), PORT_NONE);
}

TEST(PortTable, EveryPortOfBothFamilies)
{
	Table t;

	for (uint32_t port = 1; port < 65536; port++) {
		ASSERT_EQ(t.Insert(Bound(AF_INET, "", port), port), 0);
		ASSERT_EQ(t.Insert(V6Only(Bound(AF_INET6, "", port)), 0x100000 + port), 0);
	}
	EXPECT_EQ(t.size(), 2u * 65535);
	for (uint32_t port = 1; port < 65536; port++) {
		ASSERT_EQ(t.Lookup(AF_INET, Addr(kPeer4), 1, Addr(kA4), port), port);
		ASSERT_EQ(t.Lookup(AF_INET6, Addr(kPeer6), 1, Addr(kA6), port), 0x100000 + port);
	}
	EXPECT_EQ(t.Lookup(kPeer4, 1, kA4, 0), PORT_NONE);
	for (uint32_t port = 1; port < 65536; port += 2)
		ASSERT_EQ(t.Remove(Bound(AF_INET, "", port), port), 0);
	for (uint32_t port = 1; port < 65536; port++) {
		ASSERT_EQ(t.Lookup(AF_INET, Addr(kPeer4), 1, Addr(kA4), port),
			  port % 2 ? PORT_NONE : port);
		ASSERT_EQ(t.Lookup(AF_INET6, Addr(kPeer6), 1, Addr(kA6), port), 0x100000 + port);
	}
}

// 65535 of each keyed kind at once, removed in another order.
TEST(PortTable, GrowsAndShrinks)
{
	constexpr uint32_t kCnt = 65535;
	std::vector<port_key> keys;
	std::vector<uint32_t> order;
	std::mt19937 rng(1);
	Table t;

	for (uint32_t i = 0; i < kCnt; i++) {
		uint16_t port = i + 1, peer_port = 1 + i % 999;
		std::string n = std::to_string(i >> 8) + "." + std::to_string(i & 255);

		keys.push_back(Bound(AF_INET, kA4, port));
		keys.push_back(Bound(AF_INET6, kA6, port));
		keys.push_back(Connected(AF_INET, kB4, 443, "172.16." + n, peer_port));
		keys.push_back(Connected(AF_INET6, kB6, 443, "2001:db8::172.16." + n, peer_port));
	}
	for (uint32_t i = 0; i < keys.size(); i++) {
		ASSERT_EQ(t.Insert(keys[i], i), 0);
		order.push_back(i);
	}
	EXPECT_EQ(t.size(), keys.size());
	std::shuffle(order.begin(), order.end(), rng);

	auto found = [&](uint32_t i) {
		const udplane_addr &local = keys[i].local, &peer = keys[i].peer;
		port_tuple d = {
			local.family, peer.port_be, local.port_be, peer.addr, local.addr, 0, 0,
			nullptr};

		return port_table_lookup(t.get(), &d);
	};
	for (uint32_t removed = 0; removed < order.size(); removed++) {
		// Look at all now and then, and always at the next.
		for (uint32_t k = 0; k < order.size() && removed % 50000 == 0; k++)
			ASSERT_EQ(found(order[k]), k < removed ? PORT_NONE : order[k]);
		ASSERT_EQ(found(order[removed]), order[removed]);
		ASSERT_EQ(t.Remove(keys[order[removed]], order[removed]), 0);
		ASSERT_EQ(found(order[removed]), PORT_NONE);
	}
	EXPECT_EQ(t.size(), 0u);
}

/* --- groups --- */

// In every kind of place, and down again to one and none.
TEST(PortGroup, FormsAndDissolves)
{
	struct {
		port_key key;
		const char *dst;
	} cases[] = {{Bound(AF_INET, "", 53), kA4},
		     {Bound(AF_INET, kA4, 53), kA4},
		     {Connected(AF_INET, kA4, 53, kPeer4, 1), kA4},
		     {V6Only(Bound(AF_INET6, "", 53)), kA6},
		     {Bound(AF_INET6, kA6, 53), kA6},
		     {Connected(AF_INET6, kA6, 53, kPeer6, 1), kA6}};

	for (auto &c : cases) {
		Table t;
		std::set<uint32_t> members;
		const char *src = c.key.local.family == AF_INET ? kPeer4 : kPeer6;
		auto all = [&] { return t.All(c.key.local.family, Addr(src), 1, Addr(c.dst), 53); };

		for (uint32_t round = 0; round < 3; round++) {
			for (uint32_t sock = 100; sock < 132; sock++) {
				ASSERT_EQ(t.Insert(c.key, sock), 0);
				members.insert(sock);
				ASSERT_EQ(all(), members);
			}
			while (!members.empty()) {
				uint32_t sock = round == 0 ? *members.begin() : *members.rbegin();

				ASSERT_EQ(all(), members);
				ASSERT_EQ(t.Remove(c.key, sock), 0);
				members.erase(sock);
			}
			ASSERT_EQ(all(), std::set<uint32_t>{PORT_NONE});
		}
	}
}

std::vector<uint32_t> Flows(unsigned int seed, size_t cnt)
{
	std::mt19937 rng(seed);
	std::vector<uint32_t> flows(cnt);

	for (uint32_t &f : flows)
		f = rng();
	return flows;
}

std::vector<uint32_t> Owners(const Table &t, const std::vector<uint32_t> &flows)
{
	std::vector<uint32_t> owners;
	Address src = Addr(kPeer4), dst = Addr(kA4);

	for (uint32_t f : flows)
		owners.push_back(t.Lookup(AF_INET, src, 1, dst, 53, f));
	return owners;
}

// Each member's share lies within 1/n, give or take a bucket (1/32 of it) and five standard
// deviations.
TEST(PortGroup, SharesEvenly)
{
	std::vector<uint32_t> flows = Flows(7, 400000);

	for (uint32_t n : {1, 2, 3, 4, 5, 7, 8, 13, 31, 32, 33, 64, 100, 250}) {
		std::map<uint32_t, uint32_t> cnt;
		double want = 1.0 * flows.size() / n;
		Table t;

		for (uint32_t sock = 0; sock < n; sock++)
			ASSERT_EQ(t.Insert(Bound(AF_INET, "", 53), sock), 0);
		for (uint32_t owner : Owners(t, flows))
			cnt[owner]++;
		ASSERT_EQ(cnt.size(), n);
		for (auto &[sock, c] : cnt)
			EXPECT_NEAR(c, want, want / 32 + 5 * std::sqrt(want))
				<< sock << " of " << n;
	}
}

// Another port's group and other keys do not disturb.
TEST(PortGroup, WorkersThatDoTheSameAgree)
{
	std::vector<uint32_t> flows = Flows(10, 10000);
	Table a, b;

	for (uint32_t i = 0; i < 500; i++)
		ASSERT_EQ(b.Insert(Bound(AF_INET, kB4, 1 + i / 5), 1000 + i), 0);
	for (uint32_t sock : {3, 1, 4, 15, 9, 2, 6}) {
		ASSERT_EQ(a.Insert(Bound(AF_INET, "", 53), sock), 0);
		ASSERT_EQ(b.Insert(Bound(AF_INET, "", 53), sock), 0);
	}
	ASSERT_EQ(a.Remove(Bound(AF_INET, "", 53), 4), 0);
	ASSERT_EQ(b.Remove(Bound(AF_INET, "", 53), 4), 0);
	EXPECT_EQ(Owners(a, flows), Owners(b, flows));
}

TEST(PortGroup, OfAllSockets)
{
	constexpr uint32_t kCnt = 20000;
	std::vector<uint32_t> socks;
	std::mt19937 rng(11);
	Table t;

	for (uint32_t i = 0; i < kCnt; i++) {
		ASSERT_EQ(t.Insert(Bound(AF_INET, "", 53), i), 0);
		socks.push_back(i);
	}
	std::shuffle(socks.begin(), socks.end(), rng);
	for (uint32_t i = 0; i < kCnt; i++) {
		ASSERT_EQ(t.Insert(Bound(AF_INET, "", 53), socks[i]), -EEXIST);
		ASSERT_EQ(t.Remove(Bound(AF_INET, "", 53), socks[i]), 0);
		ASSERT_EQ(t.Remove(Bound(AF_INET, "", 53), socks[i]), -ENOENT);
	}
	EXPECT_EQ(t.size(), 0u);
	EXPECT_EQ(t.Lookup(kPeer4, 1, kA4, 53), PORT_NONE);
}

} // namespace
