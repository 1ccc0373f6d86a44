/* SPDX-License-Identifier: Apache-2.0 */
/* Small things around the kernel path: addresses in both forms, private buffers. */
#include "client/internal.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int set_errno(int err)
{
	if (err >= 0)
		return err;
	errno = -err;
	return -1;
}

void peer_of_name(const struct sockaddr_storage *ss, struct udplane_peer *peer)
{
	const struct sockaddr_in *in = (const void *)ss;
	const struct sockaddr_in6 *in6 = (const void *)ss;

	memset(peer, 0, sizeof(*peer));
	if (ss->ss_family == AF_INET) {
		peer->family = AF_INET;
		peer->port_be = in->sin_port;
		memcpy(peer->addr, &in->sin_addr, 4);
		return;
	}
	if (ss->ss_family != AF_INET6)
		return;
	peer->port_be = in6->sin6_port;
	if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
		peer->family = AF_INET;
		memcpy(peer->addr, in6->sin6_addr.s6_addr + 12, 4);
		return;
	}
	peer->family = AF_INET6;
	memcpy(peer->addr, &in6->sin6_addr, 16);
	peer->scope_id = in6->sin6_scope_id;
}

socklen_t peer_to_name(int domain, const struct udplane_peer *peer, struct sockaddr_storage *ss)
{
	struct sockaddr_in *in = (void *)ss;
	struct sockaddr_in6 *in6 = (void *)ss;

	if (domain == AF_INET) {
		memset(in, 0, sizeof(*in));
		in->sin_family = AF_INET;
		in->sin_port = peer->port_be;
		memcpy(&in->sin_addr, peer->addr, 4);
		return sizeof(*in);
	}
	memset(in6, 0, sizeof(*in6));
	in6->sin6_family = AF_INET6;
	in6->sin6_port = peer->port_be;
	if (peer->family == AF_INET) {
		in6->sin6_addr.s6_addr[10] = in6->sin6_addr.s6_addr[11] = 0xff;
		memcpy(in6->sin6_addr.s6_addr + 12, peer->addr, 4);
	} else {
		memcpy(&in6->sin6_addr, peer->addr, 16);
		in6->sin6_scope_id = peer->scope_id;
	}
	return sizeof(*in6);
}

/* --- buffers --- */

struct pktbuf *pktbuf_small(uint32_t len)
{
	struct pktbuf *b = aligned_alloc(64, (sizeof(*b) + len + 63) / 64 * 64);

	if (b)
		memset(b, 0, sizeof(*b));
	if (b)
		b->small = true;
	return b;
}

uint32_t pktbufs_get(struct pktbuf **out, uint32_t cnt)
{
	uint32_t n = 0;

	if (lock_take(&context.buf_lock)) {
		for (; n < cnt && context.bufs; n++) {
			out[n] = context.bufs;
			context.bufs = out[n]->next;
		}
		context.buf_cnt -= n;
		lock_drop(&context.buf_lock);
	}
	for (; n < cnt; n++) {
		out[n] = pktbuf_small(PKTBUF_SIZE);
		if (!out[n])
			break;
		out[n]->small = false;
	}
	return n;
}

void pktbuf_put(struct pktbuf *b)
{
	bool keep = false;

	if (b->small) {
		free(b);
		return;
	}
	if (lock_take(&context.buf_lock)) {
		keep = context.buf_cnt < PKTBUF_KEEP;
		if (keep) {
			b->next = context.bufs;
			context.bufs = b;
			context.buf_cnt++;
		}
		lock_drop(&context.buf_lock);
	}
	if (!keep)
		free(b);
}
