/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Super-packets out of an AF_XDP device: a packet socket takes the whole with a virtio_net_hdr that
 * says how it is to be cut and that the checksums are still to be made, as of a virtual machine. On
 * veth it crosses as one packet, if the other end has no native XDP.
 *
 * Both ways send within the call and by the device's only TX queue, as an AF_XDP socket in copy
 * mode does, so order holds if the TX ring is empty before. A device with several queues gets none.
 *
 *   no qdisc (veth)   AF_XDP_SUPER_CUT. Linux cuts what the device does not take whole. That is
 *                     still cheaper than frames, unless the run is short.
 *   a plain qdisc     AF_XDP_SUPER_WHOLE: past it, as frames go. Linux does not cut there: what
 *                     the device does not take whole it refuses (ENOBUFS).
 *   another qdisc     nothing comes here: the kernel path is taken (environment)
 *
 * With zero copy the driver reads frames where they are, so they are the cheaper way.
 */
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sidecar/device/af_xdp_internal.h"

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5 /* Linux 6.2 */
#endif

/* Shorter runs cost less as frames (docs/measurements.md). */
#define MIN_WHOLE 3u
#define MIN_CUT	  8u
/* Room for what is on its way. When it is full, runs are sent as frames. */
#define SUPER_BUFFER (8 << 20)
/* A full queue of the device refuses as well, so one refusal says little. */
#define SUPER_REFUSALS	8u
#define SUPER_PAUSE_MAX 64u /* looks */
#define UDP_LEN		8   /* of the header, in which the checksum is at UDP_CHECK */
#define UDP_CHECK	6

static int make_socket(const struct af_xdp *dev, enum af_xdp_super way)
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_ifindex = dev->base.ifindex};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), size = SUPER_BUFFER;
	int past = way == AF_XDP_SUPER_WHOLE;

	if (fd < 0)
		return -1;
	/* protocol 0: it receives nothing */
	if (bind(fd, (const struct sockaddr *)&at, sizeof(at)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &(int){1}, sizeof(int)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &past, sizeof(past))) {
		close(fd);
		return -1;
	}
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)))
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return fd;
}

void af_xdp_super_open(struct af_xdp *dev)
{
	if (!dev->tx_gso || dev->way == AF_XDP_WAY_ZEROCOPY)
		return;
	for (uint32_t w = 0; w < dev->worker_cnt; w++)
		for (uint32_t i = 0; i < AF_XDP_SUPER_CNT; i++)
			dev->queue[w].super_fd[i] = make_socket(dev, (enum af_xdp_super)i);
	dev->super_pause = 1;
	af_xdp_super_look(dev);
	dev->super_wait = 0;
}

void af_xdp_super_close(struct af_xdp *dev)
{
	for (uint32_t w = 0; dev->queue && w < dev->worker_cnt; w++)
		for (uint32_t i = 0; i < AF_XDP_SUPER_CNT; i++) {
			if (dev->queue[w].super_fd[i] >= 0)
				close(dev->queue[w].super_fd[i]);
			dev->queue[w].super_fd[i] = -1;
		}
}

static void set_supers(struct af_xdp_queue *q, uint32_t supers)
{
	__atomic_store_n(&q->base.supers, supers, __ATOMIC_RELAXED);
}

/* A worker stops using super-packets when they are refused. They are tried again after a pause,
 * which doubles until they are taken. */
static void try_again(struct af_xdp *dev, struct af_xdp_queue *q)
{
	bool works = __atomic_load_n(&q->base.supers, __ATOMIC_RELAXED);

	if (dev->super_wait)
		return;
	if (works) {
		dev->super_pause = 1;
		return;
	}
	dev->super_wait = dev->super_pause;
	if (dev->super_pause < SUPER_PAUSE_MAX)
		dev->super_pause *= 2;
	set_supers(q, DEVICE_SUPER_MAX);
}

void af_xdp_super_look(struct af_xdp *dev)
{
	enum af_xdp_super way;
	struct netif_tx tx;
	bool can;

	if (!dev->tx_gso || dev->way == AF_XDP_WAY_ZEROCOPY)
		return;
	netif_read_tx(&dev->netif, &tx);
	way = tx.no_qdisc ? AF_XDP_SUPER_CUT : AF_XDP_SUPER_WHOLE;
	can = tx.queue_cnt == 1 && (tx.no_qdisc || tx.cuts_udp);
	if (dev->super_wait)
		dev->super_wait--;
	for (uint32_t w = 0; w < dev->worker_cnt; w++) {
		struct af_xdp_queue *q = &dev->queue[w];

		__atomic_store_n(&q->super_way, way, __ATOMIC_RELAXED);
		__atomic_store_n(&q->base.super_min, tx.cuts_udp ? MIN_WHOLE : MIN_CUT,
				 __ATOMIC_RELAXED);
		if (!can || q->super_fd[way] < 0)
			set_supers(q, 0);
		else
			try_again(dev, q);
	}
}

static int refused(struct af_xdp_queue *q, int err)
{
	if (++q->super_refused >= SUPER_REFUSALS) {
		q->super_refused = 0;
		set_supers(q, 0);
	}
	return -err;
}

static int send_super(const struct af_xdp_queue *q, struct device_super *s, uint32_t way)
{
	struct virtio_net_hdr vnet = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = VIRTIO_NET_HDR_GSO_UDP_L4,
		.hdr_len = s->hdr_len,
		.gso_size = s->seg_len,
		.csum_start = (uint16_t)(s->hdr_len - UDP_LEN),
		.csum_offset = UDP_CHECK,
	};
	struct msghdr msg = {.msg_iov = s->iov, .msg_iovlen = s->iov_cnt};

	s->iov[0] = (struct iovec){&vnet, sizeof(vnet)};
	return sendmsg(q->super_fd[way], &msg, MSG_DONTWAIT) < 0 ? errno : 0;
}

int af_xdp_tx_super(struct device_queue *dq, struct device_super *s)
{
	struct af_xdp_queue *q = (struct af_xdp_queue *)dq;
	uint32_t way = __atomic_load_n(&q->super_way, __ATOMIC_RELAXED);
	int err;

	if (af_xdp_tx_pending(dq)) {
		af_xdp_tx_flush(dq);
		if (af_xdp_tx_pending(dq))
			return -EAGAIN;
	}
	err = send_super(q, s, way);
	if (err == ENOBUFS && way == AF_XDP_SUPER_CUT) {
		/* The other end's queue was full for one of the datagrams at least. Some may have
		 * been sent, so they must not be sent again. Linux tells no sender of that. */
		__atomic_store_n(&q->tx_invalid, q->tx_invalid + s->cnt, __ATOMIC_RELAXED);
		return 0;
	}
	/* EFAULT: of what the client did to its own memory */
	if (err == EAGAIN || err == EFAULT)
		return -EAGAIN;
	if (err)
		return refused(q, err);
	q->super_refused = 0;
	__atomic_store_n(&q->tx_done, q->tx_done + s->cnt, __ATOMIC_RELAXED);
	return 0;
}
