/* SPDX-License-Identifier: Apache-2.0 */
/* Reasons why a socket is not accelerated: UDPLANE_REASON(ID, name, what to do). Included several
 * times; see abi.h. Append only. */
UDPLANE_REASON(NONE, "none", "it is accelerated")
UDPLANE_REASON(BACKEND_KERNEL, "backend_kernel",
	       "udplaned runs without a device: `udplanectl stats` shows why")
UDPLANE_REASON(NOT_ASKED, "port_not_asked_for",
	       "add the port to --ports or the annotation udplane.io/ports")
UDPLANE_REASON(NOT_UDP, "not_udp", "pass an AF_INET or AF_INET6 SOCK_DGRAM socket of IPPROTO_UDP")
UDPLANE_REASON(NOT_BOUND, "not_bound", "bind the socket to a port first")
UDPLANE_REASON(OTHER_NETNS, "other_network_namespace",
	       "run the program in the network namespace of udplaned's interface")
UDPLANE_REASON(OTHER_DEVICE, "bound_to_other_device",
	       "SO_BINDTODEVICE names another interface than udplaned's: name that one, or clear "
	       "the option")
UDPLANE_REASON(OTHER_PORT, "bound_elsewhere",
	       "the socket is not bound to the address that the claim names: close it and open "
	       "another one")
UDPLANE_REASON(NOT_LOCAL, "address_not_ours",
	       "datagrams to the socket's address never come by udplaned's interface (loopback, a "
	       "group that was not joined there): bind to the interface's address, or to the "
	       "wildcard")
UDPLANE_REASON(SHARED, "shared_with_plain_socket",
	       "another socket that does not use udplane is bound to the same port; close it or "
	       "let it use udplane")
UDPLANE_REASON(FILTER, "socket_filter",
	       "the socket has SO_ATTACH_FILTER or a REUSEPORT program, which only the kernel "
	       "applies: remove it, or accept the kernel path")
UDPLANE_REASON(OPTION, "socket_option",
	       "an option is set that only the kernel path honours exactly (the text names it): "
	       "clear it, or accept the kernel path")
UDPLANE_REASON(SHUTDOWN, "shutdown", "shutdown() was called on the socket: open another one")
UDPLANE_REASON(NO_MEMORY, "no_memory",
	       "no memory for its rings: raise memory_max, the memory limit of the sidecar, or "
	       "hugepages; or close sockets")
UDPLANE_REASON(TOO_MANY, "too_many_sockets", "raise max_sockets")
UDPLANE_REASON(BAD_MESSAGE, "bad_message",
	       "the control message was malformed: client library of another version?")
UDPLANE_REASON(DUPLICATE, "already_claimed", "this process has claimed the same socket already")
UDPLANE_REASON(USER, "by_request", "the application or UDPLANE_DISABLE keeps it on the kernel path")
UDPLANE_REASON(LEAVING, "leaving",
	       "udplaned is stopping: the socket is claimed again when it has restarted")
UDPLANE_REASON(NO_SIDECAR, "no_sidecar",
	       "no udplaned answers on the socket path: start it, or set UDPLANE_SOCKET")
UDPLANE_REASON(VERSION, "abi_version",
	       "libudplane and udplaned have different major ABI versions: upgrade the older one")
UDPLANE_REASON(
	MEMORY_MAP, "map_failed",
	"the application could not map udplaned's memory: check its memory and hugetlb limits")
UDPLANE_REASON(DESCRIPTORS, "descriptor_limit", "raise RLIMIT_NOFILE of the client or of udplaned")
UDPLANE_REASON(CORRUPT, "ring_corrupted",
	       "the process wrote invalid data into its shared rings and was detached: look for "
	       "memory corruption in it")
UDPLANE_REASON(DEVICE, "device_refused",
	       "the device takes no more claims, or failed: the text says how; close sockets, or "
	       "see udplaned's log")
UDPLANE_REASON(NETFILTER, "netfilter",
	       "nftables or iptables rules of this network namespace may apply to its datagrams "
	       "(the text names one): remove them, or accept the kernel path")
UDPLANE_REASON(IPSEC, "ipsec_policy",
	       "an IPsec policy (ip xfrm policy) applies to its datagrams, and only the kernel can "
	       "apply it: remove it, or accept the kernel path")
UDPLANE_REASON(TRAFFIC_CONTROL, "traffic_control",
	       "a tc filter or queueing discipline on the interface would process its datagrams: "
	       "remove it, or accept the kernel path")
UDPLANE_REASON(
	CGROUP_PROGRAM, "cgroup_program",
	"a BPF program of its cgroup (for example a CNI's socket load balancer) decides about its "
	"datagrams, and only the kernel runs it: detach it, or accept the kernel path")
UDPLANE_REASON(PROCESSES, "shared_by_processes",
	       "after a fork() several processes have the socket open, and any of them may read "
	       "it: close it in those that do not use it")
