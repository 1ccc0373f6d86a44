/* SPDX-License-Identifier: Apache-2.0 */
/* Options of the socket that concern sending (s->tx.wish), and how long a datagram may be. */
#ifndef UDPLANE_CLIENT_SEND_OPTION_H
#define UDPLANE_CLIENT_SEND_OPTION_H

#include "client/sock.h"
#include "client/txq.h"
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Reads them from the kernel socket, if that has not been done or again is set. Returns false if
 * tx.lock could not be taken. */
bool send_options_read(struct sock *s, bool again);
/* One that the fast path honours was set. It concerns what is sent from now on. Returns false if
 * tx.lock could not be taken: sock_read_names() will read it. */
bool send_option_set(struct sock *s, int level, int name, int value);
/* One that only the kernel honours was set to something else than its default (on), or back. bit:
 * one bit for each option. */
void send_option_slow(struct sock *s, uint32_t bit, bool on);
/* Returns true if the fast path can do what the options say about IPv6 (six) or IPv4 destinations.
 * tx.lock held, s->att set. */
bool send_options_fit(const struct sock *s, bool six);

/* Returns the longest payload that is not the kernel's. strict: Linux refuses what is longer than
 * the path's MTU, and only Linux knows it for each path. */
uint32_t tx_bound(const struct sock *s, bool six, bool strict);
static inline uint32_t tx_limit(const struct sock *s, const struct udplane_addr *d)
{
	bool six = d->family == AF_INET6;

	if (unlikely(s->tx.wish.bounded[six]))
		return tx_bound(s, six, s->tx.wish.strict[six]);
	return tx_max_len(s->att, d);
}

#ifdef __cplusplus
}
#endif

#endif
