/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses: a datagram's peer, the library's struct dest, and the kernel's socket names. */
#ifndef UDPLANE_CLIENT_NAME_H
#define UDPLANE_CLIENT_NAME_H

#include "client/public.h"
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

struct dest {
	uint8_t addr[16]; /* IPv6, or IPv4 in the first four bytes */
	uint16_t port_be;
	bool ipv6;
	uint32_t scope_id;
};

/* Writes ss to peer, an IPv4-mapped address as AF_INET. Another family: peer->family is 0. */
void peer_of_name(const struct sockaddr_storage *ss, struct udplane_peer *peer);
/* Writes peer to ss as a socket of the domain (AF_INET, AF_INET6) names it. Returns its length. */
socklen_t peer_to_name(int domain, const struct udplane_peer *peer, struct sockaddr_storage *ss);

#ifdef __cplusplus
}
#endif

#endif
