/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps a server open for new connections. It never refuses a new connection; it cuts old ones that
 * are too many, too slow or hold too much memory. The address with the most loses a connection
 * first, so a client that fills up the server loses its own connections.
 *
 * Each connection has a deadline that trickling bytes do not move. It applies to the first request,
 * to each request from its head to the end of its answer, and to the pause between two requests.
 *
 * Any thread may call; one mutex protects everything. Cutting is shutdown(2): the thread that
 * serves the connection then reads its end and calls guard_close() before it closes the descriptor.
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
	unsigned int connections; /* connections of all addresses */
	unsigned int per_address; /* connections of one address */
	size_t bytes;		  /* bodies and answers in memory, of all connections */
	size_t small;		  /* a request up to this is never refused because of others */
	unsigned int first_s;	  /* from a connection's start to the head of its first request */
	unsigned int request_s;	  /* from a request's head to the end of its answer */
	unsigned int idle_s;	  /* between two requests */
	int (*cut)(int fd, int how); /* shutdown(2), or a test's own function */
};

struct guard_counts {
	unsigned int open;
	size_t bytes;
	uint64_t evicted; /* cut to make room for a new connection or a body */
	uint64_t expired; /* cut because their deadline passed */
};

/* So many more connections may be open for a moment, since one that was cut takes a while to
 * close. */
#define GUARD_SPARE 64

/* Returns a guard, or NULL if out of memory. Copies *limits. */
struct guard *guard_create(const struct guard_limits *limits);
void guard_destroy(struct guard *guard);

/*
 * Registers a new connection. Returns it, or NULL if limits->connections + GUARD_SPARE are open
 * already; then it has cut the new connection, and the other calls accept NULL for it.
 *
 * address: IPv4 or IPv6
 * now_ns:  time of a steady clock in ns, here and in the calls below
 */
struct guard_connection *guard_open(struct guard *guard, int fd, const struct sockaddr *address,
				    uint64_t now_ns);
void guard_close(struct guard *guard, struct guard_connection *connection);

/* guard_begin: the head of a request has arrived. guard_end: its answer is sent or given up. Both
 * start the next deadline and give back the bytes that the connection holds. */
void guard_begin(struct guard *guard, struct guard_connection *connection, uint64_t now_ns);
void guard_end(struct guard *guard, struct guard_connection *connection, uint64_t now_ns);

/*
 * Asks to keep `more` bytes of a body or an answer in memory; guard_end() gives all of them back.
 * If the limit is exceeded, cuts the largest request of the address with the most bytes. Returns
 * false if that is this request, or if the connections that were cut have not closed yet. The
 * caller must then refuse the request and drop its body.
 */
bool guard_reserve(struct guard *guard, struct guard_connection *connection, size_t more);

/* Cuts the connections whose deadline has passed. */
void guard_sweep(struct guard *guard, uint64_t now_ns);

struct guard_counts guard_counts(struct guard *guard);

#ifdef __cplusplus
}
#endif

#endif
