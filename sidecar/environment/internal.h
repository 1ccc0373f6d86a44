/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SIDECAR_ENVIRONMENT_INTERNAL_H
#define SIDECAR_ENVIRONMENT_INTERNAL_H

#include "sidecar/environment/environment.h"

/* cgroup.c: programs of the tcx kind on a device: at ingress | at egress << 16 */
uint32_t cgroup_tcx_programs(int ifindex);

/* environment.c */
bool environment_trusts(const struct environment *e, enum judge_kind kind);

#endif
