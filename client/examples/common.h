/* SPDX-License-Identifier: Apache-2.0 */
/* What the examples share and what is independent of udplane: addresses, numbers, time. */
#ifndef UDPLANE_CLIENT_EXAMPLES_COMMON_H
#define UDPLANE_CLIENT_EXAMPLES_COMMON_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "udplane/udplane.h"

/* An IPv4 or IPv6 address, and its length in bytes. */
struct address {
	struct sockaddr_storage sa;
	socklen_t len;
};

/* Set by --kernel: use plain kernel sockets, for comparison. */
extern bool use_kernel;

/* Makes the call of that name, udplane's or the kernel's. Example: CALL(send, fd, buf, len, 0). */
#define CALL(name, ...) (use_kernel ? name(__VA_ARGS__) : udplane_##name(__VA_ARGS__))

/* Prints a message on stderr and exits with status 1. error: an errno whose text is added to the
 * message, or 0. */
void die(int error, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));

/* The functions below convert an option's text. If it is wrong, they name the option and what is
 * allowed on stderr, and exit with status 2. */

/* "10.0.0.1:5060", "[2001:db8::1]:5060" or "[fe80::1%eth0]:5060" */
struct address parse_address(const char *option, const char *text);
/* a whole number in min..max */
uint64_t parse_number(const char *option, const char *text, uint64_t min, uint64_t max);
/* seconds, fractions allowed; returns nanoseconds */
uint64_t parse_seconds(const char *option, const char *text);
/* "5060" or "5060-5099" */
void parse_ports(const char *option, const char *text, uint16_t *low, uint16_t *high);

const char *format_address(const struct address *a, char out[80]);
void set_port(struct address *a, uint16_t port);
uint16_t get_port(const struct address *a);
/* Converts the address to the form that the burst calls take. */
struct udplane_addr to_peer(const struct address *a);

uint64_t now_ns(void);
void sleep_until(uint64_t ns);

/* Set by SIGINT and SIGTERM, which also interrupt blocking calls. */
extern volatile sig_atomic_t stop;
void catch_signals(void);

/* Raises the limit of descriptors as far as this process may, since each udplane socket needs a
 * few. */
void raise_descriptor_limit(void);

/* Sorts the values and returns the one below which `share` (0 to 1) of them lie, or 0 if cnt is
 * 0. */
uint64_t quantile(uint64_t *values, size_t cnt, double share);

#endif
