/* SPDX-License-Identifier: Apache-2.0 */
/* Asks the kernel for a socket's options and addresses, and judges a claim by them. */
#include "sidecar/claim/claim.h"
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71 /* Linux 5.14 */
#endif
#ifndef SO_COOKIE
#define SO_COOKIE 57
#endif

static int get_int(int fd, int level, int name, int *value)
{
	socklen_t len = sizeof(*value);

	return getsockopt(fd, level, name, value, &len) ? -errno : 0;
}

int claim_netns_cookie(uint64_t *cookie)
{
	socklen_t len = sizeof(*cookie);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, cookie, &len))
		err = -errno;
	close(fd);
	return err;
}

static bool never_ours(const struct udplane_addr *a)
{
	if (a->family == AF_INET && a->addr[0] >= 240) /* reserved addresses and broadcast */
		return true;
	return udplane_addr_is_loopback(a);
}

/* Returns true if the socket wants to know when datagrams came, or how many were dropped. */
static bool wants_stamps(int fd)
{
	/* SO_TIMESTAMP_NEW reads 1 for SO_TIMESTAMPNS_NEW, too; SO_TIMESTAMPING_OLD has the flags
	 * of either. */
	static const int name[] = {SO_TIMESTAMP_OLD, SO_TIMESTAMPNS_OLD, SO_TIMESTAMP_NEW,
				   SO_TIMESTAMPING_OLD, SO_RXQ_OVFL};

	for (size_t i = 0; i < sizeof(name) / sizeof(name[0]); i++) {
		int value = 0;

		if (!get_int(fd, SOL_SOCKET, name[i], &value) && value)
			return true;
	}
	return false;
}

static enum udplane_reason check_kind(int fd, uint64_t netns_cookie, int *domain,
				      struct error *error)
{
	int type = 0, proto = 0;
	uint64_t netns = 0;
	socklen_t len = sizeof(netns);

	*domain = 0;
	if (get_int(fd, SOL_SOCKET, SO_DOMAIN, domain) || get_int(fd, SOL_SOCKET, SO_TYPE, &type) ||
	    get_int(fd, SOL_SOCKET, SO_PROTOCOL, &proto))
		return error_set(error, UDPLANE_REASON_NOT_UDP, "the descriptor is no socket (%s)",
				 strerror(errno));
	if ((*domain != AF_INET && *domain != AF_INET6) || type != SOCK_DGRAM ||
	    proto != IPPROTO_UDP)
		return error_set(
			error, UDPLANE_REASON_NOT_UDP,
			"the socket has domain %d, type %d, protocol %d; only UDP over IPv4 or "
			"IPv6 is accelerated",
			*domain, type, proto);
	if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &netns, &len) || netns != netns_cookie)
		return error_set(error, UDPLANE_REASON_OTHER_NETNS,
				 "the socket lives in another network namespace (cookie %llu) than "
				 "udplaned's device (%llu)",
				 (unsigned long long)netns, (unsigned long long)netns_cookie);
	return UDPLANE_REASON_NONE;
}

/* Checks options that affect which socket receives, and that only the kernel can apply. */
static enum udplane_reason check_options(int fd, const struct claim_rules *rules, struct claim *c,
					 struct error *error)
{
	int bound_if = 0, reuseaddr = 0, reuseport = 0, discover = IP_PMTUDISC_WANT;
	int all4 = 1, all6 = 1, spec_dst = 0, broadcast = 0;
	socklen_t filter_len = 0;

	get_int(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &bound_if);
	get_int(fd, SOL_SOCKET, SO_REUSEADDR, &reuseaddr);
	get_int(fd, SOL_SOCKET, SO_REUSEPORT, &reuseport);
	get_int(fd, IPPROTO_IP, IP_MTU_DISCOVER, &discover);
	get_int(fd, IPPROTO_IP, IP_PKTINFO, &spec_dst);
	get_int(fd, SOL_SOCKET, SO_BROADCAST, &broadcast);
	get_int(fd, IPPROTO_IP, IP_MULTICAST_ALL, &all4);
	get_int(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, &all6);
	c->all4 = all4;
	c->all6 = all6;
	c->spec_dst = spec_dst;
	c->broadcast = broadcast;
	c->no_df = discover == IP_PMTUDISC_DONT;
	c->stamp = wants_stamps(fd);
	c->reuse = reuseaddr || reuseport;
	c->reuseport = reuseport;
	c->bound_device = bound_if != 0;
	if (bound_if && bound_if != rules->ifindex)
		return error_set(error, UDPLANE_REASON_OTHER_DEVICE,
				 "SO_BINDTODEVICE names interface %d, udplaned's is %d", bound_if,
				 rules->ifindex);
	/* Linux returns EACCES if there is a filter that it cannot show (sk_get_filter()). Any
	 * other error is unexpected. */
	if (getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, NULL, &filter_len))
		return error_set(error, UDPLANE_REASON_FILTER,
				 errno == EACCES ? "the socket has an eBPF filter (SO_ATTACH_BPF)"
						 : "SO_GET_FILTER: %s",
				 strerror(errno));
	if (filter_len)
		return error_set(error, UDPLANE_REASON_FILTER,
				 "the socket has a filter of %u instructions (SO_ATTACH_FILTER)",
				 (unsigned)filter_len);
	return UDPLANE_REASON_NONE;
}

bool claim_not_asked(const struct claim *c, const struct port_set *ports, struct error *error)
{
	if (!c->local.port_be || port_set_contains(ports, ntohs(c->local.port_be)))
		return false;
	error_set(error, UDPLANE_REASON_NOT_ASKED, "port %u is not among those asked for",
		  ntohs(c->local.port_be));
	return true;
}

static enum udplane_reason check_addresses(int fd, int domain, const struct claim_rules *rules,
					   struct claim *c, struct error *error)
{
	struct sockaddr_storage ss = {0};
	socklen_t len = sizeof(ss);
	int v6only = 0;

	if (getsockname(fd, (void *)&ss, &len))
		return error_set(error, UDPLANE_REASON_NOT_UDP, "getsockname: %s", strerror(errno));
	udplane_addr_from_sockaddr(&c->local, &ss, len);
	if (!c->local.port_be)
		return error_set(error, UDPLANE_REASON_NOT_BOUND,
				 "the socket is not bound to a port");
	if (never_ours(&c->local))
		return error_set(
			error, UDPLANE_REASON_NOT_LOCAL,
			"the socket is bound to a loopback or broadcast address, which never "
			"comes by the device");
	if (rules->ports && claim_not_asked(c, rules->ports, error))
		return UDPLANE_REASON_NOT_ASKED;
	len = sizeof(ss);
	memset(&c->peer, 0, sizeof(c->peer));
	if (!getpeername(fd, (void *)&ss, &len))
		udplane_addr_from_sockaddr(&c->peer, &ss, len);
	if (udplane_addr_is_multicast(&c->local) && c->peer.family)
		return error_set(error, UDPLANE_REASON_NOT_LOCAL,
				 "the socket is bound to a multicast group and connected");
	if (c->peer.family && c->peer.family != c->local.family)
		return error_set(
			error, UDPLANE_REASON_NOT_LOCAL,
			"the socket has an IPv6 address and is connected to an IPv4 one "
			"(connect() to one family after the other); Linux delivers nothing to "
			"it");
	if (domain == AF_INET6)
		get_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only);
	c->dual_stack = c->local.family == AF_INET6 && udplane_addr_is_any(&c->local) && !v6only &&
			!c->peer.family;
	return UDPLANE_REASON_NONE;
}

static void make_key(struct claim *c)
{
	struct port_key *k = &c->key;

	memset(k, 0, sizeof(*k));
	k->local = c->local;
	k->local.scope_id = 0;
	k->mapped = c->local.family == AF_INET && c->domain == AF_INET6;
	k->device = c->bound_device;
	k->v6only = c->local.family == AF_INET6 && !c->dual_stack;
	/* There are no connected sockets whose local address is still the wildcard, because
	 * connect() chooses an address. */
	if (c->peer.family == c->local.family && !udplane_addr_is_any(&c->local)) {
		k->peer = c->peer;
		k->peer.scope_id = 0;
	}
}

enum udplane_reason claim_verify(int fd, const struct claim_rules *rules, struct claim *c,
				 struct error *error)
{
	socklen_t len = sizeof(c->cookie);
	enum udplane_reason why;
	int domain;

	error->text[0] = 0;
	memset(c, 0, sizeof(*c));
	why = check_kind(fd, rules->netns_cookie, &domain, error);
	if (!why)
		why = check_addresses(fd, domain, rules, c, error);
	if (!why)
		why = check_options(fd, rules, c, error);
	if (why)
		return why;
	c->domain = domain;
	if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &c->cookie, &len))
		c->cookie = 0;
	make_key(c);
	return UDPLANE_REASON_NONE;
}

uint32_t claim_device(const struct claim *c, struct device_claim out[2])
{
	out[0] = (struct device_claim){
		.local = c->key.local, .peer = c->key.peer, .cookie = c->reuse ? c->cookie : 0};
	if (!c->dual_stack)
		return 1;
	out[1] = out[0];
	out[1].local.family = AF_INET;
	return 2;
}
