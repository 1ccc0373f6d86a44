/* SPDX-License-Identifier: Apache-2.0 */
/* UDPLANE_COUNTER(ID, name, meaning): one worker, written by it alone.
 * rx_frames + rx_copies = rx_delivered + rx_passed + sum of rx_drop_*;
 * tx_taken = tx_sent + tx_slow + sum of tx_drop_*. Append only. */
UDPLANE_COUNTER(RX_FRAMES, "rx_frames", "frames received from the device")
UDPLANE_COUNTER(RX_DELIVERED, "rx_delivered", "datagrams put into a socket's RX ring")
UDPLANE_COUNTER(RX_BYTES, "rx_bytes", "payload of rx_delivered, bytes")
UDPLANE_COUNTER(RX_PASSED, "rx_passed", "frames given to the kernel (TAP)")
UDPLANE_COUNTER(RX_DROP_MALFORMED, "rx_drop_malformed", "inconsistent lengths or IP versions")
UDPLANE_COUNTER(RX_DROP_IP_CHECKSUM, "rx_drop_ip_checksum", "wrong IPv4 header checksum")
UDPLANE_COUNTER(RX_DROP_UDP_CHECKSUM, "rx_drop_udp_checksum", "wrong UDP checksum, or none on IPv6")
UDPLANE_COUNTER(RX_DROP_NO_SOCKET, "rx_drop_no_socket",
		"the socket was closed while the datagram was on its way")
UDPLANE_COUNTER(RX_DROP_RING_FULL, "rx_drop_ring_full",
		"the application was too slow: its RX ring was full")
UDPLANE_COUNTER(RX_DROP_QUOTA, "rx_drop_quota",
		"the application holds more than its share of frames")
UDPLANE_COUNTER(TX_TAKEN, "tx_taken", "datagrams taken from TX rings")
UDPLANE_COUNTER(TX_SENT, "tx_sent", "given to the device")
UDPLANE_COUNTER(TX_BYTES, "tx_bytes", "payload of tx_sent, bytes")
UDPLANE_COUNTER(TX_SLOW, "tx_slow", "given to the control thread to send through the kernel socket")
UDPLANE_COUNTER(
	TX_DROP_INVALID, "tx_drop_invalid",
	"the descriptor named a closed socket, another client's socket, or a length out of range")
UDPLANE_COUNTER(TX_DROP_NO_FRAME, "tx_drop_no_frame", "no free frame")
UDPLANE_COUNTER(TX_DROP_SLOW_FULL, "tx_drop_slow_full", "the control thread's queue was full")
UDPLANE_COUNTER(WAKES_CLIENT, "wakes_client", "signals to sleeping clients")
UDPLANE_COUNTER(SLEEPS, "sleeps", "times that the worker went to sleep")
UDPLANE_COUNTER(SLEEP_NS, "sleep_ns", "time asleep, ns")
UDPLANE_COUNTER(DOORBELLS, "doorbells", "times that a client woke it")
UDPLANE_COUNTER(LOOPS, "loops", "rounds of the poll loop")
UDPLANE_COUNTER(CORRUPT, "corrupt",
		"clients detached because of what they wrote into shared memory")
UDPLANE_COUNTER(MARTIANS, "rx_drop_martian", "invalid source or destination address (martian)")
UDPLANE_COUNTER(RX_DROP_STALLED, "rx_drop_stalled",
		"diverted just before udplaned was stopped, and older than what the kernel has "
		"delivered since")
UDPLANE_COUNTER(STALLS, "stalls", "times that the kernel took over because the worker did not run")
UDPLANE_COUNTER(RX_COPIES, "rx_copies",
		"further copies of multicast datagrams: one less than the sockets that wanted each")
UDPLANE_COUNTER(RX_DROP_FILTERED, "rx_drop_filtered",
		"multicast datagrams from a source that no socket has joined, or all have blocked")
UDPLANE_COUNTER(
	TX_SUPERS, "tx_supers",
	"runs of datagrams to one destination that were sent as one packet, to be cut later")
UDPLANE_COUNTER(TX_SUPER_DATAGRAMS, "tx_super_datagrams",
		"datagrams of tx_sent that went in tx_supers")
UDPLANE_COUNTER(TX_SUPER_REFUSED, "tx_super_refused",
		"runs that the device did not take as one packet; they were sent one by one")
