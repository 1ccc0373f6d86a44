/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gets a snapshot from udplaned: connects, sends HELLO as an observer, receives WELCOME with the
 * descriptor of the stats zone, maps it read-only, copies it, unmaps it and closes. udplaned
 * updates the counters of the device and the clients before it answers. Each call makes one
 * connection and keeps nothing, except attach_capture(), which keeps the connection and the zones.
 */
#ifndef UDPLANE_CLIENT_CTL_ATTACH_H
#define UDPLANE_CLIENT_CTL_ATTACH_H

#include "client/ctl/snapshot.h"
#include "include/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ATTACH_TIMEOUT_MS 2000

/*
 * Fills *s; the caller releases it with snapshot_free(). Returns 0, or -errno with `error` set:
 * -ENOENT, -ENOTDIR or -ECONNREFUSED if no udplaned is there, and -ETIMEDOUT if it does not answer
 * within timeout_ms.
 */
int attach_snapshot(const char *path, int timeout_ms, struct snapshot *s, struct error *error);

/* A capture that runs until its connection is closed by either side. */
struct capture_link {
	int fd;				/* the connection: readable when udplaned ends it */
	struct udplane_captured layout; /* checked */
	void *zone;
	size_t zone_len;
	void *stats; /* for snapshot_read() */
	size_t stats_len;
};

/* Begins a capture. asked: without its msg. Returns 0, and the caller calls attach_capture_end();
 * or -errno with `error` set, as for attach_snapshot(); -EACCES: this process may not capture. */
int attach_capture(const char *path, int timeout_ms, const struct udplane_capture *asked,
		   struct capture_link *link, struct error *error);
void attach_capture_end(struct capture_link *link);

#ifdef __cplusplus
}
#endif

#endif
