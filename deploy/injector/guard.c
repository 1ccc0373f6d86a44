/* SPDX-License-Identifier: Apache-2.0 */
#include "deploy/injector/guard.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <udplane/addr.h>

#define SECOND_NS 1000000000ull

/* In the order in which connections are cut for a new one. The peer can reopen an idle connection,
 * a slow handshake is a request that will come late, and cutting a request loses work. */
enum stage { STAGE_CUT, STAGE_IDLE, STAGE_NEW, STAGE_REQUEST };

struct source {
	unsigned char address[16]; /* IPv4 as ::ffff:a.b.c.d */
	unsigned int count;	   /* its connections that are not cut */
	unsigned int users;	   /* all its connections; 0 if this entry is free */
	size_t bytes;
};

struct guard_connection {
	enum stage stage;
	int fd; /* -1 if this entry is free */
	uint64_t since_ns;
	size_t bytes;
	struct source *source;
};

struct guard {
	struct guard_limits limits;
	pthread_mutex_t lock; /* protects all fields below */
	struct guard_counts counts;
	unsigned int live; /* connections that are open and not cut */
	unsigned int size; /* entries of each table */
	struct source *sources;
	struct guard_connection *connections;
};

struct guard *guard_create(const struct guard_limits *limits)
{
	struct guard *guard = calloc(1, sizeof(*guard));
	unsigned int i;

	if (!guard)
		return NULL;
	guard->limits = *limits;
	guard->size = limits->connections + GUARD_SPARE;
	guard->sources = calloc(guard->size, sizeof(*guard->sources));
	guard->connections = calloc(guard->size, sizeof(*guard->connections));
	if (!guard->sources || !guard->connections) {
		free(guard->sources);
		free(guard->connections);
		free(guard);
		return NULL;
	}
	for (i = 0; i < guard->size; i++)
		guard->connections[i].fd = -1;
	pthread_mutex_init(&guard->lock, NULL);
	return guard;
}

void guard_destroy(struct guard *guard)
{
	if (!guard)
		return;
	pthread_mutex_destroy(&guard->lock);
	free(guard->sources);
	free(guard->connections);
	free(guard);
}

/* All zeros for another family. */
static void address_of(const struct sockaddr *address, unsigned char out[16])
{
	struct udplane_addr a;

	memset(out, 0, 16);
	if (udplane_addr_from_sockaddr(&a, address,
				       address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
								      : sizeof(struct sockaddr_in)))
		udplane_addr_to_mapped(out, a.family, a.addr);
}

/* Finds the source of an address, or takes a free one. There is always one, since the tables are
 * of the same size and each source in use has a connection. */
static struct source *source_of(struct guard *guard, const struct sockaddr *address)
{
	struct source *unused = NULL;
	unsigned char bytes[16];
	unsigned int i;

	address_of(address, bytes);
	for (i = 0; i < guard->size; i++) {
		struct source *source = &guard->sources[i];

		if (!source->users)
			unused = source;
		else if (!memcmp(source->address, bytes, sizeof(bytes)))
			return source;
	}
	memset(unused, 0, sizeof(*unused));
	memcpy(unused->address, bytes, sizeof(bytes));
	return unused;
}

static void release_bytes(struct guard *guard, struct guard_connection *connection)
{
	connection->source->bytes -= connection->bytes;
	guard->counts.bytes -= connection->bytes;
	connection->bytes = 0;
}

/* The bytes that the connection holds stay counted until it is closed. */
static void cut(struct guard *guard, struct guard_connection *connection, uint64_t *counter)
{
	guard->limits.cut(connection->fd, SHUT_RDWR);
	connection->stage = STAGE_CUT;
	connection->source->count--;
	guard->live--;
	(*counter)++;
}

/* ---- which connection is cut first ---- */

static struct source *source_with_most_connections(struct guard *guard)
{
	struct source *most = &guard->sources[0];
	unsigned int i;

	for (i = 1; i < guard->size; i++)
		if (guard->sources[i].count > most->count)
			most = &guard->sources[i];
	return most;
}

static struct source *source_with_most_bytes(struct guard *guard)
{
	struct source *most = &guard->sources[0];
	unsigned int i;

	for (i = 1; i < guard->size; i++)
		if (guard->sources[i].users && guard->sources[i].bytes > most->bytes)
			most = &guard->sources[i];
	return most;
}

/* Returns the connection of `source` that is cut first, by stage, then by age, or NULL if
 * `newcomer` is its only one. */
static struct guard_connection *first_to_go(struct guard *guard, const struct source *source,
					    const struct guard_connection *newcomer)
{
	struct guard_connection *first = NULL;
	unsigned int i;

	for (i = 0; i < guard->size; i++) {
		struct guard_connection *at = &guard->connections[i];

		if (at->fd < 0 || at->stage == STAGE_CUT || at->source != source || at == newcomer)
			continue;
		if (!first || at->stage < first->stage ||
		    (at->stage == first->stage && at->since_ns < first->since_ns))
			first = at;
	}
	return first;
}

static struct guard_connection *largest(struct guard *guard, const struct source *source)
{
	struct guard_connection *most = NULL;
	unsigned int i;

	for (i = 0; i < guard->size; i++) {
		struct guard_connection *at = &guard->connections[i];

		if (at->fd >= 0 && at->source == source && (!most || at->bytes > most->bytes))
			most = at;
	}
	return most;
}

static void make_room(struct guard *guard, const struct guard_connection *newcomer)
{
	struct source *source = newcomer->source;
	struct guard_connection *victim = NULL;

	if (source->count <= guard->limits.per_address) {
		if (guard->live <= guard->limits.connections)
			return;
		source = source_with_most_connections(guard);
	}
	victim = first_to_go(guard, source, newcomer);
	if (victim)
		cut(guard, victim, &guard->counts.evicted);
}

/* ---- events ---- */

struct guard_connection *guard_open(struct guard *guard, int fd, const struct sockaddr *address,
				    uint64_t now_ns)
{
	struct guard_connection *connection = NULL;
	unsigned int i;

	pthread_mutex_lock(&guard->lock);
	for (i = 0; i < guard->size && !connection; i++)
		if (guard->connections[i].fd < 0)
			connection = &guard->connections[i];
	if (!connection) {
		guard->limits.cut(fd, SHUT_RDWR);
		guard->counts.evicted++;
	} else {
		*connection = (struct guard_connection){.stage = STAGE_NEW,
							.fd = fd,
							.since_ns = now_ns,
							.source = source_of(guard, address)};
		connection->source->users++;
		connection->source->count++;
		guard->counts.open++;
		guard->live++;
		make_room(guard, connection);
	}
	pthread_mutex_unlock(&guard->lock);
	return connection;
}

void guard_close(struct guard *guard, struct guard_connection *connection)
{
	if (!connection)
		return;
	pthread_mutex_lock(&guard->lock);
	release_bytes(guard, connection);
	if (connection->stage != STAGE_CUT) {
		connection->source->count--;
		guard->live--;
	}
	connection->source->users--;
	connection->fd = -1;
	guard->counts.open--;
	pthread_mutex_unlock(&guard->lock);
}

static void enter(struct guard *guard, struct guard_connection *connection, enum stage stage,
		  uint64_t now_ns)
{
	if (!connection)
		return;
	pthread_mutex_lock(&guard->lock);
	release_bytes(guard, connection);
	if (connection->stage != STAGE_CUT) {
		connection->stage = stage;
		connection->since_ns = now_ns;
	}
	pthread_mutex_unlock(&guard->lock);
}

void guard_begin(struct guard *guard, struct guard_connection *connection, uint64_t now_ns)
{
	enter(guard, connection, STAGE_REQUEST, now_ns);
}

void guard_end(struct guard *guard, struct guard_connection *connection, uint64_t now_ns)
{
	enter(guard, connection, STAGE_IDLE, now_ns);
}

bool guard_reserve(struct guard *guard, struct guard_connection *connection, size_t more)
{
	struct guard_connection *victim;
	bool granted = connection;

	if (!granted)
		return false;
	pthread_mutex_lock(&guard->lock);
	connection->bytes += more;
	connection->source->bytes += more;
	guard->counts.bytes += more;
	if (guard->counts.bytes > guard->limits.bytes) {
		victim = largest(guard, source_with_most_bytes(guard));
		if (victim != connection && victim->stage != STAGE_CUT)
			cut(guard, victim, &guard->counts.evicted);
		/* The cut connection frees its memory only when it closes. Until then, allow a
		 * quarter more, and small requests in any case. */
		granted = victim != connection &&
			  (guard->counts.bytes <= guard->limits.bytes + guard->limits.bytes / 4 ||
			   connection->bytes <= guard->limits.small);
		if (!granted)
			release_bytes(guard, connection);
	}
	pthread_mutex_unlock(&guard->lock);
	return granted;
}

static unsigned int allowed_s(const struct guard_limits *limits, enum stage stage)
{
	return stage == STAGE_NEW	? limits->first_s
	       : stage == STAGE_REQUEST ? limits->request_s
					: limits->idle_s;
}

void guard_sweep(struct guard *guard, uint64_t now_ns)
{
	unsigned int i;

	pthread_mutex_lock(&guard->lock);
	for (i = 0; i < guard->size; i++) {
		struct guard_connection *at = &guard->connections[i];

		if (at->fd >= 0 && at->stage != STAGE_CUT && now_ns > at->since_ns &&
		    now_ns - at->since_ns > allowed_s(&guard->limits, at->stage) * SECOND_NS)
			cut(guard, at, &guard->counts.expired);
	}
	pthread_mutex_unlock(&guard->lock);
}

struct guard_counts guard_counts(struct guard *guard)
{
	struct guard_counts counts;

	pthread_mutex_lock(&guard->lock);
	counts = guard->counts;
	pthread_mutex_unlock(&guard->lock);
	return counts;
}
