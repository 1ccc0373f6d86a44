/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks the kernel what a socket passed by a client really is; nothing that the client says is
 * trusted. claim_verify() needs the lock of the socket, which a client can hold for any time, so
 * the keeper calls it (sidecar/keeper). The control thread calls everything else.
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
	uint64_t netns_cookie; /* of the namespace that the device is in */
	int ifindex;	       /* of the device */
	/* ports to accelerate; NULL if claim_verify() should not check the port */
	const struct port_set *ports;
};

struct claim {
	struct port_key key;
	uint64_t cookie; /* SO_COOKIE, the same for every descriptor of one kernel socket */
	bool reuse;	 /* SO_REUSEADDR or SO_REUSEPORT: other sockets may bind to the same port */
	bool reuseport;
	bool bound_device; /* SO_BINDTODEVICE to our device */
	/* IP_PMTUDISC_DONT, set by option, or by net.ipv4.ip_no_pmtu_disc when the socket was
	 * created */
	bool no_df;
	/* SO_TIMESTAMP*, SO_TIMESTAMPING or SO_RXQ_OVFL: what it receives is to be stamped */
	bool stamp;
	/* the socket's domain, AF_INET or AF_INET6; an AF_INET6 socket may have an AF_INET key */
	int domain;
	bool dual_stack; /* an AF_INET6 wildcard that also receives IPv4 */
	/* IP_MULTICAST_ALL, IPV6_MULTICAST_ALL: it receives groups that others have joined */
	bool all4, all6;
	bool broadcast; /* SO_BROADCAST */
	/* IP_PKTINFO: it wants to know the address that Linux would answer from */
	bool spec_dst;
	struct udplane_addr local, peer; /* for stats; peer.family is 0 if not connected */
};

/* Fills *c with what the kernel says about socket fd. Returns UDPLANE_REASON_NONE; or the reason
 * why the socket cannot be accelerated, with `error` set. */
enum udplane_reason claim_verify(int fd, const struct claim_rules *rules, struct claim *c,
				 struct error *error);

#define CLAIM_SOURCES 16

/* What the kernel says about a socket's membership in a multicast group on an interface. */
struct claim_member {
	struct udplane_addr group; /* without port */
	bool member;
	bool unclear; /* it has more sources than CLAIM_SOURCES, or the kernel did not say */
	/* Linux's filter mode: it receives from all sources but these; otherwise from these only */
	bool exclude;
	uint32_t source_cnt;
	uint8_t source[CLAIM_SOURCES][16]; /* as in struct udplane_addr */
};

/* Fills *m, including the group. Called by the keeper, like claim_verify(). */
void claim_read_member(int fd, int ifindex, const struct udplane_addr *group,
		       struct claim_member *m);

/* Returns true, with `error` set, if the socket is bound to a port that is not in ports. */
bool claim_not_asked(const struct claim *c, const struct port_set *ports, struct error *error);

/* Reads SO_NETNS_COOKIE of the caller's network namespace. Returns 0 or -errno. */
int claim_netns_cookie(uint64_t *cookie);

/* Writes the device claims that divert c's datagrams: one, or two for a dual-stack wildcard.
 * Returns how many. */
uint32_t claim_device(const struct claim *c, struct device_claim out[2]);

/* ---- conflict.c: sockets without udplane on the same port, by NETLINK_SOCK_DIAG (sock_diag(7)) */

/* A UDP socket that the kernel lists. */
struct claim_other {
	uint64_t cookie; /* SO_COOKIE */
	int ifindex;	 /* SO_BINDTODEVICE; 0 if not bound to a device */
	bool v6only;
	struct udplane_addr local;
	struct udplane_addr peer; /* family 0 if not connected */
};

/* Returns true if Linux might deliver to o a datagram that c diverts. ifindex: of the device. */
bool claim_overlaps(const struct claim_other *o, const struct claim *c, int ifindex);
/* Returns true if Linux might deliver datagrams to this group and port to o, if they arrive on
 * interface ifindex. */
bool claim_overlaps_group(const struct claim_other *o, const struct udplane_addr *group,
			  int ifindex);
/* Writes a description of o for the user to out (size bytes), truncated as by snprintf(). */
void claim_other_text(const struct claim_other *o, char *out, size_t size);
/* Converts c's socket to the form in which the kernel would list it. */
void claim_to_other(const struct claim *c, struct claim_other *o);

/* A netlink socket, and the sequence number of the last request sent on it. */
struct claim_diag {
	struct mnl_socket *nl; /* NULL if not open */
	uint32_t seq;
};

/* *d must be all zero, or closed. Returns 0 or -errno. */
int claim_diag_open(struct claim_diag *d);
void claim_diag_close(struct claim_diag *d);

/* Lists sockets in steps, because a port with 10 000 sockets takes some 10 ms. */
struct claim_scan {
	struct claim_diag *diag; /* must not be used for anything else during the scan */
	uint16_t port_be;	 /* 0 for every port */
	uint8_t family;		 /* the family that is being listed */
	bool running;
	uint64_t messages; /* answers of the kernel that were read, as a measure of the cost */
};

/* Starts a scan. An earlier scan of *s must have ended or is abandoned. Returns 0 or -errno. */
int claim_scan_begin(struct claim_scan *s, struct claim_diag *diag, uint16_t port_be);
/* Reads one answer of the kernel (32 KiB at most) and calls found() for each socket in it. Returns
 * 1 if there is more, 0 after the last answer, or -errno. */
int claim_scan_step(struct claim_scan *s, void (*found)(void *arg, const struct claim_other *o),
		    void *arg);

/* Asks to which socket Linux delivers a datagram from key's peer to key's address that arrives on
 * interface ifindex. This takes one request and one answer, whatever the number of sockets. Returns
 * 0 with the socket in *winner, -ENOENT if there is none, or another -errno. */
int claim_winner(struct claim_diag *diag, const struct port_key *key, int ifindex,
		 struct claim_other *winner);

#ifdef __cplusplus
}
#endif

#endif
