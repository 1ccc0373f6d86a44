/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a socket that a client passed really is, asked of the kernel: nothing that the client says
 * is believed. claim_verify() wants the lock of the socket, which a client can hold for as long as
 * it likes: the keeper calls it (sidecar/keeper). The rest is the control thread's.
 */
#ifndef SIDECAR_CLAIM_CLAIM_H
#define SIDECAR_CLAIM_CLAIM_H

#include "include/base/error.h"
#include "sidecar/config/port_set.h"
#include "sidecar/device/device.h"
#include "sidecar/port/port.h"
#include <stdbool.h>
#include <stdint.h>
#include <udplane/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

struct claim_rules {
	uint64_t netns_cookie;	      /* of the namespace that the device is in */
	int ifindex;		      /* of the device */
	const struct port_set *ports; /* asked for; NULL: claim_verify() is not to look */
};

struct claim {
	struct port_key key;
	uint64_t cookie; /* SO_COOKIE: the same for every descriptor of one kernel socket */
	bool reuse;	 /* SO_REUSEADDR or SO_REUSEPORT: others may bind beside it */
	bool reuseport;
	bool bound_device; /* SO_BINDTODEVICE to our device */
	/* IP_PMTUDISC_DONT: by option, or by net.ipv4.ip_no_pmtu_disc when it was made */
	bool no_df;
	/* AF_INET or AF_INET6: of the socket; an AF_INET6 one may have an AF_INET key */
	int domain;
	bool dual_stack;		 /* an AF_INET6 wildcard that takes IPv4, too */
	struct udplane_addr local, peer; /* for stats; peer.family 0: not connected */
};

/* Fills *c. UDPLANE_REASON_NONE; or why it cannot be accelerated, with `error` set. */
enum udplane_reason claim_verify(int fd, const struct claim_rules *rules, struct claim *c,
				 struct error *error);

/* Returns true, with `error` set, if it is bound to a port that is not among these. */
bool claim_not_asked(const struct claim *c, const struct port_set *ports, struct error *error);

/* SO_NETNS_COOKIE of the caller's network namespace. 0 or -errno. */
int claim_netns_cookie(uint64_t *cookie);

/* The device claims that divert c's datagrams: one, or two for a dual-stack wildcard. Returns how
 * many. */
uint32_t claim_device(const struct claim *c, struct device_claim out[2]);

/* ---- conflict.c: sockets that do not use udplane, on the same port; asked by NETLINK_SOCK_DIAG
 * (sock_diag(7)) ---- */

/* A UDP socket that the kernel lists. */
struct claim_other {
	uint64_t cookie; /* SO_COOKIE */
	int ifindex;	 /* SO_BINDTODEVICE; 0: none */
	bool v6only;
	struct udplane_addr local;
	struct udplane_addr peer; /* family 0: not connected */
};

/* Might o get a datagram that c diverts? */
bool claim_overlaps(const struct claim_other *o, const struct claim *c, int ifindex);
/* Writes who o is, for people, to out of size bytes, as snprintf() does. */
void claim_other_text(const struct claim_other *o, char *out, size_t size);
/* c's socket as the kernel would list it. */
void claim_to_other(const struct claim *c, struct claim_other *o);

/* A netlink socket, and the number of the last request there. */
struct claim_diag {
	struct mnl_socket *nl; /* NULL: not open */
	uint32_t seq;
};

/* *d: all zero, or closed. 0 or -errno. */
int claim_diag_open(struct claim_diag *d);
void claim_diag_close(struct claim_diag *d);

/* A listing in steps: a port of 10 000 sockets takes some 10 ms. */
struct claim_scan {
	struct claim_diag *diag; /* nothing else may be asked there meanwhile */
	uint16_t port_be;	 /* 0: every port */
	uint8_t family;		 /* being listed now */
	bool running;
	uint64_t messages; /* answers of the kernel that were read: what it has cost */
};

/* 0 or -errno. Any earlier scan of *s has ended or is given up. */
int claim_scan_begin(struct claim_scan *s, struct claim_diag *diag, uint16_t port_be);
/* Reads one answer of the kernel (32 KiB at most) and calls found() for each socket in it. 1: there
 * is more; 0: that was all; -errno. */
int claim_scan_step(struct claim_scan *s, void (*found)(void *arg, const struct claim_other *o),
		    void *arg);

/* Whom Linux gives a datagram from key's peer to key's address that comes by that interface: one
 * question, one answer, whatever the number of sockets. 0, -ENOENT: nobody, or -errno. */
int claim_winner(struct claim_diag *diag, const struct port_key *key, int ifindex,
		 struct claim_other *winner);

#ifdef __cplusplus
}
#endif

#endif
