/* SPDX-License-Identifier: Apache-2.0 */
/* UDPLANE_COUNTER(ID, name, meaning): one socket on one worker, written by that worker.
 * Matched frames = rx_delivered + rx_drop_ring_full + rx_drop_quota; tx_taken = tx_sent + tx_slow +
 * tx_drop. Append only. */
UDPLANE_COUNTER(RX_DELIVERED, "rx_delivered", "datagrams put into its RX ring")
UDPLANE_COUNTER(RX_BYTES, "rx_bytes", "payload of rx_delivered, bytes")
UDPLANE_COUNTER(RX_DROP_RING_FULL, "rx_drop_ring_full", "dropped: its RX ring was full")
UDPLANE_COUNTER(RX_DROP_QUOTA, "rx_drop_quota",
		"dropped: the process holds more than its share of frames")
UDPLANE_COUNTER(TX_SENT, "tx_sent", "given to the device")
UDPLANE_COUNTER(TX_BYTES, "tx_bytes", "payload of tx_sent, bytes")
UDPLANE_COUNTER(TX_SLOW, "tx_slow",
		"sent by udplaned through the kernel socket: no fast route or neighbour yet")
UDPLANE_COUNTER(TX_DROP, "tx_drop", "not sent: see the worker's tx_drop_*")
UDPLANE_COUNTER(WAKES, "wakes", "signals to the sleeping application")
