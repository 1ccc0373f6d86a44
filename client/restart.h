/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting as recv(2) waits, where some signal handlers have SA_RESTART and others do not. */
#ifndef UDPLANE_CLIENT_RESTART_H
#define UDPLANE_CLIENT_RESTART_H

#include <poll.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* As ppoll(2) for POLLIN, except that a handler with SA_RESTART does not end it. Returns 1; 0
 * after left_ns at the latest; -EINTR; or -ENOSYS if the kernel cannot do it. */
int restart_poll(struct pollfd *p, uint64_t left_ns);
void restart_child(void); /* table_each_raw() holds */

#ifdef __cplusplus
}
#endif

#endif
