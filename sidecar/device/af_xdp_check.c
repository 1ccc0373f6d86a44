/* SPDX-License-Identifier: Apache-2.0 */
/* Checks what may prevent AF_XDP, and explains it to the user: permissions, kernel, other programs,
 * limits. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "sidecar/device/af_xdp_internal.h"

#ifndef AF_XDP
#define AF_XDP 44
#endif
/* When a program's owner is killed, its link is gone within 50 ms (docs/measurements.md). */
#define OTHER_WAIT_MS 500

static bool has_cap(const struct __user_cap_data_struct *data, int cap)
{
	return data[cap / 32].effective >> (cap % 32) & 1;
}

int af_xdp_check_permission(struct error *error)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];
	char missing[80] = "";
	bool admin;

	if (syscall(SYS_capget, &head, data))
		return 0; /* the calls that need the capabilities report it then */
	/* CAP_SYS_ADMIN includes CAP_BPF and CAP_PERFMON, and was needed in their place before
	 * Linux 5.8. */
	admin = has_cap(data, CAP_SYS_ADMIN);
	if (!has_cap(data, CAP_NET_ADMIN))
		strcat(missing, " CAP_NET_ADMIN");
	if (!has_cap(data, CAP_NET_RAW))
		strcat(missing, " CAP_NET_RAW");
	if (!has_cap(data, CAP_BPF) && !admin)
		strcat(missing, " CAP_BPF");
	/* Without CAP_PERFMON the verifier does not allow the program to subtract packet pointers,
	 * and slows it down with mitigations against speculative execution. */
	if (!has_cap(data, CAP_PERFMON) && !admin)
		strcat(missing, " CAP_PERFMON");
	if (!missing[0])
		return 0;
	return error_set(error, -EPERM,
			 "no permission for AF_XDP: missing%s; add to the container's "
			 "securityContext.capabilities, or run as root",
			 missing);
}

int af_xdp_check_kernel(struct error *error)
{
	int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0), err = errno;

	if (fd >= 0) {
		close(fd);
		return 0;
	}
	if (err == EAFNOSUPPORT)
		return error_set(
			error, -err,
			"this kernel has no AF_XDP (CONFIG_XDP_SOCKETS): use Linux 5.10 or later "
			"built with it, or backend kernel");
	return error_set(error, -err, "AF_XDP socket: %s", strerror(err));
}

static void sleep_ms(uint32_t ms)
{
	struct timespec t = {.tv_nsec = ms * 1000000L};

	nanosleep(&t, NULL);
}

static uint32_t other_program(int ifindex)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, q);

	if (bpf_xdp_query(ifindex, 0, &q))
		return 0;
	return q.prog_id ?: q.drv_prog_id ?: q.skb_prog_id ?: q.hw_prog_id;
}

int af_xdp_check_other(const struct netif *netif, struct error *error)
{
	for (uint32_t ms = 0; other_program(netif->ifindex) && ms < OTHER_WAIT_MS; ms += 5)
		sleep_ms(5);
	return af_xdp_name_other(netif, error);
}

int af_xdp_name_other(const struct netif *netif, struct error *error)
{
	struct bpf_prog_info info = {0};
	uint32_t id = other_program(netif->ifindex), len = sizeof(info);
	int fd;

	if (!id)
		return 0;
	fd = bpf_prog_get_fd_by_id(id);
	if (fd >= 0) {
		bpf_obj_get_info_by_fd(fd, &info, &len);
		close(fd);
	}
	return error_set(
		error, -EBUSY,
		"XDP program %u%s%s%s is attached to %s already; end its owner, or `ip link set "
		"dev %s xdp off`",
		id, info.name[0] ? " (" : "", info.name, info.name[0] ? ")" : "", netif->name,
		netif->name);
}

void af_xdp_raise_memlock(size_t len)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_MEMLOCK, &r) || r.rlim_cur == RLIM_INFINITY)
		return;
	if (r.rlim_cur >= 2 * len)
		return;
	if (!setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY}))
		return;
	r.rlim_cur = r.rlim_max;
	/* If this is too little, CAP_IPC_LOCK may make it unnecessary; if not, binding fails with
	 * an explanation. */
	setrlimit(RLIMIT_MEMLOCK, &r);
}

int af_xdp_explain_bind(int err, size_t len, struct error *error)
{
	struct rlimit r = {0};

	if (err == -EBUSY)
		return error_set(
			error, err,
			"another AF_XDP socket holds one of its queues; end its owner (`ss --xdp "
			"-p`)");
	if (err != -ENOBUFS && err != -ENOMEM)
		return error_set(error, err, "%s", strerror(-err));
	getrlimit(RLIMIT_MEMLOCK, &r);
	return error_set(error, err,
			 "locked-memory limit of %llu KiB is too low for %zu KiB of frames: raise "
			 "RLIMIT_MEMLOCK (ulimit -l), or add CAP_IPC_LOCK",
			 (unsigned long long)r.rlim_cur / 1024, len / 1024);
}
