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

/* Flows outlive their service and server: IPVS goes on translating them until they have been idle
 * for its timeout (300 s for UDP unless changed by ipvsadm --set). */
#define IPVS_LINGER_NS 300000000000ull

/* A service's virtual address, or the address of one of its (real) servers. */
struct ipvs_end {
	uint8_t family;
	bool server;
	uint16_t port_be; /* a service's port may be 0, for all ports */
	uint8_t addr[16]; /* IPv4 in the first four bytes */
	uint64_t seen_ns; /* time of the last reading that listed it */
};

struct ipvs {
	struct ipvs_end *end; /* sorted, each once */
	uint32_t end_cnt, room;
};

/* Adds what f lists to *v, and removes what no reading has listed for IPVS_LINGER_NS. So an entry
 * that one reading misses, because the kernel's list changed while it was read, stays. f is NULL if
 * there is no IPVS. now_ns: time on any clock that does not go back. *changed: true if *v has other
 * ends than before. Returns 0; or -EPROTO if a line is not understood, -EIO or -ENOMEM, and then *v
 * is what it was. */
int ipvs_read(struct ipvs *v, FILE *f, uint64_t now_ns, bool *changed);
void ipvs_free(struct ipvs *v);

#ifdef __cplusplus
}
#endif

#endif
