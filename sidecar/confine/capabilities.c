/* SPDX-License-Identifier: Apache-2.0 */
/* Drops the capabilities that a process no longer needs. */
#include "sidecar/confine/confine.h"
#include <errno.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef CAP_BPF
#define CAP_BPF 39 /* Linux 5.8 */
#endif

#define BIT(cap) (1ull << (cap))

/* For routes and links; raw sockets; pinned memory; priorities; RLIMITs, and descriptors in
 * messages beyond them; other users' files. */
#define KEPT                                                                             \
	(BIT(CAP_NET_ADMIN) | BIT(CAP_NET_RAW) | BIT(CAP_IPC_LOCK) | BIT(CAP_SYS_NICE) | \
	 BIT(CAP_SYS_RESOURCE) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_CHOWN) | BIT(CAP_FOWNER))

static int get_set(uint64_t *permitted, struct __user_cap_data_struct data[2])
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};

	if (syscall(SYS_capget, &head, data))
		return -errno;
	*permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
	return 0;
}

static int set_both(uint64_t effective, uint64_t permitted)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {
		{.effective = (uint32_t)effective, .permitted = (uint32_t)permitted},
		{.effective = (uint32_t)(effective >> 32),
		 .permitted = (uint32_t)(permitted >> 32)},
	};

	return syscall(SYS_capset, &head, data) ? -errno : 0;
}

int confine_no_capabilities(void)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	return set_both(0, 0);
}

/* The kernel checks the permission (EPERM) before the arguments. */
static bool maps_need_bpf(void)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = ~0u;
	return syscall(SYS_bpf, BPF_MAP_LOOKUP_ELEM, &attr, sizeof(attr)) && errno == EPERM;
}

int confine_capabilities(bool vfio, bool *bpf_stays)
{
	struct __user_cap_data_struct data[2];
	uint64_t had = 0, keep;
	int err = get_set(&had, data);

	*bpf_stays = false;
	if (err)
		return err;
	keep = had & (KEPT | (vfio ? BIT(CAP_SYS_ADMIN) | BIT(CAP_SYS_RAWIO) : 0));
	err = set_both(keep, had); /* only to try it */
	if (err)
		return err;
	if (!vfio && maps_need_bpf()) {
		keep |= had & BIT(CAP_BPF);
		*bpf_stays = true;
	}
	return set_both(keep, keep);
}
