/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps a server open for newcomers: connections that are too many, too slow or hold too much are
 * cut, never those that come refused. Who is cut first belongs to the address that has the most, so
 * whoever fills the server up loses his own connections.
 *
 * Each connection has a deadline that trickling bytes do not move: for its first request, for each
 * request from its head to its answer, and between two requests.
 *
 * Any thread calls; one mutex. To cut is shutdown(2): the thread that serves the connection finds
 * its end and calls guard_close(), before it closes the descriptor.
 */
#ifndef UDPLANE_DEPLOY_INJECTOR_GUARD_H
#define UDPLANE_DEPLOY_INJECTOR_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

struct guard;
struct guard_connection;

struct guard_limits {
	unsigned int connections; /* in all */
	unsigned int per_address; /* of one address */
	size_t bytes;		  /* of bodies and answers in memory, in all */
	size_t small;		  /* a request of so many is never refused for others' */
	unsigned int first_s;	  /* from a connection's start to the head of its first request */
	unsigned int request_s;	  /* from a request's head to the end of its answer */
	unsigned int idle_s;	  /* between two requests */
	int (*cut)(int fd, int how); /* shutdown(2); tests have another */
};

struct guard_counts {
	unsigned int open;
	size_t bytes;
	uint64_t evicted; /* for a newcomer, or for a body */
	uint64_t expired; /* for their deadline */
};

/* More connections may be open for a moment, as one that was cut takes a while to close. */
#define GUARD_SPARE 64

/* NULL for out of memory. `limits` is copied. */
struct guard *guard_create(const struct guard_limits *limits);
void guard_destroy(struct guard *guard);

/*
 * A new connection, from an address of IPv4 or IPv6. Never NULL but when limits->connections +
 * GUARD_SPARE are open; it is cut then. `now_ns` of a steady clock, here and below.
 */
struct guard_connection *guard_open(struct guard *guard, int fd, const struct sockaddr *address,
				    uint64_t now_ns);
void guard_close(struct guard *guard, struct guard_connection *connection);

/* The head of a request is there; its answer is sent, or given up. */
void guard_begin(struct guard *guard, struct guard_connection *connection, uint64_t now_ns);
void guard_end(struct guard *guard, struct guard_connection *connection, uint64_t now_ns);

/*
 * `more` bytes of a body or an answer want to be kept; guard_end() gives back all. Where the limit
 * is passed, the largest request of the address with the most bytes is cut. Returns false when that
 * is this one, or when the others have not gone yet: it must be refused, and its body dropped.
 */
bool guard_reserve(struct guard *guard, struct guard_connection *connection, size_t more);

/* Cuts what is past its deadline. */
void guard_sweep(struct guard *guard, uint64_t now_ns);

struct guard_counts guard_counts(struct guard *guard);

#ifdef __cplusplus
}
#endif

#endif
