/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BPF programs that are attached to control groups and devices. A socket belongs to the group that
 * its process was in when it made the socket; here the client's group at the time of the claim is
 * taken for it. BPF_PROG_QUERY needs CAP_NET_ADMIN.
 */
#include "sidecar/environment/cgroup.h"

#include "sidecar/environment/environment.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TCX_INGRESS 46 /* BPF_TCX_INGRESS, Linux 6.6 */
#define TCX_EGRESS  47
#define PATH	    4096

static uint32_t count_programs(int target, uint32_t type, uint32_t flags)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.query.target_fd = (uint32_t)target; /* a device's index is in the same field */
	a.query.attach_type = type;
	a.query.query_flags = flags;
	/* Given no room for them, the kernel returns how many programs there are. EINVAL means that
	 * it does not know that kind. If it is not permitted, there may be some. */
	if (syscall(__NR_bpf, BPF_PROG_QUERY, &a, sizeof(a)) && errno != ENOSPC)
		return errno == EPERM;
	return a.query.prog_cnt;
}

uint32_t cgroup_tcx_programs(int ifindex)
{
	return (count_programs(ifindex, TCX_INGRESS, 0) & 0xffff) |
	       count_programs(ifindex, TCX_EGRESS, 0) << 16;
}

/* Makes a private mount of cgroup2, for a /sys/fs/cgroup that has none, as under `ip netns exec`.
 * Needs CAP_SYS_ADMIN. */
static int mount_privately(void)
{
	int fs = (int)syscall(__NR_fsopen, "cgroup2", 1 /* FSOPEN_CLOEXEC */), fd = -1;

	if (fs < 0)
		return -1;
	if (!syscall(__NR_fsconfig, fs, 6 /* FSCONFIG_CMD_CREATE */, NULL, NULL, 0))
		fd = (int)syscall(__NR_fsmount, fs, 1 /* FSMOUNT_CLOEXEC */, 0);
	close(fs);
	return fd;
}

/* The root of cgroup2 as we see it; on hybrid machines it is not at the usual place. */
int environment_cgroup_top(void)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char line[2 * PATH], path[PATH];
	int fd = -1;

	while (f && fd < 0 && fgets(line, sizeof(line), f))
		if (strstr(line, " - cgroup2 ") && sscanf(line, "%*s %*s %*s / %4095s", path) == 1)
			fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (f)
		fclose(f);
	return fd >= 0 ? fd : mount_privately();
}

static int open_group(int top, const char *proc)
{
	FILE *f = fopen(proc, "re");
	char line[PATH];
	int fd = -1;

	while (f && fd < 0 && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		if (strncmp(line, "0::/", 4) ||
		    strstr(line, "/..")) /* outside our cgroup namespace */
			continue;
		fd = openat(top, line[4] ? line + 4 : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (f)
		fclose(f);
	return fd;
}

int environment_cgroup_open(int top, int pid)
{
	char proc[64];
	int fd = -1;

	if (top < 0)
		return -1;
	snprintf(proc, sizeof(proc), "/proc/%d/cgroup", pid);
	if (pid > 0)
		fd = open_group(top, proc);
	if (fd < 0)
		fd = open_group(top, "/proc/self/cgroup");
	return fd >= 0 ? fd : fcntl(top, F_DUPFD_CLOEXEC, 0);
}

uint32_t cgroup_programs(int cgroup_fd)
{
	static const struct {
		uint32_t type, bit;
	} types[] = {
		{BPF_CGROUP_UDP4_SENDMSG, JUDGE_SEND4},
		{BPF_CGROUP_UDP6_SENDMSG, JUDGE_SEND6},
		{BPF_CGROUP_UDP4_RECVMSG, JUDGE_RECV4},
		{BPF_CGROUP_UDP6_RECVMSG, JUDGE_RECV6},
		{BPF_CGROUP_INET4_CONNECT, JUDGE_CONNECT4},
		{BPF_CGROUP_INET6_CONNECT, JUDGE_CONNECT6},
		{BPF_CGROUP_INET4_GETPEERNAME, JUDGE_PEER4},
		{BPF_CGROUP_INET6_GETPEERNAME, JUDGE_PEER6},
		{BPF_CGROUP_INET_INGRESS, JUDGE_SKB_IN},
		{BPF_CGROUP_INET_EGRESS, JUDGE_SKB_OUT},
	};
	uint32_t bits = 0;

	for (uint32_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (count_programs(cgroup_fd, types[i].type, BPF_F_QUERY_EFFECTIVE))
			bits |= types[i].bit;
	return bits;
}
