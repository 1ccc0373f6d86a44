/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The UDP services that IPVS balances in this namespace, as /proc/net/ip_vs lists them. IPVS
 * translates without marking the entries of connection tracking, so the XDP program cannot
 * distinguish its flows from others. For a service that is selected by firewall mark only the
 * servers are known; the rule that sets the mark is found among netfilter's rules.
 */
#ifndef SIDECAR_ENVIRONMENT_IPVS_H
#define SIDECAR_ENVIRONMENT_IPVS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A service's virtual address, or the address of one of its (real) servers. */
struct ipvs_end {
	uint8_t addr[16]; /* IPv4 in the first four bytes */
	uint8_t family;
	bool server;
	uint16_t port_be; /* a service's port may be 0, for all ports */
};

struct ipvs {
	struct ipvs_end *end;
	uint32_t end_cnt, room;
};

/* Replaces *v by what f lists. f is NULL if there is no IPVS. Returns 0; or -EPROTO if a line is
 * not understood, -EIO or -ENOMEM, and then *v is empty. */
int ipvs_read(struct ipvs *v, FILE *f);
bool ipvs_equal(const struct ipvs *a, const struct ipvs *b);
void ipvs_free(struct ipvs *v);

#ifdef __cplusplus
}
#endif

#endif
