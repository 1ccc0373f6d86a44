/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings of this network namespace that affect datagrams and that rtnetlink does not carry. They
 * are read from /proc/sys/net. Control thread only.
 */
#ifndef SIDECAR_ROUTE_ROUTE_SYSCTL_H
#define SIDECAR_ROUTE_ROUTE_SYSCTL_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct route_sysctl {
	uint8_t ttl4; /* net.ipv4.ip_default_ttl */
	/* the maximum of net.ipv4.conf.{all,IFNAME}.rp_filter, as Linux computes it */
	uint8_t rp_filter;
};

/* Reads the settings for interface ifname. root: "/proc/sys/net", or a test's directory. A setting
 * that cannot be read keeps its value; an rp_filter that was never read is 1, the strictest.
 * Returns true if something changed. */
bool route_sysctl_read(struct route_sysctl *s, const char *root, const char *ifname);

#ifdef __cplusplus
}
#endif

#endif
