/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets handed out in place, and their way back.
 *
 * A packet's cookie says where it goes when it is released: to an attachment and lane, or to the
 * pool of private buffers. Each packet that the application holds has a reference to the
 * attachment, so its frame stays mapped even if the socket is closed or udplaned dies.
 */
#include "client/rx_inplace.h"
#include "client/attach.h"
#include "client/base.h"
#include "client/pktbuf.h"
#include "client/public.h"
#include "client/raw.h"
#include "client/rx_kernel.h"
#include "client/rxq.h"
#include "client/sock.h"
#include <errno.h>
#include <sys/socket.h>
#include <udplane/abi.h>

/* a struct pktbuf, aligned to 64; else a struct attach, aligned to 128 */
#define COOKIE_BUFFER 0x20u
#define COOKIE_LANE   0x0fu
#define COOKIE_BITS   0x3fu

_Static_assert(UDPLANE_MAX_WORKERS <= COOKIE_LANE + 1, "a lane fits the cookie");

void rx_ring_pkt(struct attach *a, uint32_t lane, const struct udplane_rx_desc *d,
		 struct udplane_pkt *p)
{
	p->data = rx_payload(a, d);
	p->len = d->len;
	p->flags = 0;
	rx_source(a, d, &p->peer);
	p->cookie = (uint64_t)(uintptr_t)a | lane;
}

void rx_saved_pkt(struct pktbuf *b, struct udplane_pkt *p)
{
	p->data = b->data;
	p->len = b->len;
	p->flags = b->small ? 0 : UDPLANE_PKT_KERNEL;
	p->peer = b->peer;
	p->cookie = (uint64_t)(uintptr_t)b | COOKIE_BUFFER;
}

int rx_kernel_pkts(struct sock *s, struct udplane_pkt *pkts, uint32_t cnt)
{
	struct pktbuf *buf[BURST_MAX];
	struct sockaddr_storage name[BURST_MAX];
	struct mmsghdr vec[BURST_MAX];
	struct iovec iov[BURST_MAX];
	/* Usually there is nothing: prepare for more than one only if the last read found
	 * something. */
	uint32_t have = pktbufs_get(buf, !s->rx.kernel_hot ? 1 : cnt < BURST_MAX ? cnt : BURST_MAX);
	int n;

	for (uint32_t i = 0; i < have; i++) {
		iov[i] = (struct iovec){.iov_base = buf[i]->data, .iov_len = PKTBUF_SIZE};
		vec[i].msg_hdr = (struct msghdr){.msg_name = &name[i],
						 .msg_namelen = sizeof(name[i]),
						 .msg_iov = &iov[i],
						 .msg_iovlen = 1};
	}
	n = have ? raw_recvmmsg(s->kfd, vec, have, MSG_DONTWAIT) : -1;
	if (n < 0)
		n = have ? -errno : -ENOMEM;
	for (uint32_t i = 0; i < have; i++) {
		if ((int)i >= n) {
			pktbuf_put(buf[i]);
			continue;
		}
		buf[i]->len = vec[i].msg_len;
		udplane_addr_from_sockaddr(&buf[i]->peer, &name[i], sizeof(name[i]));
		rx_saved_pkt(buf[i], &pkts[i]);
	}
	rx_kernel_looked(s, n, have, 0);
	return n;
}

/* Releases the frames of one attachment and lane at the head of pkts. Returns how many. */
static uint32_t release_run(const struct udplane_pkt *pkts, uint32_t cnt)
{
	uint64_t cookie = pkts->cookie;
	struct attach *a = (void *)(uintptr_t)(cookie & ~(uint64_t)COOKIE_BITS);
	uint32_t frames[BURST_MAX], n = 0;

	for (; n < cnt && n < BURST_MAX && pkts[n].cookie == cookie; n++)
		frames[n] = (uint32_t)((size_t)((const uint8_t *)pkts[n].data - a->frames.addr) >>
				       a->frame_shift);
	attach_return(a, cookie & COOKIE_LANE, frames, n);
	attach_put_many(a, n);
	return n;
}

void udplane_release(int fd, const struct udplane_pkt *pkts, unsigned int cnt)
{
	(void)fd; /* it may be closed already */
	for (uint32_t i = 0; i < cnt;) {
		if (!(pkts[i].cookie & COOKIE_BUFFER)) {
			i += release_run(pkts + i, cnt - i);
			continue;
		}
		pktbuf_put((void *)(uintptr_t)(pkts[i].cookie & ~(uint64_t)COOKIE_BITS));
		i++;
	}
}
