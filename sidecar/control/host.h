/* SPDX-License-Identifier: Apache-2.0 */
/* What Linux has counted in this network namespace: facts that depend neither on udplaned nor on
 * what its clients say. */
#ifndef SIDECAR_CONTROL_HOST_H
#define SIDECAR_CONTROL_HOST_H

#include <stdint.h>
#include <stdio.h>
#include <udplane/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Into out[UDPLANE_HOST_COUNTER_CNT], from /proc/net; 0 for what cannot be read. ifname: udplaned's
 * interface, "" for none. */
void host_read(const char *ifname, uint64_t *out);

/* The parts, which add to out: /proc/net/dev, /proc/net/snmp and /proc/net/snmp6. Lines that make
 * no sense are skipped. */
void host_parse_dev(FILE *f, const char *ifname, uint64_t *out);
void host_parse_snmp(FILE *f, uint64_t *out);
void host_parse_snmp6(FILE *f, uint64_t *out);

#ifdef __cplusplus
}
#endif

#endif
