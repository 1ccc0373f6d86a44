/* SPDX-License-Identifier: Apache-2.0 */
/* One Ethernet port: capabilities, queues, pools, offloads, start and stop. */
#include <errno.h>
#include <inttypes.h>
#include <rte_errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sidecar/device/dpdk/dpdk.h"

#define RING_TX	     1024
#define RSS_WANTED   (RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_TCP)
#define RX_CHECKSUMS (RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM)

/* Drivers whose hardware has receive buffers in whole KiB only (their SRRCTL.BSIZEPACKET): 2048 -
 * 128 bytes become 1024, and every full-sized packet would arrive in two pieces. */
static const char *const kib_drivers[] = {"net_e1000_em", "net_e1000_igb", "net_e1000_igb_vf",
					  "net_ixgbe",	  "net_ixgbe_vf",  "net_igc",
					  "net_txgbe",	  "net_txgbe_vf",  "net_ngbe"};

static bool one_of(const char *name, const char *const *list, size_t cnt)
{
	for (size_t i = 0; i < cnt; i++)
		if (!strcmp(name, list[i]))
			return true;
	return false;
}

static bool is_em(const struct dpdk *d)
{
	return !strcmp(d->info.driver_name, "net_e1000_em");
}

/* Bytes that the NIC may write into a frame. */
static uint32_t room(const struct dpdk *d)
{
	uint32_t n = d->mem.frame_size - RTE_PKTMBUF_HEADROOM;

	return one_of(d->info.driver_name, kib_drivers, RTE_DIM(kib_drivers)) ? n & ~1023u : n;
}

/* --- open --- */

static int find_port(struct dpdk *d, struct error *error)
{
	if (!rte_eth_dev_count_avail())
		return error_set(
			error, -ENODEV, "%.80s: no driver of DPDK took it%.200s; %s", d->target,
			dpdk_eal_complaint(),
			d->pci ? "is it a NIC that DPDK 22.11 knows, and bound to vfio-pci?"
			       : "check its name and arguments");
	d->port = (uint16_t)rte_eth_find_next(0);
	d->port_open = true;
	return 0;
}

static void fill_base(struct dpdk *d)
{
	struct rte_ether_addr mac;
	uint16_t mtu;

	if (rte_eth_macaddr_get(d->port, &mac) || rte_is_zero_ether_addr(&mac))
		rte_eth_random_addr(mac.addr_bytes); /* net_ring has none */
	memcpy(d->base.mac, mac.addr_bytes, sizeof(d->base.mac));
	d->base.mtu = rte_eth_dev_get_mtu(d->port, &mtu) ? 1500 : mtu;
	d->base.queue_cnt = RTE_MIN(d->info.max_rx_queues, d->info.max_tx_queues);
	d->base.numa_node = rte_eth_dev_socket_id(d->port);
	d->base.tx_headroom = RTE_PKTMBUF_HEADROOM;
}

int dpdk_port_set_mtu(struct dpdk *d, uint32_t mtu, struct error *error)
{
	if (mtu && (mtu < d->info.min_mtu || mtu > d->info.max_mtu))
		return error_set(error, -EINVAL,
				 "%.80s: MTU %u is wanted, and its driver allows %u..%u", d->target,
				 mtu, d->info.min_mtu, d->info.max_mtu);
	if (mtu)
		d->base.mtu = mtu;
	if (one_of(d->info.driver_name, kib_drivers, RTE_DIM(kib_drivers)) ||
	    d->info.min_rx_bufsize + RTE_PKTMBUF_HEADROOM > 2048 ||
	    d->base.mtu + DPDK_OVERHEAD + RTE_PKTMBUF_HEADROOM > 2048)
		d->base.frame_size = 4096;
	return 0;
}

int dpdk_port_open(struct dpdk *d, struct error *error)
{
	int err = find_port(d, error);

	if (err)
		return err;
	err = rte_eth_dev_info_get(d->port, &d->info);
	if (err)
		return error_set(error, err, "%.80s: its driver says nothing about it: %s",
				 d->target, rte_strerror(-err));
	fill_base(d);
	return 0;
}

/* --- start --- */

static void choose_offloads(struct dpdk *d, struct rte_eth_conf *conf)
{
	/* Either both checksums or none. Virtio checks UDP only. Asked for that, it delivers
	 * datagrams that a virtual machine on the same host sent with the checksum left to a NIC
	 * which they never pass: neither we nor the kernel behind the TAP could tell them from
	 * broken ones. */
	d->rx_offloads =
		(d->info.rx_offload_capa & RX_CHECKSUMS) == RX_CHECKSUMS ? RX_CHECKSUMS : 0;
	d->scatter = d->base.mtu + DPDK_OVERHEAD > room(d);
	if (d->scatter) {
		d->rx_offloads |= d->info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER;
		conf->txmode.offloads |= d->info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	} else {
		/* What the driver requires: one mempool per queue, reference counts of 1, one
		 * segment. */
		conf->txmode.offloads |=
			d->info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
	}
	conf->rxmode.offloads = d->rx_offloads;
	if (d->worker_cnt > 1) {
		d->rss_hf = d->info.flow_type_rss_offloads & RSS_WANTED;
		conf->rxmode.mq_mode = d->rss_hf ? RTE_ETH_MQ_RX_RSS : RTE_ETH_MQ_RX_NONE;
		conf->rx_adv_conf.rss_conf.rss_hf = d->rss_hf;
	}
}

/* e1000e has one vector: the queue gets it, and the link is polled. The same with vmxnet3, whose
 * link events do not arrive (DPDK 22.11), while ethdev relies on them once they are asked for. */
static bool link_is_polled(const struct dpdk *d)
{
	return is_em(d) || !strcmp(d->info.driver_name, "net_vmxnet3");
}

static void choose_interrupts(struct dpdk *d, struct rte_eth_conf *conf, bool rxq)
{
	d->rxq_intr = rxq;
	d->lsc_intr = d->info.dev_flags && (*d->info.dev_flags & RTE_ETH_DEV_INTR_LSC) &&
		      !(rxq && link_is_polled(d));
	conf->intr_conf.rxq = d->rxq_intr;
	conf->intr_conf.lsc = d->lsc_intr;
	conf->intr_conf.rmv = d->info.dev_flags && (*d->info.dev_flags & RTE_ETH_DEV_INTR_RMV);
}

/* Vmxnet3 fills two rings of this length; the second is for packets that do not fit one buffer. */
static uint32_t rx_rings(const struct dpdk *d)
{
	return strcmp(d->info.driver_name, "net_vmxnet3") ? 1 : 2;
}

/* Half of a worker's share for receiving, and at most a quarter for sending. Many drivers return
 * sent frames only when they get new ones (iavf, mlx5, virtio), so a TX ring that could hold all
 * the rest would stop for good. */
static uint32_t rx_share(const struct dpdk *d, uint32_t frames)
{
	return rte_align32prevpow2(frames / 2 / rx_rings(d));
}

static uint32_t tx_share(uint32_t frames)
{
	return rte_align32prevpow2(frames / 4);
}

uint32_t dpdk_port_least_frames(const struct dpdk *d)
{
	uint32_t n = 4 * DEVICE_BURST;

	while (rx_share(d, n) < d->info.rx_desc_lim.nb_min ||
	       tx_share(n) < d->info.tx_desc_lim.nb_min)
		n *= 2;
	return n;
}

static int setup_queues(struct dpdk *d)
{
	uint16_t rx = DPDK_RING_RX, tx = RING_TX;
	struct rte_eth_txconf txc = d->info.default_txconf;
	struct rte_eth_rxconf rxc = d->info.default_rxconf;
	unsigned node =
		d->base.numa_node < 0 ? (unsigned)SOCKET_ID_ANY : (unsigned)d->base.numa_node;
	struct rte_eth_conf conf;
	int err = rte_eth_dev_adjust_nb_rx_tx_desc(d->port, &rx, &tx);

	if (!err)
		err = rte_eth_dev_conf_get(d->port, &conf);
	if (err)
		return err;
	rxc.offloads = conf.rxmode.offloads;
	txc.offloads = conf.txmode.offloads;
	for (uint16_t w = 0; w < d->worker_cnt && !err; w++) {
		uint32_t own = d->queue[w].own_cnt;
		uint16_t rx_fit = (uint16_t)RTE_MIN((uint32_t)rx, rx_share(d, own));
		uint16_t tx_fit = (uint16_t)RTE_MIN((uint32_t)tx, tx_share(own));

		err = rte_eth_rx_queue_setup(d->port, w, rx_fit, node, &rxc, d->queue[w].pool);
		if (!err)
			err = rte_eth_tx_queue_setup(d->port, w, tx_fit, node, &txc);
		/* Virtual devices can read chains even if they do not report it; hardware only if
		 * it does. */
		d->queue[w].tx_chains = !d->pci || (txc.offloads & RTE_ETH_TX_OFFLOAD_MULTI_SEGS);
	}
	return err;
}

static int try_start(struct dpdk *d, bool rxq)
{
	struct rte_eth_conf conf = {.rxmode = {.mtu = d->base.mtu}};
	int err;

	choose_offloads(d, &conf);
	choose_interrupts(d, &conf, rxq);
	err = rte_eth_dev_configure(d->port, (uint16_t)d->worker_cnt, (uint16_t)d->worker_cnt,
				    &conf);
	if (!err)
		err = setup_queues(d);
	if (!err)
		err = rte_eth_dev_start(d->port);
	d->started = !err;
	return err;
}

/* Receives all frames, like a port of a bridge. The kernel joins multicast groups on the TAP, not
 * on the NIC, and makes VLAN devices there (virtio drops tags that it was not told about), and the
 * user may give the TAP another MAC. If that is not allowed, as for a VF that its host does not
 * trust, receives at least multicast, which neighbour discovery needs. */
void dpdk_port_open_filters(struct dpdk *d)
{
	rte_eth_promiscuous_enable(d->port);
	rte_eth_allmulticast_enable(d->port);
}

/* Sets the former interface's MAC, which may differ from the NIC's own. If the NIC refuses it (a VF
 * whose host has fixed it), a switch that checks would drop what is sent from it, and nothing sent
 * to it would arrive: then the NIC's own MAC stays. Done after the start, since virtio forgets the
 * MAC at a start. */
static void set_mac(struct dpdk *d)
{
	struct rte_ether_addr own, *wanted = (struct rte_ether_addr *)d->base.mac;
	int err;

	if (rte_eth_macaddr_get(d->port, &own) || rte_is_zero_ether_addr(&own) ||
	    rte_is_same_ether_addr(&own, wanted))
		return;
	err = rte_eth_dev_default_mac_addr_set(d->port, wanted);
	if (!err)
		return;
	log_warn("%s does not take the MAC address " RTE_ETHER_ADDR_PRT_FMT
		 " of its former interface: %s; it and the TAP keep its "
		 "own, " RTE_ETHER_ADDR_PRT_FMT,
		 d->target, RTE_ETHER_ADDR_BYTES(wanted), rte_strerror(-err),
		 RTE_ETHER_ADDR_BYTES(&own));
	rte_ether_addr_copy(&own, wanted);
	d->mac_refused = true;
}

static void describe(struct dpdk *d)
{
	bool fds = d->queue[0].intr_fd >= 0;

	snprintf(d->base.text, sizeof(d->base.text), "%.20s, %u queue%s%s%s%s", d->info.driver_name,
		 (uint8_t)d->worker_cnt, d->worker_cnt == 1 ? "" : "s",
		 d->worker_cnt == 1 || d->rss_hf ? "" : ", no RSS",
		 fds ? ", rx interrupts" : ", polled", d->scatter ? ", jumbo" : "");
	if (fds && !d->lsc_intr)
		snprintf(d->base.why, sizeof(d->base.why), "%.60s: the link is polled: %s",
			 d->target,
			 is_em(d) ? "e1000e has one interrupt vector, and the queue has it"
				  : "the driver has no link interrupt");
	else if (!fds)
		snprintf(d->base.why, sizeof(d->base.why),
			 "%.80s: the driver has no queue interrupts: an idle worker looks every "
			 "0.1 to 10 ms",
			 d->target);
}

int dpdk_port_start(struct dpdk *d, struct error *error)
{
	int err = try_start(d, true);

	if (err)
		err = try_start(d, false);
	if (err)
		return error_set(
			error, err,
			"%.80s (%s) does not start with %u queues, MTU %u, frames of %u bytes: "
			"%s%.100s",
			d->target, d->info.driver_name, d->worker_cnt, d->base.mtu,
			d->mem.frame_size, rte_strerror(-err), dpdk_eal_complaint());
	dpdk_port_open_filters(d);
	set_mac(d);
	for (uint32_t w = 0; w < d->worker_cnt && !err; w++)
		err = dpdk_intr_open(d, &d->queue[w]);
	if (err)
		return error_set(error, err, "%.80s: no interrupt descriptors: %s", d->target,
				 strerror(-err));
	describe(d);
	return 0;
}

void dpdk_port_stop(struct dpdk *d)
{
	for (uint32_t w = 0; d->queue && w < d->worker_cnt; w++)
		dpdk_intr_close(&d->queue[w]);
	if (d->started)
		rte_eth_dev_stop(d->port);
	d->started = false;
}

void dpdk_port_close(struct dpdk *d)
{
	/* The virtio driver's interrupts get disabled twice, and EAL logs an error the second
	 * time. */
	rte_log_set_level_pattern("lib.eal", RTE_LOG_CRIT);
	if (d->port_open)
		rte_eth_dev_close(d->port);
	d->port_open = false;
}

/* --- facts --- */

struct lines {
	char *at;
	size_t left, len;
};

static void line(struct lines *l, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void line(struct lines *l, const char *name, const char *fmt, ...)
{
	char value[200];
	va_list ap;
	int n;

	va_start(ap, fmt);
	vsnprintf(value, sizeof(value), fmt, ap);
	va_end(ap);
	n = snprintf(l->at, l->left, "%s\t%s\n", name, value);
	if (n < 0 || (size_t)n >= l->left) {
		*l->at = 0; /* whole lines only */
		l->left = 0;
		return;
	}
	l->at += n;
	l->left -= (size_t)n;
	l->len += (size_t)n;
}

static void add_xstats(const struct dpdk *d, struct lines *l)
{
	int n = rte_eth_xstats_get(d->port, NULL, 0);
	struct rte_eth_xstat *v = n > 0 ? calloc((size_t)n, sizeof(*v)) : NULL;
	struct rte_eth_xstat_name *name = n > 0 ? calloc((size_t)n, sizeof(*name)) : NULL;

	if (v && name && rte_eth_xstats_get(d->port, v, (unsigned)n) == n &&
	    rte_eth_xstats_get_names(d->port, name, (unsigned)n) == n)
		for (int i = 0; i < n; i++)
			if (v[i].value) /* some drivers have pages of zeros */
				line(l, name[v[i].id].name, "%" PRIu64, v[i].value);
	free(v);
	free(name);
}

static void add_offloads(const struct dpdk *d, struct lines *l)
{
	line(l, "rx_checksum", "%s",
	     (d->rx_offloads & RX_CHECKSUMS) == RX_CHECKSUMS ? "by the device" : "by udplaned");
	line(l, "tx_checksum", "by udplaned, in the pass that copies");
	line(l, "rss", "%s",
	     d->worker_cnt == 1 ? "off: one queue"
	     : d->rss_hf	? "on"
				: "not offered: the device chooses the queue in its own way");
	line(l, "vlan", "tagged frames go to the TAP as they are");
	line(l, "promiscuous", "%s",
	     rte_eth_promiscuous_get(d->port) == 1
		     ? "yes"
		     : "no: the driver refuses; VLANs and other MACs of the TAP may get nothing");
	line(l, "buffers", "%u bytes%s", room(d), d->scatter ? ", packets may take several" : "");
}

size_t dpdk_port_info(struct dpdk *d, char *out, size_t size)
{
	struct lines l = {out, size, 0};
	struct rte_eth_link link = {0};

	*out = 0;
	line(&l, "device", "%s", d->target);
	line(&l, "driver", "%s", d->info.driver_name);
	line(&l, "tap", "%s", d->tap ? tap_name(d->tap) : "none");
	line(&l, "numa_node", "%d", d->base.numa_node);
	line(&l, "queues", "%u of %u", d->worker_cnt, d->base.queue_cnt);
	line(&l, "rx_interrupts", "%s",
	     d->queue && d->queue[0].intr_fd >= 0 ? "yes" : "no: polled");
	line(&l, "link_interrupt", "%s", d->lsc_intr ? "yes" : "no: polled");
	add_offloads(d, &l);
	if (__atomic_load_n(&d->removed, __ATOMIC_ACQUIRE)) {
		line(&l, "link", "%s",
		     d->base.restart ? "the device was reset: starting again"
				     : "the device was removed");
		return l.len;
	}
	if (!rte_eth_link_get_nowait(d->port, &link))
		line(&l, "link", "%s, %s, %s duplex", link.link_status ? "up" : "down",
		     rte_eth_link_speed_to_str(link.link_speed),
		     link.link_duplex ? "full" : "half");
	add_xstats(d, &l);
	return l.len;
}
