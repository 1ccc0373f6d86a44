/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The L4 port table finds the accelerated socket to which a datagram belongs, by the rules of
 * Linux's UDP lookup (udp4_lib_lookup, udp6_lib_lookup, net/ipv4/udp.c):
 *
 *   1. a connected socket whose local and peer address and port all match;
 *   2. else an unconnected socket bound to the destination address;
 *   3. else one bound to the wildcard.
 *
 * If several sockets match within a step, the one with the higher score in Linux receives all
 * datagrams: one bound to the device (SO_BINDTODEVICE) before one that is not; then, for IPv4, an
 * AF_INET socket before an AF_INET6 one (dual-stack or with a v4-mapped address). Sockets with the
 * same score form a group, whose members share the datagrams by flow hash as in Linux (share.h):
 * SO_REUSEPORT, or one kernel socket held by several processes. The order of insertion decides
 * which member gets which flows, so workers that insert and remove in the same order agree.
 *
 *   entry[family][port], 4 bytes:
 *       | connected | specific | rank | group, used | socket or group number |
 *          keys exist on this port     the wildcard socket, inline
 *
 * Cost of a lookup: one array access for a port with a single wildcard socket; one more for a
 * group; a probe of a hash table (key_hash.h) if specific or connected keys exist on that port.
 * Apart from cache misses it does not grow with the number of sockets.
 *
 * Limits. Where Linux decides by the order in which sockets were bound or connected, a key does not
 * contain enough. The caller must refuse such sockets (the kernel path is right for them), or
 * accept the behaviour described here:
 *   - sockets with the same score that are not a SO_REUSEPORT group (SO_REUSEADDR): in Linux the
 *     one bound last receives all; here they share;
 *   - SO_REUSEPORT sockets on one address of which only some are bound to the device: in Linux the
 *     first group that matches receives all, whatever its score (udp4_lib_lookup2); here the
 *     device-bound ones do;
 *   - an AF_INET and an AF_INET6 socket, or one bound to the device and one not, connected to the
 *     same peer from the same address: since 6.13 Linux takes the one connected last; before 6.13 a
 *     SO_REUSEPORT group may take precedence over a connected socket outside it;
 *   - a v6only and a dual-stack wildcard on one port: for IPv6 Linux takes the one bound first;
 *     here the v6only one receives all;
 *   - a socket connected to port 0 (any port of that peer; getpeername returns ENOTCONN),
 *     BPF programs that select the socket (SO_ATTACH_REUSEPORT_*, sk_lookup).
 * Unless the caller knows whom Linux would choose (port_tuple.cookie), another member of a group is
 * chosen, because Linux's hash is secret, and SO_INCOMING_CPU counts for nothing.
 *
 * Threads: the table is private to one worker, the only caller of all functions here; no locks, no
 * atomics. Memory: 0.5 MiB; plus 4 bytes for each kind of key on a port; 32 to 64 bytes per
 * specific or connected IPv4 key, 80 to 160 per IPv6 key; 4 to 8 bytes per member of a group.
 * Lookups never allocate. Inserting and removing may (both run between bursts, by order of the
 * control thread) and take 60 to 150 ns, O(1) amortised. Doubling a table takes longer: from 2048
 * keys 0.03 ms, from 32768 keys 0.5 ms for IPv4 and 2.6 ms for IPv6 (docs/measurements.md).
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

/* Other modules that store keys compare and hash them as bytes, so every byte must be set, and
 * padding must be 0. */
struct port_key {
	struct udplane_addr local; /* an all-zero address is a wildcard; scope_id must be 0 */
	/* of local's family; family 0 if not connected; scope_id must be 0 */
	struct udplane_addr peer;
	/* AF_INET key of an AF_INET6 socket with v4-mapped addresses; ranks after AF_INET
	 * sockets */
	bool mapped;
	bool v6only; /* AF_INET6 wildcard that does not receive IPv4 */
	bool device; /* bound to the device (SO_BINDTODEVICE); ranks before sockets that are not */
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
	/* hash of the flow, evenly distributed over all 32 bits; its upper bits choose the member
	 * of a group */
	uint32_t hash;
	/* SO_COOKIE of the member that Linux would choose, or 0; and those of all sockets by their
	 * numbers, read only if it is not 0 */
	uint64_t cookie;
	const uint64_t *cookies;
};

#define PORT_NONE     UINT32_MAX
#define PORT_SOCK_MAX (1u << 24) /* socket numbers are less than this */

/* Returns NULL if memory is short or the kernel has no getrandom. */
struct port_table *port_table_create(void);
void port_table_destroy(struct port_table *t); /* does nothing if t is NULL */
/* Adds a socket under a key. sock: the caller's number for it, less than PORT_SOCK_MAX. Returns 0;
 * -EEXIST if this sock is under this key already; -ENOMEM, and then nothing has changed; -EINVAL
 * for a sock that is too large, port 0, a bad family, mapped with AF_INET6, a v4-mapped address as
 * AF_INET6, or a connected key without local address, peer address or peer port, all of which Linux
 * always sets. */
int port_table_insert(struct port_table *t, const struct port_key *key, uint32_t sock);
/* Returns 0; -ENOENT if this sock is not under this key; or -EINVAL as port_table_insert. */
int port_table_remove(struct port_table *t, const struct port_key *key, uint32_t sock);
/* Returns the socket's number, or PORT_NONE. */
uint32_t port_table_lookup(const struct port_table *t, const struct port_tuple *d);
/* Returns the number of groups, that is of keys that several sockets share. */
uint32_t port_table_groups(const struct port_table *t);
/* Returns the number of (key, sock) pairs. */
uint32_t port_table_size(const struct port_table *t);

#ifdef __cplusplus
}
#endif

#endif
