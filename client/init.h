/* SPDX-License-Identifier: Apache-2.0 */
/* The library's start, at the first udplane_socket(), and its way through fork(2). */
#ifndef UDPLANE_CLIENT_INIT_H
#define UDPLANE_CLIENT_INIT_H

#ifdef __cplusplus
extern "C" {
#endif

/* Reads the environment and sets up fork handlers, once in the process. */
void context_init(void);
/* For tests: forgets the attachment and reads the environment again. No other thread may be in the
 * library. */
void context_reset(void);

#ifdef __cplusplus
}
#endif

#endif
