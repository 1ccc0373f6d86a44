// SPDX-License-Identifier: Apache-2.0
// What notifications and dumps do to the mirror, message by message.
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/if.h>
#include <linux/if_link.h>

#include "sidecar/route/route_mirror.h"
#include "sidecar/route/route_netlink.h"
#include "tests/unit/route/world.h"

namespace
{

// A message under construction.
class Message
{
      public:
	explicit Message(uint16_t type, uint16_t flags = 0)
	{
		mnl_nlmsg_put_header(buf_)->nlmsg_type = type;
		(**this)->nlmsg_flags = flags;
	}

	template <typename T> T *Header()
	{
		return static_cast<T *>(mnl_nlmsg_put_extra_header(**this, sizeof(T)));
	}

	Message &U32(uint16_t type, uint32_t value)
	{
		mnl_attr_put_u32(**this, type, value);
		return *this;
	}

	Message &Address(uint16_t type, const std::string &text)
	{
		mnl_attr_put(**this, type, FamilyOf(text) == AF_INET ? 4 : 16, Addr(text).data());
		return *this;
	}

	Message &Bytes(uint16_t type, const std::vector<uint8_t> &bytes)
	{
		mnl_attr_put(**this, type, bytes.size(), bytes.data());
		return *this;
	}

	Message &Nest(uint16_t type, uint16_t inner, uint32_t value)
	{
		struct nlattr *nest = mnl_attr_nest_start(**this, type);

		mnl_attr_put_u32(**this, inner, value);
		mnl_attr_nest_end(**this, nest);
		return *this;
	}

	struct nlmsghdr *operator*()
	{
		return reinterpret_cast<struct nlmsghdr *>(buf_);
	}

      private:
	alignas(8) char buf_[1024] = {};
};

Message Route(uint16_t type, const std::string &dst, uint8_t len, const std::string &gateway,
	      uint32_t metric = 0, uint16_t flags = 0)
{
	Message m(type, flags);
	auto *rtm = m.Header<struct rtmsg>();

	rtm->rtm_family = FamilyOf(dst);
	rtm->rtm_dst_len = len;
	rtm->rtm_table = RT_TABLE_MAIN;
	rtm->rtm_type = RTN_UNICAST;
	m.Address(RTA_DST, dst).U32(RTA_OIF, kDevice).U32(RTA_PRIORITY, metric);
	if (!gateway.empty())
		m.Address(RTA_GATEWAY, gateway);
	return m;
}

Message Neigh(uint16_t type, const std::string &addr, uint8_t mac, uint16_t state,
	      uint8_t flags = 0, int ifindex = kDevice)
{
	Message m(type);
	auto *ndm = m.Header<struct ndmsg>();

	ndm->ndm_family = FamilyOf(addr);
	ndm->ndm_ifindex = ifindex;
	ndm->ndm_state = state;
	ndm->ndm_flags = flags;
	m.Address(NDA_DST, addr).Bytes(NDA_LLADDR, {2, 0, 0, 0, 0, mac});
	return m;
}

Message Link(uint16_t type, int ifindex, uint32_t flags, uint32_t change,
	     uint8_t family = AF_UNSPEC)
{
	Message m(type);
	auto *ifi = m.Header<struct ifinfomsg>();

	ifi->ifi_family = family;
	ifi->ifi_index = ifindex;
	ifi->ifi_flags = flags;
	ifi->ifi_change = change;
	m.U32(IFLA_MTU, 1500).Bytes(IFLA_ADDRESS, {2, 0, 0, 0, 0, 7});
	return m;
}

Message Rule(uint8_t family, uint32_t table, uint32_t priority)
{
	Message m(RTM_NEWRULE);
	auto *rule = m.Header<struct fib_rule_hdr>();

	rule->family = family;
	rule->table = static_cast<uint8_t>(table);
	rule->action = FR_ACT_TO_TBL;
	m.U32(FRA_TABLE, table).U32(FRA_SUPPRESS_PREFIXLEN, ~0u);
	if (priority)
		m.U32(FRA_PRIORITY, priority);
	return m;
}

Message Address(uint16_t type, const std::string &local, uint8_t len)
{
	Message m(type);
	auto *ifa = m.Header<struct ifaddrmsg>();

	ifa->ifa_family = FamilyOf(local);
	ifa->ifa_prefixlen = len;
	ifa->ifa_index = kDevice;
	m.Address(IFA_ADDRESS, local);
	if (FamilyOf(local) == AF_INET)
		m.Address(IFA_LOCAL, local);
	return m;
}

constexpr uint32_t Bit(int kind)
{
	return 1u << kind;
}
constexpr uint32_t kRoutes = Bit(MIRROR_ROUTES4) | Bit(MIRROR_ROUTES6);
constexpr uint32_t kAddrs = Bit(MIRROR_ADDRS4) | Bit(MIRROR_ADDRS6);

class Mirror : public ::testing::Test
{
      protected:
	Mirror()
	{
		route_mirror_init(&m_, kDevice);
		for (int kind = 0; kind < MIRROR_KIND_CNT; kind++)
			Dump(static_cast<enum mirror_kind>(kind), {});
		Dump(MIRROR_LINK,
		     {Link(RTM_NEWLINK, kDevice, IFF_UP | IFF_RUNNING | IFF_LOWER_UP, 0)});
		for (int kind = 0; kind < MIRROR_KIND_CNT; kind++)
			Dump(static_cast<enum mirror_kind>(kind), {});
		Dump(MIRROR_RULES4,
		     {Rule(AF_INET, 255, 0), Rule(AF_INET, 254, 32766), Rule(AF_INET, 253, 32767)});
		Dump(MIRROR_RULES6, {Rule(AF_INET6, 255, 0), Rule(AF_INET6, 254, 32766)});
		m_.changes = 0;
		m_.better = false;
	}

	~Mirror() override
	{
		route_mirror_free(&m_);
	}

	void Dump(enum mirror_kind kind, std::vector<Message> messages)
	{
		route_mirror_dump_begin(&m_);
		for (auto &message : messages)
			route_mirror_dump_add(&m_, kind, *message);
		route_mirror_dump_commit(&m_, kind);
	}

	void Tell(Message message)
	{
		route_mirror_event(&m_, *message);
	}

	struct route_input Input()
	{
		struct route_input in;

		route_mirror_input(&m_, &in);
		return in;
	}

	struct route_mirror m_;
};

TEST_F(Mirror, CleanAfterDumps)
{
	EXPECT_EQ(0u, m_.dirty);
	EXPECT_EQ(0u, route_mirror_stale(&m_));
	EXPECT_TRUE(Input().up);
	EXPECT_EQ(1500u, Input().mtu);
	EXPECT_FALSE(Input().policy_rules[0]);
	EXPECT_FALSE(Input().policy_rules[1]);
}

TEST_F(Mirror, RouteComesAndGoes)
{
	Tell(Route(RTM_NEWROUTE, "8.0.0.0", 8, "10.0.0.1"));
	EXPECT_EQ(1u, Input().route_cnt);
	EXPECT_EQ(static_cast<uint32_t>(ROUTE_CHANGE_TABLE), m_.changes);
	Tell(Route(RTM_NEWROUTE, "8.0.0.0", 8,
		   "10.0.0.1")); // told before the dump that showed it: nothing new
	EXPECT_EQ(1u, Input().route_cnt);
	Tell(Route(RTM_DELROUTE, "8.0.0.0", 8, "10.0.0.1"));
	EXPECT_EQ(0u, Input().route_cnt);
	EXPECT_EQ(0u, m_.dirty);
	Tell(Route(RTM_DELROUTE, "8.0.0.0", 8, "10.0.0.1")); // unknown
	EXPECT_EQ(Bit(MIRROR_ROUTES4), m_.dirty);
	EXPECT_TRUE(Input().policy_rules[0]);
	EXPECT_FALSE(Input().policy_rules[1]);
}

TEST_F(Mirror, ReplaceTakesTheOldOneAway)
{
	Tell(Route(RTM_NEWROUTE, "2600::", 16, "fe80::1", 10));
	Tell(Route(RTM_NEWROUTE, "2600::", 16, "fe80::1", 20)); // another metric stays
	Tell(Route(RTM_NEWROUTE, "2600::", 16, "fe80::2", 10, NLM_F_REPLACE));
	ASSERT_EQ(2u, Input().route_cnt);
	EXPECT_EQ(20u, Input().routes[0].priority);
	EXPECT_EQ(2, Input().routes[1].gateway[15]);
	EXPECT_EQ(0u, m_.dirty);
}

TEST_F(Mirror, ReplaceAmongSeveralIsReadAgain)
{
	Tell(Route(RTM_NEWROUTE, "8.0.0.0", 8, "10.0.0.1"));
	Tell(Route(RTM_NEWROUTE, "8.0.0.0", 8, "10.0.0.2", 0, NLM_F_APPEND));
	EXPECT_EQ(0u, m_.dirty);
	Tell(Route(RTM_NEWROUTE, "8.0.0.0", 8, "10.0.0.3", 0, NLM_F_REPLACE));
	EXPECT_EQ(Bit(MIRROR_ROUTES4), m_.dirty);
}

TEST_F(Mirror, OddRoutesAreReadAgain)
{
	Tell(Route(RTM_NEWROUTE, "2600::", 16, "fe80::1").Bytes(RTA_MULTIPATH, {0, 0, 0, 0}));
	EXPECT_EQ(Bit(MIRROR_ROUTES6), m_.dirty);
	EXPECT_EQ(0u, Input().route_cnt);
}

TEST_F(Mirror, ManyRouteMessagesAreReadAtOnce)
{
	for (int i = 0; i < 200; i++)
		Tell(Route(RTM_NEWROUTE, "8." + std::to_string(i) + ".0.0", 16, "10.0.0.1"));
	EXPECT_EQ(Bit(MIRROR_ROUTES4), m_.dirty);
	Dump(MIRROR_ROUTES4, {});
	m_.changes = 0;
	Tell(Route(RTM_NEWROUTE, "8.0.0.0", 16, "10.0.0.1"));
	EXPECT_EQ(0u, m_.dirty);
}

TEST_F(Mirror, OtherTablesAndCachedRoutes)
{
	Tell(Route(RTM_NEWROUTE, "8.0.0.0", 8, "10.0.0.1").U32(RTA_TABLE, 77));
	EXPECT_EQ(0u, Input().route_cnt);
	EXPECT_EQ(0u, m_.dirty | m_.changes);
}

TEST_F(Mirror, AddressEventsAskForADump)
{
	Tell(Address(RTM_NEWADDR, "10.0.0.2", 24));
	EXPECT_EQ(Bit(MIRROR_ADDRS4), m_.dirty);
	Tell(Address(RTM_DELADDR, "2001:db8::2", 64));
	EXPECT_EQ(Bit(MIRROR_ADDRS4) | Bit(MIRROR_ADDRS6) | Bit(MIRROR_ROUTES6), m_.dirty);
	EXPECT_EQ(3u, route_mirror_stale(&m_));
}

TEST_F(Mirror, DumpReplacesItsKindOnly)
{
	Dump(MIRROR_ADDRS4,
	     {Address(RTM_NEWADDR, "10.0.0.2", 24), Address(RTM_NEWADDR, "10.0.0.3", 24)});
	Dump(MIRROR_ADDRS6, {Address(RTM_NEWADDR, "2001:db8::2", 64)});
	EXPECT_EQ(3u, Input().addr_cnt);
	m_.changes = 0;
	Dump(MIRROR_ADDRS4,
	     {Address(RTM_NEWADDR, "10.0.0.2", 24), Address(RTM_NEWADDR, "10.0.0.3", 24)});
	EXPECT_EQ(0u, m_.changes); // the same
	Dump(MIRROR_ADDRS4,
	     {Address(RTM_NEWADDR, "10.0.0.3", 24), Address(RTM_NEWADDR, "10.0.0.2", 24)});
	EXPECT_NE(0u, m_.changes); // the order decides about sources
	Dump(MIRROR_ADDRS4, {});
	ASSERT_EQ(1u, Input().addr_cnt);
	EXPECT_EQ(AF_INET6, Input().addrs[0].family);
}

TEST_F(Mirror, ADumpBegunAnewForgetsTheFirst)
{
	Message one = Address(RTM_NEWADDR, "10.0.0.2", 24),
		two = Address(RTM_NEWADDR, "10.0.0.3", 24);

	route_mirror_dump_begin(&m_);
	route_mirror_dump_add(&m_, MIRROR_ADDRS4, *one);
	route_mirror_dump_begin(&m_); // NLM_F_DUMP_INTR
	route_mirror_dump_add(&m_, MIRROR_ADDRS4, *two);
	route_mirror_dump_commit(&m_, MIRROR_ADDRS4);
	EXPECT_EQ(1u, Input().addr_cnt);
}

TEST_F(Mirror, ReplacingAnOddRouteIsReadAgain)
{
	Dump(MIRROR_ROUTES6,
	     {Route(RTM_NEWROUTE, "2600::", 16, "fe80::1").Bytes(RTA_MULTIPATH, {0, 0, 0, 0})});
	Tell(Route(RTM_NEWROUTE, "2600::", 16, "fe80::2", 0, NLM_F_REPLACE));
	EXPECT_EQ(Bit(MIRROR_ROUTES6), m_.dirty);
}

TEST_F(Mirror, UnreadableDumpMakesTheFamilySlow)
{
	Dump(MIRROR_ROUTES4, {Route(RTM_NEWROUTE, "8.0.0.0", 33, "10.0.0.1")});
	EXPECT_EQ(1u, route_mirror_stale(&m_));
	EXPECT_NE(0u, m_.changes);
	m_.changes = 0;
	Dump(MIRROR_ROUTES4, {Route(RTM_NEWROUTE, "8.0.0.0", 32, "10.0.0.1")});
	EXPECT_EQ(0u, route_mirror_stale(&m_));
}

TEST_F(Mirror, Rules)
{
	Dump(MIRROR_RULES4, {Rule(AF_INET, 255, 0), Rule(AF_INET, 254, 32766)}); // one is missing
	EXPECT_TRUE(Input().rules);
	Dump(MIRROR_RULES6,
	     {Rule(AF_INET6, 255, 0), Rule(AF_INET6, 254, 5).U32(FRA_FWMARK, 7).U32(FRA_FWMASK, 15),
	      Rule(AF_INET6, 77, 9)});
	const struct route_input in = Input();
	std::vector<uint32_t> tables;
	for (uint32_t i = 0; i < in.rule_cnt; i++)
		if (in.rules[i].family == AF_INET6)
			tables.push_back(in.rules[i].table);
	EXPECT_EQ((std::vector<uint32_t>{255, 254, 77}), tables) << "in the kernel's order";
	EXPECT_EQ(7u, in.rules[in.rule_cnt - 2].mark);
	EXPECT_EQ(15u, in.rules[in.rule_cnt - 2].mark_mask);
	EXPECT_EQ(-1, in.rules[in.rule_cnt - 2].suppress_len);
	Dump(MIRROR_RULES6, {Rule(AF_INET6, 255, 0), Rule(AF_INET6, 254, 32766)});
	EXPECT_EQ(in.rule_cnt - 1, Input().rule_cnt);
	Tell(Rule(AF_INET6, 77, 5));
	EXPECT_EQ(Bit(MIRROR_RULES6), m_.dirty);
}

TEST_F(Mirror, NeighbourStepsDoNotCostATable)
{
	Tell(Neigh(RTM_NEWNEIGH, "10.0.0.1", 0, NUD_INCOMPLETE));
	EXPECT_FALSE(m_.better);
	Tell(Neigh(RTM_NEWNEIGH, "10.0.0.1", 1, NUD_REACHABLE));
	EXPECT_TRUE(m_.better);
	EXPECT_EQ(0u, m_.changes); // no hurry
	m_.better = false;
	for (uint16_t state : {NUD_STALE, NUD_DELAY, NUD_PROBE, NUD_REACHABLE})
		Tell(Neigh(RTM_NEWNEIGH, "10.0.0.1", 1, state));
	EXPECT_FALSE(m_.better);
	EXPECT_EQ(0u, m_.changes);
	Tell(Neigh(RTM_NEWNEIGH, "10.0.0.1", 9, NUD_REACHABLE));
	EXPECT_NE(0u, m_.changes); // another MAC: at once
	m_.changes = 0;
	Tell(Neigh(RTM_NEWNEIGH, "10.0.0.1", 9, NUD_FAILED));
	EXPECT_NE(0u, m_.changes);
	m_.changes = 0;
	Tell(Neigh(RTM_DELNEIGH, "10.0.0.1", 9, NUD_FAILED));
	EXPECT_EQ(0u, m_.changes);
	EXPECT_EQ(0u, Input().neigh_cnt);
	EXPECT_EQ(0u, m_.dirty);
}

TEST_F(Mirror, ForeignNeighboursAreNotKept)
{
	Tell(Neigh(RTM_NEWNEIGH, "10.0.0.1", 1, NUD_REACHABLE, 0, kOther));
	Tell(Neigh(RTM_NEWNEIGH, "10.0.0.1", 1, NUD_REACHABLE, NTF_PROXY));
	EXPECT_EQ(0u, Input().neigh_cnt);
	Tell(Neigh(RTM_NEWNEIGH, "10.0.0.1", 1, NUD_NOARP, NTF_EXT_LEARNED));
	EXPECT_EQ(1u, Input().neigh_cnt);
}

TEST_F(Mirror, LinkEvents)
{
	Tell(Link(RTM_NEWLINK, kOther, IFF_UP, 0)); // its carrier
	EXPECT_EQ(0u, m_.dirty);
	Tell(Link(RTM_NEWLINK, kOther, 0, IFF_UP)); // down
	EXPECT_EQ(kAddrs | kRoutes, m_.dirty);
	m_.dirty = 0;
	Tell(Link(RTM_NEWLINK, kOther, 0, ~0u)); // new
	EXPECT_EQ(0u, m_.dirty);
	Tell(Link(RTM_DELLINK, kOther, 0, ~0u));
	EXPECT_EQ(kAddrs | kRoutes, m_.dirty);
	m_.dirty = 0;
	Tell(Link(RTM_DELLINK, kDevice, 0, ~0u,
		  AF_BRIDGE)); // leaves a bridge: asked about, not believed gone
	EXPECT_EQ(Bit(MIRROR_LINK), m_.dirty);
	EXPECT_FALSE(m_.gone);
	route_mirror_gone(&m_);
	EXPECT_EQ(static_cast<uint32_t>(ROUTE_CHANGE_GONE | ROUTE_CHANGE_TABLE), m_.changes);
	EXPECT_FALSE(Input().up);
}

TEST_F(Mirror, LinkChanges)
{
	Message down = Link(RTM_NEWLINK, kDevice, IFF_UP, 0);

	Dump(MIRROR_LINK, {down});
	EXPECT_EQ(static_cast<uint32_t>(ROUTE_CHANGE_LINK | ROUTE_CHANGE_TABLE), m_.changes);
	EXPECT_FALSE(Input().up);
	EXPECT_NE(0u, m_.dirty & kRoutes);
	m_.changes = m_.dirty = 0;
	Dump(MIRROR_LINK, {down});
	EXPECT_EQ(0u, m_.changes | m_.dirty);
}

TEST_F(Mirror, NexthopGoesWithItsRoutes)
{
	Tell(Message(RTM_DELNEXTHOP));
	EXPECT_EQ(kRoutes, m_.dirty);
}

TEST_F(Mirror, RoutesRunOut)
{
	struct rta_cacheinfo info = {};

	m_.now_ms = 1000;
	info.rta_expires = 200; // 2 s
	const auto *p = reinterpret_cast<const uint8_t *>(&info);
	Tell(Route(RTM_NEWROUTE, "2600::", 16, "fe80::1")
		     .Bytes(RTA_CACHEINFO, {p, p + sizeof(info)}));
	EXPECT_EQ(3000u, m_.expiry_ms);
	EXPECT_FALSE(Input().routes[0].odd);
	info.rta_expires = static_cast<uint32_t>(-5); // over
	Dump(MIRROR_ROUTES6, {Route(RTM_NEWROUTE, "2600::", 16, "fe80::1")
				      .Bytes(RTA_CACHEINFO, {p, p + sizeof(info)})});
	EXPECT_TRUE(Input().routes[0].odd);
}

TEST_F(Mirror, LocalsAreWhatTheLocalTableHolds)
{
	uint8_t out[8][16];
	auto local = [](const std::string &dst) {
		Message m(RTM_NEWROUTE);
		auto *rtm = m.Header<struct rtmsg>();

		rtm->rtm_family = FamilyOf(dst);
		rtm->rtm_dst_len = FamilyOf(dst) == AF_INET ? 32 : 128;
		rtm->rtm_table = RT_TABLE_LOCAL;
		rtm->rtm_type = RTN_LOCAL;
		m.Address(RTA_DST, dst).U32(RTA_OIF, kDevice);
		return m;
	};

	Dump(MIRROR_ADDRS4,
	     {Address(RTM_NEWADDR, "10.0.0.2", 24), Address(RTM_NEWADDR, "10.0.0.2", 16),
	      Address(RTM_NEWADDR, "10.0.0.3", 24), Address(RTM_NEWADDR, "127.0.0.1", 8)});
	Dump(MIRROR_ADDRS6,
	     {Address(RTM_NEWADDR, "2001:db8::2", 64), Address(RTM_NEWADDR, "::1", 128)});
	Dump(MIRROR_ROUTES6, {local("2001:db8::2"), local("::1"), local("2001:db8::99")});
	Dump(MIRROR_ROUTES4, {local("10.0.0.2"), local("127.0.0.1"), local("10.0.0.2")});
	ASSERT_EQ(2u, route_mirror_locals(&m_, out, 8));
	EXPECT_EQ("::ffff:10.0.0.2", Text(AF_INET6, out[0])); // sorted
	EXPECT_EQ("2001:db8::2", Text(AF_INET6, out[1]));
}

TEST_F(Mirror, SourcesAreTheDevicesAddressesAndWhatItsRoutesPrefer)
{
	uint8_t out[8][16];

	EXPECT_EQ(0u, route_mirror_sources(&m_, out, 8));
	Dump(MIRROR_ADDRS4,
	     {Address(RTM_NEWADDR, "10.0.0.3", 24), Address(RTM_NEWADDR, "10.0.0.2", 24)});
	Dump(MIRROR_ADDRS6, {Address(RTM_NEWADDR, "2001:db8::2", 64)});
	Dump(MIRROR_ROUTES4,
	     {Route(RTM_NEWROUTE, "8.8.8.0", 24, "10.0.0.1").Address(RTA_PREFSRC, "10.244.0.1"),
	      Route(RTM_NEWROUTE, "8.8.9.0", 24, "10.0.0.1").Address(RTA_PREFSRC, "10.0.0.2")});
	ASSERT_EQ(3u, route_mirror_sources(&m_, out, 8));
	EXPECT_EQ("::ffff:10.0.0.2", Text(AF_INET6, out[0]));
	EXPECT_EQ("::ffff:10.0.0.3", Text(AF_INET6, out[1]));
	EXPECT_EQ("::ffff:10.244.0.1", Text(AF_INET6, out[2]));
	EXPECT_GT(route_mirror_sources(&m_, out, 1), 1u) << "there are more than fit";
}

TEST(Parse, NextMessage)
{
	alignas(8) char buf[64] = {};
	auto *nlh = reinterpret_cast<struct nlmsghdr *>(buf);
	const auto first = [&](uint32_t message_len, uint32_t len) {
		const void *at = buf;

		nlh->nlmsg_len = message_len;
		return route_next_message(&at, &len)
			       ? static_cast<int>(static_cast<const char *>(at) - buf)
			       : -1;
	};

	EXPECT_EQ(16, first(16, 64));
	EXPECT_EQ(20, first(17, 64));
	EXPECT_EQ(17, first(17, 17)); // the last one is not padded
	EXPECT_EQ(64, first(64, 64));
	for (uint32_t wrong : {0u, 15u, 65u, 0x80000010u, 0xfffffffdu, 0xffffffffu})
		EXPECT_EQ(-1, first(wrong, 64)) << wrong;
	EXPECT_EQ(-1, first(16, 15));
}

TEST(Parse, RouteFields)
{
	struct route_route r;
	uint32_t expires;
	Message m = Route(RTM_NEWROUTE, "8.0.0.0", 8, "10.0.0.1", 7)
			    .Address(RTA_PREFSRC, "10.0.0.2")
			    .Nest(RTA_METRICS, RTAX_MTU, 1400);

	ASSERT_EQ(0, route_parse_route(*m, &r, &expires));
	EXPECT_EQ(AF_INET, r.family);
	EXPECT_EQ(8, r.prefix_len);
	EXPECT_EQ(7u, r.priority);
	EXPECT_EQ(1400u, r.mtu);
	EXPECT_TRUE(r.has_gateway && r.has_prefsrc);
	EXPECT_FALSE(r.odd || r.exception);
	EXPECT_EQ(kDevice, r.ifindex);
	EXPECT_EQ(static_cast<uint32_t>(RT_TABLE_MAIN), r.table);
	m = Route(RTM_NEWROUTE, "8.0.0.0", 8, "")
		    .Bytes(RTA_VIA,
			   {AF_INET6, 0, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
	ASSERT_EQ(0, route_parse_route(*m, &r, &expires));
	EXPECT_EQ(AF_INET6, r.gateway_family);
	EXPECT_EQ("fe80::1", Text(AF_INET6, r.gateway));
	m = Route(RTM_NEWROUTE, "8.0.0.0", 8, "10.0.0.1")
		    .Nest(RTA_METRICS, RTAX_LOCK, 1 << RTAX_MTU);
	ASSERT_EQ(0, route_parse_route(*m, &r, &expires));
	EXPECT_TRUE(r.odd);
}

TEST(Parse, RouteMalformed)
{
	struct route_route r;
	uint32_t expires;

	for (uint16_t type : {RTA_DST, RTA_GATEWAY, RTA_PREFSRC, RTA_OIF, RTA_PRIORITY, RTA_TABLE,
			      RTA_CACHEINFO, RTA_VIA}) {
		Message m = Route(RTM_NEWROUTE, "8.0.0.0", 8, "10.0.0.1").Bytes(type, {1});
		EXPECT_EQ(-EBADMSG, route_parse_route(*m, &r, &expires)) << type;
	}
	Message cut = Route(RTM_NEWROUTE, "8.0.0.0", 8, "10.0.0.1");
	(*cut)->nlmsg_len -= 2; // inside the last attribute
	EXPECT_EQ(-EBADMSG, route_parse_route(*cut, &r, &expires));
	Message empty(RTM_NEWROUTE);
	EXPECT_EQ(-EBADMSG, route_parse_route(*empty, &r, &expires));
	Message other(RTM_NEWROUTE);
	other.Header<struct rtmsg>()->rtm_family = 129; // RTNL_FAMILY_IPMR
	EXPECT_EQ(-ENOMSG, route_parse_route(*other, &r, &expires));
}

TEST(Parse, PointToPointAddress)
{
	struct route_addr a;
	Message m(RTM_NEWADDR);
	auto *ifa = m.Header<struct ifaddrmsg>();

	ifa->ifa_family = AF_INET;
	ifa->ifa_prefixlen = 32;
	ifa->ifa_flags = 1;
	m.Address(IFA_LOCAL, "192.168.0.1")
		.Address(IFA_ADDRESS, "192.168.0.2")
		.U32(IFA_FLAGS, IFA_F_NOPREFIXROUTE);
	ASSERT_EQ(0, route_parse_addr(*m, &a));
	EXPECT_EQ("192.168.0.1", Text(AF_INET, a.addr));
	EXPECT_EQ("192.168.0.2", Text(AF_INET, a.peer));
	EXPECT_EQ(static_cast<uint32_t>(IFA_F_NOPREFIXROUTE), a.flags);
}

TEST(Parse, LinkSettingsForIpv6)
{
	struct route_link link;
	Message m = Link(RTM_NEWLINK, kDevice, IFF_UP, 0);
	struct nlattr *spec = mnl_attr_nest_start(*m, IFLA_AF_SPEC),
		      *six = mnl_attr_nest_start(*m, AF_INET6);
	const int32_t conf[5] = {0, 70, 1400, 1, 1};

	mnl_attr_put(*m, IFLA_INET6_CONF, sizeof(conf), conf);
	mnl_attr_nest_end(*m, six);
	mnl_attr_nest_end(*m, spec);
	ASSERT_EQ(0, route_parse_link(*m, &link));
	EXPECT_TRUE(link.has_conf6);
	EXPECT_EQ(70, link.hop_limit6);
	EXPECT_EQ(1400u, link.mtu6);
	EXPECT_EQ(1500u, link.mtu);
	EXPECT_EQ(7, link.mac[5]);
}

} // namespace
