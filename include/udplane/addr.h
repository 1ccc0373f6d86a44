/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One address and port of either family, and its conversions from and to struct sockaddr.
 *
 * An IPv4 address is always stored as AF_INET. An AF_INET6 socket shows and takes it as
 * ::ffff:192.0.2.1 (v4-mapped). The functions below convert that to AF_INET when they read a struct
 * sockaddr, and back when they write one. So one peer has one form, whatever the socket's domain.
 *
 * All functions are pure and set no errno.
 */
#ifndef UDPLANE_ADDR_H
#define UDPLANE_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Part of the ABI (abi.h), since messages and stats carry it as well. */
struct udplane_addr {
	uint8_t addr[16];  /* IPv6; or IPv4 in the first four bytes, the others 0 */
	uint16_t port_be;  /* network byte order */
	uint8_t family;	   /* AF_INET or AF_INET6; 0 if there is no address */
	uint8_t pad;	   /* 0 */
	uint32_t scope_id; /* interface index of an IPv6 link-local address, otherwise 0 */
};

/* Returns true if the IPv6 address is v4-mapped; the IPv4 address is in its last four bytes. */
static inline bool udplane_addr_is_mapped(const uint8_t ipv6[16])
{
	static const uint8_t prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

	return !memcmp(ipv6, prefix, sizeof(prefix));
}

/* Writes the 16-byte form that holds either family: IPv6 as it is, IPv4 v4-mapped. family: AF_INET
 * or AF_INET6. ip: 4 or 16 bytes, not inside out[]. */
static inline void udplane_addr_to_mapped(uint8_t out[16], int family, const void *ip)
{
	if (family == AF_INET6) {
		memcpy(out, ip, 16);
		return;
	}
	memset(out, 0, 10);
	memset(out + 10, 0xff, 2);
	memcpy(out + 12, ip, 4);
}

/* Sets family and address; port and scope become 0. A v4-mapped address becomes AF_INET. family:
 * AF_INET or AF_INET6; any other value sets no address. ip: 4 or 16 bytes, not inside *a. */
static inline void udplane_addr_set(struct udplane_addr *a, int family, const void *ip)
{
	const uint8_t *bytes = (const uint8_t *)ip;

	memset(a, 0, sizeof(*a));
	if (family == AF_INET6 && udplane_addr_is_mapped(bytes)) {
		family = AF_INET;
		bytes += 12;
	}
	if (family == AF_INET6)
		memcpy(a->addr, bytes, 16);
	else if (family == AF_INET)
		memcpy(a->addr, bytes, 4);
	else
		return;
	a->family = (uint8_t)family;
}

/* Sets address, port and scope from a struct sockaddr_in or sockaddr_in6 of len bytes. Returns
 * false and sets *a to all 0 if it is of another family or shorter than its family's structure. */
static inline bool udplane_addr_from_sockaddr(struct udplane_addr *a, const void *sa, socklen_t len)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)sa;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;

	if (len >= sizeof(*in) && in->sin_family == AF_INET) {
		udplane_addr_set(a, AF_INET, &in->sin_addr);
		a->port_be = in->sin_port;
		return true;
	}
	if (len < sizeof(*in6) || in6->sin6_family != AF_INET6) {
		memset(a, 0, sizeof(*a));
		return false;
	}
	udplane_addr_set(a, AF_INET6, &in6->sin6_addr);
	a->port_be = in6->sin6_port;
	if (a->family == AF_INET6)
		a->scope_id = in6->sin6_scope_id;
	return true;
}

/* Writes the struct sockaddr that a socket of this domain takes, and returns its length in bytes.
 * domain: AF_INET or AF_INET6; with AF_INET6 an IPv4 address becomes v4-mapped. An IPv6 address
 * becomes a struct sockaddr_in6 for either domain; an AF_INET socket refuses it with EAFNOSUPPORT.
 * a->family must be AF_INET or AF_INET6. */
static inline socklen_t udplane_addr_to_sockaddr(const struct udplane_addr *a, int domain,
						 struct sockaddr_storage *ss)
{
	struct sockaddr_in *in = (struct sockaddr_in *)ss;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;

	if (a->family == AF_INET && domain == AF_INET) {
		memset(in, 0, sizeof(*in));
		in->sin_family = AF_INET;
		in->sin_port = a->port_be;
		memcpy(&in->sin_addr, a->addr, 4);
		return sizeof(*in);
	}
	memset(in6, 0, sizeof(*in6));
	in6->sin6_family = AF_INET6;
	in6->sin6_port = a->port_be;
	udplane_addr_to_mapped(in6->sin6_addr.s6_addr, a->family == AF_INET ? AF_INET : AF_INET6,
			       a->addr);
	if (a->family != AF_INET)
		in6->sin6_scope_id = a->scope_id;
	return sizeof(*in6);
}

/* Returns true if address, port, family and scope are the same. */
static inline bool udplane_addr_equal(const struct udplane_addr *a, const struct udplane_addr *b)
{
	return !memcmp(a, b, offsetof(struct udplane_addr, pad)) && a->scope_id == b->scope_id;
}

/* Returns true if family and IP address are the same, whatever port and scope are. */
static inline bool udplane_addr_same_ip(const struct udplane_addr *a, const struct udplane_addr *b)
{
	return a->family == b->family && !memcmp(a->addr, b->addr, sizeof(a->addr));
}

/* Returns true for 0.0.0.0, :: and no address. */
static inline bool udplane_addr_is_any(const struct udplane_addr *a)
{
	static const uint8_t zero[16] = {0};

	return !memcmp(a->addr, zero, sizeof(zero));
}

/* Returns true for 127.0.0.0/8 and ::1. */
static inline bool udplane_addr_is_loopback(const struct udplane_addr *a)
{
	static const uint8_t one[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};

	if (a->family == AF_INET)
		return a->addr[0] == 127;
	return a->family == AF_INET6 && !memcmp(a->addr, one, sizeof(one));
}

/* Returns true for 224.0.0.0/4 and ff00::/8. */
static inline bool udplane_addr_is_multicast(const struct udplane_addr *a)
{
	if (a->family == AF_INET)
		return (a->addr[0] & 0xf0) == 0xe0;
	return a->family == AF_INET6 && a->addr[0] == 0xff;
}

/* Returns true for fe80::/10, whose addresses need a scope. Returns false for IPv4. */
static inline bool udplane_addr_is_link_local(const struct udplane_addr *a)
{
	return a->family == AF_INET6 && a->addr[0] == 0xfe && (a->addr[1] & 0xc0) == 0x80;
}

#ifdef __cplusplus
}
#endif

#endif
