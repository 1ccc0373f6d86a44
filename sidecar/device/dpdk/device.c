/* SPDX-License-Identifier: Apache-2.0 */
/* struct device_ops over a DPDK port. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sidecar/device/dpdk/dpdk.h"
#include "sidecar/device/vfio/target.h"

#define SAVED_DIR "/run/udplane/bind" /* deploy/bind-vfio writes there */
#define TAP_NAME  "udplane0"

/* --- open --- */

static void drop_default_routes(struct tap_config *t)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < t->route_cnt; i++)
		if (t->route[i].prefix_len)
			t->route[n++] = t->route[i];
	t->route_cnt = n;
}

/* What the configuration says overrides what was found. */
static int apply_config(const struct config *cfg, struct tap_config *t, struct error *error)
{
	int err = 0;

	if (cfg->address[0]) {
		t->addr_cnt = 0;
		snprintf(t->origin, sizeof(t->origin), "the key address");
		err = tap_source_addresses(cfg->address, t, error);
	}
	if (!err && cfg->gateway[0]) {
		drop_default_routes(t);
		err = tap_source_gateways(cfg->gateway, t, error);
	}
	return err;
}

static int collect_tap(struct dpdk *d, struct tap_config *t, struct error *error)
{
	char path[320];
	int err = -ENOENT;

	memset(t, 0, sizeof(*t));
	if (d->pci) {
		snprintf(path, sizeof(path), SAVED_DIR "/%.255s", d->target);
		err = tap_source_saved(path, t, error);
	}
	if (err == -ENOENT && d->cfg->annotations[0])
		err = tap_source_annotation(d->cfg->annotations, d->pci ? d->target : NULL,
					    d->base.mac, t, error);
	if (err && err != -ENOENT)
		return err;
	if (rte_is_zero_ether_addr((const struct rte_ether_addr *)t->mac))
		memcpy(t->mac, d->base.mac, sizeof(t->mac));
	/* the former interface's, which may differ from the NIC's own: the start sets it */
	memcpy(d->base.mac, t->mac, sizeof(t->mac));
	if (d->cfg->interface[0])
		memcpy(t->name, d->cfg->interface, sizeof(t->name));
	if (!t->name[0])
		snprintf(t->name, sizeof(t->name), TAP_NAME);
	return apply_config(d->cfg, t, error);
}

static int open_tap(struct dpdk *d, struct error *error)
{
	struct tap_config t;
	int err = collect_tap(d, &t, error);

	if (!err)
		err = dpdk_port_set_mtu(d, t.mtu, error);
	if (err)
		return err;
	t.mtu = d->base.mtu;
	err = tap_open(&d->tap, &t, error);
	if (err) {
		d->tap = NULL;
		return err;
	}
	snprintf(d->base.ifname, sizeof(d->base.ifname), "%s", tap_name(d->tap));
	d->base.ifindex = tap_ifindex(d->tap);
	return 0;
}

static void free_device(struct dpdk *d)
{
	if (d->tap)
		tap_close(d->tap);
	dpdk_event_close(d);
	dpdk_port_stop(d);
	dpdk_pool_unmap(d);
	dpdk_port_close(d);
	dpdk_pool_close(d);
	free(d->queue);
	dpdk_eal_stop(d->pci);
	free(d);
}

int dpdk_open(struct device **out, const struct config *cfg, bool with_tap, struct error *error)
{
	struct dpdk *d = calloc(1, sizeof(*d));
	int err;

	if (!d)
		return error_set(error, -ENOMEM, "out of memory");
	d->base.ops = &device_dpdk;
	d->cfg = cfg;
	d->event_fd = -1;
	pthread_mutex_init(&d->intr_lock, NULL);
	err = vfio_target(cfg, d->target, &d->pci, error);
	if (!err)
		err = dpdk_eal_start(cfg, d->target, d->pci, error);
	if (err) {
		free(d);
		return err;
	}
	err = dpdk_port_open(d, error);
	if (!err)
		err = with_tap ? open_tap(d, error) : dpdk_port_set_mtu(d, 0, error);
	if (err) {
		free_device(d);
		return err;
	}
	*out = &d->base;
	return 0;
}

static int device_open(struct device **out, const struct config *cfg, struct error *error)
{
	return dpdk_open(out, cfg, true, error);
}

/* --- attach --- */

static int make_queues(struct dpdk *d)
{
	uint64_t cnt = d->mem.frame_cnt;

	d->queue = aligned_alloc(UDPLANE_LINE, d->worker_cnt * sizeof(*d->queue));
	if (!d->queue)
		return -ENOMEM;
	memset(d->queue, 0, d->worker_cnt * sizeof(*d->queue));
	for (uint32_t w = 0; w < d->worker_cnt; w++) {
		struct dpdk_queue *q = &d->queue[w];

		q->base =
			(struct device_queue){.ops = &dpdk_queue_ops, .dev = &d->base, .worker = w};
		q->port = d->port;
		q->id = (uint16_t)w;
		q->zone = d->mem.addr;
		q->frame_size = d->mem.frame_size;
		q->frame_shift = (uint32_t)__builtin_ctz(d->mem.frame_size);
		q->own_first = (uint32_t)(cnt * w / d->worker_cnt);
		q->own_cnt = (uint32_t)(cnt * (w + 1) / d->worker_cnt) - q->own_first;
		q->removed = &d->removed;
		q->intr_fd = q->timer_fd = -1;
	}
	return 0;
}

/* The TAP was made before the NIC could be asked. */
static int set_tap_mac(struct dpdk *d, struct error *error)
{
	struct tap_config t = {.mtu = d->base.mtu};

	memcpy(t.mac, d->base.mac, sizeof(t.mac));
	memcpy(t.name, d->base.ifname, sizeof(t.name));
	return tap_setup(d->base.ifindex, &t, error);
}

static int start_tap(struct dpdk *d, struct error *error)
{
	struct tap_link link = {
		.up = dpdk_link_up, .gone = dpdk_is_gone, .event_fd = d->event_fd, .arg = d};
	int err = 0;

	if (!d->tap)
		return 0;
	if (d->mac_refused)
		err = set_tap_mac(d, error);
	if (!err)
		err = tap_start(d->tap, d->worker_cnt, &link, error);
	for (uint32_t w = 0; w < d->worker_cnt && !err; w++) {
		d->queue[w].lane = tap_lane(d->tap, w);
		d->queue[w].takes_tap = w == 0;
	}
	return err;
}

static int check_request(const struct dpdk *d, struct error *error)
{
	const struct device_memory *m = &d->mem;
	uint32_t least = dpdk_port_least_frames(d);

	if (!d->worker_cnt || d->worker_cnt > d->base.queue_cnt)
		return error_set(
			error, -EINVAL,
			"%u workers for %u queues of %.80s: at most one worker a queue; lower "
			"`workers`",
			d->worker_cnt, d->base.queue_cnt, d->target);
	if (!strcmp(d->info.driver_name, "net_af_packet") && d->worker_cnt < d->base.queue_cnt)
		return error_set(
			error, -EINVAL,
			"%.80s: the kernel spreads packets over all of its %u queues, and %u of "
			"them would have no worker; set "
			"`workers` to %u, or qpairs to %u",
			d->target, d->base.queue_cnt, d->base.queue_cnt - d->worker_cnt,
			d->base.queue_cnt, d->worker_cnt);
	if (m->frame_cnt / d->worker_cnt < least)
		return error_set(
			error, -EINVAL,
			"%u frames for %u workers: %.40s needs %u a worker at least; raise "
			"`frames` to %u",
			m->frame_cnt, d->worker_cnt, d->info.driver_name, least,
			rte_align32pow2(least * d->worker_cnt));
	return 0;
}

static int device_attach(struct device *base, const struct device_memory *mem, uint32_t worker_cnt,
			 struct error *error)
{
	struct dpdk *d = to_dpdk(base);
	int err;

	d->mem = *mem;
	d->worker_cnt = base->queue_used = worker_cnt;
	err = check_request(d, error);
	if (!err && (err = make_queues(d)))
		error_set(error, err, "out of memory");
	if (!err)
		err = dpdk_pool_open(d, error);
	if (!err && (err = dpdk_event_open(d)))
		error_set(error, err, "%.80s: no events: %s", d->target, strerror(-err));
	if (!err)
		err = dpdk_port_start(d, error);
	return err ? err : start_tap(d, error);
}

/* The kernel cannot take the NIC over; packets that still arrive are delivered until the end. */
static void device_detach(struct device *base)
{
	(void)base;
}

static void device_close(struct device *base)
{
	struct dpdk *d = to_dpdk(base);

	for (uint32_t w = 0; d->queue && w < d->worker_cnt; w++)
		rte_pktmbuf_free(d->queue[w].tap_mbuf);
	free_device(d);
}

/* --- run time --- */

/* Every packet comes to us, and the worker's port table decides. */
static int claim_nothing(struct device *base, const struct device_claim *c)
{
	(void)base;
	(void)c;
	return 0;
}

static int set_local(struct device *base, const uint8_t (*addrs)[16], uint32_t cnt)
{
	(void)base;
	(void)addrs;
	(void)cnt;
	return 0; /* the worker asks its route table */
}

static void add_queue(const struct dpdk_queue *q, uint64_t *out)
{
	const struct dpdk_counts *n = &q->n;

	out[UDPLANE_DEVICE_RX_DIVERTED] += udplane_load64(&n->rx);
	out[UDPLANE_DEVICE_RX_PASSED_JUMBO] += udplane_load64(&n->rx_jumbo);
	out[UDPLANE_DEVICE_RX_LOST_NO_FRAME] += udplane_load64(&n->rx_no_frame);
	out[UDPLANE_DEVICE_TX_DONE] += udplane_load64(&n->tx);
	out[UDPLANE_DEVICE_TX_INVALID] += udplane_load64(&n->tx_invalid);
	out[UDPLANE_DEVICE_TAP_RX_FULL] += udplane_load64(&n->passed_full);
	out[UDPLANE_DEVICE_TAP_TX] += udplane_load64(&n->tap_tx);
}

static void add_nic(const struct dpdk *d, uint64_t *out)
{
	struct rte_eth_stats st;

	if (__atomic_load_n(&d->removed, __ATOMIC_ACQUIRE) || rte_eth_stats_get(d->port, &st))
		return;
	out[UDPLANE_DEVICE_RX_LOST_RING_FULL] = st.imissed;
	out[UDPLANE_DEVICE_RX_ERRORS] = st.ierrors;
	out[UDPLANE_DEVICE_TX_INVALID] += st.oerrors;
}

static void counters(struct device *base, uint64_t *out)
{
	struct dpdk *d = to_dpdk(base);
	struct tap_counts tap = {0};

	for (int i = 0; i < UDPLANE_DEVICE_COUNTER_CNT; i++)
		if (i != UDPLANE_DEVICE_FRAMES_TOTAL && i != UDPLANE_DEVICE_FRAMES_FREE &&
		    i != UDPLANE_DEVICE_FRAMES_CLIENTS)
			out[i] = 0;
	for (uint32_t w = 0; w < d->worker_cnt && d->queue; w++)
		add_queue(&d->queue[w], out);
	add_nic(d, out);
	out[UDPLANE_DEVICE_RX_DIVERTED] +=
		out[UDPLANE_DEVICE_RX_LOST_RING_FULL] + out[UDPLANE_DEVICE_RX_LOST_NO_FRAME];
	out[UDPLANE_DEVICE_RX_SEEN] =
		out[UDPLANE_DEVICE_RX_DIVERTED] + out[UDPLANE_DEVICE_RX_PASSED_JUMBO];
	if (d->tap)
		tap_counts(d->tap, &tap);
	out[UDPLANE_DEVICE_TAP_RX] = tap.to_kernel;
	out[UDPLANE_DEVICE_TAP_RX_FULL] += tap.to_kernel_failed;
	out[UDPLANE_DEVICE_TX_INVALID] += tap.from_kernel_long;
	out[UDPLANE_DEVICE_LINK_UP] = __atomic_load_n(&d->link_up, __ATOMIC_RELAXED);
	out[UDPLANE_DEVICE_LINK_CHANGES] =
		__atomic_load_n(&d->events.link_changes, __ATOMIC_RELAXED);
	out[UDPLANE_DEVICE_NIC_EVENTS] = __atomic_load_n(&d->events.removals, __ATOMIC_RELAXED) +
					 __atomic_load_n(&d->events.resets, __ATOMIC_RELAXED) +
					 __atomic_load_n(&d->events.errors, __ATOMIC_RELAXED);
}

static size_t info(struct device *base, char *out, size_t size)
{
	return dpdk_port_info(to_dpdk(base), out, size);
}

static struct device_queue *queue(struct device *base, uint32_t worker)
{
	struct dpdk *d = to_dpdk(base);

	return d->queue && worker < d->worker_cnt ? &d->queue[worker].base : NULL;
}

const struct device_ops device_dpdk = {
	.name = "vfio",
	.open = device_open,
	.attach = device_attach,
	.detach = device_detach,
	.close = device_close,
	.claim_insert = claim_nothing,
	.claim_remove = claim_nothing,
	.set_local = set_local,
	.counters = counters,
	.queue = queue,
	.info = info,
};
