/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots as JSON. udplanectl(1) documents the names. 64-bit numbers are written exactly. Pure.
 */
#ifndef UDPLANE_CLIENT_CTL_JSON_H
#define UDPLANE_CLIENT_CTL_JSON_H

#include <stdbool.h>

#include "client/ctl/snapshot.h"
#include "client/ctl/verdict.h"
#include "client/ctl/view.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Writes one document and a newline, on a single line if `compact` is true. Returns 0 or
 * -ENOMEM. */
int json_stats(FILE *out, const struct snapshot *s, bool compact);
int json_sockets(FILE *out, const struct snapshot *s);
int json_ports(FILE *out, const struct snapshot *s, const struct port_use *uses, int cnt);
int json_device(FILE *out, const struct snapshot *s);
struct preflight;
int json_preflight(FILE *out, const struct preflight *p);
/* Writes the answer of `udplanectl health`. ok: the exit status is 0. text: the finding. */
int json_health(FILE *out, bool ok, const char *text, const struct health_socket *sockets,
		uint32_t cnt);
int json_verdict(FILE *out, const struct verdict *v);

#ifdef __cplusplus
}
#endif

#endif
