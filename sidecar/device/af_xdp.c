/* SPDX-License-Identifier: Apache-2.0 */
/* The AF_XDP device: its life cycle, and what the control thread calls while it runs. */
#include <errno.h>
#include <linux/if_ether.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "sidecar/device/af_xdp_internal.h"
#include "sidecar/device/xdp/udplane_xdp.skel.h"

#define CLAIMS_PER_SOCKET 2u /* a dual-stack wildcard socket makes two claims */
/* facts() reads the number of queues in one of so many calls, as reading it takes the rtnl lock */
#define QUEUE_LOOKS 2u

#ifndef SOL_XDP
#define SOL_XDP 283
#endif

static struct af_xdp *to_af_xdp(struct device *dev)
{
	return (struct af_xdp *)dev;
}

/* --- open --- */

static int device_open(struct device **out, const struct config *cfg, struct error *error)
{
	struct af_xdp *dev = calloc(1, sizeof(*dev));
	int err;

	if (!dev)
		return error_set(error, -ENOMEM, "out of memory");
	dev->link_fd = -1;
	dev->mode = cfg->xdp_mode;
	dev->tx_gso = cfg->tx_gso == CONFIG_ON;
	dev->claim_max = cfg->max_sockets * CLAIMS_PER_SOCKET;
	err = netif_read(&dev->netif, cfg->interface, error);
	if (!err)
		err = af_xdp_check_permission(error);
	if (!err)
		err = af_xdp_check_kernel(error);
	if (!err)
		err = af_xdp_check_other(&dev->netif, error);
	if (!err) {
		err = xdp_claims_init(&dev->claims, dev->claim_max);
		if (err)
			error_set(error, err, "out of memory");
	}
	if (err) {
		free(dev);
		return err;
	}
	dev->base.ops = &device_af_xdp;
	snprintf(dev->base.ifname, sizeof(dev->base.ifname), "%s", dev->netif.name);
	dev->base.ifindex = dev->netif.ifindex;
	memcpy(dev->base.mac, dev->netif.mac, sizeof(dev->base.mac));
	dev->base.mtu = dev->netif.mtu;
	dev->base.queue_cnt = dev->netif.queue_cnt < XDP_QUEUES ? dev->netif.queue_cnt : XDP_QUEUES;
	dev->base.numa_node = dev->netif.numa_node;
	dev->base.local_frames = dev->netif.is_virtual;
	dev->base.can_disengage = true;
	dev->base.groups = true;
	*out = &dev->base;
	return 0;
}

/* --- attach --- */

static int make_queue(struct af_xdp *dev, uint32_t w)
{
	struct af_xdp_queue *q = &dev->queue[w];
	uint64_t cnt = dev->mem.frame_cnt;
	uint32_t share;

	q->base.ops = &af_xdp_queue_ops;
	q->base.dev = &dev->base;
	q->base.worker = w;
	q->super_fd[AF_XDP_SUPER_CUT] = q->super_fd[AF_XDP_SUPER_WHOLE] = -1;
	q->own_first = (uint32_t)(cnt * w / dev->worker_cnt);
	q->own_cnt = (uint32_t)(cnt * (w + 1) / dev->worker_cnt) - q->own_first;
	q->frame_size = dev->mem.frame_size;
	q->frame_shift = (uint32_t)__builtin_ctz(dev->mem.frame_size);
	q->free = malloc(q->own_cnt * sizeof(*q->free));
	q->hw = calloc((dev->hw_cnt + dev->worker_cnt - 1) / dev->worker_cnt, sizeof(*q->hw));
	if (!q->free || !q->hw)
		return -ENOMEM;
	for (uint32_t i = w; i < dev->hw_cnt; i += dev->worker_cnt)
		q->hw[q->hw_cnt++] = &dev->hw[i];
	share = q->own_cnt / 2 / q->hw_cnt; /* the other half is for clients and for sending */
	for (uint32_t i = 0; i < q->hw_cnt; i++)
		q->hw[i]->target = share < AF_XDP_FILL_TARGET ? share : AF_XDP_FILL_TARGET;
	af_xdp_queue_reset(q);
	return 0;
}

static int make_queues(struct af_xdp *dev)
{
	int err = 0;

	dev->hw = calloc(dev->hw_cnt, sizeof(*dev->hw));
	dev->queue = aligned_alloc(UDPLANE_LINE, dev->worker_cnt * sizeof(*dev->queue));
	if (!dev->hw || !dev->queue)
		return -ENOMEM;
	memset(dev->queue, 0, dev->worker_cnt * sizeof(*dev->queue));
	for (uint32_t i = 0; i < dev->hw_cnt; i++) {
		dev->hw[i].fd = -1;
		dev->hw[i].id = i;
	}
	for (uint32_t w = 0; w < dev->worker_cnt && !err; w++)
		err = make_queue(dev, w);
	return err;
}

static void free_queues(struct af_xdp *dev)
{
	for (uint32_t w = 0; dev->queue && w < dev->worker_cnt; w++) {
		free(dev->queue[w].free);
		free(dev->queue[w].hw);
	}
	free(dev->queue);
	free(dev->hw);
	dev->queue = NULL;
	dev->hw = NULL;
	dev->hw_cnt = 0;
}

static int check_memory(const struct af_xdp *dev, struct error *error)
{
	const struct device_memory *m = &dev->mem;

	if (m->frame_size != 2048 && m->frame_size != 4096)
		return error_set(error, -EINVAL, "frame size %u: AF_XDP takes 2048 or 4096",
				 m->frame_size);
	if ((uint64_t)m->frame_cnt * m->frame_size > m->len ||
	    m->frame_cnt / dev->hw_cnt < DEVICE_BURST)
		return error_set(
			error, -EINVAL,
			"%u frames of %u bytes for %u queues: need %u a queue at least, within "
			"the zone's %zu bytes",
			m->frame_cnt, m->frame_size, dev->hw_cnt, DEVICE_BURST, m->len);
	return 0;
}

static int device_attach(struct device *base, const struct device_memory *mem, uint32_t worker_cnt,
			 struct error *error)
{
	struct af_xdp *dev = to_af_xdp(base);
	int err;

	dev->mem = *mem;
	dev->hw_cnt = base->queue_cnt;
	base->queue_used = dev->hw_cnt;
	dev->worker_cnt = worker_cnt;
	if (!worker_cnt || worker_cnt > dev->hw_cnt) {
		dev->hw_cnt = 0;
		return error_set(
			error, -EINVAL,
			"%u workers for %u receive queues of %s: at most one worker a queue "
			"(ethtool -L changes their number)",
			worker_cnt, base->queue_cnt, base->ifname);
	}
	err = check_memory(dev, error);
	if (!err) {
		err = make_queues(dev);
		if (err)
			error_set(error, err, "out of memory");
	}
	if (!err) {
		af_xdp_raise_memlock(mem->len);
		err = af_xdp_bind(dev, error);
	}
	if (err)
		free_queues(dev);
	return err;
}

static void device_detach(struct device *base)
{
	af_xdp_unlink(to_af_xdp(base));
}

static void device_close(struct device *base)
{
	struct af_xdp *dev = to_af_xdp(base);

	af_xdp_unlink(dev);
	af_xdp_super_close(dev);
	af_xdp_unbind(dev);
	if (dev->prog)
		af_xdp_unload(dev);
	free_queues(dev);
	xdp_claims_free(&dev->claims);
	free(dev);
}

/* --- run time --- */

/* Keeps diverting, but makes workers wait before they deliver: datagrams of the new claim that the
 * kernel already has must reach the socket before those that the worker gets. */
static void hold(struct af_xdp *dev)
{
	for (uint32_t i = 0; i < dev->hw_cnt && dev->prog; i++) {
		struct af_xdp_hw *hw = &dev->hw[i];
		__u32 state = __atomic_load_n(hw->state, __ATOMIC_RELAXED);

		while (state >= XDP_STATE_ENGAGED && !af_xdp_swap_state(hw, state, XDP_STATE_HELD))
			state = __atomic_load_n(hw->state, __ATOMIC_RELAXED);
	}
}

static void unhold(struct af_xdp *dev)
{
	for (uint32_t i = 0; i < dev->hw_cnt && dev->prog; i++)
		if (!af_xdp_swap_state(&dev->hw[i], XDP_STATE_HELD, XDP_STATE_ENGAGING))
			af_xdp_swap_state(&dev->hw[i], XDP_STATE_HELD_SEEN, XDP_STATE_RESUMING);
}

static int claim_insert(struct device *base, const struct device_claim *c)
{
	struct af_xdp *dev = to_af_xdp(base);
	int err;

	hold(dev);
	err = xdp_claims_insert(&dev->claims, c);
	unhold(dev);
	return err;
}

static int claim_remove(struct device *base, const struct device_claim *c)
{
	return xdp_claims_remove(&to_af_xdp(base)->claims, c);
}

static int set_local(struct device *base, const uint8_t (*addrs)[16], uint32_t cnt)
{
	struct af_xdp *dev = to_af_xdp(base);
	int err;

	if (!netif_read_mac(&dev->netif) && memcmp(base->mac, dev->netif.mac, sizeof(base->mac))) {
		memcpy(base->mac, dev->netif.mac, sizeof(base->mac));
		if (dev->prog)
			af_xdp_write_mac(dev);
	}
	hold(dev);
	err = xdp_claims_set_local(&dev->claims, addrs, cnt);
	unhold(dev);
	return err;
}

static int set_sources(struct device *base, const struct device_source *s, uint32_t cnt)
{
	return xdp_claims_set_sources(&to_af_xdp(base)->claims, s, cnt);
}

static int set_excluded(struct device *base, const struct device_prefix6 *p, uint32_t cnt)
{
	return xdp_claims_set_excluded(&to_af_xdp(base)->claims, p, cnt);
}

static void set_translated(struct device *base, bool on)
{
	xdp_claims_set_translated(&to_af_xdp(base)->claims, on);
}

static const uint8_t counter_of[XDP_COUNT_CNT] = {
	[XDP_COUNT_SEEN] = UDPLANE_DEVICE_RX_SEEN,
	[XDP_COUNT_DIVERTED] = UDPLANE_DEVICE_RX_DIVERTED,
	[XDP_COUNT_NOT_IP] = UDPLANE_DEVICE_RX_PASSED_NOT_IP,
	[XDP_COUNT_NOT_UDP] = UDPLANE_DEVICE_RX_PASSED_NOT_UDP,
	[XDP_COUNT_FRAGMENT] = UDPLANE_DEVICE_RX_PASSED_FRAGMENT,
	[XDP_COUNT_OPTIONS] = UDPLANE_DEVICE_RX_PASSED_OPTIONS,
	[XDP_COUNT_NOT_LOCAL] = UDPLANE_DEVICE_RX_PASSED_NOT_LOCAL,
	[XDP_COUNT_MARTIAN] = UDPLANE_DEVICE_RX_PASSED_MARTIAN,
	[XDP_COUNT_MALFORMED] = UDPLANE_DEVICE_RX_PASSED_MALFORMED,
	[XDP_COUNT_UNCLAIMED] = UDPLANE_DEVICE_RX_PASSED_UNCLAIMED,
	[XDP_COUNT_IDLE] = UDPLANE_DEVICE_RX_PASSED_IDLE,
	[XDP_COUNT_NO_QUEUE] = UDPLANE_DEVICE_RX_PASSED_NO_QUEUE,
	[XDP_COUNT_STALLED] = UDPLANE_DEVICE_RX_PASSED_STALLED,
	[XDP_COUNT_UNFIT] = UDPLANE_DEVICE_RX_PASSED_JUMBO,
	[XDP_COUNT_PARTIAL] = UDPLANE_DEVICE_RX_PASSED_PARTIAL,
	[XDP_COUNT_SOURCE] = UDPLANE_DEVICE_RX_PASSED_SOURCE,
	[XDP_COUNT_TRANSLATED] = UDPLANE_DEVICE_RX_PASSED_TRANSLATED,
	[XDP_COUNT_NO_CHECKSUM] = UDPLANE_DEVICE_RX_PASSED_NO_CHECKSUM,
};

/* Adds the frames that the kernel dropped after the program redirected them. rx_dropped counts
 * those for which the fill ring held no frame (or that were longer than a frame; the program does
 * not divert such). rx_ring_full counts those for which the RX ring had no room. Each lost frame
 * counts in only one of the two (net/xdp/xsk.c); rx_fill_ring_empty_descs counts the first kind
 * again. */
static void add_losses(const struct af_xdp *dev, uint64_t *out)
{
	for (uint32_t i = 0; i < dev->hw_cnt; i++) {
		struct xdp_statistics st = {0};
		socklen_t len = sizeof(st);

		if (dev->hw[i].fd < 0 ||
		    getsockopt(dev->hw[i].fd, SOL_XDP, XDP_STATISTICS, &st, &len))
			continue;
		out[UDPLANE_DEVICE_RX_LOST_RING_FULL] += st.rx_ring_full;
		out[UDPLANE_DEVICE_RX_LOST_NO_FRAME] += st.rx_dropped;
		out[UDPLANE_DEVICE_TX_INVALID] += st.tx_invalid_descs;
	}
}

static void counters(struct device *base, uint64_t *out)
{
	struct af_xdp *dev = to_af_xdp(base);

	for (int i = 0; i < XDP_COUNT_CNT; i++)
		out[counter_of[i]] = 0;
	out[UDPLANE_DEVICE_RX_LOST_RING_FULL] = 0;
	out[UDPLANE_DEVICE_RX_LOST_NO_FRAME] = 0;
	out[UDPLANE_DEVICE_TX_DONE] = 0;
	out[UDPLANE_DEVICE_TX_INVALID] = 0;
	for (uint32_t q = 0; q <= XDP_QUEUES && dev->prog; q++)
		for (int i = 0; i < XDP_COUNT_CNT; i++)
			out[counter_of[i]] += __atomic_load_n(
				&dev->prog->bss->shared.counters[q].count[i], __ATOMIC_RELAXED);
	add_losses(dev, out);
	for (uint32_t w = 0; w < dev->worker_cnt && dev->queue; w++) {
		out[UDPLANE_DEVICE_TX_DONE] +=
			__atomic_load_n(&dev->queue[w].tx_done, __ATOMIC_RELAXED);
		out[UDPLANE_DEVICE_TX_INVALID] +=
			__atomic_load_n(&dev->queue[w].tx_invalid, __ATOMIC_RELAXED);
	}
}

static void facts(struct device *base, struct device_facts *out)
{
	struct af_xdp *dev = to_af_xdp(base);

	memset(out, 0, sizeof(*out));
	out->attached = af_xdp_is_linked(dev);
	out->can_generic = dev->twin && dev->way == AF_XDP_WAY_COPY;
	if (dev->looks++ % QUEUE_LOOKS == 0)
		dev->netif.queue_cnt = netif_read_queue_cnt(&dev->netif);
	else
		af_xdp_super_look(dev);
	out->queue_cnt = dev->netif.queue_cnt < XDP_QUEUES ? dev->netif.queue_cnt : XDP_QUEUES;
	for (uint32_t i = 0; i < dev->hw_cnt; i++) {
		const struct af_xdp_hw *hw = &dev->hw[i];
		uint32_t taken;

		if (!hw->xsk)
			continue;
		taken = __atomic_load_n(hw->tx.consumer, __ATOMIC_RELAXED);
		out->rx_put += __atomic_load_n(hw->rx.producer, __ATOMIC_RELAXED);
		out->tx_taken += taken;
		out->tx_waiting += __atomic_load_n(hw->tx.producer, __ATOMIC_RELAXED) - taken;
	}
}

static int reattach(struct device *base, bool generic, struct error *error)
{
	struct af_xdp *dev = to_af_xdp(base);
	int err;

	hold(dev);
	err = af_xdp_relink(dev, generic, error);
	unhold(dev);
	return err;
}

static bool ready(const struct config *cfg)
{
	struct netif netif;
	struct error error;

	/* Does not check permission: this process may have given it up, and a restarted udplaned
	 * has the same permissions as at its last start. */
	return !netif_read(&netif, cfg->interface, &error) && !af_xdp_check_kernel(&error) &&
	       !af_xdp_name_other(&netif, &error);
}

static struct device_queue *queue(struct device *base, uint32_t worker)
{
	struct af_xdp *dev = to_af_xdp(base);

	return dev->queue && worker < dev->worker_cnt ? &dev->queue[worker].base : NULL;
}

const struct device_ops device_af_xdp = {
	.name = "af_xdp",
	.open = device_open,
	.attach = device_attach,
	.detach = device_detach,
	.close = device_close,
	.claim_insert = claim_insert,
	.claim_remove = claim_remove,
	.set_local = set_local,
	.set_sources = set_sources,
	.set_excluded = set_excluded,
	.set_translated = set_translated,
	.counters = counters,
	.queue = queue,
	.facts = facts,
	.reattach = reattach,
	.ready = ready,
};
