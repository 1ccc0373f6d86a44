/* SPDX-License-Identifier: Apache-2.0 */
/* nftables messages as the kernel dumps them. */
#ifndef TESTS_UNIT_ENVIRONMENT_NFT_H
#define TESTS_UNIT_ENVIRONMENT_NFT_H

#include <arpa/inet.h>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <string>
#include <vector>

#include "sidecar/environment/rules.h"
#include "sidecar/environment/rules_nft.h"

using Bytes = std::vector<uint8_t>;
using Expression = std::function<void(struct nlmsghdr *)>;

inline Bytes port(uint16_t p)
{
	return {uint8_t(p >> 8), uint8_t(p)};
}

inline Bytes ip(const char *text)
{
	Bytes b(strchr(text, ':') ? 16 : 4);
	inet_pton(b.size() == 4 ? AF_INET : AF_INET6, text, b.data());
	return b;
}

inline Bytes name(const char *text, bool whole = true)
{
	Bytes b(text, text + strlen(text));
	if (whole)
		b.resize(16);
	return b;
}

inline Expression expression(const char *type, std::function<void(struct nlmsghdr *)> data)
{
	return [=](struct nlmsghdr *m) {
		struct nlattr *elem = mnl_attr_nest_start(m, NFTA_LIST_ELEM);
		mnl_attr_put_strz(m, NFTA_EXPR_NAME, type);
		struct nlattr *d = mnl_attr_nest_start(m, NFTA_EXPR_DATA);
		data(m);
		mnl_attr_nest_end(m, d);
		mnl_attr_nest_end(m, elem);
	};
}

inline void put(struct nlmsghdr *m, uint16_t type, uint32_t value)
{
	mnl_attr_put_u32(m, type, htonl(value));
}

inline void put_value(struct nlmsghdr *m, uint16_t type, const Bytes &value)
{
	struct nlattr *n = mnl_attr_nest_start(m, type);
	mnl_attr_put(m, NFTA_DATA_VALUE, value.size(), value.data());
	mnl_attr_nest_end(m, n);
}

inline Expression meta(uint32_t key, uint32_t reg = 1)
{
	return expression("meta", [=](struct nlmsghdr *m) {
		put(m, NFTA_META_KEY, key);
		put(m, NFTA_META_DREG, reg);
	});
}

inline Expression meta_set(uint32_t key, uint32_t reg = 1)
{
	return expression("meta", [=](struct nlmsghdr *m) {
		put(m, NFTA_META_KEY, key);
		put(m, NFTA_META_SREG, reg);
	});
}

inline Expression payload(uint32_t base, uint32_t off, uint32_t len, uint32_t reg = 1)
{
	return expression("payload", [=](struct nlmsghdr *m) {
		put(m, NFTA_PAYLOAD_DREG, reg);
		put(m, NFTA_PAYLOAD_BASE, base);
		put(m, NFTA_PAYLOAD_OFFSET, off);
		put(m, NFTA_PAYLOAD_LEN, len);
	});
}

inline Expression cmp(const Bytes &value, uint32_t op = NFT_CMP_EQ, uint32_t reg = 1)
{
	return expression("cmp", [=](struct nlmsghdr *m) {
		put(m, NFTA_CMP_SREG, reg);
		put(m, NFTA_CMP_OP, op);
		put_value(m, NFTA_CMP_DATA, value);
	});
}

inline Expression range(const Bytes &from, const Bytes &to)
{
	return expression("range", [=](struct nlmsghdr *m) {
		put(m, NFTA_RANGE_SREG, 1);
		put(m, NFTA_RANGE_OP, NFT_RANGE_EQ);
		put_value(m, NFTA_RANGE_FROM_DATA, from);
		put_value(m, NFTA_RANGE_TO_DATA, to);
	});
}

inline Expression mask(const Bytes &bits, const Bytes &flip)
{
	return expression("bitwise", [=](struct nlmsghdr *m) {
		put(m, NFTA_BITWISE_SREG, 1);
		put(m, NFTA_BITWISE_DREG, 1);
		put(m, NFTA_BITWISE_LEN, bits.size());
		put_value(m, NFTA_BITWISE_MASK, bits);
		put_value(m, NFTA_BITWISE_XOR, flip);
	});
}

inline Expression verdict(int code, const char *chain = nullptr)
{
	return expression("immediate", [=](struct nlmsghdr *m) {
		put(m, NFTA_IMMEDIATE_DREG, 0);
		struct nlattr *d = mnl_attr_nest_start(m, NFTA_IMMEDIATE_DATA);
		struct nlattr *v = mnl_attr_nest_start(m, NFTA_DATA_VERDICT);
		put(m, NFTA_VERDICT_CODE, uint32_t(code));
		if (chain)
			mnl_attr_put_strz(m, NFTA_VERDICT_CHAIN, chain);
		mnl_attr_nest_end(m, v);
		mnl_attr_nest_end(m, d);
	});
}

inline Expression immediate(const Bytes &value, uint32_t reg)
{
	return expression("immediate", [=](struct nlmsghdr *m) {
		put(m, NFTA_IMMEDIATE_DREG, reg);
		put_value(m, NFTA_IMMEDIATE_DATA, value);
	});
}

inline Expression dnat(uint32_t addr_reg, uint32_t port_reg)
{
	return expression("nat", [=](struct nlmsghdr *m) {
		put(m, NFTA_NAT_TYPE, NFT_NAT_DNAT);
		put(m, NFTA_NAT_FAMILY, NFPROTO_IPV4);
		if (addr_reg)
			put(m, NFTA_NAT_REG_ADDR_MIN, addr_reg);
		if (port_reg)
			put(m, NFTA_NAT_REG_PROTO_MIN, port_reg);
	});
}

inline Expression ct(uint32_t reg = 1)
{
	return expression("ct", [=](struct nlmsghdr *m) {
		put(m, NFTA_CT_DREG, reg);
		put(m, NFTA_CT_KEY, NFT_CT_STATE);
	});
}

inline Expression lookup(bool verdicts = false)
{
	return expression("lookup", [=](struct nlmsghdr *m) {
		mnl_attr_put_strz(m, NFTA_LOOKUP_SET, "__set0");
		put(m, NFTA_LOOKUP_SREG, 1);
		if (verdicts)
			put(m, NFTA_LOOKUP_DREG, 0);
	});
}

inline Expression plain(const char *type)
{
	return expression(type, [](struct nlmsghdr *) {});
}

/* Often used. */
inline std::vector<Expression> operator+(std::vector<Expression> a,
					 const std::vector<Expression> &b)
{
	a.insert(a.end(), b.begin(), b.end());
	return a;
}
inline std::vector<Expression> proto(uint8_t p)
{
	return {meta(NFT_META_L4PROTO), cmp({p})};
}
inline std::vector<Expression> dport(uint16_t p)
{
	return proto(17) +
	       std::vector<Expression>{payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2), cmp(port(p))};
}
inline std::vector<Expression> sport(uint16_t p)
{
	return proto(17) +
	       std::vector<Expression>{payload(NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2), cmp(port(p))};
}
inline std::vector<Expression> daddr(const char *a)
{
	return {payload(NFT_PAYLOAD_NETWORK_HEADER, 16, 4), cmp(ip(a))};
}
inline std::vector<Expression> saddr(const char *a)
{
	return {payload(NFT_PAYLOAD_NETWORK_HEADER, 12, 4), cmp(ip(a))};
}

struct Ruleset {
	struct rules *r;
	uint8_t family;
	char buf[8192] __attribute__((aligned(8)));

	explicit Ruleset(struct rules *rules, uint8_t f = NFPROTO_IPV4) : r(rules), family(f)
	{
	}

	struct nlmsghdr *message(uint16_t type)
	{
		memset(buf, 0, sizeof(buf));
		struct nlmsghdr *m = mnl_nlmsg_put_header(buf);
		m->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | type;
		auto *g = static_cast<struct nfgenmsg *>(
			mnl_nlmsg_put_extra_header(m, sizeof(struct nfgenmsg)));
		g->nfgen_family = family;
		return m;
	}

	/* hook < 0: not a base chain */
	Ruleset &chain(const char *chain_name, int hook = -1, const char *type = "filter",
		       bool drop = false, const char *dev = nullptr)
	{
		struct nlmsghdr *m = message(NFT_MSG_NEWCHAIN);
		mnl_attr_put_strz(m, NFTA_CHAIN_TABLE, "t");
		mnl_attr_put_strz(m, NFTA_CHAIN_NAME, chain_name);
		if (hook >= 0) {
			struct nlattr *h = mnl_attr_nest_start(m, NFTA_CHAIN_HOOK);
			put(m, NFTA_HOOK_HOOKNUM, uint32_t(hook));
			if (dev)
				mnl_attr_put_strz(m, NFTA_HOOK_DEV, dev);
			mnl_attr_nest_end(m, h);
			put(m, NFTA_CHAIN_POLICY, drop ? NF_DROP : NF_ACCEPT);
			mnl_attr_put_strz(m, NFTA_CHAIN_TYPE, type);
		}
		rules_nft_chain(r, m, "eth0");
		return *this;
	}

	Ruleset &rule(const char *chain_name, const std::vector<Expression> &list)
	{
		struct nlmsghdr *m = message(NFT_MSG_NEWRULE);
		mnl_attr_put_strz(m, NFTA_RULE_TABLE, "t");
		mnl_attr_put_strz(m, NFTA_RULE_CHAIN, chain_name);
		struct nlattr *n = mnl_attr_nest_start(m, NFTA_RULE_EXPRESSIONS);
		for (const Expression &e : list)
			e(m);
		mnl_attr_nest_end(m, n);
		rules_nft_rule(r, m);
		return *this;
	}
};

/* What the kernel dumped of a ruleset: tests/fuzz/environment/nft_dump. */
inline void load_dump(struct rules *r, const char *file)
{
	std::ifstream in(std::string("tests/fuzz/environment/corpus/") + file, std::ios::binary);
	std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
	std::vector<uint64_t> aligned((text.size() + 7) / 8);
	memcpy(aligned.data(), text.data(), text.size());
	int len = int(text.size());
	for (auto *m = reinterpret_cast<const struct nlmsghdr *>(aligned.data());
	     mnl_nlmsg_ok(m, len); m = mnl_nlmsg_next(m, &len)) {
		switch (m->nlmsg_type & 0xff) {
		case NFT_MSG_NEWCHAIN: rules_nft_chain(r, m, "eth0"); break;
		case NFT_MSG_NEWSET: rules_nft_set(r, m); break;
		case NFT_MSG_NEWSETELEM: rules_nft_elements(r, m); break;
		case NFT_MSG_NEWRULE: rules_nft_rule(r, m); break;
		}
	}
	rules_finish(r);
}

/* What arrives at 10.0.0.1:5060 by eth0. */
inline struct rules_class incoming()
{
	struct rules_class c;
	rules_class_init(&c, AF_INET);
	rules_class_destination(&c, ip("10.0.0.1").data(), htons(5060));
	c.iif_known = c.oif_known = c.mark_known = true;
	c.iif = 7;
	strcpy(c.iifname, "eth0");
	c.daddr_type = RTN_LOCAL;
	c.hooks = RULES_INPUT;
	return c;
}

/* What 10.0.0.1:5060 sends by eth0. */
inline struct rules_class outgoing(uint32_t hooks = RULES_OUTPUT)
{
	struct rules_class c;
	rules_class_init(&c, AF_INET);
	rules_class_source(&c, ip("10.0.0.1").data(), htons(5060));
	c.iif_known = c.oif_known = c.mark_known = true;
	c.oif = 7;
	strcpy(c.oifname, "eth0");
	c.saddr_type = RTN_LOCAL;
	c.daddr_type = RTN_UNICAST;
	c.hooks = hooks;
	c.by_destination = true;
	return c;
}

#endif
