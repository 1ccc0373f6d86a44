/* SPDX-License-Identifier: Apache-2.0 */
/* Checks what a client has sent before its fields are read. Pure. */
#ifndef SIDECAR_CONTROL_MESSAGE_H
#define SIDECAR_CONTROL_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* May a client send this message now? buf, len: as received. welcomed: it has sent HELLO.
 * observer: it has not attached. fds: descriptors that came with the message. Returns its type
 * (UDPLANE_MSG_*), or 0 with `error` set. */
int message_check(const void *buf, size_t len, bool welcomed, bool observer, uint32_t fds,
		  struct error *error);

#ifdef __cplusplus
}
#endif

#endif
