/* SPDX-License-Identifier: Apache-2.0 */
/* Uses only system calls, since udplanectl is not linked with any BPF or netlink library. */
#include <errno.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "include/preflight/af_xdp.h"

#ifndef AF_XDP
#define AF_XDP 44
#endif
#define ANSWER_BYTES   16384 /* buffer for a link, which takes a few KiB with statistics */
#define ANSWER_SECONDS 2

static void copy(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%.*s", (int)size - 1, from);
}

/* --- machine --- */

static uint64_t effective_capabilities(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{0}};

	if (syscall(SYS_capget, &head, data))
		return 0;
	return data[0].effective | (uint64_t)data[1].effective << 32;
}

static void read_machine(struct af_xdp_facts *f, const char *root)
{
	struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
	struct utsname name;
	char path[256];
	int fd;

	if (!uname(&name))
		sscanf(name.release, "%u.%u", &f->kernel_major, &f->kernel_minor);
	snprintf(path, sizeof(path), "%s/sys/kernel/btf/vmlinux", root);
	f->btf = !access(path, R_OK);
	f->caps = effective_capabilities();
	getrlimit(RLIMIT_MEMLOCK, &limit);
	f->memlock = limit.rlim_max == RLIM_INFINITY
			     ? UINT64_MAX
			     : limit.rlim_max; /* udplaned raises the limit as far as it may */
	fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	f->socket_err = fd < 0 ? errno : 0;
	if (fd >= 0)
		close(fd);
}

static int read_rp_filter(const char *root, const char *name)
{
	char path[256], text[8];
	FILE *file;
	int value = -1;

	snprintf(path, sizeof(path), "%s/proc/sys/net/ipv4/conf/%s/rp_filter", root, name);
	file = fopen(path, "re");
	if (file && fgets(text, sizeof(text), file))
		value = atoi(text);
	if (file)
		fclose(file);
	return value;
}

/* --- interface --- */

/* Calls f for each attribute of a block. */
static void attributes(const struct rtattr *a, int len,
		       void (*visit)(struct af_xdp_facts *, const struct rtattr *),
		       struct af_xdp_facts *f)
{
	for (; RTA_OK(a, len); a = RTA_NEXT(a, len))
		visit(f, a);
}

static uint32_t number(const struct rtattr *a)
{
	uint32_t value = 0;

	if (RTA_PAYLOAD(a) >= sizeof(value))
		memcpy(&value, RTA_DATA(a), sizeof(value));
	return value;
}

static void text(const struct rtattr *a, char *out, size_t size)
{
	size_t len = strnlen(RTA_DATA(a), RTA_PAYLOAD(a));

	if (len >= size)
		len = size - 1;
	memcpy(out, RTA_DATA(a), len);
	out[len] = 0;
}

static void visit_info(struct af_xdp_facts *f, const struct rtattr *a)
{
	if (a->rta_type == IFLA_INFO_KIND)
		text(a, f->kind, sizeof(f->kind));
	else if (a->rta_type == IFLA_INFO_SLAVE_KIND)
		text(a, f->master_kind, sizeof(f->master_kind));
}

static void visit_xdp(struct af_xdp_facts *f, const struct rtattr *a)
{
	if (a->rta_type == IFLA_XDP_PROG_ID || a->rta_type == IFLA_XDP_DRV_PROG_ID ||
	    a->rta_type == IFLA_XDP_SKB_PROG_ID || a->rta_type == IFLA_XDP_HW_PROG_ID)
		f->xdp_id = number(a);
}

static void visit_link(struct af_xdp_facts *f, const struct rtattr *a)
{
	switch (a->rta_type & NLA_TYPE_MASK) {
	case IFLA_MTU: f->mtu = number(a); break;
	case IFLA_NUM_RX_QUEUES: f->rx_queues = number(a); break;
	case IFLA_LINK_NETNSID: f->peer_elsewhere = true; break;
	case IFLA_MASTER:
		if (!if_indextoname(number(a), f->master))
			copy(f->master, sizeof(f->master), "another");
		break;
	case IFLA_LINKINFO: attributes(RTA_DATA(a), (int)RTA_PAYLOAD(a), visit_info, f); break;
	case IFLA_XDP: attributes(RTA_DATA(a), (int)RTA_PAYLOAD(a), visit_xdp, f); break;
	}
}

static void take_link(struct af_xdp_facts *f, const struct nlmsghdr *head)
{
	const struct ifinfomsg *link = NLMSG_DATA(head);

	f->exists = true;
	f->ethernet = link->ifi_type == ARPHRD_ETHER;
	f->up = link->ifi_flags & IFF_UP;
	f->running = link->ifi_flags & IFF_RUNNING;
	attributes(IFLA_RTA(link), (int)IFLA_PAYLOAD(head), visit_link, f);
}

static void read_link(struct af_xdp_facts *f, int ifindex)
{
	struct {
		struct nlmsghdr head;
		struct ifinfomsg link;
	} ask = {.head = {.nlmsg_len = sizeof(ask),
			  .nlmsg_type = RTM_GETLINK,
			  .nlmsg_flags = NLM_F_REQUEST},
		 .link = {.ifi_family = AF_UNSPEC, .ifi_index = ifindex}};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	struct timeval wait = {.tv_sec = ANSWER_SECONDS};
	struct nlmsghdr *answer = malloc(ANSWER_BYTES);
	ssize_t len = -1;

	if (fd >= 0 && answer && !setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) &&
	    send(fd, &ask, sizeof(ask), 0) == sizeof(ask))
		len = recv(fd, answer, ANSWER_BYTES, 0);
	if (len > 0 && NLMSG_OK(answer, (size_t)len) && answer->nlmsg_type == RTM_NEWLINK &&
	    answer->nlmsg_len >= NLMSG_LENGTH(sizeof(struct ifinfomsg)))
		take_link(f, answer);
	if (fd >= 0)
		close(fd);
	free(answer);
}

/* Reads the driver's name and the number of queues in use. IFLA_NUM_RX_QUEUES is the number that
 * the driver could have at most. */
static void read_ethtool(struct af_xdp_facts *f)
{
	struct ethtool_drvinfo driver = {.cmd = ETHTOOL_GDRVINFO};
	struct ethtool_channels channels = {.cmd = ETHTOOL_GCHANNELS};
	struct ifreq ifr = {.ifr_data = (void *)&driver};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	copy(ifr.ifr_name, sizeof(ifr.ifr_name), f->interface);
	if (!ioctl(fd, SIOCETHTOOL, &ifr))
		copy(f->driver, sizeof(f->driver), driver.driver);
	ifr.ifr_data = (void *)&channels;
	if (!ioctl(fd, SIOCETHTOOL, &ifr) && channels.combined_count + channels.rx_count)
		f->rx_queues = channels.combined_count + channels.rx_count;
	if (fd >= 0)
		close(fd);
}

/* --- BPF --- */

static int bpf(int command, union bpf_attr *attr, size_t size)
{
	return (int)syscall(SYS_bpf, command, attr, size);
}

static void read_program_name(struct af_xdp_facts *f)
{
	struct bpf_prog_info info = {0};
	union bpf_attr attr = {.prog_id = f->xdp_id};
	int fd = bpf(BPF_PROG_GET_FD_BY_ID, &attr, sizeof(attr));

	if (fd < 0)
		return;
	memset(&attr, 0, sizeof(attr));
	attr.info.bpf_fd = (uint32_t)fd;
	attr.info.info_len = sizeof(info);
	attr.info.info = (uint64_t)(uintptr_t)&info;
	if (!bpf(BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr)))
		copy(f->xdp_name, sizeof(f->xdp_name), info.name);
	close(fd);
}

/* Loads a program that returns XDP_PASS for every frame. frags: it supports frames of several
 * buffers. Returns a descriptor or -errno. */
static int load_pass(bool frags)
{
	struct bpf_insn pass[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS},
		{.code = BPF_JMP | BPF_EXIT},
	};
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_XDP,
		.insn_cnt = sizeof(pass) / sizeof(pass[0]),
		.insns = (uint64_t)(uintptr_t)pass,
		.license = (uint64_t)(uintptr_t) "GPL",
		.prog_flags = frags ? BPF_F_XDP_HAS_FRAGS : 0,
		.prog_name = "udplane_try",
	};
	int fd = bpf(BPF_PROG_LOAD, &attr, sizeof(attr));

	return fd < 0 ? -errno : fd;
}

/* Attaches a program and detaches it again, by closing the descriptor of its link. Returns 0 or
 * -errno. */
static int attach_once(int program, int ifindex, uint32_t flags)
{
	union bpf_attr attr = {.link_create = {.prog_fd = (uint32_t)program,
					       .target_ifindex = (uint32_t)ifindex,
					       .attach_type = BPF_XDP,
					       .flags = flags}};
	int link = bpf(BPF_LINK_CREATE, &attr, sizeof(attr)), err = errno;

	if (link < 0)
		return -err;
	close(link);
	return 0;
}

static void try_attach(struct af_xdp_facts *f, int ifindex)
{
	int program = load_pass(true), ret = program;

	f->try_ = AF_XDP_TRY_NONE;
	if (program < 0)
		program = ret = load_pass(false);
	if (program >= 0)
		ret = attach_once(program, ifindex, XDP_FLAGS_DRV_MODE);
	if (!ret) {
		f->try_ = AF_XDP_TRY_NATIVE;
	} else {
		f->try_err = -ret;
		if (program >= 0)
			ret = attach_once(program, ifindex, XDP_FLAGS_SKB_MODE);
		if (!ret)
			f->try_ = AF_XDP_TRY_GENERIC;
		else
			f->try_err = -ret;
	}
	if (program >= 0)
		close(program);
}

/* Returns true for a software device. The driver of hardware or of a hypervisor's device may take
 * the link down or stop its queues for a moment. */
static bool is_harmless(const struct af_xdp_facts *f)
{
	return f->kind[0];
}

void af_xdp_facts_read(struct af_xdp_facts *f, const char *interface, const char *root, bool attach)
{
	int ifindex = (int)if_nametoindex(interface), all, own;

	memset(f, 0, sizeof(*f));
	root = root ? root : "";
	copy(f->interface, sizeof(f->interface), interface);
	f->rp_filter = -1;
	read_machine(f, root);
	if (!ifindex)
		return;
	read_link(f, ifindex);
	if (!f->exists)
		return;
	read_ethtool(f);
	all = read_rp_filter(root, "all");
	own = read_rp_filter(root, interface);
	f->rp_filter = all > own ? all : own;
	if (f->xdp_id)
		read_program_name(f);
	else if (f->ethernet && f->up && (attach || is_harmless(f)))
		try_attach(f, ifindex);
}
