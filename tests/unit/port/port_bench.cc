// SPDX-License-Identifier: Apache-2.0
// What a lookup costs with 1 to 65535 sockets; not a test, nothing here fails:
//   bazel run //tests/unit/port:port_bench
// Figures are medians of rounds, with the fastest and slowest, of lookups of random sockets.
// "stream": lookups independent of each other, as in a burst (the CPU overlaps their cache misses).
// "chain": each waits for the one before, so misses count in full.
#include <netinet/in.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "sidecar/port/port.h"

namespace
{

constexpr int kRounds = 31;
constexpr uint32_t kLookups = 1 << 16;

struct Datagram {
	uint8_t src[16], dst[16];
	uint16_t src_port_be, dst_port_be;
	uint32_t hash;
};

double NowNs()
{
	return std::chrono::duration<double, std::nano>(
		       std::chrono::steady_clock::now().time_since_epoch())
		.count();
}

template <bool kChain>
double Pass(const port_table *t, const std::vector<Datagram> &datagrams, int family)
{
	uint32_t sum = 0;
	double start = NowNs();

	for (const Datagram &g : datagrams) {
		// x & 0 that the compiler cannot see through: this lookup's input depends on the
		// last one's result.
		uint32_t wait = kChain ? sum : 0;
		asm volatile("and $0, %0" : "+r"(wait));
		port_tuple d = {static_cast<uint8_t>(family),
				g.src_port_be,
				static_cast<uint16_t>(g.dst_port_be + wait),
				g.src,
				g.dst,
				g.hash,
				0,
				nullptr};
		sum += port_table_lookup(t, &d);
	}
	asm volatile("" : : "r"(sum));
	return (NowNs() - start) / datagrams.size();
}

void Report(const char *what, uint32_t cnt, const port_table *t,
	    const std::vector<Datagram> &datagrams, int family)
{
	std::vector<double> stream, chain;

	for (int i = 0; i < kRounds; i++) {
		stream.push_back(Pass<false>(t, datagrams, family));
		chain.push_back(Pass<true>(t, datagrams, family));
	}
	std::sort(stream.begin(), stream.end());
	std::sort(chain.begin(), chain.end());
	printf("%-24s %6u sockets  stream %5.1f (%4.1f-%5.1f)  chain %5.1f (%4.1f-%5.1f) ns\n",
	       what, cnt, stream[kRounds / 2], stream[0], stream[kRounds - 1], chain[kRounds / 2],
	       chain[0], chain[kRounds - 1]);
}

// Socket i under test: its key, and a datagram for it.
enum Kind { kWildcard, kSpecific, kConnected, kConnectedOnePort, kGroup };

port_key KeyOf(Kind kind, int family, uint32_t i, const std::vector<uint16_t> &ports)
{
	port_key key = {};

	key.local.family = family;
	key.v6only = true;
	key.local.port_be = htons(kind == kConnectedOnePort || kind == kGroup ? 4433 : ports[i]);
	if (kind == kWildcard || kind == kGroup)
		return key;
	key.local.addr[0] = 10;
	key.local.addr[3] = 1;
	if (kind == kSpecific)
		return key;
	key.peer.family = family;
	uint32_t peer = htonl(0x0b000000 + i * 7919);
	memcpy(key.peer.addr, &peer, 4);
	key.peer.port_be = htons(1024 + i % 60000);
	return key;
}

void Run(const char *name, Kind kind, int family, uint32_t cnt)
{
	std::mt19937 rng(cnt);
	std::vector<uint16_t> ports;
	std::vector<Datagram> datagrams;
	port_table *t = port_table_create();
	double start, slowest = 0;

	for (uint32_t p = 1; p <= 65535; p++)
		ports.push_back(p);
	std::shuffle(ports.begin(), ports.end(), rng);
	start = NowNs();
	for (uint32_t i = 0; i < cnt; i++) {
		port_key key = KeyOf(kind, family, i, ports);
		double before = NowNs();
		port_table_insert(t, &key, i);
		slowest = std::max(slowest, NowNs() - before);
	}
	double insert = (NowNs() - start) / cnt;
	for (uint32_t n = 0; n < kLookups; n++) {
		port_key key = KeyOf(kind, family, rng() % cnt, ports);
		Datagram g = {};
		key.local.addr[0] = 10;
		key.local.addr[3] = 1;
		memcpy(g.dst, key.local.addr, 16);
		memcpy(g.src, key.peer.addr, 16);
		g.src_port_be = key.peer.port_be;
		g.dst_port_be = key.local.port_be;
		g.hash = rng();
		datagrams.push_back(g);
	}
	Report(name, cnt, t, datagrams, family);
	if (cnt >= 4096)
		printf("%-24s %6u           insert %.0f ns, slowest %.0f us\n", "", cnt, insert,
		       slowest / 1000);
	port_table_destroy(t);
}

} // namespace

int main()
{
	struct {
		const char *name;
		Kind kind;
		int family;
	} cases[] = {
		{"IPv4 wildcard", kWildcard, AF_INET},
		{"IPv6 wildcard", kWildcard, AF_INET6},
		{"IPv4 specific", kSpecific, AF_INET},
		{"IPv4 connected, any port", kConnected, AF_INET},
		{"IPv4 connected, one port", kConnectedOnePort, AF_INET},
		{"IPv6 connected, one port", kConnectedOnePort, AF_INET6},
		{"one group", kGroup, AF_INET},
	};

	for (auto &c : cases)
		for (uint32_t cnt : {1, 100, 1000, 4096, 65535})
			Run(c.name, c.kind, c.family, cnt);
	return 0;
}
