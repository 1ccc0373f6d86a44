/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/route/route_parse.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/ipv6.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

static uint32_t address_len(uint8_t family)
{
	return family == AF_INET6 ? 16 : 4;
}

static bool is_ip(uint8_t family)
{
	return family == AF_INET || family == AF_INET6;
}

static bool is_zero(const uint8_t *p, uint32_t len)
{
	while (len)
		if (p[--len])
			return false;
	return true;
}

const struct nlmsghdr *route_next_message(const void **buf, uint32_t *len)
{
	const struct nlmsghdr *nlh = *buf;
	uint32_t step;

	if (*len < sizeof(*nlh) || nlh->nlmsg_len < sizeof(*nlh) || nlh->nlmsg_len > *len)
		return NULL;
	step = nlh->nlmsg_len < *len - 3 ? NLMSG_ALIGN(nlh->nlmsg_len) : *len;
	*buf = (const char *)*buf + step;
	*len -= step;
	return nlh;
}

/* Advances *attr to the next attribute after the fixed header, or to NULL after the last one.
 * Returns false if a length is wrong. */
static bool next_attr(const struct nlmsghdr *nlh, uint32_t header_len, const struct nlattr **attr)
{
	const char *end = (const char *)nlh + nlh->nlmsg_len;
	const char *at = *attr ? (const char *)mnl_attr_next(*attr)
			       : (const char *)mnl_nlmsg_get_payload_offset(nlh, header_len);

	*attr = NULL;
	if (at >= end)
		return true;
	if (!mnl_attr_ok((const struct nlattr *)at, (int)(end - at)))
		return false;
	*attr = (const struct nlattr *)at;
	return true;
}

static const void *header(const struct nlmsghdr *nlh, uint32_t len)
{
	return mnl_nlmsg_get_payload_len(nlh) >= len ? mnl_nlmsg_get_payload(nlh) : NULL;
}

static int get_u32(const struct nlattr *attr, uint32_t *out)
{
	if (mnl_attr_get_payload_len(attr) < sizeof(*out))
		return -EBADMSG;
	memcpy(out, mnl_attr_get_payload(attr), sizeof(*out));
	return 0;
}

static int get_addr(const struct nlattr *attr, uint8_t family, uint8_t *out)
{
	if (mnl_attr_get_payload_len(attr) != address_len(family))
		return -EBADMSG;
	memcpy(out, mnl_attr_get_payload(attr), address_len(family));
	return 0;
}

static int get_name(const struct nlattr *attr, char name[16])
{
	const uint32_t len = mnl_attr_get_payload_len(attr);

	if (!len || len > 16 || ((const char *)mnl_attr_get_payload(attr))[len - 1])
		return -EBADMSG;
	memcpy(name, mnl_attr_get_payload(attr), len);
	return 0;
}

/* Reads IFLA_INET6_CONF inside a nest: an array indexed by enum DEVCONF_*, which newer kernels
 * extend. */
static int parse_conf6(const struct nlattr *nest, struct route_link *out)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested(attr, nest) {
		const uint8_t *conf = mnl_attr_get_payload(attr);
		int32_t value[3];

		if (mnl_attr_get_type(attr) != IFLA_INET6_CONF)
			continue;
		if (mnl_attr_get_payload_len(attr) < sizeof(value))
			return -EBADMSG;
		memcpy(value, conf,
		       sizeof(value)); /* DEVCONF_FORWARDING, DEVCONF_HOPLIMIT, DEVCONF_MTU6 */
		out->has_conf6 = true;
		out->hop_limit6 = value[1] > 0 && value[1] < 256 ? (uint8_t)value[1] : 0;
		out->mtu6 = value[2] > 0 ? (uint32_t)value[2] : 0;
	}
	return 0;
}

static int parse_af_spec(const struct nlattr *nest, struct route_link *out)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested(attr, nest)
		if (mnl_attr_get_type(attr) == AF_INET6 && parse_conf6(attr, out))
			return -EBADMSG;
	return 0;
}

static int parse_link_attr(const struct nlattr *attr, struct route_link *out)
{
	switch (mnl_attr_get_type(attr)) {
	case IFLA_MTU: return get_u32(attr, &out->mtu);
	case IFLA_IFNAME: return out->family == AF_UNSPEC ? get_name(attr, out->name) : 0;
	case IFLA_MASTER: out->has_master = true; return 0;
	case IFLA_ADDRESS:
		if (mnl_attr_get_payload_len(attr) == 6)
			memcpy(out->mac, mnl_attr_get_payload(attr), 6);
		return 0;
	case IFLA_AF_SPEC:
		/* AF_BRIDGE uses another layout under the same number. */
		return out->family == AF_UNSPEC ? parse_af_spec(attr, out) : 0;
	case IFLA_PROTINFO: return out->family == AF_INET6 ? parse_conf6(attr, out) : 0;
	default: return 0;
	}
}

int route_parse_link(const struct nlmsghdr *nlh, struct route_link *out)
{
	const struct ifinfomsg *ifi = header(nlh, sizeof(*ifi));
	const struct nlattr *attr = NULL;

	memset(out, 0, sizeof(*out));
	if (!ifi)
		return -EBADMSG;
	out->ifindex = ifi->ifi_index;
	out->family = ifi->ifi_family;
	out->flags = ifi->ifi_flags;
	out->changed = ifi->ifi_change;
	for (;;) {
		if (!next_attr(nlh, sizeof(*ifi), &attr))
			return -EBADMSG;
		if (!attr)
			return 0;
		if (parse_link_attr(attr, out))
			return -EBADMSG;
	}
}

static int parse_addr_attr(const struct nlattr *attr, struct route_addr *out, uint8_t *local,
			   uint8_t *address)
{
	switch (mnl_attr_get_type(attr)) {
	case IFA_LOCAL: return get_addr(attr, out->family, local);
	case IFA_ADDRESS: return get_addr(attr, out->family, address);
	case IFA_BROADCAST:
		return out->family == AF_INET ? get_addr(attr, AF_INET, out->broadcast) : 0;
	case IFA_FLAGS: return get_u32(attr, &out->flags);
	default: return 0;
	}
}

int route_parse_addr(const struct nlmsghdr *nlh, struct route_addr *out)
{
	const struct ifaddrmsg *ifa = header(nlh, sizeof(*ifa));
	uint8_t local[16] = {0}, address[16] = {0};
	const struct nlattr *attr = NULL;

	memset(out, 0, sizeof(*out));
	if (!ifa)
		return -EBADMSG;
	if (!is_ip(ifa->ifa_family))
		return -ENOMSG;
	out->family = ifa->ifa_family;
	out->prefix_len = ifa->ifa_prefixlen;
	out->scope = ifa->ifa_scope;
	out->flags = ifa->ifa_flags;
	out->ifindex = (int)ifa->ifa_index;
	if (out->prefix_len > 8 * address_len(out->family))
		return -EBADMSG;
	for (;;) {
		if (!next_attr(nlh, sizeof(*ifa), &attr))
			return -EBADMSG;
		if (!attr)
			break;
		if (parse_addr_attr(attr, out, local, address))
			return -EBADMSG;
	}
	/* IPv6 addresses without a peer have no IFA_LOCAL. */
	memcpy(out->addr, is_zero(local, 16) ? address : local, 16);
	if (memcmp(out->addr, address, 16))
		memcpy(out->peer, address, 16);
	return is_zero(out->addr, 16) ? -EBADMSG : 0;
}

static int parse_metrics(const struct nlattr *nest, struct route_route *out)
{
	const struct nlattr *attr;
	uint32_t lock = 0;

	mnl_attr_for_each_nested(attr, nest) {
		int err = 0;

		switch (mnl_attr_get_type(attr)) {
		case RTAX_MTU: err = get_u32(attr, &out->mtu); break;
		case RTAX_HOPLIMIT: err = get_u32(attr, &out->hop_limit); break;
		case RTAX_LOCK: err = get_u32(attr, &lock); break;
		}
		if (err)
			return err;
	}
	if (lock & (1u << RTAX_MTU))
		out->odd = true; /* Linux then sends datagrams without DF */
	return 0;
}

static int parse_gateway(const struct nlattr *attr, uint8_t family, struct route_route *out)
{
	int err = get_addr(attr, family, out->gateway);

	out->gateway_family = family;
	out->has_gateway = !err && !is_zero(out->gateway, 16);
	return err;
}

static int parse_via(const struct nlattr *attr, struct route_route *out)
{
	const uint8_t *via = mnl_attr_get_payload(attr);
	uint32_t len = mnl_attr_get_payload_len(attr);
	uint16_t family;

	if (len < sizeof(family))
		return -EBADMSG;
	memcpy(&family, via, sizeof(family));
	if (out->family != AF_INET || (family != AF_INET && family != AF_INET6)) {
		out->odd = true;
		return 0;
	}
	if (len != sizeof(family) + address_len((uint8_t)family))
		return -EBADMSG;
	memcpy(out->gateway, via + sizeof(family), address_len((uint8_t)family));
	out->gateway_family = (uint8_t)family;
	out->has_gateway = true;
	return 0;
}

static int parse_cacheinfo(const struct nlattr *attr, struct route_route *out, uint32_t *expires_ms)
{
	struct rta_cacheinfo info;
	int32_t ticks;

	if (mnl_attr_get_payload_len(attr) < sizeof(info))
		return -EBADMSG;
	memcpy(&info, mnl_attr_get_payload(attr), sizeof(info));
	ticks = (int32_t)info.rta_expires; /* USER_HZ */
	if (ticks < 0 && !out->exception)
		out->odd = true; /* expired, but not removed yet: Linux skips it */
	else if (ticks > 0)
		*expires_ms = (uint32_t)ticks < UINT32_MAX / 10 ? (uint32_t)ticks * 10 : UINT32_MAX;
	return 0;
}

static int parse_route_attr(const struct nlattr *attr, struct route_route *out,
			    uint32_t *expires_ms)
{
	uint32_t value;

	switch (mnl_attr_get_type(attr)) {
	case RTA_DST: return get_addr(attr, out->family, out->dst);
	case RTA_OIF:
		if (get_u32(attr, &value))
			return -EBADMSG;
		out->ifindex = (int)value;
		return 0;
	case RTA_GATEWAY: return parse_gateway(attr, out->family, out);
	case RTA_VIA: return parse_via(attr, out);
	case RTA_PRIORITY: return get_u32(attr, &out->priority);
	case RTA_PREFSRC: out->has_prefsrc = true; return get_addr(attr, out->family, out->prefsrc);
	case RTA_METRICS: return parse_metrics(attr, out);
	case RTA_TABLE: return get_u32(attr, &out->table);
	case RTA_CACHEINFO: return parse_cacheinfo(attr, out, expires_ms);
	case RTA_SRC:
	case RTA_MULTIPATH:
	case RTA_ENCAP:
	case RTA_ENCAP_TYPE:
	case RTA_NH_ID:
	case RTA_NEWDST: out->odd = true; return 0;
	default: return 0;
	}
}

int route_parse_route(const struct nlmsghdr *nlh, struct route_route *out, uint32_t *expires_ms)
{
	const struct rtmsg *rtm = header(nlh, sizeof(*rtm));
	const struct nlattr *attr = NULL;

	memset(out, 0, sizeof(*out));
	*expires_ms = 0;
	if (!rtm)
		return -EBADMSG;
	if (!is_ip(rtm->rtm_family))
		return -ENOMSG;
	out->family = rtm->rtm_family;
	out->prefix_len = rtm->rtm_dst_len;
	out->type = rtm->rtm_type;
	out->scope = rtm->rtm_scope;
	out->table = rtm->rtm_table;
	out->exception = rtm->rtm_flags & RTM_F_CLONED;
	/* RTNH_F_LINKDOWN does not make a route odd: IPv4 does not report when it is cleared, and
	 * without a carrier none of our routes is fast. */
	out->odd = rtm->rtm_src_len || rtm->rtm_tos ||
		   (rtm->rtm_flags & (RTNH_F_DEAD | RTNH_F_UNRESOLVED));
	if (out->prefix_len > 8 * address_len(out->family))
		return -EBADMSG;
	for (;;) {
		if (!next_attr(nlh, sizeof(*rtm), &attr))
			return -EBADMSG;
		if (!attr)
			break;
		if (parse_route_attr(attr, out, expires_ms))
			return -EBADMSG;
	}
	if (is_zero(out->prefsrc, 16))
		out->has_prefsrc = false;
	if (out->type == RTN_UNICAST && !out->ifindex)
		out->odd = true;
	return 0;
}

static int parse_rule_attr(const struct nlattr *attr, struct route_rule *out)
{
	uint32_t value = 0;

	switch (mnl_attr_get_type(attr)) {
	case FRA_TABLE: return get_u32(attr, &out->table);
	case FRA_PRIORITY: return get_u32(attr, &out->priority);
	case FRA_DST: return get_addr(attr, out->family, out->dst);
	case FRA_SRC: return get_addr(attr, out->family, out->src);
	case FRA_FWMARK: return get_u32(attr, &out->mark);
	case FRA_FWMASK: return get_u32(attr, &out->mark_mask);
	case FRA_IIFNAME: return get_name(attr, out->iif);
	case FRA_OIFNAME: return get_name(attr, out->oif);
	case FRA_L3MDEV: out->l3mdev = true; return 0;
	case FRA_IP_PROTO:
		if (mnl_attr_get_payload_len(attr) < 1)
			return -EBADMSG;
		out->proto = *(const uint8_t *)mnl_attr_get_payload(attr);
		return 0;
	case FRA_SUPPRESS_PREFIXLEN:
		if (get_u32(attr, &value))
			return -EBADMSG;
		out->suppress_len = value <= 128 ? (int32_t)value : -1;
		return 0;
	case FRA_SUPPRESS_IFGROUP:
		if (get_u32(attr, &value))
			return -EBADMSG;
		out->other |= value != UINT32_MAX;
		return 0;
	case FRA_PROTOCOL:
	case FRA_FLOW:
	case FRA_PAD: return 0;
	default: out->other = true; return 0;
	}
}

int route_parse_rule(const struct nlmsghdr *nlh, struct route_rule *out)
{
	const struct fib_rule_hdr *rule = header(nlh, sizeof(*rule));
	const uint32_t known = FIB_RULE_PERMANENT | FIB_RULE_INVERT | FIB_RULE_IIF_DETACHED |
			       FIB_RULE_OIF_DETACHED;
	const struct nlattr *attr = NULL;

	memset(out, 0, sizeof(*out));
	if (!rule)
		return -EBADMSG;
	if (!is_ip(rule->family))
		return -ENOMSG;
	out->family = rule->family;
	out->action = rule->action;
	out->src_len = rule->src_len;
	out->dst_len = rule->dst_len;
	out->table = rule->table;
	out->suppress_len = -1;
	out->invert = rule->flags & FIB_RULE_INVERT;
	out->other = rule->tos || (rule->flags & ~known);
	if (out->src_len > 8 * address_len(out->family) ||
	    out->dst_len > 8 * address_len(out->family))
		return -EBADMSG;
	for (;;) {
		if (!next_attr(nlh, sizeof(*rule), &attr))
			return -EBADMSG;
		if (!attr)
			return 0;
		if (parse_rule_attr(attr, out))
			return -EBADMSG;
	}
}

int route_parse_neigh(const struct nlmsghdr *nlh, struct route_neigh *out)
{
	const struct ndmsg *ndm = header(nlh, sizeof(*ndm));
	const struct nlattr *attr = NULL;
	bool has_dst = false;

	memset(out, 0, sizeof(*out));
	if (!ndm)
		return -EBADMSG;
	if (!is_ip(ndm->ndm_family) || (ndm->ndm_flags & NTF_PROXY))
		return -ENOMSG;
	out->family = ndm->ndm_family;
	out->ifindex = ndm->ndm_ifindex;
	out->state = ndm->ndm_state;
	for (;;) {
		if (!next_attr(nlh, sizeof(*ndm), &attr))
			return -EBADMSG;
		if (!attr)
			break;
		if (mnl_attr_get_type(attr) == NDA_DST) {
			if (get_addr(attr, out->family, out->addr))
				return -EBADMSG;
			has_dst = true;
		} else if (mnl_attr_get_type(attr) == NDA_LLADDR &&
			   mnl_attr_get_payload_len(attr) == 6) {
			memcpy(out->mac, mnl_attr_get_payload(attr), 6);
		}
	}
	return has_dst ? 0 : -EBADMSG;
}
