/* SPDX-License-Identifier: Apache-2.0 */
#include "client/segment.h"
#include "client/fault.h"
#include "client/send_option.h"
#include "client/sock.h"
#include "client/txq.h"
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <udplane/abi.h>

#define SEGMENTS_MAX 64 /* newer kernels allow 128, and get the rest */

/* With IP_PMTUDISC_WANT, Linux sets DF only if all segments together are not longer than the path's
 * MTU. Returns false if that is not known. */
static bool plan_df(const struct sock *s, struct tx_plan *p)
{
	uint32_t mtu = udplane_load32(&s->att->stats->mtu);

	if (p->to.family == AF_INET6 || s->tx.wish.df_always || p->len <= tx_bound(s, false, true))
		return true;
	p->options.flags |= UDPLANE_TX_NO_DF;
	return p->len + 28 > mtu;
}

bool segment_plan(const struct sock *s, struct tx_plan *p, uint32_t max)
{
	bool six = p->to.family == AF_INET6;
	uint32_t header = six ? 48 : 28, bound = tx_bound(s, six, true); /* none is fragmented */
	uint32_t size = p->segment_size, cnt = (p->len + size - 1) / size;

	p->segments = 0;
	if (size > max || size > bound || (p->options.flags & UDPLANE_TX_NO_CHECKSUM))
		return false;
	if (cnt <= 1)
		return true;
	if (p->len + header <= SEGMENT_LEN_MAX && cnt <= SEGMENTS_MAX && plan_df(s, p))
		p->segments = cnt;
	return false;
}

/* What has not been copied yet. */
struct rest {
	const struct iovec *iov;
	size_t off; /* in the first buffer */
};

/* Returns false if the program's memory cannot be accessed. */
static bool copy_next(uint8_t *to, struct rest *r, size_t len)
{
	if (fault_begin())
		return false;
	while (len) {
		size_t n = r->iov->iov_len - r->off;

		n = n < len ? n : len;
		if (n)
			memcpy(to, (const uint8_t *)r->iov->iov_base + r->off, n);
		to += n;
		len -= n;
		r->off += n;
		if (r->off == r->iov->iov_len) {
			r->iov++;
			r->off = 0;
		}
	}
	fault_end();
	return true;
}

bool segment_send(struct sock *s, struct lane *l, const struct msghdr *h, const struct tx_plan *p,
		  int flags)
{
	struct rest rest = {.iov = h->msg_iov};
	uint32_t left = p->len;

	if (!tx_room_all(s, l, p->segments, flags))
		return false;
	for (uint32_t i = 0; i < p->segments; i++) {
		uint32_t len = left < p->segment_size ? left : p->segment_size;

		if (!copy_next(tx_payload(s->att, l, i, p), &rest, len))
			return false; /* the kernel refuses it */
		tx_fill(s, l, i, &p->to, len, &p->options);
		left -= len;
	}
	tx_publish(s, l, p->segments);
	return true;
}
