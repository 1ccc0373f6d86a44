/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gives up what a process of udplaned no longer needs, so that an attacker who takes the process
 * over gets less.
 *
 * System calls that are not on the list of the process fail with EPERM, and the first call of each
 * number is logged. They do not kill the process: a call that was forgotten here should cost one
 * function at worst, and be visible.
 */
#ifndef SIDECAR_CONFINE_CONFINE_H
#define SIDECAR_CONFINE_CONFINE_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

enum confine_process {
	CONFINE_KEEPER, /* sidecar/keeper */
	/* control thread and workers: system calls of a daemon, and bpf() for their maps */
	CONFINE_AF_XDP,
	CONFINE_OTHER, /* as above, but only BPF_PROG_QUERY of bpf() */
};

/* Limits all threads for good. Returns 0; or -errno, and nothing has changed. */
int confine_syscalls(enum confine_process process);

/* The caller gives up all capabilities. It must be the only thread, or the one that makes the
 * others. Returns 0 or -errno. */
int confine_no_capabilities(void);

/*
 * The calling thread gives up the capabilities for loading programs (BPF, PERFMON), and what root
 * has beyond the documented ones. vfio: keep SYS_ADMIN and SYS_RAWIO, which a device may need. BPF
 * stays on kernels that otherwise do not let a process use a map that it holds (before 5.19, with
 * kernel.unprivileged_bpf_disabled); then *bpf_stays is true. Returns 0 or -errno.
 */
int confine_capabilities(bool vfio, bool *bpf_stays);

#ifdef __cplusplus
}
#endif

#endif
