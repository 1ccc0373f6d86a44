/* SPDX-License-Identifier: Apache-2.0 */
/* Control data of a datagram to be sent. Pure. */
#ifndef UDPLANE_CLIENT_CMSG_SEND_H
#define UDPLANE_CLIENT_CMSG_SEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* longer control data is the kernel's */
#define CMSG_SEND_MAX 256

struct cmsg_send {
	uint16_t flags; /* UDPLANE_TX_TOS, _TTL, _SOURCE */
	uint8_t tos, ttl;
	uint8_t src[16];  /* with UDPLANE_TX_SOURCE; as in struct udplane_addr */
	bool any_source;  /* PKTINFO without an address: Linux chooses one again */
	uint32_t ifindex; /* of PKTINFO; 0 if none */
	bool dont_fragment, segment;
	uint16_t segment_size; /* with segment: as UDP_SEGMENT gives it */
};

/*
 * Reads len bytes of control data, as Linux does, for a datagram to an IPv6 (six) or IPv4
 * destination of a socket of this domain. Returns false if the kernel must have it: there is
 * something that only the kernel can do, or the kernel would refuse it. Reads nothing beyond len,
 * from any alignment.
 */
bool cmsg_send_parse(const void *data, size_t len, int domain, bool six, struct cmsg_send *out);

#ifdef __cplusplus
}
#endif

#endif
