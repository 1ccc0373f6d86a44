/* SPDX-License-Identifier: Apache-2.0 */
// A small host to look routes up on, written in the words of ip(8).
#ifndef TESTS_UNIT_ROUTE_WORLD_H
#define TESTS_UNIT_ROUTE_WORLD_H

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "sidecar/route/route.h"

constexpr int kDevice = 7; // ours
constexpr int kOther = 8;

using Ip = std::array<uint8_t, 16>;

inline uint8_t FamilyOf(const std::string &text)
{
	return text.find(':') == std::string::npos ? AF_INET : AF_INET6;
}

inline Ip Addr(const std::string &text)
{
	Ip ip{};

	EXPECT_EQ(1, inet_pton(FamilyOf(text), text.c_str(), ip.data())) << text;
	return ip;
}

inline std::string Text(uint8_t family, const uint8_t *addr)
{
	char text[INET6_ADDRSTRLEN];

	return inet_ntop(family, addr, text, sizeof(text));
}

struct TableDelete {
	void operator()(struct route_table *t) const
	{
		route_table_destroy(t);
	}
};
using Table = std::unique_ptr<struct route_table, TableDelete>;

struct World {
	struct route_input in = {};
	std::vector<struct route_addr> addrs;
	std::vector<struct route_route> routes;
	std::vector<struct route_neigh> neighs;
	std::vector<struct route_rule> rules; // if empty, the kernel's own

	World()
	{
		in.ifindex = kDevice;
		in.mtu = 1500;
		in.up = true;
	}

	// "10.0.0.2/24"
	struct route_addr &Address(const std::string &prefix, int ifindex = kDevice)
	{
		const size_t slash = prefix.find('/');
		struct route_addr a = {};

		a.family = FamilyOf(prefix);
		memcpy(a.addr, Addr(prefix.substr(0, slash)).data(), 16);
		a.prefix_len = static_cast<uint8_t>(std::stoi(prefix.substr(slash + 1)));
		a.ifindex = ifindex;
		a.flags = IFA_F_PERMANENT;
		if (a.family == AF_INET6 && a.addr[0] == 0xfe && a.addr[1] == 0x80)
			a.scope = RT_SCOPE_LINK;
		addrs.push_back(a);
		return addrs.back();
	}

	// gateway "": on-link
	struct route_route &Route(const std::string &prefix, const std::string &gateway = "",
				  uint32_t metric = 0, int ifindex = kDevice)
	{
		const size_t slash = prefix.find('/');
		struct route_route r = {};

		r.family = FamilyOf(prefix);
		memcpy(r.dst, Addr(prefix.substr(0, slash)).data(), 16);
		r.prefix_len = static_cast<uint8_t>(std::stoi(prefix.substr(slash + 1)));
		r.type = RTN_UNICAST;
		r.table = RT_TABLE_MAIN;
		r.priority = metric;
		r.ifindex = ifindex;
		r.scope =
			gateway.empty() && r.family == AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
		if (!gateway.empty()) {
			r.has_gateway = true;
			r.gateway_family = FamilyOf(gateway);
			memcpy(r.gateway, Addr(gateway).data(), 16);
		}
		routes.push_back(r);
		return routes.back();
	}

	struct route_neigh &Neigh(const std::string &addr, uint8_t last_mac_byte,
				  uint16_t state = NUD_REACHABLE)
	{
		struct route_neigh n = {};

		n.family = FamilyOf(addr);
		memcpy(n.addr, Addr(addr).data(), 16);
		n.mac[0] = 2;
		n.mac[5] = last_mac_byte;
		n.ifindex = kDevice;
		n.state = state;
		neighs.push_back(n);
		return neighs.back();
	}

	struct route_rule &Rule(uint32_t priority, uint32_t table, uint8_t family = AF_INET)
	{
		struct route_rule r = {};

		r.family = family;
		r.action = 1; // FR_ACT_TO_TBL
		r.priority = priority;
		r.table = table;
		r.suppress_len = -1;
		rules.push_back(r);
		return rules.back();
	}

	const struct route_input *Input()
	{
		in.addrs = addrs.data();
		in.addr_cnt = static_cast<uint32_t>(addrs.size());
		in.routes = routes.data();
		in.route_cnt = static_cast<uint32_t>(routes.size());
		in.neighs = neighs.data();
		in.neigh_cnt = static_cast<uint32_t>(neighs.size());
		in.rules = rules.empty() ? nullptr : rules.data();
		in.rule_cnt = static_cast<uint32_t>(rules.size());
		return &in;
	}

	Table Build()
	{
		return Table(route_table_build(Input()));
	}
};

// What an ordinary pod has.
inline World Pod()
{
	World w;

	w.Address("127.0.0.1/8", 1);
	w.Address("10.0.0.2/24");
	w.Address("fe80::2/64");
	w.Address("2001:db8::2/64");
	w.Route("10.0.0.0/24");
	w.Route("0.0.0.0/0", "10.0.0.1");
	w.Route("2001:db8::/64", "", 256);
	w.Route("fe80::/64", "", 256);
	w.Route("::/0", "fe80::1", 1024);
	w.Neigh("10.0.0.1", 1);
	w.Neigh("10.0.0.5", 5);
	w.Neigh("fe80::1", 0x11);
	w.Neigh("2001:db8::5", 0x15);
	return w;
}

inline enum route_verdict Look(const Table &t, const std::string &dst, struct route_hop *hop,
			       const std::string &src = "")
{
	const Ip d = Addr(dst), s = src.empty() ? Ip{} : Addr(src);

	memset(hop, 0, sizeof(*hop));
	return route_lookup(t.get(), FamilyOf(dst), d.data(), src.empty() ? nullptr : s.data(),
			    hop);
}

// "fast" and the hop in one line, or the verdict's name: "fast mac=1 src=10.0.0.2 mtu=1500".
inline std::string Say(const Table &t, const std::string &dst, const std::string &src = "")
{
	struct route_hop hop;
	const enum route_verdict v = Look(t, dst, &hop, src);

	if (v != ROUTE_FAST)
		return route_verdict_name(v);
	return "fast mac=" + std::to_string(hop.dst_mac[5]) +
	       " src=" + Text(FamilyOf(dst), hop.src) + " mtu=" + std::to_string(hop.mtu);
}

#endif
