/* SPDX-License-Identifier: Apache-2.0 */
#include "include/preflight/af_xdp.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>

/* Up to this MTU in bytes, veth and most drivers attach a program that does not support frames of
 * several buffers. */
#define MTU_ONE_PAGE	3506
#define FRAME_BYTES	1792 /* of the default frame_size, 2 KiB, without the headroom */
#define QUEUES_MAX	64   /* XDP_QUEUES of the sidecar */
#define ETHERNET_HEADER 14

struct word {
	const char *name, *text;
};

static bool kernel_is(const struct af_xdp_facts *f, unsigned int major, unsigned int minor)
{
	return f->kernel_major > major || (f->kernel_major == major && f->kernel_minor >= minor);
}

static void judge_kernel(struct preflight *p, const struct af_xdp_facts *f)
{
	unsigned int a = f->kernel_major, b = f->kernel_minor;

	if (!kernel_is(f, 5, 14))
		preflight_add(p, "kernel", PREFLIGHT_BAD,
			      "Linux %u.%u: use 5.14 or later, or backend kernel", a, b);
	else if (!kernel_is(f, 5, 15))
		preflight_add(p, "kernel", PREFLIGHT_WARN,
			      "Linux %u.%u: BPF timers, which give the port back to the kernel "
			      "when udplaned hangs, came with 5.15",
			      a, b);
	else if (!kernel_is(f, 5, 18))
		preflight_add(p, "kernel", PREFLIGHT_OK,
			      "Linux %u.%u; from 5.18 on an MTU above %d is possible", a, b,
			      MTU_ONE_PAGE);
	else
		preflight_add(p, "kernel", PREFLIGHT_OK, "Linux %u.%u", a, b);
	if (f->btf)
		preflight_add(p, "btf", PREFLIGHT_OK, "/sys/kernel/btf/vmlinux is there");
	else
		preflight_add(p, "btf", PREFLIGHT_WARN,
			      "there is no /sys/kernel/btf/vmlinux (CONFIG_DEBUG_INFO_BTF, or /sys "
			      "is not mounted): udplaned's program may not load");
	if (!f->socket_err)
		preflight_add(p, "af_xdp", PREFLIGHT_OK, "the kernel has AF_XDP sockets");
	else if (f->socket_err == EAFNOSUPPORT)
		preflight_add(p, "af_xdp", PREFLIGHT_BAD,
			      "this kernel has no AF_XDP: it must be built with "
			      "CONFIG_XDP_SOCKETS; or use backend kernel");
	else
		preflight_add(p, "af_xdp", PREFLIGHT_BAD,
			      "cannot open an AF_XDP socket: %s; check the seccomp profile, and "
			      "that CAP_NET_RAW is there",
			      strerror(f->socket_err));
}

static bool has_cap(const struct af_xdp_facts *f, int cap)
{
	return f->caps >> cap & 1;
}

static void judge_capabilities(struct preflight *p, const struct af_xdp_facts *f, uint64_t bytes)
{
	bool admin = has_cap(f, CAP_SYS_ADMIN); /* includes BPF and PERFMON; see af_xdp_check.c */
	char missing[80];

	snprintf(missing, sizeof(missing), "%s%s%s%s",
		 has_cap(f, CAP_NET_ADMIN) ? "" : " CAP_NET_ADMIN",
		 has_cap(f, CAP_NET_RAW) ? "" : " CAP_NET_RAW",
		 has_cap(f, CAP_BPF) || admin ? "" : " CAP_BPF",
		 has_cap(f, CAP_PERFMON) || admin ? "" : " CAP_PERFMON");
	if (missing[0])
		preflight_add(p, "capabilities", PREFLIGHT_BAD,
			      "missing:%s; add to the container's securityContext.capabilities, or "
			      "run as root",
			      missing);
	else
		preflight_add(p, "capabilities", PREFLIGHT_OK,
			      "NET_ADMIN, NET_RAW, BPF and PERFMON");
	if (has_cap(f, CAP_IPC_LOCK))
		preflight_add(p, "memlock", PREFLIGHT_OK, "CAP_IPC_LOCK: no limit applies");
	else if (f->memlock >= 2 * bytes)
		preflight_add(p, "memlock", PREFLIGHT_OK, "RLIMIT_MEMLOCK is high enough");
	else
		preflight_add(p, "memlock", PREFLIGHT_BAD,
			      "RLIMIT_MEMLOCK is %llu KiB, and packet memory is locked: add "
			      "CAP_IPC_LOCK, or raise the limit to %llu KiB",
			      (unsigned long long)(f->memlock >> 10),
			      (unsigned long long)(2 * bytes >> 10));
}

/* --- interface --- */

/* Devices on top of other devices. At best AF_XDP binds to them in generic mode, and not at all
 * where frames bypass the device. */
static const struct word layered[] = {
	{"bond", "the ports of the bond receive the frames, and an AF_XDP socket cannot bind to "
		 "the bond in native mode: give udplaned a VF or another NIC"},
	{"team", "the ports of the team receive the frames: give udplaned a VF or another NIC"},
	{"bridge", "a bridge forwards most frames past it: give udplaned the interface of the pod"},
	{"macvlan", "it has no native XDP, and frames between pods of one parent bypass the XDP "
		    "program: use veth, or a VF"},
	{"macvtap", "it has no native XDP: use veth, or a VF"},
	{"ipvlan", "it shares its parent's MAC address, has no native XDP, and frames between pods "
		   "of one parent bypass the XDP program: use veth, or a VF"},
	{"vlan", "it has no native XDP: give udplaned the interface below it only if that carries "
		 "the traffic untagged; else a VF"},
	{"vxlan", "a tunnel has no native XDP, because the kernel builds and parses its packets: "
		  "use the interface below it, or a VF"},
	{"wireguard", "a tunnel has no Ethernet: use the interface below it"},
	{"dummy", "it never receives anything: use another interface"},
	{"ifb", "it only carries what traffic control redirects to it: use another interface"},
};

/* native: drivers with native XDP in the kernel. zero_copy: drivers that also support zero-copy
 * sockets. */
static const char *const native[] = {
	"veth",		 "tun",	    "ena",	"gve",	  "mana",    "hv_netvsc",
	"bnxt_en",	 "nfp",	    "qede",	"sfc",	  "mlx4_en", "thunder-nic",
	"nicvf",	 "mvneta",  "mvpp2",	"netsec", "fec",     "enetc",
	"fsl_dpaa2_eth", "vmxnet3", "atlantic", "igbvf",  "ixgbevf", "octeontx2",
	"virtio_net",	 "igb"};
static const char *const zero_copy[] = {"i40e",	 "ice",	    "ixgbe",  "igc",   "mlx5_core",
					"mlx5e", "st_gmac", "stmmac", "tsnep", "idpf"};

static bool is_among(const char *text, const char *const *list, size_t cnt)
{
	for (size_t i = 0; i < cnt; i++)
		if (!strcmp(text, list[i]))
			return true;
	return false;
}

#define AMONG(text, list) is_among(text, list, sizeof(list) / sizeof(list[0]))

static const char *layered_text(const char *kind)
{
	for (size_t i = 0; i < sizeof(layered) / sizeof(layered[0]); i++)
		if (!strcmp(kind, layered[i].name))
			return layered[i].text;
	return NULL;
}

static bool judge_interface(struct preflight *p, const struct af_xdp_facts *f)
{
	const char *of = f->kind[0] ? f->kind : f->driver[0] ? f->driver : "unknown driver";

	if (!f->exists)
		preflight_add(
			p, "interface", PREFLIGHT_BAD,
			"there is no interface %s in this network namespace: `ip link` lists them",
			f->interface);
	else if (!f->ethernet)
		preflight_add(p, "interface", PREFLIGHT_BAD,
			      "%s (%s) is not an Ethernet device: use another, or backend kernel",
			      f->interface, of);
	else if (!f->up)
		preflight_add(p, "interface", PREFLIGHT_BAD,
			      "%s (%s) is down: ip link set dev %s up", f->interface, of,
			      f->interface);
	else if (!f->running)
		preflight_add(p, "interface", PREFLIGHT_WARN,
			      "%s (%s) is up but has no carrier: check the cable, or the other end",
			      f->interface, of);
	else
		preflight_add(p, "interface", PREFLIGHT_OK, "%s (%s) is up", f->interface, of);
	return f->exists && f->ethernet;
}

static void judge_kind(struct preflight *p, const struct af_xdp_facts *f)
{
	const char *text = layered_text(f->kind);

	if (text)
		preflight_add(p, "kind", PREFLIGHT_WARN, "%s is a %s: %s", f->interface, f->kind,
			      text);
	else if (f->master[0])
		preflight_add(p, "kind", PREFLIGHT_WARN,
			      "%s is a port of %s (%s), which has the addresses; udplaned would "
			      "take frames of the port before %s sees them: remove it from %s, or "
			      "use another interface",
			      f->interface, f->master,
			      f->master_kind[0] ? f->master_kind : "its master", f->master,
			      f->master);
	else
		preflight_add(p, "kind", PREFLIGHT_OK,
			      "neither built on another interface nor a port of one");
}

static void judge_mtu(struct preflight *p, const struct af_xdp_facts *f)
{
	if (f->mtu > MTU_ONE_PAGE && !kernel_is(f, 5, 18))
		preflight_add(p, "mtu", PREFLIGHT_BAD,
			      "%u: native XDP takes %d at most before Linux 5.18: ip link set dev "
			      "%s mtu %d",
			      f->mtu, MTU_ONE_PAGE, f->interface, MTU_ONE_PAGE);
	else if (f->mtu + ETHERNET_HEADER > FRAME_BYTES)
		preflight_add(p, "mtu", PREFLIGHT_WARN,
			      "%u: with the default frame_size the kernel handles frames above %d "
			      "bytes; set frame_size to 4096 if they should be accelerated",
			      f->mtu, FRAME_BYTES);
	else
		preflight_add(p, "mtu", PREFLIGHT_OK, "%u", f->mtu);
}

static void judge_queues(struct preflight *p, const struct af_xdp_facts *f)
{
	if (f->rx_queues > QUEUES_MAX)
		preflight_add(p, "queues", PREFLIGHT_BAD,
			      "%u receive queues, and udplaned supports %d at most: ethtool -L %s "
			      "combined %d",
			      f->rx_queues, QUEUES_MAX, f->interface, QUEUES_MAX);
	else
		preflight_add(
			p, "queues", PREFLIGHT_OK, "%u receive queue%s%s", f->rx_queues,
			f->rx_queues == 1 ? "" : "s",
			f->rx_queues == 1
				? ""
				: "; RSS spreads flows over them, and each has an AF_XDP socket");
}

static void judge_program(struct preflight *p, const struct af_xdp_facts *f)
{
	bool ours = !strcmp(f->xdp_name, "udplane");

	if (!f->xdp_id)
		preflight_add(p, "xdp_program", PREFLIGHT_OK, "none is attached");
	else if (ours)
		preflight_add(p, "xdp_program", PREFLIGHT_OK,
			      "program %u is udplaned's own: udplaned runs here already",
			      f->xdp_id);
	else
		preflight_add(p, "xdp_program", PREFLIGHT_BAD,
			      "program %u%s%s%s is attached: end its owner, or `ip link set dev %s "
			      "xdp off`",
			      f->xdp_id, f->xdp_name[0] ? " (" : "", f->xdp_name,
			      f->xdp_name[0] ? ")" : "", f->interface);
}

/* Judges by the result of attaching a program. If that was not tried, judges by what is known about
 * the driver. */
static void judge_native(struct preflight *p, const struct af_xdp_facts *f)
{
	const char *driver = f->driver[0] ? f->driver : "its driver";

	if (f->try_ == AF_XDP_TRY_NATIVE)
		preflight_add(p, "native_xdp", PREFLIGHT_OK, "a program can be attached natively");
	else if (f->try_ == AF_XDP_TRY_GENERIC)
		preflight_add(p, "native_xdp", PREFLIGHT_WARN,
			      "%s refuses native XDP (%s): generic mode is used, which is little "
			      "faster than the kernel",
			      driver, strerror(f->try_err));
	else if (f->try_ == AF_XDP_TRY_NONE)
		preflight_add(p, "native_xdp", PREFLIGHT_BAD,
			      "no XDP program can be attached: %s%s", strerror(f->try_err),
			      f->try_err == EPERM || f->try_err == EACCES
				      ? "; the capabilities above are needed, and must be of the "
					"host's user namespace"
				      : "; use backend kernel");
	else if (f->xdp_id)
		preflight_add(p, "native_xdp", PREFLIGHT_OK, "not tried, as a program is attached");
	else if (AMONG(f->driver, zero_copy))
		preflight_add(p, "native_xdp", PREFLIGHT_OK,
			      "%s has native XDP and zero-copy sockets; --attach tests it", driver);
	else if (AMONG(f->driver, native))
		preflight_add(p, "native_xdp", PREFLIGHT_OK, "%s has native XDP; --attach tests it",
			      driver);
	else
		preflight_add(p, "native_xdp", PREFLIGHT_WARN,
			      "%s is not known to have native XDP; --attach tests it (some drivers "
			      "take the link down for a second)",
			      driver);
}

static void judge_surroundings(struct preflight *p, const struct af_xdp_facts *f)
{
	if (!strcmp(f->kind, "veth")) {
		preflight_add(p, "offloads", PREFLIGHT_OK,
			      "while udplaned runs natively, the other end of this veth segments "
			      "large TCP and UDP packets in software (its TSO is off)");
		if (f->peer_elsewhere)
			preflight_add(p, "redirect_peer", PREFLIGHT_OK,
				      "cannot be detected from here: a CNI that delivers by "
				      "bpf_redirect_peer (Cilium with BPF host routing) bypasses "
				      "native XDP; udplaned detects that at run time and uses "
				      "generic mode, unless xdp_mode is set");
	}
	if (f->rp_filter == 1)
		preflight_add(p, "rp_filter", PREFLIGHT_OK,
			      "strict: the kernel drops datagrams from sources that it would "
			      "answer by another interface");
	else if (f->rp_filter >= 0)
		preflight_add(p, "rp_filter", PREFLIGHT_OK, f->rp_filter ? "loose" : "off");
}

void preflight_af_xdp(struct preflight *p, const struct af_xdp_facts *f, uint64_t bytes)
{
	judge_kernel(p, f);
	judge_capabilities(p, f, bytes);
	if (!judge_interface(p, f))
		return;
	judge_kind(p, f);
	judge_mtu(p, f);
	judge_queues(p, f);
	judge_program(p, f);
	judge_native(p, f);
	judge_surroundings(p, f);
}
