/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots in the text format of Prometheus (0.0.4). Pure.
 *
 * Names are made of the counter tables in include/udplane, to which one only appends, so they stay:
 * udplane_device_*, udplane_worker_* {worker}, udplane_socket_* {id, address, port, comm},
 * udplane_control_*, udplane_refused_total {reason}. A counter's name ends in _total; one whose
 * help starts with "gauge: " is a gauge. A socket's series ends with the socket.
 */
#ifndef UDPLANE_CLIENT_CTL_METRICS_H
#define UDPLANE_CLIENT_CTL_METRICS_H

#include <stdio.h>

#include "client/ctl/snapshot.h"

#ifdef __cplusplus
extern "C" {
#endif

void metrics_print(FILE *out, const struct snapshot *s);
/* What there is to say while no udplaned answers. */
void metrics_print_down(FILE *out);

#ifdef __cplusplus
}
#endif

#endif
