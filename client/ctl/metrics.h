/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots in the text format of Prometheus (0.0.4). Pure.
 *
 * The names come from the counter tables in include/udplane. These tables are only appended to, so
 * the names do not change: udplane_device_*, udplane_worker_* {worker}, udplane_socket_* {id,
 * address, port, comm}, udplane_control_*, udplane_refused_total {reason}. A counter's name ends in
 * _total. An entry whose help starts with "gauge: " becomes a gauge. A socket's series ends when
 * the socket is closed.
 */
#ifndef UDPLANE_CLIENT_CTL_METRICS_H
#define UDPLANE_CLIENT_CTL_METRICS_H

#include <stdio.h>

#include "client/ctl/snapshot.h"

#ifdef __cplusplus
extern "C" {
#endif

void metrics_print(FILE *out, const struct snapshot *s);
/* Prints the metrics that exist while no udplaned answers. */
void metrics_print_down(FILE *out);

#ifdef __cplusplus
}
#endif

#endif
