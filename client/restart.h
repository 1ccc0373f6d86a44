/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting as recv(2) waits, where some signal handlers have SA_RESTART and others do not. */
#ifndef UDPLANE_CLIENT_RESTART_H
#define UDPLANE_CLIENT_RESTART_H

#include <poll.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* As ppoll(2) for POLLIN, but that a handler with SA_RESTART does not end it. 1; 0: at the latest
 * after left_ns; -EINTR; -ENOSYS: this is not to be had. */
int restart_poll(struct pollfd *p, uint64_t left_ns);
void restart_child(void); /* table_each_raw() holds */

#ifdef __cplusplus
}
#endif

#endif
