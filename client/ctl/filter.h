/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filter expressions in the language of tcpdump (pcap-filter(7)), by libpcap. It is loaded when an
 * expression is compiled, since nothing else needs it, and udplanectl also runs as a probe every
 * few seconds.
 */
#ifndef UDPLANE_CLIENT_CTL_FILTER_H
#define UDPLANE_CLIENT_CTL_FILTER_H

#include <stdbool.h>
#include <stdint.h>

#include "include/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

struct filter;

/* Compiles an expression for Ethernet frames. Returns 0, and the caller frees *f; or -errno with
 * `error` set: -EINVAL if the expression is wrong, -ENOPKG if there is no libpcap. */
int filter_compile(struct filter **f, const char *expression, uint32_t snap_len,
		   struct error *error);
/* Returns true if the frame matches. data: captured_len of its len bytes. */
bool filter_match(const struct filter *f, const uint8_t *data, uint32_t captured_len, uint32_t len);
void filter_free(struct filter *f);

#ifdef __cplusplus
}
#endif

#endif
