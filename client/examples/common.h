/* SPDX-License-Identifier: Apache-2.0 */
/* What the examples share and what has nothing to do with udplane: addresses, numbers, time. */
#ifndef UDPLANE_CLIENT_EXAMPLES_COMMON_H
#define UDPLANE_CLIENT_EXAMPLES_COMMON_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "udplane/udplane.h"

/* Any of the two kinds of address, and how much of it counts. */
struct address {
	struct sockaddr_storage sa;
	socklen_t len;
};

/* --kernel: plain kernel sockets, for comparison. */
extern bool use_kernel;

/* The call of that name, udplane's or the kernel's: CALL(send, fd, buf, len, 0). */
#define CALL(name, ...) (use_kernel ? name(__VA_ARGS__) : udplane_##name(__VA_ARGS__))

/* A message on stderr and exit 1; with errno's text if `error` is not 0. */
void die(int error, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));

/* "10.0.0.1:5060", "[2001:db8::1]:5060", "[fe80::1%eth0]:5060". Exits with status 2 if it is none.
 */
struct address parse_address(const char *option, const char *text);
/* A whole number in min..max, or exit 2. */
uint64_t parse_number(const char *option, const char *text, uint64_t min, uint64_t max);
/* Seconds, fractions allowed, as nanoseconds; or exit 2. */
uint64_t parse_seconds(const char *option, const char *text);
/* "5060" or "5060-5099", or exit 2. */
void parse_ports(const char *option, const char *text, uint16_t *low, uint16_t *high);

const char *format_address(const struct address *a, char out[80]);
void set_port(struct address *a, uint16_t port);
uint16_t get_port(const struct address *a);
/* The same address as the burst calls take it. */
struct udplane_addr to_peer(const struct address *a);

uint64_t now_ns(void);
void sleep_until(uint64_t ns);

/* Set by SIGINT and SIGTERM, which also interrupt blocking calls. */
extern volatile sig_atomic_t stop;
void catch_signals(void);

/* Each socket of udplane needs a few descriptors: takes as many as this process may have. */
void raise_descriptor_limit(void);

/* Sorts, and returns the value below which `share` (0 to 1) of them are. 0 if cnt is 0. */
uint64_t quantile(uint64_t *values, size_t cnt, double share);

#endif
