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
	CLAIM_CLOSE,  /* the socket is being closed */
	CLAIM_KERNEL, /* it stays on the kernel path for good, with reason and text */
	CLAIM_AGAIN,  /* it may be claimed again */
	CLAIM_SHARED, /* it stays on the kernel path while several processes have it */
};
/* Leaves the work late (enum late) to the next maintain(). reason and text are for LATE_KERNEL. */
void claim_later(struct sock *s, uint32_t late, uint32_t reason, const char *text);
/* Ends the claim, if there is one. */
void claim_release(struct sock *s, enum claim_end end, uint32_t reason, const char *text);
/* Of the shim: ends the claim for a while, and closes what the library has open for the socket, as
 * the program has no descriptors left. */
void claim_give_descriptors(struct sock *s);
/* Drops the rings; saves the datagrams in them if save. Both locks held. */
void claim_drop_rings(struct sock *s, bool save);
/* Reads addresses from the kernel after bind, connect or an automatic bind. Returns false if
 * tx.lock could not be taken. */
bool sock_read_names(struct sock *s);
void sock_set_reason(struct sock *s, uint32_t reason, const char *text);
/* Sets the time (ns) from which a call on s may attach or claim again. */
static inline void sock_retry_at(struct sock *s, uint64_t at)
{
	__atomic_store_n(&s->life.retry_ns, at, __ATOMIC_RELAXED);
}

#ifdef __cplusplus
}
#endif

#endif
