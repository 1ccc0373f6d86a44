/* SPDX-License-Identifier: Apache-2.0 */
/* sd_notify(3) without libsystemd: sends a message to the service manager named by
 * NOTIFY_SOCKET. */
#ifndef UDPLANE_SIDECAR_BASE_NOTIFY_H
#define UDPLANE_SIDECAR_BASE_NOTIFY_H

/* state: lines such as "READY=1". Returns 0, also if NOTIFY_SOCKET is not set, or -errno. */
int notify_send(const char *state);

#endif
