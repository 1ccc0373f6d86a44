/* SPDX-License-Identifier: Apache-2.0 */
/* Joins as udp_gro_receive(), inet_gro_receive() and ipv6_gro_receive() of Linux do. */
#include "client/gro.h"
#include "client/attach.h"
#include "client/rxq.h"
#include <string.h>
#include <udplane/abi.h>

#define GRO_CNT_MAX 64	  /* UDP_GRO_CNT_MAX */
#define GRO_LEN_MAX 65487 /* with headers 64 KiB at most, of either family */

static size_t msg_room(const struct msghdr *h)
{
	size_t room = 0;

	for (size_t i = 0; i < h->msg_iovlen; i++)
		room += h->msg_iov[i].iov_len;
	return room < GRO_LEN_MAX ? room : GRO_LEN_MAX;
}

/* Returns true if addresses, ports, TOS and TTL, or their IPv6 counterparts, are equal. */
static bool same_flow(const struct attach *a, const struct udplane_rx_desc *x,
		      const struct udplane_rx_desc *y)
{
	const uint8_t *p = rx_payload(a, x), *q = rx_payload(a, y);

	if ((x->flags ^ y->flags) & UDPLANE_RX_IPV6 || memcmp(p - 8, q - 8, 4))
		return false;
	if (x->flags & UDPLANE_RX_IPV6) /* class and label, hop limit, addresses */
		return !memcmp(p - 48, q - 48, 4) && p[-41] == q[-41] &&
		       !memcmp(p - 40, q - 40, 32);
	return p[-27] == q[-27] && p[-20] == q[-20] && !memcmp(p - 16, q - 16, 8);
}

uint32_t gro_run(const struct sock *s, const struct rxq *q, uint32_t i, uint32_t n,
		 const struct udplane_rx_desc *first, const struct msghdr *h)
{
	size_t room = msg_room(h), len = first->len;
	uint32_t run = 1;

	while (len && run < GRO_CNT_MAX && i + run < n) {
		struct udplane_rx_desc d;

		if (!rx_load(s, q, i + run, &d) || (d.flags & UDPLANE_RX_SWITCHED) || !d.len ||
		    d.len > first->len || len + d.len > room || !same_flow(s->att, first, &d))
			break;
		len += d.len;
		run++;
		if (d.len < first->len)
			break;
	}
	return run;
}
