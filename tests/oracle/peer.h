/* SPDX-License-Identifier: Apache-2.0 */
/* The peer of the sockets under test: plain sockets in the other namespace, and a capture of the
 * UDP frames that arrive there. It makes system calls directly, so that a preloaded library has no
 * part in it. One thread; the state is static, since a process has one peer. */
#ifndef TESTS_ORACLE_PEER_H
#define TESTS_ORACLE_PEER_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PEER_PORT	7001 /* and the following: one socket of each family on each */
#define PEER_PORTS	3
#define PEER_FENCE_PORT 7000
#define PEER4		"10.99.0.2"
#define PEER6		"fd99::2"

/* Room for a sockaddr of either family. */
union address {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	unsigned char bytes[128];
};

/* text: an address of either family; port in host byte order. Returns the length, 0 if text is not
 * an address. */
socklen_t address_parse(union address *to, const char *text, int port);

/* Opens the capture on the interface device of the network namespace at path; the calling thread is
 * back in its own namespace afterwards. Ends the process on failure, as do all here. */
void peer_open(const char *path, const char *device);
/* Opens the peer's sockets, and forgets what has arrived before. */
void peer_begin(void);
void peer_end(void);
/* Sends from port PEER_PORT + index. Returns what sendto(2) does. */
long peer_send(int index, const union address *to, const void *data, size_t len);
/* Sets an option of the socket for that port and family, as setsockopt(2). */
void peer_option(int index, int family, int level, int name, int value);
/* Sends an empty datagram from the fence's port. */
void peer_fence(const union address *to);
/* Takes what has arrived, until as many frames have and the datagrams in them, or ms milliseconds
 * are over; prints each. Returns the number of frames. */
int peer_take(int frames, int ms);

/* A number that stands for len bytes. */
uint32_t digest(const void *data, size_t len);
int64_t now_ms(void);

#endif
