/* SPDX-License-Identifier: Apache-2.0 */
/* Private to sidecar/environment: BPF programs that hang on control groups and devices. */
#ifndef SIDECAR_ENVIRONMENT_CGROUP_H
#define SIDECAR_ENVIRONMENT_CGROUP_H

#include <stdint.h>

/* Returns the number of programs of the tcx kind on a device: at ingress | at egress << 16. */
uint32_t cgroup_tcx_programs(int ifindex);
/* Returns JUDGE_SEND4 ... of the programs that act in the group, its ancestors' included. */
uint32_t cgroup_programs(int cgroup_fd);

#endif
