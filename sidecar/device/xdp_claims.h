/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Controls what the XDP program diverts: claims with a reference count each (several sockets may
 * hold the same one), the host's own addresses, the sources that Linux would accept, and whether
 * flows are translated. Writes the program's shared block and hash maps, and keeps a copy of
 * everything to write it into a newly loaded program.
 *
 * Order of changes, which the program sees one by one: the keys to which a port's flag points are
 * added before the flag is set, and removed after it is cleared. Called by the control thread only;
 * nothing here blocks. Inserting and removing claims may allocate.
 */
#ifndef SIDECAR_DEVICE_XDP_CLAIMS_H
#define SIDECAR_DEVICE_XDP_CLAIMS_H

#include <stdbool.h>
#include <stdint.h>

#include "sidecar/device/device.h"
#include "sidecar/device/xdp/udplane_xdp.h"
#include "sidecar/port/key_hash.h"

#ifdef __cplusplus
extern "C" {
#endif

struct xdp_claims {
	/* The program's shared block, set by xdp_claims_use. NULL if no program is loaded. */
	struct xdp_shared *shared;
	int local_fd, addr_fd, conn_fd, source_fd, excluded_fd, member_fd;

	struct key_hash ref; /* reference counts by key, see xdp_claims.c */
	uint32_t ref_max;
	uint64_t secret[KEY_HASH_SECRETS];
	struct xdp_addr local[XDP_LOCAL_MAX];
	uint32_t local_cnt;
	struct device_source source[XDP_SOURCE_MAX];
	uint32_t source_cnt;
	struct device_prefix6 excluded[XDP_EXCLUDED_MAX];
	uint32_t excluded_cnt;
	bool translated;
};

/* claim_max: the largest number of different claims. Returns 0 or -errno. */
int xdp_claims_init(struct xdp_claims *c, uint32_t claim_max);
void xdp_claims_free(struct xdp_claims *c);

/* Writes everything into a program that has just been loaded. shared NULL: no program is loaded
 * from now on. Returns 0 or -errno. */
int xdp_claims_use(struct xdp_claims *c, struct xdp_shared *shared, int local_fd, int addr_fd,
		   int conn_fd, int source_fd, int excluded_fd, int member_fd);

/* Like the functions of these names in device.h. If there are more than XDP_SOURCE_MAX sources, all
 * datagrams of IPv4 are left to the kernel. */
int xdp_claims_insert(struct xdp_claims *c, const struct device_claim *claim);
int xdp_claims_remove(struct xdp_claims *c, const struct device_claim *claim);
int xdp_claims_set_local(struct xdp_claims *c, const uint8_t (*addrs)[16], uint32_t cnt);
int xdp_claims_set_sources(struct xdp_claims *c, const struct device_source *s, uint32_t cnt);
/* Returns -ENOSPC if there are more than XDP_EXCLUDED_MAX prefixes. */
int xdp_claims_set_excluded(struct xdp_claims *c, const struct device_prefix6 *p, uint32_t cnt);
void xdp_claims_set_translated(struct xdp_claims *c, bool on);

#ifdef __cplusplus
}
#endif

#endif
