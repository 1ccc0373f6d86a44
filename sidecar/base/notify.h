/* SPDX-License-Identifier: Apache-2.0 */
/* sd_notify(3) without libsystemd: tells the service manager named by NOTIFY_SOCKET, if there is
 * one. */
#ifndef UDPLANE_SIDECAR_BASE_NOTIFY_H
#define UDPLANE_SIDECAR_BASE_NOTIFY_H

/* state: lines such as "READY=1". 0, also without NOTIFY_SOCKET; or -errno. */
int notify_send(const char *state);

#endif
