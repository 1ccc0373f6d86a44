/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process of udplaned's gives away when it needs it no more, so that whoever takes it over
 * gets less.
 *
 * System calls that are not on the list of the process fail with EPERM, and the first of each
 * number is logged. They do not kill: what was forgotten here shall cost a function at worst, and
 * be seen.
 */
#ifndef SIDECAR_CONFINE_CONFINE_H
#define SIDECAR_CONFINE_CONFINE_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

enum confine_process {
	CONFINE_KEEPER, /* sidecar/keeper */
	/* control thread and workers: system calls of a daemon, and bpf() for its maps */
	CONFINE_AF_XDP,
	CONFINE_OTHER, /* as above, but of bpf() only BPF_PROG_QUERY */
};

/* All threads, for good. 0 or -errno: nothing has changed. */
int confine_syscalls(enum confine_process process);

/* The caller, which must be the only thread or the one that makes the others, keeps no capability.
 * 0 or -errno. */
int confine_no_capabilities(void);

/*
 * Of the calling thread: the capabilities that loading programs takes (BPF, PERFMON), and what root
 * has beyond the documented ones. vfio: a device may need SYS_ADMIN and SYS_RAWIO. BPF stays on
 * kernels that do not let others use a map that they have (before 5.19, with
 * kernel.unprivileged_bpf_disabled); *bpf_stays says so. 0 or -errno.
 */
int confine_capabilities(bool vfio, bool *bpf_stays);

#ifdef __cplusplus
}
#endif

#endif
