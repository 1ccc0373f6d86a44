/* SPDX-License-Identifier: Apache-2.0 */
/* UDPLANE_COUNTER(ID, name, meaning): one socket in the last seconds
 * (udplane_stats_zone.recent_ns), each direction by both paths. Written by the control thread.
 * Append only. */
UDPLANE_COUNTER(RX_FAST, "rx_fast", "datagrams put into its RX ring")
UDPLANE_COUNTER(RX_FAST_LOST, "rx_fast_lost", "dropped by the worker: RX ring full, or quota")
UDPLANE_COUNTER(RX_KERNEL, "rx_kernel",
		"received through the kernel socket, as the library reports")
UDPLANE_COUNTER(RX_KERNEL_LOST, "rx_kernel_lost",
		"dropped by the kernel socket, as Linux reports (SO_MEMINFO)")
UDPLANE_COUNTER(TX_FAST, "tx_fast", "given to the device")
UDPLANE_COUNTER(TX_SLOW, "tx_slow", "sent by udplaned through the kernel socket")
UDPLANE_COUNTER(TX_KERNEL, "tx_kernel",
		"sent through the kernel socket by the library, as it reports")
UDPLANE_COUNTER(TX_KERNEL_FULL, "tx_kernel_full",
		"the part of tx_kernel that was sent so because the TX ring stayed full")
