/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The library tells the worker with each datagram what the socket's options ask for: so an option
 * concerns what is sent after it was set, and nothing before, whatever is still in the ring.
 * net/ipv4: __ip_make_skb(), ip_sk_ignore_df(); net/ipv6: ip6_make_skb(), __ip6_append_data().
 */
#include "client/send_option.h"
#include "client/base.h"
#include "client/lock.h"
#include "client/sock.h"
#include <arpa/inet.h>
#include <asm/socket.h>
#include <linux/in6.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <udplane/abi.h>
#include <unistd.h>

#ifndef UDP_NO_CHECK6_TX
#define UDP_NO_CHECK6_TX 101
#define UDP_SEGMENT	 103
#endif

#define HOPS_USUAL 64 /* what most systems have as default */

/* IP_PMTUDISC_* and IPV6_PMTUDISC_* have the same values. */
enum { PMTU_DONT, PMTU_WANT, PMTU_DO, PMTU_PROBE, PMTU_INTERFACE, PMTU_OMIT };

static int get(int fd, int level, int name, int otherwise)
{
	socklen_t len = sizeof(int);
	int v = 0;

	return getsockopt(fd, level, name, &v, &len) ? otherwise : v;
}

static bool refuses_long(int discover)
{
	return discover == PMTU_DO || discover == PMTU_PROBE || discover == PMTU_INTERFACE;
}

static bool may_be_fragmented(int discover)
{
	return discover == PMTU_DONT || discover == PMTU_INTERFACE || discover == PMTU_OMIT;
}

/* Linux does not say whether a hop limit is set, or what it reads is the default. Returns true for
 * a value that cannot be the default. */
static bool hops_not_default(int domain, int level, int name, int value)
{
	int fd, usual;

	if (value == HOPS_USUAL || value < 0)
		return false;
	fd = socket(domain, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	usual = get(fd, level, name, value);
	close(fd);
	return usual != value;
}

static bool is_connected(const struct sock *s)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);

	return getpeername(s->kfd, (struct sockaddr *)&peer, &len) == 0;
}

static void read_hops(const struct sock *s, struct tx_wishes *w, bool six)
{
	int level = six ? IPPROTO_IPV6 : IPPROTO_IP, name = six ? IPV6_UNICAST_HOPS : IP_TTL;
	int v = get(s->kfd, level, name, -1);

	/* a connected socket shows the hop limit of its route */
	if (!w->known && !(six && is_connected(s)))
		w->hops_set[six] |= hops_not_default(s->domain, level, name, v);
	if (!w->hops_set[six] || v < 0)
		return;
	w->options[six].ttl = (uint8_t)v;
	w->options[six].flags |= UDPLANE_TX_TTL;
}

static void read_tos(const struct sock *s, struct tx_options *o, int level, int name)
{
	o->tos = (uint8_t)get(s->kfd, level, name, 0);
	if (o->tos)
		o->flags |= UDPLANE_TX_TOS;
}

static void read4(const struct sock *s, struct tx_wishes *w)
{
	int discover = get(s->kfd, IPPROTO_IP, IP_MTU_DISCOVER, PMTU_WANT);
	struct tx_options *o = &w->options[0];

	if (may_be_fragmented(discover))
		o->flags |= UDPLANE_TX_NO_DF;
	if (get(s->kfd, SOL_SOCKET, SO_NO_CHECK, 0))
		o->flags |= UDPLANE_TX_NO_CHECKSUM;
	read_tos(s, o, IPPROTO_IP, IP_TOS);
	read_hops(s, w, false);
	w->strict[0] = refuses_long(discover);
	w->df_always = discover == PMTU_DO || discover == PMTU_PROBE;
	w->bounded[0] = w->strict[0];
	w->unicast_if[0] = ntohl((uint32_t)get(s->kfd, IPPROTO_IP, IP_UNICAST_IF, 0));
}

static void read6(const struct sock *s, struct tx_wishes *w)
{
	int discover = get(s->kfd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTU_WANT);
	struct tx_options *o = &w->options[1];

	if (get(s->kfd, IPPROTO_UDP, UDP_NO_CHECK6_TX, 0))
		o->flags |= UDPLANE_TX_NO_CHECKSUM;
	if (!get(s->kfd, IPPROTO_IPV6, IPV6_AUTOFLOWLABEL, 1))
		o->flags |= UDPLANE_TX_NO_LABEL;
	read_tos(s, o, IPPROTO_IPV6, IPV6_TCLASS);
	read_hops(s, w, true);
	w->strict[1] = refuses_long(discover) || get(s->kfd, IPPROTO_IPV6, IPV6_DONTFRAG, 0);
	w->bounded[1] = w->strict[1] || w->mtu6;
	w->unicast_if[1] = ntohl((uint32_t)get(s->kfd, IPPROTO_IPV6, IPV6_UNICAST_IF, 0));
	w->flow_send |= get(s->kfd, IPPROTO_IPV6, IPV6_FLOWINFO_SEND, 0) != 0;
}

static void read_all(const struct sock *s, struct tx_wishes *w)
{
	memset(w->options, 0, sizeof(w->options));
	read4(s, w);
	if (s->domain == AF_INET6)
		read6(s, w);
	w->segment_size = (uint16_t)get(s->kfd, IPPROTO_UDP, UDP_SEGMENT, 0);
	w->known = true;
}

/* Changes the wishes by the function. Returns false if tx.lock could not be taken. */
static bool change(struct sock *s, void (*by)(const struct sock *s, struct tx_wishes *w))
{
	if (!lock_insist(&s->tx.lock))
		return false;
	by(s, &s->tx.wish);
	s->tx.seen_seq = 1;
	lock_drop(&s->tx.lock);
	return true;
}

bool send_options_read(struct sock *s, bool again)
{
	return (s->tx.wish.known && !again) || change(s, read_all);
}

bool send_option_set(struct sock *s, int level, int name, int value)
{
	struct tx_wishes *w = &s->tx.wish;

	if (level == IPPROTO_IP && name == IP_TTL)
		w->hops_set[0] = value > 0;
	if (level == IPPROTO_IPV6 && name == IPV6_UNICAST_HOPS)
		w->hops_set[1] = value >= 0;
	if (level == IPPROTO_IPV6 && name == IPV6_MTU) /* it cannot be read */
		w->mtu6 = (uint32_t)value;
	if (change(s, read_all))
		return true;
	w->known = false;
	return false;
}

void send_option_slow(struct sock *s, uint32_t bit, bool on)
{
	bool locked = lock_insist(&s->tx.lock);

	/* Without the lock, an interrupted send sends by the path that it has begun with. */
	s->tx.wish.slow = on ? s->tx.wish.slow | bit : s->tx.wish.slow & ~bit;
	s->tx.seen_seq = 1;
	if (locked)
		lock_drop(&s->tx.lock);
}

bool send_options_fit(const struct sock *s, bool six)
{
	const struct tx_wishes *w = &s->tx.wish;

	if (w->slow || (w->options[six].flags && s->att->minor < 2))
		return false;
	return !w->unicast_if[six] || w->unicast_if[six] == (uint32_t)s->att->stats->ifindex;
}

uint32_t tx_bound(const struct sock *s, bool six, bool strict)
{
	const struct attach *a = s->att;
	uint32_t header = six ? 48 : 28, mtu = udplane_load32(&a->stats->mtu), path;

	if (strict && a->minor < 2)
		return 0;
	path = strict ? udplane_load32(&a->stats->path_mtu[six]) : mtu;
	mtu = path < mtu ? path : mtu;
	if (six && s->tx.wish.mtu6 && s->tx.wish.mtu6 < mtu)
		mtu = s->tx.wish.mtu6;
	mtu = mtu > header ? mtu - header : 0;
	return mtu < a->tx_slot_size ? mtu : a->tx_slot_size;
}
