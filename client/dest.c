/* SPDX-License-Identifier: Apache-2.0 */
/* Destinations. Only datagrams that are certain to be plain unicast out of udplaned's device
 * take the fast path. All others go to the kernel, which sends them or returns the error in the
 * same call. A doubt costs speed, never correctness. */
#include "client/dest.h"
#include "client/attach.h"
#include "client/base.h"
#include "client/public.h"
#include "client/send_option.h"
#include "client/sock.h"
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <udplane/abi.h>
#include <udplane/ring.h>

bool dest_unicast(const struct udplane_addr *d)
{
	if (d->family == AF_INET && (d->addr[0] == 0 || d->addr[0] >= 240))
		return false; /* this network; reserved, and broadcast */
	return !udplane_addr_is_any(d) && !udplane_addr_is_loopback(d) &&
	       !udplane_addr_is_multicast(d);
}

/* Returns true if the socket can send to d's address family. A socket bound to an address of one
 * family cannot send to the other. */
static bool family_fits(const struct sock *s, const struct udplane_addr *d)
{
	if (s->domain == AF_INET)
		return d->family == AF_INET;
	if (d->family == AF_INET6)
		return s->tx.local.family != AF_INET;
	return !s->tx.v6only &&
	       (s->tx.local.family == AF_INET || udplane_addr_is_any(&s->tx.local));
}

bool dest_of_name(const struct sock *s, const void *name, socklen_t len, struct udplane_addr *d)
{
	const struct sockaddr_in6 *in6 = name;

	if (!udplane_addr_from_sockaddr(d, name, len) || !d->port_be)
		return false;
	if (in6->sin6_family != s->domain || (s->domain == AF_INET6 && in6->sin6_flowinfo))
		return false;
	return family_fits(s, d);
}

bool dest_of_peer(const struct sock *s, const struct udplane_addr *p, struct udplane_addr *d)
{
	if ((p->family != AF_INET && p->family != AF_INET6) || !p->port_be)
		return false;
	*d = *p;
	d->pad = 0;
	if (d->family == AF_INET) /* so that whole addresses can be compared */
		memset(d->addr + 4, 0, 12);
	return family_fits(s, d);
}

/* --- prefixes --- */

static bool prefixes_copy(struct prefix_set *set, const struct udplane_stats_zone *z)
{
	for (int i = 0; i < 8; i++) {
		uint32_t seq = udplane_seq_read(&z->prefix_seq);

		set->cnt =
			z->prefix_cnt < UDPLANE_MAX_PREFIXES ? z->prefix_cnt : UDPLANE_MAX_PREFIXES;
		memcpy(set->prefix, (const void *)z->prefix, sizeof(set->prefix));
		if (!udplane_seq_retry(&z->prefix_seq, seq)) {
			set->seq = seq;
			return true;
		}
		udplane_pause();
	}
	set->seq = 1; /* it is being written: try again later */
	return false;
}

/* Returns true if the first bits are equal. */
static bool same_prefix(const uint8_t *a, const uint8_t *b, uint32_t bits)
{
	uint32_t bytes = bits / 8, rest = bits % 8;

	if (memcmp(a, b, bytes))
		return false;
	return !rest || ((a[bytes] ^ b[bytes]) >> (8 - rest)) == 0;
}

/* Returns true for the network or broadcast address of an IPv4 prefix: all host bits are equal. */
static bool is_network_or_broadcast(const uint8_t *addr, uint32_t len)
{
	uint32_t a = (uint32_t)addr[0] << 24 | (uint32_t)addr[1] << 16 | (uint32_t)addr[2] << 8 |
		     addr[3];
	uint32_t host = len >= 31 ? 0 : UINT32_MAX >> len;

	return host && ((a & host) == 0 || (a & host) == host);
}

static bool prefixes_allow(const struct prefix_set *set, const struct udplane_addr *d)
{
	const struct udplane_prefix *best = NULL;

	for (uint32_t i = 0; i < set->cnt; i++) {
		const struct udplane_prefix *p = &set->prefix[i];

		if (p->family == d->family && p->len <= (d->family == AF_INET6 ? 128 : 32) &&
		    (!best || p->len > best->len) && same_prefix(p->addr, d->addr, p->len))
			best = p;
	}
	return best && !best->slow &&
	       !(best->on_link && is_network_or_broadcast(d->addr, best->len));
}

static bool dest_judge(struct sock *s, struct lane *l, const struct udplane_addr *d)
{
	if (!dest_unicast(d) || !family_fits(s, d) || !prefixes_allow(&l->prefixes, d))
		return false;
	if (udplane_addr_is_link_local(d) && d->scope_id != (uint32_t)s->att->stats->ifindex)
		return false;
	if (!send_options_fit(s, d->family == AF_INET6))
		return false;
	/* rules or programs that only the kernel applies; prefix_seq changes when this does */
	if (udplane_load32(&s->tx.zone->tx_reason))
		return false;
	return udplane_addr_is_any(&s->tx.local) ||
	       memcmp(s->tx.local.addr, d->addr, 16); /* to itself */
}

bool dest_fast(struct sock *s, struct lane *l, const struct udplane_addr *d)
{
	uint32_t seq = udplane_seq_read(&s->att->stats->prefix_seq);

	if (unlikely(l->prefixes.seq != seq) && !prefixes_copy(&l->prefixes, s->att->stats))
		return false;
	if (likely(s->tx.seen_seq == l->prefixes.seq && udplane_addr_same_ip(&s->tx.seen, d) &&
		   s->tx.seen.scope_id == d->scope_id))
		return s->tx.seen_fast;
	s->tx.seen = *d;
	s->tx.seen_seq = l->prefixes.seq;
	s->tx.seen_fast = dest_judge(s, l, d);
	return s->tx.seen_fast;
}
