/* SPDX-License-Identifier: Apache-2.0 */
/* UDPLANE_COUNTER(ID, name, meaning): the control thread. Append only. */
UDPLANE_COUNTER(CLIENTS, "clients", "gauge: attached processes")
UDPLANE_COUNTER(SOCKETS, "sockets", "gauge: claimed sockets")
UDPLANE_COUNTER(ATTACHES, "attaches", "processes that attached")
UDPLANE_COUNTER(DETACHES, "detaches", "processes that detached or died")
UDPLANE_COUNTER(ATTACH_REFUSED, "attach_refused", "attaches refused: version, limits")
UDPLANE_COUNTER(BAD_MESSAGES, "bad_messages",
		"malformed control messages; the sender is disconnected")
UDPLANE_COUNTER(CLAIMS, "claims", "sockets claimed")
UDPLANE_COUNTER(CLAIMS_REFUSED, "claims_refused",
		"claims refused; by reason in `udplanectl stats --json`")
UDPLANE_COUNTER(RELEASES, "releases", "sockets closed or released")
UDPLANE_COUNTER(CORRUPT, "corrupt_clients",
		"clients detached because of what they wrote into shared memory")
UDPLANE_COUNTER(SLOW_SENT, "slow_sent", "datagrams sent through the kernel socket for the worker")
UDPLANE_COUNTER(SLOW_FAILED, "slow_failed",
		"sends through the kernel socket that the kernel refused; the error is on the "
		"application's socket where Linux puts it there")
UDPLANE_COUNTER(SLOW_NO_SOCKET, "slow_no_socket",
		"sends through the kernel socket that were dropped: the application had closed it")
UDPLANE_COUNTER(ROUTE_UPDATES, "route_updates",
		"times that routes, addresses or neighbours changed")
UDPLANE_COUNTER(
	ROUTE_RESYNCS, "route_resyncs",
	"netlink overruns, after which all routes, addresses and neighbours were read again")
UDPLANE_COUNTER(NEIGH_REFRESHES, "neigh_refreshes",
		"times that the kernel was told that a neighbour is in use")
UDPLANE_COUNTER(CONFLICTS, "conflicts",
		"sockets returned to the kernel because a plain socket joined their port")
UDPLANE_COUNTER(REATTACHES, "reattaches",
		"times that the device was attached again, or in another mode, while udplaned ran")
UDPLANE_COUNTER(SLOW_SIGNALS, "slow_signal_clients",
		"clients detached because signals to them took too long")
