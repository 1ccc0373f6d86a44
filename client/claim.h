/* SPDX-License-Identifier: Apache-2.0 */
/* Claims: udplaned diverts a socket's port to it. Under the control lock, with a reference to the
 * socket and without its locks. */
#ifndef UDPLANE_CLIENT_CLAIM_H
#define UDPLANE_CLIENT_CLAIM_H

#include "client/sock.h"
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

void claim_try(struct sock *s);
void claim_update(struct sock *s);
enum claim_end {
	CLAIM_CLOSE,  /* the socket closes */
	CLAIM_KERNEL, /* it stays on the kernel path for good, with reason and text */
	CLAIM_AGAIN,  /* it may be claimed anew */
	CLAIM_SHARED, /* it stays on the kernel path while several processes have it */
};
/* Leaves it to the next maintain(). reason and text: of LATE_KERNEL. */
void claim_later(struct sock *s, uint32_t late, uint32_t reason, const char *text);
/* Ends the claim, if there is one. */
void claim_release(struct sock *s, enum claim_end end, uint32_t reason, const char *text);
/* Takes the rings away. Datagrams in them are saved, unless the socket closes. Both locks held. */
void claim_drop_rings(struct sock *s, bool save);
/* Reads addresses from the kernel after bind, connect or an automatic bind. False: not now. */
bool sock_read_names(struct sock *s);
void sock_set_reason(struct sock *s, uint32_t reason, const char *text);
/* May be claimed (or attached for) from the next call on. */
static inline void sock_retry_at(struct sock *s, uint64_t at)
{
	__atomic_store_n(&s->life.retry_ns, at, __ATOMIC_RELAXED);
}

#ifdef __cplusplus
}
#endif

#endif
