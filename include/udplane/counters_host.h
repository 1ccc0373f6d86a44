/* SPDX-License-Identifier: Apache-2.0 */
/* UDPLANE_COUNTER(ID, name, meaning): what Linux itself counts in udplaned's network namespace,
 * independently of udplaned and its clients. Read by the control thread. Append only. */
UDPLANE_COUNTER(INTERFACE_RX, "interface_rx",
		"packets that the interface has received (/proc/net/dev)")
UDPLANE_COUNTER(INTERFACE_TX, "interface_tx", "packets that the interface has sent")
UDPLANE_COUNTER(OTHER_RX, "other_interfaces_rx",
		"packets that all other interfaces have received, loopback included")
UDPLANE_COUNTER(UDP_IN, "udp_in",
		"datagrams read from kernel UDP sockets, of all programs (/proc/net/snmp, snmp6)")
UDPLANE_COUNTER(UDP_IN_LOST, "udp_in_lost", "datagrams that kernel UDP sockets had no room for")
UDPLANE_COUNTER(UDP_OUT, "udp_out", "datagrams sent through kernel UDP sockets, of all programs")
