/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gets a snapshot from udplaned: connect, HELLO as observer, WELCOME with the stats descriptor, map
 * read-only, copy, unmap, close. udplaned brings device and client counters up to date before it
 * answers. One call, one connection: nothing is kept.
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
 * Fills *s, which the caller gives to snapshot_free(). Returns 0, or -errno with `error` set.
 * -ENOENT, -ENOTDIR, -ECONNREFUSED: no udplaned is there; -ETIMEDOUT: it does not answer.
 */
int attach_snapshot(const char *path, int timeout_ms, struct snapshot *s, struct error *error);

#ifdef __cplusplus
}
#endif

#endif
