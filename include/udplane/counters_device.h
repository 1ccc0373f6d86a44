/* SPDX-License-Identifier: Apache-2.0 */
/* UDPLANE_COUNTER(ID, name, meaning): the device, filled by the control thread from the XDP program
 * and the driver. rx_seen = sum of rx_passed_* + rx_diverted; rx_diverted = sum over workers of
 * rx_frames + rx_lost_*. Append only. */
UDPLANE_COUNTER(RX_SEEN, "rx_seen", "frames that reached the XDP program or the NIC's queues")
UDPLANE_COUNTER(RX_DIVERTED, "rx_diverted", "frames taken from the kernel for a worker")
UDPLANE_COUNTER(RX_PASSED_NOT_IP, "rx_passed_not_ip",
		"to the kernel: neither IPv4 nor IPv6 (ARP, VLAN, ...)")
UDPLANE_COUNTER(RX_PASSED_NOT_UDP, "rx_passed_not_udp", "to the kernel: TCP, ICMP, ...")
UDPLANE_COUNTER(RX_PASSED_FRAGMENT, "rx_passed_fragment", "to the kernel: fragment of a datagram")
UDPLANE_COUNTER(RX_PASSED_OPTIONS, "rx_passed_options",
		"to the kernel: IPv4 options or IPv6 extension headers")
UDPLANE_COUNTER(RX_PASSED_NOT_LOCAL, "rx_passed_not_local",
		"to the kernel: destination is no unicast address of this host")
UDPLANE_COUNTER(RX_PASSED_MARTIAN, "rx_passed_martian",
		"to the kernel: invalid source address (martian)")
UDPLANE_COUNTER(RX_PASSED_MALFORMED, "rx_passed_malformed",
		"to the kernel: inconsistent length fields")
UDPLANE_COUNTER(RX_PASSED_UNCLAIMED, "rx_passed_unclaimed",
		"to the kernel: no accelerated socket on that port, address and peer")
UDPLANE_COUNTER(RX_PASSED_IDLE, "rx_passed_idle",
		"to the kernel: the worker sleeps, the rate does not warrant waking it")
UDPLANE_COUNTER(RX_PASSED_NO_QUEUE, "rx_passed_no_queue",
		"to the kernel: the frame came on a queue that no worker has bound")
UDPLANE_COUNTER(RX_LOST_RING_FULL, "rx_lost_ring_full",
		"dropped by the device: the worker was slower than the wire")
UDPLANE_COUNTER(RX_LOST_NO_FRAME, "rx_lost_no_frame", "dropped by the device: no free frame")
UDPLANE_COUNTER(TX_DONE, "tx_done", "frames that the device has sent and returned")
UDPLANE_COUNTER(TX_INVALID, "tx_invalid", "frames that the device refused")
UDPLANE_COUNTER(FRAMES_TOTAL, "frames_total", "gauge: frames in the frames zone")
UDPLANE_COUNTER(FRAMES_FREE, "frames_free", "gauge: free, or waiting in the device for packets")
UDPLANE_COUNTER(FRAMES_CLIENTS, "frames_clients", "gauge: held by clients")
UDPLANE_COUNTER(RX_PASSED_JUMBO, "rx_passed_jumbo",
		"to the kernel: longer than a frame of the zone")
UDPLANE_COUNTER(RX_ERRORS, "rx_errors", "frames that the NIC found damaged; not counted in rx_seen")
UDPLANE_COUNTER(TAP_RX, "tap_rx", "frames passed to the kernel through the TAP")
UDPLANE_COUNTER(TAP_RX_FULL, "tap_rx_full",
		"frames for the kernel that were dropped: the TAP was full, or down")
UDPLANE_COUNTER(TAP_TX, "tap_tx", "frames from the TAP that the NIC has sent")
UDPLANE_COUNTER(LINK_CHANGES, "link_changes", "times that the NIC's link went up or down")
UDPLANE_COUNTER(LINK_UP, "link_up", "gauge: 1 while the NIC of a vfio device has a link")
UDPLANE_COUNTER(NIC_EVENTS, "nic_events", "removals, resets and errors that the NIC has reported")
UDPLANE_COUNTER(RX_PASSED_STALLED, "rx_passed_stalled",
		"to the kernel: udplaned did not run (stopped, frozen, throttled)")
UDPLANE_COUNTER(
	RX_PASSED_PARTIAL, "rx_passed_partial",
	"to the kernel: from a sender on this host, and may hold several datagrams (generic mode)")
UDPLANE_COUNTER(RX_PASSED_SOURCE, "rx_passed_source",
		"to the kernel: the source is one of our own addresses, or rp_filter may refuse it")
UDPLANE_COUNTER(RX_PASSED_TRANSLATED, "rx_passed_translated",
		"to the kernel: of a flow that connection tracking translates")
UDPLANE_COUNTER(RX_PASSED_NO_CHECKSUM, "rx_passed_no_checksum",
		"to the kernel: IPv6 without a UDP checksum, which is for UDP_NO_CHECK6_RX only")
