/* SPDX-License-Identifier: Apache-2.0 */
/* A socket's memory and references. */
#ifndef UDPLANE_CLIENT_LIFE_H
#define UDPLANE_CLIENT_LIFE_H

#include "client/sock.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Keeps the sock and its descriptors alive. Call it with a lock held. */
static inline void sock_ref(struct sock *s)
{
	__atomic_fetch_add(&s->life.refs, 1, __ATOMIC_RELAXED);
}
void sock_unref(struct sock *s);       /* the last one closes the descriptors */
void sock_free_unused(struct sock *s); /* closes them if nobody is left */
/* with the table's reference; NULL if there is no memory */
struct sock *sock_create(int fd, int kfd, int domain);

#ifdef __cplusplus
}
#endif

#endif
