// SPDX-License-Identifier: Apache-2.0
// The port table against a naive list that scores every socket as compute_score() does in Linux
// (net/ipv4/udp.c and net/ipv6/udp.c, 6.18), over random histories.
#include <cerrno>
#include <random>
#include <vector>

#include "tests/unit/port/port_test_util.h"

namespace
{

// As the kernel keeps it.
struct Sock {
	int family;
	bool v6only;
	bool bound_dev;
	uint32_t rcv_saddr, daddr; // of an AF_INET6 socket: as far as it has v4-mapped ones
	bool has_v4;		   // rcv_saddr means something: no AF_INET6 address hides it
	Address v6_rcv_saddr, v6_daddr;
	uint16_t dport, port;
	uint32_t id;

	bool established() const
	{
		return dport != 0;
	}
};

struct Datagram {
	int family;
	Address src, dst;
	uint16_t sport, dport;
};

uint32_t V4(const Address &a)
{
	uint32_t v;

	memcpy(&v, a.data(), 4);
	return v;
}

const Address kAny = {};

int Score4(const Sock &sk, uint32_t saddr, uint16_t sport, uint32_t daddr, uint16_t dport)
{
	int score;

	if (sk.port != dport || (sk.family == AF_INET6 && sk.v6only) || !sk.has_v4)
		return -1;
	if (sk.rcv_saddr != daddr)
		return -1;
	score = sk.family == AF_INET ? 2 : 1;
	if (sk.daddr) {
		if (sk.daddr != saddr)
			return -1;
		score += 4;
	}
	if (sk.dport) {
		if (sk.dport != sport)
			return -1;
		score += 4;
	}
	if (sk.bound_dev)
		score += 4;
	return score;
}

int Score6(const Sock &sk, const Address &saddr, uint16_t sport, const Address &daddr,
	   uint16_t dport)
{
	int score = 0;

	if (sk.port != dport || sk.family != AF_INET6 || sk.v6_rcv_saddr != daddr)
		return -1;
	if (sk.dport) {
		if (sk.dport != sport)
			return -1;
		score++;
	}
	if (sk.v6_daddr != kAny) {
		if (sk.v6_daddr != saddr)
			return -1;
		score++;
	}
	if (sk.bound_dev)
		score++;
	return score;
}

// udpX_lib_lookup2(): the sockets of the highest score, which share or of which the order of
// binding decides.
std::vector<const Sock *> Best(const std::vector<Sock> &socks, const Datagram &d, bool any)
{
	std::vector<const Sock *> best;
	int badness = 0;

	for (const Sock &sk : socks) {
		int score = d.family == AF_INET
				    ? Score4(sk, V4(d.src), d.sport, any ? 0 : V4(d.dst), d.dport)
				    : Score6(sk, d.src, d.sport, any ? kAny : d.dst, d.dport);
		if (score < 0 || (!best.empty() && score < badness))
			continue;
		if (score > badness)
			best.clear();
		best.push_back(&sk);
		badness = score;
	}
	return best;
}

std::set<uint32_t> ModelLookup(const std::vector<Sock> &socks, const Datagram &d)
{
	std::vector<const Sock *> best = Best(socks, d, false);
	std::set<uint32_t> ids;
	bool v6only = false;

	if (best.empty())
		best = Best(socks, d, true);
	// The documented choice where Linux goes by the order of binding.
	for (const Sock *sk : best)
		v6only |= d.family == AF_INET6 && sk->v6only && sk->v6_rcv_saddr == kAny;
	for (const Sock *sk : best)
		if (!v6only || sk->v6only)
			ids.insert(sk->id);
	if (ids.empty())
		ids.insert(PORT_NONE);
	return ids;
}

class Model
{
      public:
	explicit Model(unsigned int seed) : rng_(seed), ports_(1 + seed % 3)
	{
	}

	void Step()
	{
		if (!socks_.empty() && Pick(100) < 40 + static_cast<uint32_t>(socks_.size()))
			RemoveOne();
		else
			InsertOne();
		ASSERT_EQ(t_.size(), socks_.size());
		for (int i = 0; i < 4; i++)
			CheckOne();
	}

	void Drain()
	{
		while (!socks_.empty()) {
			RemoveOne();
			CheckOne();
		}
		ASSERT_EQ(t_.size(), 0u);
	}

      private:
	uint32_t Pick(uint32_t n)
	{
		return std::uniform_int_distribution<uint32_t>(0, n - 1)(rng_);
	}

	Address Local4()
	{
		return Addr("10.0.0." + std::to_string(1 + Pick(2)));
	}
	Address Local6()
	{
		return Addr("fd00::" + std::to_string(1 + Pick(2)));
	}
	Address Peer4()
	{
		return Addr("192.0.2." + std::to_string(1 + Pick(2)));
	}
	Address Peer6()
	{
		return Addr("2001:db8::" + std::to_string(1 + Pick(2)));
	}
	uint16_t Port()
	{
		return 53 + Pick(ports_);
	}
	uint16_t PeerPort()
	{
		return 1 + Pick(2);
	}

	// A socket as bind() and connect() leave it, and its key.
	Sock Make(port_key *key)
	{
		Sock sk = {};
		bool v4 = Pick(2), connected = Pick(4) == 0, wildcard = !connected && Pick(2);
		Address local = kAny, peer = kAny;

		sk.family = v4 && Pick(3) ? AF_INET : AF_INET6;
		sk.bound_dev = Pick(4) == 0;
		sk.port = Port();
		*key = {};
		if (!wildcard)
			local = v4 ? Local4() : Local6();
		if (connected) {
			peer = v4 ? Peer4() : Peer6();
			sk.dport = PeerPort();
		}
		sk.has_v4 = v4 || wildcard;
		if (v4) {
			sk.rcv_saddr = V4(local);
			sk.daddr = V4(peer);
			// v4-mapped: equal to no destination, and not any
			sk.v6_rcv_saddr = Addr("::ffff:0.0.0.0");
		} else {
			sk.v6_rcv_saddr = local;
			sk.v6_daddr = peer;
			sk.v6only = Pick(2);
		}
		key->local.family = v4 ? AF_INET : AF_INET6;
		key->mapped = v4 && sk.family == AF_INET6;
		key->v6only = sk.v6only;
		key->device = sk.bound_dev;
		key->local.port_be = htons(sk.port);
		memcpy(key->local.addr, local.data(), 16);
		if (connected) {
			key->peer.family = key->local.family;
			key->peer.port_be = htons(sk.dport);
			memcpy(key->peer.addr, peer.data(), 16);
		}
		return sk;
	}

	void InsertOne()
	{
		port_key key;
		Sock sk = Make(&key);

		sk.id = next_++;
		ASSERT_EQ(t_.Insert(key, sk.id), 0);
		ASSERT_EQ(t_.Insert(key, sk.id), -EEXIST);
		socks_.push_back(sk);
		keys_.push_back(key);
	}

	void RemoveOne()
	{
		size_t at = Pick(socks_.size());

		ASSERT_EQ(t_.Remove(keys_[at], socks_[at].id), 0);
		ASSERT_EQ(t_.Remove(keys_[at], socks_[at].id), -ENOENT);
		socks_.erase(socks_.begin() + at);
		keys_.erase(keys_.begin() + at);
	}

	void CheckOne()
	{
		Datagram d;
		bool v4 = Pick(2);

		d.family = v4 ? AF_INET : AF_INET6;
		d.src = v4 ? Peer4() : Peer6();
		d.dst = v4 ? Local4() : Local6();
		d.sport = PeerPort();
		d.dport = Port();
		ASSERT_EQ(t_.All(d.family, d.src, d.sport, d.dst, d.dport), ModelLookup(socks_, d));
	}

	std::mt19937 rng_;
	uint32_t ports_;
	uint32_t next_ = 0;
	Table t_;
	std::vector<Sock> socks_;
	std::vector<port_key> keys_;
};

TEST(PortModel, RandomHistories)
{
	for (unsigned int seed = 0; seed < 300 && !testing::Test::HasFailure(); seed++) {
		SCOPED_TRACE("seed " + std::to_string(seed));
		Model m(seed);

		for (int step = 0; step < 120 && !testing::Test::HasFailure(); step++)
			m.Step();
		m.Drain();
	}
}

} // namespace
