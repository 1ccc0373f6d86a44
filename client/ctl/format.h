/* SPDX-License-Identifier: Apache-2.0 */
/* Values as text, for people and for JSON. Pure. Unless noted otherwise, a function writes the text
 * to `out` and returns `out`. */
#ifndef UDPLANE_CLIENT_CTL_FORMAT_H
#define UDPLANE_CLIENT_CTL_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#include "udplane/abi.h"

#ifdef __cplusplus
extern "C" {
#endif

#define FORMAT_ADDR_SIZE  64
#define FORMAT_SIZE	  32
#define FORMAT_PORTS_SIZE (6 * 32768) /* bytes; enough for the longest list, every second port */

/* "10.0.0.1:5060", "[fe80::1%3]:5060"; "*:5060" for the wildcard addresses; "-" for no address */
char *format_addr(char out[FORMAT_ADDR_SIZE], const struct udplane_addr *a);
/* The address without the port: "10.0.0.1", "fe80::1%3", "0.0.0.0"; "" for no address */
char *format_host(char out[FORMAT_ADDR_SIZE], const struct udplane_addr *a);
/* "10.0.0.0/24" */
char *format_prefix(char out[FORMAT_ADDR_SIZE], const struct udplane_prefix *p);
/* "1d 02h 03m", "2h 03m 04s", "3m 04s", "4s" */
char *format_duration(char out[FORMAT_SIZE], uint64_t ns);
/* "32.0 MiB", "0 B" */
char *format_bytes(char out[FORMAT_SIZE], uint64_t bytes);
/* A rate with three or four digits: "0", "12.5", "999", "1.25k", "3.91M" */
char *format_rate(char out[FORMAT_SIZE], double per_second);
/* "97.5 %" */
char *format_share(char out[FORMAT_SIZE], double share);

/* Writes the ports of a bitmap of 8192 bytes as "5060,10000-10099" to `out`, which has
 * FORMAT_PORTS_SIZE bytes. Returns the number of ports. */
uint32_t format_ports(char *out, const uint8_t *bitmap);
/* Cuts that text at the end of an item and appends ",...", so that it has at most `width`
 * characters. */
void format_cut_ports(char *ports, size_t width);

#ifdef __cplusplus
}
#endif

#endif
