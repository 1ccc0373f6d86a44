/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A private copy of udplaned's stats zone, checked and consistent. udplanectl renders everything
 * from such a copy.
 *
 *     stats memfd --(attach.c)--> image --(snapshot_read)--> struct snapshot --> views, JSON, why
 *
 * Pure; the image may be any memory. udplaned may write to it while it is read: each header word is
 * read once, and sockets are read under their sequence numbers. No image, however wrong, makes
 * snapshot_read() read outside of the image.
 *
 * Limits: if the sequence number of an entry stays odd, because udplaned died while it wrote, the
 * entry is copied as it is after some tries, and marked torn.
 */
#ifndef UDPLANE_CLIENT_CTL_SNAPSHOT_H
#define UDPLANE_CLIENT_CTL_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/base/error.h"
#include "udplane/abi.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SNAPSHOT_PORTS_SIZE 8192

struct snapshot_worker {
	bool awake, engaged;
	int32_t cpu; /* -1 if not pinned */
	uint64_t counter[UDPLANE_WORKER_COUNTER_CNT];
};

struct snapshot_socket {
	uint32_t id; /* its index in the zone */
	uint32_t state, reason, channel_id, flags;
	int32_t pid;
	bool torn;
	struct udplane_addr local, peer;
	uint64_t cookie;
	uint64_t kernel_rx, kernel_tx, kernel_tx_full, engages; /* as the client reports */
	uint64_t counter[UDPLANE_SOCKET_COUNTER_CNT];		/* sum over all workers */
	char comm[17];
	char text[UDPLANE_TEXT_LEN + 1];
	uint32_t tx_reason;
	char tx_text[UDPLANE_TEXT_LEN + 1];
	uint64_t recent[UDPLANE_RECENT_COUNTER_CNT]; /* during snapshot.recent_ns */
};

/* The texts contain only printable ASCII, since clients can write some of them and terminals obey
 * control characters. */
struct snapshot {
	uint64_t now_ns; /* CLOCK_MONOTONIC, set by the caller of snapshot_read() */
	uint16_t major, minor;
	uint32_t state, backend, mode;
	int32_t pid, ifindex;
	uint32_t mtu;
	uint64_t start_ns, refresh_ns, hugepage_bytes, page_bytes;
	char version[33], ifname[17], device[65];
	char backend_text[UDPLANE_TEXT_LEN + 1], mode_text[UDPLANE_TEXT_LEN + 1];
	uint32_t socket_max, worker_cnt, socket_cnt, prefix_cnt;
	struct udplane_prefix prefix[UDPLANE_MAX_PREFIXES];
	char route_note[UDPLANE_TEXT_LEN + 1]; /* why some destinations use the kernel, or "" */
	uint64_t device_counter[UDPLANE_DEVICE_COUNTER_CNT];
	uint64_t control_counter[UDPLANE_CONTROL_COUNTER_CNT];
	uint64_t refused[UDPLANE_REASON_CNT];
	uint8_t ports[SNAPSHOT_PORTS_SIZE];
	struct snapshot_worker worker[UDPLANE_MAX_WORKERS];
	struct snapshot_socket *sockets; /* entries that are not free, by id */
	bool attached;			 /* datagrams of claimed ports can reach the workers */
	uint32_t trouble_cnt;
	char trouble[UDPLANE_TEXT_LEN + 1];
	uint64_t host_counter[UDPLANE_HOST_COUNTER_CNT];
	uint64_t recent_ns; /* the time that the recent_ fields and the sockets' recent cover */
	uint64_t recent_device[UDPLANE_DEVICE_COUNTER_CNT], recent_host[UDPLANE_HOST_COUNTER_CNT];
	char *info; /* facts about the device, in lines of "name\tvalue\n"; "" if none */
};

/*
 * Copies the image of `len` bytes to *s. Returns 0. With `error` set, returns -EPROTO if the image
 * is malformed, -EPROTONOSUPPORT if it has another major version, or -ENOMEM. Call snapshot_free()
 * only after success.
 */
int snapshot_read(struct snapshot *s, const void *image, size_t len, struct error *error);
void snapshot_free(struct snapshot *s);

static inline bool snapshot_has_port(const struct snapshot *s, uint16_t port)
{
	return s->ports[port >> 3] >> (port & 7) & 1;
}

/* received = delivered + passed + dropped + in_flight, for the device and its workers. Each copy of
 * a multicast datagram counts. */
struct conservation {
	uint64_t received, delivered, passed, dropped;
	/* in queues; negative if the workers went on while the device's counters were copied */
	int64_t in_flight;
};
struct conservation snapshot_conservation(const struct snapshot *s);

#ifdef __cplusplus
}
#endif

#endif
