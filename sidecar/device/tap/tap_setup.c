/* SPDX-License-Identifier: Apache-2.0 */
/* Sets up the TAP by netlink. What exists already is not an error, and what others have added
 * stays. */
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#include "sidecar/device/tap/tap.h"

#define BUF_SIZE 1024

static size_t addr_len(uint8_t family)
{
	return family == AF_INET ? 4 : 16;
}

static struct nlmsghdr *request(char *buf, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
	nlh->nlmsg_seq = 1;
	return nlh;
}

/* Returns the kernel's answer: 0 or -errno. */
static int talk(struct mnl_socket *nl, struct nlmsghdr *nlh)
{
	char buf[BUF_SIZE * 4];
	const struct nlmsghdr *answer = (const void *)buf;
	const struct nlmsgerr *e;
	ssize_t len;

	if (mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	len = mnl_socket_recvfrom(nl, buf, sizeof(buf));
	if (len < 0)
		return -errno;
	if (!mnl_nlmsg_ok(answer, (int)len) || answer->nlmsg_type != NLMSG_ERROR)
		return -EPROTO;
	e = mnl_nlmsg_get_payload(answer);
	return e->error;
}

static int set_link(struct mnl_socket *nl, int ifindex, const struct tap_config *cfg)
{
	char buf[BUF_SIZE];
	struct nlmsghdr *nlh = request(buf, RTM_NEWLINK, 0);
	struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));

	ifi->ifi_index = ifindex;
	ifi->ifi_flags = IFF_UP;
	ifi->ifi_change = IFF_UP;
	mnl_attr_put(nlh, IFLA_ADDRESS, 6, cfg->mac);
	mnl_attr_put_u32(nlh, IFLA_MTU, cfg->mtu);
	return talk(nl, nlh);
}

static int add_address(struct mnl_socket *nl, int ifindex, const struct tap_addr *a)
{
	char buf[BUF_SIZE];
	struct nlmsghdr *nlh = request(buf, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
	struct ifaddrmsg *ifa = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifa));
	int err;

	ifa->ifa_family = a->family;
	ifa->ifa_prefixlen = a->prefix_len;
	ifa->ifa_index = (unsigned)ifindex;
	mnl_attr_put(nlh, IFA_LOCAL, addr_len(a->family), a->addr);
	mnl_attr_put(nlh, IFA_ADDRESS, addr_len(a->family), a->addr);
	if (a->family == AF_INET && a->prefix_len < 31) {
		uint32_t v;

		memcpy(&v, a->addr, 4);
		v |= htonl(0xffffffffu >> a->prefix_len);
		mnl_attr_put(nlh, IFA_BROADCAST, 4, &v);
	}
	if (a->family == AF_INET6) /* no detection of duplicates: it was in use until now */
		mnl_attr_put_u32(nlh, IFA_FLAGS, IFA_F_NODAD);
	err = talk(nl, nlh);
	return err == -EEXIST ? 0 : err;
}

static int add_route(struct mnl_socket *nl, int ifindex, const struct tap_route *r)
{
	char buf[BUF_SIZE];
	struct nlmsghdr *nlh = request(buf, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE);
	struct rtmsg *rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));

	rtm->rtm_family = r->family;
	rtm->rtm_dst_len = r->prefix_len;
	rtm->rtm_table = RT_TABLE_MAIN;
	rtm->rtm_protocol = RTPROT_STATIC;
	rtm->rtm_type = RTN_UNICAST;
	rtm->rtm_scope = r->has_gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
	if (r->family == AF_INET && r->has_gateway)
		rtm->rtm_flags = RTNH_F_ONLINK; /* a /32 address reaches its gateway, too */
	if (r->prefix_len)
		mnl_attr_put(nlh, RTA_DST, addr_len(r->family), r->dst);
	if (r->has_gateway)
		mnl_attr_put(nlh, RTA_GATEWAY, addr_len(r->family), r->gateway);
	mnl_attr_put_u32(nlh, RTA_OIF, (uint32_t)ifindex);
	if (r->metric)
		mnl_attr_put_u32(nlh, RTA_PRIORITY, r->metric);
	return talk(nl, nlh);
}

static int explain(int err, const char *what, uint8_t family, const void *addr, uint8_t len,
		   const struct tap_config *cfg, struct error *error)
{
	char ip[INET6_ADDRSTRLEN] = "";

	inet_ntop(family, addr, ip, sizeof(ip));
	return error_set(error, err, "TAP %s: %s %s/%u from %s: %s%s", cfg->name, what, ip, len,
			 cfg->origin, strerror(-err),
			 family == AF_INET6 && (err == -EACCES || err == -EPERM)
				 ? "; IPv6 is disabled here (net.ipv6.conf.*.disable_ipv6)"
				 : "");
}

static int set_all(struct mnl_socket *nl, int ifindex, const struct tap_config *cfg,
		   struct error *error)
{
	int err = set_link(nl, ifindex, cfg);

	if (err)
		return error_set(error, err, "TAP %s: MAC, MTU %u, up: %s", cfg->name, cfg->mtu,
				 strerror(-err));
	for (uint32_t i = 0; i < cfg->addr_cnt && !err; i++) {
		const struct tap_addr *a = &cfg->addr[i];

		err = add_address(nl, ifindex, a);
		if (err)
			return explain(err, "address", a->family, a->addr, a->prefix_len, cfg,
				       error);
	}
	for (uint32_t i = 0; i < cfg->route_cnt && !err; i++) {
		const struct tap_route *r = &cfg->route[i];

		err = add_route(nl, ifindex, r);
		if (err)
			return explain(err, "route to", r->family, r->dst, r->prefix_len, cfg,
				       error);
	}
	return err;
}

int tap_setup(int ifindex, const struct tap_config *cfg, struct error *error)
{
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	int err;

	if (!nl || mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0) {
		err = -errno;
		error_set(error, err, "TAP %s: netlink: %s", cfg->name, strerror(-err));
	} else {
		err = set_all(nl, ifindex, cfg, error);
	}
	if (nl)
		mnl_socket_close(nl);
	return err;
}
