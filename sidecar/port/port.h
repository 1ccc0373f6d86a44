/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The L4 port table: which accelerated socket a datagram belongs to, by the rules of Linux's UDP
 * lookup (udp4_lib_lookup, udp6_lib_lookup, net/ipv4/udp.c):
 *
 *   1. a connected socket whose local and peer address and port all match;
 *   2. else an unconnected socket bound to the destination address;
 *   3. else one bound to the wildcard.
 *
 * Where several match within a step, the one that Linux scores higher has all: one bound to the
 * device (SO_BINDTODEVICE) before one that is not; for IPv4 then an AF_INET socket before an
 * AF_INET6 one (dual-stack or with a v4-mapped address). What still matches alike is a group:
 * members share by flow hash (SO_REUSEPORT, or one kernel socket held by several processes), as
 * Linux has them share (share.h). The order of insertion decides which member gets which flows, so
 * workers that insert and remove in the same order agree.
 *
 *   entry[family][port], 4 bytes:
 *       | connected | specific | rank | group, used | socket or group number |
 *          keys exist on this port     the wildcard socket, inline
 *
 * Cost: one array access for a port with a single wildcard socket; one more for a group; a probe of
 * a hash table (key_hash.h) where specific or connected keys exist on that port. It does not grow
 * with the number of sockets, the caches' share aside.
 *
 * Limits. Where Linux goes by the order in which sockets were bound or connected, a key cannot say
 * enough; who makes keys must refuse these (the kernel path is right for them), or accept what is
 * said here:
 *   - sockets that match alike and are no SO_REUSEPORT group (SO_REUSEADDR): in Linux the one bound
 *     last has all; here they share;
 *   - SO_REUSEPORT sockets on one address of which only some are bound to the device: in Linux the
 *     first group that matches has all, whatever its score (udp4_lib_lookup2); here the
 *     device-bound ones;
 *   - an AF_INET and an AF_INET6 socket, or one bound to the device and one not, connected to the
 *     same peer from the same address: since 6.13 the one connected last; before 6.13 a
 *     SO_REUSEPORT group may come before a connected socket outside it;
 *   - a v6only and a dual-stack wildcard on one port: for IPv6 the one bound first; here the v6only
 *     one;
 *   - a socket connected to port 0 (any port of that peer; getpeername says ENOTCONN),
 *     SO_INCOMING_CPU, BPF programs that choose (SO_ATTACH_REUSEPORT_*, sk_lookup).
 * The group member chosen is not the one that Linux would choose: its hash is secret.
 *
 * Threads: one owner. The table is private to a worker, which alone calls everything here; no
 * locks, no atomics. Memory: 0.5 MiB; 4 bytes more for each kind of key on a port; 32 to 64 bytes a
 * specific or connected IPv4 key, 80 to 160 an IPv6 one; 4 to 8 bytes a member of a group. Lookup
 * never allocates. Insert and remove may (they run between bursts, by order of the control thread):
 * 60 to 150 ns, O(1) amortised; one that doubles a table takes longer: from 2048 keys 0.03 ms, from
 * 32768 0.5 ms for IPv4 and 2.6 ms for IPv6 (docs/measurements.md).
 */
#ifndef SIDECAR_PORT_PORT_H
#define SIDECAR_PORT_PORT_H

#include <stdbool.h>
#include <stdint.h>
#include <udplane/addr.h>

#ifdef __cplusplus
extern "C" {
#endif

struct port_table;

/* Compared and hashed as bytes by those who keep keys: all of it is set, the padding is 0. */
struct port_key {
	struct udplane_addr local; /* an address that is all zero: wildcard; scope_id: 0 */
	struct udplane_addr peer;  /* of local's family; family 0: not connected; scope_id: 0 */
	/* AF_INET key of an AF_INET6 socket with v4-mapped addresses: after AF_INET sockets */
	bool mapped;
	bool v6only; /* AF_INET6 wildcard: takes no IPv4 */
	bool device; /* SO_BINDTODEVICE to the device: before sockets without */
};

static inline bool port_key_connected(const struct port_key *key)
{
	return key->peer.family != 0;
}

/* A datagram. Its addresses stay in the frame, since the lookup hashes them from there. */
struct port_tuple {
	uint8_t family; /* AF_INET or AF_INET6 */
	uint16_t src_port_be, dst_port_be;
	const uint8_t *src, *dst; /* 4 or 16 bytes */
	/* of the flow, all 32 bits evenly: its upper bits choose the member of a group */
	uint32_t hash;
};

#define PORT_NONE     UINT32_MAX
#define PORT_SOCK_MAX (1u << 24) /* socket numbers are below */

struct port_table *port_table_create(void);    /* NULL: no memory */
void port_table_destroy(struct port_table *t); /* NULL: nothing happens */
/* sock: the caller's number, below PORT_SOCK_MAX. 0, -EEXIST (this sock under this key), -ENOMEM
 * (nothing has changed), -EINVAL (port 0, bad family, mapped and AF_INET6, a v4-mapped address as
 * AF_INET6; connected without all of local address, peer address and peer port, as Linux always
 * sets them). */
int port_table_insert(struct port_table *t, const struct port_key *key, uint32_t sock);
int port_table_remove(struct port_table *t, const struct port_key *key,
		      uint32_t sock); /* 0, -ENOENT, -EINVAL as above */
/* The socket, or PORT_NONE. */
uint32_t port_table_lookup(const struct port_table *t, const struct port_tuple *d);
uint32_t port_table_groups(const struct port_table *t); /* keys that several sockets share */
uint32_t port_table_size(const struct port_table *t);	/* (key, sock) pairs */

#ifdef __cplusplus
}
#endif

#endif
