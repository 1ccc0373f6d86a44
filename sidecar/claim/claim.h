/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a socket that a client passed really is, asked of the kernel: nothing that the client says is believed. Control thread only.
 */
#ifndef SIDECAR_CLAIM_CLAIM_H
#define SIDECAR_CLAIM_CLAIM_H

#include <stdbool.h>
#include <stdint.h>
#include <udplane/abi.h>
#include "sidecar/config/port_set.h"
#include "sidecar/device/device.h"
#include "sidecar/port/port.h"

struct claim_rules {
	uint64_t netns_cookie;         /* of the namespace that the device is in */
	int ifindex;                   /* of the device */
	const struct port_set *ports;  /* asked for */
};

struct claim {
	struct port_key key;
	uint64_t cookie;     /* SO_COOKIE: the same for every descriptor of one kernel socket */
	bool reuse;          /* SO_REUSEADDR or SO_REUSEPORT: others may bind beside it */
	bool reuseport;
	bool bound_device;   /* SO_BINDTODEVICE to our device */
	int domain;          /* AF_INET or AF_INET6: of the socket; an AF_INET6 one may have an AF_INET key */
	bool dual_stack;     /* an AF_INET6 wildcard that takes IPv4, too */
	struct udplane_addr local, peer; /* for stats; peer.family 0: not connected */
};

/* Fills *c. UDPLANE_REASON_NONE; or why it cannot be accelerated, with text. */
enum udplane_reason claim_verify(int fd, const struct claim_rules *rules, struct claim *c, char *text, size_t text_len);

/* SO_NETNS_COOKIE of the caller's network namespace. 0 or -errno. */
int claim_netns_cookie(uint64_t *cookie);

/* The device claims that divert c's datagrams: one, or two for a dual-stack wildcard. Returns how many. */
uint32_t claim_device(const struct claim *c, struct device_claim out[2]);

/* Does the kernel hold a UDP socket on c's port that is none of the cookies in mine[0..cnt), and that would get datagrams that c
 * diverts? 0: no; 1: yes, with text; or -errno. Asks by NETLINK_SOCK_DIAG (sock_diag(7)); nl: claim_diag_open. */
int claim_conflict(int nl, const struct claim *c, const uint64_t *mine, uint32_t cnt, int ifindex, char *text, size_t text_len);
int claim_diag_open(void); /* descriptor or -errno */

#endif
