// SPDX-License-Identifier: Apache-2.0
/* The XDP program with connection tracking: entries made by ctnetlink in a namespace of the
 * test's own. */
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

#include "tests/unit/xdp/xdp_program.h"

struct End {
	std::string addr;
	uint16_t port;
};

class XdpTranslated : public XdpProgram
{
      protected:
	void SetUp() override
	{
		conntrack = true;
		if (unshare(CLONE_NEWNET))
			GTEST_SKIP() << "no permission to make a network namespace: run as root";
		load(false);
		if (IsSkipped())
			return;
		ASSERT_EQ(insert(claim("192.0.2.1", 5060)), 0);
		ASSERT_EQ(insert(claim("2001:db8::1", 5060)), 0);
		xdp_claims_set_translated(&claims, true);
	}

	static void put_addr(nlmsghdr *m, uint16_t type4, uint16_t type6, const std::string &addr)
	{
		bool six = addr.find(':') != std::string::npos;

		mnl_attr_put(m, six ? type6 : type4, six ? 16 : 4, ip(addr).data());
	}

	static void put_tuple(nlmsghdr *m, uint16_t type, const End &src, const End &dst)
	{
		nlattr *tuple = mnl_attr_nest_start(m, type),
		       *part = mnl_attr_nest_start(m, CTA_TUPLE_IP);

		put_addr(m, CTA_IP_V4_SRC, CTA_IP_V6_SRC, src.addr);
		put_addr(m, CTA_IP_V4_DST, CTA_IP_V6_DST, dst.addr);
		mnl_attr_nest_end(m, part);
		part = mnl_attr_nest_start(m, CTA_TUPLE_PROTO);
		mnl_attr_put_u8(m, CTA_PROTO_NUM, IPPROTO_UDP);
		mnl_attr_put_u16(m, CTA_PROTO_SRC_PORT, htons(src.port));
		mnl_attr_put_u16(m, CTA_PROTO_DST_PORT, htons(dst.port));
		mnl_attr_nest_end(m, part);
		mnl_attr_nest_end(m, tuple);
	}

	static void put_nat(nlmsghdr *m, uint16_t type, const End &to)
	{
		nlattr *nat = mnl_attr_nest_start(m, type), *port;

		put_addr(m, CTA_NAT_V4_MINIP, CTA_NAT_V6_MINIP, to.addr);
		put_addr(m, CTA_NAT_V4_MAXIP, CTA_NAT_V6_MAXIP, to.addr);
		port = mnl_attr_nest_start(m, CTA_NAT_PROTO);
		mnl_attr_put_u16(m, CTA_PROTONAT_PORT_MIN, htons(to.port));
		mnl_attr_put_u16(m, CTA_PROTONAT_PORT_MAX, htons(to.port));
		mnl_attr_nest_end(m, port);
		mnl_attr_nest_end(m, nat);
	}

	/* A flow from src to dst; type: CTA_NAT_SRC or CTA_NAT_DST to `to`, or 0 if not translated.
	 * */
	static void track(const End &src, const End &dst, uint16_t type = 0, const End &to = {})
	{
		alignas(nlmsghdr) char buf[1024] = {};
		nlmsghdr *m = mnl_nlmsg_put_header(buf);

		m->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW;
		m->nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK;
		auto *g = static_cast<nfgenmsg *>(mnl_nlmsg_put_extra_header(m, sizeof(nfgenmsg)));
		g->nfgen_family = src.addr.find(':') == std::string::npos ? AF_INET : AF_INET6;
		put_tuple(m, CTA_TUPLE_ORIG, src, dst);
		put_tuple(m, CTA_TUPLE_REPLY, dst, src);
		if (type)
			put_nat(m, type, to);
		mnl_attr_put_u32(m, CTA_TIMEOUT, htonl(600));
		mnl_attr_put_u32(m, CTA_STATUS, htonl(IPS_CONFIRMED));
		send(m);
	}

	static void send(const nlmsghdr *m)
	{
		char answer[8192];
		mnl_socket *s = mnl_socket_open(NETLINK_NETFILTER);

		ASSERT_NE(s, nullptr);
		ASSERT_EQ(mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID), 0);
		ASSERT_GT(mnl_socket_sendto(s, m, m->nlmsg_len), 0);
		ssize_t n = mnl_socket_recvfrom(s, answer, sizeof(answer));
		ASSERT_GT(n, 0);
		EXPECT_GE(mnl_cb_run(answer, n, 0, mnl_socket_get_portid(s), nullptr, nullptr), 0)
			<< strerror(errno);
		mnl_socket_close(s);
	}

	int from(const End &src, const std::string &dst = "192.0.2.1")
	{
		Datagram d;

		d.src = src.addr;
		d.sport = src.port;
		d.dst = dst;
		return run(d);
	}
};

TEST_F(XdpTranslated, AnswersToWhatIsMasqueradedAreTheKernels)
{
	track({"10.244.0.5", 5353}, {"203.0.113.7", 53}, CTA_NAT_SRC, {"192.0.2.1", 5060});
	EXPECT_EQ(from({"203.0.113.7", 53}), XDP_COUNT_TRANSLATED);
	EXPECT_EQ(from({"203.0.113.7", 54}), XDP_COUNT_DIVERTED);
	EXPECT_EQ(from({"203.0.113.8", 53}), XDP_COUNT_DIVERTED);
}

TEST_F(XdpTranslated, AnswersOfAServiceAreTheKernels)
{
	track({"192.0.2.1", 5060}, {"10.96.0.10", 53}, CTA_NAT_DST, {"10.244.0.9", 5353});
	EXPECT_EQ(from({"10.244.0.9", 5353}), XDP_COUNT_TRANSLATED);
	EXPECT_EQ(from({"10.96.0.10", 53}), XDP_COUNT_DIVERTED)
		<< "nobody's answer: the kernel's table has none from there";
}

TEST_F(XdpTranslated, WhatIsOnlyTrackedIsDiverted)
{
	track({"198.51.100.1", 1000}, {"192.0.2.1", 5060});
	EXPECT_EQ(from({"198.51.100.1", 1000}), XDP_COUNT_DIVERTED);
}

TEST_F(XdpTranslated, OfIpv6Too)
{
	track({"fd00::5", 5353}, {"2001:db8:7::7", 53}, CTA_NAT_SRC, {"2001:db8::1", 5060});
	EXPECT_EQ(from({"2001:db8:7::7", 53}, "2001:db8::1"), XDP_COUNT_TRANSLATED);
	EXPECT_EQ(from({"2001:db8:7::7", 54}, "2001:db8::1"), XDP_COUNT_DIVERTED);
}

TEST_F(XdpTranslated, WhereNothingIsTranslatedNobodyLooks)
{
	track({"10.244.0.5", 5353}, {"203.0.113.7", 53}, CTA_NAT_SRC, {"192.0.2.1", 5060});
	xdp_claims_set_translated(&claims, false);
	EXPECT_EQ(from({"203.0.113.7", 53}), XDP_COUNT_DIVERTED);
}

TEST_F(XdpTranslated, WhatTheWorkerWouldNotGetIsNotLookedUpEither)
{
	track({"10.244.0.5", 5353}, {"203.0.113.7", 53}, CTA_NAT_SRC, {"192.0.2.1", 5060});
	ASSERT_EQ(remove(claim("192.0.2.1", 5060)), 0);
	EXPECT_EQ(from({"203.0.113.7", 53}), XDP_COUNT_UNCLAIMED);
}

TEST_F(XdpTranslated, ItOutlivesANewProgram)
{
	xdp_shared fresh = {};

	ASSERT_EQ(xdp_claims_use(&claims, &fresh, claims.local_fd, claims.addr_fd, claims.conn_fd,
				 claims.source_fd, claims.excluded_fd, claims.member_fd),
		  0);
	EXPECT_EQ(fresh.translated, 1u);
}
