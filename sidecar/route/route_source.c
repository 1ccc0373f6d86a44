/* SPDX-License-Identifier: Apache-2.0 */
/* Determines which source address Linux chooses if a route does not name one. */
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "sidecar/route/route_table.h"

static const uint8_t zero[16];

/* As inet_ifa_match. */
static bool is_on_link(const struct route_addr *a, const uint8_t *gateway)
{
	const uint8_t *around = memcmp(a->peer, zero, 4) ? a->peer : a->addr;
	struct route_key mask = route_mask(a->prefix_len);

	return route_key_equal(route_key_and(route_key(AF_INET, around), mask),
			       route_key_and(route_key(AF_INET, gateway), mask));
}

bool route_source4(const struct route_input *in, const struct route_route *r, uint8_t src[16])
{
	bool via4 = r->has_gateway && r->gateway_family == AF_INET;
	const struct route_addr *found = NULL;
	uint32_t i;

	memset(src, 0, 16);
	for (i = 0; i < in->addr_cnt; i++) {
		const struct route_addr *a = &in->addrs[i];

		if (a->family != AF_INET || a->ifindex != in->ifindex ||
		    (a->flags & IFA_F_SECONDARY))
			continue;
		/* Whether Linux uses an address of host scope depends on route_localnet, which is
		 * not mirrored. */
		if (a->scope >= RT_SCOPE_HOST && r->scope >= RT_SCOPE_LINK)
			return false;
		if (a->scope > r->scope)
			continue;
		if (!found)
			found = a;
		if (!via4)
			break;
		if (is_on_link(a, r->gateway)) {
			found = a;
			break;
		}
	}
	/* If our device has none, Linux searches the other devices in the order of their creation,
	 * which is not mirrored. */
	if (!found)
		return false;
	memcpy(src, found->addr, 4);
	return true;
}

/* Returns the address's class in the kernel's default address label table
 * (net/ipv6/addrlabel.c). */
static int label(struct route_key k)
{
	if (!k.hi)
		return k.lo >> 32 ? 1 : 3;
	if (k.hi >> 48 == 0x2002)
		return 2;
	if (k.hi >> 57 == 0xfc >> 1)
		return 5;
	if (k.hi >> 32 == 0x20010000)
		return 6;
	if (k.hi >> 36 == 0x2001001)
		return 7;
	if (k.hi >> 48 == 0x3ffe)
		return 12;
	return 1;
}

static bool has_scope(struct route_key k, bool link)
{
	if (!k.hi && k.lo <= 1)
		return false;
	if (k.hi >> 54 == 0xfec0 >> 6)
		return false;
	return route_is_link_local(k) == link;
}

/* Returns true if two candidates differ in something that the rules between scope and longest
 * prefix compare: labels, home addresses, privacy. */
static bool differ(const struct route_addr *a, const struct route_addr *b)
{
	return (a->flags ^ b->flags) & (IFA_F_TEMPORARY | IFA_F_HOMEADDRESS) ||
	       label(route_key(AF_INET6, a->addr)) != label(route_key(AF_INET6, b->addr));
}

/* Applies rules 2 (scope), 3 (deprecated) and 5 (device) of ipv6_dev_get_saddr. If rule 4, 6 or 7
 * would decide, leaves the set empty. */
static void collect(const struct route_input *in, bool link, struct route_sources *out)
{
	const struct route_addr *first = NULL;
	bool preferred = false, ours = false;
	uint32_t i, pass;

	out->cnt = 0;
	for (pass = 0; pass < 3; pass++) {
		for (i = 0; i < in->addr_cnt; i++) {
			const struct route_addr *a = &in->addrs[i];
			struct route_key k = route_key(AF_INET6, a->addr);

			if (a->family != AF_INET6 || !has_scope(k, link))
				continue;
			/* Only the device's own addresses reach link-local destinations. */
			if (link && a->ifindex != in->ifindex)
				continue;
			if (a->flags & IFA_F_OPTIMISTIC)
				return; /* it may or may not be in use already */
			if (a->flags & IFA_F_TENTATIVE)
				continue;
			if (pass == 0) {
				preferred |= !(a->flags & IFA_F_DEPRECATED);
				continue;
			}
			if (preferred && (a->flags & IFA_F_DEPRECATED))
				continue;
			if (pass == 1) {
				ours |= a->ifindex == in->ifindex;
				continue;
			}
			if (!ours || a->ifindex != in->ifindex)
				continue;
			if (!first)
				first = a;
			if (differ(first, a) || out->cnt == ROUTE_MAX_SOURCES) {
				out->cnt = 0;
				return;
			}
			out->a[out->cnt].key = k;
			out->a[out->cnt].prefix_len = a->prefix_len;
			memcpy(out->a[out->cnt++].addr, a->addr, 16);
		}
	}
}

void route_source6(const struct route_input *in, struct route_sources *global,
		   struct route_sources *link)
{
	collect(in, false, global);
	collect(in, true, link);
}
