/* SPDX-License-Identifier: Apache-2.0 */
/* What happened, as text that is the same whenever the same happened: ephemeral ports are named in
 * the order in which they appear. One thread; the state is static: a process has one trace. */
#ifndef TESTS_ORACLE_TRACE_H
#define TESTS_ORACLE_TRACE_H

#include "tests/oracle/peer.h"
#include <stdbool.h>
#include <stddef.h>

/* Ports that the kernel gives out (net.ipv4.ip_local_port_range) are from here on. */
#define EPHEMERAL_FIRST 20000

void trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Writes nothing until it is switched on again. */
void trace_off(bool off);
/* Begins a new trace. */
void trace_reset(void);
/* Hands what was written to the reader. */
void trace_flush(void);

/* The name of a port, valid until the next call but three. */
const char *trace_port(int port);
/* a: what a call has written into room bytes, of which it says that they are len. */
void trace_address(const union address *a, size_t room, long len);
void trace_hex(const void *data, size_t len);

#endif
