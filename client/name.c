/* SPDX-License-Identifier: Apache-2.0 */
/* Conversion between a datagram's peer and the kernel's socket names. */
#include "client/name.h"
#include "client/public.h"
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

void peer_of_name(const struct sockaddr_storage *ss, struct udplane_peer *peer)
{
	const struct sockaddr_in *in = (const void *)ss;
	const struct sockaddr_in6 *in6 = (const void *)ss;

	memset(peer, 0, sizeof(*peer));
	if (ss->ss_family == AF_INET) {
		peer->family = AF_INET;
		peer->port_be = in->sin_port;
		memcpy(peer->addr, &in->sin_addr, 4);
		return;
	}
	if (ss->ss_family != AF_INET6)
		return;
	peer->port_be = in6->sin6_port;
	if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
		peer->family = AF_INET;
		memcpy(peer->addr, in6->sin6_addr.s6_addr + 12, 4);
		return;
	}
	peer->family = AF_INET6;
	memcpy(peer->addr, &in6->sin6_addr, 16);
	peer->scope_id = in6->sin6_scope_id;
}

socklen_t peer_to_name(int domain, const struct udplane_peer *peer, struct sockaddr_storage *ss)
{
	struct sockaddr_in *in = (void *)ss;
	struct sockaddr_in6 *in6 = (void *)ss;

	if (domain == AF_INET) {
		memset(in, 0, sizeof(*in));
		in->sin_family = AF_INET;
		in->sin_port = peer->port_be;
		memcpy(&in->sin_addr, peer->addr, 4);
		return sizeof(*in);
	}
	memset(in6, 0, sizeof(*in6));
	in6->sin6_family = AF_INET6;
	in6->sin6_port = peer->port_be;
	if (peer->family == AF_INET) {
		in6->sin6_addr.s6_addr[10] = in6->sin6_addr.s6_addr[11] = 0xff;
		memcpy(in6->sin6_addr.s6_addr + 12, peer->addr, 4);
	} else {
		memcpy(&in6->sin6_addr, peer->addr, 16);
		in6->sin6_scope_id = peer->scope_id;
	}
	return sizeof(*in6);
}
